"""Components that are ready to use: from a run or a checkpoint folder, or by name where nothing has to be learned."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from synthkit._catalog import Catalog
from synthkit._recipe.model import Block, Origin, Part
from synthkit._run.checkpoint import load_component
from synthkit._run.damage import Say, best_good, damage
from synthkit._run.folder import RunFolder, read_meta
from synthkit._run.weights import learned_networks
from synthkit.config import Config, PartConfig
from synthkit.errors import CheckpointError, ConfigError
from synthkit.interfaces import Component, Vocoder
from synthkit.offers import part_arguments
from synthkit.specs import FeatureSpec
from synthkit.training.engine import seeded


def find_checkpoint(path: str | Path, part: Part | None, say: Say, *, learning: bool = False) -> Path:
    """The checkpoint folder that `path` is, or the best whole one of the run that `path` is.

    Args:
        path: A run folder or a checkpoint folder.
        part: Which part of a run; None takes its model or converter, or its vocoder where it trained neither.
        say: Is told where a checkpoint is damaged and another is used.
        learning: Whether what only learning needs has to be whole, too.

    Raises:
        RunError: where `path` is neither.
        CheckpointError: where that part was not trained, the checkpoint is of the other part, or what is there is damaged.
    """
    folder = Path(path).expanduser()
    if (folder / "meta.json").is_file():
        return _named(folder, part, learning)
    run = RunFolder(folder).require()
    trained = run.parts()
    wanted: str | None = part or next(iter(trained), None)
    found = None if wanted is None else best_good(run, wanted, say, learning=learning)
    if found is None:
        has = f"it has a {' and a '.join(trained)}" if trained else "it has trained nothing yet"
        raise CheckpointError(f"the run {str(path)!r} has no checkpoint{f' of a {part}' if part else ''}: {has}")
    return found


def _named(folder: Path, part: Part | None, learning: bool) -> Path:
    """A checkpoint that the user has named: it, or none."""
    wrong = damage(folder, learning=learning)
    if wrong is not None:
        beside = sorted(set(folder.parent.glob("step-*")) - {folder}, reverse=True)
        whole = next((other for other in beside if damage(other, learning=learning) is None), None)
        advice = f"{str(whole)!r} is whole" if whole else "there is no whole one beside it"
        raise CheckpointError(f"the checkpoint {str(folder)!r} cannot be used: {wrong}; {advice}")
    kind = read_meta(folder)["kind"]
    if part not in (None, kind):
        raise CheckpointError(f"{str(folder)!r} is a checkpoint of a {kind}, not of a {part}")
    return folder


def load_for_use(
    folder: Path, catalog: Catalog, device: torch.device | str = "cpu", config: Config | None = None, *, say: Say
) -> tuple[Component, dict[str, Any]]:
    """`load_component` for who wants to hear it: `say` is told which of its networks nothing has taught yet."""
    component, meta = load_component(folder, catalog, device, config)
    learned = learned_networks(meta)
    fresh = [name for name, network in component.networks.items() if name not in learned and _can_learn(network)]
    if fresh:
        say(
            f"{', '.join(fresh)} of {str(folder)!r} did not learn in that run, and what comes of it is as good as noise: "
            "`synthkit assemble` puts runs together in which different networks have learned"
        )
    return component, meta


def _can_learn(network: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in network.parameters())


def load_vocoder(path: str | Path, catalog: Catalog, device: torch.device | str = "cpu", *, say: Say) -> Vocoder:
    """The vocoder that a run trained. Raises `RunError` or `CheckpointError`."""
    component, _ = load_for_use(find_checkpoint(path, "vocoder", say), catalog, device, say=say)
    assert isinstance(component, Vocoder)
    return component


def part_from(block: Block, origin: Origin, catalog: Catalog, device: torch.device | str, *, say: Say) -> Component:
    """A part with the weights of the run that its `from:` names. Raises `RunError` or `CheckpointError`."""
    folder = find_checkpoint(origin.path, block.part, say)
    return load_for_use(folder, catalog, device, block.config, say=say)[0]


def fresh_part(block: Block, spec: FeatureSpec, labels: tuple[str, ...], catalog: Catalog) -> Component:
    """A part without trained weights; the caller seeds those it has. One with `from:` has the spec of its run."""
    arguments = part_arguments(block.kind, block.spec or spec, labels)
    component = catalog.build(block.offered, block.config, *arguments)
    assert isinstance(component, Component)
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
