"""`synthkit run RECIPE`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from synthkit._cli.context import Context

if TYPE_CHECKING:
    from synthkit._data.pool import Spread
    from synthkit._run.folder import RunFolder


@click.command("run")
@click.argument("recipe")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change one setting (`train.steps=100`); may be repeated.",
)
@click.option("--tiny", is_flag=True, help="Apply the recipe's `tiny:` block: a smoke test of seconds.")
@click.option(
    "--stage",
    "stages",
    default="prepare..report",
    show_default=True,
    metavar="A[..B]",
    help="Run this stage, or from A to B.",
)
@click.option("--resume", is_flag=True, help="Go on with a training that was stopped.")
@click.option("--fresh", is_flag=True, help="Delete what the run folder holds and start again.")
@click.option("--run-dir", type=click.Path(path_type=Path), help="Folder of the run.  [default: runs/NAME]")
@click.option(
    "--devices",
    type=click.IntRange(min=1),
    metavar="N",
    help="Train in N processes on this machine, a GPU for each or all on the CPU; the recipe's batch is shared among them.",
)
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="Prepare on the workers of this Dask scheduler (tcp://host:8786), or of one started here (local).",
)
@click.option(
    "--shard", metavar="I/N", help="With --stage prepare: decode the I-th of N parts; the parts may run side by side."
)
@click.pass_obj
def command(
    context: Context,
    recipe: str,
    overrides: tuple[str, ...],
    tiny: bool,
    stages: str,
    resume: bool,
    fresh: bool,
    run_dir: Path | None,
    devices: int | None,
    scheduler: str | None,
    shard: str | None,
) -> None:
    """Run RECIPE (a file, or the name of a shipped recipe): prepare, train, generate, report.

    A stage is skipped when nothing it depends on has changed. Ctrl-C saves and stops; --resume goes on.
    """
    from synthkit._data.cluster import spread_over
    from synthkit._run.place import find_place
    from synthkit._run.processes import join
    from synthkit._stages.pipeline import run_recipe

    spread = spread_over(scheduler)
    if shard is not None:
        if stages != "prepare" or resume or fresh or devices:
            raise click.UsageError("--shard decodes a part of the data set: it goes with --stage prepare")
        _prepare_shard(context, recipe, overrides, tiny, run_dir, shard, spread)
        return
    place = find_place(os.environ)
    if devices and place and devices != place.count:
        raise click.UsageError(
            f"--devices {devices}: {place.count} processes have been started already (by torchrun or srun); leave it out"
        )
    if devices and devices > 1 and place is None:
        raise SystemExit(_launch(context, devices, recipe, overrides, tiny, run_dir))
    first, _, last = stages.partition("..")
    with join() as processes:
        run = run_recipe(
            recipe,
            catalog=context.catalog,
            overrides=overrides,
            tiny=tiny,
            run_dir=run_dir,
            first=first or "prepare",
            last=(last or "report") if ".." in stages else first,
            resume=resume,
            fresh=fresh,
            reporter=context.reporter,
            processes=processes,
            spread=spread,
        )
        if processes.is_main:
            _show(run, context)


def _prepare_shard(
    context: Context,
    source: str,
    overrides: tuple[str, ...],
    tiny: bool,
    run_dir: Path | None,
    shard: str,
    spread: Spread,
) -> None:
    from synthkit._data.shards import Shard
    from synthkit._stages.shards import prepare_shard

    prepare_shard(
        source,
        Shard.parse(shard),
        catalog=context.catalog,
        overrides=overrides,
        tiny=tiny,
        run_dir=run_dir,
        reporter=context.reporter,
        spread=spread,
    )


def _show(run: RunFolder, context: Context) -> None:
    if run.report_html.is_file():
        context.console.print(f"report: {run.report_html}", soft_wrap=True, markup=False)
    if run.generated.is_dir():
        context.console.print(f"sounds: {run.generated}", soft_wrap=True, markup=False)


def _launch(
    context: Context, devices: int, source: str, overrides: tuple[str, ...], tiny: bool, run_dir: Path | None
) -> int:
    """This same command again in several processes; a wrong recipe is said before they start."""
    from synthkit._recipe.load import load_recipe
    from synthkit._stages.devices import run_on_devices
    from synthkit._stages.pipeline import folder_of

    recipe = load_recipe(source, context.catalog, overrides=overrides, tiny=tiny)
    run = folder_of(recipe, run_dir, tiny=tiny)
    return run_on_devices(devices, [sys.executable, *sys.orig_argv[1:]], recipe, run, context.reporter.warn)
