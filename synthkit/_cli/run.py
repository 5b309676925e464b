"""`synthkit run RECIPE`."""

from __future__ import annotations

from pathlib import Path

import click

from synthkit._cli.context import Context


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
) -> None:
    """Run RECIPE (a file, or the name of a shipped recipe): prepare, train, generate, report.

    A stage is skipped when nothing it depends on has changed. Ctrl-C saves and stops; --resume goes on.
    """
    from synthkit._stages.pipeline import run_recipe

    first, _, last = stages.partition("..")
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
    )
    if run.report_html.is_file():
        context.console.print(f"report: {run.report_html}", soft_wrap=True, markup=False)
    if run.generated.is_dir():
        context.console.print(f"sounds: {run.generated}", soft_wrap=True, markup=False)
