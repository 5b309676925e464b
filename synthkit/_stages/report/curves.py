"""Loss curves as inline SVG. The drawing stretches with its box; the labels are text beside it and keep their size."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from synthkit._stages.report.markup import Markup, element
from synthkit._stages.report.pictures import Tick, nice_step
from synthkit._stages.report.sources import Series
from synthkit._stages.report.words import figure

BUCKETS = 240
"""Most points of a training curve; each is the mean of the steps that fall together, in a band from lowest to highest."""
SIDE = 1000
"""Width and height of a drawing in its own units."""
_LOG_FROM = 100.0
"""From this ratio of the highest to the lowest value on, the scale is logarithmic."""


@dataclass(frozen=True)
class Chart:
    """A drawing with its axes."""

    svg: Markup
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    is_log: bool


@dataclass(frozen=True)
class Bucket:
    """What became of some steps that follow each other."""

    step: float
    low: float
    mean: float
    high: float


def chart(label: str, train: Series | None, validation: Series | None) -> Chart:
    """The curves of one term: training as a line in its band, validation as dots on a line from step 0 on.

    Raises `ValueError` where both are missing: a term without a finite value has no curve.
    """
    drawn = buckets(train) if train else []
    points = list(zip(validation.steps, validation.values, strict=True)) if validation else []
    values = [value for bucket in drawn for value in (bucket.low, bucket.high)] + [value for _, value in points]
    if not values:
        raise ValueError(f"{label} has no finite value")
    to_y, y_ticks, is_log = y_scale(min(values), max(values))
    last = max([points[-1][0] if points else 0, drawn[-1].step if drawn else 0, 1])

    def to_x(step: float) -> float:
        return step / last

    layers = [grid(y_ticks)]
    if drawn:
        layers.append(_band(drawn, to_x, to_y))
        layers.append(_line("train", [(to_x(bucket.step), to_y(bucket.mean)) for bucket in drawn]))
    if points:
        layers.extend(_validation(points, to_x, to_y))
    svg = element(
        "svg",
        *layers,
        viewBox=f"0 0 {SIDE} {SIDE}",
        preserveAspectRatio="none",
        role="img",
        aria_label=_describe(label, train, validation),
    )
    return Chart(svg, step_ticks(last), y_ticks, is_log)


def buckets(series: Series) -> list[Bucket]:
    """The series in at most `BUCKETS` pieces of as many steps each."""
    count = len(series.values)
    size = max(1, math.ceil(count / BUCKETS))
    pieces = []
    for start in range(0, count, size):
        values = series.values[start : start + size]
        steps = series.steps[start : start + size]
        pieces.append(Bucket(sum(steps) / len(steps), min(values), sum(values) / len(values), max(values)))
    return pieces


def y_scale(low: float, high: float) -> tuple[Callable[[float], float], list[Tick], bool]:
    """A map from a value to its place (0 at the top), the ticks, and whether the scale is logarithmic."""
    if low > 0 and high / low > _LOG_FROM:
        bottom, top = math.log10(low) - 0.05, math.log10(high) + 0.05
        exponents = range(math.ceil(bottom), math.floor(top) + 1)
        every = max(1, math.ceil(len(exponents) / 5))
        ticks = [
            Tick((top - exponent) / (top - bottom), f"{10.0**exponent:g}")
            for exponent in exponents
            if exponent % every == 0
        ]
        return (lambda value: (top - math.log10(value)) / (top - bottom)), ticks, True
    top, bottom = high, min(low, 0.0)
    if top == bottom:
        top = bottom + 1.0
    top += (top - bottom) * 0.06
    bottom -= (top - bottom) * 0.04 if bottom < 0 else 0.0
    step = nice_step((top - bottom) / 4)
    first = math.ceil(bottom / step - 1e-9)
    ticks = []
    for number in range(first, math.floor(top / step + 1e-9) + 1):
        ticks.append(Tick((top - number * step) / (top - bottom), f"{number * step:.10g}"))
    return (lambda value: (top - value) / (top - bottom)), ticks, False


def step_ticks(last: float) -> list[Tick]:
    """Round steps from 0 to the last."""
    step = max(1, round(nice_step(last / 4)))
    count = int(last // step) + 1
    return [Tick(number * step / last, f"{number * step:,}" if number else "step 0") for number in range(count)]


def path(points: Sequence[tuple[float, float]]) -> str:
    """The `d` of a line through places (0 to 1 from left to right and from top to bottom)."""
    ending = "h0" if len(points) == 1 else ""  # a line of no length with round ends is a dot
    return "M" + " ".join(f"{x * SIDE:.1f},{y * SIDE:.1f}" for x, y in points) + ending


def grid(ticks: Sequence[Tick]) -> Markup:
    """A level line for each tick."""
    lines = "".join(f"M0,{tick.place * SIDE:.1f}H{SIDE}" for tick in ticks)
    return element("path", class_="grid", d=lines)


def _band(buckets: Sequence[Bucket], to_x: Callable[[float], float], to_y: Callable[[float], float]) -> Markup:
    upper = [(to_x(bucket.step), to_y(bucket.high)) for bucket in buckets]
    lower = [(to_x(bucket.step), to_y(bucket.low)) for bucket in reversed(buckets)]
    return element("path", class_="band", d=path(upper + lower) + "Z")


def _line(name: str, points: Sequence[tuple[float, float]]) -> Markup:
    return element("path", class_=f"line {name}", d=path(points))


def _validation(
    points: Sequence[tuple[int, float]], to_x: Callable[[float], float], to_y: Callable[[float], float]
) -> list[Markup]:
    """The line, a dot per evaluation (while they can be told apart), and the level of step 0 as a dashed line."""
    places = [(to_x(step), to_y(value)) for step, value in points]
    layers = []
    if points[0][0] == 0:
        layers.append(element("path", class_="start", d=f"M0,{places[0][1] * SIDE:.1f}H{SIDE}"))
    layers.append(_line("validation", places))
    every = max(1, len(points) // 60)
    for number, ((step, value), (x, y)) in enumerate(zip(points, places, strict=True)):
        is_end = number in (0, len(points) - 1)
        if number % every and not is_end:
            continue
        # unlike a circle, it stays round however the drawing is stretched
        dot = element("path", class_="dot end" if is_end else "dot", d=path([(x, y)]))
        layers.append(element("g", element("title", f"validation at step {step:,}: {figure(value)}"), dot))
    return layers


def _describe(label: str, train: Series | None, validation: Series | None) -> str:
    parts = []
    for name, series in (("training", train), ("validation", validation)):
        if series and series.values:
            ends = f"{figure(series.first)} at step {series.steps[0]:,} to {figure(series.last)} at step {series.steps[-1]:,}"
            parts.append(f"{name} from {ends}")
    return f"{label}: {'; '.join(parts)}"
