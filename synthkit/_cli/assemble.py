"""`synthkit assemble RUN RUN... -o OUT`."""

from __future__ import annotations

from pathlib import Path

import click

from synthkit._cli.context import Context


@click.command("assemble")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Folder of the new run.")
@click.pass_obj
def command(context: Context, runs: tuple[Path, ...], output: Path) -> None:
    """Make one run of several that each trained some networks of the same model.

    A model whose networks learn by themselves, as the tiers of MelNet, can be trained in runs beside each other. Here each network
    is taken from the run that taught it. The runs must have the same settings, features and labels, and every network must have
    learned in one of them.
    """
    from synthkit._stages.assembling import assemble

    made = assemble(runs, context.catalog, output, context.reporter.warn)
    for name, source in made.sources.items():
        context.console.print(f"{name}: {source.run.name}, step {source.meta['step']}", soft_wrap=True, markup=False)
    context.console.print(
        f"written to {output}; `synthkit run {output / 'recipe.yaml'} --run-dir {output}` makes clips and a report",
        soft_wrap=True,
        markup=False,
    )
