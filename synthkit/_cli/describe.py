"""`synthkit describe`: all settings of a component, or all numbers of a preset."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from synthkit._cli.context import Context
from synthkit._cli.tables import show_table
from synthkit.errors import UnknownName, nearest
from synthkit.offers import noun
from synthkit.presets import PRESETS, Preset, find_preset

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from synthkit._catalog import Catalog, Offered
    from synthkit.config import Config


@click.command("describe")
@click.argument("name")
@click.pass_obj
def command(context: Context, name: str) -> None:
    """Show every setting of the component NAME, or the numbers of the preset NAME.

    Where several things have that name, each is shown. PLUGIN/NAME is the component of one plugin.
    """
    catalog = context.catalog
    found = [it for it in catalog.offers() if name in (it.offer.name, it.full_name)]
    preset = _preset(name)
    if not found and preset is None:
        raise UnknownName(_unknown(catalog, name))
    for number, offered in enumerate(found):
        click.echo("\n" * (number > 0), nl=False)
        _describe_component(context, offered)
    if preset is not None:
        click.echo("\n" * bool(found), nl=False)
        _describe_preset(context, preset)


def _preset(name: str) -> Preset | None:
    try:
        return find_preset(name)
    except UnknownName:
        return None


def _unknown(catalog: Catalog, name: str) -> str:
    from synthkit._recipe.find import shipped_recipes

    if name in [file.stem for file in shipped_recipes()]:
        return f"{name!r} is a recipe, not a component; `synthkit show {name}` prints it"
    known = [*(it.offer.name for it in catalog.offers()), *PRESETS]
    return f"there is no component or preset {name!r}; {nearest(name, known)}{catalog.suspects(name)}"


def _describe_component(context: Context, offered: Offered) -> None:
    offer, say = offered.offer, click.echo
    owner = f"plugin {offered.plugin}" + (
        f" of {offered.distribution} {offered.version}" if offered.distribution else ""
    )
    say(f"{noun(offer.kind)} {offer.name} ({owner})")
    say(f"  {offer.summary}")
    say(f"  code: {offer.build}")
    if offer.objective:
        say(f"  learns by: {offer.objective}")
    if offer.extra:
        say(f"  needs: pip install '{offered.distribution or offered.plugin}[{offer.extra}]'")
    config = context.catalog.config_class(offered)
    rows = _settings(config)
    if rows:
        show_table(context, ["Setting", "Value", "Default", "Meaning"], rows)
    else:
        say("  no settings")


def _describe_preset(context: Context, preset: Preset) -> None:
    from synthkit.config import field_docs

    say = click.echo
    say(f"preset {preset.name}" + (f" (also {', '.join(preset.aliases)})" if preset.aliases else ""))
    say(f"  {preset.summary}")
    say(f"  source: {preset.source}")
    if preset.differs:
        say(f"  differs: {preset.differs}")
    meanings = field_docs(type(preset.spec))
    rows = [[name, _shown(value), _one_line(meanings[name])] for name, value in preset.spec.to_dict().items()]
    show_table(context, ["Field", "Value", "Meaning"], rows)


def _settings(config: type[Config], prefix: str = "") -> list[list[str]]:
    """One row for each setting: name, what it may be, default, meaning."""
    from synthkit.config import Config, field_docs

    docs = field_docs(config)
    schema = config.model_json_schema()
    definitions = schema.get("$defs", {})
    rows = []
    for name, field in config.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Config):
            rows += _settings(field.annotation, f"{prefix}{name}.")
            continue
        allowed = _allowed(schema["properties"].get(field.alias or name, {}), definitions)
        value = None if field.is_required() else _plain(field.get_default(call_default_factory=True))
        default = "required" if field.is_required() else _shown(value)
        rows.append([prefix + name, allowed, default, _one_line(docs.get(name, ""))])
    return rows


def _allowed(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """What a JSON schema allows, in words.

    >>> _allowed({"type": "integer", "minimum": 1}, {})
    'whole number >= 1'
    >>> _allowed({"anyOf": [{"enum": ["a", "b"]}, {"type": "null"}]}, {})
    "'a', 'b' or null"
    """
    if "$ref" in schema:
        return _allowed(definitions.get(schema["$ref"].rpartition("/")[2], {}), definitions)
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_allowed(choice, definitions) for choice in schema["anyOf"]))
    if "const" in schema:
        return _shown(schema["const"])
    if "enum" in schema:
        return ", ".join(_shown(value) for value in schema["enum"])
    if schema.get("type") == "array":
        return _allowed_list(schema, definitions)
    if "properties" in schema:
        inner = (f"{name}: {_allowed(field, definitions)}" for name, field in schema["properties"].items())
        return "{" + ", ".join(inner) + "}"
    words = {"integer": "whole number", "boolean": "true or false", "string": "text", "object": "mapping"}
    name = (
        "path" if schema.get("format") == "path" else words.get(schema.get("type", ""), schema.get("type", "anything"))
    )
    bounds = (("minimum", ">="), ("exclusiveMinimum", ">"), ("maximum", "<="), ("exclusiveMaximum", "<"))
    limits = [f"{sign} {schema[key]:g}" for key, sign in bounds if key in schema]
    return " ".join([name, ", ".join(limits)]).strip()


def _allowed_list(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    if "prefixItems" in schema:
        return f"[{', '.join(_allowed(item, definitions) for item in schema['prefixItems'])}]"
    return f"list of {_allowed(schema.get('items', {}), definitions)}"


def _plain(value: Any) -> Any:
    from pydantic import BaseModel
    from pydantic_core import to_jsonable_python

    return value.model_dump(mode="json") if isinstance(value, BaseModel) else to_jsonable_python(value, fallback=str)


def _shown(value: Any) -> str:
    """A value as a recipe writes it."""
    import json

    if isinstance(value, float):
        return f"{value:g}"
    return f"'{value}'" if isinstance(value, str) else json.dumps(value)


def _one_line(text: str) -> str:
    return " ".join(text.split())
