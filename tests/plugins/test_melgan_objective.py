"""How MelGAN learns: the laws of objectives, which network moves when, and that it does learn."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from synthkit import dsp
from synthkit.errors import ConfigError
from synthkit.interfaces import Batch
from synthkit.specs import FeatureSpec
from synthkit.testing import battery
from synthkit.training.engine import Engine, Numerics, seeded
from synthkit_melgan.config import CriticConfig, MelGANConfig, MelGANObjectiveConfig
from synthkit_melgan.objective import MelGANObjective
from synthkit_melgan.vocoder import MelGAN

SPEC = FeatureSpec(sample_rate=8000, n_fft=256, hop_length=64, n_mels=20)
CRITIC = CriticConfig(scales=2, channels=4, layers=2, max_channels=16)
SETTINGS = {
    "official": MelGANObjectiveConfig(critic=CRITIC),
    "all-losses": MelGANObjectiveConfig(
        critic=CRITIC, adversarial="least-squares", mel_weight=5.0, multi_stft_weight=1.0
    ),
    "bce": MelGANObjectiveConfig(critic=CRITIC, adversarial="bce", feature_matching_weight=0, mel_weight=1.0),
    "reconstruction": MelGANObjectiveConfig(adversarial_weight=0, feature_matching_weight=0, mel_weight=1.0),
}
# While both scores lie within the hinge's margin, the gradients of the real and the made cancel at the last bias.
STILL = ("objective.critic.*.layer_4.bias",)


def build(
    config: MelGANObjectiveConfig = SETTINGS["official"], spec: FeatureSpec = SPEC, engine: Engine | None = None
) -> MelGANObjective:
    return MelGANObjective(config, MelGAN(MelGANConfig(channels=4, ratios=(4, 4, 2, 2)), spec), engine or Engine())


def plucks(step: int, count: int = 4, frames: int = 32, spec: FeatureSpec = SPEC) -> Batch:
    """Plucked strings of random pitch and time, as loud as music, silent before they are plucked."""
    random = torch.Generator().manual_seed(step)
    seconds = frames * 64 / 8000
    time = torch.arange(frames * 64) / 8000 - seconds / 2 * torch.rand(count, 1, generator=random)
    pitch = 150 * 8 ** torch.rand(count, 1, generator=random)
    partials = [torch.sin(2 * torch.pi * n * pitch * time) / n * (n * pitch < 3900) for n in range(1, 9)]
    audio = 0.4 * torch.stack(partials).sum(0) * torch.exp(-6 * time) * (time >= 0)
    return Batch(audio=audio, features=dsp.log_mel(audio, spec))


def copy(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    "check",
    [
        check
        for config in SETTINGS.values()
        for check in battery("objective", lambda engine, c=config: build(c, engine=engine), config=config, still=STILL)
    ],
    ids=str,
)
def test_the_laws_of_objectives(check: Any) -> None:
    check()


def test_default_settings_are_the_official_ones() -> None:
    config = MelGANObjectiveConfig()
    assert (config.adversarial, config.adversarial_weight, config.feature_matching_weight) == ("hinge", 1.0, 10.0)
    assert (config.mel_weight, config.multi_stft_weight, config.adversarial_from_step) == (0.0, 0.0, 0)
    assert (config.learning_rate, config.betas) == (1e-4, (0.5, 0.9))
    assert config.critic == CriticConfig(scales=3, channels=16, layers=4, factor=4, max_channels=1024)


@pytest.mark.parametrize(
    ("name", "terms"),
    [
        ("official", {"critic", "adversarial", "feature_matching", "mel_l1", "generator"}),
        ("all-losses", {"critic", "adversarial", "feature_matching", "mel_l1", "multi_stft", "generator"}),
        ("bce", {"critic", "adversarial", "mel_l1", "generator"}),
        ("reconstruction", {"mel_l1", "generator"}),
    ],
)
def test_terms_are_told_unweighted_and_their_sum_weighted(name: str, terms: set[str]) -> None:
    config = SETTINGS[name]
    with seeded(1):
        told = build(config).step(plucks(0))
    assert set(told) == terms
    weights = {
        "adversarial": config.adversarial_weight,
        "feature_matching": config.feature_matching_weight,
        "mel_l1": config.mel_weight,
        "multi_stft": config.multi_stft_weight,
    }
    total = sum(weight * float(told[term]) for term, weight in weights.items() if term in told)
    assert float(told["generator"]) == pytest.approx(total, rel=1e-5)


def test_without_adversarial_losses_there_is_no_critic() -> None:
    objective = build(SETTINGS["reconstruction"])
    assert not objective.networks
    assert set(objective.optimisers) == {"generator"}


def test_the_critic_waits_for_its_step_and_resumes_waiting() -> None:
    config = MelGANObjectiveConfig(critic=CRITIC, multi_stft_weight=1.0, adversarial_from_step=2)
    with seeded(1):
        objective = build(config)
    before = copy(objective.networks["critic"])
    told = [set(objective.step(plucks(0)))]
    resumed = build(config)
    resumed.load_state_dict(objective.state_dict())
    told.append(set(resumed.step(plucks(1))))
    assert all("critic" not in terms and "adversarial" not in terms for terms in told)
    assert same(before, copy(objective.networks["critic"]))
    assert "critic" in resumed.step(plucks(2))


def test_the_generators_step_computes_no_gradient_for_the_critic() -> None:
    turns: list[str] = []

    class Watching(Engine):
        def update(self, optimiser: torch.optim.Optimizer) -> None:
            turn = next(name for name, one in objective.optimisers.items() if one is optimiser)
            gradients = [parameter.grad for parameter in objective.networks["critic"].parameters()]
            if turn == "critic":
                self.held = [(gradient, gradient.clone()) for gradient in gradients if gradient is not None]
                assert len(self.held) == len(gradients)
            else:
                for (held, copy), gradient in zip(self.held, gradients, strict=True):
                    assert held is gradient
                    assert torch.equal(copy, gradient)
            turns.append(turn)
            super().update(optimiser)

    objective = build(engine=Watching())
    objective.step(plucks(0))
    assert turns == ["critic", "generator"]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_while_the_critic_warms_up_it_learns_alone(accumulate: int) -> None:
    config = MelGANObjectiveConfig(critic=CRITIC, mel_weight=1.0, adversarial_from_step=1, critic_warmup=2)
    with seeded(1):
        objective = build(config, engine=Engine("cpu", Numerics(accumulate=accumulate)))
    networks = {"generator": objective.component.generator, "critic": objective.networks["critic"]}
    moved = []
    for step in range(4):
        before = {name: copy(network) for name, network in networks.items()}
        told = objective.step(plucks(step))
        moved.append({name for name, network in networks.items() if not same(before[name], copy(network))})
        assert ("critic" in told, "generator" in told) == ("critic" in moved[-1], "generator" in moved[-1])
    assert moved == [{"generator"}, {"critic"}, {"critic"}, {"generator", "critic"}]


def test_in_pieces_the_sound_is_made_again_for_the_generator_and_in_one_piece_once() -> None:
    made = []
    for accumulate in (1, 4):
        objective = build(engine=Engine("cpu", Numerics(accumulate=accumulate)))
        forwards: list[bool] = []
        objective.component.generator.register_forward_hook(lambda *_, f=forwards: f.append(torch.is_grad_enabled()))
        objective.step(plucks(0))
        made.append(forwards)
    assert made == [[True], [False] * 4 + [True] * 4]


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_it_learns_in_half_precision_almost_as_in_float32(precision: Any) -> None:
    errors = {}
    for one in ("fp32", precision):
        engine = Engine("cpu", Numerics(precision=one))
        with seeded(1):
            objective = build(SETTINGS["all-losses"], engine=engine)
        for step in range(6):
            objective.step(plucks(step))
        errors[one] = float(objective.evaluate(plucks(1000))["multi_stft"])
        assert all(parameter.dtype == torch.float32 for parameter in objective.component.generator.parameters())
    assert errors[precision] == pytest.approx(errors["fp32"], rel=0.05)


def test_crops_that_are_too_short_are_refused_with_the_shortest_that_works() -> None:
    objective = build()
    with pytest.raises(ConfigError, match=r"at least 4 frames, not 3; set crop_seconds to 0\.032 or more"):
        objective.step(plucks(0, frames=3))
    objective.step(plucks(0, frames=4))


@pytest.mark.parametrize("framing", ["center", "valid"])
def test_it_learns_in_every_framing(framing: Any) -> None:
    spec = dataclasses.replace(SPEC, framing=framing)
    with seeded(1):
        objective = build(SETTINGS["all-losses"], spec)
    batch = plucks(0, spec=spec)
    first = objective.evaluate(batch)
    for _ in range(10):
        objective.step(batch)
    assert objective.evaluate(batch)["multi_stft"] < first["multi_stft"]


def test_settings_that_teach_nothing_are_refused() -> None:
    with pytest.raises(ValidationError, match="nothing to learn"):
        MelGANObjectiveConfig(adversarial_weight=0, feature_matching_weight=0)
    with pytest.raises(ValidationError, match="set mel_weight or multi_stft_weight"):
        MelGANObjectiveConfig(adversarial_from_step=10)
    with pytest.raises(ValidationError, match="critic_warmup needs a critic"):
        MelGANObjectiveConfig(adversarial_weight=0, feature_matching_weight=0, mel_weight=1.0, critic_warmup=5)


def test_sixty_steps_halve_the_mel_error() -> None:
    config = MelGANObjectiveConfig(critic=CRITIC, mel_weight=10.0, multi_stft_weight=1.0, learning_rate=3e-3)
    with seeded(1):
        objective = build(config)
    unseen = plucks(1000, count=8)
    first = objective.evaluate(unseen)
    for step in range(60):
        objective.step(plucks(step))
    last = objective.evaluate(unseen)
    assert last["mel_l1"] < 0.5 * first["mel_l1"]
    assert last["multi_stft"] < first["multi_stft"]
