"""`synthkit init`: from a folder of recordings to a recipe that fits it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from synthkit._cli.context import Context
from synthkit._cli.new import write_new
from synthkit.errors import ClipReport, DatasetError, SynthkitError

if TYPE_CHECKING:
    from rich.console import Console

    from synthkit._recipe.measure import Measured

_SHOWN = 200


@click.command("init")
@click.option("--data", "root", required=True, type=click.Path(path_type=Path), help="Folder of recordings.")
@click.option(
    "-o", "--output", default="recipe.yaml", show_default=True, type=click.Path(path_type=Path), help="File to write."
)
@click.option("--name", help="Name of the recipe and of its run folder.  [default: the folder's name]")
@click.pass_obj
def command(context: Context, root: Path, output: Path, name: str | None) -> None:
    """Decode every file of a folder, show what it holds, and write a recipe that fits it.

    Says of every file that cannot be used why not. An existing recipe is never replaced.
    """
    from synthkit._recipe.draft import draft_recipe
    from synthkit._recipe.load import load_text

    if output.exists():
        raise SynthkitError(f"{str(output)!r} is there already and is not replaced; name another file with -o")
    measured = _measure(root, context)
    _show(measured, context.console)
    if not measured.usable.clips:
        raise DatasetError(f"no file below {str(measured.root)!r} can be used; the table says why of each")
    text = draft_recipe(measured, name)
    load_text(text, output, context.catalog)
    write_new(output, text)
    click.echo(f"wrote {output}; next: synthkit run {output} --set train.steps=1000")


def _measure(root: Path, context: Context) -> Measured:
    from synthkit._recipe.measure import measure_folder
    from synthkit._stages.prepare import showing

    with showing(context.reporter, "index") as indexed, showing(context.reporter, "decode") as decoded:
        return measure_folder(root, context.catalog, indexed, decoded)


def _show(measured: Measured, console: Console) -> None:
    from rich.table import Table

    from synthkit._run.reporter import duration

    columns = ("sample rate", "channels", "clips", "sound", "shortest", "middle", "longest")
    table = Table(*columns, box=None, pad_edge=False)
    for (rate, channels), group in measured.by("sample_rate", "channels").items():
        lengths = (group.seconds, *(group.quantile(share) for share in (0, 0.5, 1)))
        table.add_row(f"{rate} Hz", str(channels), str(len(group.clips)), *map(duration, lengths))
    if measured.usable.clips:
        console.print(table)
    if measured.labels:
        console.print(f"{len(measured.labels)} labels: {', '.join(measured.labels)}", markup=False, soft_wrap=True)
    odd = [clip for clip in measured.usable.clips if clip.code != "ok"]
    _list("clips cannot be used", measured.lost, measured.total, console)
    _list("clips can be used, but are odd", odd, measured.total, console)
    _list("of the other files might have been meant as sound", measured.beside, 0, console)


def _list(what: str, clips: Sequence[ClipReport], total: int, console: Console) -> None:
    if not clips:
        return
    from rich.table import Table
    from rich.text import Text

    console.print(f"\n{len(clips)} {f'of {total} ' if total else ''}{what}:")
    table = Table("file", "what", "why", box=None, pad_edge=False, show_header=False)
    for clip in clips[:_SHOWN]:
        table.add_row(Text(clip.id, overflow="fold"), clip.code, Text(clip.reason))
    console.print(table)
    if len(clips) > _SHOWN:
        console.print(f"... and {len(clips) - _SHOWN} more")
