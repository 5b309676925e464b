"""The reporter of the command line: sentences, and bars where there is a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.segment import Segment
from rich.style import Style

from synthkit._run.reporter import Details, Reporter, Task

_REFRESHES = 4
"""Drawings per second: enough for the eye, and next to nothing for the training beside them."""
_LABEL = 15
_DIM = Style(dim=True)


class Panel:
    """Named values in rows, below a bar. A value is never torn from its name; a row that is too long goes on in the next line.

    >>> for line in Panel({"losses": {"critic": "5.9", "mel_l1": "0.43"}, "machine": {}}).lines(30):
    ...     print("".join(line))
      losses         critic 5.9
                     mel_l1 0.43
    """

    def __init__(self, details: Details) -> None:
        self.details = details

    def lines(self, width: int) -> Iterator[tuple[str, str]]:
        """Each line as its heading and its values."""
        for heading, values in self.details.items():
            label = heading
            for text in _wrap([f"{name} {value}".strip() for name, value in values.items()], width - _LABEL - 2):
                yield f"  {label:<{_LABEL}}", text
                label = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for label, text in self.lines(options.max_width):
            yield Segment(label, _DIM)
            yield Segment(text[: max(0, options.max_width - len(label))])
            yield Segment.line()


class _Bars(Progress):
    """A bar with a panel below it."""

    panel: Panel | None = None

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        if self.panel:
            yield self.panel


class _Bar(Task):
    def __init__(self, progress: _Bars, task: TaskID) -> None:
        self._progress, self._task = progress, task

    def update(self, done: int, status: str = "", details: Details | None = None) -> None:
        if details is not None:
            self._progress.panel = Panel(details)
        self._progress.update(self._task, completed=done, status=escape(status))


class RichReporter(Reporter):
    """Writes to standard error; bars and panels are drawn on a terminal only, and a running account elsewhere only."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False)

    def say(self, text: str) -> None:
        self.console.print(escape(text), soft_wrap=True)

    def warn(self, text: str) -> None:
        self.console.print(f"[yellow]{escape(text)}[/yellow]", soft_wrap=True)

    def note(self, text: str) -> None:
        if not self.console.is_terminal:
            self.say(text)

    @contextmanager
    def task(self, description: str, total: int) -> Iterator[Task]:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[status]}", style="dim"),
        )
        progress = _Bars(
            *columns,
            console=self.console,
            refresh_per_second=_REFRESHES,
            transient=True,
            disable=not self.console.is_terminal,
        )
        with progress:
            yield _Bar(progress, progress.add_task(escape(description), total=total, status=""))


def _wrap(items: list[str], width: int) -> Iterator[str]:
    """The items three spaces apart, in as few lines as hold them whole."""
    line = ""
    for item in items:
        longer = f"{line}   {item}" if line else item
        if line and len(longer) > width:
            yield line
            longer = item
        line = longer
    if line:
        yield line
