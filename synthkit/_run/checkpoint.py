"""Checkpoints: a folder with `meta.json`, one safetensors file per network, and `training.pt` for everything else that learns.

A folder is written under a temporary name, synced and renamed, so that a folder of the right name is complete; what has been
damaged since is found by its checksums (`synthkit._run.damage`).
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import torch
from pydantic import ValidationError
from safetensors.torch import save as serialised
from torch import Tensor

from synthkit import __version__
from synthkit._run.damage import last_good as last_good
from synthkit._run.damage import tidy
from synthkit._run.folder import read_meta, step_name
from synthkit._run.learner import Learner
from synthkit._run.weights import learned_networks, load_networks, read_weights, verify
from synthkit.errors import CheckpointError, PluginError, UnknownName
from synthkit.interfaces import Component, Objective
from synthkit.offers import part_arguments
from synthkit.specs import FeatureSpec
from synthkit.storage import write_json
from synthkit.training.engine import Engine, seeded

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

    Raises:
        CheckpointError: where it cannot be written; what was there before is whole.
    """
    return save_files(root, step, identity, _contents(learner), {"learned": learner.learned(), **extra})


def save_files(
    root: Path, step: int, identity: Identity, contents: Mapping[str, Mapping[str, Any]], extra: Mapping[str, Any]
) -> Path:
    """Write a checkpoint of files that are at hand, as `save` does: state dicts by the name of their file. Raises as `save`."""
    folder, temporary = root / step_name(step), root / f".{step_name(step)}.tmp"
    try:
        tidy(root)
        temporary.mkdir(parents=True)
        files = {name: _write(temporary / name, content) for name, content in contents.items()}
        write_json(temporary / "meta.json", {**identity.to_meta(), "step": step, **extra, "files": files})
        _sync_folder(temporary)
        _put_in_place(temporary, folder)
    except OSError as error:
        raise CheckpointError(_not_written(folder, _size(contents), error)) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def load_component(
    folder: Path, catalog: Catalog, device: torch.device | str = "cpu", config: Config | None = None
) -> tuple[Component, dict[str, Any]]:
    """Rebuild the component of a checkpoint from its `meta.json` alone, with its weights, ready to use on `device`.

    Args:
        folder: The checkpoint.
        catalog: Where its plugin is found.
        device: Where it computes.
        config: Settings to use instead of the saved ones, for the same weights.

    Raises:
        CheckpointError: where a file is missing or damaged, its plugin is not installed, or the weights are of another network.
    """
    meta = read_meta(folder)
    offered = _offered(folder, meta, catalog)
    saved = _saved_settings(folder, meta, offered, meta["config"], catalog)
    spec = FeatureSpec.from_dict(meta["spec"])
    arguments = part_arguments(meta["kind"], spec, tuple(meta["labels"]))
    with seeded(0):
        component = catalog.build(offered, config or saved, *arguments)
    assert isinstance(component, Component)
    load_networks(folder, meta, component.networks)
    component.to(device)
    for network in component.networks.values():
        network.eval()
    return component, meta


def load_objective(
    folder: Path, catalog: Catalog, device: torch.device | str = "cpu"
) -> tuple[Objective, dict[str, Any]]:
    """Rebuild how the component of a checkpoint learned, with its critic as it was then: to hear with, not to learn.

    Every network is in evaluation mode, and none of them takes a gradient.

    Raises:
        CheckpointError: as `load_component`, and where the component did not learn in a run.
    """
    component, meta = load_component(folder, catalog, device)
    learned = meta.get("objective")
    if not isinstance(learned, Mapping):
        raise CheckpointError(f"{str(folder)!r} does not say how it learned: no run has trained it")
    try:
        offered = catalog.find("objective", learned["name"])
    except (UnknownName, PluginError) as error:
        raise CheckpointError(f"{str(folder)!r} learned by {learned['name']!r}, which is not there: {error}") from error
    config = _saved_settings(folder, meta, offered, learned["config"], catalog)
    with seeded(0):
        objective = catalog.build(offered, config, component, Engine(device))
    assert isinstance(objective, Objective)
    load_networks(folder, meta, objective.networks, prefix="objective.")
    for network in (*component.networks.values(), *objective.networks.values()):
        network.eval().requires_grad_(False)
    return objective, meta


def restore(folder: Path, learner: Learner) -> int:
    """Put a training back to where it was when the checkpoint was written, and return the step.

    Raises:
        CheckpointError: where a file is missing or damaged, or holds the state of another training.
    """
    meta, average = read_meta(folder), learner.average
    load_networks(folder, meta, learner.component.networks, prefix="live." if average else "")
    load_networks(folder, meta, learner.objective.networks, prefix="objective.")
    state = read_training(folder, meta)
    try:
        learner.objective.load_state_dict(state["objective"])
        learner.engine.load_state_dict(state["engine"], learner.objective.optimisers)
        learner.attempt, learner.watch = int(state["attempt"]), dict(state["watch"])
        learner.taught = frozenset(learned_networks(meta))
        if average is not None:
            average.updates = int(state["average"])
            for name, weights in average.networks.items():
                for key, value in read_weights(folder, meta, f"{name}.safetensors").items():
                    weights[key].copy_(value)
    except (KeyError, ValueError, TypeError, RuntimeError) as error:
        raise CheckpointError(
            f"{str(folder / TRAINING)!r} holds the state of another training: {type(error).__name__}: {error}"
        ) from error
    return int(meta["step"])


def read_training(folder: Path, meta: Mapping[str, Any]) -> dict[str, Any]:
    """What `training.pt` of a checkpoint holds. Nothing in it is run: it may hold tensors, numbers, text and plain containers.

    Raises:
        CheckpointError: where it is missing or damaged, or holds anything else.
    """
    verify(folder, meta, TRAINING)
    try:
        state = torch.load(folder / TRAINING, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise CheckpointError(
            f"{str(folder / TRAINING)!r} is not loaded: it holds more than tensors, numbers and plain containers, and could run code"
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError) as error:
        raise CheckpointError(f"{str(folder / TRAINING)!r} is damaged: {error}") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{str(folder / TRAINING)!r} does not hold the state of a training")
    return state


def _offered(folder: Path, meta: Mapping[str, Any], catalog: Catalog) -> Offered:
    try:
        return catalog.find(meta["kind"], f"{meta['plugin']}/{meta['component']}")
    except (UnknownName, PluginError) as error:
        raise CheckpointError(
            f"{str(folder)!r} needs the {meta['kind']} {meta['component']!r} of plugin {meta['plugin']!r} "
            f"(distribution {meta['distribution'] or 'none: a file given with --plugin'} {meta['version']}): {error}"
        ) from error


def _saved_settings(folder: Path, meta: Mapping[str, Any], offered: Offered, settings: Any, catalog: Catalog) -> Config:
    """Settings from a checkpoint, for what `offered` builds now."""
    try:
        return catalog.config_class(offered).model_validate(settings, context={"check_files": False})
    except ValidationError as error:
        raise CheckpointError(
            f"the settings in {str(folder / 'meta.json')!r} do not fit {offered.offer.name!r} of plugin {offered.plugin!r} "
            f"{offered.version}; the checkpoint was written with version {meta['version']}: {error}"
        ) from error


def _contents(learner: Learner) -> dict[str, Mapping[str, Any]]:
    """What each file of a checkpoint holds: weights, and in `training.pt` the rest."""
    average, live = learner.average, "live." if learner.average else ""
    contents: dict[str, Mapping[str, Any]] = {}
    for name, network in learner.component.networks.items():
        contents[f"{live}{name}.safetensors"] = network.state_dict()
    for name, weights in (average.networks if average else {}).items():
        contents[f"{name}.safetensors"] = weights
    for name, network in learner.objective.networks.items():
        contents[f"objective.{name}.safetensors"] = network.state_dict()
    contents[TRAINING] = {
        "objective": learner.objective.state_dict(),
        "engine": learner.engine.state_dict(learner.objective.optimisers),
        "average": average.updates if average else 0,
        "attempt": learner.attempt,
        "watch": learner.watch,
    }
    return contents


def _write(file: Path, content: Mapping[str, Any]) -> str:
    """Write one file of a checkpoint, synced, and return its SHA-256."""
    with file.open("xb") as stream, _hashing(stream) as hashed:
        if file.name == TRAINING:
            torch.save(content, cast(BinaryIO, hashed))
        else:
            hashed.write(serialised(_separate(content)))
        stream.flush()
        os.fsync(stream.fileno())
    return hashed.digest.hexdigest()


class _Hashing:
    """A stream that hashes what is written to it, so that no file has to be read again."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.digest = hashlib.sha256()
        self.error: OSError | None = None

    def write(self, content: bytes) -> int:
        try:
            self._stream.write(content)
        except OSError as error:
            self.error = error
            raise
        self.digest.update(content)
        return len(content)

    def flush(self) -> None:
        self._stream.flush()


@contextmanager
def _hashing(stream: BinaryIO) -> Iterator[_Hashing]:
    """Torch answers an error of a stream with one of its own, which does not say that the disk is full."""
    hashed = _Hashing(stream)
    try:
        yield hashed
    except RuntimeError as error:
        raise hashed.error or error from error


def _separate(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights on the CPU; safetensors refuses tensors that share memory, so each but the first of them is copied."""
    seen: set[int] = set()
    separate: dict[str, Tensor] = {}
    for name, weight in weights.items():
        tensor = weight.detach().cpu().contiguous()
        memory = tensor.untyped_storage().data_ptr()
        separate[name] = tensor.clone() if memory in seen else tensor
        seen.add(memory)
    return separate


def _put_in_place(temporary: Path, folder: Path) -> None:
    """Rename the finished folder. One that is already there keeps a name by which it is found until the new one is in place."""
    replaced = folder.with_name(f"{folder.name}.replaced")
    if folder.exists():
        folder.replace(replaced)
    temporary.replace(folder)
    _sync_folder(folder.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot sync a folder
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _not_written(folder: Path, needed: int, error: OSError) -> str:
    text = (
        f"the checkpoint {str(folder)!r} could not be written ({error.strerror or error}); the earlier ones are whole"
    )
    if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return text
    free = shutil.disk_usage(folder.parent).free
    return (
        f"{text}. It needs {_megabytes(needed)}, and {_megabytes(free)} are free there: make room or keep fewer "
        "checkpoints (`keep: {last: 1}` of the `train:` block, and no `every`), then go on with --resume"
    )


def _size(content: Any) -> int:
    """Bytes of all tensors in nested containers."""
    if isinstance(content, Tensor):
        return content.numel() * content.element_size()
    parts = content.values() if isinstance(content, Mapping) else content if isinstance(content, list | tuple) else ()
    return sum(map(_size, parts))


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB"
