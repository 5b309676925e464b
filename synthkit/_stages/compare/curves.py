"""Curves: one term of several runs in one drawing for the page, and in a line of text each for the terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from synthkit._stages.compare.gather import Compared
from synthkit._stages.report.curves import SIDE, Chart, buckets, grid, path, step_ticks, y_scale
from synthkit._stages.report.markup import Markup, element
from synthkit._stages.report.sources import Series
from synthkit._stages.report.words import figure

COLOURS = 8
"""Runs with a colour of their own; a further one begins again with the first."""
_BARS = "▁▂▃▄▅▆▇█"
_MOST_DOTS = 60


def chart(label: str, names: Sequence[str], lines: Sequence[Series | None], *, dots: bool) -> Chart:
    """A term of several runs; `dots` marks each value (validation), otherwise lines are means of neighbouring steps."""
    points = [_points(series, whole=dots) for series in lines]
    values = [value for line in points for _, value in line]
    to_y, y_ticks, is_log = y_scale(min(values), max(values))
    last = max(1.0, *(step for line in points for step, _ in line))
    layers = [grid(y_ticks)]
    for number, (name, line) in enumerate(zip(names, points, strict=True)):
        if line:
            layers.append(_line(name, number, line, last, to_y, dots=dots))
    ends = "; ".join(f"{name} to {figure(line[-1][1])}" for name, line in zip(names, points, strict=True) if line)
    svg = element(
        "svg",
        *layers,
        viewBox=f"0 0 {SIDE} {SIDE}",
        preserveAspectRatio="none",
        role="img",
        aria_label=f"{label}: {ends}",
    )
    return Chart(svg, step_ticks(last), y_ticks, is_log)


def _points(series: Series | None, *, whole: bool) -> list[tuple[float, float]]:
    if series is None:
        return []
    if whole:
        return list(zip(map(float, series.steps), series.values, strict=True))
    return [(bucket.step, bucket.mean) for bucket in buckets(series)]


def _line(
    name: str,
    number: int,
    points: Sequence[tuple[float, float]],
    last: float,
    to_y: Callable[[float], float],
    *,
    dots: bool,
) -> Markup:
    places = [(step / last, to_y(value)) for step, value in points]
    every = max(1, len(points) // _MOST_DOTS)
    marks = [
        element(
            "g",
            element("title", f"{name} at step {step:,.0f}: {figure(value)}"),
            element("path", class_="mark", d=path([place])),
        )
        for (step, value), place in list(zip(points, places, strict=True))[:: every if dots else len(points)]
    ]
    return element("g", element("path", d=path(places)), *(marks if dots else []), class_=f"run run-{number % COLOURS}")


def spark(series: Series | None, low: float, high: float, last: int, width: int) -> str:
    """A curve as a line of bars between `low` and `high`, as wide as its share of the `last` step.

    >>> spark(Series(steps=[0, 50, 100], values=[4.0, 2.0, 1.0]), 1.0, 4.0, 100, 9)
    '█▇▆▅▃▃▂▁▁'
    """
    if series is None:
        return ""
    columns = max(1, round(width * series.steps[-1] / max(1, last)))
    cells = []
    for column in range(columns):
        step = series.steps[-1] * column / max(1, columns - 1)
        share = (_at(series, step) - low) / (high - low) if high > low else 0.0
        cells.append(_BARS[min(len(_BARS) - 1, int(share * len(_BARS)))])
    return "".join(cells)


def _at(series: Series, step: float) -> float:
    """The value at a step, on a straight line between the two that are nearest."""
    after = next((number for number, known in enumerate(series.steps) if known >= step), len(series.steps) - 1)
    before = max(0, after - 1)
    span = series.steps[after] - series.steps[before]
    share = (step - series.steps[before]) / span if span > 0 else 1.0
    return series.values[before] + share * (series.values[after] - series.values[before])


def series_of(runs: Sequence[Compared], part: str, group: str, term: str) -> list[Series | None]:
    """A term of each run; None where it has none."""
    return [getattr(run.history[part], group).get(term) if part in run.history else None for run in runs]
