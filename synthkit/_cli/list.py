"""`synthkit list`: what recipes can name."""

from __future__ import annotations

import click

from synthkit._cli.context import Context
from synthkit._cli.tables import show_table
from synthkit.errors import UnknownName, nearest
from synthkit.interfaces import KINDS
from synthkit.offers import noun


@click.command("list")
@click.argument("kind", required=False)
@click.pass_obj
def command(context: Context, kind: str | None) -> None:
    """List the components that recipes can name, or only those of one KIND.

    KIND is dataset, features, vocoder, model, converter, objective, metric, embedding or tracker; `preset` lists the named
    feature specs and `recipe` the shipped recipes.
    """
    wanted = None if kind is None else _kind(kind)
    if wanted == "preset":
        show_table(context, ["Preset", "Summary"], _presets())
    elif wanted == "recipe":
        show_table(context, ["Recipe", "Description"], _recipes())
    elif rows := _components(context, wanted):
        show_table(context, ["Name", "Kind", "Summary", "Plugin"], rows)
    else:
        click.echo(f"no plugin offers a {noun(wanted or 'component')}")


def _kind(text: str) -> str:
    known = {name: name for name in (*KINDS, "preset", "recipe")}
    plurals = {f"{name}s": name for name in known} | {"feature": "features"}
    found = (known | plurals).get(text)
    if found is None:
        raise UnknownName(f"there is no kind {text!r}; {nearest(text, known)}")
    return found


def _components(context: Context, kind: str | None) -> list[list[str]]:
    catalog = context.catalog
    clashes = {(clash.kind, clash.name) for clash in catalog.clashes}
    offers = sorted(catalog.offers(), key=lambda it: (KINDS.index(it.offer.kind), it.offer.name, it.plugin))
    return [
        [
            it.full_name if (it.offer.kind, it.offer.name) in clashes else it.offer.name,
            it.offer.kind,
            it.offer.summary,
            it.plugin,
        ]
        for it in offers
        if kind in (None, it.offer.kind)
    ]


def _presets() -> list[list[str]]:
    from synthkit.presets import PRESETS

    return [[preset.name, preset.summary] for preset in PRESETS.values()]


def _recipes() -> list[list[str]]:
    from synthkit._recipe.find import shipped_recipes
    from synthkit._recipe.yaml import plain, read_yaml

    rows = []
    for file in shipped_recipes():
        content, _ = read_yaml(file.read_text("utf-8"), file.name)
        fields = plain(content) if content else {}
        rows.append([file.stem, str(fields.get("description", ""))])
    return rows
