"""What the report reads of a run folder: the generated clips, the rows of the training, and the prepared data."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from synthkit._data.prepared import Prepared
from synthkit._run.folder import RunFolder, read_json
from synthkit.errors import RunError
from synthkit.interfaces import SPLITS, ClipReport


@dataclass(frozen=True, kw_only=True)
class Version:
    """One sound of a clip: the original, or what one vocoder made."""

    name: str
    role: str
    """`reference`, `beginning` (of a real clip that a model went on from), `compare`, `vocoder`, or `converted`: it is another kind of
    sound than the original, and so is not held against it."""
    file: Path
    elapsed: float
    """Seconds that making it took."""
    clipped: int
    """Samples that lay outside -1..1 when it was written."""

    @property
    def is_reference(self) -> bool:
        """Whether it is the original."""
        return self.role == "reference"

    @property
    def is_made(self) -> bool:
        """Whether it is what a vocoder made of the clip itself."""
        return self.role in ("compare", "vocoder")


@dataclass(frozen=True, kw_only=True)
class Item:
    """One clip in all its versions."""

    id: str
    title: str
    """Its heading; the id where the index gives several clips one title."""
    label: str | None
    licence: str
    seed: int | None
    versions: tuple[Version, ...]
    remarks: tuple[str, ...] = ()
    """What else there is to say of a clip that a model made: what it goes on from, is like, or says."""

    @property
    def reference(self) -> Version | None:
        """The original; None for a clip that a model made from nothing."""
        return next((version for version in self.versions if version.is_reference), None)

    @property
    def made(self) -> tuple[Version, ...]:
        """What vocoders made of it."""
        return tuple(version for version in self.versions if version.is_made)


def read_items(run: RunFolder) -> tuple[Item, ...]:
    """The clips that the generate stage made. Raises `RunError` where it did not run, or its files are gone or damaged."""
    file = run.generated_index
    again = "run the generate stage"
    if not file.is_file():
        raise RunError(f"{str(run.path)!r} has no generated clips ({file.name} is missing): {again} first")
    try:
        items = tuple(_item(row, run.path) for row in read_json(file)["items"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{str(file)!r} is damaged ({type(error).__name__}: {error}): {again} again") from error
    for item in items:
        for version in item.versions:
            if not version.file.is_file():
                raise RunError(f"{str(version.file)!r} is gone, but {file.name} names it: {again} again")
    count = Counter(item.title for item in items)
    return tuple(item if count[item.title] == 1 else replace(item, title=item.id) for item in items)


def _item(row: Mapping[str, Any], folder: Path) -> Item:
    versions = tuple(
        Version(
            name=str(version["name"]),
            role=str(version["role"]),
            file=folder / str(version["file"]),
            elapsed=float(version.get("elapsed") or 0.0),
            clipped=int(version.get("clipped") or 0),
        )
        for version in row["versions"]
    )
    return Item(
        id=str(row["id"]),
        title=str(row.get("title") or row["id"]),
        label=row.get("label"),
        licence=str(row.get("licence") or ""),
        seed=row.get("seed"),
        versions=versions,
        remarks=tuple(_remarks(row)),
    )


def _remarks(row: Mapping[str, Any]) -> Iterator[str]:
    if goes_on := row.get("continues"):
        yield f"goes on from {float(goes_on['seconds']):.3g} s of {goes_on['clip']}"
    if row.get("like"):
        yield f"like {row['like']}"
    if row.get("text"):
        yield f"“{row['text']}”"


@dataclass(kw_only=True)
class Series:
    """The finite values of one term over the steps, in the order of the steps."""

    steps: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    not_finite: int = 0
    """How many further values were not finite."""

    @property
    def first(self) -> float:
        """The value at the first step."""
        return self.values[0]

    @property
    def last(self) -> float:
        """The value at the last step."""
        return self.values[-1]


GROUPS = ("validation", "train", "rate", "norm", "balance")
"""What a row of `metrics.jsonl` tells of a part: `part/group/term`."""


@dataclass(kw_only=True)
class History:
    """What one part wrote while it learned: term -> values."""

    train: dict[str, Series] = field(default_factory=dict)
    validation: dict[str, Series] = field(default_factory=dict)
    rate: dict[str, Series] = field(default_factory=dict)
    """Speed, memory and learning rates."""
    norm: dict[str, Series] = field(default_factory=dict)
    """Norms of gradients by optimiser."""
    balance: dict[str, Series] = field(default_factory=dict)
    """Losses of critics as a share of an undecided one's."""

    @property
    def terms(self) -> list[str]:
        """All terms: first those that were evaluated, `mel_l1` before all."""
        names = dict.fromkeys([*self.validation, *self.train])
        return sorted(names, key=lambda name: (name not in self.validation, name != "mel_l1"))

    @property
    def steps(self) -> int:
        """The last step that was logged."""
        return max(
            (series.steps[-1] for group in (self.train, self.validation) for series in group.values() if series.steps),
            default=0,
        )


def read_history(file: Path) -> dict[str, History]:
    """The rows of `metrics.jsonl` by part and term; empty where nothing was trained.

    A step that was logged twice (the run was resumed from an earlier checkpoint) counts as it was logged last. A last line
    that was cut off in the middle of writing is left out. Raises `RunError` for any other line that is not a JSON object.
    """
    if not file.is_file():
        return {}
    values: dict[tuple[str, str, str], dict[int, float]] = {}
    lines = file.read_text(encoding="utf-8", errors="replace").split("\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            step = int(row["step"])
        except (ValueError, KeyError, TypeError) as error:
            if number == len(lines):  # the file does not end with a newline
                break
            raise RunError(f"{str(file)!r}, line {number}: not a row of metrics ({error})") from error
        for key, value in row.items():
            part, _, rest = key.partition("/")
            group, _, term = rest.partition("/")
            if group in GROUPS and term:
                number_value = float(value) if isinstance(value, int | float) else math.nan
                values.setdefault((part, group, term), {})[step] = number_value
    return _histories(values)


def _histories(values: Mapping[tuple[str, str, str], Mapping[int, float]]) -> dict[str, History]:
    histories: dict[str, History] = {}
    for (part, group, term), points in values.items():
        finite = [(step, value) for step, value in sorted(points.items()) if math.isfinite(value)]
        if not finite:
            continue
        steps, numbers = zip(*finite, strict=True)
        series = Series(steps=list(steps), values=list(numbers), not_finite=len(points) - len(finite))
        getattr(histories.setdefault(part, History()), group)[term] = series
    return histories


@dataclass(frozen=True, kw_only=True)
class SplitSummary:
    """How much there is of one split."""

    name: str
    clips: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class DataSummary:
    """What was prepared, and what was left out."""

    name: str
    licence: str
    citation: str
    sample_rate: int
    labels: tuple[str, ...]
    splits: tuple[SplitSummary, ...]
    left_out: tuple[ClipReport, ...]
    remarks: tuple[ClipReport, ...]
    """Clips that are used although something is odd about them."""

    @property
    def clips(self) -> int:
        """Clips of all splits."""
        return sum(split.clips for split in self.splits)

    @property
    def seconds(self) -> float:
        """Seconds of sound of all splits."""
        return sum(split.seconds for split in self.splits)


def read_data(run: RunFolder) -> DataSummary:
    """A summary of the prepared data. Raises `DatasetError` where nothing was prepared."""
    prepared = Prepared.open(run.data_file)
    splits = tuple(
        SplitSummary(name=name, clips=len(prepared.entries(name)), seconds=prepared.seconds(name)) for name in SPLITS
    )
    dataset = prepared.dataset
    return DataSummary(
        name=str(dataset.get("name") or ""),
        licence=str(dataset.get("licence") or ""),
        citation=str(dataset.get("citation") or ""),
        sample_rate=prepared.sample_rate,
        labels=tuple(prepared.labels),
        splits=splits,
        left_out=tuple(prepared.unreadable),
        remarks=tuple(prepared.remarks),
    )


def read_stage_seconds(run: RunFolder) -> dict[str, float]:
    """How long each finished stage took, where the run folder says it."""
    if not run.stages_file.is_file():
        return {}
    try:
        stages = read_json(run.stages_file)
    except ValueError:
        return {}  # the pipeline, whose file it is, complains about it
    return {
        str(name): float(stage["seconds"])
        for name, stage in stages.items()
        if isinstance(stage, dict) and isinstance(stage.get("seconds"), int | float)
    }
