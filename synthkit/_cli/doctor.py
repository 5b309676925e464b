"""`synthkit doctor`."""

from __future__ import annotations

import click

from synthkit._cli.context import Context


@click.command("doctor")
@click.pass_obj
def command(context: Context) -> None:
    """Show what is installed, what does not fit together, and the command that mends it.

    Exits 1 where something does not fit. Neither torch nor torchaudio is imported.
    """
    from synthkit._cli.diagnosis import diagnose
    from synthkit._cli.tables import show_table

    rows = diagnose(context.catalog)
    cells = [
        [row.what, row.found or "not installed", row.needed, "PROBLEM" if row.problem else "ok" if row.found else ""]
        for row in rows
    ]
    show_table(context, ["What", "Found", "Needed", "State"], cells)
    wrong = [row for row in rows if row.problem]
    for row in wrong:
        click.echo(f"{row.problem}\n    {row.mend}")
    if wrong:
        click.get_current_context().exit(1)
    click.echo("All is well.")
