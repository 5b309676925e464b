"""`synthkit runs`: the runs in a folder and how each stands."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from synthkit._cli.context import Context

if TYPE_CHECKING:
    from synthkit._run.state import PartState, RunState


@click.command("runs")
@click.argument("folder", default="runs", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print everything that is known as JSON.")
@click.pass_obj
def command(context: Context, folder: Path, as_json: bool) -> None:
    """List the runs in FOLDER (by default `runs`), the one that was active last first.

    A run is running, finished, stopped (--resume goes on from the step that is shown) or failed; why is said below the table.
    """
    from synthkit._cli.tables import show_table
    from synthkit._run.state import find_runs, state_of

    found = find_runs(folder)
    states = [state_of(run) for run in found]
    if as_json:
        click.echo(json.dumps([asdict(state) for state in states], indent=2))
        return
    if not states:
        click.echo(f"there is no run in {str(folder)!r}")
        return
    names = [_name(run.path, folder) for run in found]
    columns = ["Run", "State", "Steps", "Validation", "Active", "Size"]
    show_table(context, columns, [_cells(name, state) for name, state in zip(names, states, strict=True)])
    for name, state in zip(names, states, strict=True):
        if state.reason:
            click.echo(f"{name}: {state.state} in {state.stage}: {state.reason}")
        if state.findings:
            click.echo(f"{name}: something was wrong with the training {_times(state.findings)}; see its log.txt")


def _name(path: Path, folder: Path) -> str:
    """How a run is called: its path below the folder that was asked for."""
    below = path.relative_to(folder.expanduser().absolute())
    return below.as_posix() if below.parts else path.name


def _cells(name: str, state: RunState) -> list[str]:
    partly = state.state == "finished" and state.stage != "report"
    return [
        name if state.recipe in name else f"{name} ({state.recipe})",
        f"{state.stage} done" if partly else state.state,
        "; ".join(_progress(part, len(state.parts)) for part in state.parts),
        "; ".join(_validation(part) for part in state.parts),
        ago((datetime.now(UTC) - datetime.fromisoformat(state.active)).total_seconds()),
        size(state.bytes),
    ]


def _progress(part: PartState, parts: int) -> str:
    return f"{f'{part.part} ' if parts > 1 else ''}{part.step:,}/{part.steps:,}"


def _validation(part: PartState) -> str:
    judged = part.validation
    if judged is None:
        return "-"
    best = "" if judged.best == judged.last else f", best {judged.best:.3g} at {judged.best_step:,}"
    return f"{judged.term} {judged.last:.3g}{best}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def ago(seconds: float) -> str:
    """How long something is ago.

    >>> [ago(seconds) for seconds in (3, 200, 7300, 200_000)]
    ['now', '3 min', '2 h', '2 days']
    """
    if seconds < 60:
        return "now"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds // 3600:.0f} h"
    return f"{seconds // 86400:.0f} days"


def size(count: float) -> str:
    """An amount of bytes.

    >>> [size(count) for count in (700, 15_300, 2_500_000, 3e9)]
    ['700 B', '15 kB', '2.5 MB', '3.0 GB']
    """
    for unit, scale in (("GB", 1e9), ("MB", 1e6)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count / 1e3:.0f} kB" if count >= 1000 else f"{count:.0f} B"
