"""The figures of new clips, beside those of real ones (the floor) and of noise (the ceiling), over as many points each.

The real clips that neither the model nor the embedding has learned from are parted into two halves, clip by clip and label by
label. One half is the reference; the other half, as many new clips, and as much noise are held against it. That is done for
several partings, and the mean counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from synthkit._stages.generation import figures
from synthkit._stages.generation.judgement import Better, Column, LabelFinding, Row, finite, taken
from synthkit._stages.generation.likeness import pairwise

PARTINGS = 16
"""How often the real clips are parted."""
SAME = 1 / 3
"""What is nearer than this share of the smallest distance among real clips is the same clip."""

_Figures = Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One set of sounds, judged."""

    column: Column
    points: np.ndarray
    """`[n, D]`."""
    labels: tuple[str, ...]
    """What each should be; empty strings where the data has no labels."""
    clips: tuple[str, ...]
    """Which clip each is from; those of new clips are all different."""
    told: tuple[str, ...] | None
    """What each is taken for."""


_DISTANCES: tuple[tuple[str, str, Better], ...] = (
    ("frechet", "Frechet distance of the points from those of real clips.", "lower"),
    ("precision", "Share of the clips that lie among the real ones: are they good?", "higher"),
    ("recall", "Share of the real clips that lie among these: is everything there?", "higher"),
    ("density", "How thickly real clips lie around them; 1 as around real ones.", "higher"),
    ("coverage", "Share of the real clips that have one of these beside them.", "higher"),
)


def measure(sets: Sequence[Measured], seed: int) -> tuple[tuple[Row, ...], int]:
    """All rows, and how many points were compared at a time.

    Args:
        sets: One of them has the role `real`; those of the roles `copy` and `noise` belong to it, sound by sound.
        seed: Of the partings.
    """
    rows = [_accuracy(sets)] if any(it.told is not None for it in sets) else []
    compared, found = _over_partings(sets, seed)
    for name, summary, better in _DISTANCES:
        values = {column: values[name] if values else None for column, values in found.items()}
        unit = "" if name in ("frechet", "density") else "of clips"
        rows.append(Row(name=name, summary=summary, better=better, unit=unit, values=values))
    summary = "Mean distance of two clips of one label: are they varied?"
    spread = {it.column.name: _diversity(it) for it in sets}
    return (*rows, Row(name="diversity", summary=summary, better="real", unit="", values=spread)), compared


def _accuracy(sets: Sequence[Measured]) -> Row:
    values = {
        it.column.name: None
        if it.told is None
        else float(np.mean([a == b for a, b in zip(it.told, it.labels, strict=True)]))
        for it in sets
    }
    summary = "Share of the clips that are taken for what they should be."
    return Row(name="label-accuracy", summary=summary, better="higher", unit="of clips", values=values)


def _over_partings(sets: Sequence[Measured], seed: int) -> tuple[int, Mapping[str, _Figures]]:
    """The mean of each figure over all partings, by column; nothing where there are too few clips to part."""
    real = next(it for it in sets if it.column.role == "real")
    rounds: dict[str, list[_Figures]] = {it.column.name: [] for it in sets}
    compared = 0
    for number in range(PARTINGS):
        random = np.random.default_rng([seed, number])
        made = {it.column.name: it for it in sets if it.column.role == "made"}
        reference, other, chosen = _parting(real, made, random)
        if len(reference) < 2:
            break
        compared = len(reference)
        for it in sets:
            rows = chosen[it.column.name] if it.column.role == "made" else other
            rounds[it.column.name].append(_figures(real.points[reference], it.points[rows]))
    means = {
        name: {key: float(np.mean([one[key] for one in found])) for key in found[0]} if found else {}
        for name, found in rounds.items()
    }
    return compared, means


def _parting(
    real: Measured, made: Mapping[str, Measured], random: np.random.Generator
) -> tuple[list[int], list[int], dict[str, list[int]]]:
    """Rows of the reference, of the other half, and of each set of new clips: as many of each label in all of them."""
    reference: list[int] = []
    other: list[int] = []
    chosen: dict[str, list[int]] = {name: [] for name in made}
    for label in dict.fromkeys(real.labels):
        first, second = _halves(real, label, random)
        new = {name: [row for row, own in enumerate(it.labels) if own == label] for name, it in made.items()}
        count = min([len(first), len(second), *map(len, new.values())])
        reference += _some(first, count, random)
        other += _some(second, count, random)
        for name, rows in new.items():
            chosen[name] += _some(rows, count, random)
    return reference, other, chosen


def _halves(real: Measured, label: str, random: np.random.Generator) -> tuple[list[int], list[int]]:
    """The crops of a label in two halves that share no clip."""
    rows = [row for row, own in enumerate(real.labels) if own == label]
    clips = random.permutation(sorted({real.clips[row] for row in rows})).tolist()
    first = set(clips[: len(clips) // 2])
    return [row for row in rows if real.clips[row] in first], [row for row in rows if real.clips[row] not in first]


def _some(rows: Sequence[int], count: int, random: np.random.Generator) -> list[int]:
    return [int(row) for row in random.permutation(rows)[:count]]


def _figures(real: np.ndarray, made: np.ndarray) -> _Figures:
    precision, recall = figures.precision_recall(real, made)
    density, coverage = figures.density_coverage(real, made)
    distance = figures.frechet(real, made)
    return {
        "frechet": distance,
        "precision": precision,
        "recall": recall,
        "density": density,
        "coverage": coverage,
    }


def _diversity(sounds: Measured) -> float | None:
    """The mean over labels."""
    found = []
    for label in dict.fromkeys(sounds.labels):
        rows = [row for row, own in enumerate(sounds.labels) if own == label]
        value = finite(figures.diversity(sounds.points[rows], [sounds.clips[row] for row in rows]))
        found += [] if value is None else [value]
    return float(np.mean(found)) if found else None


def label_findings(
    labels: Sequence[str], told: Sequence[str] | None, pictures: np.ndarray, usual: Mapping[str, float]
) -> Iterator[LabelFinding]:
    """What is found label by label.

    Args:
        labels: What each new clip should be.
        told: What each is taken for.
        pictures: The new clips, `[n, M, N]`.
        usual: For each label the smallest difference of two real clips.
    """
    for label in dict.fromkeys(labels):
        rows = [row for row, own in enumerate(labels) if own == label]
        yield LabelFinding(
            label=label,
            made=len(rows),
            different=figures.different(pairwise(pictures[rows]), SAME * usual.get(label, 0.0)),
            taken_for={} if told is None else taken([told[row] for row in rows]),
        )
