"""What runs in a process of the pool: build the data set, then work on the clips that come, until none can come any more."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from typing import TypeVar

from synthkit.errors import PluginError
from synthkit.interfaces import Clip, Dataset

Result = TypeVar("Result")
Work = Callable[[Dataset, Clip], Result]
"""A function of a module (or a partial of one), so that another process can import it."""


def serve(connection: Connection) -> None:
    """Answer a message `(source, work)` and then each `Clip` with `(error or None, result)`, until the other end closes."""
    _settle()
    dataset: Dataset | None = None
    while True:
        try:
            message = connection.recv_bytes()
        except (EOFError, OSError):
            return
        try:
            content = ForkingPickler.loads(message)
            if dataset is None:
                source, work = content
                dataset, result = source.build(), None
            else:
                result = work(dataset, content)
            connection.send((None, result))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is raised again where the work was ordered
            connection.send((_portable(error), None))


def _settle() -> None:
    """No Ctrl-C, no chatter of decoders on standard error, no core dump, no greed, no life without the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if sys.platform != "win32":
        _limit()


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
