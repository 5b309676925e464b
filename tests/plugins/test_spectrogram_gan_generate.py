"""What the spectrogram GAN generates: the laws of models, labels, ways between two items, and clips longer than a map."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from synthkit import dsp
from synthkit._catalog import Catalog
from synthkit._run import checkpoint
from synthkit._run.checkpoint import Identity
from synthkit._run.learner import Learner
from synthkit.errors import ConfigError
from synthkit.interfaces import Blend, Request
from synthkit.sampling import item_generators, slerp
from synthkit.specs import FeatureSpec
from synthkit.testing import battery
from synthkit.training.engine import Engine, seeded
from synthkit_spectrogram_gan.config import SpectrogramGANConfig, SpectrogramGANObjectiveConfig
from synthkit_spectrogram_gan.model import SpectrogramGAN, crossfaded
from synthkit_spectrogram_gan.objective import SpectrogramGANObjective

SPEC = FeatureSpec(sample_rate=22050, n_fft=1024, hop_length=256, n_mels=64)
LABELS = ("blues", "jazz", "rock")
CONFIGS = {
    "dcgan": SpectrogramGANConfig(width=0.05),
    "conditional dcgan": SpectrogramGANConfig(width=0.05, conditional=True, norm="item"),
    "cgan": SpectrogramGANConfig(preset="cgan", width=0.05),
    "mel-patch": SpectrogramGANConfig(preset="mel-patch", conditional=True, overlap=3),
}
FADED = SpectrogramGANConfig(preset="mel-patch", conditional=True)


def build(config: SpectrogramGANConfig = FADED, spec: FeatureSpec = SPEC, **networks: float) -> SpectrogramGAN:
    """A model that has learned nothing, but whose maps are as loud as music."""
    with seeded(1):
        model = SpectrogramGAN(config, spec, LABELS)
        for parameter in model.generator.parameters():
            parameter.data *= 3 if parameter.ndim > 1 else 1
    model.scaling.fit_range([torch.tensor([[[-4.0, 1.0]] * 64])])
    model.generator.eval()
    return model


def made(model: SpectrogramGAN, frames: int, **request: Any) -> Tensor:
    count = len(request["seeds"])
    labels = tuple(LABELS[item % 3] for item in range(count)) if model.labels else None
    return model.generate(Request(**{"frames": frames, "count": count, "labels": labels, **request}))


@pytest.mark.parametrize(
    "check",
    [
        check
        for config in CONFIGS.values()
        for check in battery("model", lambda c=config: SpectrogramGAN(c, SPEC, LABELS), config=config)
    ],
    ids=str,
)
def test_the_laws_of_models(check: Any) -> None:
    check()


class TestLabels:
    def test_a_label_is_the_same_one_hot_vector_wherever_it_is_asked_for(self) -> None:
        model = build()
        alone = made(model, 16, seeds=(5,), labels=("rock",))
        row = made(model, 16, seeds=(4, 5, 6), labels=("jazz", "rock", "blues"))
        assert torch.allclose(row[1], alone[0], atol=1e-5)
        assert not torch.allclose(row[1], made(model, 16, seeds=(5,), labels=("jazz",))[0], atol=1e-2)
        assert model.given(torch.tensor([2, 0])).tolist() == [[0, 0, 1], [1, 0, 0]]  # type: ignore[union-attr]

    def test_an_unconditional_model_has_none(self) -> None:
        model = build(CONFIGS["dcgan"])
        assert model.labels == ()
        with pytest.raises(ConfigError, match="trained without labels"):
            made(model, 64, seeds=(1,), labels=("jazz",))

    def test_a_conditional_model_needs_some(self) -> None:
        with pytest.raises(ConfigError, match="no labels; set conditional to false"):
            SpectrogramGAN(FADED, SPEC, ())
        with pytest.raises(ConfigError, match="needs a label"):
            made(build(), 16, seeds=(1,), labels=None)


class TestWays:
    @pytest.mark.parametrize("ends", [{"labels": ("rock",)}, {"seeds": (9,)}, {"labels": ("rock",), "seeds": (9,)}])
    def test_begin_at_the_item_and_end_at_the_other(self, ends: dict[str, Any]) -> None:
        model = build()
        item = {"seeds": (3,), "labels": ("jazz",)}
        for share, there in ((0.0, item), (1.0, {**item, **ends})):
            between = made(model, 40, **item, blend=Blend(share=(share,), **ends))
            assert torch.allclose(between, made(model, 40, **there), atol=1e-4), share

    def test_go_in_small_steps(self) -> None:
        model, count = build(), 21
        shares = tuple(step / (count - 1) for step in range(count))
        way = made(
            model,
            16,
            seeds=(3,) * count,
            labels=("jazz",) * count,
            blend=Blend(share=shares, labels=("rock",) * count, seeds=(9,) * count),
        )
        steps = [float((b - a).abs().mean()) for a, b in pairwise(way)]
        assert max(steps) < 0.25 * float((way[-1] - way[0]).abs().mean())

    def test_noise_between_two_seeds_is_as_long_as_noise(self) -> None:
        model = build()
        request = Request(frames=16, count=1, seeds=(3,), labels=("jazz",))
        noise = model._noise(replace(request, blend=Blend(share=(0.5,), seeds=(9,))), 1, None)
        ends = [model._noise(replace(request, seeds=(seed,)), 1, None).norm() for seed in (3, 9)]
        assert min(ends) * 0.9 < noise.norm() < max(ends) * 1.1

    def test_of_parallel_vectors_is_straight(self) -> None:
        one = torch.tensor([1.0, 0.0])
        assert torch.allclose(slerp(one, 3 * one, torch.tensor(0.5)), 2 * one)


def test_a_lower_temperature_is_less_varied() -> None:
    model = build()
    spreads = [
        float(made(model, 16, seeds=tuple(range(12)), labels=("jazz",) * 12, temperature=t).std(dim=0).mean())
        for t in (0.25, 0.5, 1.0)
    ]
    assert spreads[0] < 0.6 * spreads[1] < 0.6 * spreads[2]


class TestLongClips:
    def test_a_clip_as_long_as_a_map_is_the_map(self) -> None:
        model = build()
        noise = torch.randn(20, generator=item_generators(Request(frames=16, seeds=(8,)))[0])
        with torch.no_grad():
            maps = model.generator(noise[None], torch.tensor([[0.0, 1.0, 0.0]]))
        assert torch.allclose(made(model, 16, seeds=(8,), labels=("jazz",)), model.features(maps), atol=1e-5)

    @pytest.mark.parametrize("frames", [1, 5, 16, 17, 24, 25, 200])
    @pytest.mark.parametrize("overlap", [0, 3, 8])
    def test_have_the_length_that_was_asked_for(self, frames: int, overlap: int) -> None:
        model = build(SpectrogramGANConfig(preset="mel-patch", overlap=overlap))
        assert made(model, frames, seeds=(1, 2)).shape == (2, 64, frames)

    def test_begin_like_longer_ones(self) -> None:
        model = build()
        longer, shorter = made(model, 160, seeds=(1, 2)), made(model, 40, seeds=(1, 2))
        assert torch.allclose(longer[..., :32], shorter[..., :32], atol=1e-5)

    def test_an_item_is_its_own_in_any_company(self) -> None:
        model = build()
        many = made(model, 120, seeds=tuple(range(40)), labels=("jazz",) * 40)  # more maps than go through at once
        assert torch.allclose(many[17:18], made(model, 120, seeds=(17,), labels=("jazz",)), atol=1e-5)

    @pytest.mark.parametrize("steadiness", [0.0, 0.8])
    def test_the_noise_of_neighbours_is_normal_and_as_alike_as_asked(self, steadiness: float) -> None:
        model = build(SpectrogramGANConfig(preset="mel-patch", steadiness=steadiness, latent=400))
        path = model._path([torch.Generator().manual_seed(seed) for seed in range(20)], 12)
        assert float(path.std()) == pytest.approx(1.0, abs=0.02)
        assert float((path[:, :-1] * path[:, 1:]).mean()) == pytest.approx(steadiness, abs=0.02)

    @pytest.mark.parametrize("power", [1, 2])
    def test_where_two_maps_meet_their_powers_add_up(self, power: int) -> None:
        """Two tones in bands of their own: each fades by cos^2 or sin^2 of its power, so that together they are as loud as ever."""
        spec = replace(SPEC, n_mels=2, power=power, floor=1e-9)
        before, after = torch.full((1, 2, 12), 1e-9), torch.full((1, 2, 12), 1e-9)
        before[:, 0], after[:, 1] = 1.0, 1.0
        faded = dsp.expand(crossfaded([before.log10(), after.log10()], 6, spec), spec) ** (2 / power)
        assert faded.shape == (1, 2, 18)
        assert torch.allclose(faded.sum(dim=1), torch.ones(1, 18), atol=1e-4)
        assert bool((faded[0, 0].diff() <= 1e-6).all())
        assert bool((faded[0, 1].diff() >= -1e-6).all())

    def test_a_steady_sound_stays_steady(self) -> None:
        steady = torch.linspace(-3, 0, 64)[None, :, None].expand(2, 64, 16)
        assert torch.allclose(crossfaded([steady] * 5, 8, SPEC), steady[..., :1].expand(2, 64, 48), atol=1e-5)

    def test_there_is_no_seam(self) -> None:
        """Of maps that each hold one steady sound, the sound changes in small steps; maps merely put in a row jump."""
        levels = 10 * torch.rand(6, 3, 64, 1, generator=torch.Generator().manual_seed(1)) - 9
        maps = [level.clamp(min=-5).expand(3, 64, 16) for level in levels]

        def largest_step(overlap: int) -> Tensor:
            return dsp.expand(crossfaded(maps, overlap, SPEC), SPEC).square().diff(dim=-1).abs().amax(dim=(1, 2))

        assert bool((largest_step(8) < 0.21 * largest_step(0)).all())
        assert bool((largest_step(4) < 0.41 * largest_step(0)).all())


class TestSettings:
    def test_features_of_other_bands_are_answered_with_what_would_fit(self) -> None:
        with pytest.raises(ConfigError, match="set n_mels to 64"):
            SpectrogramGAN(FADED, replace(SPEC, n_mels=80), LABELS)

    def test_linear_features_are_refused(self) -> None:
        with pytest.raises(ConfigError, match="needs features with a log"):
            SpectrogramGAN(FADED, replace(SPEC, log="none", floor=0.0), LABELS)

    def test_more_than_two_maps_never_sound_at_once(self) -> None:
        with pytest.raises(ValidationError, match="at most half of a map, 8 frames"):
            SpectrogramGANConfig(preset="mel-patch", overlap=9)

    def test_what_is_written_lies_over_the_preset(self) -> None:
        own = SpectrogramGANConfig(preset="cgan", latent=7, conditional=False, norm="item", width=0.5).architecture
        assert (own.latent, own.conditional, own.norm, own.hidden) == (7, False, "item", (128,))

    def test_settings_say_what_the_model_can(self) -> None:
        assert FADED.abilities() == SpectrogramGAN.abilities


def test_what_lies_below_the_floor_is_silence() -> None:
    model = build()
    features = model.features(torch.full((1, 64, 16), -3.0))  # SELU can give what no feature can be
    assert features.min() == features.max() == pytest.approx(SPEC.silence)


def test_a_checkpoint_means_the_same_labels_in_another_process(tmp_path: Path) -> None:
    """The order of labels is in the checkpoint; a model that learned none has none when it is loaded, whatever the clips have."""
    catalog = Catalog.discover()
    for config, labels in ((FADED, LABELS), (SpectrogramGANConfig(preset="mel-patch"), ())):
        model = build(config)
        offered, _ = catalog.configure("model", "spectrogram-gan", {})
        objective = SpectrogramGANObjective(SpectrogramGANObjectiveConfig(), model, Engine())
        learner = Learner(component=model, objective=objective, engine=Engine())
        identity = Identity(offered=offered, config=config, spec=SPEC, labels=LABELS)
        folder = checkpoint.save(tmp_path, 1 + len(labels), identity, learner, {})
        loaded, _ = checkpoint.load_component(folder, catalog)
        assert isinstance(loaded, SpectrogramGAN)
        assert loaded.labels == labels
        assert torch.equal(made(loaded, 40, seeds=(3, 4)), made(model, 40, seeds=(3, 4)))
