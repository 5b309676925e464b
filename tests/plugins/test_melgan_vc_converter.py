"""The converter: laws, lengths, seams, directions, and what settings are refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from synthkit.errors import ConfigError
from synthkit.presets import find_preset
from synthkit.scaling import FeatureScaling
from synthkit.specs import FeatureSpec
from synthkit.testing import battery, declaration
from synthkit.testing.sounds import features
from synthkit.training.engine import seeded
from synthkit_melgan_vc.config import MelGANVCConfig
from synthkit_melgan_vc.converter import MelGANVC
from synthkit_melgan_vc.pieces import AT_ONCE, Pieces

SPEC = FeatureSpec(sample_rate=16000, n_fft=512, hop_length=128, n_mels=32)
LABELS = ("bells", "melody", "noise")
SETTINGS = {
    "light": MelGANVCConfig(source="melody", target="bells", channels=8),
    "melgan-vc": MelGANVCConfig(source="melody", target="bells", preset="melgan-vc", channels=8),
    "side-by-side": MelGANVCConfig(source="melody", target="bells", channels=8, overlap_frames=0),
    "travelgan": MelGANVCConfig(source="melody", target="bells", preset="travelgan", channels=2, piece_frames=32),
}


def build(config: MelGANVCConfig = SETTINGS["light"], spec: FeatureSpec = SPEC) -> MelGANVC:
    converter = MelGANVC(config, spec, LABELS)
    converter.scaling.fit_range([torch.tensor([[[-5.0, 2.0]] * spec.n_mels])])
    return converter


class Same(nn.Module):
    """A generator that changes nothing."""

    def forward(self, x: Tensor) -> Tensor:
        return x


@pytest.mark.parametrize(
    "check",
    [check for config in SETTINGS.values() for check in battery("converter", lambda c=config: build(c), config=config)],
    ids=str,
)
def test_the_laws_of_converters(check: Any) -> None:
    check()


@pytest.mark.parametrize("check", declaration("synthkit_melgan_vc.plugin"), ids=str)
def test_the_declaration(check: Any) -> None:
    check()


@pytest.mark.parametrize("config", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("frames", [1, 23, 24, 25, 32, 33, 500])
def test_an_identity_comes_back_as_it_was_without_a_seam(config: MelGANVCConfig, frames: int) -> None:
    converter = build(config)
    converter.generator = Same()
    given = features(SPEC, frames)
    apart = (converter.convert(given) - given.clamp(min=SPEC.silence)).abs().max()
    assert float(apart) < 1e-4


def test_seams_are_faded_over_the_overlap() -> None:
    """Pieces that differ by a constant are joined by a straight line, and by a step where they stand side by side."""
    steps = iter(range(100))

    def rising(cut: Tensor) -> Tensor:
        return cut * 0 + torch.tensor([float(next(steps)) for _ in cut])[:, None, None, None]

    frames = torch.zeros(1, 1, 20)
    faded = Pieces(rising, length=8, overlap=4)
    made = torch.cat([*faded.give(frames), *faded.end()], dim=-1)[0, 0]
    assert made[:10].tolist() == [0, 0, 0, 0, 0.125, 0.375, 0.625, 0.875, 1.125, 1.375]
    assert float(made.diff().abs().max()) == pytest.approx(0.25)
    steps = iter(range(100))
    side = Pieces(rising, length=8, overlap=0)
    assert torch.cat([*side.give(frames), *side.end()], dim=-1)[0, 0].tolist() == [0.0] * 8 + [1.0] * 8 + [2.0] * 4


@pytest.mark.parametrize("frames", [1, 5, 6, 7, 11, 40])
def test_every_frame_is_heard_with_its_context(frames: int) -> None:
    """Nothing of what stands at the ends of a piece is kept, also at the ends of a clip."""

    def spoiled(cut: Tensor) -> Tensor:
        made = cut.clone()
        made[..., :2] = made[..., -2:] = float("nan")
        return made

    given = torch.randn(1, 3, frames)
    pieces = Pieces(spoiled, length=12, overlap=3, context=2)
    made = torch.cat(
        [part for piece in given.split(4, dim=-1) for part in pieces.give(piece)] + list(pieces.end()), dim=-1
    )
    torch.testing.assert_close(made, given)


def test_memory_does_not_grow_with_the_length() -> None:
    converter = build()
    most: dict[int, int] = {}
    seen = 0

    def endless(frames: int) -> Iterator[Tensor]:
        for _ in range(frames // 50):
            yield torch.zeros(2, SPEC.n_mels, 50)

    for frames in (1_000, 8_000):
        largest = 0
        for piece in converter.stream(endless(frames)):
            seen += piece.shape[-1]
            largest = max(largest, piece.shape[-1])
        most[frames] = largest
    assert seen == 9_000
    assert most[1_000] == most[8_000] <= 50 + converter.system.piece_frames
    assert max(_batches(converter, 8_000)) <= AT_ONCE


def _batches(converter: MelGANVC, frames: int) -> list[int]:
    """How many pieces go through the generator at once when a whole clip is given."""
    sizes: list[int] = []
    hook = converter.generator.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    converter.convert(torch.zeros(2, SPEC.n_mels, frames))
    hook.remove()
    return sizes


def test_directions_come_from_the_settings_not_from_an_order() -> None:
    """Starting project 001 trained its generators on the opposite direction."""
    there = MelGANVC(MelGANVCConfig(source="melody", target="bells", channels=8), SPEC, LABELS)
    back = MelGANVC(MelGANVCConfig(source="bells", target="melody", channels=8), SPEC, LABELS)
    assert (there.source, there.target) == ("melody", "bells") == (back.target, back.source)


def test_every_value_of_the_features_can_be_reached() -> None:
    """Starting project 001 had a tanh, -1 to 1, against features of -5 to 2."""
    converter = build(SETTINGS["melgan-vc"])
    reach = converter.scaling.inverse(torch.tensor([[[-1.0, 1.0]]]))
    assert reach[0, 0].tolist() == pytest.approx([-5.0, 2.0])
    assert isinstance(converter.networks["scaling"], FeatureScaling)  # saved with the generator


def test_what_is_made_is_nowhere_below_the_floor() -> None:
    with seeded(3):
        converter = build()
    nn.init.constant_(converter.generator.bias, -9.0)  # type: ignore[arg-type]
    made = converter.convert(features(SPEC, 50))
    assert float(made.min()) >= SPEC.silence - 1e-4


def test_silence_stays_silence() -> None:
    config = MelGANVCConfig(source="melody", target="bells", channels=8, gate_silence=False)
    still = torch.full((1, SPEC.n_mels, 100), SPEC.silence)
    still[..., 40:60] = 0.0
    quiet = torch.ones(100, dtype=torch.bool)
    quiet[40:60] = False
    with seeded(3):
        gated, open_ = build(), build(config)
    assert torch.equal(gated.convert(still)[..., quiet], still[..., quiet])
    assert not torch.equal(gated.convert(still), still)
    assert not torch.equal(open_.convert(still)[..., quiet], still[..., quiet])


@pytest.mark.parametrize(
    ("preset", "spec"), [("melgan-vc", "melgan-vc"), ("light", "melgan"), ("travelgan", "style-transfer")]
)
def test_presets_fit_the_features_they_were_published_with(preset: Any, spec: str) -> None:
    found = find_preset(spec).spec
    MelGANVCConfig(source="a", target="b", preset=preset).check_spec(found)
    if preset == "melgan-vc":
        assert (found.sample_rate, found.n_fft, found.hop_length, found.n_mels) == (16000, 1152, 192, 192)
        assert (found.power, found.log) == (2, "db")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"source": "a", "target": "a"}, "nothing to convert"),
        ({"piece_frames": 26}, "multiple of 4 for light"),
        ({"preset": "travelgan", "piece_frames": 48}, "multiple of 32 for travelgan"),
        ({"piece_frames": 8}, "piece_frames must be 12 or more"),
        ({"overlap_frames": 9}, "at most half of what is kept of a piece: of 24 frames the context_frames, 4,"),
        ({"context_frames": 12}, "at most half of what is kept of a piece"),
        ({"presets": "light"}, "Extra inputs"),
    ],
)
def test_settings_that_contradict_themselves_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        MelGANVCConfig(**{"source": "a", "target": "b", **settings})


def test_what_cannot_be_converted_is_refused_in_a_sentence() -> None:
    with pytest.raises(ConfigError, match=r"no label 'bell' in the data to convert between; did you mean 'bells'\?"):
        MelGANVC(MelGANVCConfig(source="melody", target="bell"), SPEC, LABELS)
    linear = FeatureSpec(sample_rate=16000, n_fft=512, hop_length=128, n_mels=32, log="none", floor=0.0)
    with pytest.raises(ConfigError, match="set log to log10"):
        build(spec=linear)
    few = FeatureSpec(sample_rate=16000, n_fft=512, hop_length=128, n_mels=20)
    with pytest.raises(ConfigError, match="light needs features of 32 bands or more, not of n_mels 20"):
        build(spec=few)
    with pytest.raises(ConfigError, match=r"needs features \[B, 32, N\], not \[1, 80, 9\]"):
        build().convert(torch.zeros(1, 80, 9))
    with pytest.raises(ConfigError, match=r"between 0 and 1, not at 1.5"):
        build().convert(torch.zeros(1, 32, 9), strength=1.5)
