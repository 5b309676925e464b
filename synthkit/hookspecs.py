"""The hooks a plugin may implement. Declaring hooks return data; watching hooks are told what happens and return nothing.

A plugin is a module (or object) that marks functions of these names with `synthkit.hookimpl`, found through the entry point
group `synthkit` or given as a file with `--plugin`. Any subset of the arguments may be taken.
"""

from __future__ import annotations

from pathlib import Path

import pluggy

from synthkit.interfaces import Command, Offer

PROJECT = "synthkit"
"""Name of the pluggy project and of the entry point group."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def synthkit_components() -> list[Offer]:  # type: ignore[empty-body]
    """Return the components this plugin offers."""


@hookspec
def synthkit_commands() -> list[Command]:  # type: ignore[empty-body]
    """Return the sub-commands this plugin adds to `synthkit`."""


@hookspec
def synthkit_stage_started(run: Path, stage: str) -> None:
    """A stage (`prepare`, `train`, `generate`, `report`) of the run in folder `run` begins."""


@hookspec
def synthkit_stage_finished(run: Path, stage: str, seconds: float) -> None:
    """A stage of the run in folder `run` is done."""


@hookspec
def synthkit_checkpoint_saved(run: Path, part: str, step: int, folder: Path) -> None:
    """The checkpoint of `part` (`vocoder` or `model`) after `step` steps is complete in `folder`."""
