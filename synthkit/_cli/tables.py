"""Tables of the command line: drawn and wrapped on a terminal, one plain line per row where the output is piped."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from synthkit._cli.context import Context


def show_table(context: Context, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows below their column names. What stands in a cell is plain text, brackets included."""
    if sys.stdout.isatty():
        _draw(context, columns, rows)
    else:  # for programs, and without the time that it takes to import rich
        click.echo(plain_table([columns, *rows]))


def plain_table(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell, two spaces apart.

    >>> print(plain_table([["Name", "Kind"], ["log-mel", "features"]]))
    Name     Kind
    log-mel  features
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _draw(context: Context, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE, pad_edge=False, padding=(0, 1))
    for number, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=number == 0)
    for row in rows:
        table.add_row(*map(Text, row))
    context.console.print(table)
