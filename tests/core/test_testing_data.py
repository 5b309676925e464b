"""The battery for data sets, metrics and trackers: honest ones pass every law, and each law catches one that breaks it."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synthkit.audio import Audio
from synthkit.errors import ConfigError, UnreadableClip
from synthkit.interfaces import (
    Clip,
    Comparison,
    Dataset,
    Kind,
    Metric,
    Score,
    Split,
    Tracker,
)
from synthkit.testing import battery


class Clips(Dataset):
    licence, citation = "CC0-1.0", "nobody"

    def labels(self) -> tuple[str, ...]:
        return ("even", "odd")

    def clips(self, split: Split | None = None) -> Sequence[Clip]:
        splits: dict[Split, list[int]] = {"train": [0, 1, 2], "validation": [3], "test": [4]}
        numbers = range(5) if split is None else splits[split]
        return [Clip(id=f"clip-{n}", key=f"key-{n}", label=self.labels()[n % 2], licence="CC0-1.0") for n in numbers]

    def open(self, clip: Clip) -> Audio:
        number = int(clip.id[-1])
        if number == 4:
            raise UnreadableClip(clip.id, "empty", "it has 0 bytes")
        return Audio(np.random.default_rng(number).uniform(-0.5, 0.5, 800).astype(np.float32), 8000)


class Difference(Metric):
    def __init__(self) -> None:
        self.values: list[float] = []

    def update(self, item: Comparison) -> None:
        self.values.append(float(np.abs(item.made.samples - item.reference.samples).mean()))

    def score(self) -> Score:
        if not self.values:
            raise ConfigError("nothing to compare")
        return Score(name="difference", value=float(np.mean(self.values)), per_item=tuple(self.values))


class Notes(Tracker):
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = (folder / "notes.txt").open("a", encoding="utf-8")

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        self.file.write(f"{step} {dict(values)}\n")

    def close(self) -> None:
        self.file.close()


HONEST: dict[str, tuple[Callable[..., Any], ...]] = {
    "dataset": (Clips,),
    "metric": (Difference,),
    "tracker": (Notes,),
}


class Shuffled(Clips):
    def clips(self, split: Split | None = None) -> Sequence[Clip]:
        found = list(super().clips(split))
        random.Random(id(found)).shuffle(found)
        random.Random().shuffle(found)
        return found if split else sorted(found, key=lambda _: random.SystemRandom().random())


class Overlapping(Clips):
    def clips(self, split: Split | None = None) -> Sequence[Clip]:
        return super().clips("train") if split == "test" else super().clips(split)


class SameKeys(Clips):
    def clips(self, split: Split | None = None) -> Sequence[Clip]:
        return [Clip(id=clip.id, key="key", label=clip.label) for clip in super().clips(split)]


class Unlisted(Clips):
    def clips(self, split: Split | None = None) -> Sequence[Clip]:
        return [Clip(id=clip.id, key=clip.key, label="neither") for clip in super().clips(split)]


class Changing(Clips):
    def open(self, clip: Clip) -> Audio:
        return Audio(np.random.default_rng().uniform(-0.5, 0.5, 800).astype(np.float32), 8000)


class GlobalDraws(Clips):
    def open(self, clip: Clip) -> Audio:
        np.random.seed(int(clip.id[-1]))
        return Audio(np.random.uniform(-0.5, 0.5, 800).astype(np.float32), 8000)


class Unreadable(Clips):
    def open(self, clip: Clip) -> Audio:
        raise UnreadableClip(clip.id, "empty", "it has 0 bytes")


class NoLicence(Clips):
    licence = None  # type: ignore[assignment]


class Zero(Difference):
    def score(self) -> Score:
        return Score(name="difference", value=float(np.sum(self.values)))


class Divides(Difference):
    def update(self, item: Comparison) -> None:
        with np.errstate(divide="ignore", invalid="ignore"):
            self.values.append(float(np.mean(item.made.samples / item.reference.samples)))


class UpsideDown(Difference):
    def score(self) -> Score:
        score = super().score()
        return Score(name=score.name, value=score.value, better="higher")


class LastOnly(Difference):
    def score(self) -> Score:
        return Score(name="difference", value=self.values[-1]) if self.values else super().score()


class Rescales(Difference):
    def update(self, item: Comparison) -> None:
        item.made.samples[:] *= 0.5
        super().update(item)


class Silent(Notes):
    def scalars(self, step: int, values: Mapping[str, float]) -> None: ...


class Beside(Notes):
    def close(self) -> None:
        super().close()
        (self.folder.parent / "beside.txt").write_text("x", encoding="utf-8")


class Truncating(Notes):
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = (folder / "notes.txt").open("w", encoding="utf-8")


class Drawing(Notes):
    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        super().scalars(step, {name: value + random.random() for name, value in values.items()})


VIOLATORS: list[tuple[Kind, str, Callable[..., Any], str]] = [
    ("dataset", "index", Shuffled, "order"),
    ("dataset", "splits", Overlapping, "not all clips"),
    ("dataset", "splits", SameKeys, "one recording lies in two splits"),
    ("dataset", "labels", Unlisted, "['neither']"),
    ("dataset", "sound", Changing, "different each time"),
    ("dataset", "sound", GlobalDraws, "changes numpy's global random state"),
    ("dataset", "sound", Unreadable, "none of the first clips"),
    ("dataset", "keys", SameKeys, "shares its key with another sound"),
    ("dataset", "papers", NoLicence, "of the set"),
    ("metric", "nothing", Zero, "it gives 0.0"),
    ("metric", "finite", Divides, "is nan"),
    ("metric", "identity", UpsideDown, "higher is better"),
    ("metric", "items", LastOnly, "by their order"),
    ("metric", "input-kept", Rescales, "writes into the sounds"),
    ("tracker", "writes", Silent, "no file with anything in it"),
    ("tracker", "writes", Beside, "'beside.txt' beside its folder"),
    ("tracker", "appends", Truncating, "shorter or gone"),
    ("tracker", "randomness", Drawing, "changes Python's global random state"),
]


@pytest.mark.parametrize("kind", HONEST)
def test_honest_components_pass(kind: Any) -> None:
    for build in HONEST[kind]:
        for check in battery(kind, build):
            check()


@pytest.mark.parametrize(
    ("kind", "law", "build", "how"), VIOLATORS, ids=[f"{kind}-{law}-{it.__name__}" for kind, law, it, _ in VIOLATORS]
)
def test_each_law_catches_its_violator(kind: Kind, law: str, build: Callable[..., Any], how: str) -> None:
    check = next(check for check in battery(kind, build) if check.name == f"{kind}-{law}")
    with pytest.raises(AssertionError) as caught:
        check()
    assert str(caught.value).startswith(f"{check.law} Here ")
    assert how in str(caught.value)


def test_every_law_has_a_violator() -> None:
    laws = {check.name for kind, (build, *_) in HONEST.items() for check in battery(kind, build)}  # type: ignore[arg-type]
    assert laws == {f"{kind}-{law}" for kind, law, _, _ in VIOLATORS}
