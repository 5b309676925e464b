"""Parts of a prepare that run by themselves, anywhere: `3/8` is the third of eight.

Each clip belongs to one shard by its content key alone, whatever other clips there are. A shard fills the cache with its
clips and leaves a small file in the run's folder `shards`; what it could not decode stands there, so that whoever puts
the shards together decodes nothing again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from synthkit._data.pool import Crashed, Source, Spread
from synthkit._data.worker import Work
from synthkit.errors import ClipReport, DatasetError, RunError
from synthkit.interfaces import Clip, Dataset
from synthkit.storage import text_hash, write_json

Result = TypeVar("Result")

FORMAT = 1
_PASSING = frozenset(("missing", "changed", "out-of-memory", "too-short"))
"""Codes of what may be well the next time, or needs no decoding to be known."""


@dataclass(frozen=True, order=True)
class Shard:
    """One of so many equal parts of a data set.

    >>> Shard.parse("3/8"), str(Shard(3, 8))
    (Shard(number=3, of=8), '3/8')
    """

    number: int
    """From 1."""
    of: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """What a user writes. Raises `RunError` where it is no shard."""
        found = re.fullmatch(r"(\d+)/(\d+)", text)
        if not found or not 1 <= int(found[1]) <= int(found[2]):
            raise RunError(f"a shard is written I/N, 1/8 to 8/8 for eight of them, not {text!r}")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def holds(self, clip: Clip) -> bool:
        """Whether a clip belongs to it: by its key alone, and so the same on every machine."""
        return _number(clip, self.of) == self.number


def _number(clip: Clip, of: int) -> int:
    return int(text_hash(clip.key)[:15], 16) % of + 1


def contents_of(clips: Sequence[Clip]) -> str:
    """What the clips of a shard are recognised by."""
    return text_hash("\n".join(sorted({clip.key for clip in clips})))


@dataclass(frozen=True, kw_only=True)
class Done:
    """What a shard did."""

    shard: Shard
    clips: int
    """How many clips it holds."""
    decoded: int
    """How many of them were not in the cache yet."""
    seconds: float
    contents: str
    """Which clips it holds, as a hash of their keys."""
    settings: str
    """What they were decoded with, as a hash."""
    left_out: Mapping[str, ClipReport]
    """Its quarantine: why a clip cannot be used, by its key."""

    def same_as(self, other: Done) -> bool:
        """Whether it is the result of another one, whoever did the work."""
        return (self.shard, self.contents, self.settings, self.left_out) == (
            other.shard,
            other.contents,
            other.settings,
            other.left_out,
        )

    def save(self, folder: Path) -> None:
        """Write it into the folder of a run's shards, whole or not at all. Raises `OSError`."""
        rows = [{"key": key, **asdict(report)} for key, report in self.left_out.items()]
        content = {**vars(self), "shard": str(self.shard), "left_out": rows}
        write_json(folder / f"{self.shard.number}-of-{self.shard.of}.json", {"format": FORMAT, **content})

    @classmethod
    def read_all(cls, folder: Path) -> list[Done]:
        """What all shards did, in their order. A file that is damaged, or of another version, counts as none."""
        found = []
        for file in folder.glob("*-of-*.json"):
            try:
                content = json.loads(file.read_text(encoding="utf-8"))
                if content.pop("format") != FORMAT:
                    continue
                shard = Shard.parse(content.pop("shard"))
                left_out = {row.pop("key"): ClipReport(**row) for row in content.pop("left_out")}
                found.append(cls(shard=shard, left_out=left_out, **content))
            except (OSError, ValueError, KeyError, TypeError, AttributeError, RunError):
                continue
        return sorted(found, key=lambda done: done.shard)


def failures(done: Sequence[Done], settings: str) -> dict[str, ClipReport]:
    """The clips that shards with the same settings have tried to decode in vain, by their keys."""
    return {
        key: report
        for one in done
        if one.settings == settings
        for key, report in one.left_out.items()
        if report.code not in _PASSING
    }


def remembering(known: Mapping[str, ClipReport], spread: Spread) -> Spread:
    """`spread`, but for clips of which it is known that they cannot be decoded: they are given back at once."""

    def remembered(
        source: Source,
        dataset: Dataset,
        clips: Sequence[Clip],
        work: Work[Any],
        workers: int = 0,
        seconds: float | None = None,
    ) -> Generator[tuple[Clip, Any], None, None]:
        yield from ((clip, known[clip.key]) for clip in clips if clip.key in known)
        yield from spread(source, dataset, [clip for clip in clips if clip.key not in known], work, workers, seconds)

    return remembered


def refusing(done: Sequence[Done]) -> Spread:
    """A `Spread` that decodes nothing, for shards that have done it all: what they say is there must be there."""

    def refuse(
        source: Source,
        dataset: Dataset,
        clips: Sequence[Clip],
        work: Work[Any],
        workers: int = 0,
        seconds: float | None = None,
    ) -> Generator[tuple[Clip, Result | Crashed], None, None]:
        yield from ()
        if clips:
            shards = sorted({one.shard for one in done for clip in clips if one.shard.holds(clip)})
            raise DatasetError(
                f"{len(clips)} clips of the shards {', '.join(map(str, shards))} are not in the cache folder that this process "
                "sees: all shards and the merge must share one (SYNTHKIT_CACHE)"
            )

    return refuse


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How far the shards of a prepare are together."""

    done: tuple[Done, ...]
    """Those that hold the clips that the data set has now, decoded with the same settings."""
    missing: tuple[Shard, ...]
    """Those that have not run."""
    outdated: tuple[Shard, ...]
    """Those that ran with other settings or other files."""

    @property
    def complete(self) -> bool:
        """Whether together they are the whole data set."""
        return bool(self.done) and not self.missing and not self.outdated


def standing(found: Sequence[Done], clips: Sequence[Clip], settings: str) -> Standing:
    """How far shards are: of the division that is complete, or else of the one that the most of them belong to."""
    by_count: dict[int, Standing] = {}
    for of in {one.shard.of for one in found}:
        held: dict[int, list[Clip]] = {}
        for clip in clips:
            held.setdefault(_number(clip, of), []).append(clip)
        ran = {one.shard.number: one for one in found if one.shard.of == of}
        good = {
            number
            for number, one in ran.items()
            if (one.contents, one.settings) == (contents_of(held.get(number, [])), settings)
        }
        by_count[of] = Standing(
            done=tuple(ran[number] for number in sorted(good)),
            missing=tuple(Shard(number, of) for number in range(1, of + 1) if number not in ran),
            outdated=tuple(Shard(number, of) for number in sorted(set(ran) - good)),
        )
    if not by_count:
        return Standing(done=(), missing=(), outdated=())
    return max(by_count.values(), key=lambda it: (it.complete, len(it.done)))
