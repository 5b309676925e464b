"""`tracks.csv` read row by row: three header lines, fields with line breaks in them, lists written as Python.

The columns and their pitfalls: the README, utils.py and creation.py of github.com/mdeff/fma.
"""

from __future__ import annotations

import ast
import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO

from synthkit.errors import DatasetError, nearest
from synthkit.interfaces import Progress

TABLE_SUBSETS = ("small", "medium", "large")
"""What stands in the table, from the smallest: a track of one belongs to all that follow."""
TABLE_SPLITS = ("training", "validation", "test")

_COLUMNS = {
    "split": ("set", "split"),
    "subset": ("set", "subset"),
    "seconds": ("track", "duration"),
    "genre_top": ("track", "genre_top"),
    "genres": ("track", "genres"),
    "licence": ("track", "license"),
    "title": ("track", "title"),
    "artist": ("artist", "name"),
}
_LARGEST = 2**31 - 1
_LARGEST_ID = 999_999  # the names of files have six digits
_ROWS_PER_REPORT = 500


@dataclass(frozen=True, slots=True)
class Track:
    """One row of the table, as far as it is of use here."""

    id: int
    subset: int
    """Index into `TABLE_SUBSETS`."""
    split: int
    """Index into `TABLE_SPLITS`."""
    seconds: int
    """Duration of the whole track, not of the clip."""
    genre_top: str
    """Title of the one root genre; empty where there are several, or none."""
    genres: tuple[int, ...]
    """Ids of its genres, as its artist gave them."""
    licence: str
    title: str
    artist: str


def read_tracks(file: Path, progress: Progress | None = None) -> Iterator[Track]:
    """The rows of a `tracks.csv`, in constant memory.

    Args:
        file: The table.
        progress: Told of the bytes that were read.

    Raises:
        DatasetError: where it cannot be read or is no such table; the message has the line.
    """
    with _opened(file) as stream, _long_fields():
        rows = csv.reader(stream)
        try:
            columns = _columns([next(rows, []) for _ in range(3)])
            size, told = file.stat().st_size, _told(stream, file.stat().st_size, progress)
            width = max(columns.values()) + 1
            for number, row in enumerate(rows):
                if len(row) < width:
                    raise ValueError(f"{len(row)} fields, at least {width} are needed: is the file cut short?")
                yield _track(row, columns)
                if number % _ROWS_PER_REPORT == 0:
                    told()
            if progress:
                progress(size, size)
        except OSError as error:
            raise DatasetError(f"cannot read {str(file)!r}: {error.strerror or error}") from error
        except (ValueError, csv.Error) as error:  # a UnicodeDecodeError is a ValueError
            raise DatasetError(f"{str(file)!r} is no table of FMA tracks: line {rows.line_num}: {error}") from error


def _columns(headers: Sequence[Sequence[str]]) -> dict[str, int]:
    """Where the wanted columns are, by the two upper header lines."""
    upper, lower, index = headers
    if upper[:1] and upper[0].startswith("version https://git-lfs"):
        raise ValueError("it is a git-LFS pointer: run 'git lfs pull' where it came from")
    if index[:1] != ["track_id"]:
        raise ValueError("three header lines are needed, of which the third begins with track_id")
    places = {pair: place for place, pair in enumerate(zip(upper, lower, strict=False))}
    absent = ["/".join(pair) for pair in _COLUMNS.values() if pair not in places]
    if absent:
        raise ValueError(f"it has no column {absent[0]}")
    return {name: places[pair] for name, pair in _COLUMNS.items()}


def _track(row: Sequence[str], columns: dict[str, int]) -> Track:
    field = {name: row[place] for name, place in columns.items()}
    return Track(
        id=_whole(row[0], "track_id", _LARGEST_ID),
        subset=_one_of(TABLE_SUBSETS, field["subset"], "subset"),
        split=_one_of(TABLE_SPLITS, field["split"], "split"),
        seconds=_whole(field["seconds"] or "0", "duration"),
        genre_top=field["genre_top"],
        genres=_numbers(field["genres"]),
        licence=" ".join(field["licence"].split()),
        title=field["title"],
        artist=field["artist"],
    )


def _whole(text: str, what: str, largest: int = _LARGEST) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > largest:
        raise ValueError(f"the {what} {text!r:.80} is no whole number of 0 to {largest:,}")
    return int(text)


def _one_of(known: tuple[str, ...], value: str, what: str) -> int:
    if value not in known:
        raise ValueError(f"the {what} {value!r} is not one of FMA; {nearest(value, known)}")
    return known.index(value)


@lru_cache(maxsize=4096)
def _numbers(text: str) -> tuple[int, ...]:
    """A list as Python writes it.

    >>> _numbers("[17, 10, 76]"), _numbers("[]")
    ((17, 10, 76), ())
    """
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        found = None
    if not isinstance(found, list) or not all(type(one) is int and 0 <= one <= _LARGEST for one in found):
        raise ValueError(f"{text!r:.80} is no list of genres")
    return tuple(found)


@contextmanager
def _opened(file: Path) -> Iterator[IO[str]]:
    try:
        stream = file.open(encoding="utf-8", newline="")
    except OSError as error:
        raise DatasetError(f"cannot read {str(file)!r}: {error.strerror or error}") from error
    with stream:
        yield stream


@contextmanager
def _long_fields() -> Iterator[None]:
    """Let fields be as long as they are: the csv module refuses those of more than 128 KiB."""
    before = csv.field_size_limit(_LARGEST)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _told(stream: IO[str], size: int, progress: Progress | None) -> Callable[[], None]:
    """Tells how far the file was read; the text stream itself does not know while it is iterated over."""
    if progress is None:
        return lambda: None
    raw = stream.buffer  # type: ignore[attr-defined]
    return lambda: progress(raw.tell(), size)
