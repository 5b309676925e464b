"""`synthkit data export`: features as arrays or pictures, for those who want to go on without synthkit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from synthkit._cli.context import Context
from synthkit.errors import UnknownName, nearest
from synthkit.interfaces import SPLITS

if TYPE_CHECKING:
    from synthkit._catalog import Offered
    from synthkit.config import FeaturesConfig
    from synthkit.interfaces import Split


@click.command("export")
@click.argument("what")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Folder to write.")
@click.option(
    "--format", type=click.Choice(["png", "npz"]), default="png", show_default=True, help="Pictures or arrays."
)
@click.option(
    "--features",
    metavar="NAME",
    help="A feature extractor or a recipe.  [default: WHAT's if it is a recipe, else log-mel]",
)
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change one setting of WHAT; may be repeated."
)
@click.option(
    "--set-features", multiple=True, metavar="KEY=VALUE", help="Change one setting of the features; may be repeated."
)
@click.option(
    "--split",
    "splits",
    multiple=True,
    type=click.Choice(SPLITS),
    help="Only this split; may be repeated.  [default: all]",
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    help="Cut clips into windows of this length.  [default: whole clips]",
)
@click.option(
    "--bits", type=click.Choice(["8", "16"]), default="8", show_default=True, help="Bits of grey of a picture."
)
@click.option(
    "--range",
    "limits",
    type=(float, float),
    metavar="LOW HIGH",
    help="The values that are black and white.  [default: all that sound in -1..1 can give]",
)
@click.option(
    "--workers", default=0, show_default=True, type=click.IntRange(0), help="Processes; 0 means one per core."
)
@click.pass_obj
def command(
    context: Context,
    what: str,
    output: Path,
    format: str,
    features: str | None,
    settings: tuple[str, ...],
    set_features: tuple[str, ...],
    splits: tuple[Split, ...],
    seconds: float | None,
    bits: str,
    limits: tuple[float, float] | None,
    workers: int,
) -> None:
    """Write the features of WHAT (a data set, a folder of recordings, or a recipe) into OUTPUT/SPLIT/LABEL/.

    spec.json says what the numbers mean and how pixels become values again, export.json lists every file, and every clip
    that could not be used with the reason. Run again, it goes on where it stopped and makes only what is new.
    """  # fmt: skip
    from synthkit._cli.data import find_source
    from synthkit._stages.export import export, make_plan

    source = find_source(what, settings, context)
    offered, config = _features(context, what, features, settings, set_features)
    plan = make_plan(
        context.catalog,
        offered,
        config,
        output,
        format="png" if format == "png" else "npz",
        seconds=seconds,
        bits=int(bits),
        limits=limits,
    )
    done = export(source, plan, splits=splits or SPLITS, workers=workers, reporter=context.reporter)
    click.echo(f"{done.files} files of {done.clips} clips ({done.new} new) are in {plan.folder}")
    if done.left_out:
        click.echo(f"{done.left_out} left out: {plan.folder / 'export.json'} says why")
    if done.beyond:
        click.echo(f"{done.beyond} values lie outside of the range and are cut off there: --range LOW HIGH widens it")


def _features(
    context: Context, what: str, name: str | None, settings: Sequence[str], changes: Sequence[str]
) -> tuple[Offered, FeaturesConfig]:
    """The extractor by its own name, or that of a recipe, with its settings."""
    from synthkit._cli.data import parse_settings
    from synthkit._recipe.find import find_recipe, shipped_recipes
    from synthkit._recipe.load import load_recipe
    from synthkit.config import FeaturesConfig

    catalog = context.catalog
    names = [name for it in catalog.offers("features") for name in (it.offer.name, it.full_name)]
    changed = parse_settings(changes)
    recipe, overrides = (what, settings) if name is None else (name, ())
    if name not in names:
        try:
            find_recipe(recipe)
        except UnknownName as error:
            if name is not None:
                known = [*names, *(path.stem for path in shipped_recipes())]
                raise UnknownName(f"{name!r} is no feature extractor or recipe; {nearest(name, known)}") from error
        else:
            block = load_recipe(recipe, catalog, overrides=overrides, check_files=False).features
            if not changed:
                assert isinstance(block.config, FeaturesConfig)
                return block.offered, block.config
            name, changed = block.offered.full_name, {**block.config.model_dump(exclude_unset=True), **changed}
    offered, config = catalog.configure("features", name or "log-mel", changed)
    assert isinstance(config, FeaturesConfig)
    return offered, config
