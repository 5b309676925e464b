"""Whether new clips are pieces of training clips, or each other again: by their features, before any vocoder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from synthkit import dsp
from synthkit._data.prepared import Entry, Prepared
from synthkit._run.reporter import Reporter
from synthkit._stages.generation import likeness
from synthkit._stages.generation.judgement import Duplicate
from synthkit._stages.generation.measure import SAME
from synthkit.specs import FeatureSpec

SILENT_DB = 40.0
"""A new clip whose loudest moment is so far below that of real clips is silent."""
_LEAST = 1e-10
_ENDS = 2


@dataclass(frozen=True, kw_only=True)
class Nearest:
    """For each piece: how far it is from the training clip that it is most like, and which that is."""

    differences: np.ndarray
    clips: tuple[str, ...]

    def part(self, start: int, stop: int) -> Nearest:
        """That of some of the pieces."""
        return Nearest(differences=self.differences[start:stop], clips=self.clips[start:stop])


class Listener:
    """Hears by features of one spec, whatever their units."""

    def __init__(self, spec: FeatureSpec) -> None:
        self.spec = spec

    def of_features(self, values: Tensor) -> np.ndarray:
        """The small picture of features `[M, N]`."""
        return likeness.coarse(self._decibels(values).numpy(), self.spec.frames_per_second)

    def of_sound(self, samples: np.ndarray) -> np.ndarray:
        """The same of samples `[T]`."""
        return self.of_features(self._features(samples))

    def silent(self, values: Sequence[Tensor], real: Sequence[np.ndarray]) -> list[bool]:
        """Which of some features `[M, N]` are silent, beside real samples `[T]`."""
        usual = np.median([float(self._decibels(self._features(samples)).max()) for samples in real])
        return [bool(self._decibels(one).max() < usual - SILENT_DB) for one in values]

    def _features(self, samples: np.ndarray) -> Tensor:
        missing = max(0, self.spec.samples(1) - len(samples))
        padded = torch.from_numpy(np.pad(samples, (0, missing))[None])
        features: Tensor = dsp.log_mel(padded, self.spec)[0]
        return features

    def _decibels(self, values: Tensor) -> Tensor:
        return 20.0 / self.spec.power * dsp.expand(values, self.spec).clamp(min=_LEAST).log10()

    def nearest(self, pieces: np.ndarray, prepared: Prepared, entries: Sequence[Entry], reporter: Reporter) -> Nearest:
        """The training clip that each of the pieces `[n, M, N]` is most like."""
        best, clips = np.full(len(pieces), np.inf, np.float32), [""] * len(pieces)
        with reporter.task("search training clips", len(entries)) as task:
            for number, entry in enumerate(entries, 1):
                found = likeness.differences(pieces, self.of_sound(prepared.read(entry)))
                for row in np.flatnonzero(found < best):
                    best[row], clips[row] = found[row], entry.id
                task.update(number, entry.id)
        return Nearest(differences=best, clips=tuple(clips))


def stacked(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures `[M, N]` as `[n, M, N]`, cut to the shortest and without its ends, where sound was cut off in the middle."""
    shortest = min(picture.shape[1] for picture in pictures)
    ends = _ENDS if shortest > 4 * _ENDS else 0
    return np.stack([picture[:, ends : shortest - ends] for picture in pictures])


def duplicates(
    names: Sequence[str], labels: Sequence[str], found: Nearest, real: Nearest, real_labels: Sequence[str]
) -> Iterator[Duplicate]:
    """The new clips that are much nearer to a training clip than any real clip of their label that is in none.

    Args:
        names: Of the new clips.
        labels: Of the new clips.
        found: Where they are nearest.
        real: Where held-out crops are nearest.
        real_labels: Of the held-out crops.
    """
    for row, (name, label) in enumerate(zip(names, labels, strict=True)):
        same = [value for value, own in zip(real.differences, real_labels, strict=True) if own == label]
        usual = min([*same] or [*real.differences], default=0.0)
        if found.differences[row] < SAME * usual:
            yield Duplicate(
                clip=name, of=found.clips[row], difference=float(found.differences[row]), usual=float(usual)
            )


def usual_distances(clips: Sequence[str], labels: Sequence[str], pictures: np.ndarray) -> Mapping[str, float]:
    """For each label, the smallest difference of two real crops `[n, M, N]` of different clips."""
    found = {}
    for label in dict.fromkeys(labels):
        rows = [row for row, own in enumerate(labels) if own == label]
        names = np.array([clips[row] for row in rows])
        apart = names[:, None] != names[None, :]
        if apart.any():
            found[label] = float(likeness.pairwise(pictures[rows])[apart].min())
    return found
