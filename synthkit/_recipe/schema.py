"""The JSON Schema (draft 2020-12) of recipes, for editors: completion, help and a first check while typing.

It is put together from the settings of every component on offer. It knows shapes, names, ranges and helps; what needs more
than one block (specs that must fit, parts that must be trained) only `synthkit check` knows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from synthkit._catalog import Catalog, Offered
from synthkit._recipe.check import Head
from synthkit._recipe.model import FromBlock, GenerateBlock, PrepareBlock, ReportBlock, TrainBlock
from synthkit.interfaces import Kind

_FROM_TEXT = "Folder of a run whose weights, settings and spec are taken, or of one of its checkpoints."
_KEYS: dict[str, tuple[Kind, str, bool]] = {
    "data": ("dataset", "Where the clips come from.", False),
    "features": ("features", "What the sound is turned into; with `from:` only runs, it may be left out.", True),
    "model": ("model", "What makes new features.", True),
    "converter": ("converter", "What makes features of one label into features of another.", True),
    "vocoder": ("vocoder", "What turns features into sound.", True),
}


def recipe_schema(catalog: Catalog) -> dict[str, Any]:
    """The schema of recipes that use the components of `catalog`. A plugin whose settings cannot be imported is left out.

    Raises:
        PluginError: where the settings of a component cannot be imported.
    """
    return _Composer(catalog).schema()


def schema_text(schema: Mapping[str, Any]) -> str:
    """The schema as its file holds it."""
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


class _Composer:
    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.definitions: dict[str, Any] = {}

    def schema(self) -> dict[str, Any]:
        head = self._model(Head)
        properties = dict(head["properties"])
        for key, (kind, description, may_be_from) in _KEYS.items():
            properties[key] = {"description": description, **self._component(kind, may_be_from)}
        train = self._define("train", self._train())
        properties |= {
            "train": {
                "description": "Trainings, one after the other.",
                "anyOf": [train, {"type": "array", "items": train}, {"type": "null"}],
            },
            "prepare": self._core(PrepareBlock),
            "generate": self._core(GenerateBlock, compare=self._list("vocoder", "Vocoders beside the recipe's.", True)),
            "report": self._core(
                ReportBlock,
                metrics=self._list("metric", "The figures.", False),
                embedding={
                    "description": "What clips of a model are compared by.",
                    **self._component("embedding", False, must_use=False),
                },
            ),
            "trackers": self._list("tracker", "Where numbers, sounds and pictures of the training go.", False),
            "tiny": {
                "description": "Overrides that make the recipe its own smoke test (`--tiny`): paths and values.",
                "type": ["object", "null"],
                "examples": [{"data.use": "tones", "train.steps": 4}],
            },
        }
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "Synthkit recipe",
            "type": "object",
            "properties": properties,
            "required": ["recipe", "name", "data"],
            "additionalProperties": False,
            "$defs": dict(sorted(self.definitions.items())),
        }

    def _train(self) -> dict[str, Any]:
        block = self._model(TrainBlock)
        block["properties"]["objective"] = {
            "description": "How it learns; by default the part's own objective.",
            **self._component("objective", False, must_use=False),
        }
        return block

    def _core(self, model: type[BaseModel], **more: Any) -> dict[str, Any]:
        block = self._model(model)
        block["properties"] |= more
        return {"description": (model.__doc__ or "").strip(), **block, "type": ["object", "null"]}

    def _list(self, kind: Kind, description: str, may_be_from: bool) -> dict[str, Any]:
        return {"description": description, "type": ["array", "null"], "items": self._component(kind, may_be_from)}

    def _component(self, kind: Kind, may_be_from: bool, must_use: bool = True) -> dict[str, Any]:
        """A block: a name, or `use:` with that component's settings, or `from:`."""
        offers = self.catalog.offers(kind)
        names = sorted({name for offered in offers for name in self._names(offered, offers)})
        choices: list[dict[str, Any]] = [{"type": "string", "enum": names}] if names else []
        for offered in offers:
            choices.append(self._used(offered, offers, must_use))
        if may_be_from:
            choices += self._from_choices(kind, offers)
        return self._define(f"{kind}{'-or-run' if may_be_from else ''}", {"anyOf": choices})

    def _used(self, offered: Offered, offers: Sequence[Offered], must_use: bool) -> dict[str, Any]:
        block = self._model(self.catalog.config_class(offered))
        names = self._names(offered, offers)
        use = {"description": offered.offer.summary, **({"const": names[0]} if len(names) == 1 else {"enum": names})}
        block["properties"] = {"use": use, **block["properties"]}
        block["required"] = [*(["use"] if must_use else []), *block.get("required", [])]
        block["description"] = offered.offer.summary
        return self._define(f"{offered.offer.kind}:{offered.full_name}", block)

    def _from_choices(self, kind: Kind, offers: Sequence[Offered]) -> list[dict[str, Any]]:
        """Blocks with `from:`; beside that of a part may stand settings, all others being the run's."""
        folder = {"type": "string", "minLength": 1, "description": _FROM_TEXT}
        if kind == "features":
            properties = {"from": folder}
            return [{"type": "object", "properties": properties, "required": ["from"], "additionalProperties": False}]
        written = {"description": _FROM_TEXT, "anyOf": [folder, self._define("from", self._model(FromBlock))]}
        choices = []
        for offered in offers:
            block = self._model(self.catalog.config_class(offered))
            block["properties"] = {"from": written, **block["properties"]}
            block["required"] = ["from"]
            choices.append(self._define(f"from:{offered.offer.kind}:{offered.full_name}", block))
        return choices

    @staticmethod
    def _names(offered: Offered, offers: Sequence[Offered]) -> list[str]:
        """What a recipe may call it: `name`, where no other component has it, and `plugin/name`."""
        alone = sum(other.offer.name == offered.offer.name for other in offers) == 1
        return [*([offered.offer.name] if alone else []), offered.full_name]

    def _model(self, model: type[BaseModel]) -> dict[str, Any]:
        """The schema of a model, its nested models moved to the common definitions."""
        own = f"{model.__module__}.{model.__qualname__}"
        schema = model.model_json_schema(ref_template=f"#/$defs/{own}.{{model}}")
        for name, definition in schema.pop("$defs", {}).items():
            self.definitions[f"{own}.{name}"] = _without_titles(definition)
        plain: dict[str, Any] = _without_titles(schema)
        plain.setdefault("properties", {})
        plain.pop("description", None)
        return plain

    def _define(self, name: str, definition: dict[str, Any]) -> dict[str, Any]:
        key = name.replace("/", ".")  # a slash would have to be escaped in every reference
        self.definitions[key] = definition
        return {"$ref": f"#/$defs/{key}"}


def _without_titles(schema: Any) -> Any:
    """Pydantic gives every field a title that repeats its name."""
    if isinstance(schema, list):
        return [_without_titles(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: value for key, value in schema.items() if not (key == "title" and isinstance(value, str))}
    return {key: _without_titles(value) for key, value in kept.items()}
