"""Networks of one component that learned in different runs, put together into one run."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from synthkit._catalog import Catalog
from synthkit._recipe.dump import dump_yaml
from synthkit._recipe.yaml import plain, read_yaml
from synthkit._run.checkpoint import Identity, load_component, save_files
from synthkit._run.damage import Say
from synthkit._run.folder import RunFolder, read_meta, write_text
from synthkit._run.weights import learned_networks, read_weights
from synthkit._stages.loading import find_checkpoint
from synthkit.errors import CheckpointError, RunError
from synthkit.specs import FeatureSpec

Weights = Mapping[str, Tensor]

_ONE = {"kind": "kind of component", "component": "component", "plugin": "plugin"}
"""What of a checkpoint has to be the same everywhere before its settings are looked at."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """One of the runs: the checkpoint of it that is used."""

    run: RunFolder
    checkpoint: Path
    meta: Mapping[str, Any]

    @property
    def learned(self) -> tuple[str, ...]:
        """Names of the networks that have learned in it."""
        return learned_networks(self.meta)

    def __str__(self) -> str:
        return repr(self.run.name)


@dataclass(frozen=True, kw_only=True)
class Assembled:
    """The run that others became."""

    run: RunFolder
    sources: Mapping[str, Source]
    """Where each network that learned comes from."""


def assemble(paths: Sequence[Path], catalog: Catalog, target: Path, say: Say) -> Assembled:
    """The run in folder `target` whose component has each network from the run that taught it; it is whole or not there.

    The best whole checkpoint of each run is used, of its model where it has one. A network that has learned in several of
    them has to be the same in all, as one is that was passed on by `from:`.

    Raises:
        RunError: where the folder is there already, or a path is no run.
        CheckpointError: where the runs are not of one component with one config, spec and labels, a network has learned in
            none of them, or differently in two.
    """
    target_run = RunFolder(target)
    if target_run.path.exists():
        raise RunError(f"{str(target)!r} is there already: name another folder with -o, or delete it")
    sources = [_source(path, say) for path in paths]
    for first, other in combinations(sources, 2):
        _require_same(first, other)
    first = sources[0]
    component, meta = load_component(first.checkpoint, catalog)
    chosen = {
        name: _choose(name, any(True for _ in network.parameters()), sources)
        for name, network in component.networks.items()
    }
    offered = catalog.find(meta["kind"], f"{meta['plugin']}/{meta['component']}")
    identity = Identity(
        offered=offered,
        config=catalog.config_class(offered).model_validate(meta["config"], context={"check_files": False}),
        spec=component.spec,
        labels=tuple(meta["labels"]),
        licence="; ".join(dict.fromkeys(licence for it in sources if (licence := str(it.meta.get("licence", ""))))),
    )
    contents = {_file(name): _weights(source, name) for name, source in chosen.items()}
    learned = {name: source for name, source in chosen.items() if name in source.learned}
    told = {name: {"run": it.run.name, "step": int(it.meta["step"])} for name, it in learned.items()}
    temporary = RunFolder(target_run.path.with_name(f".{target_run.name}.tmp"))
    shutil.rmtree(temporary.path, ignore_errors=True)
    try:
        step = max(int(source.meta["step"]) for source in sources)
        root = temporary.checkpoint_root(identity.offered.offer.kind)
        save_files(root, step, identity, contents, {"learned": list(learned), "assembled": told})
        write_text(temporary.recipe_file, _recipe(target_run, first))
        temporary.path.replace(target_run.path)
    finally:
        shutil.rmtree(temporary.path, ignore_errors=True)
    return Assembled(run=target_run, sources=learned)


def _source(path: Path, say: Say) -> Source:
    run = RunFolder(path).require()
    checkpoint = find_checkpoint(path, None, say)
    return Source(run=run, checkpoint=checkpoint, meta=read_meta(checkpoint))


def _require_same(one: Source, other: Source) -> None:
    """Raise `CheckpointError` where two runs trained something else than parts of the same component."""
    for key, what in _ONE.items():
        if one.meta[key] != other.meta[key]:
            raise CheckpointError(
                f"{one} and {other} cannot be one: the {what} is {one.meta[key]!r} in {one} and {other.meta[key]!r} in {other}"
            )
    specs = FeatureSpec.from_dict(one.meta["spec"]), FeatureSpec.from_dict(other.meta["spec"])
    differences = {
        **_differences("config", one.meta["config"], other.meta["config"]),
        **{f"spec.{name}": pair for name, pair in specs[0].differences(specs[1]).items()},
        **_differences("labels", one.meta["labels"], other.meta["labels"]),
    }
    if differences:
        listed = "; ".join(
            f"{name} is {_text(a)} in {one} and {_text(b)} in {other}" for name, (a, b) in list(differences.items())[:4]
        )
        raise CheckpointError(
            f"{one} and {other} cannot be one: {listed}. Train with the same settings, features and labels"
        )


def _differences(path: str, one: Any, other: Any) -> dict[str, tuple[Any, Any]]:
    """What differs between two nested values, by path.

    >>> _differences("config", {"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}})
    {'config.a.c': (2, 3)}
    """
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        found: dict[str, tuple[Any, Any]] = {}
        for key in dict.fromkeys([*one, *other]):
            found |= _differences(f"{path}.{key}", one.get(key), other.get(key))
        return found
    return {} if one == other else {path: (one, other)}


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) or "none" if isinstance(value, list | tuple) else str(value)


def _choose(name: str, learns: bool, sources: Sequence[Source]) -> Source:
    """The run that a network is taken from: the one in which it has learned, where it has weights to learn."""
    having = [source for source in sources if name in source.learned] if learns else list(sources)
    if not having:
        taught = "; ".join(f"{source} learned {_text(source.learned)}" for source in sources)
        raise CheckpointError(f"no run has learned {name!r} ({taught}): train it, and name its run beside the others")
    for other in having[1:]:
        if not _equal(_weights(having[0], name), _weights(other, name)):
            what = (
                f"{name!r} has learned in {having[0]} and differently in {other}"
                if learns
                else (f"{name!r}, which does not learn, differs between {having[0]} and {other}")
            )
            advice = "leave one of them out" if learns else "train the others `from:` the first, so that they share it"
            raise CheckpointError(f"{what}: {advice}")
    return having[0]


def _equal(one: Weights, other: Weights) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[key]) for key, value in one.items())


def _weights(source: Source, name: str) -> Weights:
    return read_weights(source.checkpoint, source.meta, _file(name))


def _file(name: str) -> str:
    return f"{name}.safetensors"


def _recipe(target: RunFolder, first: Source) -> str:
    """The first run's recipe with the assembled component instead of one that is trained: it makes clips and a report."""
    tree, _ = read_yaml(first.run.recipe_file.read_text(encoding="utf-8"), str(first.run.recipe_file))
    recipe = {key: value for key, value in (plain(tree) if tree else {}).items() if key != "train"}
    part = str(first.meta["kind"])
    for name in first.run.parts():
        recipe[name] = {"from": str(target.path if name == part else first.run.path)}
    return dump_yaml({**recipe, "name": target.name})
