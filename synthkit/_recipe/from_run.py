"""`from: runs/x`: the component, settings and spec that an earlier run saved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthkit._recipe.model import Part
from synthkit._recipe.yaml import Node, Scalar, Table, plain, read_yaml
from synthkit._run.folder import RunFolder, learned_by, read_meta
from synthkit.errors import CheckpointError, Problem, RunError
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


def saved_part(path: Path, part: Part) -> Saved:
    """The vocoder, model or converter that a run trained, or that is in one checkpoint. Raises `RunError` or `CheckpointError`."""
    checkpoint = source_checkpoint(path, part)
    meta, file = read_meta(checkpoint), checkpoint / "meta.json"
    config, spec = meta.get("config"), meta.get("spec")
    if not (isinstance(config, Mapping) and isinstance(spec, Mapping) and "plugin" in meta and "component" in meta):
        raise CheckpointError(f"{str(file)!r} does not say which component with which settings and spec it holds")
    component = f"{meta['plugin']}/{meta['component']}"
    return Saved(component=component, config=config, spec=FeatureSpec.from_dict(spec), file=file)


def source_checkpoint(path: Path, part: Part) -> Path:
    """The checkpoint of a part that `path` is, or the best one of the run there whose `meta.json` can be read.

    Its weights are not looked at: whoever loads them does that.

    Raises:
        RunError: where `path` is neither, or the run has none.
        CheckpointError: where it is of the other part, or all are damaged.
    """
    if (path / "meta.json").is_file():
        kind = read_meta(path).get("kind")
        if kind != part:
            raise CheckpointError(f"{str(path)!r} is a checkpoint of a {kind}, not of a {part}")
        return path
    run = RunFolder(path).require()
    checkpoints = run.ranked(part)
    if not checkpoints:
        others = [f"a {other}" for other in run.parts()]
        has = f"; it has one of {' and '.join(others)}" if others else ": it trained nothing yet"
        raise RunError(f"the run {str(path)!r} has no checkpoint of a {part}{has}")
    return next(filter(_readable, checkpoints), checkpoints[0])


def has_critic(path: Path, part: Part, objective: str) -> bool:
    """Whether a checkpoint holds networks that only the objective of that name (`plugin/name`) needs."""
    meta = read_meta(source_checkpoint(path, part))
    return learned_by(meta) == objective and any(name.startswith("objective.") for name in meta["files"])


def saved_features(path: Path) -> Saved:
    """The feature extractor of a run, or of the run that a checkpoint is in. Raises `RunError`."""
    run = RunFolder(path.parents[2] if (path / "meta.json").is_file() and len(path.parents) > 2 else path)
    file = run.require().recipe_file
    tree, problems = _read_recipe(file)
    features = tree.get("features") if isinstance(tree, Table) else None
    settings = plain(features) if isinstance(features, Table) else {}
    component = settings.pop("use", None)
    if problems or not isinstance(component, str):
        raise RunError(f"{str(file)!r} does not name the features of its run")
    return Saved(component=component, config=settings, spec=None, file=file)


def recipe_name(run: RunFolder) -> str:
    """The name of the recipe that a run ran; that of its folder where its recipe does not tell. Raises `RunError`."""
    tree, _ = _read_recipe(run.require().recipe_file)
    name = tree.get("name") if isinstance(tree, Table) else None
    return str(name.value) if isinstance(name, Scalar) else run.path.resolve().name


def _read_recipe(file: Path) -> tuple[Node | None, list[Problem]]:
    try:
        return read_yaml(file.read_text(encoding="utf-8"), str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"{str(file)!r} cannot be read: {error}") from error


def _readable(checkpoint: Path) -> bool:
    try:
        read_meta(checkpoint)
    except CheckpointError:
        return False
    return True
