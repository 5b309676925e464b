"""How large a MelNet is, and the memory that training it takes, from its settings alone: no torch, no network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from synthkit_melnet.tiers import shape_of

if TYPE_CHECKING:
    from synthkit_melnet.config import MelNetConfig

_GATES = {"lstm": 4, "gru": 3}
_KEPT_BY_LAYER = {"lstm": 50, "gru": 36}
"""Floats that a layer of both stacks keeps for the gradient, in multiples of `hidden` for each element: four recurrent networks with
their gates, states and outputs. Measured on a CPU, where steps of 300 to 900 MB came within 40 % of the whole."""
_KEPT_BY_EXTRACTION = {"lstm": 45, "gru": 31}
"""The same for the feature extraction."""
_AT_WORK = 10
"""The same for what the backward pass works on."""
_KEPT_BY_MIXTURE = 15
"""Floats for each component of an element's mixture."""
_COPIES, _FLOAT = 4, 4
"""A parameter that learns, its gradient, and the two numbers that RMSProp with momentum, or Adam, keeps of it; bytes each."""


def parameters(config: MelNetConfig, n_mels: int) -> list[int]:
    """Parameters of each tier, without the tables of labels, of which there are as many rows as the data has labels.

    >>> from synthkit_melnet.config import MelNetConfig
    >>> blizzard = parameters(MelNetConfig(preset="blizzard"), 256)
    >>> blizzard[0], sum(blizzard)
    (141856286, 324797108)
    """
    return [_parameters_of(config, tier, n_mels) for tier in range(1, config.tiers + 1)]


def _parameters_of(config: MelNetConfig, tier: int, n_mels: int) -> int:
    hidden, layers, cell = config.hidden, config.layers[tier - 1], config.cell

    def rnn(inputs: int, outputs: int = hidden, gates: int = _GATES[cell]) -> int:
        return gates * outputs * (inputs + outputs + 2)

    def linear(inputs: int, outputs: int = hidden) -> int:
        return (inputs + 1) * outputs

    total = layers * (4 * rnn(hidden) + linear(3 * hidden) + linear(hidden))
    total += 2 * linear(1) + linear(hidden, 3 * config.mixtures) + 2 * hidden * len(config.conditions)
    if tier > 1:
        return total + 4 * rnn(1) + 8 * hidden * hidden
    if config.centralised:
        bands = shape_of(1, config.tiers, 1, n_mels)[1]
        total += linear(bands) + layers * (rnn(hidden) + linear(hidden))
    if config.text is not None:
        reader = 2 * rnn(hidden, hidden // 2, 4) + rnn(2 * hidden, hidden, 4)
        total += reader + len(config.text.alphabet) * hidden + linear(hidden, 3 * config.text.logistics)
    return total


def training_bytes(
    config: MelNetConfig, n_mels: int, batch: int, frames: int, tiers: Sequence[int] | None, checkpointing: bool
) -> int:
    """About how many bytes a step in float32 takes at most, beside what the process takes anyway.

    Args:
        config: the model's settings.
        n_mels: bands of the features.
        batch: crops that go through the network at once.
        frames: frames of each.
        tiers: those that learn, one after the other; None: all.
        checkpointing: whether activations are computed again.
    """
    learning = range(1, config.tiers + 1) if tiers is None else tiers
    weights = sum(
        count * (_COPIES if tier in learning else 1) for tier, count in enumerate(parameters(config, n_mels), 1)
    )
    working = max(_floats_of_step(config, tier, n_mels, batch, frames, checkpointing) for tier in learning)
    return _FLOAT * (weights + working)


def _floats_of_step(config: MelNetConfig, tier: int, n_mels: int, batch: int, frames: int, checkpointing: bool) -> int:
    rows, bands = shape_of(tier, config.tiers, frames, n_mels)
    layers = config.layers[tier - 1]
    by_layer, by_extraction = _KEPT_BY_LAYER[config.cell], _KEPT_BY_EXTRACTION[config.cell] if tier > 1 else 0
    kept = max(by_layer, by_extraction) + 2 * layers if checkpointing else by_layer * layers + by_extraction
    return batch * rows * bands * ((kept + _AT_WORK) * config.hidden + _KEPT_BY_MIXTURE * config.mixtures)
