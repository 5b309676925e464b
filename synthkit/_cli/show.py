"""`synthkit show`: the resolved recipe."""

from __future__ import annotations

import click

from synthkit._cli.context import Context


@click.command("show")
@click.argument("recipe")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change one setting; may be repeated.")
@click.option("--tiny", is_flag=True, help="Apply the recipe's `tiny:` block.")
@click.option("--no-files", is_flag=True, help="Do not ask that folders of data exist.")
@click.pass_obj
def command(context: Context, recipe: str, overrides: tuple[str, ...], tiny: bool, no_files: bool) -> None:
    """Print RECIPE (a file, or a shipped recipe's name) with every default, override and absolute path filled in.

    What is printed is itself a recipe, the one that a run folder keeps.
    """
    from synthkit._recipe.load import load_recipe

    resolved = load_recipe(recipe, context.catalog, overrides=overrides, tiny=tiny, check_files=not no_files).resolved
    click.echo(resolved, nl=False)
