"""Several processes of one command on this machine: started together, told of signals, and ended together.

This is what torchrun does, with two differences: Ctrl-C lets the processes end by themselves for as long as they need, and a process
that dies makes one sentence.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import FrameType

from synthkit._run.place import LAUNCHED
from synthkit.errors import ProcessLost, RunError

GRACE = 10.0
"""Seconds that processes have to end by themselves once one has failed, and again once they were asked to."""
_LOOK = 0.05
"""Seconds between two looks at whether a process has ended."""


@dataclass(frozen=True)
class Ending:
    """How it went."""

    code: int
    """Exit code for all."""
    lost: str = ""
    """Which process ended otherwise than it should, and how; empty where the processes have said themselves what happened."""


def launch(command: Sequence[str], count: int, *, grace: float = GRACE) -> Ending:
    """Run a command in `count` processes that find their places in the environment, and wait until all have ended.

    SIGINT and SIGTERM are passed on to them; a second SIGINT ends them at once. When one fails the others have `grace` seconds to
    end by themselves. Whatever happens, none of them is left; they end even where this process is killed.

    Raises:
        RunError: on Windows, which has no process groups and signals of this kind.
    """
    if os.name != "posix":
        raise RunError("--devices needs Linux or macOS; use torchrun here (docs/distributed.md)")
    crew = _Crew()
    with crew.at_work(command, count):
        crew.wait(grace)
    return crew.ending()


@dataclass
class _Crew:
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)
    """Processes that ended by themselves, in this order; those that had to be made to are not in it."""
    interrupted: bool = False
    early: list[int] | None = field(default_factory=list)
    """Signals that came before all had started; None once they have."""

    @contextmanager
    def at_work(self, command: Sequence[str], count: int) -> Iterator[None]:
        """The processes run, and get this process's signals; at the end none is left."""
        before = {number: signal.signal(number, self._pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            port = str(_free_port())
            for index in range(count):
                environment = os.environ | _place(index, count, port)
                # A pipe that nobody writes to: where it ends, this process has. A process group of its own: Ctrl-C on
                # a terminal comes from here alone, and a process can be ended with those that it has started.
                self.processes.append(
                    subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, process_group=0)
                )
            early, self.early = self.early or [], None
            for number in early:
                self._pass_on(number, None)
            yield
        finally:
            self._send_groups(signal.SIGKILL)
            for process in self.processes:
                process.wait()
                assert process.stdin is not None
                process.stdin.close()
            for number, handler in before.items():
                signal.signal(number, handler)

    def wait(self, grace: float) -> None:
        """Until all have ended, by themselves or because one has failed."""
        self._watch(until_failure=True)
        self._watch(seconds=grace)
        own = list(self.ended)
        for process in self._running():
            process.terminate()
        self._watch(seconds=grace)
        self.ended = own

    def ending(self) -> Ending:
        """The main process's where it has one of its own: it has said why. Else the first that is no consequence of another."""
        codes = {index: self.processes[index].returncode for index in self.ended}
        if codes.get(0, -1) >= 0 and codes[0] != ProcessLost.exit_code:
            return Ending(codes[0])
        if self.interrupted:
            return Ending(130)
        culprits = [index for index, code in codes.items() if code not in (0, ProcessLost.exit_code)]
        if not culprits:
            return Ending(ProcessLost.exit_code, f"the {len(self.processes)} processes lost touch with each other")
        return Ending(1, f"process {culprits[0] + 1} of {len(self.processes)} ended with {_manner(codes[culprits[0]])}")

    def _watch(self, seconds: float | None = None, *, until_failure: bool = False) -> None:
        began = time.monotonic()
        while self._running():
            if until_failure and any(self.processes[index].returncode for index in self.ended):
                return
            if seconds is not None and time.monotonic() - began > seconds:
                return
            time.sleep(_LOOK)

    def _running(self) -> list[subprocess.Popen[bytes]]:
        for index, process in enumerate(self.processes):
            if index not in self.ended and process.poll() is not None:
                self.ended.append(index)
        return [process for process in self.processes if process.returncode is None]

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        if self.early is not None:
            self.early.append(number)
            return
        if self.interrupted and number == signal.SIGINT:
            self._send_groups(signal.SIGKILL)
        self.interrupted |= number == signal.SIGINT
        for process in self.processes:
            process.send_signal(number)

    def _send_groups(self, number: signal.Signals) -> None:
        for process in self.processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)


def end_with_launcher() -> None:
    """Have this process asked to end (SIGTERM) when the one that launched it is gone."""

    def watch() -> None:
        os.read(0, 1)  # returns when the pipe ends
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="synthkit-launcher", daemon=True).start()


def _place(index: int, count: int, port: str) -> dict[str, str]:
    """What torchrun would tell the process."""
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, (os.cpu_count() or 1) // count))
    return {
        "RANK": str(index),
        "LOCAL_RANK": str(index),
        "WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "OMP_NUM_THREADS": threads,
        LAUNCHED: "1",
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _manner(code: int) -> str:
    """How a process ended, in words.

    >>> _manner(3), _manner(-15)
    ('exit code 3', 'signal 15 (SIGTERM)')
    >>> _manner(-9)
    'signal 9 (SIGKILL; a system that is short of memory ends processes so)'
    """
    if code >= 0:
        return f"exit code {code}"
    name = signal.Signals(-code).name
    often = "; a system that is short of memory ends processes so" if -code == signal.SIGKILL else ""
    return f"signal {-code} ({name}{often})"
