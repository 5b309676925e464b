"""Work on the clips of a data set on a Dask cluster: `Cluster` is a `Spread` like `synthkit._data.pool.work_on`.

Clips travel in batches. A worker of the cluster works on one batch at a time per thread, in a process of its own that
builds the data set from its names: a clip that crashes or hangs ends that process and no worker, and nothing that a
data set imports stays behind in a worker. A batch whose worker dies is given to another one by the scheduler; what
takes several workers down is tried again clip by clip. Needs `dask[distributed]`, imported when work begins.
"""

from __future__ import annotations

import importlib.metadata
import multiprocessing
import os
import re
import uuid
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from synthkit._catalog import Catalog
from synthkit._data.pool import Crashed, Source, Spread, cores, rebuild, work_apart, work_on
from synthkit._data.worker import Work
from synthkit.errors import DatasetError, RunError, SynthkitError
from synthkit.interfaces import Clip, Dataset
from synthkit.remote import is_remote, only_here
from synthkit.storage import cache_root

if TYPE_CHECKING:
    from logging import Logger

Result = TypeVar("Result")

CONNECT_SECONDS = 5.0
"""How long a scheduler may take to answer."""
IDLE_SECONDS = 120.0
"""How long a cluster may have no worker at all."""

_FEWEST_CLIPS, _MOST_CLIPS = 8, 64  # of a batch: starting its process costs a second, and too many are a long way to go
_BATCHES_PER_THREAD = 4  # where there are enough clips, so that threads end at about the same time
_AHEAD_PER_THREAD = 2
_LOOK_SECONDS = 1.0  # how often it is looked whether there are workers
_ADDRESS = re.compile(r"([a-z]+://)?[^/\s:]+(\.[^/\s:]+)*:\d+|[a-z]+://\[[0-9a-fA-F:]+\]:\d+")


class Cluster:
    """The workers of a Dask scheduler, or of one that is started here.

    Raises `RunError` for an address that is none.

    >>> Cluster("tcp://node1:8786").address, Cluster("local").address
    ('tcp://node1:8786', None)
    """

    def __init__(self, scheduler: str) -> None:
        if scheduler != "local" and not _ADDRESS.fullmatch(scheduler):
            raise RunError(f"a scheduler is 'local' or an address such as tcp://host:8786, not {scheduler!r}")
        self.address = None if scheduler == "local" else scheduler

    def require(self) -> None:
        """Raise `DatasetError` where the scheduler does not answer or Dask is not installed."""
        if self.address is None:
            _distributed()
        else:
            with _client(self.address):
                pass

    def __call__(
        self,
        source: Source,
        dataset: Dataset,
        clips: Sequence[Clip],
        work: Work[Result],
        workers: int = 0,
        seconds: float | None = None,
    ) -> Generator[tuple[Clip, Result | Crashed], None, None]:
        """Yield `(clip, work(dataset, clip))` for each clip, in the order in which they are done.

        Arguments and result are those of `synthkit._data.pool.work_on`, but that `workers` counts for `local` only.

        Raises:
            DatasetError: there is no scheduler or no worker, or a worker lacks synthkit, a plugin, the cache or the files.
        """
        if not clips:
            return
        here = next((clip.path for clip in clips if clip.path and only_here(clip.path)), None)
        if here is not None:
            raise DatasetError(f"{here!r} lies in the memory of this process, where no worker of a cluster can read it")
        with _client(self.address, workers or cores()) as client, _token(clips) as token:
            try:
                yield from _Foreman(client, _Order(source, work, seconds, token)).work_on(clips)
            except (CancelledError, _distributed().comm.CommClosedError) as error:
                where = "" if self.address is None else f" at {self.address!r}"
                raise DatasetError(
                    f"the Dask scheduler{where} is gone; start it and run again: what is prepared stays valid"
                ) from error


def spread_over(scheduler: str | None) -> Spread:
    """The cluster of a scheduler, which is asked at once whether it is there; for None processes of this machine.

    Raises as `Cluster` and `Cluster.require`.
    """
    if scheduler is None:
        return work_on
    cluster = Cluster(scheduler)
    cluster.require()
    return cluster


class _Token:
    """What a worker must have in common with the process that gave it work; it travels with each batch."""

    def __init__(self, folder: str | None) -> None:
        self.version = importlib.metadata.version("synthkit")
        self.cache = str(cache_root())
        self.file = str(cache_root() / f".seen-by-workers-{uuid.uuid4().hex}")
        self.folder = folder

    def check(self) -> None:
        """Raise `DatasetError` where this process is not as the other one."""
        mine = importlib.metadata.version("synthkit")
        if mine != self.version:
            raise DatasetError(f"it has synthkit {mine}, and this process has {self.version}: install the same")
        if not Path(self.file).is_file():
            raise DatasetError(
                f"it does not see the cache folder {self.cache!r}: set SYNTHKIT_CACHE to a folder that all machines "
                "share under the same path"
            )
        if self.folder is not None and not Path(self.folder).is_dir():
            raise DatasetError(
                f"it does not see the folder {self.folder!r}: the data must lie where all machines see it"
            )


@contextmanager
def _token(clips: Sequence[Clip]) -> Iterator[_Token]:
    """A file in the cache folder as long as the work lasts, for workers to look for."""
    files = (clip.path for clip in clips if clip.path and not is_remote(clip.path))
    found = next((file for file in files if os.path.isfile(file)), None)  # noqa: PTH113 - it never raises
    token = _Token(found and str(Path(found).parent))
    file = Path(token.file)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        yield token
    finally:
        file.unlink(missing_ok=True)


class _Order:
    """What is to be done with each clip, as a worker is told: names and JSON, nothing that has to be imported there."""

    def __init__(self, source: Source, work: Work[Any], seconds: float | None, token: _Token) -> None:
        self.names = source.catalog.files, source.offered.full_name, source.config.model_dump_json()
        self.work, self.seconds, self.token = work, seconds, token


class _Named:
    """Becomes the `Source` of these names in the process that unpickles it, so that a worker never imports a plugin."""

    def __init__(self, order: _Order) -> None:
        self._arguments = order.token.cache, *order.names

    def __reduce__(self) -> tuple[Any, ...]:
        return _source, self._arguments


def _source(cache: str, files: Sequence[Path], name: str, config: str) -> Source:
    os.environ["SYNTHKIT_CACHE"] = cache  # that of the process which ordered the work
    return rebuild(Catalog.discover(files), name, config)


def work_on_batch(order: _Order, clips: Sequence[Clip]) -> list[tuple[Clip, Any]]:
    """What a worker of the cluster does: `work` on each clip, in one process beside it.

    Raises `DatasetError` naming the worker where it cannot do so.
    """
    from distributed import get_worker

    try:
        order.token.check()
        _allow_children()
        return list(work_apart(cast(Source, _Named(order)), clips, order.work, 1, order.seconds))
    except (SynthkitError, OSError) as error:
        raise DatasetError(f"the worker {get_worker().address} of the cluster cannot work: {error}") from error


def _allow_children() -> None:
    """Dask's nanny makes workers daemons, which multiprocessing allows no children; ours end when the worker does."""
    config: dict[str, Any] = multiprocessing.current_process()._config  # type: ignore[attr-defined]
    config["daemon"] = False


class _Foreman:
    """Hands batches out, a bounded number at a time, and takes the results."""

    def __init__(self, client: Any, order: _Order) -> None:
        self._client, self._order = client, order
        self._running: dict[Any, Sequence[Clip]] = {}

    def work_on(self, clips: Sequence[Clip]) -> Iterator[tuple[Clip, Any]]:
        waiting, suspects = deque(clips), deque[Clip]()
        try:
            while waiting or self._running:
                self._assign(waiting, len(clips))
                for future in self._done():
                    batch = self._running.pop(future)
                    results = self._result(future)
                    if results is None:
                        suspects.extend(batch)
                    else:
                        yield from results
            while suspects:  # one at a time: nobody else is there whose fault it could be
                clip = suspects.popleft()
                self._running[self._submit([clip])] = [clip]
                (future,) = self._done()
                del self._running[future]
                results = self._result(future)
                if results is None:
                    yield clip, Crashed(code="crashed", reason="the workers of the cluster that worked on it died")
                else:
                    yield from results
        finally:
            self._client.cancel(list(self._running))
            self._running.clear()

    def _assign(self, waiting: deque[Clip], total: int) -> None:
        threads = max(1, sum(self._client.nthreads().values()))
        size = min(_MOST_CLIPS, max(_FEWEST_CLIPS, total // (threads * _BATCHES_PER_THREAD)))
        while waiting and len(self._running) < threads * _AHEAD_PER_THREAD:
            batch = [waiting.popleft() for _ in range(min(size, len(waiting)))]
            self._running[self._submit(batch)] = batch

    def _submit(self, batch: Sequence[Clip]) -> Any:
        return self._client.submit(work_on_batch, self._order, batch, pure=False)

    def _done(self) -> Sequence[Any]:
        """The batches that are done, once there is one. Raises `DatasetError` where there is no worker for long."""
        distributed = _distributed()
        waited = 0.0
        while True:
            try:
                with self._client.as_current():
                    running = list(self._running)
                    return list(distributed.wait(running, timeout=_LOOK_SECONDS, return_when="FIRST_COMPLETED").done)
            except TimeoutError:
                waited = 0.0 if self._client.nthreads() else waited + _LOOK_SECONDS
                if waited >= IDLE_SECONDS:
                    raise DatasetError(
                        f"the scheduler {self._client.scheduler.address} has had no worker for {waited:g} s: start some "
                        "(`dask worker ADDRESS`) and run again; what is prepared stays valid"
                    ) from None

    def _result(self, future: Any) -> list[tuple[Clip, Any]] | None:
        """What a batch gave; None where it took its workers down."""
        distributed = _distributed()
        try:
            results: list[tuple[Clip, Any]] = future.result()
        except distributed.KilledWorker:
            return None
        except (ImportError, AttributeError) as error:
            version = self._order.token.version
            raise DatasetError(
                f"a worker of the cluster cannot load synthkit {version}: {error}; install it there"
            ) from error
        return results


@contextmanager
def _client(address: str | None, workers: int = 1) -> Iterator[Any]:
    """A connection to the scheduler, or to one of this machine that lives as long as it."""
    import logging

    distributed = _distributed()
    with ExitStack() as stack:
        stack.enter_context(_silenced(logging.getLogger("distributed"), logging.CRITICAL))  # what matters is raised
        if address is None:
            settings = {"threads_per_worker": 1, "dashboard_address": None, "silence_logs": logging.CRITICAL}
            yield stack.enter_context(
                stack.enter_context(distributed.LocalCluster(n_workers=workers, **settings)).get_client()
            )
            return
        try:
            client = distributed.Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:
            raise DatasetError(
                f"no Dask scheduler answers at {address!r} within {CONNECT_SECONDS:g} s: start one with "
                "`dask scheduler`, or check the address"
            ) from error
        yield stack.enter_context(client)


@contextmanager
def _silenced(logger: Logger, level: int) -> Iterator[None]:
    before = logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)


def _distributed() -> Any:
    try:
        import distributed
    except ImportError as error:
        raise DatasetError("a cluster needs Dask, which is not installed: pip install 'synthkit[cluster]'") from error
    return distributed
