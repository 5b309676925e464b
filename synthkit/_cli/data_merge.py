"""`synthkit data merge`: puts the shards of a prepare together, or says which are missing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from synthkit._cli.context import Context

if TYPE_CHECKING:
    from synthkit._data.shards import Shard


@click.command("merge")
@click.argument("recipe")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="As for the shards; may be repeated.")
@click.option("--tiny", is_flag=True, help="As for the shards.")
@click.option("--run-dir", type=click.Path(path_type=Path), help="Folder of the run.  [default: runs/NAME]")
@click.pass_obj
@click.pass_context
def command(
    ctx: click.Context, context: Context, recipe: str, overrides: tuple[str, ...], tiny: bool, run_dir: Path | None
) -> None:
    """Put the shards that `synthkit run RECIPE --stage prepare --shard I/N` prepared together, decoding nothing.

    Where shards are missing, it names them and exits with 1. (`synthkit run RECIPE` needs no merge: it decodes what is
    missing itself.)
    """
    from synthkit._stages.shards import look, merge

    arguments: dict[str, Any] = {
        "catalog": context.catalog,
        "overrides": overrides,
        "tiny": tiny,
        "run_dir": run_dir,
        "reporter": context.reporter,
    }
    found = look(recipe, **arguments)
    if not found.complete:
        _say_missing(recipe, found.missing, found.outdated, len(found.done))
        ctx.exit(1)
    run = merge(recipe, found, **arguments)
    click.echo(f"{len(found.done)} shards are together: {run.data_file}")


def _say_missing(recipe: str, missing: Sequence[Shard], outdated: Sequence[Shard], done: int) -> None:
    if not (missing or outdated or done):
        click.echo(f"no shard has been prepared: synthkit run {recipe} --stage prepare --shard 1/N")
        return
    if missing:
        click.echo(f"not prepared yet: {_list(missing)}")
    if outdated:
        click.echo(f"prepared from other files or with other settings, and to be run again: {_list(outdated)}")


def _list(shards: Sequence[Shard]) -> str:
    return f"{'shard' if len(shards) == 1 else 'shards'} {', '.join(map(str, shards))}"
