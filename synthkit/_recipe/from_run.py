"""`from: runs/x`: the component, settings and spec that an earlier run saved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthkit._recipe.model import Part
from synthkit._recipe.yaml import Table, plain, read_yaml
from synthkit._run.folder import RunFolder, read_meta
from synthkit.errors import CheckpointError, RunError
from synthkit.specs import FeatureSpec


@dataclass(frozen=True, kw_only=True)
class Saved:
    """What a run says of one of its components."""

    component: str
    config: Mapping[str, Any]
    spec: FeatureSpec | None
    """The spec of a part; None for features, whose settings tell it."""
    file: Path
    """Where it was read."""


def saved_part(folder: Path, part: Part) -> Saved:
    """The vocoder or model that the run in `folder` trained. Raises `RunError` or `CheckpointError`."""
    run = RunFolder(folder).require()
    checkpoint = run.best(part)
    if checkpoint is None:
        others = [f"a {other}" for other in run.parts()]
        has = f"; it has one of {' and '.join(others)}" if others else ": it trained nothing yet"
        raise RunError(f"the run {str(folder)!r} has no checkpoint of a {part}{has}")
    meta, file = read_meta(checkpoint), checkpoint / "meta.json"
    config, spec = meta.get("config"), meta.get("spec")
    if not (isinstance(config, Mapping) and isinstance(spec, Mapping) and "plugin" in meta and "component" in meta):
        raise CheckpointError(f"{str(file)!r} does not say which component with which settings and spec it holds")
    component = f"{meta['plugin']}/{meta['component']}"
    return Saved(component=component, config=config, spec=FeatureSpec.from_dict(spec), file=file)


def saved_features(folder: Path) -> Saved:
    """The feature extractor that the run in `folder` used. Raises `RunError`."""
    file = RunFolder(folder).require().recipe_file
    try:
        tree, problems = read_yaml(file.read_text(encoding="utf-8"), str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"{str(file)!r} cannot be read: {error}") from error
    features = tree.get("features") if isinstance(tree, Table) else None
    settings = plain(features) if isinstance(features, Table) else {}
    component = settings.pop("use", None)
    if problems or not isinstance(component, str):
        raise RunError(f"{str(file)!r} does not name the features of its run")
    return Saved(component=component, config=settings, spec=None, file=file)
