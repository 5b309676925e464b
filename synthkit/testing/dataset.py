"""Laws of data sets. Only a few clips are opened, so that they can be tried on large sets too."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from synthkit.audio import Audio
from synthkit.errors import UnreadableClip
from synthkit.interfaces import SPLITS, Clip, Dataset
from synthkit.testing.check import BrokenLaw, expect, untouched_randomness

Build = Callable[[], Dataset]


def index(build: Build, clips: int = 8) -> None:
    """Every clip has an id of its own and a key, and their order is the same on each call and in each object."""
    dataset = build()
    with untouched_randomness("clips"):
        found = list(dataset.clips())
    expect(bool(found), "there is no clip")
    expect(len({clip.id for clip in found}) == len(found), "two clips have the same id")
    expect(all(clip.id and clip.key for clip in found), "a clip has an empty id or key")
    expect(found == list(dataset.clips()), "a second call lists other clips, or in another order")
    expect(found == list(build().clips()), "another object of the same settings lists other clips, or in another order")


def splits(build: Build, clips: int = 8) -> None:
    """The splits are disjoint, also in content, and together they are all clips."""
    dataset = build()
    parts = {split: list(dataset.clips(split)) for split in SPLITS}
    ids = [clip.id for part in parts.values() for clip in part]
    expect(sorted(ids) == sorted(clip.id for clip in dataset.clips()), "they are not all clips, each once")
    keys = [{clip.key for clip in part} for part in parts.values()]
    expect(not (keys[0] & keys[1] or keys[0] & keys[2] or keys[1] & keys[2]), "one recording lies in two splits")


def labels(build: Build, clips: int = 8) -> None:
    """Every label of a clip is among the data set's labels, which are distinct and in the same order in each object."""
    dataset = build()
    known = dataset.labels()
    expect(len(set(known)) == len(known), "a label is listed twice")
    expect(tuple(known) == tuple(build().labels()), "another object of the same settings has another order")
    strange = {clip.label for clip in dataset.clips() if clip.label is not None} - set(known)
    expect(not strange, f"clips have the labels {sorted(strange)}, which are not listed")


def sound(build: Build, clips: int = 8) -> None:
    """A clip opens as finite float32 samples `[C, T]`, the same each time, or raises `UnreadableClip`."""
    dataset = build()
    opened = 0
    for clip in dataset.clips()[:clips]:
        with untouched_randomness("open"):
            audio = _open(dataset, clip)
        if audio is None:
            continue
        opened += 1
        expect(audio.samples.dtype == np.float32 and audio.samples.ndim == 2, f"{clip.id} is not float32 [C, T]")
        expect(audio.frames > 0, f"{clip.id} has no samples; it should raise UnreadableClip")
        expect(bool(np.isfinite(audio.samples).all()), f"{clip.id} has samples that are not finite")
        again = _open(build(), clip)
        expect(
            again is not None and np.array_equal(again.samples, audio.samples), f"{clip.id} sounds different each time"
        )
    expect(opened > 0, "none of the first clips can be opened")


def keys(build: Build, clips: int = 8) -> None:
    """Clips of equal keys have equal sound."""
    dataset = build()
    by_key: dict[str, Audio] = {}
    for clip in dataset.clips()[:clips]:
        audio = _open(dataset, clip)
        if audio is not None:
            other = by_key.setdefault(clip.key, audio)
            expect(np.array_equal(other.samples, audio.samples), f"{clip.id} shares its key with another sound")


def papers(build: Build, clips: int = 8) -> None:
    """The licence and the citation are text, of the set and of each clip."""
    dataset = build()
    expect(isinstance(dataset.licence, str) and isinstance(dataset.citation, str), "those of the set are not")
    wrong = [clip.id for clip in dataset.clips() if not isinstance(clip.licence, str)]
    expect(not wrong, f"that of {wrong[:1]} is not")


def _open(dataset: Dataset, clip: Clip) -> Audio | None:
    try:
        audio = dataset.open(clip)
    except UnreadableClip:
        return None
    if not isinstance(audio, Audio):
        raise BrokenLaw(f"{clip.id} opens as {type(audio).__name__}")
    return audio


LAWS = (index, splits, labels, sound, keys, papers)
