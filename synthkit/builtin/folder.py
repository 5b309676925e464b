"""The data set `folder`: any tree of sound files."""

from __future__ import annotations

import fnmatch
import os
import stat
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath

from synthkit import remote
from synthkit.audio import AUDIO_SUFFIXES, UNSUPPORTED_SUFFIXES
from synthkit.builtin.config import FolderConfig
from synthkit.builtin.texts import is_text, texts_beside, texts_of_tables
from synthkit.errors import ClipReport, DatasetError
from synthkit.interfaces import Clip, Dataset, Progress, Split
from synthkit.storage import stamp, text_hash

# fmt: off
COMPANION_SUFFIXES = frozenset({
    ".txt", ".md", ".pdf", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".html", ".htm", ".log", ".nfo",
    ".jpg", ".jpeg", ".png", ".gif", ".webp", ".cue", ".m3u", ".m3u8", ".pls", ".sfv", ".md5", ".sha1", ".ini", ".db",
    ".mid", ".midi", ".lab", ".textgrid", ".lrc", ".srt", ".py", ".sh", ".npy", ".npz", ".mf", ".asd", ".reapeaks",
})
# fmt: on
"""Endings of files that usually lie beside sound and are nobody's loss; any other file that is no clip is reported."""


class Folder(Dataset):
    """Every sound file below a folder, here or on a remote store, is a clip; its id is the path below the folder.

    The split of a clip follows from its content alone: adding, removing or renaming other files does not move it, and
    copies of one recording are never on both sides. (In a set so small that a share of it is no clip at all, the clip
    nearest to the border is taken, so that no split is empty while there are clips for all.)

    Files and folders whose name begins with a dot are passed over.
    """

    def __init__(self, config: FolderConfig) -> None:
        self._config = config
        self.licence = config.licence
        self._found: tuple[tuple[Clip, Split], ...] | None = None

    def index(self, progress: Progress | None = None) -> None:
        """Hash the files that are new since the last time."""
        if self._found is None:
            self._found = self._index(progress)

    def labels(self) -> tuple[str, ...]:
        """Names of the sub-folders that hold clips, sorted; empty unless the setting `labels` is `folders`."""
        return tuple(sorted({clip.label for clip in self.clips() if clip.label is not None}))

    def clips(self, split: Split | None = None) -> Sequence[Clip]:
        """The clips sorted by id. Raises `DatasetError` where there is none."""
        self.index()
        assert self._found is not None
        return [clip for clip, where in self._found if split is None or where == split]

    def left_out(self) -> Sequence[ClipReport]:
        """Files that are not sound, or in a format that cannot be decoded, and folders that cannot be entered."""
        return self._scan.left_out

    @cached_property
    def _scan(self) -> _Scan:
        return _Scan(self._config)

    def _index(self, progress: Progress | None) -> tuple[tuple[Clip, Split], ...]:
        files = self._scan.files
        if not files:
            raise DatasetError(self._nothing())
        stamps = {id: "" if remote.is_remote(place) else stamp(place) for id, place in files.items()}
        found = remote.content_keys(list(files.values()), progress)
        keys = [
            key if isinstance(key, str) else text_hash(id)  # decoding will say why it cannot be read
            for id, key in zip(files, found, strict=True)
        ]
        splits = split_by_content(keys, validation=self._config.validation, test=self._config.test)
        return tuple(
            (
                Clip(
                    id=id,
                    key=key,
                    path=place,
                    label=self._label(id),
                    licence=self._config.licence,
                    stamp=stamps[id],
                    text=self._scan.texts.get(id, ""),
                ),
                splits[key],
            )
            for (id, place), key in zip(files.items(), keys, strict=True)
        )

    def _label(self, id: str) -> str | None:
        return id.split("/", 1)[0] if self._config.labels == "folders" else None

    def _nothing(self) -> str:
        root, left_out = str(self._config.root), self.left_out()
        looked_for = f"files with these endings are looked for: {', '.join(sorted(AUDIO_SUFFIXES))}"
        if not left_out:
            return f"no sound file lies below {root!r}; {looked_for}"
        some = "; ".join(f"{report.id}: {report.reason}" for report in left_out[:3])
        more = "; ..." if len(left_out) > 3 else ""
        return f"none of the {len(left_out)} files below {root!r} can be used: {some}{more}; {looked_for}"


class _Scan:
    """One walk through the tree: `files` by id, their `texts`, and what is `left_out`."""

    def __init__(self, config: FolderConfig) -> None:
        self._exclude, self._labelled = config.exclude, config.labels == "folders"
        if not remote.is_folder(config.root):
            raise DatasetError(f"the folder {str(config.root)!r} does not exist")
        self.files: dict[str, str] = {}
        self.texts: dict[str, str] = {}
        self._written: dict[str, remote.Place] = {}
        self.left_out: list[ClipReport] = []
        for relative, place, _ in remote.walk(config.root, self._cannot_enter):
            self._sort(relative, place)
        if config.texts != "none":
            read = texts_beside if config.texts == "beside" else texts_of_tables
            self.texts, without = read(self.files, self._written)
            self.left_out += without
            self.files = {id: place for id, place in self.files.items() if id in self.texts}

    def _cannot_enter(self, relative: str, error: OSError) -> None:
        reason = f"the folder cannot be read: {error.strerror}"
        self.left_out.append(ClipReport(id=_id(relative), code="unreadable", reason=reason))

    def _sort(self, relative: str, place: remote.Place) -> None:
        id, suffix = _id(relative), PurePosixPath(relative).suffix.lower()
        if any(fnmatch.fnmatchcase(id, pattern) for pattern in self._exclude):
            return
        if is_text(id):
            self._written[id] = place
        if suffix in UNSUPPORTED_SUFFIXES:
            reason = f"{suffix} is a format that is not supported; convert it to flac or wav"
            self.left_out.append(ClipReport(id=id, code="unsupported", reason=reason))
        elif suffix not in AUDIO_SUFFIXES:
            if suffix not in COMPANION_SUFFIXES:
                reason = f"{suffix!r} is not the ending of a sound file" if suffix else "its name has no ending"
                self.left_out.append(ClipReport(id=id, code="not-audio", reason=reason))
        elif self._labelled and "/" not in id:
            reason = "it lies in no sub-folder, whose name would be its label (labels: folders)"
            self.left_out.append(ClipReport(id=id, code="unlabelled", reason=reason))
        elif isinstance(place, Path) and not _may_be_read(place):
            self.left_out.append(ClipReport(id=id, code="not-audio", reason="it is not a regular file"))
        else:
            self.files[id] = str(place)


def _id(relative: str) -> str:
    """The path below the root; bytes that are no UTF-8 are written as `\\xff`, so that it can be printed."""
    return os.fsencode(relative).decode("utf-8", "backslashreplace")


def _may_be_read(path: Path) -> bool:
    """Whether opening the file ends (a pipe's may not). A file that is not there may be tried: decoding will say so."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return True


def split_by_content(keys: Iterable[str], *, validation: float, test: float) -> dict[str, Split]:
    """The split of each key, a hexadecimal hash, by its place between 0 and 1.

    A key below `test` is in the test split, one below `test + validation` in the validation split, the others in the
    training split, whatever other keys there are. Only where a split would be empty is the nearest key moved into it.

    >>> keys = [f"{i:02x}" + 14 * "0" for i in range(256)]
    >>> splits = list(split_by_content(keys, validation=0.25, test=0.125).values())
    >>> splits.count("train"), splits.count("validation"), splits.count("test")
    (160, 64, 32)
    >>> split_by_content(["8000", "9000", "a000"], validation=0.1, test=0.1)
    {'8000': 'test', '9000': 'validation', 'a000': 'train'}
    """
    places = {key: int(key[:16], 16) / 16 ** min(16, len(key)) for key in keys}
    order = sorted(places, key=lambda key: (places[key], key))
    tested = sum(place < test for place in places.values())
    held_out = sum(place < test + validation for place in places.values())
    needs_test, needs_validation = int(test > 0), int(validation > 0)
    if len(order) == 2:  # enough for one of them, and training needs its validation first
        needs_test = int(not needs_validation and test > 0)
    held_out = min(max(held_out, needs_test + needs_validation), len(order) - 1)
    tested = min(max(tested, needs_test), held_out - needs_validation) if held_out else 0
    splits: dict[str, Split] = dict.fromkeys(order[:tested], "test")
    splits |= dict.fromkeys(order[tested:held_out], "validation")
    return splits | dict.fromkeys(order[held_out:], "train")
