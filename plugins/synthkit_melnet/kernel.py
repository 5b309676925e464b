"""MelNet's recurrent networks on the processor, frame by frame and element by element, all items of a batch at once.

Rows of hidden states are `stride(hidden)` numbers apart and zero beyond `hidden`. Arrays are flat; their shapes are given with `R`
for `B * M` rows, item by item and band by band, and `S` for the stride.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numba

from synthkit_melnet.panels import PANEL, affine, gates_width, gru_panel, lstm_panel, stride
from synthkit_melnet.state import LIMIT

TIME, UP, DOWN, JOIN, FREQUENCY, FREQUENCY_JOIN, CENTRAL, CENTRAL_JOIN = range(8)
"""Columns of `Network.layers`."""


class Network(NamedTuple):
    """The weights of a tier as the kernel reads them; see `packing`."""

    weights: Any
    """All of them, float32."""
    layers: Any
    """`[L, 8]`: where each part of each layer begins in `weights`."""
    time_input: int
    """Where the weights from an element to the time-delayed stack begin."""
    frequency_input: int
    """Where those to the frequency-delayed stack begin."""
    central_input: int
    """Where the map from a frame to the centralised stack begins."""
    head: int
    """Where the output begins."""
    hidden: int
    mixtures: int
    least_std: float
    gru: bool
    """Whether the recurrent networks are GRUs and not LSTMs."""


class Workspace(NamedTuple):
    """States and buffers of a batch of items. What goes on from frame to frame is `time_*` and `central_*` alone."""

    bands: int
    time_states: Any
    """`[L, 2, R, S]`: after the last frame, and where the next ones go."""
    time_cells: Any
    """`[L, R, S]`."""
    central_states: Any
    """`[L, 2, B, S]`."""
    central_cells: Any
    """`[L, B, S]`."""
    stack: Any
    """`[L + 1, R, S]`: the frame's time-delayed stack, its input first."""
    ways: Any
    """`[2, R, S]`: what the networks upwards and downwards found."""
    way_cells: Any
    """`[2, R, S]`."""
    gates: Any
    """`[2, R, gates_width]`: what their inputs add to their gates."""
    central_inputs: Any
    """`[L + 1, B, S]`: what each layer of the frame's centralised stack hears; the last is heard by none."""
    central: Any
    """`[L, B, S]`: what each says."""
    states: Any
    """`[L, 2, B, S]` of the frequency-delayed stack, by turns."""
    cells: Any
    """`[L, B, S]`."""
    stream: Any
    """`[B, S]`: what runs through the frequency-delayed stack."""
    seen: Any
    """`[B, S]`: what a layer of it sees."""
    zeros: Any
    """`[R, S]`."""


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def recurrent(
    net: Network, at: int, inputs: int, states: int, start: Any, start_at: int, start_step: int,
    x: Any, x_at: int, h: Any, h_at: int, c: Any, c_at: int, y: Any, y_at: int, step: int, rows: int,
) -> None:  # fmt: skip
    """One step of the recurrent network at `at`, from states `h` and cells `c` to states `y`, for rows that are `step` apart.

    `inputs` and `states` are how many numbers of `x` and `h` are heard: none where `start` has them already.
    """
    width = gates_width(net.hidden)
    for first in range(0, width, PANEL):
        of_inputs, of_states, unit = at + first * net.hidden, at + (width + first) * net.hidden, first // 4
        if net.gru:
            gru_panel(
                net.weights, of_inputs, inputs, of_states, states, start, start_at + first, start_step,
                x, x_at, h, h_at, c, c_at, y, y_at, step, unit, rows,
            )  # fmt: skip
        else:
            lstm_panel(
                net.weights, of_inputs, inputs, of_states, states, start, start_at + first, start_step,
                x, x_at, h, h_at, c, c_at, y, y_at, step, unit, rows,
            )  # fmt: skip


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def along_time(
    net: Network, at: int, x: Any, x_at: int, h: Any, before: int, after: int, c: Any, c_at: int, rows: int
) -> None:
    """The network at `at` one frame further, for `rows` rows: states at `before` in `h` to states at `after`."""
    step = stride(net.hidden)
    bias = at + 2 * gates_width(net.hidden) * net.hidden
    recurrent(
        net, at, net.hidden, net.hidden, net.weights, bias, 0, x, x_at, h, before, c, c_at, h, after, step, rows
    )  # fmt: skip


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def enter(net: Network, work: Workspace, more: Any, previous: Any, central: bool) -> None:
    """The inputs of the time-delayed and the centralised stack: the frame before, `[R]`, and `more` `[R, S]` for the former."""
    step, bands = stride(net.hidden), work.bands
    for row in range(len(previous)):
        for unit in range(net.hidden):
            place = row * step + unit
            work.stack[place] = more[place] + net.weights[net.time_input + unit] * previous[row]
    if central:
        bias = net.central_input + step * bands
        affine(
            net.weights, net.central_input, step, bands, net.weights, bias, 0,
            previous, 0, bands, work.central_inputs, 0, step, len(previous) // bands,
        )  # fmt: skip


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def along_frequency(net: Network, work: Workspace, layer: int, down: bool, first_item: int, items: int) -> None:
    """The network upwards (or downwards) through the bands of a frame of the time-delayed stack, for some items."""
    step, width = stride(net.hidden), gates_width(net.hidden)
    at = net.layers[layer, DOWN] if down else net.layers[layer, UP]
    bands, rows = work.bands, len(work.zeros) // step
    first, every = first_item * bands, (rows if down else 0)
    x_at, gates_step = (layer * rows + first) * step, width
    gates_at, ways_at = (every + first) * gates_step, (every + first) * step
    # What the inputs add to the gates is known for all bands at once; the states follow one another.
    affine(
        net.weights, at, width, net.hidden, net.weights, at + 2 * width * net.hidden, 0,
        work.stack, x_at, step, work.gates, gates_at, gates_step, items * bands,
    )  # fmt: skip
    work.way_cells[ways_at : ways_at + items * bands * step] = 0
    for number in range(bands):
        band = bands - 1 - number if down else number
        here = ways_at + band * step
        before = here + step if down else here - step
        recurrent(
            net, at, 0, net.hidden if number else 0, work.gates, gates_at + band * gates_step, bands * gates_step,
            work.stack, x_at, work.ways if number else work.zeros, before if number else 0,
            work.way_cells, ways_at, work.ways, here, bands * step, items,
        )  # fmt: skip


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def later(net: Network, work: Workspace, layer: int, turn: int, first: int, rows: int) -> None:
    """The network along time of the time-delayed stack one frame further, for some rows."""
    every, own = len(work.zeros), first * stride(net.hidden)
    along_time(
        net, net.layers[layer, TIME], work.stack, layer * every + own,
        work.time_states, (2 * layer + 1 - turn) * every + own, (2 * layer + turn) * every + own,
        work.time_cells, layer * every + own, rows,
    )  # fmt: skip


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def join(net: Network, work: Workspace, layer: int, turn: int, first: int, rows: int) -> None:
    """The time-delayed stack after `layer`, for some rows: its input, and what its three networks found of it."""
    step = stride(net.hidden)
    every, at = len(work.zeros), net.layers[layer, JOIN]
    before, after = layer * every + first * step, (layer + 1) * every + first * step
    bias = at + 3 * step * net.hidden
    for row in range(rows):
        for unit in range(net.hidden):
            here = row * step + unit
            work.stack[after + here] = work.stack[before + here] + net.weights[bias + unit]
    affine(
        net.weights, at, step, net.hidden, work.stack, after, step,
        work.time_states, (2 * layer + turn) * every + first * step, step, work.stack, after, step, rows,
    )  # fmt: skip
    for way in range(2):
        affine(
            net.weights, at + (1 + way) * step * net.hidden, step, net.hidden, work.stack, after, step,
            work.ways, way * every + first * step, step, work.stack, after, step, rows,
        )  # fmt: skip


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def centralise(net: Network, work: Workspace, layer: int, turn: int) -> None:
    """The centralised stack after `layer`, one frame further, for all items."""
    step = stride(net.hidden)
    every = len(work.stream)
    items, at, project = every // step, net.layers[layer, CENTRAL], net.layers[layer, CENTRAL_JOIN]
    own, bias = layer * every, project + step * net.hidden
    before, after = (2 * layer + 1 - turn) * every, (2 * layer + turn) * every
    along_time(
        net, at, work.central_inputs, own, work.central_states, before, after, work.central_cells, own, items
    )  # fmt: skip
    for row in range(items):
        for unit in range(net.hidden):
            place = own + row * step + unit
            work.central[place] = work.central_inputs[place] + net.weights[bias + unit]
    affine(
        net.weights, project, step, net.hidden, work.central, own, step,
        work.central_states, after, step, work.central, own, step, items,
    )  # fmt: skip
    for place in range(own, own + every):
        work.central_inputs[every + place] = work.central[place]


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def spread(net: Network, work: Workspace) -> None:
    """Add to the time-delayed stack after each layer what the centralised one says of the frame: both are heard together."""
    step, every, rows = stride(net.hidden), len(work.stream), len(work.zeros)
    for layer in range(len(net.layers)):
        for row in range(rows // step):
            heard, said = (layer + 1) * rows + row * step, layer * every + row // work.bands * step
            for unit in range(net.hidden):
                work.stack[heard + unit] += work.central[said + unit]


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def chosen(theta: Any, at: int, net: Network, bias: float, uniform: float, normal: float) -> float:
    """A draw from the mixture `theta[at : at + 3K]` under a bias, as `mixture.Mixture.sample` and `biased` say."""
    count = net.mixtures
    logits = at + 2 * count
    highest = theta[logits : logits + count].max()
    total = 0.0
    for number in range(count):
        total += math.exp((theta[logits + number] - highest) * (1 + bias))
    number, reached = 0, math.exp((theta[logits] - highest) * (1 + bias))
    while number < count - 1 and reached <= uniform * total:
        number += 1
        reached += math.exp((theta[logits + number] - highest) * (1 + bias))
    deviation = (math.exp(theta[at + count + number]) + net.least_std) * math.exp(-bias)
    drawn: float = min(max(theta[at + number] + deviation * normal, -LIMIT), LIMIT)
    return drawn


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def elements(
    net: Network, work: Workspace, more: Any, values: Any, theta: Any, uniform: Any, normal: Any,
    bias: float, given: bool, first: int, items: int,
) -> None:  # fmt: skip
    """The elements of a frame, band after band, for some items: the frequency-delayed stack, the mixture, the draw.

    Args:
        net: The weights.
        work: Its `stack` holds what the other stacks say of each element, layer by layer.
        more: `[R, S]`: what is added to the input of the frequency-delayed stack.
        values: `[R]` elements: written, or read where they are `given`.
        theta: `[R, S']`: the parameters of the mixtures, written; S' is `stride(3K)`.
        uniform: `[R]` numbers in 0..1.
        normal: `[R]` standard normal numbers.
        bias: Of the mixtures.
        given: Whether the elements are there already and only their mixtures are asked for.
        first: First item.
        items: How many.
    """
    hidden, bands, layers = net.hidden, work.bands, len(net.layers)
    step, wide = stride(hidden), stride(3 * net.mixtures)
    every, rows, own = len(work.stream), len(work.zeros), first * step
    for layer in range(layers):
        for place in range(own, own + items * step):
            work.states[2 * layer * every + place] = 0
            work.cells[layer * every + place] = 0
    for band in range(bands):
        for item in range(first, first + items):
            row = item * bands + band
            below = values[row - 1] if band else 0.0
            for unit in range(hidden):
                fresh = more[row * step + unit] + net.weights[net.frequency_input + unit] * below
                work.stream[item * step + unit] = fresh
        for layer in range(layers):
            at, project = net.layers[layer, FREQUENCY], net.layers[layer, FREQUENCY_JOIN]
            before, after = (2 * layer + band % 2) * every + own, (2 * layer + (band + 1) % 2) * every + own
            heard, bias_at = (layer + 1) * rows + band * step, project + step * hidden
            for item in range(first, first + items):
                for unit in range(hidden):
                    place = item * step + unit
                    work.seen[place] = work.stream[place] + work.stack[heard + item * bands * step + unit]
                    work.stream[place] += net.weights[bias_at + unit]
            along_time(net, at, work.seen, own, work.states, before, after, work.cells, layer * every + own, items)
            affine(
                net.weights, project, step, hidden, work.stream, own, step,
                work.states, after, step, work.stream, own, step, items,
            )  # fmt: skip
        row = first * bands + band
        affine(
            net.weights, net.head, wide, hidden, net.weights, net.head + wide * hidden, 0,
            work.stream, own, step, theta, row * wide, bands * wide, items,
        )  # fmt: skip
        if not given:
            for item in range(first, first + items):
                row = item * bands + band
                values[row] = chosen(theta, row * wide, net, bias, uniform[row], normal[row])
