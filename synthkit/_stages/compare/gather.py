"""What a comparison reads of a run folder."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthkit._recipe.yaml import plain, read_yaml
from synthkit._run.events import Event, read_events
from synthkit._run.folder import RunFolder, read_json
from synthkit._run.state import RunState, state_of
from synthkit._stages.report.sources import History, read_history, read_stage_seconds
from synthkit.errors import RunError


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One of the runs."""

    name: str
    """Its folder's name, or its path where two are called the same."""
    state: RunState
    recipe: Mapping[str, str]
    """The resolved recipe, every setting by its path (`train.steps`), as text."""
    history: Mapping[str, History]
    scores: tuple[ScoreRow, ...]
    stage_seconds: Mapping[str, float]
    events: tuple[Event, ...]


@dataclass(frozen=True, kw_only=True)
class ScoreRow:
    """One figure of a report."""

    metric: str
    version: str
    """The vocoder that made what was measured."""
    value: float
    unit: str
    better: str


def gather(folders: Sequence[Path]) -> tuple[Compared, ...]:
    """Read the runs.

    Raises:
        RunError: where one is not a run, or a file of it is damaged, or there are fewer than two.
    """
    runs = list({run.path: run for run in map(RunFolder, folders)}.values())
    if len(runs) < 2:
        raise RunError("a comparison needs two runs or more: synthkit compare runs/a runs/b")
    count = Counter(run.name for run in runs)
    return tuple(_read(run, run.name if count[run.name] == 1 else str(run.path)) for run in runs)


def flatten(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every setting of a recipe with its path; a list of plain values is one setting.

    >>> dict(flatten({"train": {"steps": 4, "gain": [0.3, 1.0]}, "data": "tones"}))
    {'train.steps': '4', 'train.gain': '[0.3, 1.0]', 'data': 'tones'}
    """
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from flatten(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        for number, item in enumerate(value):
            yield from flatten(item, f"{path}[{number}]")
    else:
        yield path, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _read(run: RunFolder, name: str) -> Compared:
    state = state_of(run)
    node, problems = read_yaml(run.recipe_file.read_text(encoding="utf-8"), str(run.recipe_file))
    if node is None or problems:
        raise RunError(f"{str(run.recipe_file)!r} is damaged: {problems[0] if problems else 'it is empty'}")
    return Compared(
        name=name,
        state=state,
        recipe=dict(flatten(plain(node))),
        history=read_history(run.metrics_file),
        scores=tuple(_scores(run)),
        stage_seconds=read_stage_seconds(run),
        events=tuple(event for event in read_events(run) if event.kind in ("finding", "rollback")),
    )


def _scores(run: RunFolder) -> Iterator[ScoreRow]:
    """The scores of the run's report; none where it has no report yet."""
    if not run.report_json.is_file():
        return
    try:
        for row in read_json(run.report_json)["scores"]:
            if row["value"] is not None:
                yield ScoreRow(
                    metric=row["name"],
                    version=row["version"],
                    value=float(row["value"]),
                    unit=row["unit"] or "",
                    better=row["better"],
                )
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{str(run.report_json)!r} is damaged ({error}): run the report stage again") from error
