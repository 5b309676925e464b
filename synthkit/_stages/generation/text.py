"""The judgement of a model as tables and sentences of the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from synthkit._stages.generation.judgement import Judgement, sentences
from synthkit._stages.generation.section import how, taken_for
from synthkit._stages.report.words import measured

_BETTER = {"higher": "higher is better", "lower": "lower is better", "real": "nearest to real clips is best"}


def as_tables(judgement: Judgement) -> Iterator[tuple[list[str], list[list[str]]]]:
    """Columns and rows: the figures, and the labels where there are some."""
    yield (
        ["figure", *(column.name for column in judgement.columns), ""],
        [
            [
                row.name,
                *(measured(row.values.get(column.name), row.unit)[0] for column in judgement.columns),
                _BETTER[row.better],
            ]
            for row in judgement.rows
        ],
    )
    if len(judgement.labels) > 1:
        yield (
            ["label", "clips", "different ones", "taken for"],
            [[it.label, str(it.made), str(it.different), taken_for(it)] for it in judgement.labels],
        )


def notes(judgement: Judgement) -> Iterator[str]:
    """What the figures say, and what they are over."""
    yield from sentences(judgement)
    yield how(judgement)
