"""MelGAN-VC learns: in half a minute a converter of tones moves what it hears towards the target, and keeps what happens."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from synthkit import dsp
from synthkit.builtin.config import TonesConfig
from synthkit.builtin.tones import Tones
from synthkit.interfaces import Batch
from synthkit.specs import FeatureSpec
from synthkit.training.engine import Engine, seeded
from synthkit_melgan_vc.config import MelGANVCConfig, MelGANVCObjectiveConfig
from synthkit_melgan_vc.content import courses
from synthkit_melgan_vc.converter import MelGANVC
from synthkit_melgan_vc.objective import MelGANVCObjective

SPEC = FeatureSpec(sample_rate=8000, n_fft=512, hop_length=128, n_mels=32, floor=1e-3)
LABELS = ("bells", "melody")


@lru_cache
def clips() -> dict[str, Tensor]:
    tones = Tones(TonesConfig(clips_per_label=12, sample_rate=8000))
    found = {label: [clip for clip in tones.clips() if clip.label == label] for label in LABELS}
    return {
        label: dsp.log_mel(torch.stack([torch.from_numpy(tones.open(clip).samples[0]) for clip in some]), SPEC)
        for label, some in found.items()
    }


def batch(step: int, items: int = 6, frames: int = 72) -> Batch:
    """As many crops of bells as of melodies, all of them at random moments."""
    random = torch.Generator().manual_seed(step)
    crops = []
    for label in LABELS:
        for row in torch.randint(12, (items,), generator=random):
            start = int(torch.randint(250 - frames, (), generator=random))
            crops.append(clips()[label][row, :, start : start + frames])
    labels = torch.arange(2).repeat_interleave(items)
    return Batch(audio=torch.zeros(2 * items, 1), features=torch.stack(crops), labels=labels)


def followed(made: Tensor, source: Tensor) -> float:
    """How far the loudness of each clip follows that of another: the mean correlation."""
    one, other = courses(made, SPEC)[0], courses(source, SPEC)[0]
    return float(torch.stack([torch.corrcoef(torch.stack(pair))[0, 1] for pair in zip(one, other, strict=True)]).mean())


def test_conversion_moves_towards_the_target_and_keeps_what_happens() -> None:
    source, target = "melody", "bells"
    with seeded(1):
        component = MelGANVC(MelGANVCConfig(source=source, target=target, channels=24), SPEC, LABELS)
        objective = MelGANVCObjective(MelGANVCObjectiveConfig(), component, Engine())
    objective.survey(batch(-1 - number) for number in range(8))
    terms: dict[str, list[float]] = {}
    for step in range(120):
        for name, value in objective.step(batch(step)).items():
            terms.setdefault(name, []).append(float(value))
    early = {name: sum(values[:20]) / 20 for name, values in terms.items()}
    late = {name: sum(values[-20:]) / 20 for name, values in terms.items()}
    assert late["critic"] < 0.95 * objective.undecided()["critic"]  # it tells the two apart better than by chance
    assert late["travel"] < early["travel"]

    given, real = clips()[source], clips()[target]
    made = component.convert(given)

    def spectrum_apart(x: Tensor) -> float:
        return float((x.mean(dim=(0, 2)) - real.mean(dim=(0, 2))).abs().mean())

    assert spectrum_apart(made) < 0.4 * spectrum_apart(given)
    assert followed(made, given) > 0.75
    assert followed(made.roll(1, 0), given) < 0.4
    kept = component.convert(real)
    assert float((kept - real).abs().mean()) < 0.4 * float((made - given).abs().mean())
