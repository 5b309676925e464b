"""Unpacking archives that are hostile until proven otherwise.

Every member is looked at before anything is written, and one that could do harm refuses the whole archive by its name: a
path that leads out of the folder, a link, a device, two members for one file, an encrypted member, more than would fit.
What is unpacked gathers in a folder beside the target, which gets its name when all is there; stopped at any moment, the
next call goes on with the members that are still missing. Nothing here needs numpy or torch.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import shutil
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import IO, Any, Literal

from synthkit.errors import ArchiveError
from synthkit.storage import Progress, alone, text_hash

_CHUNK = 2**20
_LARGEST_HEADER = 2**24  # tarfile reads an extended header into memory, however large it says it is
_MOST_PADDING = 2**24  # bytes behind the end of a tar archive, which may fill a block of a tape
_LONGEST_NAME = 255  # bytes, of one folder or file
_LONGEST_PATH = 1024
_SMALL = 2**26  # bytes for which no ratio is too good: an archive of a few silent clips is no bomb
_ROOM = 2**24  # bytes that an unpacked archive should leave free on the disk
_DRIVE = re.compile(r"[A-Za-z]:")
_DAMAGE = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError),
    *(ValueError, RuntimeError, IndexError, OverflowError),  # what these modules raise for nonsense in a header
)

Kind = Literal["file", "folder", "symbolic link", "hard link", "device", "pipe", "special file"]
Opener = Callable[[], IO[bytes]]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What an archive may become. The disk's free space is a limit too."""

    total_bytes: int = 2**41
    """Bytes of all members together."""
    ratio: float = 200.0
    """How many times larger than the archive they may be (sound reaches 2, silence 1,000)."""
    members: int = 2_000_000
    """Number of members, folders included."""


@dataclass(frozen=True, kw_only=True)
class Member:
    """One file of an archive."""

    name: str
    """Its path below the folder, with slashes."""
    size: int
    """Bytes when unpacked."""


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """A member as the archive has it, before anything is believed."""

    name: str
    size: int
    kind: Kind
    fault: str = ""
    """Why it cannot be read although its name and kind are right."""


def members(archive: Path, limits: Limits = Limits()) -> list[Member]:
    """The files in an archive, in its order, all checked. Nothing is written.

    Raises `ArchiveError` for an archive that is damaged, cut short, or has a member that could do harm.
    """
    checked = _Checked(archive, limits)
    for entry, _ in _entries(archive):
        checked.add(entry)
    if not checked.files:
        raise ArchiveError(f"{str(archive)!r} is empty, or no zip or tar archive")
    return checked.files


def unpack(
    archive: Path,
    folder: Path,
    *,
    progress: Progress | None = None,
    limits: Limits = Limits(),
) -> list[Path]:
    """Unpack a `.zip` (bzip2 members too) or a `.tar`, plain or compressed with gzip, bzip2 or xz.

    Files that are in the folder already with the size they have in the archive are left as they are, so that a second
    call does nothing. Permissions, owners and times of the archive are not taken over.

    Args:
        archive: The file; its content tells what it is, not its name.
        folder: Where its members go; made where it does not exist.
        progress: Told of the bytes written and the bytes to write.
        limits: What is refused as too much.

    Returns:
        The files, in the archive's order.

    Raises:
        ArchiveError: the archive is damaged, cut short or hostile, has a file that is there already with another size,
            or there is no room. Then nothing was put into the folder.
    """
    files = members(archive, limits)
    folder = folder.absolute()
    identity = text_hash("\n".join(f"{member.size} {member.name}" for member in files))[:12]
    beside = folder.with_name(f".{folder.name}.{identity}.unpacking")
    with _writing(folder), alone(beside.with_suffix(".lock")):
        missing = [member for member in files if not _is_there(folder, member, archive)]
        unwritten = {member.name: member for member in missing if _size(beside / member.name) != member.size}
        _find_room(archive, folder, sum(member.size for member in unwritten.values()))
        _write(archive, beside, unwritten, progress)
        _put_into_place(beside, folder, missing)
    return [folder / member.name for member in files]


class _Checked:
    """The members that were found harmless so far; `add` refuses one that is not, also for what came before it."""

    def __init__(self, archive: Path, limits: Limits) -> None:
        self._archive, self._limits = archive, limits
        with _reading(archive):
            self._most = min(limits.total_bytes, max(_SMALL, round(limits.ratio * archive.stat().st_size)))
        self._total = self._count = 0
        self._kinds: dict[str, Kind] = {}
        self._spelling: dict[str, str] = {}
        self.files: list[Member] = []

    def add(self, entry: _Entry) -> None:
        path = _path(entry.name)
        why = _bad_name(entry.name) or self._bad_kind(entry) or self._too_much(entry) or self._clash(entry, path)
        if why:
            name = entry.name if len(entry.name) <= 100 else f"{entry.name[:100]}..."
            raise ArchiveError(f"{str(self._archive)!r} is not unpacked: its member {name!r} {why}")
        if entry.kind == "file":
            self.files.append(Member(name=path, size=entry.size))

    def _bad_kind(self, entry: _Entry) -> str:
        return entry.fault if entry.kind in ("file", "folder") else f"is a {entry.kind}"

    def _too_much(self, entry: _Entry) -> str:
        self._total += entry.size
        self._count += 1
        if entry.size < 0:
            return "has a negative size"
        if self._total > self._most:
            return f"would bring it to {self._total:,} bytes; more than {self._most:,} are a bomb in an archive of its size"
        if self._count > self._limits.members:
            return f"is one of more than {self._limits.members:,}"
        return ""

    def _clash(self, entry: _Entry, path: str) -> str:
        """Two members for one file, also where a disk does not tell upper from lower case."""
        if entry.kind == "file" and not path:
            return "has no name"
        if self._kinds.get(path) == "file" or (entry.kind == "file" and path in self._kinds):
            return "is there twice"
        end = len(path)
        kind: Kind = entry.kind
        while end > 0:
            some = path[:end]
            if kind == "folder" and self._kinds.get(some) == "folder":
                return ""  # and so are those above it
            if some in self._kinds:
                return f"lies in {some!r}, which is a file"
            folded = unicodedata.normalize("NFC", some).casefold()
            if self._spelling.setdefault(folded, some) != some:
                return f"differs from {self._spelling[folded]!r} only by upper and lower case"
            self._kinds[some] = kind
            kind, end = "folder", some.rfind("/")
        return ""


def _path(name: str) -> str:
    """A member's path below the folder.

    >>> _path("./genres//jazz/")
    'genres/jazz'
    """
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def _bad_name(name: str) -> str:
    """What is wrong with a member's name, nothing where it is harmless.

    >>> _bad_name("../a"), _bad_name("C:/a"), _bad_name("./a..b/c")
    ("leads out of the folder ('..')", 'has an absolute path', '')
    """
    parts = _path(name).split("/")
    if name.startswith("/") or _DRIVE.match(name):
        return "has an absolute path"
    if ".." in parts:
        return "leads out of the folder ('..')"
    if "\\" in name:
        return "has a backslash in its name, which may separate folders"
    if any(unicodedata.category(letter) == "Cc" for letter in name):
        return "has a control character in its name"
    encoded = [part.encode("utf-8", "surrogateescape") for part in parts]
    if max(map(len, encoded)) > _LONGEST_NAME or len(b"/".join(encoded)) > _LONGEST_PATH:
        return "has a name that is too long"
    return ""


def _entries(archive: Path) -> Iterator[tuple[_Entry, Opener]]:
    """Every member with a function that opens it, which works until the next one is taken."""
    with _reading(archive):
        stream = archive.open("rb")
    with stream:
        found = _zip_entries(stream) if stream.peek(2).startswith(b"PK") else _tar_entries(stream)
        while True:
            with _reading(archive):
                entry = next(found, None)
            if entry is None:
                return
            yield entry


def _zip_entries(stream: BufferedReader) -> Iterator[tuple[_Entry, Opener]]:
    with zipfile.ZipFile(stream) as archive:
        for info in archive.infolist():
            mode = info.external_attr >> 16
            kind: Kind = "folder" if info.is_dir() else _kind_of_mode(mode)
            fault = "is encrypted" if info.flag_bits & 1 else _unknown_method(info.compress_type)
            entry = _Entry(name=info.orig_filename, size=info.file_size, kind=kind, fault=fault)
            yield entry, partial(archive.open, info)


def _kind_of_mode(mode: int) -> Kind:
    kinds: dict[int, Kind] = {0: "file", stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "symbolic link"}
    devices: dict[int, Kind] = {stat.S_IFCHR: "device", stat.S_IFBLK: "device", stat.S_IFIFO: "pipe"}
    return (kinds | devices).get(stat.S_IFMT(mode), "special file")


def _unknown_method(method: int) -> str:
    known = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    return "" if method in known else f"is compressed with method {method}, which is not supported"


def _tar_entries(stream: BufferedReader) -> Iterator[tuple[_Entry, Opener]]:
    source: Any = _Bounded(_decompressed(stream))
    archive: Any  # its list of members is no secret, but not in its type
    with tarfile.open(fileobj=source, mode="r:") as archive:
        while (info := archive.next()) is not None:
            archive.members.clear()  # it would keep every one
            entry = _Entry(name=info.name, size=info.size if info.isreg() else 0, kind=_kind_of_tar(info))
            yield entry, partial(_open_tar, archive, info)
        _check_end(archive)


def _decompressed(stream: BufferedReader) -> IO[bytes]:
    head = stream.peek(6)
    for magic, module in ((b"\x1f\x8b", gzip), (b"BZh", bz2), (b"\xfd7zXZ\0", lzma)):
        if head.startswith(magic):
            opened: IO[bytes] = module.open(stream)
            return opened
    return stream


def _kind_of_tar(info: tarfile.TarInfo) -> Kind:
    if info.isreg() or info.isdir():
        return "file" if info.isreg() else "folder"
    links: dict[bytes, Kind] = {
        tarfile.SYMTYPE: "symbolic link",
        tarfile.LNKTYPE: "hard link",
        tarfile.FIFOTYPE: "pipe",
    }
    return links.get(info.type, "device" if info.isdev() else "special file")


def _open_tar(archive: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    stream = archive.extractfile(info)
    assert stream is not None  # it is a regular file
    return stream


def _check_end(archive: tarfile.TarFile) -> None:
    """tarfile takes the end of the file, and nonsense in the place of a header, for the end of the archive."""
    stream: Any = archive.fileobj
    stream.seek(archive.offset)
    if stream.read(512) != bytes(512):
        raise tarfile.ReadError("it has no end")
    for _ in range(_MOST_PADDING // _CHUNK):  # gzip's checksum is only looked at when all is read
        if not stream.read(_CHUNK):
            return
    raise tarfile.ReadError("it goes on behind its end")


class _Bounded:
    """What tarfile reads from, which must not read as much into memory as a header tells it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _LARGEST_HEADER:
            raise tarfile.ReadError("one of its headers is too large")
        return self._stream.read(size)


def _is_there(folder: Path, member: Member, archive: Path) -> bool:
    """Whether the file is in the folder. Raises `ArchiveError` where something else has its name."""
    size = _size(folder / member.name)
    if size not in (None, member.size):
        raise ArchiveError(
            f"{str(archive)!r} is not unpacked: its member {member.name!r} of {member.size:,} bytes would replace what "
            f"is there already in {str(folder)!r}; move that away, or choose another folder"
        )
    return size is not None


def _size(file: Path) -> int | None:
    """The size of a file, None where there is nothing; something that is no file has the impossible size -1."""
    try:
        status = file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else -1


def _find_room(archive: Path, folder: Path, needed: int) -> None:
    existing = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
    free = shutil.disk_usage(existing).free
    if needed and needed + _ROOM > free:
        raise ArchiveError(
            f"there is no room to unpack {str(archive)!r}: it needs {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are "
            f"free in {str(existing)!r}"
        )


def _write(archive: Path, beside: Path, unwritten: dict[str, Member], progress: Progress | None) -> None:
    """Write members below `beside`. A file that has its size is whole: the last piece is written after its check."""
    total, done = sum(member.size for member in unwritten.values()), 0
    if not unwritten:
        return
    for entry, opened in _entries(archive):
        member = unwritten.get(_path(entry.name)) if entry.kind == "file" else None
        if member is None:
            continue
        target = beside / member.name
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            for chunk in _chunks(archive, opened):
                file.write(chunk)
                done += len(chunk)
                if progress:
                    progress(done, total)
        if _size(target) != member.size:
            raise ArchiveError(f"{str(archive)!r} is damaged: {member.name!r} has not the size that it should have")


def _chunks(archive: Path, opened: Opener) -> Iterator[bytes]:
    with ExitStack() as stack:
        with _reading(archive):
            stream = stack.enter_context(opened())
        while True:
            with _reading(archive):
                chunk = stream.read(_CHUNK)
            if not chunk:
                return
            yield chunk


def _put_into_place(beside: Path, folder: Path, missing: Iterable[Member]) -> None:
    """Give the files their names; all at once where the folder was not there."""
    beside.mkdir(parents=True, exist_ok=True)
    if not folder.exists():
        beside.rename(folder)
        return
    for member in missing:
        target = folder / member.name
        target.parent.mkdir(parents=True, exist_ok=True)
        (beside / member.name).rename(target)
    shutil.rmtree(beside)


@contextmanager
def _reading(archive: Path) -> Iterator[None]:
    """Say what an error means that came while the archive was read."""
    try:
        yield
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise ArchiveError(f"cannot read the archive {str(archive)!r}: {error.strerror}") from error
    except _DAMAGE as error:
        raise ArchiveError(
            f"{str(archive)!r} is damaged, cut short, or no zip or tar archive ({error or type(error).__name__})"
        ) from error


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Say what an error means that came while files were written."""
    try:
        yield
    except OSError as error:
        raise ArchiveError(
            f"cannot unpack into {str(folder)!r}: {error.strerror or error}; what is unpacked so far is kept for the next try"
        ) from error
