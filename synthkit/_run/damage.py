"""Whether a checkpoint is whole, which one is used where one is not, and how a run is set back to it. Nothing here needs torch."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from synthkit._run.folder import RunFolder, read_meta, step_name, step_of
from synthkit.errors import CheckpointError
from synthkit.storage import file_hash, replacing

Say = Callable[[str], None]


def damage(checkpoint: Path, *, learning: bool = True) -> str | None:
    """What is wrong with a checkpoint, in words; None where every file holds what was written.

    Args:
        checkpoint: Its folder.
        learning: Whether it has to be whole; False: only what generating needs.
    """
    try:
        files = read_meta(checkpoint).get("files")
    except CheckpointError as error:
        return str(error)
    if not isinstance(files, dict):
        return "meta.json does not list its files"
    names = files if learning else filter(generates, files)
    return next((wrong for name in names if (wrong := file_damage(checkpoint, name, files[name]))), None)


def file_damage(checkpoint: Path, name: str, expected: str) -> str | None:
    """What is wrong with one file of a checkpoint whose SHA-256 should be `expected`; None where nothing is."""
    file = checkpoint / name
    if file.parent != checkpoint or not file.is_file():
        return f"{name} is missing"
    try:
        if file_hash(file) == expected:
            return None
    except OSError as error:
        return f"{name} cannot be read ({error.strerror or error})"
    empty = "" if file.stat().st_size else "it is empty, and "
    return f"{name} is damaged ({empty}its checksum is not the one in meta.json)"


def generates(name: str) -> bool:
    """Whether a file of a checkpoint is needed to generate; the others are for learning alone.

    >>> [generates(name) for name in ("bands.safetensors", "live.bands.safetensors", "objective.critic.safetensors")]
    [True, False, False]
    """
    return name.endswith(".safetensors") and not name.startswith(("live.", "objective."))


def last_good(run: RunFolder, part: str, say: Say) -> Path | None:
    """The newest whole checkpoint of a part; what is damaged is said. None where there is no checkpoint at all.

    Raises:
        CheckpointError: where there are checkpoints and all are damaged.
    """
    return _first_whole(run.checkpoints(part)[::-1], say, learning=True)


def best_good(run: RunFolder, part: str, say: Say, *, learning: bool = False) -> Path | None:
    """The best checkpoint of a part, the newest whole one where that is damaged; like `last_good` otherwise."""
    return _first_whole(run.ranked(part), say, learning=learning)


def _first_whole(folders: Iterable[Path], say: Say, *, learning: bool) -> Path | None:
    damaged: list[str] = []
    for folder in folders:
        wrong = damage(folder, learning=learning)
        if wrong is None:
            for text in damaged:
                say(f"{text}; {folder.name} is used instead")
            return folder
        damaged.append(f"the checkpoint {str(folder)!r} cannot be used: {wrong}")
    if damaged:
        raise CheckpointError(f"{damaged[0]}; there is no whole one beside it, so start again with --fresh")
    return None


def set_back(run: RunFolder, part: str, step: int) -> None:
    """Make a run look as it did when it stood at `step` (-1: before it began), so that it can go on from there.

    Later checkpoints of the part are set aside as `damaged-step-NNNNNNN`, and what was told of later steps is forgotten.
    """
    root = run.checkpoint_root(part)
    for folder in run.checkpoints(part):
        if step_of(folder) > step:
            aside = root / f"damaged-{folder.name}"
            shutil.rmtree(aside, ignore_errors=True)
            folder.replace(aside)
    forget_rows(run.metrics_file, part, step)


def tidy(root: Path) -> None:
    """Remove what a killed writer has left below `root`, and finish what it was about to replace.

    Only the process that holds the run's lock may call this.
    """
    for leftover in (*root.glob(".*.tmp"), *root.glob(".*.gone")):
        shutil.rmtree(leftover, ignore_errors=True)
    for replaced in root.glob("step-*.replaced"):
        folder = root / step_name(step_of(replaced))
        if folder.is_dir():
            shutil.rmtree(replaced)
        else:
            replaced.replace(folder)


def forget_rows(file: Path, part: str, step: int) -> None:
    """Remove the rows of `metrics.jsonl` that tell of a part's steps after `step`, and a last row without an end.

    Where they are the end of the file, as they are unless another part has learned since, it is cut in place: a tracker that has
    it open goes on after the cut.
    """
    if not file.is_file():
        return
    lines = file.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if line.endswith(b"\n") and not _tells_of_later(line, part, step)]
    if kept == lines[: len(kept)]:
        with file.open("rb+") as stream:
            stream.truncate(sum(map(len, kept)))
    else:
        with replacing(file) as stream:
            stream.writelines(kept)


def _tells_of_later(line: bytes, part: str, step: int) -> bool:
    try:
        row = json.loads(line)
        return int(row["step"]) > step and any(name.startswith(f"{part}/") for name in row)
    except (KeyError, TypeError, ValueError):
        return False  # not a row of ours
