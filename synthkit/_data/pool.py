"""Work on the clips of a data set in several processes, one clip at a time in each, such that no clip can end the work.

Each process builds the data set anew from its name, settings and plugin files. A clip that takes its process down (a
crash of a decoder) is found by trying the suspects again one by one, and is given back as `Crashed`.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import pickle
import signal
import sys
import threading
import types
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from synthkit._catalog import Catalog, Offered
from synthkit.config import Config
from synthkit.errors import PluginError
from synthkit.interfaces import Clip, Dataset

Result = TypeVar("Result")
Work = Callable[[Dataset, Clip], Result]
"""A function of a module (or a partial of one), so that another process can import it."""

_CLIPS_PER_WORKER = 8
_AHEAD_PER_WORKER = 3


@dataclass(frozen=True, kw_only=True)
class Crashed:
    """The process that worked on a clip died of it."""

    reason: str


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
        return _rebuild, (self.catalog, self.offered.full_name, self.config.model_dump_json())


def _rebuild(catalog: Catalog, name: str, config: str) -> Source:
    offered = catalog.find("dataset", name)
    settings = catalog.config_class(offered).model_validate_json(config, context={"check_files": False})
    return Source(catalog=catalog, offered=offered, config=settings)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def work_on(
    source: Source, dataset: Dataset, clips: Sequence[Clip], work: Work[Result], workers: int = 0
) -> Generator[tuple[Clip, Result | Crashed], None, None]:
    """Yield `(clip, work(dataset, clip))` for each clip, in the order in which they are done.

    Args:
        source: What other processes build the data set from.
        dataset: The data set in this process.
        clips: The clips.
        work: What to do. An exception that it raises ends the whole and is raised here.
        workers: Processes; 1 works in this process, 0 means one per core, and fewer for few clips. Files are decoded in
            another process even then, since a decoder may crash.
    """
    if workers == 0:
        workers = min(cores(), -(-len(clips) // _CLIPS_PER_WORKER))
        apart = workers > 1 or any(clip.path for clip in clips)
    else:
        workers = min(workers, len(clips))
        apart = workers > 1
    if not apart:
        for clip in clips:
            yield clip, work(dataset, clip)
        return
    waiting = deque(clips)
    while waiting:
        suspects: deque[Clip] = deque()
        yield from _until_broken(source, waiting, work, workers, suspects)
        yield from _one_by_one(source, suspects, work)


def _until_broken(
    source: Source, waiting: deque[Clip], work: Work[Result], workers: int, suspects: deque[Clip]
) -> Iterator[tuple[Clip, Result | Crashed]]:
    """Work until all is done or the pool breaks; then `suspects` are the clips that were being worked on."""
    running: dict[Future[Result], Clip] = {}
    with _pool(source, workers) as pool:
        while waiting or running:
            try:
                while waiting and len(running) < _AHEAD_PER_WORKER * workers:
                    running[_submit(pool, work, waiting[0])] = waiting[0]
                    waiting.popleft()
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    result = future.result()
                    yield running.pop(future), result
            except BrokenProcessPool:
                for future, clip in running.items():
                    if future.done() and future.exception() is None:
                        yield clip, future.result()
                    else:
                        suspects.append(clip)
                return


def _one_by_one(source: Source, suspects: deque[Clip], work: Work[Result]) -> Iterator[tuple[Clip, Result | Crashed]]:
    """Work on one clip at a time, so that whoever dies of it is known."""
    while suspects:
        with _pool(source, 1) as pool:
            while suspects:
                clip = suspects.popleft()
                try:
                    result = _submit(pool, work, clip).result()
                except BrokenProcessPool:
                    yield clip, Crashed(reason="the process that decoded it died of it")
                    break
                yield clip, result


@contextmanager
def _pool(source: Source, workers: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of fresh processes. When the block ends early, what has not begun is dropped and what has is finished."""
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=(pickle.dumps(source),))
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _submit(pool: ProcessPoolExecutor, work: Work[Result], clip: Clip) -> Future[Result]:
    """Submit a clip; this is where processes are born.

    They must not import the user's script (it may have no `if __name__ == "__main__"`), and Ctrl-C is not for them: what
    is blocked at birth stays blocked, and here it arrives a moment later.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    blocks = hasattr(signal, "pthread_sigmask")
    if blocks:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return pool.submit(_work, work, clip)
    finally:
        sys.modules["__main__"] = main
        if blocks:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Process:
    """What a process of the pool keeps between two clips."""

    source: bytes
    dataset: Dataset | None = None


def _start(source: bytes) -> None:
    """Set a process up: no Ctrl-C, no chatter of decoders on standard error, no life without the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _Process.source = source


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)


def _work(work: Work[Result], clip: Clip) -> Result:
    if _Process.dataset is None:  # here and not at the start, where an error would look like a crash
        _Process.dataset = pickle.loads(_Process.source).build()
    return work(_Process.dataset, clip)
