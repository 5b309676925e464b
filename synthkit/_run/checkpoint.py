"""Checkpoints: a folder with `meta.json`, one safetensors file per network, and `training.pt` for everything else that learns.

A folder is written under a temporary name, synced and renamed, so that a folder of the right name is complete.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from synthkit import __version__
from synthkit._run.folder import read_meta, step_name
from synthkit._run.learner import Learner
from synthkit.errors import CheckpointError, PluginError, UnknownName
from synthkit.interfaces import Component, GenerativeModel
from synthkit.specs import FeatureSpec
from synthkit.storage import file_hash, write_json
from synthkit.training.engine import seeded

if TYPE_CHECKING:
    from synthkit._catalog import Catalog, Offered
    from synthkit.config import Config

TRAINING = "training.pt"


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What a checkpoint says of the component it holds."""

    offered: Offered
    config: Config
    spec: FeatureSpec
    labels: tuple[str, ...]
    licence: str = ""

    def to_meta(self) -> dict[str, Any]:
        """The identity as `meta.json` holds it."""
        return {
            "format": 1,
            "synthkit": __version__,
            "kind": self.offered.offer.kind,
            "component": self.offered.offer.name,
            "plugin": self.offered.plugin,
            "distribution": self.offered.distribution,
            "version": self.offered.version,
            "config": self.config.model_dump(mode="json"),
            "spec": self.spec.to_dict(),
            "labels": list(self.labels),
            "licence": self.licence,
        }


def save(root: Path, step: int, identity: Identity, learner: Learner, extra: Mapping[str, Any]) -> Path:
    """Write the checkpoint of `step` below `root` and return its folder; one that is already there is replaced.

    `<name>.safetensors` holds what generates: the averaged weights where there is an average. Then the weights that learning
    goes on from are in `live.<name>.safetensors`.
    """
    component, objective, average = learner.component, learner.objective, learner.average
    folder = root / step_name(step)
    temporary = root / f".{folder.name}.{os.getpid()}.tmp"
    temporary.mkdir(parents=True)
    try:
        for name, network in component.networks.items():
            live = "live." if average else ""
            _save_weights(network.state_dict(), temporary / f"{live}{name}.safetensors")
        for name, weights in (average.networks if average else {}).items():
            _save_weights(weights, temporary / f"{name}.safetensors")
        for name, network in objective.networks.items():
            _save_weights(network.state_dict(), temporary / f"objective.{name}.safetensors")
        torch.save(
            {
                "objective": objective.state_dict(),
                "engine": learner.engine.state_dict(objective.optimisers),
                "average": average.updates if average else 0,
                "attempt": learner.attempt,
            },
            temporary / TRAINING,
        )
        files = {file.name: file_hash(file) for file in sorted(temporary.iterdir())}
        write_json(temporary / "meta.json", {**identity.to_meta(), "step": step, **extra, "files": files})
        for file in temporary.iterdir():
            _sync(file)
        if folder.exists():
            shutil.rmtree(folder)
        temporary.replace(folder)
        _sync(root)
    except OSError as error:
        raise CheckpointError(
            f"the checkpoint {str(folder)!r} could not be written: {error}; the earlier ones are whole"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def load_component(
    folder: Path, catalog: Catalog, device: torch.device | str = "cpu"
) -> tuple[Component, dict[str, Any]]:
    """Rebuild the component of a checkpoint from its `meta.json` alone, with its weights, ready to use on `device`.

    Raises:
        CheckpointError: where a file is missing or damaged, its plugin is not installed, or the weights are of another network.
    """
    meta = read_meta(folder)
    offered = _offered(folder, meta, catalog)
    try:
        config = catalog.config_class(offered).model_validate(meta["config"], context={"check_files": False})
    except ValidationError as error:
        raise CheckpointError(
            f"the settings in {str(folder / 'meta.json')!r} do not fit {offered.offer.name!r} of plugin {offered.plugin!r} "
            f"{offered.version}; the checkpoint was written with version {meta['version']}: {error}"
        ) from error
    spec = FeatureSpec.from_dict(meta["spec"])
    arguments: tuple[Any, ...] = (spec, tuple(meta["labels"])) if meta["kind"] == "model" else (spec,)
    with seeded(0):
        component = catalog.build(offered, config, *arguments)
    assert isinstance(component, Component)
    load_networks(folder, meta, component.networks)
    component.to(device)
    for network in component.networks.values():
        network.eval()
    if isinstance(component, GenerativeModel):
        component.labels = tuple(meta["labels"])
    return component, meta


def restore(folder: Path, learner: Learner) -> int:
    """Put a training back to where it was when the checkpoint was written, and return the step.

    Raises:
        CheckpointError: where a file is missing or damaged, or holds the state of another training.
    """
    meta, average = read_meta(folder), learner.average
    load_networks(folder, meta, learner.component.networks, prefix="live." if average else "")
    load_networks(folder, meta, learner.objective.networks, prefix="objective.")
    _verify(folder, meta, TRAINING)
    state = torch.load(folder / TRAINING, map_location="cpu", weights_only=True)
    learner.objective.load_state_dict(state["objective"])
    learner.engine.load_state_dict(state["engine"], learner.objective.optimisers)
    learner.attempt = int(state["attempt"])
    if average is not None:
        average.updates = int(state["average"])
        for name, weights in average.networks.items():
            _verify(folder, meta, f"{name}.safetensors")
            for key, value in load_file(folder / f"{name}.safetensors").items():
                weights[key].copy_(value)
    return int(meta["step"])


def load_networks(folder: Path, meta: Mapping[str, Any], networks: Mapping[str, nn.Module], prefix: str = "") -> None:
    """Load `<prefix><name>.safetensors` into each network, strictly."""
    for name, network in networks.items():
        file = f"{prefix}{name}.safetensors"
        _verify(folder, meta, file)
        try:
            weights = load_file(folder / file)
        except SafetensorError as error:
            raise CheckpointError(f"{str(folder / file)!r} is damaged: {error}") from error
        _check_fit(folder / file, network, weights)
        network.load_state_dict(weights)


def _check_fit(file: Path, network: nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    wanted = network.state_dict()
    wrong = [f"missing {name}" for name in wanted if name not in weights]
    wrong += [f"unexpected {name}" for name in weights if name not in wanted]
    wrong += [
        f"{name} is {list(weights[name].shape)}, not {list(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in weights and weights[name].shape != tensor.shape
    ]
    if wrong:
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise CheckpointError(f"{str(file)!r} holds the weights of another network: {'; '.join(wrong[:5])}{more}")


def _offered(folder: Path, meta: Mapping[str, Any], catalog: Catalog) -> Offered:
    try:
        return catalog.find(meta["kind"], f"{meta['plugin']}/{meta['component']}")
    except (UnknownName, PluginError) as error:
        raise CheckpointError(
            f"{str(folder)!r} needs the {meta['kind']} {meta['component']!r} of plugin {meta['plugin']!r} "
            f"(distribution {meta['distribution'] or 'none: a file given with --plugin'} {meta['version']}): {error}"
        ) from error


def _verify(folder: Path, meta: Mapping[str, Any], name: str) -> None:
    file = folder / name
    expected = meta["files"].get(name)
    if expected is None or not file.is_file():
        raise CheckpointError(f"the checkpoint {str(folder)!r} has no {name}")
    if file_hash(file) != expected:
        raise CheckpointError(
            f"{str(file)!r} is damaged: its checksum is not the one in meta.json; use an older checkpoint"
        )


def _save_weights(weights: Mapping[str, torch.Tensor], file: Path) -> None:
    # Clones, because safetensors refuses tensors that share memory.
    save_file({name: tensor.detach().cpu().clone().contiguous() for name, tensor in weights.items()}, file)


def _sync(path: Path) -> None:
    if path.is_dir() and os.name == "nt":  # Windows cannot sync a folder
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
