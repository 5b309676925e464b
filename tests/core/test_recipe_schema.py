"""The JSON Schema of recipes says the same as the check, as far as one block at a time can tell."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from synthkit._catalog import Catalog
from synthkit._recipe.load import shipped_recipes
from synthkit._recipe.schema import recipe_schema, schema_text
from synthkit._recipe.yaml import plain, read_yaml

GOOD: dict[str, Any] = {
    "recipe": 1,
    "name": "good",
    "data": {"use": "tones", "clips_per_label": 4},
    "features": "log-mel",
    "vocoder": {"use": "melgan", "ratios": [8, 8, 2, 2]},
    "train": {"part": "vocoder", "steps": 5, "objective": {"learning_rate": 1e-3}, "keep": {"every": None}},
    "generate": {"compare": ["griffin-lim", {"from": "runs/x"}]},
    "report": {"metrics": []},
    "tiny": {"train.steps": 1},
}


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return recipe_schema(Catalog.discover())


NOTES = {"title", "description", "default", "examples", "format", "$schema", "$defs"}
TYPES: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}
RULES: dict[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "required": ("object", lambda value, rule: set(rule) <= set(value)),
    "minItems": ("array", lambda value, rule: len(value) >= rule),
    "maxItems": ("array", lambda value, rule: len(value) <= rule),
    "pattern": ("string", lambda value, rule: re.search(rule, value) is not None),
    "minLength": ("string", lambda value, rule: len(value) >= rule),
    "maxLength": ("string", lambda value, rule: len(value) <= rule),
    "multipleOf": ("number", lambda value, rule: value % rule == 0),
    "minimum": ("number", lambda value, rule: value >= rule),
    "maximum": ("number", lambda value, rule: value <= rule),
    "exclusiveMinimum": ("number", lambda value, rule: value > rule),
    "exclusiveMaximum": ("number", lambda value, rule: value < rule),
}


def is_a(value: Any, name: str) -> bool:
    return isinstance(value, TYPES[name]) and (name == "boolean" or not isinstance(value, bool))


class Validator:
    """As much of JSON Schema as pydantic writes; another keyword is a KeyError, so that nothing passes unseen."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self.schema = schema

    def fits(self, value: Any, schema: dict[str, Any] | None = None) -> bool:
        schema = schema or self.schema
        return all(self.keyword(key, rule, value, schema) for key, rule in schema.items() if key not in NOTES)

    def keyword(self, key: str, rule: Any, value: Any, schema: dict[str, Any]) -> bool:
        if key == "type":
            return any(is_a(value, name) for name in ([rule] if isinstance(rule, str) else rule))
        if key == "$ref":
            return self.fits(value, self.schema["$defs"][rule.removeprefix("#/$defs/")])
        if key == "anyOf":
            return any(self.fits(value, one) for one in rule)
        if key in ("const", "enum"):
            return value in ([rule] if key == "const" else rule)
        if key == "properties":
            return not is_a(value, "object") or all(
                self.fits(value[name], rule[name]) for name in value if name in rule
            )
        if key == "additionalProperties":
            assert rule is False
            return not is_a(value, "object") or set(value) <= set(schema["properties"])
        if key == "items":
            return not is_a(value, "array") or all(self.fits(item, rule) for item in value)
        if key == "prefixItems":
            return not is_a(value, "array") or all(map(self.fits, value, rule))
        kind, holds = RULES[key]
        return not is_a(value, kind) or holds(value, rule)


def test_a_good_recipe_fits_the_schema(schema: dict[str, Any]) -> None:
    assert Validator(schema).fits(GOOD)


@pytest.mark.parametrize("recipe", shipped_recipes(), ids=lambda path: path.stem)
def test_shipped_recipes_fit_the_schema(schema: dict[str, Any], recipe: Path) -> None:
    node, problems = read_yaml(recipe.read_text(encoding="utf-8"), recipe.name)
    assert node is not None
    assert problems == []
    assert Validator(schema).fits(plain(node))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("recipe", 2),
        ("name", "a/b"),
        ("nmae", "x"),
        ("data", None),
        ("data.use", "tons"),
        ("data.clips_per_label", 0),
        ("data.clips_per_lable", 4),
        ("vocoder.channels", "many"),
        ("vocoder.ratios", [1]),
        ("train.part", "data"),
        ("train.steps", 0),
        ("train.objective.learning_rate", 0),
        ("train.keep.evry", 1),
        ("generate.compare", ["griffinlim"]),
        ("generate.source", "tests"),
        ("report.metrics", [{"use": "mel-l1", "x": 1}]),
        ("tiny", []),
    ],
)
def test_a_mistake_does_not_fit_the_schema(schema: dict[str, Any], path: str, value: Any) -> None:
    *above, last = path.split(".")
    recipe = {key: dict(item) if isinstance(item, dict) else item for key, item in GOOD.items()}
    place: Any = recipe
    for key in above:
        place[key] = dict(place[key])
        place = place[key]
    place[last] = value
    assert not Validator(schema).fits(recipe)


def properties(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, definition in {"recipe": schema, **schema["$defs"]}.items():
        for key, value in definition.get("properties", {}).items():
            yield f"{name}.{key}", value


def test_every_key_of_every_block_is_explained(schema: dict[str, Any]) -> None:
    found = dict(properties(schema))
    assert len(found) > 80
    meant = {
        name: schema["$defs"].get(str(value.get("$ref")).removeprefix("#/$defs/"), {}) for name, value in found.items()
    }
    assert [
        name for name, value in found.items() if not (value.get("description") or meant[name].get("description"))
    ] == []


def test_every_reference_leads_somewhere(schema: dict[str, Any]) -> None:
    names = set(re.findall(r'"#/\$defs/([^"]+)"', schema_text(schema)))
    assert names <= set(schema["$defs"])
    assert len(names) > 15


def test_the_file_beside_the_recipes_is_the_schema_of_what_is_shipped(root: Path) -> None:
    shipped = {"builtin", *(path.name.removeprefix("synthkit_") for path in (root / "plugins").glob("synthkit_*"))}
    everything = Catalog.discover()
    catalog = Catalog([loaded for loaded in everything.loaded if loaded.plugin in shipped])
    file = root / "recipes" / "recipe.schema.json"
    assert schema_text(recipe_schema(catalog)) == file.read_text(encoding="utf-8"), (
        f"made anew by: synthkit schema > {file.relative_to(root)}"
    )
