"""What every command is given: the catalogue of components, a console and a reporter; each is made on first use."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from synthkit._catalog import Catalog
    from synthkit._run.reporter import Reporter


class Context:
    """The `ctx.obj` of every command."""

    def __init__(self, plugin_files: Sequence[Path] = (), debug: bool = False) -> None:
        self.plugin_files = tuple(plugin_files)
        self.debug = debug

    @cached_property
    def catalog(self) -> Catalog:
        """All components of all plugins that work."""
        from synthkit._catalog import Catalog

        return Catalog.discover(self.plugin_files)

    @cached_property
    def console(self) -> Console:
        """Standard output."""
        from rich.console import Console

        return Console(highlight=False)

    @cached_property
    def reporter(self) -> Reporter:
        """Progress on standard error, so that standard output stays clean."""
        from synthkit._cli.progress import RichReporter

        return RichReporter()
