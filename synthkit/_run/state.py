"""How a run stands, from what lies in its folder alone: who holds its lock, its last event, its checkpoints and metrics. No torch."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from synthkit._run.events import Event, read_events
from synthkit._run.folder import RunFolder, read_json, step_of
from synthkit.errors import RunError

State = Literal["running", "finished", "stopped", "failed", "new"]
_DEPTH = 3
_KILLED = "it ended without a word: killed, or the machine went down"


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What validation said of a part, by one term."""

    term: str
    first: float
    last: float
    best: float
    best_step: int


@dataclass(frozen=True, kw_only=True)
class PartState:
    """How far a part has learned."""

    part: str
    component: str
    """The plugin and name of what learns."""
    step: int
    """Where it goes on from: its newest checkpoint; while it runs, its last logged step."""
    steps: int
    validation: Judged | None


@dataclass(frozen=True, kw_only=True)
class RunState:
    """How a run stands."""

    path: str
    recipe: str
    state: State
    stage: str
    """The stage that it is in, or ended in."""
    reason: str
    """Why it failed or stopped."""
    findings: int
    """How often something was found wrong with the training."""
    parts: tuple[PartState, ...]
    began: str
    """When its first stage began, in ISO 8601; empty where nothing did."""
    active: str
    """When something was last written to it, in ISO 8601."""
    bytes: int


def find_runs(folder: Path) -> list[RunFolder]:
    """The runs in a folder and in the folders below it, or the one that it is; the one that was active last comes first.

    Raises:
        RunError: where there is no such folder.
    """
    if not folder.is_dir():
        raise RunError(f"there is no folder {str(folder)!r}; runs are in the folder 'runs' of where they were started")
    return sorted(_walk(folder, _DEPTH), key=_active, reverse=True)


def state_of(run: RunFolder) -> RunState:
    """How a run stands. Raises `RunError` where the folder is not that of a run."""
    run.require()
    events = read_events(run)
    stages = [event for event in events if event.kind in ("began", "finished", "failed", "stopped")]
    running = is_running(run)
    state, reason = _state(stages[-1] if stages else None, running)
    return RunState(
        path=str(run.path),
        recipe=_recipe_name(run),
        state=state,
        stage=stages[-1].stage if stages else "",
        reason=reason,
        findings=sum(event.kind in ("finding", "rollback") for event in events),
        parts=tuple(_parts(run, running)),
        began=stages[0].time if stages else "",
        active=datetime.fromtimestamp(_active(run), UTC).isoformat(timespec="seconds"),
        bytes=sum((Path(where) / name).lstat().st_size for where, _, names in os.walk(run.path) for name in names),
    )


def is_running(run: RunFolder) -> bool:
    """Whether a process holds the run's lock."""
    if not run.lock_file.is_file():
        return False
    lock = FileLock(run.lock_file, timeout=0)
    try:
        with lock:
            return False
    except Timeout:
        return True
    except OSError:  # a folder that only its owner may write to
        return False


def _state(last: Event | None, running: bool) -> tuple[State, str]:
    """The state and its reason, by the last event of a stage."""
    if running:
        return "running", ""
    if last is None:
        return "new", ""
    if last.kind == "began":
        return "stopped", _KILLED
    if last.kind in ("failed", "stopped"):
        return last.kind, last.text
    return "finished", ""


def _parts(run: RunFolder, running: bool) -> Iterator[PartState]:
    for part, inputs in _trainings(run).items():
        newest = run.newest(part)
        logged, validation = read_progress(run.metrics_file, part, inputs["settings"]["keep"].get("best"))
        saved = 0 if newest is None else step_of(newest)
        yield PartState(
            part=part,
            component=inputs["component"]["use"],
            step=max(saved, logged) if running else saved,
            steps=int(inputs["settings"]["steps"]),
            validation=validation,
        )


def _trainings(run: RunFolder) -> dict[str, Any]:
    """What `stages.json` says of each part that learns; empty where the training was not begun, or the file is damaged."""
    try:
        stages = read_json(run.stages_file)
        stage = stages.get("train") or stages.get("train-began") or {"inputs": {"parts": {}}}
        return dict(stage["inputs"]["parts"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def read_progress(metrics: Path, part: str, term: str | None) -> tuple[int, Judged | None]:
    """The last step that was logged of a part, and what validation said by `term` (None: by the first term there is)."""
    last = 0
    values: dict[int, float] = {}
    for row in _rows(metrics, part):
        last = int(row["step"])
        names = [name for name in row if name.startswith(f"{part}/validation/")]
        if names:
            wanted = f"{part}/validation/{term}" if term else names[0]
            term = wanted.rpartition("/")[2]
            values[last] = math.nan if row.get(wanted) is None else float(row[wanted])
    finite = {step: value for step, value in sorted(values.items()) if math.isfinite(value)}
    if not finite or term is None:
        return last, None
    best = min(finite, key=lambda step: finite[step])
    ends = list(finite.values())
    return last, Judged(term=term, first=ends[0], last=ends[-1], best=finite[best], best_step=best)


def _rows(metrics: Path, part: str) -> Iterator[dict[str, Any]]:
    """The rows of validation and the last row of a part; the others, nearly all, are passed over unread."""
    validation, mine, last = f'"{part}/validation/'.encode(), f'"{part}/'.encode(), b""
    if not metrics.is_file():
        return
    with metrics.open("rb") as stream:
        for line in stream:
            if validation in line and (row := _row(line)):
                yield row
            elif mine in line and line.endswith(b"\n"):
                last = line
    if row := _row(last):
        yield row


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
        return row if isinstance(row, dict) and isinstance(row.get("step"), int) else None
    except ValueError:
        return None


def _recipe_name(run: RunFolder) -> str:
    """The name in the resolved recipe, which the core has written itself: a line of its own near the top."""
    with run.recipe_file.open(encoding="utf-8", errors="replace") as stream:
        for line in stream:
            if line.startswith("name:"):
                return line.removeprefix("name:").strip().strip('"')
    return ""


def _walk(folder: Path, depth: int) -> Iterator[RunFolder]:
    run = RunFolder(folder)
    if run.recipe_file.is_file() and (run.stages_file.is_file() or run.lock_file.is_file()):
        yield run
    elif depth:
        for child in sorted(folder.iterdir()):
            if child.is_dir() and not child.name.startswith("."):
                yield from _walk(child, depth - 1)


def _active(run: RunFolder) -> float:
    files = (run.recipe_file, run.metrics_file, run.log_file, run.events_file, run.stages_file, run.report_json)
    return max((file.stat().st_mtime for file in files if file.is_file()), default=0.0)
