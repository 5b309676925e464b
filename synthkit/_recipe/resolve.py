"""The resolved recipe: every default, override and absolute path written out. It runs again as it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from synthkit._catalog import Catalog, Offered
from synthkit._recipe.dump import dump_yaml
from synthkit._recipe.model import Block, Origin, Recipe


def with_resolved(recipe: Recipe, catalog: Catalog) -> Recipe:
    """The same recipe with its `resolved` text."""
    return dataclasses.replace(recipe, resolved=dump_yaml(_tree(recipe, catalog)))


def _tree(recipe: Recipe, catalog: Catalog) -> dict[str, Any]:
    def block(one: Block) -> Any:
        if one.origin is not None:
            return {"from": _from(one.origin), **one.origin.changes}
        settings = one.config.model_dump(mode="json")
        name = _name(one.offered, catalog)
        return {"use": name, **settings} if settings else name

    def mapping(one: Block) -> Mapping[str, Any]:
        value = block(one)
        return {"use": value} if isinstance(value, str) else value

    tree: dict[str, Any] = {
        "recipe": 1,
        "name": recipe.name,
        "description": recipe.description,
        "seed": recipe.seed,
        "data": mapping(recipe.data),
        "features": mapping(recipe.features),
    }
    if recipe.model is not None:
        tree["model"] = mapping(recipe.model)
    if recipe.converter is not None:
        tree["converter"] = mapping(recipe.converter)
    if recipe.vocoder is not None:
        tree["vocoder"] = mapping(recipe.vocoder)
    trainings = [{**one.settings.model_dump(mode="json"), "objective": mapping(one.objective)} for one in recipe.train]
    if trainings:
        tree["train"] = trainings[0] if len(trainings) == 1 else trainings
    tree["prepare"] = recipe.prepare.model_dump(mode="json")
    tree["generate"] = {**recipe.generate.model_dump(mode="json"), "compare": [block(one) for one in recipe.compare]}
    tree["report"] = {
        **recipe.report.model_dump(mode="json"),
        "metrics": [block(one) for one in recipe.metrics],
        "embedding": mapping(recipe.embedding),
    }
    tree["trackers"] = [block(one) for one in recipe.trackers]
    return tree


def _from(origin: Origin) -> Any:
    choices = {name: getattr(origin, name) for name in ("strict", "optimisers")}
    path = str(origin.path)
    return path if choices == {"strict": True, "optimisers": False} else {"run": path, **choices}


def _name(offered: Offered, catalog: Catalog) -> str:
    """The short name where it is the only one, else `plugin/name`."""
    same = [it for it in catalog.offers(offered.offer.kind) if it.offer.name == offered.offer.name]
    return offered.offer.name if len(same) == 1 else offered.full_name
