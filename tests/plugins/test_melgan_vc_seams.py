"""Where MelGAN-VC's pieces meet cannot be told from elsewhere, by any weights: that is how they are assembled, not what was learned."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from synthkit._stages.converted.content import seam_decibels
from synthkit._stages.synthesis import SpecFeatures, extract
from synthkit.audio import read
from synthkit.presets import PRESETS
from synthkit.training.engine import seeded
from synthkit_melgan_vc.config import MelGANVCConfig
from synthkit_melgan_vc.converter import MelGANVC
from synthkit_melgan_vc.network import Generator

SPECS = {"light": "melgan", "melgan-vc": "melgan", "travelgan": "style-transfer"}


def seams(preset: str, features: Tensor, seed: int, beside: dict[str, int]) -> float:
    """Level of the jumps where pieces meet above that of all others, dB, by default or as `beside` says."""
    config = MelGANVCConfig.model_validate({"source": "a", "target": "b", "preset": preset, "channels": 16, **beside})
    with seeded(seed):
        converter = MelGANVC(config, PRESETS[SPECS[preset]].spec, ("a", "b"))
        if (
            isinstance(converter.generator, Generator) and converter.generator.residual
        ):  # it begins with next to no change
            torch.nn.init.normal_(converter.generator.last.weight, std=0.1)
    converter.scaling.fit_range([features])
    made = converter.convert(features)
    return seam_decibels(made[0].numpy(), converter.seams(made.shape[-1]))


@pytest.mark.data
@pytest.mark.parametrize("preset", SPECS)
@pytest.mark.parametrize("file", ["outfoxing.mp3", "waterworks.ogg"])
def test_seams_of_real_music_are_within_1_db_of_the_inside(preset: str, file: str, shared: Path) -> None:
    sound = read(shared / "audio" / "music" / file).mono().crop(0, 20 * 44100)
    features = extract(SpecFeatures(PRESETS[SPECS[preset]].spec), sound).values
    for seed in (1, 2):
        assert abs(seams(preset, features, seed, {})) < 1.0


@pytest.mark.parametrize("preset", ["light", "melgan-vc"])
def test_side_by_side_they_are_told_and_faded_they_are_not(preset: str) -> None:
    random = torch.Generator().manual_seed(5)
    steps = 0.3 * torch.randn(1, 80, 2000, generator=random)
    features = (steps.cumsum(2) - steps.cumsum(2).mean(2, keepdim=True)).clamp(-4, 4) / 4 - 2  # it wanders
    side_by_side = {"overlap_frames": 0, "context_frames": 0}
    assert min(seams(preset, features, seed, side_by_side) for seed in (1, 2, 3)) > 8.0
    assert max(abs(seams(preset, features, seed, {})) for seed in (1, 2, 3)) < 1.0  # dB: here nothing else jumps
