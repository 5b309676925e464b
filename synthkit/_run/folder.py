"""`RunFolder`: where everything of a run lies. Reading it needs no torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from synthkit.errors import CheckpointError, RunError


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
        """The folder of the checkpoints of a part (`vocoder` or `model`)."""
        return self.path / "checkpoints" / part

    def checkpoints(self, part: str) -> list[Path]:
        """The complete checkpoints of a part, oldest first."""
        found = self.checkpoint_root(part).glob("step-*/meta.json")
        return sorted((meta.parent for meta in found), key=lambda folder: int(folder.name.removeprefix("step-")))

    def newest(self, part: str) -> Path | None:
        """The newest checkpoint of a part."""
        folders = self.checkpoints(part)
        return folders[-1] if folders else None

    def best(self, part: str) -> Path | None:
        """The best checkpoint of a part by the term that `keep.best` names; the newest where none is named."""
        record = self.checkpoint_root(part) / "best.json"
        if record.is_file():
            folder = self.checkpoint_root(part) / step_name(int(read_json(record)["step"]))
            if (folder / "meta.json").is_file():
                return folder
        return self.newest(part)

    def parts(self) -> tuple[str, ...]:
        """The parts that have a checkpoint."""
        return tuple(part for part in ("model", "vocoder") if self.newest(part))

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


def read_meta(checkpoint: Path) -> dict[str, Any]:
    """The `meta.json` of a checkpoint folder. Raises `CheckpointError`."""
    file = checkpoint / "meta.json"
    if not file.is_file():
        raise CheckpointError(f"{str(checkpoint)!r} is not a checkpoint: it has no meta.json")
    try:
        meta = read_json(file)
    except ValueError as error:
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
