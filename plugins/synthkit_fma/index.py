"""The compact index of `tracks.csv`: one array per column and every text once, kept in the cache folder.

The table has 260 MB, its index some ten; it is made once per table (recognised by its content) and opened in a moment.
"""

from __future__ import annotations

import zipfile
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

import numpy as np

from synthkit.errors import DatasetError
from synthkit.interfaces import Progress
from synthkit.remote import Place, content_keys, local_copy
from synthkit.storage import cache_root, disk_error, replacing
from synthkit_fma.tables import Track, read_tracks

FORMAT = 1


@dataclass(frozen=True, eq=False)
class Index:
    """The tracks in the order of their ids; `n` of them. Texts are places in `texts`."""

    ids: np.ndarray
    """`[n]` int32."""
    subset: np.ndarray
    """`[n]` uint8, index into `TABLE_SUBSETS`."""
    split: np.ndarray
    """`[n]` uint8, index into `TABLE_SPLITS`."""
    seconds: np.ndarray
    """`[n]` int32: duration of the whole track."""
    genre_top: np.ndarray
    """`[n]` int32: the one root genre."""
    licence: np.ndarray
    """`[n]` int32."""
    title: np.ndarray
    """`[n]` int32."""
    artist: np.ndarray
    """`[n]` int32."""
    genre_ends: np.ndarray
    """`[n + 1]` int64: the genres of track i are `genres[genre_ends[i]:genre_ends[i + 1]]`."""
    genres: np.ndarray
    """int32, ids of genres."""
    text_ends: np.ndarray
    """int64: text i is `text_bytes[text_ends[i]:text_ends[i + 1]]`, UTF-8."""
    text_bytes: np.ndarray
    """uint8."""

    def __len__(self) -> int:
        return len(self.ids)

    def text(self, place: int) -> str:
        """One text."""
        return self._blob[self._places[place] : self._places[place + 1]].decode("utf-8")

    @cached_property
    def _blob(self) -> bytes:
        return self.text_bytes.tobytes()

    @cached_property
    def _places(self) -> list[int]:
        """As Python's numbers, which slice faster."""
        ends: list[int] = self.text_ends.tolist()
        return ends

    def column(self, places: np.ndarray) -> list[str]:
        """The texts of a column of few different ones, each held once."""
        different, inverse = np.unique(places, return_inverse=True)
        texts = [self.text(place) for place in different]
        return [texts[place] for place in inverse]

    def genres_of(self, row: int) -> tuple[int, ...]:
        """The ids of a track's genres."""
        return tuple(self.genres[self.genre_ends[row] : self.genre_ends[row + 1]].tolist())

    def row(self, id: int) -> int | None:
        """The place of a track; None where the table has none of that id."""
        place = int(np.searchsorted(self.ids, id))
        return place if place < len(self) and self.ids[place] == id else None

    @classmethod
    def of(cls, tracks: Iterable[Track]) -> Index:
        """The index of these tracks. Raises `DatasetError` where two have one id, or there is none."""
        columns = _Columns()
        for track in tracks:
            columns.add(track)
        return columns.index()

    def save(self, file: Path) -> None:
        """Write it, whole or not at all. Raises `DatasetError`."""
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        try:
            with replacing(file) as stream:
                np.savez(stream, allow_pickle=False, **arrays)
        except OSError as error:
            raise disk_error(file, error) from error

    @classmethod
    def load(cls, file: Path) -> Index | None:
        """Read it; None where there is none, or a damaged one."""
        try:
            with np.load(file, allow_pickle=False) as arrays:
                return cls(**{field.name: arrays[field.name] for field in fields(cls)})
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None


def open_index(table: Place, progress: Progress | None = None) -> Index:
    """The index of a `tracks.csv`, from the cache folder or made anew. Raises `DatasetError`."""
    (key,) = content_keys([table])
    if isinstance(key, OSError):
        raise DatasetError(f"cannot read {str(table)!r}: {key.strerror or key}") from key
    file = cache_root() / f"fma-{FORMAT}" / f"{key}.npz"
    index = Index.load(file)
    if index is None:
        with local_copy(table) as path:
            index = Index.of(read_tracks(path, progress))
        index.save(file)
    return index


class _Columns:
    """Grows an index row by row in the size that it will have."""

    def __init__(self) -> None:
        self.ids, self.subset, self.split, self.seconds = array("i"), array("B"), array("B"), array("i")
        self.texts = {name: array("i") for name in ("genre_top", "licence", "title", "artist")}
        self.genres, self.genre_ends = array("i"), array("q", [0])
        self.places: dict[str, int] = {}

    def add(self, track: Track) -> None:
        """One row."""
        self.ids.append(track.id)
        self.subset.append(track.subset)
        self.split.append(track.split)
        self.seconds.append(track.seconds)
        for name, column in self.texts.items():
            column.append(self.places.setdefault(getattr(track, name), len(self.places)))
        self.genres.extend(track.genres)
        self.genre_ends.append(len(self.genres))

    def index(self) -> Index:
        """All rows, sorted by id."""
        ids = np.asarray(self.ids)
        order = np.argsort(ids, kind="stable")
        ids = ids[order]
        if not len(ids):
            raise DatasetError("the table of FMA tracks has no row")
        twice = ids[1:][ids[1:] == ids[:-1]]
        if len(twice):
            raise DatasetError(f"the table of FMA tracks has the track {twice[0]} twice")
        ends = np.asarray(self.genre_ends)
        counts = np.diff(ends)[order]
        rows = [np.asarray(self.genres)[ends[row] : ends[row + 1]] for row in order]
        encoded = [text.encode("utf-8") for text in self.places]
        return Index(
            ids=ids,
            subset=np.asarray(self.subset)[order],
            split=np.asarray(self.split)[order],
            seconds=np.asarray(self.seconds)[order],
            **{name: np.asarray(column)[order] for name, column in self.texts.items()},
            genre_ends=_ends(counts),
            genres=np.concatenate(rows),
            text_ends=_ends([len(text) for text in encoded]),
            text_bytes=np.frombuffer(b"".join(encoded), dtype=np.uint8),
        )


def _ends(lengths: Sequence[int] | np.ndarray) -> np.ndarray:
    ends = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=ends[1:])
    return ends
