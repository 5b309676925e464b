"""The real clips that a model is held against: crops as long as its own clips, from what is prepared."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from synthkit._data.prepared import Entry, Prepared
from synthkit.audio import Audio
from synthkit.interfaces import Split

RMS = 0.1
"""The level that all sounds are brought to before they are compared: a training varies it, so it says nothing."""
Thing = TypeVar("Thing")
_AUDIBLE = 0.01
"""A crop whose peak is below this share of its clip's is a rest, and left out."""


@dataclass(frozen=True, kw_only=True)
class Crop:
    """A piece of a real clip."""

    clip: str
    """Id of the clip."""
    label: str | None
    sound: Audio


def crops(
    prepared: Prepared, splits: Sequence[Split], samples: int, most: int, *, of: Sequence[str] | None = None
) -> list[Crop]:
    """At most `most` crops of `samples` each, as many of each label and as spread over its clips as there are.

    Crops of one clip overlap by half at most; a clip that is shorter is followed by silence. Each has the level of its clip.

    Args:
        prepared: The real clips.
        splits: Which of them.
        samples: Length of a crop.
        most: How many, of all labels together.
        of: Only these labels.
    """
    entries = [entry for split in splits for entry in prepared.entries(split) if of is None or entry.label in of]
    labels = sorted({entry.label or "" for entry in entries})
    quota = math.ceil(most / max(1, len(labels)))
    found: list[Crop] = []
    for label in labels:
        own = evenly([entry for entry in entries if (entry.label or "") == label], quota)
        each = math.ceil(quota / len(own))
        mine = [crop for entry in own for crop in _crops(prepared, entry, samples, each)]
        found += evenly(mine, quota)
    return found


def _crops(prepared: Prepared, entry: Entry, samples: int, most: int) -> Iterator[Crop]:
    whole = prepared.read(entry)
    steps = max(0, entry.frames - samples) // max(1, samples // 2)
    for step in evenly(range(steps + 1), most):
        start = step * (samples // 2)
        piece = whole[start : start + samples]
        if np.abs(piece).max(initial=0.0) >= _AUDIBLE * entry.peak > 0:
            sound = np.pad(piece, (0, samples - len(piece)))
            yield Crop(clip=entry.id, label=entry.label, sound=Audio(sound[None], prepared.sample_rate))


def at_one_level(some: Sequence[Crop]) -> list[Crop]:
    """The crops at the common level."""
    return [replace(crop, sound=levelled(crop.sound)) for crop in some]


def whole_clips(prepared: Prepared, seconds: float) -> tuple[Entry, ...]:
    """Clips of the training split, spread evenly, as many as last `seconds` together."""
    entries = prepared.entries("train")
    share = min(1.0, seconds / max(1e-9, prepared.seconds("train")))
    return tuple(evenly(entries, max(1, int(share * len(entries)))))


def levelled(sound: Audio) -> Audio:
    """The sound at the common level; silence stays silence."""
    rms = float(np.sqrt(np.mean(np.square(sound.samples, dtype=np.float64))))
    return Audio(sound.samples * np.float32(RMS / rms), sound.sample_rate) if rms > 0 else sound


def noise(count: int, samples: int, sample_rate: int, seed: int) -> list[Audio]:
    """White noise at the common level: what a model that has learned nothing is not far from."""
    random = np.random.default_rng(seed)
    return [levelled(Audio(random.standard_normal((1, samples), np.float32), sample_rate)) for _ in range(count)]


def evenly(things: Sequence[Thing], count: int) -> list[Thing]:
    """At most `count` of the things, spread evenly.

    >>> evenly("abcdefgh", 3)
    ['a', 'c', 'f']
    """
    count = min(count, len(things))
    return [things[number * len(things) // count] for number in range(count)]
