"""A run in several processes: what is checked before they start, and what is said when one of them is lost."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from synthkit._recipe.model import Recipe
from synthkit._run.folder import RunFolder, step_of
from synthkit._run.launch import launch
from synthkit._run.processes import require_rows


def run_on_devices(
    count: int, command: Sequence[str], recipe: Recipe, run: RunFolder, say: Callable[[str], None]
) -> int:
    """Run a command that runs the recipe in `count` processes of this machine, and return its exit code.

    Raises:
        ConfigError: where a batch of the recipe is too small for so many; then none is started.
    """
    check_shares(recipe, count)
    ending = launch(command, count)
    if ending.lost:
        say(f"{ending.lost}; {saved_so_far(recipe, run)}")
    return ending.code


def check_shares(recipe: Recipe, processes: int) -> None:
    """Raise `ConfigError` where a training's batch is too small for so many processes."""
    for training in recipe.train:
        require_rows(training.settings.batch, processes)


def saved_so_far(recipe: Recipe, run: RunFolder) -> str:
    """How a training that has ended too early can go on, in words."""
    for training in recipe.train:
        newest = run.newest(training.settings.part)
        step = 0 if newest is None else step_of(newest)
        if 0 < step < training.settings.steps:
            return f"everything up to step {step} is saved; go on with --resume, with any number of devices"
    return "no step is saved yet; start again with --fresh, with any number of devices"
