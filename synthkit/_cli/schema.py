"""`synthkit schema`: the JSON Schema of recipes."""

from __future__ import annotations

import click

from synthkit._cli.context import Context


@click.command("schema")
@click.pass_obj
def command(context: Context) -> None:
    """Print the JSON Schema of recipes, with the components of every installed plugin.

    Save it and begin a recipe with `# yaml-language-server: $schema=FILE`: editors then complete and explain its keys.
    """
    from synthkit._recipe.schema import recipe_schema, schema_text

    click.echo(schema_text(recipe_schema(context.catalog)), nl=False)
