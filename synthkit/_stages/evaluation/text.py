"""Means and intervals as text, and the tables of the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from synthkit._stages.evaluation.measuring import Evaluation, Measured, Row
from synthkit._stages.evaluation.statistics import Estimate
from synthkit._stages.report.words import figure

MARK = "*"
"""Stands where 0 lies outside of the interval of a difference."""
_MOST_DIGITS = 6
Table = tuple[list[str], list[list[str]]]
"""Columns and rows."""


def plus_minus(value: Estimate, unit: str = "", *, signed: bool = False) -> str:
    """A mean with its interval, both to the second digit that counts of the interval; a share becomes a percentage.

    >>> plus_minus(Estimate(0.123456, 0.00789, 9)), plus_minus(Estimate(0.02, 0.004, 9), "of samples")
    ('0.1235 ± 0.0079', '2.00 ± 0.40%')
    >>> plus_minus(Estimate(-12.3, 45.6, 9), signed=True), plus_minus(Estimate(1.5, 0.0, 9), signed=True)
    ('−12 ± 46', '+1.50 ± 0')
    >>> plus_minus(Estimate(0.1234, None, 1))
    '0.123'
    """
    scale, percent = (100.0, "%") if unit.startswith("of ") else (1.0, "")
    mean, half = scale * value.mean, None if value.half is None else scale * value.half
    sign = "+" if signed and mean > 0 else ""
    if not half:
        return f"{sign}{figure(mean)}{'' if half is None else ' ± 0'}{percent}"
    digits = min(_MOST_DIGITS, max(0, 1 - math.floor(math.log10(half))))
    text = f"{sign}{mean:,.{digits}f} ± {half:,.{digits}f}{percent}"
    return text.replace("-", "−")


def as_tables(evaluation: Evaluation) -> Iterator[Table]:
    """The means, and the differences where there are several vocoders."""
    names = [it.name for it in evaluation.contenders]
    means = [[row.metric, *(mean_text(row, it) for it in row.measured), _unit(row)] for row in evaluation.rows]
    yield ["metric", *names, ""], means
    if len(names) > 1:
        columns = ["difference", *(f"{name} − {names[0]}" for name in names[1:])]
        yield (
            columns,
            [[row.metric, *(difference_text(row, it) for it in row.measured[1:])] for row in evaluation.rows],
        )


def notes(evaluation: Evaluation) -> Sequence[str]:
    """What has to be known to read the tables."""
    clips = len(evaluation.items)
    said = [
        f"{clips} clips of up to {evaluation.seconds:g} s at {evaluation.spec.sample_rate} Hz; ± is the 95% confidence "
        "interval of the mean over clips (Student's t)"
    ]
    if len(evaluation.contenders) > 1:
        said.append(f"differences are paired by clip; {MARK}: 0 lies outside of the interval")
    return said


def mean_text(row: Row, measured: Measured) -> str:
    """The mean of a vocoder, or what the metric itself says where it has no figure for a clip."""
    if measured.mean is not None:
        return plus_minus(measured.mean, row.unit)
    return figure(measured.score.value if measured.score else None)


def difference_text(row: Row, measured: Measured) -> str:
    """How far it lies above the first vocoder, marked where that is sure, with the direction."""
    if measured.difference is None:
        return figure(None)
    text = plus_minus(measured.difference, row.unit, signed=True)
    return f"{text} {MARK} {measured.verdict}" if measured.verdict else text


def _unit(row: Row) -> str:
    better = {"lower": "lower is better", "higher": "higher is better", "zero": "nearest to 0 is better"}[row.better]
    return f"{row.unit}, {better}" if row.unit else better
