"""The weights of a tier in the order in which the kernel reads them: one array, in panels of 64 outputs."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from torch import Tensor, nn

from synthkit.lanes import LANES
from synthkit_melnet.kernel import (
    CENTRAL,
    CENTRAL_JOIN,
    DOWN,
    FREQUENCY,
    FREQUENCY_JOIN,
    JOIN,
    TIME,
    UP,
    Network,
)
from synthkit_melnet.network import Tier
from synthkit_melnet.panels import PANEL, gates_width, stride
from synthkit_melnet.state import stacks


def packed(tier: Tier) -> Network:
    """A copy of the weights that the kernel uses; what a frame as a whole is conditioned on stays with the tier."""
    array = _Array(tier.parameters())
    layers = np.zeros((len(tier.time_layers), 8), dtype=np.int64)
    time_layers, frequency_layers, central_layers = stacks(tier)
    for number, (time, frequency) in enumerate(zip(time_layers, frequency_layers, strict=True)):
        for column, network in ((TIME, time.time), (UP, time.up), (DOWN, time.down), (FREQUENCY, frequency.up)):
            layers[number, column] = array.recurrent(network)
        layers[number, JOIN] = array.affine(time.project, parts=3)
        layers[number, FREQUENCY_JOIN] = array.affine(frequency.project)
    for number, central in enumerate(central_layers):
        layers[number, CENTRAL] = array.recurrent(central.time)
        layers[number, CENTRAL_JOIN] = array.affine(central.project)
    time_input, frequency_input = (
        array.add(_numbers(linear.weight)) for linear in (tier.time_input, tier.frequency_input)
    )
    central_input = array.affine(tier.central_input) if central_layers else 0
    head = array.affine(tier.head)
    return Network(
        weights=array.joined(),
        layers=layers,
        time_input=time_input,
        frequency_input=frequency_input,
        central_input=central_input,
        head=head,
        hidden=tier.head.in_features,
        mixtures=tier.head.out_features // 3,
        least_std=tier.least_std,
        gru=isinstance(time_layers[0].time, nn.GRU),
    )


class _Array:
    """Pieces one after the other, and where each begins."""

    def __init__(self, weights: Iterable[Tensor]) -> None:
        """Room for all of `weights` with what fills them up; memory that is not written to is not used."""
        room = sum((4 * len(weight) // 3 + PANEL) * (weight[0].numel() + 1) for weight in weights)
        self._numbers = np.empty(room, dtype=np.float32)
        self._length = 0

    def add(self, *pieces: np.ndarray) -> int:
        """Where the first of `pieces` begins."""
        first = self._length
        for piece in pieces:
            self._numbers[self._length : self._length + piece.size].reshape(piece.shape)[...] = piece
            self._length += piece.size
        return first

    def affine(self, linear: nn.Linear, parts: int = 1) -> int:
        """A linear map of `parts` inputs one after the other: panels `[64, I]` of each part, transposed, and the bias."""
        weight, bias = _numbers(linear.weight), _numbers(linear.bias)
        outputs = stride(len(weight))
        padded = np.zeros((outputs, weight.shape[1]), dtype=np.float32)
        padded[: len(weight)] = weight
        panels = [part.reshape(-1, PANEL, part.shape[1]).transpose(0, 2, 1) for part in np.split(padded, parts, axis=1)]
        return self.add(*panels, np.pad(bias, (0, outputs - len(bias))))

    def recurrent(self, network: nn.Module) -> int:
        """A recurrent network: panels of the gates from the inputs, from the states, and the bias.

        The four sums of an LSTM are its gates as torch orders them. Those of a GRU are its reset and its update gate, and what
        the input and the state each give to the new value.
        """
        parameters = (getattr(network, f"{kind}_l0") for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        of_inputs, of_states, input_bias, state_bias = map(_numbers, parameters)
        if isinstance(network, nn.GRU):
            of_inputs, input_bias = _four(of_inputs, empty=3), _four(input_bias, empty=3)
            of_states, state_bias = _four(of_states, empty=2), _four(state_bias, empty=2)
        return self.add(_gates(of_inputs), _gates(of_states), _gates((input_bias + state_bias)[:, None]))

    def joined(self) -> np.ndarray:
        """All pieces as one array."""
        return self._numbers[: self._length]


def _numbers(parameter: Tensor) -> np.ndarray:
    return parameter.detach().float().cpu().numpy()


def _four(parts: np.ndarray, empty: int) -> np.ndarray:
    """Reset, update and new value of a GRU as four parts, of which the one at `empty` is zero."""
    three = np.split(parts, 3)
    return np.concatenate([*three[:empty], np.zeros_like(three[0]), *three[empty:]])


def _gates(weight: np.ndarray) -> np.ndarray:
    """`[4H, I]`, gate by gate, to panels `[H / 16, I, 4, 16]`: the gates of sixteen units beside each other."""
    hidden, inputs = len(weight) // 4, weight.shape[1]
    units = gates_width(hidden) // 4
    padded = np.zeros((4, units, inputs), dtype=np.float32)
    padded[:, :hidden] = weight.reshape(4, hidden, inputs)
    return padded.reshape(4, -1, LANES, inputs).transpose(1, 3, 0, 2)
