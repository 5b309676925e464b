"""Which tracks become clips: the table's rows of a subset put together with the files that are there."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np

from synthkit.errors import ClipReport, DatasetError
from synthkit.interfaces import SPLITS, Clip, Split
from synthkit.remote import Place, join
from synthkit_fma.config import SUBSETS, FMAConfig
from synthkit_fma.files import TrackFile, list_tracks, read_checksums
from synthkit_fma.genres import GenreTree
from synthkit_fma.index import Index
from synthkit_fma.tables import TABLE_SUBSETS


@dataclass(frozen=True)
class Selection:
    """The clips of each split (None: of all) sorted by id, all labels, and what was left out with the reason."""

    clips: Mapping[Split | None, Sequence[Clip]]
    labels: tuple[str, ...]
    left_out: tuple[ClipReport, ...]


@dataclass(frozen=True, slots=True)
class _Row:
    """A track of the subset; `place` is its row of the index, `split` an index into `SPLITS`."""

    place: int
    id: int
    split: int
    label: str | None
    licence: str


@cache
def known_faults() -> Mapping[int, float]:
    """Clips of the 30 s archives that are cut short or empty: their seconds by the track's id."""
    text = (resources.files("synthkit_fma") / "faults.json").read_text(encoding="utf-8")
    return {int(id): float(seconds) for id, seconds in json.loads(text)["seconds_of_clip"].items()}


def select(config: FMAConfig, index: Index, metadata: Place, audio: Place) -> Selection:
    """The clips of a subset, from its tables in `metadata` and its files in `audio`.

    Raises `DatasetError` where tables or folders cannot be read, or none of the subset's tracks is there.
    """
    checksums = read_checksums(audio)
    tracks = list_tracks(audio, checksums)
    rows = list(_rows(config, index, metadata))
    left_out = list(tracks.strays)
    usable = _usable(config, rows, tracks.files, left_out)
    if config.skip_known_faults:
        usable = _without_copies(usable, _contents(checksums), left_out)
    left_out.extend(_unlisted(index, tracks.files))
    if not usable:
        raise DatasetError(
            f"none of the {len(rows):,} tracks of FMA {config.subset} in its table can be used: "
            f"{_counted(left_out)}; it was looked for in {str(audio)!r}"
        )
    clips: dict[Split | None, list[Clip]] = {None: [], **{split: [] for split in SPLITS}}
    for row in usable:
        file = tracks.files[row.id]
        clip = Clip(
            id=f"{row.id:06d}",
            key=file.key,
            path=file.path,
            label=row.label,
            licence=row.licence,
            credit=_credit(index, row.place),
            stamp=file.stamp,
        )
        clips[None].append(clip)
        clips[SPLITS[row.split]].append(clip)
    labels = tuple(sorted({row.label for row in rows if row.label is not None}))
    return Selection(clips, labels, tuple(sorted(left_out, key=lambda report: report.id)))


def _rows(config: FMAConfig, index: Index, metadata: Place) -> Iterator[_Row]:
    """The subset's rows of the table: `small` is part of `medium`, and both of `large`."""
    largest = min(SUBSETS.index(config.subset), TABLE_SUBSETS.index("large"))
    places = np.flatnonzero(index.subset <= largest)
    labels = _labels(config, index, places, metadata)
    licences = index.column(index.licence[places])
    ids, splits = index.ids[places].tolist(), index.split[places].tolist()
    yield from map(_Row, places.tolist(), ids, splits, labels, licences)


def _labels(config: FMAConfig, index: Index, places: np.ndarray, metadata: Place) -> Iterator[str | None]:
    if config.labelled == "none":
        yield from [None] * len(places)
    elif config.labelled == "genre_top":
        yield from (title or None for title in index.column(index.genre_top[places]))
    else:
        file = join(metadata, "genres.csv")
        tree, known = GenreTree.read(file), dict[tuple[int, ...], str | None]()
        for place in places.tolist():
            genres = index.genres_of(place)
            if genres not in known:
                try:
                    known[genres] = tree.label(genres, config.genre_level)
                except KeyError as error:
                    raise DatasetError(
                        f"the track {index.ids[place]} has the genre {error}, which {str(file)!r} has not: "
                        "the two tables do not belong together"
                    ) from error
            yield known[genres]


def _usable(
    config: FMAConfig, rows: Sequence[_Row], files: Mapping[int, TrackFile], left_out: list[ClipReport]
) -> list[_Row]:
    faults = known_faults() if config.skip_known_faults and config.subset != "full" else {}
    usable = []
    for row in rows:
        code, reason = "", ""
        if row.id in faults:
            code, reason = "known-fault", f"its clip is known to be cut: {faults[row.id]:g} s of 30 s"
        elif row.id not in files:
            code, reason = "absent" if config.partial else "missing", "the table has it, but its file is not there"
        elif row.label is None and config.labelled == "genre_top":
            code, reason = "no-label", "it has no single root genre (labels: genres takes one of several)"
        elif row.label is None and config.labelled == "genres":
            code, reason = "no-label", "it has no genre"
        if code:
            left_out.append(ClipReport(id=f"{row.id:06d}", code=code, reason=reason))
        else:
            usable.append(row)
    return usable


def _contents(checksums: Mapping[str, str]) -> dict[int, str]:
    """The SHA-1 of each track by its id."""
    return {int(path[4:10]): sha1 for path, sha1 in checksums.items() if path.endswith(".mp3") and path[4:10].isdigit()}


def _without_copies(rows: Sequence[_Row], contents: Mapping[int, str], left_out: list[ClipReport]) -> list[_Row]:
    """The tracks without those whose file is also that of a track held out further: test before validation before train."""
    held_out: dict[str, _Row] = {}
    for row in rows:
        content = contents.get(row.id)
        if content and (content not in held_out or held_out[content].split < row.split):
            held_out[content] = row
    kept = []
    for row in rows:
        other = held_out.get(contents.get(row.id, ""), row)
        if other.split == row.split:
            kept.append(row)
        else:
            reason = f"its file is also that of the track {other.id:06d} in the {SPLITS[other.split]} split"
            left_out.append(ClipReport(id=f"{row.id:06d}", code="known-fault", reason=reason))
    return kept


def _credit(index: Index, place: int) -> str:
    """Artist and title, such as `AWOL: Food`."""
    texts = (index.text(column[place]).strip() for column in (index.artist, index.title))
    return ": ".join(filter(None, texts))


def _unlisted(index: Index, files: Mapping[int, TrackFile]) -> Iterator[ClipReport]:
    there = np.fromiter(files, dtype=np.int32, count=len(files))
    for id in np.setdiff1d(there, index.ids, assume_unique=True).tolist():
        reason = "the table does not have it, so that its licence and its split are not known"
        yield ClipReport(id=f"{id:06d}", code="not-listed", reason=reason)


def _counted(left_out: Sequence[ClipReport]) -> str:
    counts = Counter(report.code for report in left_out)
    return ", ".join(f"{count:,} {code}" for code, count in counts.most_common())
