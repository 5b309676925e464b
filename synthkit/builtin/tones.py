"""The data set `tones`: music made from a seed, so that everything can be tried without a download."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from synthkit.audio import Audio
from synthkit.builtin.config import TonesConfig
from synthkit.builtin.instruments import render
from synthkit.builtin.score import COMPOSERS, Score, compose
from synthkit.errors import UnreadableClip
from synthkit.interfaces import Clip, Dataset, Progress, Split
from synthkit.storage import text_hash

VERSION = 2
"""Changes whenever the same settings would sound different."""
_EVERY = 10  # of so many clips of a label, one is for validation and one for the test


class Tones(Dataset):
    """Short pieces for bass, bells, chords, melody, noise and percussion; the label says which.

    Each has a tempo, a key and a level of its own, is made of phrases with a rest between them, and begins and ends in
    silence. A clip depends on the seed, its label and its number only, so that more clips never change others.

    >>> tones = Tones(TonesConfig(clips_per_label=3))
    >>> [clip.id for clip in tones.clips("test")][:2], tones.open(tones.clips()[0]).seconds
    (['bass/0002', 'bells/0002'], 4.0)
    """

    licence = "CC0 1.0 (made by synthkit from a seed)"

    def __init__(self, config: TonesConfig) -> None:
        self._config = config

    def labels(self) -> tuple[str, ...]:
        """`bass`, `bells`, `chords`, `melody`, `noise`, `percussion`."""
        return tuple(COMPOSERS)

    def clips(self, split: Split | None = None) -> Sequence[Clip]:
        """All labels by turns, so that any stretch of the list is mixed."""
        config = self._config
        same = f"tones {VERSION} {config.seed} {config.seconds} {config.sample_rate}"
        return [
            Clip(id=id, key=text_hash(f"{same} {id}"), label=label, licence=self.licence)
            for number in range(config.clips_per_label)
            if split is None or split == _split(number)
            for label in COMPOSERS
            for id in (f"{label}/{number:04d}",)
        ]

    def open(self, clip: Clip) -> Audio:
        """Play the clip."""
        score = self.score(clip)
        samples = render(score, self._config.seconds, self._config.sample_rate, self._random(clip, 1))
        return Audio(samples, self._config.sample_rate)

    def fetch(self, progress: Progress | None = None, archive: Path | None = None) -> None:
        """Nothing to do: it is made where it is used."""

    def score(self, clip: Clip) -> Score:
        """What the clip plays: its notes with their times and pitches. Raises `UnreadableClip` for a foreign clip."""
        if clip.label not in COMPOSERS or not clip.id.removeprefix(f"{clip.label}/").isdecimal():
            raise UnreadableClip(clip.id, "missing", "it is not a clip of the data set tones")
        return compose(clip.label, self._config.seconds, self._random(clip, 0))

    def _random(self, clip: Clip, purpose: int) -> np.random.Generator:
        label, _, number = clip.id.partition("/")
        return np.random.default_rng([self._config.seed % 2**64, list(COMPOSERS).index(label), int(number), purpose])


def _split(number: int) -> Split:
    return "validation" if number % _EVERY == 1 else "test" if number % _EVERY == 2 else "train"
