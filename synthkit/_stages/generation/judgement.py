"""What is found of a model's clips, as values and as sentences."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from synthkit._stages.report.words import figure, listing, measured, plural
from synthkit.audio import Audio

Role = Literal["made", "copy", "real", "noise"]
Better = Literal["higher", "lower", "real"]
MUCH = 3.0
"""A Frechet distance of more than this many floors is far from the real."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One set of sounds that is measured."""

    name: str
    role: Role
    """`made`: by the model; `copy`: real ones through the same vocoder; `real`: the floor; `noise`: the ceiling."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure of every column."""

    name: str
    summary: str
    better: Better
    """`real`: nearest to the figure of real clips."""
    unit: str
    values: Mapping[str, float | None]
    """By the name of the column; None where there are too few clips."""


@dataclass(frozen=True, kw_only=True)
class LabelFinding:
    """The clips of one label."""

    label: str
    made: int
    different: int
    """How many of them are not the same clip again."""
    taken_for: Mapping[str, int]
    """What they are taken for; empty where the embedding tells no labels."""

    @property
    def collapsed(self) -> bool:
        """Whether half of the clips or more are clips that were there already."""
        return self.made > 1 and 2 * self.different <= self.made


@dataclass(frozen=True, kw_only=True)
class Duplicate:
    """A new clip that is a piece of a training clip."""

    clip: str
    """Which of the new ones."""
    of: str
    """Id of the training clip."""
    difference: float
    """RMS difference of the mel bands at the place where they are most alike, dB."""
    usual: float
    """The smallest such difference of a real clip that is in no training clip."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """Some clips of one label for eye and ear."""

    label: str
    made: tuple[tuple[str, Audio], ...]
    """Names and sounds."""
    real: tuple[tuple[str, Audio], ...]


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """All that is found of a model's clips."""

    model: str
    """Name of the model."""
    embedding: str
    seconds: float
    made: int
    """New clips."""
    real: int
    """Crops of clips that neither the model nor the embedding has learned from."""
    compared: int
    """How many points of each kind are compared at a time; distances depend on it."""
    searched: tuple[int, int]
    """How many of the training clips were searched for duplicates, of how many."""
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    labels: tuple[LabelFinding, ...]
    duplicates: tuple[Duplicate, ...]
    silent: tuple[str, ...] = ()
    """The new clips in which nothing is heard; they are no pieces of training clips, which begin and end as they do."""
    examples: tuple[Example, ...] = ()

    @property
    def collapsed(self) -> tuple[LabelFinding, ...]:
        """The labels whose clips are mostly the same."""
        return tuple(it for it in self.labels if it.collapsed)

    def value(self, row: str, role: Role) -> float | None:
        """A figure of the first column of a role; None where there is none."""
        column = next((it.name for it in self.columns if it.role == role), None)
        values = next((it.values for it in self.rows if it.name == row), {})
        return None if column is None else values.get(column)

    def to_json(self) -> dict[str, Any]:
        """Everything but the sounds."""
        return {
            "model": self.model,
            "embedding": self.embedding,
            "seconds": self.seconds,
            "made": self.made,
            "real": self.real,
            "compared": self.compared,
            "searched": list(self.searched),
            "says": list(sentences(self)),
            "columns": [asdict(column) for column in self.columns],
            "rows": [asdict(row) for row in self.rows],
            "labels": [{**asdict(label), "collapsed": label.collapsed} for label in self.labels],
            "duplicates": [asdict(duplicate) for duplicate in self.duplicates],
            "silent": list(self.silent),
        }


def sentences(judgement: Judgement) -> Iterator[str]:
    """What the figures say, the worst first."""
    yield from _collapse(judgement)
    if judgement.silent:
        more = f" and {plural(len(judgement.silent) - 3, 'more', 'more')}" if len(judgement.silent) > 3 else ""
        yield f"{plural(len(judgement.silent), 'new clip is', 'new clips are')} silent: {listing(list(judgement.silent[:3]))}{more}."
    if judgement.duplicates:
        count = len(judgement.duplicates)
        names = listing([f"{it.clip} is {it.of}" for it in judgement.duplicates[:3]])
        more = f", and {plural(count - 3, 'more', 'more')}" if count > 3 else ""
        yield f"{plural(count, 'new clip is a piece', 'new clips are pieces')} of training clips: {names}{more}."
    yield from _told(judgement)
    yield from _near(judgement)
    if not judgement.collapsed and not judgement.duplicates:
        first, all_ = judgement.searched
        where = f"{first:,} of the {all_:,} training clips" if first < all_ else "the training clips"
        yield (
            f"No two new clips are the same, and none is a piece of {where}."
            if _all_different(judgement)
            else (f"No new clip is a piece of {where}.")
        )


def _all_different(judgement: Judgement) -> bool:
    return all(it.different == it.made for it in judgement.labels)


def _collapse(judgement: Judgement) -> Iterator[str]:
    collapsed = judgement.collapsed
    if not collapsed:
        return
    if len(collapsed) == len(judgement.labels) > 1:
        count = sum(it.different for it in collapsed)
        each = f"about {count / len(collapsed):.2g} of each label"
        yield f"Collapse: only {count} of the {plural(judgement.made, 'new clip')} are different, {each}."
        return
    one_of = [
        f"of {plural(it.made, 'clip')} {f'of {it.label} ' if it.label else ''}only {it.different} "
        f"{'is' if it.different == 1 else 'are'} different"
        for it in collapsed
    ]
    yield f"Collapse: {'; '.join(one_of)}."


def _told(judgement: Judgement) -> Iterator[str]:
    made, real = judgement.value("label-accuracy", "made"), judgement.value("label-accuracy", "real")
    if made is None or real is None:
        return
    chance = 1 / max(1, len(judgement.labels))
    share = measured(made, "of clips")[0]
    text = f"{share} of the new clips are taken for what they should be; of real ones {measured(real, 'of clips')[0]}"
    copies = judgement.value("label-accuracy", "copy")
    if copies is not None and copies < real:  # what the vocoder loses is not the model's fault
        text += f", and {measured(copies, 'of clips')[0]} once the same vocoder has made them again"
    if made < 1.5 * chance:
        text += f". Guessing gives {measured(chance, 'of clips')[0]}: the model hardly follows its labels"
    yield f"{text}."


def _near(judgement: Judgement) -> Iterator[str]:
    made, floor, ceiling = (judgement.value("frechet", role) for role in ("made", "real", "noise"))
    if made is None or not floor or not ceiling:
        return
    times, share = made / floor, made / ceiling
    verdict = (
        "near the real"
        if times <= MUCH
        else "nearer to noise than to the real"
        if share > 0.5
        else "apart from the real"
    )
    yield (
        f"The new clips are {verdict}: their Frechet distance is {figure(times)} times that of other real clips (the floor), "
        f"and {figure(share)} times that of noise (the ceiling)."
    )


def finite(value: float) -> float | None:
    """The number itself; None for what is not one."""
    return float(value) if math.isfinite(value) else None


def taken(labels: Sequence[str]) -> dict[str, int]:
    """How often each is there, the most frequent first.

    >>> taken(["a", "b", "b"])
    {'b': 2, 'a': 1}
    """
    counts = {label: list(labels).count(label) for label in labels}
    return dict(sorted(counts.items(), key=lambda it: -it[1]))
