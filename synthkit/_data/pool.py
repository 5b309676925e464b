"""Work on the clips of a data set in several processes, one clip at a time in each, such that no clip can end the work.

Each process builds the data set anew from its name, settings and plugin files. A clip that takes its process down (a
crash of a decoder, a lack of memory) or that takes too long is given back as `Crashed`; a new process takes the place
of the old one, and no other clip is lost.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
import types
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any, Protocol, TypeVar

from synthkit._catalog import Catalog, Offered
from synthkit._data.worker import BEGUN, Work, serve
from synthkit.config import Config
from synthkit.errors import ClipReport, DatasetError, PluginError
from synthkit.interfaces import Clip, Dataset
from synthkit.remote import only_here

Result = TypeVar("Result")

_CLIPS_PER_WORKER = 8
_GIVEN = 3
"""Clips that a worker may have at once: one that is being written, one that is being decoded, and the next."""
_END_SECONDS = 10.0
"""How long a process that has nothing left to do may take to end."""
_birth = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class Crashed:
    """The process that worked on a clip died of it, or had to be killed."""

    code: str
    """`crashed` or `timed-out`."""
    reason: str

    def report(self, clip: Clip) -> ClipReport:
        """What to tell of the clip."""
        return ClipReport(id=clip.id, code=self.code, reason=self.reason, file=clip.path or "")


@dataclass(frozen=True, kw_only=True)
class Source:
    """A data set as a recipe names it, and as another process can build it again."""

    catalog: Catalog
    offered: Offered
    config: Config

    def build(self) -> Dataset:
        """The data set. Raises `PluginError` where its class is none."""
        dataset = self.catalog.build(self.offered, self.config)
        if not isinstance(dataset, Dataset):
            raise PluginError(f"{self.offered.offer.build!r} did not build a data set but a {type(dataset).__name__}")
        return dataset

    def __reduce__(self) -> tuple[Any, ...]:  # as names and JSON: a class of a plugin file cannot be imported elsewhere
        return rebuild, (self.catalog, self.offered.full_name, self.config.model_dump_json())


def rebuild(catalog: Catalog, name: str, config: str) -> Source:
    """The source of a data set called `name` with the settings `config`, in JSON, that were checked elsewhere."""
    offered = catalog.find("dataset", name)
    settings = catalog.config_class(offered).model_validate_json(config, context={"check_files": False})
    return Source(catalog=catalog, offered=offered, config=settings)


class Spread(Protocol):
    """A way to spread work over processes or machines: `work_on`, `work_here`, or one with their arguments."""

    def __call__(
        self,
        source: Source,
        dataset: Dataset,
        clips: Sequence[Clip],
        work: Work[Result],
        workers: int = 0,
        seconds: float | None = None,
    ) -> Generator[tuple[Clip, Result | Crashed], None, None]:
        """Yield `(clip, work(dataset, clip))` for each clip, in the order in which they are done."""


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def work_here(
    source: Source,
    dataset: Dataset,
    clips: Sequence[Clip],
    work: Work[Result],
    workers: int = 0,
    seconds: float | None = None,
) -> Generator[tuple[Clip, Result | Crashed], None, None]:
    """Work in this process, clip after clip: nothing has to be started, and nothing is between a clip and this process.

    Arguments and result are those of `work_on`; there is one worker, and no limit of time.
    """
    for clip in clips:
        yield clip, work(dataset, clip)


def work_on(
    source: Source,
    dataset: Dataset,
    clips: Sequence[Clip],
    work: Work[Result],
    workers: int = 0,
    seconds: float | None = None,
) -> Generator[tuple[Clip, Result | Crashed], None, None]:
    """Yield `(clip, work(dataset, clip))` for each clip, in the order in which they are done.

    Args:
        source: What other processes build the data set from.
        dataset: The data set in this process.
        clips: The clips.
        work: What to do. An exception that it raises ends the whole and is raised here.
        workers: Processes beside this one; 0 means one per core, fewer for few clips, and none for a few clips that are
            no files: a file is never decoded in this process, since a decoder may crash or hang. (Only what is on
            `memory://` is, since no other process sees it.)
        seconds: Longest time that one clip may take; None sets no limit.

    Raises:
        DatasetError: where a process dies before it has begun with a clip.
    """
    files = [clip.path for clip in clips if clip.path]
    if workers == 0:
        workers = min(cores(), -(-len(clips) // _CLIPS_PER_WORKER))
        here = workers <= 1 and not files
    else:
        here = False
    if here or any(map(only_here, files)):
        return (yield from work_here(source, dataset, clips, work))
    yield from work_apart(source, clips, work, workers, seconds)


def work_apart(
    source: Source, clips: Sequence[Clip], work: Work[Result], workers: int, seconds: float | None
) -> Generator[tuple[Clip, Result | Crashed], None, None]:
    """`work_on` in processes beside this one, whatever the clips are."""
    crew = _Crew(source, work, min(workers, len(clips)), seconds)
    try:
        yield from crew.work_on(deque(clips))
        crew.dismiss()
    finally:
        crew.kill()


class _Worker:
    """One process and the clips that it was given; it has begun with the first `begun` of them."""

    def __init__(self, source: Source, work: Work[Any]) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs,), daemon=True)
        with _undisturbed():
            self.process.start()
        theirs.close()
        self.clips: deque[Clip] = deque()
        self.ready = False
        self.begun = 0
        self.since = 0.0  # when it began with the last of them
        self._send((source, work))

    def give(self, clip: Clip) -> None:
        """One more clip."""
        self.clips.append(clip)
        self._send(clip)

    def hear(self) -> list[tuple[Clip, Any]]:
        """Take its next message: a clip and its result, if it is one. Raises what it says, or `EOFError` if it has died."""
        try:
            message = self.connection.recv()
        except OSError as error:
            raise EOFError from error
        if message == BEGUN:
            self.begun, self.since = self.begun + 1, time.monotonic()
            return []
        failure, result = message
        if failure is not None:
            raise failure
        if not self.ready:
            self.ready = True
            return []
        self.begun -= 1
        return [(self.clips.popleft(), result)]

    def is_overdue(self, seconds: float) -> bool:
        """Whether it has worked on its clip for longer and has nothing to say."""
        return self.begun > 0 and time.monotonic() - self.since >= seconds and not self.connection.poll()

    def end(self) -> str:
        """Make sure that it is dead, and say how it died."""
        self.process.kill()
        self.process.join()
        code = self.process.exitcode
        self.process.close()
        self.connection.close()
        return _death(code)

    def _send(self, message: object) -> None:
        with suppress(OSError):  # it has died; that is noticed where its answer is awaited
            self.connection.send(message)


class _Crew:
    """So many workers, replaced where one dies."""

    def __init__(self, source: Source, work: Work[Any], size: int, seconds: float | None) -> None:
        self._source, self._work, self._size, self._seconds = source, work, size, seconds
        self._workers: list[_Worker] = []

    def work_on(self, waiting: deque[Clip]) -> Iterator[tuple[Clip, Any]]:
        """Yield `(clip, result)` for all that is `waiting`."""
        while waiting or any(worker.clips for worker in self._workers):
            self._assign(waiting)
            for worker in self._until_something_happens():
                try:
                    yield from worker.hear()
                except EOFError:
                    worker.process.join(_END_SECONDS)  # it is dying by itself: in which way?
                    yield from self._bury(worker, waiting)
            if self._seconds is not None:
                for worker in [worker for worker in self._workers if worker.is_overdue(self._seconds)]:
                    reason = f"decoding it took longer than {self._seconds:g} s (prepare.decode_seconds)"
                    yield from self._bury(worker, waiting, Crashed(code="timed-out", reason=reason))

    def dismiss(self) -> None:
        """Let the workers end by themselves, as they do when nobody is there to give them clips."""
        for worker in self._workers:
            worker.connection.close()
        end = time.monotonic() + _END_SECONDS
        for worker in self._workers:
            worker.process.join(max(0.0, end - time.monotonic()))

    def kill(self) -> None:
        """End the workers whatever they do."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.end()
        self._workers.clear()

    def _assign(self, waiting: deque[Clip]) -> None:
        """Give each worker a clip, and more that it finds when it is done as long as there are enough for all."""
        while len(self._workers) < min(self._size, len(waiting)):
            self._workers.append(_Worker(self._source, self._work))
        for given in range(_GIVEN):
            for worker in self._workers:
                if len(worker.clips) <= given and len(waiting) > given * self._size:
                    worker.give(waiting.popleft())

    def _until_something_happens(self) -> list[_Worker]:
        """The workers that have said something or died; none where one is overdue first."""
        begun = [worker.since for worker in self._workers if worker.begun]
        timeout = None
        if self._seconds is not None and begun:
            timeout = max(0.0, min(begun) + self._seconds - time.monotonic())
        ready = set(wait([worker.connection for worker in self._workers], timeout))
        return [worker for worker in self._workers if worker.connection in ready]

    def _bury(
        self, worker: _Worker, waiting: deque[Clip], crashed: Crashed | None = None
    ) -> Iterator[tuple[Clip, Crashed]]:
        """Take a worker off. The clip that it was decoding is lost, the others that it had wait again."""
        self._workers.remove(worker)
        how = worker.end()
        if not worker.ready:
            raise DatasetError(f"a process that should decode the data set {how} before it had begun")
        clips = list(worker.clips)
        if worker.begun:
            clip = clips.pop(worker.begun - 1)
            yield clip, crashed or Crashed(code="crashed", reason=f"the process that decoded it {how}")
        waiting.extendleft(reversed(clips))


def _death(code: int | None) -> str:
    if code is None or code >= 0:
        return f"ended by itself (exit code {code})"
    if -code == signal.SIGTERM or -code == getattr(signal, "SIGKILL", None):
        return "was killed, as the system does with one that takes too much memory"
    return f"died of it ({signal.strsignal(-code) or f'signal {-code}'})"


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Processes that are born here do not import the user's script (it may have no `if __name__ == "__main__"`), and
    Ctrl-C is not for them: what is blocked at birth stays blocked, and here it arrives a moment later."""
    blocks = hasattr(signal, "pthread_sigmask")
    with _birth:  # one at a time, so that each puts back what was there
        main = sys.modules["__main__"]
        sys.modules["__main__"] = types.ModuleType("__main__")
        if blocks:
            before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            yield
        finally:
            sys.modules["__main__"] = main
            if blocks:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
