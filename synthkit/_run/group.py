"""`Group`: several processes with torch.distributed between them. What is decided goes through its store, tensors through gloo or NCCL.

The store has no time limit: preparing data may take hours, and whoever waits for it notices at once where the other end is gone.
Collectives have one, so that a process that hangs is noticed.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cache
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed import PrefixStore, Store  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous

from synthkit._run.device import pick_device
from synthkit._run.place import LAUNCHED, Place
from synthkit._run.processes import Processes
from synthkit.errors import ProcessLost, RunError, SynthkitError
from synthkit.training.distributed import DistributedEngine, lost_is_said
from synthkit.training.engine import Engine, Numerics

_MEETING = timedelta(minutes=10)
"""How long the processes wait for each other at the start: the machines of a cluster do not start together."""
_HANG = timedelta(minutes=60)
"""How long a process waits for another within a training: longer than any checkpoint or evaluation takes."""
_FAREWELL = timedelta(seconds=10)
"""How long a process that ends waits until the others have heard of it."""
_LOST = timedelta(seconds=2)
"""The same where at least one is known not to hear it any more."""
_SESSIONS = itertools.count()
"""Each session has a name of its own in the store, which outlives them: torchrun's even the processes that it starts again."""


class Group(Processes):
    """This process among others. Each must `end` or `fail`, so that the others do not wait for it."""

    def __init__(self, place: Place) -> None:
        """Meet the others.

        Raises:
            RunError: where that fails.
        """
        self.index, self.count, self.local = place.index, place.count, place.local
        self._shared = 0
        try:
            self._store = PrefixStore(f"synthkit/{place.attempt}/{next(_SESSIONS)}", _meet(place))
            dist.init_process_group(
                "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
                store=PrefixStore("group", self._store),
                rank=self.index,
                world_size=self.count,
                timeout=_HANG,
            )
        except (RuntimeError, ValueError, OSError) as error:
            raise RunError(
                f"process {self.index + 1} of {self.count} could not meet the others at {place.host}:{place.port} "
                f"({str(error).splitlines()[0]}); check that all were started and that they can reach this address"
            ) from error

    def share(self, value: Any) -> Any:
        key = f"share/{self._shared}"
        self._shared += 1
        with lost_is_said():
            if self.is_main:
                self._store.set(key, json.dumps(value))
            else:
                _poll(lambda: self._has("end") or self._has(key))
                if not self._has(key):  # it would have been set before the end
                    raise SystemExit(int(self._store.get("end")))
            return json.loads(self._store.get(key))

    def any(self, flag: bool) -> bool:
        with lost_is_said():
            count = torch.tensor(int(flag))  # on the CPU, so that no device has to be waited for
            dist.all_reduce(count)
        return bool(count)

    def engine(self, device: str, numerics: Numerics, batch: int) -> Engine:
        picked = pick_device(device, self.local)
        if picked.type == "cuda":
            torch.cuda.set_device(picked)
        return DistributedEngine(len(self.rows(batch)) / batch, picked, numerics)

    def end(self) -> None:
        """Leave, the work being done in all processes."""
        with suppress(RuntimeError):  # the store goes with the main process
            self._leave(0)

    def fail(self, error: BaseException) -> BaseException:
        """Leave with an error. Returns what is to be raised: a `SystemExit` where another process says what happened."""
        with _undisturbed(), suppress(RuntimeError):
            error = self._fail_as_main(error) if self.is_main else self._fail_beside_main(error)
        if isinstance(error, ProcessLost) and LAUNCHED in os.environ:
            return SystemExit(error.exit_code)  # the launcher knows which process it was
        return error

    def _fail_as_main(self, error: BaseException) -> BaseException:
        if isinstance(error, ProcessLost):
            error = self._told() or error
        self._leave(_exit_code(error), _LOST if isinstance(error, ProcessLost) else _FAREWELL)
        return error

    def _fail_beside_main(self, error: BaseException) -> BaseException:
        if not isinstance(error, ProcessLost | SystemExit):
            text = str(error) if isinstance(error, SynthkitError) else f"{type(error).__name__}: {error}"
            told = {"text": text, "code": _exit_code(error)}
            self._store.set(f"error/{self.index}", json.dumps(told))
        _close()
        # What is no bug the main process has too, or hears of it as soon as it misses this one.
        if isinstance(error, SynthkitError | KeyboardInterrupt):
            _poll(lambda: self._has("end"), _FAREWELL if isinstance(error, ProcessLost) else _HANG)
            if self._has("end"):
                error = SystemExit(int(self._store.get("end")))
        self._leave(_exit_code(error))
        return error

    def _told(self) -> SynthkitError | None:
        """The error for which another process left, if it told one."""
        for index in range(1, self.count):
            if self._has(f"error/{index}"):
                told = json.loads(self._store.get(f"error/{index}"))
                error = RunError(f"process {index + 1} of {self.count}: {told['text']}")
                error.exit_code = told["code"]
                return error
        return None

    def _leave(self, code: int, patience: timedelta = _FAREWELL) -> None:
        """End the collectives, and say so; the main process stays until the others have heard how it ends."""
        self._store.set("end" if self.is_main else f"left/{self.index}", str(code))
        _close()
        if self.is_main:
            _poll(lambda: all(self._has(f"left/{index}") for index in range(1, self.count)), patience)

    def _has(self, key: str) -> bool:
        return bool(self._store.check([key]))


@cache
def _meet(place: Place) -> Store:
    """The store of all processes, kept by the main one (under torchrun: by that) until it ends."""
    address = f"tcp://{place.host}:{place.port}?rank={place.index}&world_size={place.count}"
    store, _, _ = next(rendezvous(address, timeout=_MEETING))
    assert isinstance(store, Store)
    return store


def _poll(happened: Callable[[], bool], most: timedelta = timedelta.max) -> None:
    """Wait until something has happened, at most so long. (A wait of the store itself cannot be interrupted by Ctrl-C.)"""
    began, nap = time.monotonic(), 0.005
    while not happened() and time.monotonic() - began < most.total_seconds():
        time.sleep(nap)
        nap = min(0.2, nap * 1.2)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Within it, a SIGTERM does nothing: torchrun sends one when it misses a process, and this one is about to say so and end."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread is given signals
        return
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _close() -> None:
    """Close the connections, so that whoever waits for this process in a collective hears of it."""
    if dist.is_initialized():
        # In a thread, because NCCL may wait here for a process that is gone.
        closing = threading.Thread(target=dist.destroy_process_group, daemon=True)
        closing.start()
        closing.join(_FAREWELL.total_seconds())


def _exit_code(error: BaseException) -> int:
    if isinstance(error, SynthkitError):
        return error.exit_code
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    return 130 if isinstance(error, KeyboardInterrupt) else 1
