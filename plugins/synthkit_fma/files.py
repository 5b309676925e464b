"""The tracks that are there: their files, and what tells their content without reading it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from synthkit.errors import ClipReport, DatasetError
from synthkit.remote import Place, content_keys, is_file, is_remote, join, local_copy, walk
from synthkit.storage import stamp_of
from synthkit_fma.layout import folders_of_tracks

CHECKSUMS = "checksums"
_NAME = re.compile(r"(\d{3})\d{3}\.mp3")
_LINE = re.compile(r"([0-9a-f]{40})  (\S.*)")


@dataclass(frozen=True, slots=True)
class TrackFile:
    """What is known of a track's file before it is opened."""

    path: str
    """Where it is; a URL on a remote store."""
    key: str
    """What tells its content from that of any other file."""
    stamp: str = ""
    """Its `synthkit.storage.stamp`; empty on a remote store."""


@dataclass(frozen=True)
class Tracks:
    """What lies in the folders `000` to `155`."""

    files: dict[int, TrackFile] = field(default_factory=dict)
    """The files by the track's id."""
    strays: list[ClipReport] = field(default_factory=list)
    """Files in these folders that are no tracks by their name."""


def list_tracks(folder: Place, checksums: dict[str, str]) -> Tracks:
    """The tracks in a folder of FMA. No file is opened.

    A key is made of the size of the file and the time of its last change, and of its line in `checksums` or else its
    path; for a file on a remote store it is what the store says of it. Raises `DatasetError`.
    """
    return _list_store(str(folder)) if is_remote(folder) else _list_here(Path(folder), checksums)


def read_checksums(folder: Place) -> dict[str, str]:
    """The SHA-1 of each file below an unpacked archive by its path there; empty where the archive's list is not there.

    Raises `DatasetError` where the list cannot be read.
    """
    file = join(folder, CHECKSUMS)
    if not is_file(file):
        return {}
    found: dict[str, str] = {}
    try:
        with local_copy(file) as path, path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                match = _LINE.fullmatch(line.rstrip("\r\n"))
                if match is None:
                    raise ValueError(f"line {number} is not a SHA-1, two spaces and a path")
                found[match[2]] = match[1]
    except OSError as error:
        raise DatasetError(f"cannot read {str(file)!r}: {error.strerror or error}") from error
    except ValueError as error:
        raise DatasetError(f"{str(file)!r} is no list of checksums: {error}") from error
    return found


def _list_here(root: Path, checksums: dict[str, str]) -> Tracks:
    tracks = Tracks()
    for folder in folders_of_tracks(root):
        try:
            with os.scandir(root / folder) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    _add_here(tracks, entry, f"{folder}/{entry.name}", checksums)
        except OSError as error:
            raise DatasetError(
                f"the folder {str(root / folder)!r} cannot be read: {error.strerror or error}"
            ) from error
    return tracks


def _add_here(tracks: Tracks, entry: os.DirEntry[str], path: str, checksums: dict[str, str]) -> None:
    if not _is_track(path, tracks):
        return
    try:
        status = entry.stat()
    except FileNotFoundError:  # a link to nothing: the track is missing
        return
    key = f"{checksums.get(path) or entry.path} {status.st_size} {status.st_mtime_ns}"
    tracks.files[int(entry.name[:6])] = TrackFile(entry.path, key, stamp_of(status))


def _list_store(root: str) -> Tracks:
    tracks = Tracks()
    try:
        files = {path: place for path, place, _ in walk(root) if path.count("/") == 1 and _is_track(path, tracks)}
    except OSError as error:
        raise DatasetError(f"the folder {root!r} cannot be read: {error.strerror or error}") from error
    for path, key in zip(files, content_keys(list(files.values())), strict=True):
        if isinstance(key, str):  # else it has just vanished
            tracks.files[int(path[4:10])] = TrackFile(str(files[path]), key)
    return tracks


def _is_track(path: str, tracks: Tracks) -> bool:
    """Whether `000/000002.mp3` is one by its name; other files are reported, but for those that begin with a dot."""
    folder, _, name = path.partition("/")
    match = _NAME.fullmatch(name)
    if match and match[1] == folder:
        return True
    if not name.startswith("."):
        reason = f"its name is not that of a track of the folder {folder}, such as {folder}000.mp3"
        shown = os.fsencode(path).decode("utf-8", "backslashreplace")
        tracks.strays.append(ClipReport(id=shown, code="not-audio", reason=reason))
    return False
