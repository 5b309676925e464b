"""What runs in a process of the pool: build the data set, then work on the clips that come, until none can come any more."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from typing import Any, Protocol, TypeVar, runtime_checkable

from synthkit.errors import PluginError
from synthkit.interfaces import Clip, Dataset

Result = TypeVar("Result")
Work = Callable[[Dataset, Clip], Result]
"""A function of a module (or a partial of one), so that another process can import it."""

BEGUN = "begun"
"""What a process says when it begins with a clip."""


@runtime_checkable
class InTwoSteps(Protocol):
    """Work whose end is spent waiting (for a disk): a process of the pool begins with the next clip meanwhile."""

    def begin(self, dataset: Dataset, clip: Clip) -> Callable[[], Any]:
        """Do all but the last step of the work, and return what does the last step and gives the result."""


def serve(connection: Connection) -> None:
    """Answer a message `(source, work)` with `(error or None, None)`, then each `Clip` with `BEGUN` and
    `(error or None, result)`, in their order, until the other end closes."""
    _settle()
    line = _Line(connection)
    dataset: Dataset | None = None
    with ThreadPoolExecutor(1) as ending:  # one, so that the answers keep their order
        while (message := line.next()) is not None:
            try:
                content = ForkingPickler.loads(message)
                if dataset is None:
                    source, work = content
                    dataset, end = source.build(), _nothing
                else:
                    line.say(BEGUN)
                    end = _begin(work, dataset, content)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is raised again where the work was ordered
                end = partial(_fail, error)
            ending.submit(line.answer, end)


def _begin(work: Work[Any], dataset: Dataset, clip: Clip) -> Callable[[], Any]:
    if isinstance(work, InTwoSteps):
        return work.begin(dataset, clip)
    result = work(dataset, clip)
    return lambda: result


def _nothing() -> None:
    return None


def _fail(error: Exception) -> None:
    raise error


class _Line:
    """The connection to the process that orders the work; two threads speak on it."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._lock = connection, threading.Lock()

    def next(self) -> bytes | None:
        """The next message, or None where there will be none."""
        try:
            return self._connection.recv_bytes()
        except (EOFError, OSError):
            return None

    def say(self, message: object) -> None:
        with self._lock:
            self._connection.send(message)

    def answer(self, end: Callable[[], Any]) -> None:
        try:
            self.say((None, end()))
        except Exception as error:  # noqa: BLE001 - as in `serve`
            self.say((_portable(error), None))


def _settle() -> None:
    """No Ctrl-C, no chatter of decoders on standard error, no core dump, no greed, no life without the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if sys.platform != "win32":
        _limit()
    if sys.platform == "linux":
        _keep_memory()


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


def _keep_memory() -> None:
    """The memory of one block serves the next: by itself, glibc gives large arrays back at once, and the kernel then
    clears each page of the next one as it is touched, a tenth of the time of a clip. Another C library has no `mallopt`."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 2**25)
        mallopt(_M_TRIM_THRESHOLD, 2**27)


def _limit() -> None:
    """A process that takes half of the machine's memory gets a `MemoryError`, before the system kills at random."""
    import resource

    half = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    for what, limit in ((resource.RLIMIT_DATA, half), (resource.RLIMIT_CORE, 0)):
        soft, hard = resource.getrlimit(what)
        if soft == resource.RLIM_INFINITY or soft > limit:
            resource.setrlimit(what, (limit, hard))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def _portable(error: Exception) -> Exception:
    """The error, with the traceback that it has here as a note, or one of the same words that another process can have."""
    error.add_note("In a process of the pool:\n" + "".join(traceback.format_exception(error)))
    try:
        ForkingPickler.loads(ForkingPickler.dumps(error))
    except Exception:  # noqa: BLE001 - an error of a plugin may refuse to be pickled in any way
        return PluginError(f"{type(error).__name__}: {error}")
    return error
