"""Which checkpoints of a part stay: the newest few, each of some steps, the best, and the one to roll back to."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from synthkit._run.damage import damage, forget_rows
from synthkit._run.folder import RunFolder, read_meta, step_name, step_of
from synthkit.errors import CheckpointError, TrainingError

START = ".start"
"""The folder, below a part's checkpoints, of the state before the first step: kept until there is a planned checkpoint."""


@dataclass(frozen=True, kw_only=True)
class Keep:
    """The policy (see `train: keep:` of a recipe)."""

    last: int = 2
    every: int | None = None
    best: str | None = None

    def is_best(self, run: RunFolder, part: str, score: Mapping[str, float]) -> bool:
        """Whether an evaluation (empty: there was none) is better than that of every checkpoint, by the term `best`."""
        if self.best is None or not score:
            return False
        lowest = run.lowest(part, self.best)
        return lowest is None or self.value(score) < lowest

    def value(self, score: Mapping[str, float]) -> float:
        """What an evaluation says of the term `best`. Raises `TrainingError` where the objective does not evaluate it."""
        assert self.best is not None, "asked only where the policy names a term"
        if self.best not in score:
            known = ", ".join(sorted(score))
            raise TrainingError(
                f"keep.best names the term {self.best!r}, which this objective does not evaluate; it evaluates {known}"
            )
        return score[self.best]


def prune(run: RunFolder, part: str, keep: Keep) -> None:
    """Delete the checkpoints that the policy does not keep.

    One that was saved because the user stopped the training counts only while it is the newest: which others are kept, and so
    which one a rollback finds, does not depend on when the user did so.
    """
    folders = run.checkpoints(part)
    planned = [folder for folder in folders if is_planned(folder)]
    kept = {*planned[-keep.last :], *folders[-1:], run.best(part)}
    if keep.every:
        kept |= {folder for folder in planned if step_of(folder) % keep.every == 0}
    for folder in folders:
        if folder not in kept:
            _delete(folder)
    if planned:
        _delete(run.checkpoint_root(part) / START)


def roll_back_to(run: RunFolder, part: str, say: Callable[[str], None]) -> Path | None:
    """The newest whole planned checkpoint, or the state before the first step; None where neither is there."""
    planned = [folder for folder in run.checkpoints(part)[::-1] if is_planned(folder)]
    for folder in (*planned, run.checkpoint_root(part) / START / step_name(0)):
        if not folder.is_dir():
            continue
        wrong = damage(folder)
        if wrong is None:
            return folder
        say(f"the checkpoint {str(folder)!r} cannot be used: {wrong}")
    return None


def forget_later(run: RunFolder, part: str, step: int) -> None:
    """Delete the checkpoints and rows of later steps than the one that the training was rolled back to.

    Each step is then told once, whether or not the run is killed and resumed after the rollback.
    """
    forget_rows(run.metrics_file, part, step)
    for folder in run.checkpoints(part):
        if step_of(folder) > step:
            _delete(folder)


def is_planned(checkpoint: Path) -> bool:
    """Whether a checkpoint was due at its step, and not saved only because the training was stopped there."""
    try:
        return not read_meta(checkpoint).get("interrupted", False)
    except CheckpointError:
        return False


def _delete(folder: Path) -> None:
    """Delete a folder, if it is there, so that no half of a checkpoint has its name at any moment."""
    if folder.is_dir():
        gone = folder.with_name(f".step-{folder.name}.gone.tmp")  # `tidy` removes it where this process is killed now
        shutil.rmtree(gone, ignore_errors=True)
        folder.rename(gone)
        shutil.rmtree(gone)
