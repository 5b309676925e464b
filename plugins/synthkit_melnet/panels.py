"""Panels of 64 sums: what the kernel's recurrent networks and linear maps are made of.

The sixteen lanes of a vector are sixteen hidden units, and four vectors of sums, the gates of an LSTM, stay in registers while the
weights go by once, in the order in which they lie in memory. Up to four rows (items, or bands) share a reading of the weights, which
is what the time goes into. A sum is made in the same order whatever rows are beside it, and whatever thread makes it, so that an
item has the same bits in any batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
from numba.extending import register_jitable

from synthkit.lanes import LANES, Index, Lanes, Rows, vectorised

PANEL = 4 * LANES
"""Outputs that are summed at once."""


@register_jitable  # type: ignore[untyped-decorator]
def stride(hidden: int) -> int:
    """Numbers between rows of hidden states: whole panels.

    >>> [stride(hidden) for hidden in (24, 64, 100)]
    [64, 64, 128]
    """
    return (hidden + PANEL - 1) // PANEL * PANEL


@register_jitable  # type: ignore[untyped-decorator]
def gates_width(hidden: int) -> int:
    """Sums of all gates of `hidden` units, filled up to sixteen.

    >>> [gates_width(hidden) for hidden in (10, 24, 64)]
    [64, 128, 256]
    """
    return (hidden + LANES - 1) // LANES * PANEL


def _sums(start: Rows, at: Index, step: Index, rows: int) -> list[Lanes]:
    return [start.load(at + step * row + LANES * part) for row in range(rows) for part in range(4)]


def _plus(sums: list[Lanes], weights: Rows, panel: Index, x: Rows, at: Index, step: Index, count: Index) -> list[Lanes]:
    """Sums of each row, four vectors, and `count` numbers of `x` times the panel's weights for each."""

    def turn(number: Index, carried: Any) -> list[Lanes]:
        column = [weights.load(panel + number * PANEL + LANES * part) for part in range(4)]
        added = []
        for row in range(len(carried) // 4):
            factor = x.spread(at + step * row + number)
            added += [factor.fma(weight, carried[4 * row + part]) for part, weight in enumerate(column)]
        return added

    return count.repeat(sums, turn)


def _in_blocks(rows: Index, block: Callable[[Index, int], None]) -> None:
    """`block(first, count)` for all rows in turn: four at a time, then two, then one."""
    for count, first, times in (
        (4, rows * 0, rows // 4),
        (2, rows // 4 * 4, rows % 4 // 2),
        (1, rows // 2 * 2, rows % 2),
    ):

        def turn(number: Index, _: Any, first: Index = first, count: int = count) -> list[Lanes]:
            block(first + number * count, count)
            return []

        times.repeat([], turn)


def _affine(
    weights: Rows, panel: Index, inputs: Index, start: Rows, start_at: Index, start_step: Index,
    x: Rows, x_at: Index, x_step: Index, y: Rows, y_at: Index, y_step: Index, rows: Index,
) -> None:  # fmt: skip
    def block(first: Index, count: int) -> None:
        sums = _sums(start, start_at + start_step * first, start_step, count)
        sums = _plus(sums, weights, panel, x, x_at + x_step * first, x_step, inputs)
        for number, lanes in enumerate(sums):
            y.store(y_at + y_step * (first + number // 4) + LANES * (number % 4), lanes)

    _in_blocks(rows, block)


def _recurrent(gru: bool) -> Any:
    def recurrent(
        weights: Rows, of_inputs: Index, inputs: Index, of_states: Index, states: Index,
        start: Rows, start_at: Index, start_step: Index, x: Rows, x_at: Index, h: Rows, h_at: Index,
        c: Rows, c_at: Index, y: Rows, y_at: Index, step: Index, unit: Index, rows: Index,
    ) -> None:  # fmt: skip
        def block(first: Index, count: int) -> None:
            place = step * first
            sums = _sums(start, start_at + start_step * first, start_step, count)
            sums = _plus(sums, weights, of_inputs, x, x_at + place, step, inputs)
            sums = _plus(sums, weights, of_states, h, h_at + place, step, states)
            for row in range(count):
                own = place + step * row + unit
                if gru:
                    reset, update, of_input, of_state = sums[4 * row : 4 * row + 4]
                    new, old = reset.sigmoid().fma(of_state, of_input).tanh(), h.load(h_at + own)
                    y.store(y_at + own, update.sigmoid().fma(old - new, new))
                else:
                    enter, forget, new, leave = sums[4 * row : 4 * row + 4]
                    cell = forget.sigmoid().fma(c.load(c_at + own), enter.sigmoid() * new.tanh())
                    c.store(c_at + own, cell)
                    y.store(y_at + own, leave.sigmoid() * cell.tanh())

        _in_blocks(rows, block)

    return vectorised(recurrent)


_affine_panel, lstm_panel, gru_panel = vectorised(_affine), _recurrent(gru=False), _recurrent(gru=True)


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def affine(
    weights: Any, at: int, outputs: int, inputs: int, start: Any, start_at: int, start_step: int,
    x: Any, x_at: int, x_step: int, y: Any, y_at: int, y_step: int, rows: int,
) -> None:  # fmt: skip
    """`y = start + W x` for `rows` rows of `inputs` numbers; `outputs` is a multiple of 64."""
    for first in range(0, outputs, PANEL):
        _affine_panel(
            weights, at + first * inputs, inputs, start, start_at + first, start_step,
            x, x_at, x_step, y, y_at + first, y_step, rows,
        )  # fmt: skip
