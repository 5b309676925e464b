"""Fine-tuning: a new training that starts with the weights of another run, and says what it took."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from synthkit._run.checkpoint import read_training
from synthkit._run.damage import Say
from synthkit._run.folder import learned_by, read_meta
from synthkit._run.weights import Fit, learned_networks, load_what_fits, read_weights
from synthkit.errors import CheckpointError
from synthkit.interfaces import Objective


@dataclass(frozen=True, kw_only=True)
class Source:
    """The checkpoint that a training starts from, and what is taken from it (see `FromBlock`)."""

    checkpoint: Path
    strict: bool = True
    optimisers: bool = False


@dataclass(frozen=True, kw_only=True)
class Newcomer:
    """The fresh training that takes the weights."""

    objective: Objective
    """How it learns, with its component."""
    name: str
    """Full name of the objective, `plugin/name`."""
    labels: tuple[str, ...]
    """Of the data set."""
    critic_warmup: int | None
    """Steps in which a fresh critic learns alone first; None where the objective knows no such thing."""


def take_over(source: Source, new: Newcomer, say: Say) -> frozenset[str]:
    """Give a fresh training the weights of a checkpoint: its component's, its critic's where the objective was the same.

    `say` is told what matched, what was missing and what had another shape. Returns the names of the component's networks
    that had learned there.

    Raises:
        CheckpointError: where the weights do not all fit and `strict` is set, the labels are others, or a file is damaged.
    """
    meta = read_meta(source.checkpoint)
    _check_labels(source, new, meta)
    networks = _networks(source, new, meta)
    weights = {file: _weights(source.checkpoint, meta, file) for file in networks}
    fits = [Fit.of(Path(file).stem, network, weights[file]) for file, network in networks.items()]
    if source.strict and not all(fit.complete for fit in fits):
        wrong = "; ".join(str(fit) for fit in fits if not fit.complete)
        raise CheckpointError(
            f"the weights of {str(source.checkpoint)!r} do not fit what is trained here: {wrong}. Use the settings of that run, or "
            "take what fits with `from: {run: ..., strict: false}`"
        )
    for file, network in networks.items():
        load_what_fits(file, network, weights[file])
    say(f"weights of {str(source.checkpoint)!r}: {'; '.join(map(str, fits))}")
    fresh = [name for name in new.objective.networks if f"objective.{name}.safetensors" not in networks]
    if fresh:
        say(
            f"it has no {' and no '.join(fresh)} of {new.name!r}, so here starts a fresh one{_warmup(new.critic_warmup)}"
        )
    if source.optimisers:
        say(f"states of optimisers: {_take_optimisers(source, new, meta)}")
    return frozenset(learned_networks(meta)) & new.objective.component.networks.keys()


def _networks(source: Source, new: Newcomer, meta: Mapping[str, Any]) -> dict[str, nn.Module]:
    """The networks that take weights, by the file that has them."""
    files = meta["files"]
    # Optimisers go on from the weights that they were learning, not from an average of them.
    live = "live." if source.optimisers and any(name.startswith("live.") for name in files) else ""
    component, objective = new.objective.component, new.objective
    networks = {f"{live}{name}.safetensors": network for name, network in component.networks.items()}
    if learned_by(meta) == new.name:
        critics = {f"objective.{name}.safetensors": network for name, network in objective.networks.items()}
        networks |= {file: network for file, network in critics.items() if file in files}
    return networks


def _weights(checkpoint: Path, meta: Mapping[str, Any], file: str) -> dict[str, Tensor]:
    return read_weights(checkpoint, meta, file) if file in meta["files"] else {}


def _check_labels(source: Source, new: Newcomer, meta: Mapping[str, Any]) -> None:
    theirs = tuple(meta["labels"])
    if source.strict and meta["kind"] == "model" and theirs != new.labels:
        raise CheckpointError(
            f"the model in {str(source.checkpoint)!r} has learned {_labels(theirs)}, and the data set has {_labels(new.labels)}: what "
            "it knows of one label would become another's. Use a data set with the same labels, or take what fits with "
            "`from: {run: ..., strict: false}`"
        )


def _labels(labels: Sequence[str]) -> str:
    return f"the labels {', '.join(labels)}" if labels else "no labels"


def _warmup(steps: int | None) -> str:
    if steps is None:
        return ""
    if steps == 0:
        return "; `objective: {critic_warmup: 1000}` lets it learn alone first"
    return f", which learns alone for the first {steps} steps (`critic_warmup`)"


def _take_optimisers(source: Source, new: Newcomer, meta: Mapping[str, Any]) -> str:
    """Load the states of the optimisers where the parameter's shape is the same; returns how many, in words."""
    if learned_by(meta) != new.name:
        raise CheckpointError(
            f"the optimisers in {str(source.checkpoint)!r} belong to the objective {learned_by(meta)!r}, not to {new.name!r}: "
            "leave `optimisers: true` out"
        )
    state = read_training(source.checkpoint, meta)
    told = []
    for name, optimiser in new.objective.optimisers.items():
        try:
            saved = state["objective"]["optimisers"][name]["state"]
            taken = _fitting_states(optimiser, saved)
        except (KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{str(source.checkpoint)!r} has no state of the optimiser {name!r}") from error
        optimiser.load_state_dict({"state": taken, "param_groups": optimiser.state_dict()["param_groups"]})
        told.append(f"{name}: {len(taken)} of {len(_parameters(optimiser))}")
    return "; ".join(told)


def _fitting_states(optimiser: torch.optim.Optimizer, saved: Mapping[int, Mapping[str, Any]]) -> dict[int, Any]:
    """The saved states, by the number of the parameter, in which each tensor has its parameter's shape or is a scalar."""
    return {
        number: state
        for number, parameter in enumerate(_parameters(optimiser))
        if (state := saved.get(number)) is not None
        and all(value.shape in ((), parameter.shape) for value in state.values() if isinstance(value, Tensor))
    }


def _parameters(optimiser: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimiser.param_groups for parameter in group["params"]]
