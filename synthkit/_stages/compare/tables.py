"""How runs differ, as rows of text with one cell per run: the same rows for the terminal and for the page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from synthkit._run.state import RunState
from synthkit._stages.compare.gather import Compared
from synthkit._stages.report.sources import Series
from synthkit._stages.report.words import duration, figure, measured

NOTHING = "–"
_NAMES = {"recipe", "name", "description"}
"""Settings that say what a run is called, not what it does."""


@dataclass(frozen=True)
class Row:
    """A name and what each run has for it."""

    name: str
    cells: tuple[str, ...]
    best: int | None = None
    """Which run is the best by it; None where none is, or nothing is better or worse."""
    remark: str = ""
    """What the name means, where it does not say it."""


def overview(runs: Sequence[Compared]) -> list[Row]:
    """How each run stands."""
    rows = [
        Row("state", tuple(_state(run.state) for run in runs)),
        Row("why", tuple(run.state.reason or NOTHING for run in runs)),
        *(
            Row(f"{part} steps", tuple(_steps(run.state, part) for run in runs))
            for part in dict.fromkeys(part.part for run in runs for part in run.state.parts)
        ),
        Row("training", tuple(_seconds(run.stage_seconds.get("train")) for run in runs), remark="time of the stage"),
        Row("active", tuple(run.state.active[:16].replace("T", " ") + " UTC" for run in runs)),
    ]
    if any(run.events for run in runs):
        rows.append(Row("noticed", tuple(str(len(run.events)) for run in runs), remark="findings and rollbacks"))
    return [row for row in rows if any(cell != NOTHING for cell in row.cells)]


def differences(runs: Sequence[Compared]) -> list[Row]:
    """Every setting of the resolved recipes that is not the same in all of them."""
    paths = dict.fromkeys(path for run in runs for path in run.recipe if path not in _NAMES)
    rows = (Row(path, tuple(run.recipe.get(path, NOTHING) for run in runs)) for path in paths)
    return [row for row in rows if len(set(row.cells)) > 1]


def validation(runs: Sequence[Compared]) -> list[Row]:
    """The lowest value of each validation term, and the last."""
    rows = []
    for part, term in terms(runs, "validation"):
        series = [_series(run, part, "validation", term) for run in runs]
        lowest = [min(one.values) if one else None for one in series]
        last = [one.last if one else None for one in series]
        rows.append(_numbers(f"{part} {term}, lowest", lowest, min))
        rows.append(_numbers(f"{part} {term}, last", last, min))
    return rows


def speed(runs: Sequence[Compared]) -> list[Row]:
    """How fast each run learned and what it used: medians over its logged steps."""
    wanted = {
        "steps_per_second": ("steps per second", figure),
        "audio_seconds_per_second": ("seconds of sound per second", figure),
        "data_wait": ("share of the time that waited for data", lambda value: f"{value:.1%}"),
        "memory_mib": ("memory (MiB)", figure),
        "cuda_memory_mib": ("GPU memory (MiB)", figure),
    }
    rows = []
    for part, term in terms(runs, "rate"):
        if term in wanted:
            name, show = wanted[term]
            series = [_series(run, part, "rate", term) for run in runs]
            cells = tuple(show(sorted(one.values)[len(one.values) // 2]) if one else NOTHING for one in series)
            rows.append(Row(f"{part}: {name}", cells))
    return rows


def scores(runs: Sequence[Compared]) -> list[Row]:
    """The scores of the reports; the best of each metric is marked."""
    rows = []
    for metric, version in dict.fromkeys((score.metric, score.version) for run in runs for score in run.scores):
        found = [
            next((one for one in run.scores if (one.metric, one.version) == (metric, version)), None) for run in runs
        ]
        first = next(score for score in found if score is not None)
        order = {"lower": lambda x: x, "higher": lambda x: -x, "zero": abs}[first.better]
        values = [None if score is None else score.value for score in found]
        cells = tuple(NOTHING if value is None else measured(value, first.unit)[0] for value in values)
        unit = f"{first.unit}, " if first.unit and not first.unit.startswith("of ") else ""
        rows.append(Row(f"{metric} of {version}", cells, _best(values, order), f"{unit}{_BETTER[first.better]}"))
    return rows


_BETTER = {"lower": "lower is better", "higher": "higher is better", "zero": "nearest to 0 is better"}


def terms(runs: Sequence[Compared], group: str) -> Iterator[tuple[str, str]]:
    """Every (part, term) of a group that any of the runs has."""
    yield from dict.fromkeys(
        (part, term) for run in runs for part, history in run.history.items() for term in getattr(history, group)
    )


def _series(run: Compared, part: str, group: str, term: str) -> Series | None:
    history = run.history.get(part)
    return None if history is None else getattr(history, group).get(term)


def _numbers(name: str, values: Sequence[float | None], better: Callable[..., float]) -> Row:
    sign = 1.0 if better is min else -1.0
    return Row(name, tuple(figure(value) for value in values), _best(values, lambda value: sign * value))


def _best(values: Sequence[float | None], order: Callable[[float], float]) -> int | None:
    """Which value comes first; None where there are fewer than two, or two share the first place."""
    ranked = sorted((order(value), number) for number, value in enumerate(values) if value is not None)
    return ranked[0][1] if len(ranked) > 1 and ranked[0][0] < ranked[1][0] else None


def _state(state: RunState) -> str:
    return f"{state.state} ({state.stage})" if state.stage else state.state


def _steps(state: RunState, part: str) -> str:
    return next((f"{it.step:,} of {it.steps:,}" for it in state.parts if it.part == part), NOTHING)


def _seconds(value: float | None) -> str:
    return NOTHING if value is None else duration(value)
