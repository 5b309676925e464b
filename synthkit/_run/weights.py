"""Weights of a checkpoint: read with their checksum, and compared name by name and shape by shape with a network's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from synthkit._run.damage import file_damage, generates
from synthkit.errors import CheckpointError


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How weights fit a network.

    >>> print(Fit(network="critic", matched=("a", "b"), missing=("c",), different=("d: [3] there, [4] here",), unused=()))
    critic: 2 match, 1 missing (c), 1 of another shape (d: [3] there, [4] here)
    """

    network: str
    matched: tuple[str, ...]
    """Names of the weights that are in both with the same shape."""
    missing: tuple[str, ...]
    """Those that only the network has."""
    different: tuple[str, ...]
    """Those of different shapes, with the shapes."""
    unused: tuple[str, ...]
    """Those that only the file has."""

    @classmethod
    def of(cls, name: str, network: nn.Module, weights: Mapping[str, Tensor]) -> Fit:
        """Compare the weights with those of the network called `name`."""
        wanted = network.state_dict()
        shared = [key for key in wanted if key in weights]
        return cls(
            network=name,
            matched=tuple(key for key in shared if weights[key].shape == wanted[key].shape),
            missing=tuple(key for key in wanted if key not in weights),
            different=tuple(
                f"{key}: {list(weights[key].shape)} there, {list(wanted[key].shape)} here"
                for key in shared
                if weights[key].shape != wanted[key].shape
            ),
            unused=tuple(key for key in weights if key not in wanted),
        )

    @property
    def complete(self) -> bool:
        """Whether every weight of either has its counterpart."""
        return not (self.missing or self.different or self.unused)

    def __str__(self) -> str:
        groups = {"missing": self.missing, "of another shape": self.different, "not used": self.unused}
        wrong = [f"{len(names)} {words} ({_first(names)})" for words, names in groups.items() if names]
        return f"{self.network}: {', '.join([f'{len(self.matched)} match', *wrong])}"


def learned_networks(meta: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the networks in a checkpoint that have learned; all of them where its `meta.json` does not say.

    >>> learned_networks({"files": {"bands.safetensors": "", "objective.critic.safetensors": "", "training.pt": ""}})
    ('bands',)
    """
    saved = (name.removesuffix(".safetensors") for name in meta["files"] if generates(name))
    return tuple(meta.get("learned", saved))


def read_weights(folder: Path, meta: Mapping[str, Any], file: str) -> dict[str, Tensor]:
    """The tensors in a safetensors file of a checkpoint, on the CPU. Raises `CheckpointError` where it is missing or damaged."""
    verify(folder, meta, file)
    try:
        return load_file(folder / file)
    except SafetensorError as error:
        raise CheckpointError(f"{str(folder / file)!r} is damaged: {error}") from error


def load_networks(folder: Path, meta: Mapping[str, Any], networks: Mapping[str, nn.Module], prefix: str = "") -> None:
    """Load `<prefix><name>.safetensors` into each network; every weight must have its counterpart."""
    for name, network in networks.items():
        weights = read_weights(folder, meta, f"{prefix}{name}.safetensors")
        fit = Fit.of(name, network, weights)
        if not fit.complete:
            raise CheckpointError(f"{str(folder)!r} holds the weights of another network: {fit}")
        network.load_state_dict(weights)


def load_what_fits(name: str, network: nn.Module, weights: Mapping[str, Tensor]) -> Fit:
    """Load the weights that match; the network keeps its own where none does. Returns what matched."""
    fit = Fit.of(name, network, weights)
    network.load_state_dict({key: weights[key] for key in fit.matched}, strict=False)
    return fit


def verify(folder: Path, meta: Mapping[str, Any], file: str) -> None:
    """Raise `CheckpointError` where a file of a checkpoint is not as it was written."""
    expected = meta["files"].get(file)
    if expected is None:
        raise CheckpointError(f"the checkpoint {str(folder)!r} has no {file}")
    wrong = file_damage(folder, file, expected)
    if wrong:
        raise CheckpointError(f"the checkpoint {str(folder)!r} cannot be used: {wrong}; use an older one")


def _first(names: Sequence[str], most: int = 3) -> str:
    more = f"; and {len(names) - most} more" if len(names) > most else ""
    return f"{'; '.join(names[:most])}{more}"
