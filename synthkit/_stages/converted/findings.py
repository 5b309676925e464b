"""What is found of a converter, as values and as sentences."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any, Literal

from synthkit._stages.evaluation.statistics import LEVEL, estimate, share_interval
from synthkit._stages.report.words import measured, plural
from synthkit.audio import Audio

Role = Literal["converted", "vocoded", "source", "target"]
Better = Literal["higher", "lower", "zero"]
_SOUND = 0.6
"""A judge that takes real clips of the target for it more often than those of the source by less than this says little of style."""
_TELLS = 1.0
"""Seams whose jumps lie so many dB above others stand out."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One set of sounds that is measured."""

    name: str
    role: Role
    """`converted`; `vocoded`: the source through the vocoder alone; `source`: as it is; `target`: other clips, of the target."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A mean over clips, with where it would lie for many others."""

    value: float
    low: float | None
    """Where its interval begins; None for a single clip."""
    high: float | None
    clips: int
    """How many different clips it is over."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure of every column."""

    name: str
    summary: str
    better: Better
    unit: str
    values: Mapping[str, Figure | None]
    """By the name of the column; None where it says nothing."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """A clip with what it became, beside a real one of the target."""

    name: str
    source: Audio
    converted: Audio
    target: Audio


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """All that is found of a converter."""

    converter: str
    """Its name."""
    source: str
    target: str
    embedding: str
    seconds: float
    strength: float
    converted: int
    """Crops of the source that were converted."""
    clips: int
    """Clips that they are from."""
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    examples: tuple[Example, ...] = ()

    def figure(self, row: str, role: Role) -> Figure | None:
        """A figure of the first column of a role; None where there is none."""
        column = next((it.name for it in self.columns if it.role == role), None)
        values = next((it.values for it in self.rows if it.name == row), {})
        return None if column is None else values.get(column)

    def value(self, row: str, role: Role) -> float | None:
        """Its mean alone."""
        found = self.figure(row, role)
        return None if found is None else found.value

    def to_json(self) -> dict[str, Any]:
        """Everything but the sounds."""
        return {
            "converter": self.converter,
            "source": self.source,
            "target": self.target,
            "embedding": self.embedding,
            "seconds": self.seconds,
            "strength": self.strength,
            "converted": self.converted,
            "clips": self.clips,
            "confidence": {"level": LEVEL, "method": "Student's t over clips; for shares Wilson's score"},
            "says": list(sentences(self)),
            "columns": [asdict(column) for column in self.columns],
            "rows": [asdict(row) for row in self.rows],
        }


def mean_of(values: Sequence[float], clips: Sequence[str], *, share: bool = False) -> Figure | None:
    """The mean over clips of the values that are numbers; crops of one clip count as one. None where there is none.

    >>> found = mean_of([1.0, 3.0, 4.0, float("nan")], ["a", "a", "b", "c"])
    >>> found.value, round(found.low, 1), round(found.high, 1), found.clips
    (3.0, -9.7, 15.7, 2)
    """
    by_clip: dict[str, list[float]] = {}
    for value, clip in zip(values, clips, strict=True):
        if math.isfinite(value):
            by_clip.setdefault(clip, []).append(value)
    found = estimate([fmean(each) for each in by_clip.values()])
    if found is None:
        return None
    low, high = share_interval(found.mean, found.count) if share else (found.low, found.high)
    return Figure(value=found.mean, low=low, high=high, clips=found.count)


def with_interval(found: Figure | None, unit: str) -> tuple[str, str]:
    """A figure and its interval as they are shown.

    >>> with_interval(Figure(value=0.95, low=0.76, high=0.99, clips=20), "of clips")
    ('95.0%', '76.0% to 99.0%')
    >>> with_interval(Figure(value=-0.0123, low=-0.2, high=0.1, clips=20), "")
    ('−0.01', '−0.20 to 0.10')
    """
    if found is None:
        return shown(None, unit), ""
    value, low, high = (shown(it, unit) for it in (found.value, found.low, found.high))
    return value, "" if low == high else f"{low} to {high}"


def shown(value: float | None, unit: str = "") -> str:
    """A share as a percentage, anything else with two decimals.

    >>> [shown(value) for value in (0.999, -0.001, 12.346, None)], shown(0.5, "of clips")
    (['1.00', '0.00', '12.35', '–'], '50.0%')
    """
    if value is None or unit.startswith("of "):
        return measured(value, unit)[0]
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "−")  # + 0.0: there is no −0.00


def sentences(conversion: Conversion) -> Iterator[str]:
    """What the figures say."""
    yield from _style(conversion)
    yield from _content(conversion)
    yield from _identity(conversion)
    seams = conversion.value("seams", "converted")
    if seams is not None:
        told = (
            "the seams stand out"
            if seams > _TELLS
            else "it is smoother there"
            if seams < -_TELLS
            else "the seams do not stand out"
        )
        side = "above" if seams > 0 else "below"
        yield f"Where its pieces meet, jumps lie {shown(abs(seams))} dB {side} those elsewhere: {told}."


def _style(conversion: Conversion) -> Iterator[str]:
    made = conversion.figure("style", "converted")
    alone, real = (conversion.value("style", role) for role in ("vocoded", "target"))
    if made is None or alone is None or real is None:
        return
    share, interval = with_interval(made, "of clips")
    others = f"of {conversion.source} through the vocoder alone {shown(alone, 'of clips')}"
    yield (
        f"{share} of {plural(conversion.converted, 'converted clip')} are taken for {conversion.target} ({interval}); {others}, and "
        f"of real {conversion.target} {shown(real, 'of clips')}."
    )
    if real - alone < _SOUND:
        yield "What judges them hardly tells the two apart itself, so that this says little."


def _content(conversion: Conversion) -> Iterator[str]:
    for row, what in (("onsets", "rhythm"), ("pitch", "melody")):
        made, alone, other = (conversion.value(row, role) for role in ("converted", "vocoded", "target"))
        if made is None or alone is None or other is None:
            continue
        share = f", so {shown(made / alone, 'of it')} of what could be kept" if alone > 0 and made > 0 else ""
        yield (
            f"Their {what} correlates with the source’s by {shown(made)}; by {shown(alone)} through the vocoder alone{share}. A random "
            f"clip of {conversion.target} has {shown(other)}."
        )


def _identity(conversion: Conversion) -> Iterator[str]:
    made, alone, other = (conversion.value("identity", role) for role in ("converted", "vocoded", "target"))
    if made is None or alone is None:
        return
    beside = "" if other is None else f"; another such clip is {shown(other)} dB away"
    yield (
        f"Clips that are {conversion.target} already change by {shown(made)} dB, and by {shown(alone)} dB through the vocoder "
        f"alone{beside}."
    )
