"""`synthkit compare`: how runs differ."""

from __future__ import annotations

from pathlib import Path

import click

from synthkit._cli.context import Context


@click.command("compare")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--html", "page", type=click.Path(path_type=Path), help="Also write a page with the curves to this file.")
@click.pass_obj
def command(context: Context, runs: tuple[Path, ...], page: Path | None) -> None:
    """Show how two or more RUNS (their folders) differ: settings of the resolved recipes, validation, curves, scores, speed.

    A star marks the best of a row. With --html everything is written to one page, too, that needs no other file.
    """
    from synthkit._cli.tables import show_table
    from synthkit._run.folder import write_text
    from synthkit._stages.compare.gather import gather
    from synthkit._stages.compare.text import as_tables

    compared = gather(runs)
    for number, (heading, columns, rows) in enumerate(as_tables(compared)):
        click.echo(f"{'' if number == 0 else chr(10)}{heading}")
        show_table(context, columns, rows)
    if page is not None:
        from synthkit._stages.compare.page import render

        page.parent.mkdir(parents=True, exist_ok=True)
        write_text(page, render(compared))
        click.echo(f"\npage: {page}")
