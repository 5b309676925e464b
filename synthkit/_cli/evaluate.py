"""`synthkit evaluate RUN|NAME ... --data WHAT` for vocoders, `synthkit evaluate RUN` for a model or a converter."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from synthkit._cli.context import Context
from synthkit.errors import ConfigError
from synthkit.values import SPLITS

if TYPE_CHECKING:
    from synthkit._stages.evaluation.measuring import Evaluation
    from synthkit._stages.judgements import AnyJudgement


@click.command("evaluate")
@click.argument("vocoders", nargs=-1, required=True, metavar="RUN|NAME...")
@click.option(
    "--data",
    "what",
    metavar="WHAT",
    help="For vocoders: a data set by name, a folder of recordings, or a recipe. Without it, the model or converter of RUN is judged.",
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
@click.option(
    "--count",
    type=click.IntRange(min=1),
    help="Clips at most.  [default: 20; for a model 48 new ones, for a converter 48 crops]",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    help="Length of the crop in the middle of each clip.  [default: 5; for a model or converter 2, the length of its clips]",
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
@click.option(
    "--vocoder",
    "voices",
    multiple=True,
    metavar="RUN|NAME",
    help="For a model or converter: what makes its clips heard; may be repeated.  [default: the run's own, else one without training]",
)
@click.option(
    "--embedding", metavar="NAME", help="For a model or converter: what compares its clips.  [default: classifier]"
)
@click.option(
    "--strength", type=click.FloatRange(0, 1), help="For a converter: how far it converts.  [default: 1, fully]"
)
@click.option(
    "--seed", default=0, show_default=True, help="For vocoders that draw random numbers, and a model's clips."
)
@click.option("--device", default="auto", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the content of evaluation.json instead of the tables.")
@click.pass_context
def command(
    ctx: click.Context,
    vocoders: tuple[str, ...],
    what: str | None,
    settings: tuple[str, ...],
    split: str,
    count: int | None,
    seconds: float | None,
    output: Path,
    metrics: tuple[str, ...],
    voices: tuple[str, ...],
    embedding: str | None,
    strength: float | None,
    seed: int,
    device: str,
    as_json: bool,
) -> None:
    """Judge vocoders on the clips of a data set, the model of a run on new clips, or the converter of a run on converted ones.

    With --data: take real clips through vocoders and back, side by side: all metrics, and a page to listen to, blind too.

    A vocoder is RUN (a run or checkpoint folder), or NAME, one that needs no training, with settings where wanted:
    griffin-lim:iterations=32,preset=hifi-gan. Each works on its own features at its own rate; a NAME without a preset on
    those of the first RUN, or melgan's. They are compared at the lowest of their rates.

    The exit code is 1 if a vocoder made none of the clips.

    Without --data: make new clips with the model of RUN and hold them against real clips that it has not learned from, with
    a floor (real against real) and a ceiling (noise) beside every figure; repeated clips and pieces of training clips are
    named. Or convert clips that the converter of RUN has not learned from: what they are taken for, and how much of the source
    is kept, beside the source through the vocoder alone, the source itself and random clips of the target.
    """
    context: Context = ctx.obj
    if what is None:
        _refuse("vocoders, with --data", {"--set": settings or None, "--metric": metrics or None})
        length = {"count": count, "seconds": seconds, "embedding": embedding, "strength": strength}
        given = {name: value for name, value in length.items() if value is not None}
        _run(context, vocoders, output, {"vocoders": voices, "seed": seed, "device": device, **given}, as_json=as_json)
        return
    _refuse(
        "a model or converter, without --data",
        {"--vocoder": voices or None, "--embedding": embedding, "--strength": strength},
    )

    from synthkit._cli.data import find_source

    source = find_source(what, settings, context)

    from synthkit._stages.evaluate import evaluate  # torch comes with it, and a mistake above needs none

    evaluation = evaluate(
        vocoders,
        source,
        context.catalog,
        output,
        called=what.rstrip("/").rsplit("/", 1)[-1],
        split=next((name for name in SPLITS if name == split), None),
        count=count or 20,
        seconds=seconds or 5.0,
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


def _refuse(whose: str, given: Mapping[str, object]) -> None:
    for name, value in given.items():
        if value is not None:
            raise ConfigError(f"{name} is for {whose}")


def _run(context: Context, runs: tuple[str, ...], output: Path, asked: Mapping[str, Any], *, as_json: bool) -> None:
    """Judge what one run makes."""
    from synthkit._stages.evaluate_run import evaluate_run, judged_part

    if len(runs) > 1 or judged_part(runs[0]) is None:
        raise ConfigError(
            "vocoders are evaluated on the clips of a data set: add --data"
            + (
                ", or name one run with a model or converter"
                if len(runs) > 1
                else f"; {runs[0]!r} is no run with a model or converter"
            )
        )
    evaluation = evaluate_run(runs[0], context.catalog, output, **asked, reporter=context.reporter)
    if as_json:
        click.echo(json.dumps(evaluation.to_json(), indent=1))
    else:
        _show_judgement(context, evaluation.judgement)
        click.echo(f"page: {evaluation.page}")


def _show_judgement(context: Context, judgement: AnyJudgement) -> None:
    from synthkit._cli.tables import show_table
    from synthkit._stages.judgements import as_tables, notes

    for columns, rows in as_tables(judgement):
        show_table(context, columns, rows)
        click.echo()
    for note in notes(judgement):
        click.echo(note)
