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
from synthkit.training.engine import Engine, seeded
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
    "reconstruction": MelGANObjectiveConfig(adversarial_weight=0, feature_matching_weight=0, mel_weight=1.0),
}
# While both scores lie within the hinge's margin, the gradients of the real and the made cancel at the last bias.
STILL = ("objective.critic.*.layer_4.bias",)


def build(config: MelGANObjectiveConfig = SETTINGS["official"], spec: FeatureSpec = SPEC) -> MelGANObjective:
    return MelGANObjective(config, MelGAN(MelGANConfig(channels=4, ratios=(4, 4, 2, 2)), spec), Engine())


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
        for check in battery("objective", lambda c=config: build(c), config=config, still=STILL)
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
        def backward(self, loss: Tensor, optimiser: torch.optim.Optimizer) -> None:
            turn = next(name for name, one in objective.optimisers.items() if one is optimiser)
            held = [parameter.grad for parameter in objective.networks["critic"].parameters()]
            copies = [grad.clone() for grad in held if grad is not None]
            super().backward(loss, optimiser)
            if turn == "generator":
                after = [parameter.grad for parameter in objective.networks["critic"].parameters()]
                assert all(one is other for one, other in zip(held, after, strict=True))
                assert all(torch.equal(one, other) for one, other in zip(copies, after, strict=True))
            turns.append(turn)

    vocoder = MelGAN(MelGANConfig(channels=4, ratios=(4, 4, 2, 2)), SPEC)
    objective = MelGANObjective(SETTINGS["official"], vocoder, Watching())
    objective.step(plucks(0))
    assert turns == ["critic", "generator"]


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
