"""How long work speaks: sentences and progress. The base class is silent; the command line has one that draws."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class Task:
    """One piece of work that lasts."""

    def update(self, done: int, status: str = "") -> None:
        """Tell how far it is (of the task's `total`), with a short status text (losses, a file name)."""


class Reporter:
    """Silent reporter: what library code gets when nobody listens."""

    def say(self, text: str) -> None:
        """A sentence of ordinary progress."""

    def warn(self, text: str) -> None:
        """A sentence that the user should not miss."""

    @contextmanager
    def task(self, description: str, total: int) -> Iterator[Task]:
        """A progress bar for `total` units of work."""
        yield Task()


def duration(seconds: float) -> str:
    """A duration for people.

    >>> duration(7.25), duration(384), duration(7322)
    ('7.2 s', '6 min 24 s', '2 h 2 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
    return f"{seconds // 3600:.0f} h {seconds % 3600 // 60:.0f} min"
