"""What happened in a run, one JSON object per line of `events.jsonl`: stages that began and ended, failures, findings, rollbacks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from synthkit._run.folder import RunFolder
from synthkit.errors import RunError, SynthkitError

Kind = Literal["began", "finished", "failed", "stopped", "finding", "rollback"]


@dataclass(frozen=True, kw_only=True)
class Event:
    """One of them."""

    kind: Kind
    stage: str
    text: str = ""
    """Why or what, in a sentence; nothing where `kind` says it all."""
    part: str = ""
    """What was learning, for a finding and a rollback."""
    step: int | None = None
    time: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))


def record(run: RunFolder, event: Event) -> None:
    """Add an event to the run's; it can be read when the call returns."""
    with run.events_file.open("a", encoding="utf-8") as stream:
        stream.write(
            json.dumps({name: value for name, value in asdict(event).items() if value not in ("", None)}) + "\n"
        )


def read_events(run: RunFolder) -> list[Event]:
    """The events of a run in their order. A line that is not one (the last, of a killed process) is left out."""
    try:
        lines = run.events_file.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    return [event for line in lines if (event := _event(line)) is not None]


@contextmanager
def recorded(run: RunFolder, stage: str) -> Iterator[None]:
    """Within it a stage runs: how it ends is recorded, whatever way it does."""
    record(run, Event(kind="began", stage=stage))
    try:
        yield
    except BaseException as error:
        stopped = isinstance(error, KeyboardInterrupt) or (isinstance(error, RunError) and error.exit_code == 130)
        text = str(error) if isinstance(error, SynthkitError) else f"{type(error).__name__}: {error}"
        with suppress(OSError):  # a full disk is what failed, and the user is told of it
            ending = Event(kind="stopped", stage=stage, text=text.removeprefix("stopped: "))
            record(run, ending if stopped else Event(kind="failed", stage=stage, text=text))
        raise
    record(run, Event(kind="finished", stage=stage))


def _event(line: str) -> Event | None:
    try:
        row: Mapping[str, Any] = json.loads(line)
        return Event(**row)
    except (ValueError, TypeError):
        return None
