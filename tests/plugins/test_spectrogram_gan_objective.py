"""How the spectrogram GAN learns: the laws of objectives, and that none of the published faults comes back."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from synthkit import dsp
from synthkit.errors import ConfigError
from synthkit.interfaces import Batch
from synthkit.specs import FeatureSpec
from synthkit.testing import battery
from synthkit.training.engine import Engine, Numerics, seeded
from synthkit_spectrogram_gan.config import SpectrogramGANConfig, SpectrogramGANObjectiveConfig
from synthkit_spectrogram_gan.model import SpectrogramGAN
from synthkit_spectrogram_gan.objective import SpectrogramGANObjective

SPEC = FeatureSpec(sample_rate=8000, n_fft=512, hop_length=128, n_mels=64)
LABELS = ("blues", "jazz", "rock")
MODELS = {
    "dcgan": SpectrogramGANConfig(width=0.05),
    "told dcgan": SpectrogramGANConfig(width=0.05, conditional=True, norm="item"),
    "cgan": SpectrogramGANConfig(preset="cgan", width=0.05),
    "mel-patch": SpectrogramGANConfig(preset="mel-patch", conditional=True),
}
OBJECTIVES = {
    "dcgan": SpectrogramGANObjectiveConfig(),
    "told dcgan": SpectrogramGANObjectiveConfig(adversarial="least-squares", critic_noise=0.0),
    "cgan": SpectrogramGANObjectiveConfig(dropout=0.0, critic_noise=0.0, adversarial="hinge"),
    "mel-patch": SpectrogramGANObjectiveConfig(),
}
# While both scores lie within the hinge's margin, the gradients of the real and the made cancel at the last bias.
STILL = ("objective.critic.score.3.bias",)


def build(
    name: str = "mel-patch", engine: Engine | None = None, spec: FeatureSpec = SPEC, **config: Any
) -> SpectrogramGANObjective:
    model = SpectrogramGAN(MODELS[name], spec, LABELS)
    model.scaling.fit_range([torch.tensor([[[-5.0, 1.0]] * 64])])
    settings = SpectrogramGANObjectiveConfig(**config) if config else OBJECTIVES[name]
    return SpectrogramGANObjective(settings, model, engine or Engine())


def batch(name: str = "mel-patch", items: int = 3, spec: FeatureSpec = SPEC) -> Batch:
    """Tones that rise, with noise below them."""
    frames = MODELS[name].architecture.size[1]
    time = torch.arange(spec.samples(frames)) / spec.sample_rate
    audio = torch.stack(
        [0.5 * torch.sin(2 * torch.pi * (200 + 300 * item) * (1 + time) * time) for item in range(items)]
    )
    audio = audio + 0.01 * torch.randn(audio.shape, generator=torch.Generator().manual_seed(1))
    return Batch(audio=audio, features=dsp.log_mel(audio, spec), labels=torch.arange(items) % 3)


@pytest.mark.parametrize(
    "check",
    [
        check
        for name, config in OBJECTIVES.items()
        for check in battery(
            "objective", lambda engine, n=name: build(n, engine), config=config, batch=batch(name), still=STILL
        )
        # On a CPU each process normalises by its own share of a batch: see docs/distributed.md.
        if (name, str(check)) != ("dcgan", "objective-a-batch-shared")
    ],
    ids=str,
)
def test_the_laws_of_objectives(check: Any) -> None:
    check()


@pytest.mark.parametrize("name", ["dcgan", "cgan"])
def test_what_works_on_a_whole_batch_is_not_given_pieces(name: str) -> None:
    with pytest.raises(ConfigError, match="work on a batch as a whole"):
        build(name, Engine("cpu", Numerics(accumulate=2)), learning_rate=1e-4)
    build("told dcgan", Engine("cpu", Numerics(accumulate=2)))


class TestThePublishedSettings:
    def test_are_the_defaults(self) -> None:
        config = SpectrogramGANObjectiveConfig()
        assert (config.adversarial, config.learning_rate, config.betas) == ("bce", 2e-4, (0.5, 0.999))
        groups = [optimiser.param_groups[0] for optimiser in build("dcgan").optimisers.values()]
        assert [(group["lr"], group["betas"]) for group in groups] == [(2e-4, (0.5, 0.999))] * 2

    @pytest.mark.parametrize("name", ["dcgan", "mel-patch"])
    def test_are_binary_cross_entropy_of_real_against_made(self, name: str) -> None:
        """The first step's losses, computed the way the projects wrote them: targets of 1 and 0, a mean over the items."""
        data, cross_entropy = batch(name), torch.nn.functional.binary_cross_entropy_with_logits
        with seeded(1):
            one = build(name, critic_noise=0.0, learning_rate=1e-4)
        with seeded(1):
            other = build(name, critic_noise=0.0, learning_rate=1e-4)
        for objective in (one, other):
            objective._engine.begin(5)
        terms = one.step(data)
        model, critic = other.component, other.critic
        told = model.given(data.labels)
        made = model.generator(other._engine.randn(data, model.architecture.latent), told)
        said_made, said_real = critic(made, told)[0][0], critic(model.scaling(data.features), told)[0][0]
        loss = cross_entropy(said_real, torch.ones(3, 1)) + cross_entropy(said_made, torch.zeros(3, 1))
        assert terms["critic"].item() == pytest.approx(loss.item(), rel=1e-4)
        assert terms["d_real"].item() == pytest.approx(said_real.sigmoid().mean().item(), rel=1e-4)
        critic.load_state_dict(one.critic.state_dict())  # the generator is judged by the critic that has learned
        said_made = critic(made, told)[0][0]
        assert terms["generator"].item() == pytest.approx(cross_entropy(said_made, torch.ones(3, 1)).item(), rel=1e-2)

    def test_an_undecided_critic_loses_two_bits(self) -> None:
        assert build().undecided() == {"critic": pytest.approx(2 * math.log(2))}


class TestWhatTheCriticHears:
    def heard(self, **config: Any) -> list[tuple[Tensor, Tensor | None]]:
        """What it hears in a step and what it is told: of the made, of the real, and again of the made."""
        objective, said = build(**config), []
        objective.critic.register_forward_pre_hook(lambda _, inputs: said.append((inputs[0].detach(), inputs[1])))
        objective.step(batch())
        return said

    def test_labels_are_one_hot_and_the_same_for_the_made_as_for_the_real(self) -> None:
        """Once fake labels were random whole numbers in every slot, and the critic knew the made by them."""
        heard = self.heard()
        assert len(heard) == 3
        for _, told in heard:
            assert told is not None
            assert torch.equal(told, torch.eye(3))

    def test_the_real_lies_where_the_made_can_lie(self) -> None:
        """Once the real lay in 0..1 and the made in -1..1."""
        objective = build("dcgan")
        objective.survey([batch("dcgan")])
        real = objective.component.scaling(batch("dcgan").features)
        assert [float(real.min()), float(real.max())] == pytest.approx([-1.0, 1.0])

    def test_a_louder_clip_is_a_brighter_map(self) -> None:
        """Once each picture had colours of its own, and loudness was lost."""
        objective, data = build(), batch()
        scaling = objective.component.scaling
        ten_times = scaling(data.features + 1) - scaling(data.features)
        assert torch.allclose(ten_times, ten_times[:1, :1, :1].expand_as(ten_times), atol=1e-5)
        assert torch.allclose(objective.component.features(scaling(data.features)), data.features, atol=1e-4)

    def test_noise_is_added_to_both(self) -> None:
        quiet, noisy = self.heard(critic_noise=0.0), self.heard(critic_noise=0.5)
        added = noisy[1][0] - quiet[1][0]
        assert float(added.std()) == pytest.approx(0.5, rel=0.05)
        assert float(noisy[0][0].std()) > 0.45

    @pytest.mark.parametrize(
        ("framing", "seconds"), [("same", 16 * 128 / 8000), ("center", 15 * 128 / 8000), ("valid", 15 * 128 / 8000)]
    )
    def test_is_never_squeezed(self, framing: Any, seconds: float) -> None:
        """Once half a minute was squeezed into 64 columns. Crops have a map's frames, and the message says how long that is."""

        spec = replace(SPEC, framing=framing)
        objective, data = build(spec=spec), batch("dcgan", spec=spec)
        with pytest.raises(
            ConfigError, match=rf"exactly 16 frames, not 64; set crop_seconds to {seconds:.4f}"
        ) as error:
            objective.step(data)
        advice = float(str(error.value).rsplit(" ", 1)[1])
        assert spec.frames(spec.crop_samples(advice)) == 16

    def test_crops_without_labels_are_refused_where_labels_are_learned(self) -> None:
        with pytest.raises(ConfigError, match="every crop needs a label"):
            build().step(replace(batch(), labels=None))
        build("dcgan").step(replace(batch("dcgan"), labels=None))


def test_evaluation_sees_a_collapse() -> None:
    """One map for all is as far from the real in `spread` as the real vary; the real themselves are at 0."""
    objective, data = build(critic_noise=0.0), batch(items=6)
    model = objective.component

    class Constant(torch.nn.Module):
        def __init__(self, maps: Tensor) -> None:
            super().__init__()
            self.maps = maps

        def forward(self, noise: Tensor, told: Tensor | None) -> Tensor:
            return self.maps

    real = model.scaling(data.features)
    for maps, expected in ((real, 0.0), (real.mean(dim=(0, 2), keepdim=True).expand_as(real), None)):
        objective._generator = Constant(maps)  # type: ignore[assignment]
        terms = objective.evaluate(data)
        assert float(terms["spectrum"]) == pytest.approx(0.0, abs=1e-4)
        spread = float(data.features.std(dim=(0, 2)).mean())
        assert float(terms["spread"]) == pytest.approx(spread if expected is None else expected, abs=1e-4)
