"""`synthkit plugins`: every plugin, whether it works, and if not, why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from synthkit._cli.context import Context
from synthkit._cli.tables import show_table
from synthkit.errors import UnknownName, nearest
from synthkit.offers import noun

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synthkit._catalog import Catalog
    from synthkit._plugins import Loaded


@click.command("plugins")
@click.argument("name", required=False)
@click.pass_obj
def command(context: Context, name: str | None) -> None:
    """Show every plugin and whether it works, or what the plugin NAME offers.

    Exits 1 where a plugin is broken, or where two give one name away.
    """
    catalog = context.catalog
    if name is None:
        _show_all(context)
        wrong = bool(catalog.broken or catalog.clashes or _undeclared())
    else:
        _show_one(context, name)
        clashing = {plugin for clash in catalog.clashes for plugin in clash.plugins}
        wrong = name in clashing or any(row.plugin == name for row in catalog.broken)
    if wrong:
        click.get_current_context().exit(1)


def _show_all(context: Context) -> None:
    catalog = context.catalog
    rows = [[it.plugin, _owner(it), it.version, _counts(it), _state(catalog, it)] for it in catalog.loaded]
    rows += [
        [row.plugin, row.distribution, row.version, "", f"broken ({row.moment}): {row.error}"] for row in catalog.broken
    ]
    rows += [
        [name, "synthkit", "", "", "not installed: pyproject.toml declares it; run `pip install -e .` again"]
        for name in _undeclared()
    ]
    show_table(context, ["Plugin", "Distribution", "Version", "Offers", "State"], rows)


def _show_one(context: Context, name: str) -> None:
    catalog, say = context.catalog, click.echo
    loaded = [it for it in catalog.loaded if it.plugin == name]
    broken = [row for row in catalog.broken if row.plugin == name]
    if not loaded and not broken:
        known = [*(it.plugin for it in catalog.loaded), *(row.plugin for row in catalog.broken)]
        raise UnknownName(f"there is no plugin {name!r}; {nearest(name, known)}")
    for it in loaded:
        say(f"{it.plugin} {it.version}".rstrip())
        say(f"  from {it.origin}" + (f" (distribution {it.distribution})" if it.distribution else ""))
        for clash in catalog.clashes:
            if name in clash.plugins:
                say(f"  name clash: {clash}")
        say(f"  watches {', '.join(it.watches) or 'nothing'}")
        rows = [[noun(offer.kind), offer.name, offer.summary, offer.build] for offer in it.offers]
        rows += [["command", command.name, command.summary, command.load] for command in it.commands]
        show_table(context, ["Kind", "Name", "Summary", "Code"], rows)
    for row in broken:
        owner = f" of distribution {row.distribution} {row.version}" if row.distribution else ""
        say(f"{row.plugin}{owner} is broken ({row.moment}): {row.error}")


def _owner(it: Loaded) -> str:
    return it.distribution or it.origin


def _counts(it: Loaded) -> str:
    kinds = [offer.kind for offer in it.offers] + ["command"] * len(it.commands)
    parts = [f"{kinds.count(kind)} {noun(kind)}{'s' * (kinds.count(kind) > 1)}" for kind in dict.fromkeys(kinds)]
    return ", ".join(parts) or ("watches" if it.watches else "nothing")


def _state(catalog: Catalog, it: Loaded) -> str:
    clashes = [str(clash) for clash in catalog.clashes if it.plugin in clash.plugins]
    return f"name clash: {'; '.join(clashes)}" if clashes else "works"


def _undeclared() -> Sequence[str]:
    from synthkit._plugins import declared_but_not_installed

    return declared_but_not_installed()
