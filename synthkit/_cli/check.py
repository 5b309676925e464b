"""`synthkit check`: all mistakes of a recipe at once; nothing runs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import click

from synthkit._cli.context import Context
from synthkit._cli.runs import size
from synthkit._run.reporter import duration
from synthkit.config import ObjectiveConfig, PartConfig
from synthkit.errors import RecipeError, SynthkitError

if TYPE_CHECKING:
    from synthkit._recipe.model import Block, GenerateBlock, Recipe, Training
    from synthkit.specs import FeatureSpec


@click.command("check")
@click.argument("recipes", nargs=-1, required=True, metavar="RECIPE...")
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Check with this setting changed; may be repeated."
)
@click.option("--tiny", is_flag=True, help="Check it with its `tiny:` block applied.")
@click.option("--no-files", is_flag=True, help="Do not ask that folders of data exist (to check for another machine).")
@click.pass_obj
def command(context: Context, recipes: tuple[str, ...], overrides: tuple[str, ...], tiny: bool, no_files: bool) -> None:
    """Check each RECIPE (a file, or the name of a shipped recipe) and list every mistake; nothing runs.

    Exits 2 where a recipe has a mistake.
    """
    from synthkit._recipe.load import load_recipe

    failed = False
    for name in recipes:
        try:
            recipe = load_recipe(name, context.catalog, overrides=overrides, tiny=tiny, check_files=not no_files)
        except RecipeError as error:
            failed = True
            count = len(error.problems)
            click.echo(str(error), err=True)
            click.echo(f"{name}: {count} {'mistake' if count == 1 else 'mistakes'}", err=True)
        except SynthkitError as error:
            failed = True
            click.echo(str(error), err=True)
        else:
            prefix = f"{name}: " if len(recipes) > 1 else ""
            click.echo(f"{prefix}recipe ok")
            for row in summary(recipe):
                click.echo(f"  {row}")
    if failed:
        click.get_current_context().exit(2)


def summary(recipe: Recipe) -> list[str]:
    """What a recipe will do, in a few lines."""
    spec = recipe.spec
    mels = f"{spec.n_mels} bands of {spec.f_min:g}-{spec.band_top:g} Hz, log {spec.log}"
    rows = [
        f"data      {_named(recipe.data)}",
        f"features  {_named(recipe.features)}: {spec.sample_rate} Hz, n_fft {spec.n_fft}, hop {spec.hop_length}, {mels}",
    ]
    rows += [f"model     {_named(recipe.model)}{_size(recipe.model, spec)}"] if recipe.model else []
    rows += [f"converter {_named(recipe.converter)}{_size(recipe.converter, spec)}"] if recipe.converter else []
    rows += [f"vocoder   {_named(recipe.vocoder)}{_size(recipe.vocoder, spec)}"] if recipe.vocoder else []
    for training in recipe.train:
        one = training.settings
        frames = spec.frames(spec.crop_samples(one.crop_seconds))
        heard = one.steps * one.batch * frames / spec.frames_per_second
        rows.append(
            f"train     {one.part} by {_named(training.objective)}: {one.steps} steps of {one.batch} crops of {frames} "
            f"frames, {duration(heard)} of sound in all"
        )
        needed = _memory(recipe, training, frames)
        rows += [f"memory    about {size(needed)} for a step of the {one.part}"] if needed else []
    beside = f" beside {', '.join(map(_named, recipe.compare))}" if recipe.compare else ""
    wanted = recipe.generate
    new = [f"{wanted.count} new clips{_manner(wanted)}"] if recipe.model else []
    new += [f"{wanted.count} clips converted with strength {wanted.strength:g}"] if recipe.converter else []
    copies = [f"{recipe.copies} clips of the {wanted.source} split"] if recipe.copies else []
    rows.append(f"generate  {' and '.join([*new, *copies])}, at most {wanted.seconds:g} s each{beside}")
    rows.append(f"report    {', '.join(map(_named, recipe.metrics)) or 'no metrics'}")
    return rows


def _manner(wanted: GenerateBlock) -> str:
    """How a model makes its clips."""
    if wanted.blend is not None:
        ends = [f"{one!r} to {other!r}" for one, other in filter(None, (wanted.blend.labels, wanted.blend.seeds))]
        return f" from {' and '.join(ends)}"
    goes_on = wanted.continues
    manner = f" that go on from clips of the {goes_on.source} split" if goes_on else ""
    return manner + (f" that follow clips of the {wanted.like.source} split" if wanted.like else "")


def _size(block: Block, spec: FeatureSpec) -> str:
    """How many parameters a part has, where its settings tell."""
    count = block.config.parameters(spec) if isinstance(block.config, PartConfig) else None
    return "" if count is None else f", {count:,} parameters"


def _memory(recipe: Recipe, training: Training, frames: int) -> int | None:
    """Bytes that a step takes beside the process, where the objective can tell from its settings."""
    one, how = training.settings, training.objective.config
    part = recipe.part(one.part)
    if not isinstance(how, ObjectiveConfig) or part is None or not isinstance(part.config, PartConfig):
        return None
    return how.memory(part.config, recipe.spec, math.ceil(one.batch / one.accumulate), frames)


def _named(block: Block) -> str:
    return block.offered.offer.name + (f" from {str(block.from_run)!r}" if block.from_run else "")
