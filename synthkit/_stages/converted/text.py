"""What is found of a converter as a table and sentences of the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from synthkit._stages.converted.findings import Conversion, sentences, with_interval
from synthkit._stages.converted.section import how

_BETTER = {"higher": "higher is better", "lower": "lower is better", "zero": "nearest to 0 is better"}


def as_tables(conversion: Conversion) -> Iterator[tuple[list[str], list[list[str]]]]:
    """Columns and rows."""
    rows = []
    for row in conversion.rows:
        cells = [with_interval(row.values.get(column.name), row.unit) for column in conversion.columns]
        unit = f"{row.unit}, " if row.unit == "dB" else ""
        shown = (f"{value} ({interval})" if interval else value for value, interval in cells)
        rows.append([row.name, *shown, unit + _BETTER[row.better]])
    yield ["figure", *(column.name for column in conversion.columns), ""], rows


def notes(conversion: Conversion) -> Iterator[str]:
    """What the figures say, and what they are over."""
    yield from sentences(conversion)
    yield how(conversion)
