"""`Processes`: those that train together, as one of them sees them. One process alone needs no torch.distributed.

Only the main process (index 0) prepares data, locks the run folder, speaks, tracks, saves, generates and reports. The others learn
with it, and hear from it what to do. An error is said once: by the main process where it has it too, else for the one that has it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from synthkit._run.launch import end_with_launcher
from synthkit._run.place import LAUNCHED, find_place
from synthkit.errors import ConfigError

if TYPE_CHECKING:
    from synthkit.training.engine import Engine, Numerics


class Processes:
    """One process alone: the base of those that are several.

    >>> alone = Processes()
    >>> alone.is_main, alone.rows(16), alone.share("decided"), alone.any(False)
    (True, range(0, 16), 'decided', False)
    """

    index = 0
    """Number of this process, from 0."""
    count = 1
    """Number of processes."""
    local: int | None = None
    """Number of this process on its machine; None for one alone."""

    @property
    def is_main(self) -> bool:
        """Whether this is the one that speaks and writes."""
        return self.index == 0

    def share(self, value: Any) -> Any:
        """What the main process gives here, in every process: plain JSON. The others wait for it as long as it takes."""
        return value

    def any(self, flag: bool) -> bool:
        """Whether it is true in any process: what all of them then do at the same step."""
        return flag

    def barrier(self) -> None:
        """Return once every process is here."""
        self.any(False)

    def rows(self, batch: int) -> range:
        """The rows of a batch of that size that are this process's: as even a share as there is.

        Raises:
            ConfigError: where there are more processes than rows.
        """
        require_rows(batch, self.count)
        return range(self.index * batch // self.count, (self.index + 1) * batch // self.count)

    def engine(self, device: str, numerics: Numerics, batch: int) -> Engine:
        """The engine of a training on the device that a recipe names, with batches of `batch` items in all processes together.

        Raises:
            ConfigError: where the device cannot be used here, or not by several processes.
        """
        from synthkit._run.device import pick_device
        from synthkit.training.engine import Engine

        return Engine(pick_device(device), numerics)


def require_rows(batch: int, processes: int) -> None:
    """Raise `ConfigError` where a batch cannot be shared among so many processes.

    >>> require_rows(2, 3)
    Traceback (most recent call last):
    synthkit.errors.ConfigError: a batch of 2 cannot be shared among 3 processes: set train.batch to 3 or more, or start fewer
    """
    if batch < processes:
        raise ConfigError(
            f"a batch of {batch} cannot be shared among {processes} processes: "
            f"set train.batch to {processes} or more, or start fewer"
        )


@contextmanager
def join() -> Iterator[Processes]:
    """Take the place among processes that the environment names; within it, they are joined.

    A process that is not the main one and has no error of its own to tell leaves with `SystemExit`.

    Raises:
        RunError: where the environment is not whole, or the others cannot be reached.
    """
    place = find_place(os.environ)
    if place is None:
        yield Processes()
        return
    if LAUNCHED in os.environ:
        end_with_launcher()
    # Before torch is imported: its own account of a connection that broke would drown the sentence that is said of it.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    from synthkit._run.group import Group

    group = Group(place)
    try:
        yield group
    except BaseException as error:
        instead = group.fail(error)
        if instead is error:
            raise
        raise instead from error
    else:
        group.end()
