"""`synthkit data fetch fma`: archives downloaded and unpacked, and every file checked against the list that came with it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from synthkit.archives import unpack
from synthkit.downloads import download
from synthkit.errors import DatasetError
from synthkit.interfaces import Progress
from synthkit.storage import disk_error, write_json
from synthkit_fma.config import ARCHIVE_SHA1, FMAConfig
from synthkit_fma.files import CHECKSUMS, read_checksums
from synthkit_fma.layout import find_audio, find_metadata

_GIBIBYTES = {"small": 7.2, "medium": 22, "large": 93, "full": 879, "metadata": 0.34}
"""Sizes of the archives, for the shares of the progress."""
_ROOM = {"metadata": 6.0}
_ROOM_FOR_SOUND = 2.1
"""Room for an archive and what is unpacked from it, in multiples of its size: bzip2 does little to mp3 and much to tables."""
_BATCH = 1024
_THREADS = 4


def fetch(config: FMAConfig, progress: Progress | None, archive: Path | None) -> None:
    """Bring the subset's files and the tables below `root`, or unpack the one `archive` that the user has.

    What is there already is checked and not downloaded again. Raises `DatasetError`, `DownloadError` or `ArchiveError`.
    """
    if not isinstance(config.root, Path):
        raise DatasetError(
            f"fma is fetched onto a disk of this computer, and {config.root!r} is a URL: set root to a folder"
        )
    parts = [_Part(config, config.subset, _folder(config, config.subset))]
    if archive is not None:
        name = _recognise(config, archive)
        parts = [_Part(config, name, _folder(config, name))]
    elif not _has_tables(config):
        parts.append(_Part(config, "metadata", _folder(config, "metadata")))
    shares = _Shares(progress, [part.name for part in parts])
    for part in parts:
        part.fetch(shares, archive)


def _has_tables(config: FMAConfig) -> bool:
    try:
        find_metadata(config)
    except DatasetError:
        return False
    return True


def _folder(config: FMAConfig, part: str) -> Path:
    """The folder of an archive's files: where they are found already, or where they will be."""
    if part != "metadata":
        try:
            return Path(find_audio(config))
        except DatasetError:
            pass
    return Path(config.root, f"fma_{part}")


class _Shares:
    """One progress for several pieces of work, each with a share of the whole: downloading, unpacking and checking."""

    def __init__(self, progress: Progress | None, parts: list[str]) -> None:
        self._progress, self._begun = progress, 0
        self._total = sum(3 * self._share(part) for part in parts)

    def next(self, part: str) -> Progress:
        """The progress of the next piece."""
        begun, share = self._begun, self._share(part)
        self._begun += share

        def told(done: int, total: int) -> None:
            if self._progress and total:
                self._progress(begun + share * min(done, total) // total, self._total)

        return told

    def _share(self, part: str) -> int:
        return round(_GIBIBYTES[part] * 1024)


@dataclass(frozen=True)
class _Part:
    """One archive and the folder that it becomes."""

    config: FMAConfig
    name: str
    folder: Path

    @property
    def archive_name(self) -> str:
        return f"fma_{self.name}.zip"

    def fetch(self, shares: _Shares, archive: Path | None) -> None:
        """Unpack the given archive, or a downloaded one unless all files are there, and check every file."""
        downloading, unpacking, checking = (shares.next(self.name) for _ in range(3))
        folder, downloaded = self.folder, None
        if archive is None and not self._is_there():
            archive = downloaded = download(
                [f"{mirror.rstrip('/')}/{self.archive_name}" for mirror in self.config.mirrors],
                self.folder.parent / self.archive_name,
                sha1=_sha1(self.config, self.archive_name),
                room=_ROOM.get(self.name, _ROOM_FOR_SOUND),
                progress=downloading,
            )
        if archive is not None:
            folder = self.folder.with_name(f"fma_{self.name}")
            unpack(archive, folder.parent, progress=unpacking)
        _check(folder, checking)
        if downloaded is not None and not self.config.keep_archives:
            downloaded.unlink()

    def _is_there(self) -> bool:
        """Whether every file of the archive's own list is, or the files are those of a larger subset."""
        wanted = read_checksums(self.folder)
        if not wanted:
            return self.folder.is_dir() and self.folder.name != f"fma_{self.name}"
        return all((self.folder / path).is_file() for path in wanted)


def _sha1(config: FMAConfig, archive_name: str) -> str:
    return config.archive_sha1.get(archive_name, ARCHIVE_SHA1[archive_name]).lower()


def _recognise(config: FMAConfig, archive: Path) -> str:
    """Which part of FMA an archive is, by its content. Raises `DatasetError` where it is none, or of another subset."""
    try:
        with archive.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha1").hexdigest()
    except OSError as error:
        raise DatasetError(f"cannot read {str(archive)!r}: {error.strerror or error}") from error
    for part in (config.subset, "metadata"):
        if found == _sha1(config, f"fma_{part}.zip"):
            return part
    name = f"fma_{config.subset}.zip"
    other = next((known for known in ARCHIVE_SHA1 if found == _sha1(config, known)), None)
    what = (
        f"it is {other}"
        if other
        else f"its SHA-1 is {found}: it is damaged or cut short, or packed anew (archive_sha1)"
    )
    raise DatasetError(f"{str(archive)!r} is neither {name} nor fma_metadata.zip: {what}")


def _check(folder: Path, progress: Progress) -> None:
    """Compare every file with the archive's own list, and write down what differs."""
    wanted = read_checksums(folder)
    wrong = dict(_wrong(folder, wanted, progress))
    report = folder.parent / f"{folder.name}.checked.json"
    try:
        write_json(report, {"folder": folder.name, "files": len(wanted), "wrong": wrong})
    except OSError as error:
        raise disk_error(report, error) from error
    if wrong:
        some = ", ".join(f"{path} ({why})" for path, why in islice(wrong.items(), 3))
        raise DatasetError(
            f"{len(wrong):,} of {len(wanted):,} files in {str(folder)!r} are not as its {CHECKSUMS} say: {some}"
            f"{', ...' if len(wrong) > 3 else ''}; {str(report)!r} lists them: delete them and fetch again"
        )


def _wrong(folder: Path, wanted: Mapping[str, str], progress: Progress) -> Iterator[tuple[str, str]]:
    """The files that are not as they should be, each with the reason."""
    paths, done = iter(wanted), 0
    with ThreadPoolExecutor(_THREADS) as pool:  # reading and hashing both release the interpreter's lock
        while batch := list(islice(paths, _BATCH)):
            for path, why in zip(batch, pool.map(_fault(folder, wanted), batch), strict=True):
                if why:
                    yield path, why
            done += len(batch)
            progress(done, len(wanted))


def _fault(folder: Path, wanted: Mapping[str, str]) -> Callable[[str], str]:
    def fault(path: str) -> str:
        try:
            with (folder / path).open("rb") as stream:
                found = hashlib.file_digest(stream, "sha1").hexdigest()
        except OSError as error:
            return error.strerror or str(error)
        return "" if found == wanted[path] else f"its SHA-1 is {found}"

    return fault
