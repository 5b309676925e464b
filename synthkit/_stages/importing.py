"""Checkpoints of other projects: read without running anything in them, recognised by a plugin, written as a run."""

from __future__ import annotations

import re
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from synthkit._catalog import Catalog, Offered
from synthkit._recipe.dump import dump_yaml
from synthkit._run.checkpoint import Identity, save_files
from synthkit._run.folder import RunFolder, write_text
from synthkit._run.weights import Fit
from synthkit._stages.pulling import importer_of
from synthkit.errors import CheckpointError, RunError, UnknownName, nearest
from synthkit.foreign import Foreign, Imported
from synthkit.interfaces import Component, Objective
from synthkit.offers import part_arguments
from synthkit.training.engine import Engine, seeded

_MOST_LINES = 20


@dataclass(frozen=True, kw_only=True)
class Written:
    """A run that was made of a foreign checkpoint."""

    run: RunFolder
    imported: Imported
    parameters: int
    remarks: tuple[str, ...]


def read_foreign(file: Path) -> Foreign:
    """All tensors, numbers and texts of a checkpoint: safetensors, or what `torch.save` wrote in either of its formats.

    Raises:
        CheckpointError: where it cannot be read, is damaged, or holds anything else. Nothing in it is run.
    """
    if not file.is_file():
        raise CheckpointError(f"there is no file {str(file)!r}")
    weights: dict[str, Tensor] = {}
    notes: dict[str, object] = {}
    for name, value in _leaves(_safely(file)):
        if isinstance(value, Tensor):
            weights[name] = value
        elif isinstance(value, int | float | str):
            notes[name] = value

    def beside(name: str) -> Foreign | None:
        return read_foreign(file.parent / name) if (file.parent / name).is_file() else None

    return Foreign(file=file, weights=weights, notes=notes, beside=beside)


def write_run(foreign: Foreign, offered: Offered, catalog: Catalog, target: Path, licence: str) -> Written:
    """The run in folder `target` that a foreign checkpoint becomes; it is whole or not there.

    Raises:
        CheckpointError: where the plugin does not know the file, or its weights do not fit the network: each that does not is listed.
        RunError: where the folder is there already.
        PluginError: where the plugin's importer cannot be used.
    """
    run = RunFolder(target)
    if run.path.exists():
        raise RunError(f"{str(target)!r} is there already: name another folder with -o, or delete it")
    imported = importer_of(offered).read(foreign)
    arguments = part_arguments(offered.offer.kind, imported.spec, imported.labels)
    with seeded(0):
        component = catalog.build(offered, imported.config, *arguments)
    assert isinstance(component, Component)
    remarks = [*imported.remarks, *_check_fit(foreign, component, imported)]
    critics, more = _critics(catalog, offered, component, imported)
    contents: dict[str, Mapping[str, Tensor]] = {
        f"{name}.safetensors": {key: imported.networks[name][key] for key in network.state_dict()}
        for name, network in component.networks.items()
    }
    contents |= {f"objective.{name}.safetensors": weights for name, weights in critics.items()}
    temporary = RunFolder(run.path.with_name(f".{run.name}.tmp"))
    shutil.rmtree(temporary.path, ignore_errors=True)
    identity = Identity(
        offered=offered, config=imported.config, spec=imported.spec, labels=imported.labels, licence=licence
    )
    try:
        part = offered.offer.kind
        save_files(
            temporary.checkpoint_root(part),
            imported.step,
            identity,
            contents,
            _origin(catalog, offered, foreign, imported),
        )
        write_text(temporary.recipe_file, _recipe(run, offered, foreign, imported))
        temporary.path.replace(run.path)
    finally:
        shutil.rmtree(temporary.path, ignore_errors=True)
    parameters = sum(it.numel() for network in component.networks.values() for it in network.parameters())
    return Written(run=run, imported=imported, parameters=parameters, remarks=(*remarks, *more))


def find_importing(name: str, catalog: Catalog) -> Offered:
    """The vocoder or model of that name that takes foreign checkpoints. Raises `UnknownName`."""
    offers = [it for it in catalog.offers() if it.offer.imports is not None]
    found = [it for it in offers if name in (it.offer.name, it.full_name)]
    if len(found) != 1:
        hint = nearest(name, [it.full_name if "/" in name or found else it.offer.name for it in found or offers])
        raise UnknownName(f"there is no component {name!r} that takes checkpoints of other projects; {hint}")
    return found[0]


def _safely(file: Path) -> Any:
    """What a file holds, as tensors, numbers, texts and plain containers."""
    try:
        with file.open("rb") as stream:
            head = stream.read(9)
        if (
            head[8:] == b"{"
        ):  # eight bytes of length, then JSON: safetensors; no pickle and no zip archive has a brace there
            return load_file(file)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of pickle protocols: what it cannot read, it refuses
            return torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"{str(file)!r} cannot be read: {error.strerror or error}") from error
    except SafetensorError as error:
        raise CheckpointError(f"{str(file)!r} is damaged: {error}") from error
    except UnpicklingError as error:
        found = re.search(
            r"[Uu]nsupported (?:global|class|operand|instruction)[^\n]*?(?:GLOBAL )?([\w.]+\.[\w.]+)", str(error)
        )
        if "legacy .tar" in str(error):
            raise CheckpointError(
                f"{str(file)!r} is of PyTorch 0.1, from 2017; save it anew with a later one"
            ) from error
        if found:
            raise CheckpointError(
                f"{str(file)!r} is not loaded, and nothing in it was run: it asks for {found[1]!r}, and only tensors, numbers, texts "
                "and plain containers are taken. Save its state_dict() alone"
            ) from error
        raise CheckpointError(f"{str(file)!r} is damaged, or no checkpoint of PyTorch: {_first_line(error)}") from error
    except Exception as error:  # a damaged pickle may raise anything
        raise CheckpointError(f"{str(file)!r} is damaged, or no checkpoint of PyTorch: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0][:200] if lines else type(error).__name__


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, object]]:
    """What stands in nested containers, each with its path."""
    if isinstance(value, Mapping):
        pairs: Iterator[tuple[object, object]] = iter(value.items())
    elif isinstance(value, list | tuple):
        pairs = iter(enumerate(value))
    else:
        yield name, value
        return
    for key, inner in pairs:
        yield from _leaves(inner, f"{name}.{key}" if name else str(key))


def _check_fit(foreign: Foreign, component: Component, imported: Imported) -> list[str]:
    """Raise where a network lacks a weight, or has one of another shape; returns a remark on weights that nobody needs."""
    lines, remarks = [], []
    for name, network in component.networks.items():
        weights = imported.networks.get(name, {})
        fit = Fit.of(name, network, weights)
        lines += [f"{name}: {key} is missing" for key in fit.missing] + [f"{name}: {text}" for text in fit.different]
        lines += [f"{name}: {key} is not finite" for key in fit.matched if not bool(weights[key].isfinite().all())]
        if fit.unused:
            remarks.append(f"not used: {'; '.join(_bounded(fit.unused))}")
    if lines:
        what = f"the weights of {str(foreign.file)!r} ({imported.lineage}) do not fit:"
        raise CheckpointError("\n  ".join([what, *_bounded(lines)]))
    return remarks


def _critics(
    catalog: Catalog, offered: Offered, component: Component, imported: Imported
) -> tuple[Mapping[str, Mapping[str, Tensor]], list[str]]:
    """The objective's networks where all their weights fit; else none, and a remark."""
    if imported.objective is None or not imported.critics:
        return {}, []
    with seeded(0):
        objective = catalog.build(_objective(catalog, offered), imported.objective, component, Engine())
    assert isinstance(objective, Objective)
    fits = [Fit.of(name, network, imported.critics.get(name, {})) for name, network in objective.networks.items()]
    if all(fit.complete for fit in fits):
        return {fit.network: imported.critics[fit.network] for fit in fits}, []
    return {}, [f"left out, because they do not fit: {'; '.join(str(fit) for fit in fits if not fit.complete)}"]


def _objective(catalog: Catalog, offered: Offered) -> Offered:
    assert offered.offer.objective is not None
    return catalog.find("objective", offered.offer.objective)


def _origin(catalog: Catalog, offered: Offered, foreign: Foreign, imported: Imported) -> dict[str, Any]:
    """What `meta.json` says beyond the identity."""
    origin: dict[str, Any] = {"imported": {"file": foreign.file.name, "lineage": imported.lineage}}
    if imported.objective is not None:
        name = _objective(catalog, offered).full_name
        origin["objective"] = {"name": name, "config": imported.objective.model_dump(mode="json")}
    return origin


def _recipe(run: RunFolder, offered: Offered, foreign: Foreign, imported: Imported) -> str:
    """The recipe that trains it further, on sound that its user names."""
    fields = imported.spec.to_dict()
    train: dict[str, Any] = {"part": offered.offer.kind, "steps": 100_000}
    if imported.objective is not None:
        train["objective"] = {
            "use": offered.offer.objective,
            **imported.objective.model_dump(mode="json", exclude_defaults=True),
        }
    recipe = {
        "recipe": 1,
        "name": f"{run.name}-tuned",
        "data": {"use": "folder", "root": "my-sound"},
        "features": {"use": "log-mel", "preset": None, **fields, "norm": fields["norm"] or "none"},
        offered.offer.kind: {"from": str(run.path)},
        "train": train,
    }
    head = f"Imported from {foreign.file.name}: {imported.lineage}. This recipe trains it further: name a folder of sound as data."
    return f"# {head.encode('unicode_escape').decode()}\n{dump_yaml(recipe)}"


def _bounded(lines: Sequence[str]) -> list[str]:
    """The first lines, and how many more there are."""
    more = len(lines) - _MOST_LINES
    return [*lines[:_MOST_LINES], *([f"and {more} more"] if more > 0 else [])]
