"""What each process of test_processes.py does: meet the others again and again, each time with another trouble, and print what it heard."""

from __future__ import annotations

import sys
from collections.abc import Callable

from synthkit._run.processes import Processes, join
from synthkit.errors import RunError


def only_beside_main(processes: Processes) -> None:
    if not processes.is_main:
        raise RunError("its disk is full")
    processes.any(False)


def in_all(processes: Processes) -> None:
    processes.any(False)
    raise RunError("the batch is odd")


def in_main_while_others_learn(processes: Processes) -> None:
    if processes.is_main:
        raise RunError("the folder is full")
    processes.any(False)


def in_main_while_others_wait(processes: Processes) -> None:
    if processes.is_main:
        raise KeyboardInterrupt
    processes.share(None)


def a_bug_beside_main(processes: Processes) -> None:
    if not processes.is_main:
        raise ZeroDivisionError("division by zero")
    processes.any(False)


def no_trouble(processes: Processes) -> None:
    assert processes.share(processes.index) == 0


TROUBLES: tuple[Callable[[Processes], None], ...] = (
    only_beside_main,
    in_all,
    in_main_while_others_learn,
    in_main_while_others_wait,
    a_bug_beside_main,
    no_trouble,
)


def main() -> None:
    for trouble in TROUBLES:
        index, heard = 0, "nothing"
        try:
            with join() as processes:
                index = processes.index
                trouble(processes)
        except (RunError, ZeroDivisionError, SystemExit, KeyboardInterrupt) as error:
            heard = f"{type(error).__name__} {error}"
        sys.stdout.write(f"{trouble.__name__} {index}: {heard}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
