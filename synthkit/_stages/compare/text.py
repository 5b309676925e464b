"""The comparison for the terminal: tables, and curves made of characters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from synthkit._stages.compare import tables
from synthkit._stages.compare.curves import series_of, spark
from synthkit._stages.compare.gather import Compared
from synthkit._stages.report.words import figure

Table = tuple[str, list[str], list[list[str]]]
"""Heading, columns, rows."""
_CURVE = 32


def as_tables(runs: Sequence[Compared]) -> Iterator[Table]:
    """What there is to say, table by table; one without rows is left out."""
    names = [run.name for run in runs]
    parts = {
        "Runs": tables.overview(runs),
        "Settings that differ": tables.differences(runs),
        "Validation": tables.validation(runs),
        "Scores": tables.scores(runs),
        "Speed": tables.speed(runs),
    }
    for heading, rows in parts.items():
        if rows:
            yield heading, ["", *names], [[row.name, *_marked(row)] for row in rows]
        if heading == "Validation" and rows:
            yield "Curves", ["", "run", "first", "", "last"], list(_curves(runs))


def _marked(row: tables.Row) -> list[str]:
    return [f"{cell} *" if number == row.best else cell for number, cell in enumerate(row.cells)]


def _curves(runs: Sequence[Compared]) -> Iterator[list[str]]:
    """Each validation term of each run: all runs of a term on one scale, as long as they have learned."""
    for part, term in tables.terms(runs, "validation"):
        lines = series_of(runs, part, "validation", term)
        values = [value for line in lines if line for value in line.values]
        last = max(line.steps[-1] for line in lines if line)
        for number, (run, line) in enumerate(zip(runs, lines, strict=True)):
            if line:
                drawn = spark(line, min(values), max(values), last, _CURVE)
                yield ["" if number else f"{part} {term}", run.name, figure(line.first), drawn, figure(line.last)]
