"""`RunFolder`: where everything of a run lies. Reading it needs no torch."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from synthkit.errors import CheckpointError, RunError

_CHECKPOINT = re.compile(r"step-(?P<step>[0-9]{7,})(?P<replaced>\.replaced)?")
"""A checkpoint's folder; `.replaced` is the older one of the same step, for the moment in which it is replaced."""


class RunFolder:
    """A run's folder and the names in it.

    >>> run = RunFolder("runs/quickstart")
    >>> run.report_html.as_posix().endswith("runs/quickstart/report.html")
    True
    >>> run.newest("vocoder") is None
    True
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path).expanduser().absolute()

    def __repr__(self) -> str:
        return f"RunFolder({str(self.path)!r})"

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.path.name

    @property
    def recipe_file(self) -> Path:
        """The resolved recipe, which runs again as it is."""
        return self.path / "recipe.yaml"

    @property
    def stages_file(self) -> Path:
        """What each finished stage was made from."""
        return self.path / "stages.json"

    @property
    def data_file(self) -> Path:
        """The prepared data: clips, cache entries, and what was left out and why."""
        return self.path / "data.json"

    @property
    def metrics_file(self) -> Path:
        """One JSON object per logged step."""
        return self.path / "metrics.jsonl"

    @property
    def log_file(self) -> Path:
        """What was said, with the time."""
        return self.path / "log.txt"

    @property
    def events_file(self) -> Path:
        """What happened: stages, failures, what was found wrong with a training."""
        return self.path / "events.jsonl"

    @property
    def lock_file(self) -> Path:
        """Held by the process that runs it."""
        return self.path / ".lock"

    @property
    def shards(self) -> Path:
        """What each shard of the stage prepare did."""
        return self.path / "shards"

    @property
    def generated(self) -> Path:
        """The folder of generated sound."""
        return self.path / "generated"

    @property
    def generated_index(self) -> Path:
        """What each generated file is."""
        return self.generated / "index.json"

    @property
    def report_html(self) -> Path:
        """The page to open."""
        return self.path / "report.html"

    @property
    def report_json(self) -> Path:
        """The figures of the page."""
        return self.path / "report.json"

    def checkpoint_root(self, part: str) -> Path:
        """The folder of the checkpoints of a part (`vocoder`, `model` or `converter`)."""
        return self.path / "checkpoints" / part

    def checkpoints(self, part: str) -> list[Path]:
        """The checkpoint folders of a part, oldest first. A folder is never half-written, but it may have been damaged since."""
        root = self.checkpoint_root(part)
        found: dict[int, Path] = {}
        for folder in root.iterdir() if root.is_dir() else ():
            match = _CHECKPOINT.fullmatch(folder.name)
            if match and (match["replaced"] is None or int(match["step"]) not in found):
                found[int(match["step"])] = folder
        return [found[step] for step in sorted(found)]

    def newest(self, part: str) -> Path | None:
        """The newest checkpoint of a part."""
        folders = self.checkpoints(part)
        return folders[-1] if folders else None

    def best(self, part: str) -> Path | None:
        """The best checkpoint of a part by the term that `keep.best` names; the newest where none is named."""
        folders = self.ranked(part)
        return folders[0] if folders else None

    def ranked(self, part: str) -> list[Path]:
        """The checkpoints of a part in the order in which they are used: the best by its score, then from the newest on."""
        folders = self.checkpoints(part)[::-1]
        scored = [(folder, score) for folder in folders if (score := read_score(folder)) is not None]
        same_term = [(folder, score.value) for folder, score in scored if score.term == scored[0][1].term]
        best = min(same_term, key=lambda pair: pair[1])[0] if same_term else None
        return folders if best is None else [best, *(folder for folder in folders if folder != best)]

    def lowest(self, part: str, term: str) -> float | None:
        """The lowest value of a validation term that a checkpoint of the part was saved with; None where there is none."""
        scores = [read_score(folder) for folder in self.checkpoints(part)]
        return min((score.value for score in scores if score is not None and score.term == term), default=None)

    def parts(self) -> tuple[str, ...]:
        """The parts that have a checkpoint."""
        return tuple(part for part in ("model", "converter", "vocoder") if self.newest(part))

    def require(self) -> RunFolder:
        """Itself, or `RunError` where it is not the folder of a run."""
        if not self.path.is_dir():
            raise RunError(f"there is no run folder {str(self.path)!r}")
        if not self.recipe_file.is_file():
            raise RunError(f"{str(self.path)!r} is not a run folder: it has no recipe.yaml")
        return self


def step_name(step: int) -> str:
    """Folder name of a checkpoint.

    >>> step_name(1200)
    'step-0001200'
    """
    return f"step-{step:07d}"


def step_of(checkpoint: Path) -> int:
    """The step of a checkpoint folder.

    >>> step_of(Path("runs/x/checkpoints/vocoder/step-0001200"))
    1200
    """
    match = _CHECKPOINT.fullmatch(checkpoint.name)
    if match is None:
        raise CheckpointError(f"{str(checkpoint)!r} is not the folder of a checkpoint: its name is not step-NNNNNNN")
    return int(match["step"])


def learned_by(meta: Mapping[str, Any]) -> str | None:
    """The objective (`plugin/name`) of the training that wrote a checkpoint with this `meta.json`; None where it does not say."""
    objective = meta.get("objective")
    return objective.get("name") if isinstance(objective, Mapping) else None


class SavedScore(NamedTuple):
    """What an evaluation said of the weights in a checkpoint: `score` of its meta.json."""

    term: str
    value: float


def read_score(checkpoint: Path) -> SavedScore | None:
    """The score that a checkpoint was saved with; None where it was not evaluated, or cannot be read."""
    try:
        score = read_meta(checkpoint).get("score")
        return None if score is None else SavedScore(str(score["term"]), float(score["value"]))
    except (CheckpointError, KeyError, TypeError, ValueError):
        return None  # whoever uses the checkpoint is told what is wrong with it


def read_meta(checkpoint: Path) -> dict[str, Any]:
    """The `meta.json` of a checkpoint folder. Raises `CheckpointError`."""
    file = checkpoint / "meta.json"
    if not file.is_file():
        raise CheckpointError(f"{str(checkpoint)!r} is not a checkpoint: it has no meta.json")
    try:
        meta = read_json(file)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{str(file)!r} is damaged: {error}") from error
    if meta.get("format") != 1:
        raise CheckpointError(
            f"{str(file)!r} has format {meta.get('format')!r}; this version of synthkit reads format 1"
        )
    return meta


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object from a file. Raises `ValueError` where it holds something else."""
    content = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError("it does not hold a JSON object")
    return content


def write_text(file: Path, text: str) -> None:
    """Write a text file so that it is whole or as it was."""
    from synthkit.storage import replacing  # it brings sqlite3 and a pool, and reading a run needs neither

    with replacing(file) as stream:
        stream.write(text.encode())
