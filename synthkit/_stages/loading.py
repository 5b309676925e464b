"""Components that are ready to use: from a run or a checkpoint folder, or by name where nothing has to be learned."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch

from synthkit._catalog import Catalog
from synthkit._run.checkpoint import load_component
from synthkit._run.folder import RunFolder, read_meta
from synthkit.config import PartConfig
from synthkit.errors import CheckpointError, ConfigError
from synthkit.interfaces import Vocoder
from synthkit.specs import FeatureSpec
from synthkit.training.engine import seeded

Part = Literal["vocoder", "model"]


def find_checkpoint(path: str | Path, part: Part | None = None) -> Path:
    """The checkpoint folder that `path` is, or the best one of the run that `path` is.

    Args:
        path: A run folder or a checkpoint folder.
        part: Which part of a run; None takes its model, or its vocoder where it trained no model.

    Raises:
        RunError: where `path` is neither.
        CheckpointError: where that part was not trained, or the checkpoint is of the other part.
    """
    folder = Path(path).expanduser()
    if (folder / "meta.json").is_file():
        kind = read_meta(folder)["kind"]
        if part not in (None, kind):
            raise CheckpointError(f"{str(path)!r} is a checkpoint of a {kind}, not of a {part}")
        return folder
    run = RunFolder(folder).require()
    trained = run.parts()
    wanted: str | None = part or next(iter(trained), None)
    found = None if wanted is None else run.best(wanted)
    if found is None:
        has = f"it has a {' and a '.join(trained)}" if trained else "it has trained nothing yet"
        raise CheckpointError(f"the run {str(path)!r} has no checkpoint{f' of a {part}' if part else ''}: {has}")
    return found


def load_vocoder(path: str | Path, catalog: Catalog, device: torch.device | str = "cpu") -> Vocoder:
    """The vocoder that a run trained. Raises `RunError` or `CheckpointError`."""
    component, _ = load_component(find_checkpoint(path, "vocoder"), catalog, device)
    assert isinstance(component, Vocoder)
    return component


def named_vocoder(
    name: str, spec: FeatureSpec, catalog: Catalog, settings: Mapping[str, Any] | None = None, *, seed: int = 0
) -> Vocoder:
    """A vocoder as its plugin builds it: ready where it learns nothing, else with first weights drawn from `seed`.

    Raises:
        UnknownName: nobody offers it.
        ConfigError: wrong settings, or a spec that it cannot work with.
    """
    offered, config = catalog.configure("vocoder", name, settings or {})
    assert isinstance(config, PartConfig)
    config.check_spec(spec)
    with seeded(seed):
        vocoder = catalog.build(offered, config, spec)
    assert isinstance(vocoder, Vocoder)
    return vocoder


def require_ready(name: str, catalog: Catalog) -> None:
    """Raise `ConfigError` where the vocoder of that name has to be trained before it is of use."""
    if catalog.find("vocoder", name).offer.objective is not None:
        raise ConfigError(f"the vocoder {name!r} has to be trained: give the folder of a run that trained it")
