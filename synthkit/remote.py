"""Files that are here or on a remote store (fsspec): a place is a `Path`, or a URL such as `s3://bucket/music`.

fsspec is imported for URLs only. What lies on a store is listed there and downloaded clip by clip as it is decoded;
its identity is what the store says of it (checksum, or size and time of change), so that indexing downloads nothing.
"""

from __future__ import annotations

import errno
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from synthkit.errors import DatasetError

if TYPE_CHECKING:
    from synthkit.storage import Progress

Place: TypeAlias = Path | str
"""A file or folder: a `Path` on this machine, or a URL."""

OnError: TypeAlias = Callable[[str, OSError], None]
"""Called as `on_error(path below the root, error)`."""

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")  # two letters at least: C:// is a disk of Windows
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}
_CHECKSUMS = ("ETag", "etag", "md5Hash", "content_md5", "checksum", "crc32c", "generation")
_TIMES = ("mtime", "LastModified", "last_modified", "updated", "modified", "created")
_LISTINGS = 8


def is_remote(place: Place) -> bool:
    """Whether a place is a URL.

    >>> is_remote("s3://bucket/music"), is_remote("music"), is_remote("C:/music"), is_remote(Path("music"))
    (True, False, False, False)
    """
    return isinstance(place, str) and _URL.match(place) is not None


def only_here(place: Place) -> bool:
    """Whether no other process can read the place: `memory://` lives in this one.

    >>> only_here("memory://music"), only_here("s3://bucket"), only_here(Path("/music"))
    (True, False, False)
    """
    return is_remote(place) and _protocol(str(place)) == "memory"


def join(place: Place, *names: str) -> Place:
    """A place below another; names may have slashes.

    >>> join("s3://bucket/music/", "jazz", "a.wav")
    's3://bucket/music/jazz/a.wav'
    >>> join(Path("music"), "jazz/a.wav").as_posix()
    'music/jazz/a.wav'
    """
    if is_remote(place):
        return "/".join([str(place).rstrip("/"), *(name.strip("/") for name in names)])
    return Path(place, *names)


def is_folder(place: Place) -> bool:
    """Whether there is such a folder. Raises `DatasetError` where a store cannot be asked."""
    if not is_remote(place):
        return os.path.isdir(place)  # noqa: PTH112 - it never raises
    store, path = _store(str(place))
    with _asking(str(place)):
        return bool(store.isdir(path))


def is_file(place: Place) -> bool:
    """Whether there is such a file. Raises `DatasetError` where a store cannot be asked."""
    if not is_remote(place):
        return os.path.isfile(place)  # noqa: PTH113 - it never raises
    store, path = _store(str(place))
    with _asking(str(place)):
        return bool(store.isfile(path))


def list_folder(place: Place) -> list[tuple[str, bool]]:
    """The names directly in a folder, sorted, and whether each is a folder.

    Raises:
        OSError: where it is none, or it cannot be entered.
        DatasetError: where a store cannot be asked.
    """
    if not is_remote(place):
        return sorted((path.name, path.is_dir()) for path in Path(place).iterdir())
    store, path = _store(str(place))
    with _asking(str(place)):
        return sorted((_name(info), info["type"] == "directory") for info in _listing(store, path))


def walk(place: Place, on_error: OnError | None = None) -> Iterator[tuple[str, Place, int]]:
    """All files below a folder, sorted: the path below it with slashes, the place, and the size in bytes.

    Names that begin with a dot are passed over. On this machine links are followed, but no folder is entered twice (a
    link may lead back up), and a file whose size cannot be told (a broken link) has the size 0.

    Args:
        place: The folder.
        on_error: Told of a folder that cannot be entered; None raises the `OSError`.

    Raises:
        OSError: as above.
        DatasetError: where a store cannot be asked.
    """
    if is_remote(place):
        yield from _walk_store(str(place))
    else:
        root = Path(place)
        for relative, size in sorted(_walk_here(root, on_error)):
            yield relative, root / relative, size


def content_keys(places: Sequence[Place], progress: Progress | None = None) -> tuple[str | OSError, ...]:
    """What tells the content of each file from that of any other, hexadecimal, or why the file cannot be read.

    For a file of this machine the SHA-256 of its bytes (`storage.file_hashes`), so that copies have one key. For a URL
    the SHA-256 of the URL and what the store says of the file: its checksum, or its size and time of change. Nothing is
    downloaded, each folder is listed once. Raises `DatasetError` where a store cannot be asked.
    """
    from synthkit.storage import file_hashes  # it brings sqlite3 and a pool, and settings need neither

    here = [place for place in places if not is_remote(place)]
    there = [str(place) for place in places if is_remote(place)]
    total = len(places)
    hashes = iter(file_hashes(here, progress and (lambda done, _: progress(done, total))))
    known = _store_keys(there, progress and (lambda done, _: progress(len(here) + done, total)))
    return tuple(known[str(place)] if is_remote(place) else next(hashes) for place in places)


@contextmanager
def local_copy(place: Place) -> Iterator[Path]:
    """A file of this machine with the content of `place`: itself, or a download with the same name, gone afterwards.

    Raises:
        OSError: where it cannot be downloaded; `FileNotFoundError` where it is not there.
        DatasetError: where the store needs a package that is not installed.
    """
    if not is_remote(place):
        yield Path(place)
        return
    import tempfile

    store, path = _store(str(place))
    with tempfile.TemporaryDirectory(prefix="synthkit-") as folder:
        copy = Path(folder, path.rstrip("/").rsplit("/", 1)[-1])
        try:
            store.get_file(path, os.fspath(copy))
        except OSError:
            raise
        except Exception as error:  # each store has errors of its own
            raise OSError(errno.EIO, f"the store says: {_said(error)}", str(place)) from error
        if not copy.is_file():  # what some stores make of a folder
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), str(place))
        yield copy


def _walk_here(root: Path, on_error: OnError | None) -> Iterator[tuple[str, int]]:
    def failed(error: OSError) -> None:
        if on_error is None:
            raise error
        on_error(Path(os.fsdecode(error.filename)).relative_to(root).as_posix(), error)

    seen: set[tuple[int, int]] = set()
    for folder, folders, files in os.walk(root, onerror=failed, followlinks=True):
        status = Path(folder).stat()
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            if not name.startswith("."):
                path = os.path.join(folder, name)  # noqa: PTH118 - a Path of each would cost more memory than the rest
                yield os.path.relpath(path, root).replace(os.sep, "/"), _size(path)


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116
    except OSError:
        return 0


def _walk_store(url: str) -> Iterator[tuple[str, Place, int]]:
    store, root = _store(url)
    with _asking(url):
        store.invalidate_cache()
        found = {
            name.removeprefix(root).lstrip("/"): info
            for name, info in store.find(root, detail=True).items()
            if info["type"] == "file" and not name.endswith("/")  # a key that ends so stands for a folder
        }
    for relative, info in sorted(found.items()):
        if relative and not any(part.startswith(".") for part in relative.split("/")):
            yield relative, join(url, relative), int(info.get("size") or 0)


def _store_keys(urls: Sequence[str], progress: Progress | None) -> dict[str, str | OSError]:
    """The keys of files on stores, folder by folder, several listings at once."""
    from concurrent.futures import ThreadPoolExecutor

    folders: dict[str, list[str]] = defaultdict(list)
    for url in urls:
        folders[url.rpartition("/")[0]].append(url)
    keys: dict[str, str | OSError] = {}
    with ThreadPoolExecutor(_LISTINGS) as pool:
        for found in pool.map(_folder_keys, folders, folders.values()):
            keys |= found
            if progress:
                progress(len(keys), len(urls))
    return keys


def _folder_keys(folder: str, urls: Sequence[str]) -> dict[str, str | OSError]:
    store, path = _store(folder)
    try:
        with _asking(folder):
            store.invalidate_cache(path)
            infos = {_name(info): info for info in _listing(store, path) if info["type"] == "file"}
    except OSError as error:
        return dict.fromkeys(urls, error)
    return {url: _key(url, infos.get(url.rpartition("/")[2])) for url in urls}


def _key(url: str, info: Mapping[str, Any] | None) -> str | OSError:
    from synthkit.storage import text_hash

    if info is None:
        return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), url)
    fields = [name for name in _CHECKSUMS if info.get(name)] or [name for name in _TIMES if info.get(name)]
    says = [f"{name}={info[name]}" for name in fields]
    return text_hash("\n".join([url, f"size={info.get('size')}", *says]))


def _listing(store: Any, path: str) -> list[Mapping[str, Any]]:
    """What lies directly in a folder of a store; some stores list the folder itself, too."""
    infos: list[Mapping[str, Any]] = store.ls(path, detail=True)
    return [info for info in infos if info["name"].rstrip("/") != path.rstrip("/") or info["type"] == "file"]


def _name(info: Mapping[str, Any]) -> str:
    return str(info["name"]).rstrip("/").rsplit("/", 1)[-1]


def _protocol(url: str) -> str:
    return url.partition("://")[0].lower()


def _store(url: str) -> tuple[Any, str]:
    """The fsspec file system of a URL, and the path in it. Raises `DatasetError` where there is none for it."""
    from fsspec.core import url_to_fs

    extra = _EXTRAS.get(_protocol(url))
    try:
        store, path = url_to_fs(url)
    except ImportError as error:
        needs = f"pip install 'synthkit[{extra}]'" if extra else str(error)
        raise DatasetError(f"{url!r} needs a package that is not installed: {needs}") from error
    except ValueError as error:
        raise DatasetError(f"{url!r} cannot be opened: {_said(error)}") from error
    return store, str(path)


@contextmanager
def _asking(url: str) -> Iterator[None]:
    """Errors of a store as sentences; that a place is not there stays an `OSError`."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise
    except Exception as error:  # each store has errors of its own
        raise DatasetError(f"the store of {url!r} cannot be read: {_said(error)}") from error


def _said(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
