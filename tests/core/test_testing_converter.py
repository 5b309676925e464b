"""The battery for converters: honest ones pass every law, and each law catches one that breaks it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from synthkit.interfaces import Converter
from synthkit.sampling import evaluating
from synthkit.specs import FeatureSpec
from synthkit.testing import battery, check_converter

SPEC = FeatureSpec(sample_rate=16000, n_fft=256, hop_length=64, n_mels=12)


class Brighter(Converter):
    """A learned map of each frame, with a dropout that only training uses."""

    def __init__(self) -> None:
        self.spec, self.source, self.target = SPEC, "dark", "bright"
        self.map = nn.Sequential(nn.Linear(SPEC.n_mels, SPEC.n_mels), nn.Dropout())

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        return {"map": self.map}

    def made(self, features: Tensor) -> Tensor:
        with evaluating(self.map):
            return self.map(features.transpose(1, 2)).transpose(1, 2)

    @torch.no_grad()
    def convert(
        self, features: Tensor, *, strength: float = 1.0, random: torch.Generator | None = None, progress: Any = None
    ) -> Tensor:
        if progress:
            progress(1, 1)
        return torch.lerp(features, self.made(features), strength)

    @property
    def latency_frames(self) -> int | None:
        return 0

    def stream(
        self, frames: Iterable[Tensor], *, strength: float = 1.0, random: torch.Generator | None = None
    ) -> Iterator[Tensor]:
        for piece in frames:
            yield self.convert(piece, strength=strength, random=random)


class Levelled(Converter):
    """Learns nothing and needs the whole: every item gets the same mean."""

    def __init__(self) -> None:
        self.spec, self.source, self.target = SPEC, "any", "levelled"

    @torch.no_grad()
    def convert(
        self, features: Tensor, *, strength: float = 1.0, random: torch.Generator | None = None, progress: Any = None
    ) -> Tensor:
        return torch.lerp(features, features - features.mean(dim=(1, 2), keepdim=True), strength)


class Itself(Brighter):
    def __init__(self) -> None:
        super().__init__()
        self.target = self.source


class WholeChunks(Brighter):
    """Leaves out what does not fill a chunk of 4 frames, as published chunk-wise converters do."""

    def convert(self, features: Tensor, **options: Any) -> Tensor:
        full = max(4, features.shape[-1] // 4 * 4)
        return functional.pad(super().convert(features, **options), (0, full - features.shape[-1]))[..., :full]


class WithGradient(Brighter):
    def convert(self, features: Tensor, **options: Any) -> Tensor:
        return self.made(features)


class NanOfSilence(Levelled):
    def convert(self, features: Tensor, *, strength: float = 1.0, **options: Any) -> Tensor:
        with torch.no_grad():
            return features / features.std(dim=(1, 2), keepdim=True) * strength


class WithoutStrength(Brighter):
    def convert(self, features: Tensor, *, strength: float = 1.0, **options: Any) -> Tensor:
        return super().convert(features, **options)


class Idle(Brighter):
    def convert(self, features: Tensor, **options: Any) -> Tensor:
        return features.clone()


class BatchMean(Brighter):
    def made(self, features: Tensor) -> Tensor:
        return super().made(features - features.mean())


class Random(Brighter):
    def made(self, features: Tensor) -> Tensor:
        return super().made(features) + 0.1 * torch.randn(())


class StaysInEvaluation(Brighter):
    """What starting project 001 did: after the first samples the training went on in evaluation mode."""

    def made(self, features: Tensor) -> Tensor:
        self.map.eval()
        return self.map(features.transpose(1, 2)).transpose(1, 2)


class InTraining(Brighter):
    def made(self, features: Tensor) -> Tensor:
        with torch.random.fork_rng():
            return self.map(features.transpose(1, 2)).transpose(1, 2)


class Writing(Brighter):
    def convert(self, features: Tensor, **options: Any) -> Tensor:
        made = super().convert(features, **options)
        with torch.no_grad():
            features += 1
        return made


class Counting(Brighter):
    def __init__(self) -> None:
        super().__init__()
        self.map.register_buffer("seen", torch.zeros(()))

    def convert(self, features: Tensor, **options: Any) -> Tensor:
        self.map.seen += 1  # type: ignore[operator, union-attr]
        return super().convert(features, **options)


class Unsaved(Brighter):
    def __init__(self) -> None:
        super().__init__()
        self.tilt = torch.randn(SPEC.n_mels, 1)

    def made(self, features: Tensor) -> Tensor:
        return super().made(features) + self.tilt


class Boastful(Brighter):
    def convert(self, features: Tensor, *, progress: Any = None, **options: Any) -> Tensor:
        if progress:
            progress(2, 1)
        return super().convert(features, **options)


class Seams(Brighter):
    def made(self, features: Tensor) -> Tensor:
        return super().made(features) + torch.linspace(0, 1, features.shape[-1])


class Late(Brighter):
    def stream(self, frames: Iterable[Tensor], **options: Any) -> Iterator[Tensor]:
        yield from Converter.stream(self, frames, **options)


class SeamTwice(Brighter):
    def seams(self, frames: int) -> Sequence[int]:
        return [16, 16] if frames > 16 else []


VIOLATORS: list[tuple[str, Callable[[], Converter], str]] = [
    ("names", Itself, "both are 'dark'"),
    ("length", WholeChunks, "[1, 12, 1] features give [1, 12, 4]"),
    ("values", WithGradient, "carries a gradient"),
    ("values", NanOfSilence, "the quietest features become something that is not finite"),
    ("strength", WithoutStrength, "strength 0 moves them"),
    ("strength", Idle, "nothing is converted"),
    ("independence", BatchMean, "other neighbours move"),
    ("determinism", Random, "changes torch's global random state"),
    ("nothing-changed", StaysInEvaluation, "leaves map in evaluation mode"),
    ("nothing-changed", InTraining, "in training mode it gives something that differs"),
    ("nothing-changed", Writing, "writes into the features"),
    ("nothing-changed", Counting, "changes map.seen"),
    ("saved-and-loaded", Unsaved, "something that matters is in no network"),
    ("progress", Boastful, "progress is told [(2, 1)]"),
    ("streaming", Seams, "frames that differ"),
    ("streaming", Late, "it has given 0 frames only"),
    ("seams", SeamTwice, "those of 37 frames are [16, 16]"),
]


@pytest.mark.parametrize("build", [Brighter, Levelled])
def test_honest_converters_pass(build: Callable[[], Converter]) -> None:
    check_converter(build)


@pytest.mark.parametrize(("law", "build", "how"), VIOLATORS, ids=[f"{law}-{it.__name__}" for law, it, _ in VIOLATORS])
def test_each_law_catches_its_violator(law: str, build: Callable[[], Converter], how: str) -> None:
    check = next(check for check in battery("converter", build) if check.name == f"converter-{law}")
    with pytest.raises(AssertionError) as caught:
        check()
    assert str(caught.value).startswith(f"{check.law} Here ")
    assert how in str(caught.value)


def test_every_law_has_a_violator() -> None:
    assert {check.name for check in battery("converter", Brighter)} == {f"converter-{law}" for law, _, _ in VIOLATORS}
