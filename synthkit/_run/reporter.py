"""How long work speaks: sentences, progress and a running account. The base class is silent; the command line has one that draws."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

Details = Mapping[str, Mapping[str, str]]
"""What a task has to show beside its bar: rows by their heading, each of named values (`{"losses": {"critic": "5.9"}}`)."""


class Task:
    """One piece of work that lasts."""

    def update(self, done: int, status: str = "", details: Details | None = None) -> None:
        """Tell how far it is (of the task's `total`), with a short status text (losses, a file name).

        `details` replace those that were shown before; None leaves them.
        """


class Reporter:
    """Silent reporter: what library code gets when nobody listens."""

    def say(self, text: str) -> None:
        """A sentence of ordinary progress."""

    def warn(self, text: str) -> None:
        """A sentence that the user should not miss."""

    def note(self, text: str) -> None:
        """A line of a running account: for the log, and for whoever sees no bar."""

    @contextmanager
    def task(self, description: str, total: int) -> Iterator[Task]:
        """A progress bar for `total` units of work."""
        yield Task()


class Logged(Reporter):
    """Passes everything on, and keeps every sentence with its time in a file."""

    def __init__(self, file: Path, inner: Reporter) -> None:
        self._file, self._inner = file, inner
        self.task = inner.task  # type: ignore[method-assign]

    def say(self, text: str) -> None:
        self._keep(text)
        self._inner.say(text)

    def warn(self, text: str) -> None:
        self._keep(f"warning: {text}")
        self._inner.warn(text)

    def note(self, text: str) -> None:
        self._keep(text)
        self._inner.note(text)

    def _keep(self, text: str) -> None:
        with self._file.open("a", encoding="utf-8") as stream:
            stream.write(f"{datetime.now(UTC).isoformat(timespec='seconds')} {text}\n")


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
