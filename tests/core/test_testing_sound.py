"""The battery for extractors and vocoders: honest ones pass every law, and each law catches one that breaks it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from synthkit.builtin.config import LogMelConfig
from synthkit.builtin.log_mel import LogMel
from synthkit.dsp import log_mel
from synthkit.interfaces import (
    FeatureExtractor,
    Kind,
    Vocoder,
)
from synthkit.specs import FeatureSpec
from synthkit.testing import battery

SPEC = FeatureSpec(sample_rate=16000, n_fft=256, hop_length=64, n_mels=12)


class Features(FeatureExtractor):
    def __init__(self) -> None:
        self.spec = SPEC

    def extract(self, samples: Tensor) -> Tensor:
        return log_mel(samples, SPEC)


class Voice(Vocoder):
    """A linear map from each frame to its samples."""

    def __init__(self) -> None:
        self.spec = SPEC
        self.map = nn.Linear(SPEC.n_mels, SPEC.hop_length)

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        return {"map": self.map}

    def waves(self, features: Tensor) -> Tensor:
        return self.map(features.transpose(1, 2)).flatten(1).tanh()

    @torch.no_grad()
    def vocode(self, features: Tensor, *, random: torch.Generator | None = None, progress: Any = None) -> Tensor:
        if progress:
            progress(1, 1)
        return self.waves(features)


class Hiss(Vocoder):
    """Learns nothing: noise as loud as the frame."""

    def __init__(self) -> None:
        self.spec = SPEC

    def vocode(self, features: Tensor, *, random: torch.Generator | None = None, progress: Any = None) -> Tensor:
        level = (10**features).mean(1).repeat_interleave(SPEC.hop_length, 1)
        return (0.1 * level * torch.randn(level.shape, generator=random)).clamp(-1, 1)


HONEST: dict[str, tuple[Callable[..., Any], ...]] = {
    "features": (Features, lambda: LogMel(LogMelConfig(preset="hifi-gan"))),
    "vocoder": (Voice, Hiss),
}


class Short(Features):
    def extract(self, samples: Tensor) -> Tensor:
        return super().extract(samples)[..., :-1]


class Double(Features):
    def extract(self, samples: Tensor) -> Tensor:
        return super().extract(samples).double()


class NanOfSilence(Features):
    def extract(self, samples: Tensor) -> Tensor:
        return super().extract(samples / samples.abs().amax(1, keepdim=True))


class ScaledByBatch(Features):
    def extract(self, samples: Tensor) -> Tensor:
        return super().extract(samples / samples.abs().max().clamp(min=1e-3))


class Dithered(Features):
    def extract(self, samples: Tensor) -> Tensor:
        return super().extract(samples + 1e-3 * torch.randn_like(samples))


class ReseedingPython(Features):
    def extract(self, samples: Tensor) -> Tensor:
        random.random()
        return super().extract(samples)


class ReseedingNumpy(Features):
    def extract(self, samples: Tensor) -> Tensor:
        np.random.rand()
        return super().extract(samples)


class InPlace(Features):
    def extract(self, samples: Tensor) -> Tensor:
        with torch.no_grad():
            samples *= 0.5
        return super().extract(samples)


class Detached(Features):
    def extract(self, samples: Tensor) -> Tensor:
        return super().extract(samples.detach())


class Humming(Features):
    def extract(self, samples: Tensor) -> Tensor:
        return super().extract(samples + 0.01)


class OneTooMany(Voice):
    def waves(self, features: Tensor) -> Tensor:
        return nn.functional.pad(super().waves(features), (0, 1))


class TooLoud(Voice):
    def waves(self, features: Tensor) -> Tensor:
        return 2 * super().waves(features)


class WithGradient(Voice):
    def vocode(self, features: Tensor, *, random: torch.Generator | None = None, progress: Any = None) -> Tensor:
        return self.waves(features)


class Neighbourly(Voice):
    def waves(self, features: Tensor) -> Tensor:
        return super().waves(features - features.mean())


class Moody(Hiss):
    def vocode(self, features: Tensor, *, random: torch.Generator | None = None, progress: Any = None) -> Tensor:
        return super().vocode(features, random=None)


class Secret(Voice):
    def __init__(self) -> None:
        super().__init__()
        self.gain = torch.rand(1)

    def waves(self, features: Tensor) -> Tensor:
        return self.gain * super().waves(features)


class Wearing(Voice):
    @torch.no_grad()
    def waves(self, features: Tensor) -> Tensor:
        self.map.weight *= 0.9
        return super().waves(features)


class Boasting(Voice):
    @torch.no_grad()
    def vocode(self, features: Tensor, *, random: torch.Generator | None = None, progress: Any = None) -> Tensor:
        progress and progress(2, 1)
        return self.waves(features)


class Hissing(Hiss):
    def vocode(self, features: Tensor, *, random: torch.Generator | None = None, progress: Any = None) -> Tensor:
        return super().vocode(features + 5, random=random)


class Unsteady(Voice):
    """Makes each piece louder than the last."""

    def stream(self, frames: Iterable[Tensor], *, random: torch.Generator | None = None) -> Iterator[Tensor]:
        for number, piece in enumerate(frames):
            yield self.vocode(piece) * 0.9**number


class Dawdling(Voice):
    """Waits for everything although it promises not to."""

    latency_frames = 2


class Levelling(Voice):
    """Fills items up with silence and forgets to cut them."""

    def vocode_each(self, features: Sequence[Tensor], *, random: torch.Generator | None = None) -> list[Tensor]:
        longest = max(item.shape[-1] for item in features)
        filled = [nn.functional.pad(item, (0, longest - item.shape[-1])) for item in features]
        return list(self.vocode(torch.stack(filled)))


VIOLATORS: list[tuple[Kind, str, Callable[..., Any], str]] = [
    ("features", "length", Short, "not [1, 12,"),
    ("features", "values", Double, "torch.float64"),
    ("features", "values", NanOfSilence, "features of silence are not finite"),
    ("features", "independence", ScaledByBatch, "neighbours"),
    ("features", "determinism", Dithered, "changes torch's global random state"),
    ("features", "determinism", ReseedingPython, "changes Python's global random state"),
    ("features", "determinism", ReseedingNumpy, "changes numpy's global random state"),
    ("features", "input-kept", InPlace, "writes into the samples"),
    ("features", "gradient", Detached, "carry no gradient"),
    ("features", "silence", Humming, "away from spec.silence"),
    ("vocoder", "length", OneTooMany, "samples, not"),
    ("vocoder", "values", TooLoud, "reach"),
    ("vocoder", "values", WithGradient, "carry a gradient"),
    ("vocoder", "independence", Neighbourly, "neighbours"),
    ("vocoder", "determinism", Moody, "changes torch's global random state"),
    ("vocoder", "nothing-changed", Wearing, "changes map.weight"),
    ("vocoder", "saved-and-loaded", Secret, "in no network"),
    ("vocoder", "progress", Boasting, "(2, 1)"),
    ("vocoder", "streaming", Unsteady, "samples that differ"),
    ("vocoder", "streaming", Dawdling, "0 samples only"),
    ("vocoder", "unequal-lengths", Levelling, "samples"),
    ("vocoder", "silence", Hissing, "a level of"),
]


@pytest.mark.parametrize("kind", HONEST)
def test_honest_components_pass(kind: Any) -> None:
    for build in HONEST[kind]:
        for check in battery(kind, build):
            check()


@pytest.mark.parametrize(
    ("kind", "law", "build", "how"), VIOLATORS, ids=[f"{kind}-{law}-{it.__name__}" for kind, law, it, _ in VIOLATORS]
)
def test_each_law_catches_its_violator(kind: Kind, law: str, build: Callable[..., Any], how: str) -> None:
    check = next(check for check in battery(kind, build) if check.name == f"{kind}-{law}")
    with pytest.raises(AssertionError) as caught:
        check()
    assert str(caught.value).startswith(f"{check.law} Here ")
    assert how in str(caught.value)


def test_every_law_has_a_violator() -> None:
    laws = {check.name for kind, (build, *_) in HONEST.items() for check in battery(kind, build)}  # type: ignore[arg-type]
    assert laws == {f"{kind}-{law}" for kind, law, _, _ in VIOLATORS}
