"""`synthkit evaluate RUN|NAME ... --data WHAT`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from synthkit._cli.context import Context
from synthkit.values import SPLITS

if TYPE_CHECKING:
    from synthkit._stages.evaluation.measuring import Evaluation


@click.command("evaluate")
@click.argument("vocoders", nargs=-1, required=True, metavar="RUN|NAME...")
@click.option(
    "--data", "what", required=True, metavar="WHAT", help="A data set by name, a folder of recordings, or a recipe."
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="A setting of the data set (`root=DIR`) or recipe; may be repeated.",
)
@click.option(
    "--split",
    type=click.Choice([*SPLITS, "all"]),
    default="test",
    show_default=True,
    help="The clips to take, spread evenly over the split.",
)
@click.option("--count", default=20, show_default=True, type=click.IntRange(min=1), help="Clips at most.")
@click.option(
    "--seconds",
    default=5.0,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    help="Length of the crop in the middle of each clip.",
)
@click.option(
    "-o",
    "--output",
    default=Path("evaluation"),
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for sounds, page and numbers; what is there already is not made again.",
)
@click.option("--metric", "metrics", multiple=True, help="A metric; may be repeated.  [default: all]")
@click.option("--seed", default=0, show_default=True, help="For vocoders that draw random numbers.")
@click.option("--device", default="auto", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the content of evaluation.json instead of the tables.")
@click.pass_context
def command(
    ctx: click.Context,
    vocoders: tuple[str, ...],
    what: str,
    settings: tuple[str, ...],
    split: str,
    count: int,
    seconds: float,
    output: Path,
    metrics: tuple[str, ...],
    seed: int,
    device: str,
    as_json: bool,
) -> None:
    """Take real clips through vocoders and back, side by side: all metrics, and a page to listen to, blind too.

    A vocoder is RUN (a run or checkpoint folder), or NAME, one that needs no training, with settings where wanted:
    griffin-lim:iterations=32,preset=hifi-gan. Each works on its own features at its own rate; a NAME without a preset on
    those of the first RUN, or melgan's. They are compared at the lowest of their rates.

    The exit code is 1 if a vocoder made none of the clips.
    """
    from synthkit._cli.data import find_source

    context: Context = ctx.obj
    source = find_source(what, settings, context)

    from synthkit._stages.evaluate import evaluate  # torch comes with it, and a mistake above needs none

    evaluation = evaluate(
        vocoders,
        source,
        context.catalog,
        output,
        called=what.rstrip("/").rsplit("/", 1)[-1],
        split=next((name for name in SPLITS if name == split), None),
        count=count,
        seconds=seconds,
        metrics=metrics,
        seed=seed,
        device=device,
        reporter=context.reporter,
    )
    if as_json:
        click.echo(json.dumps(evaluation.to_json(), indent=1))
    else:
        _show(context, evaluation)
    heard = {version.name for item in evaluation.items for version in item.made}
    ctx.exit(int(any(it.name not in heard for it in evaluation.contenders)))


def _show(context: Context, evaluation: Evaluation) -> None:
    from synthkit._cli.tables import show_table
    from synthkit._stages.evaluation.text import as_tables, notes

    for columns, rows in as_tables(evaluation):
        show_table(context, columns, rows)
        click.echo()
    for note in notes(evaluation):
        click.echo(note)
    click.echo(f"page: {evaluation.page}")
