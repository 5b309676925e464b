"""Where things are kept on this machine between runs, and how they are written and recognised.

Nothing here needs numpy or torch.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from synthkit.errors import DatasetError

Progress = Callable[[int, int], None]

_SETTLED_SECONDS = (
    2.0  # a file changed twice within one tick of the clock keeps its mtime, so a young file is not remembered
)
_ABANDONED_SECONDS = 86400.0
_HASH_THREADS = 8
_BATCH = 256


def cache_root() -> Path:
    """The folder of everything that can be made again: `$SYNTHKIT_CACHE`, or the user's cache folder."""
    named = os.environ.get("SYNTHKIT_CACHE")
    if named:
        return Path(named).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_cache_dir("synthkit", appauthor=False))


@contextmanager
def replacing(path: Path, *, within: Path | None = None) -> Iterator[BinaryIO]:
    """A stream whose content becomes the file `path`, whole, when the block ends without an error.

    It is written under another name, forced to the disk and then renamed, so that no crash and no other process ever
    shows a half file. Missing folders are made. Raises `OSError`.

    Args:
        path: The file.
        within: The folder, on the same disk, that the unfinished file lies in: where this process is killed, it stays
            there until `clear_unfinished` finds it. None: the folder of `path`.
    """
    folder = within or path.parent
    for needed in (folder, path.parent):
        if not needed.is_dir():
            needed.mkdir(parents=True, exist_ok=True)
    temporary, stream = _create_locked(folder, path.name)
    try:
        with stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
            if sys.platform != "win32":  # while it is locked, so that nobody clears it up
                temporary.replace(path)
        if sys.platform == "win32":  # which renames no open file
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Hold off other processes that want the same `lock`. Its file goes with the last that needed it. Raises `OSError`."""
    from filelock import FileLock

    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):
        try:
            yield
        finally:
            with suppress(OSError):  # where an open file cannot be deleted it stays
                lock.unlink()


def clear_unfinished(folder: Path) -> None:
    """Remove what `replacing` left in a folder where its process was killed, and nothing that is still being written.

    A living writer holds a lock on its file. Where there are no locks (Windows, some network disks), a file is removed a
    day after it was last written.
    """
    for file in folder.glob(".*.tmp"):
        try:
            with file.open("rb+") as stream:
                locked = _lock(stream)
                if locked:
                    file.unlink()
                age = time.time() - os.fstat(stream.fileno()).st_mtime
            if locked is None and age > _ABANDONED_SECONDS:
                file.unlink()
        except OSError:  # it is gone by now or belongs to another user, and is in nobody's way
            continue


def _create_locked(folder: Path, name: str) -> tuple[Path, BinaryIO]:
    """A new file under a name of its own, open for writing, and locked for as long as it is open."""
    while True:
        path = folder / f".{name}.{uuid.uuid4().hex}.tmp"
        stream = path.open("xb")
        locked = _lock(stream)
        if locked is None or (locked and os.fstat(stream.fileno()).st_nlink):
            return path, stream
        stream.close()  # between its creation and its lock another process took it for a dead one's


def _lock(stream: BinaryIO) -> bool | None:
    """Lock an open file until it is closed: whether nobody else has; None where there are no locks."""
    if sys.platform == "win32":
        return None
    import fcntl

    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object so that the file is whole or as it was. Raises `OSError`."""
    with replacing(path) as stream:
        stream.write((json.dumps(content, indent=1) + "\n").encode("ascii"))


def file_hash(path: Path) -> str:
    """The SHA-256 of a file's bytes, hexadecimal. Raises `OSError`."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def text_hash(text: str) -> str:
    """The SHA-256 of a text, hexadecimal."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def stamp(path: str | Path) -> str:
    """What a file looks like from outside: another one after its bytes have changed. Empty where there is no file.

    Take it before hashing a file and again after decoding it: where they are equal, it was the same bytes.
    """
    status = _stat(path)
    return "" if isinstance(status, OSError) else stamp_of(status)


def stamp_of(status: os.stat_result) -> str:
    """The `stamp` of a file whose status is known."""
    return f"{status.st_size}-{status.st_mtime_ns}-{status.st_ino}"


def file_hashes(paths: Sequence[str | Path], progress: Progress | None = None) -> tuple[str | OSError, ...]:
    """The SHA-256 of each file, or the error that reading it gave, in the order of `paths`.

    Hashes are remembered in the cache folder by path, stamp and time of any change: a second call reads no file again.
    """
    hashes: list[str | OSError] = []
    with closing(_open_memo()) as memo, ThreadPoolExecutor(_HASH_THREADS) as pool:
        for start in range(0, len(paths), _BATCH):  # nothing but the hashes is kept of a long list
            some = paths[start : start + _BATCH]
            found, stats = _by_kind({path: _stat(path) for path in some})
            found |= _recall(memo, stats)
            new = [path for path in stats if path not in found]
            for path, digest in zip(new, pool.map(_hash_or_error, new), strict=True):  # both release Python's lock
                found[path] = digest
                if progress:
                    progress(start + len(found), len(paths))
            _remember(memo, {path: digest for path in new if isinstance(digest := found[path], str)}, stats)
            hashes += [found[path] for path in some]
    return tuple(hashes)


def _by_kind(
    stats: Mapping[str | Path, os.stat_result | OSError],
) -> tuple[dict[str | Path, str | OSError], dict[str | Path, os.stat_result]]:
    """The files that are not there, each with its error, and those that are."""
    errors: dict[str | Path, str | OSError] = {path: it for path, it in stats.items() if isinstance(it, OSError)}
    return errors, {path: it for path, it in stats.items() if not isinstance(it, OSError)}


def _stat(path: str | Path) -> os.stat_result | OSError:
    try:
        return os.stat(path)  # noqa: PTH116 - making a Path of each of many names takes time and memory
    except OSError as error:
        return error


def _hash_or_error(path: str | Path) -> str | OSError:
    try:
        return file_hash(Path(path))
    except OSError as error:
        return error


def _memo_key(path: str | Path) -> bytes:
    return os.path.join(os.getcwdb(), os.fsencode(path))  # noqa: PTH109, PTH118 - as in _stat


def _looks(stat: os.stat_result) -> str:
    """The stamp and the time that no program can set back."""
    return f"{stamp_of(stat)}-{stat.st_ctime_ns}"


def _open_memo() -> sqlite3.Connection:
    """The table of known hashes; one in memory where the cache folder cannot be used, which only costs time."""
    file = cache_root() / "hashes.sqlite"
    create = "CREATE TABLE IF NOT EXISTS known (path BLOB PRIMARY KEY, looks TEXT, sha256 TEXT)"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        memo = sqlite3.connect(file, timeout=30, isolation_level=None)
        memo.execute(create)
    except (OSError, sqlite3.Error):
        memo = sqlite3.connect(":memory:", isolation_level=None)
        memo.execute(create)
    return memo


def _recall(memo: sqlite3.Connection, stats: Mapping[str | Path, os.stat_result]) -> dict[str | Path, str]:
    """The hashes that need no reading."""
    paths = {_memo_key(path): path for path in stats}
    query = f"SELECT path, looks, sha256 FROM known WHERE path IN ({','.join('?' * len(paths))})"
    try:
        rows = memo.execute(query, list(paths)).fetchall()
    except sqlite3.Error:  # a damaged or locked table only means hashing again
        return {}
    return {paths[key]: digest for key, looks, digest in rows if looks == _looks(stats[paths[key]])}


def _remember(
    memo: sqlite3.Connection, hashes: Mapping[str | Path, str], stats: Mapping[str | Path, os.stat_result]
) -> None:
    now = time.time()
    rows = [
        (_memo_key(path), _looks(stats[path]), digest)
        for path, digest in hashes.items()
        if now - stats[path].st_mtime > _SETTLED_SECONDS
    ]
    try:
        memo.execute("BEGIN IMMEDIATE")
        memo.executemany("INSERT OR REPLACE INTO known VALUES (?, ?, ?)", rows)
        memo.execute("COMMIT")
    except sqlite3.Error:  # as in _recall
        if memo.in_transaction:
            memo.execute("ROLLBACK")


def disk_error(path: Path, error: OSError) -> DatasetError:
    """What to tell a user when the cache cannot be written."""
    return DatasetError(
        f"cannot write {str(path)!r}: {error.strerror or error}; make room, or set SYNTHKIT_CACHE to a folder on "
        "another disk, and run again: what is already prepared stays valid"
    )
