"""Arithmetic on vectors of 16 numbers, held against numpy in double precision."""

from __future__ import annotations

from collections.abc import Callable

import numba
import numpy as np
import pytest

from synthkit.lanes import LANES, Index, Lanes, Rows, vectorised


def compiled(function: Callable[[Lanes], Lanes]) -> Callable[[np.ndarray], np.ndarray]:
    """`function` over an array whose length is a multiple of 16."""

    def one(numbers: Rows, out: Rows, place: Index) -> None:
        out.store(place, function(numbers.load(place)))

    intrinsic = vectorised(one)

    @numba.njit  # type: ignore[untyped-decorator]
    def all_of(numbers, out):  # type: ignore[no-untyped-def]
        for place in range(0, len(numbers), LANES):
            intrinsic(numbers, out, place)

    def run(numbers: np.ndarray) -> np.ndarray:
        out = np.zeros_like(numbers)
        all_of(numbers, out)
        return out

    return run


def numbers(low: float, high: float) -> np.ndarray:
    return np.linspace(low, high, 16 * LANES * 50, dtype=np.float32)


def test_exponentials_are_right_to_two_units_in_the_last_place() -> None:
    x = numbers(-87, 88)
    exact = np.exp(x.astype(np.float64))
    apart = np.abs(compiled(Lanes.exp)(x) - exact) / np.spacing(exact.astype(np.float32))
    assert apart.max() < 2


def test_exponentials_overflow_at_neither_end() -> None:
    x = np.full(LANES, 1e30, dtype=np.float32)
    x[1::2] = -1e30
    made = compiled(Lanes.exp)(x)
    assert np.isfinite(made).all()
    assert made[0] == pytest.approx(np.exp(88.0), rel=1e-6)
    assert made[1] == pytest.approx(np.exp(-87.0), rel=1e-6)


@pytest.mark.parametrize(
    ("function", "exact"), [(Lanes.tanh, np.tanh), (Lanes.sigmoid, lambda x: 1 / (1 + np.exp(-x)))]
)
def test_gates_are_right_to_the_last_places_of_one(
    function: Callable[[Lanes], Lanes], exact: Callable[[np.ndarray], np.ndarray]
) -> None:
    x = numbers(-30, 30)
    assert np.abs(compiled(function)(x) - exact(x.astype(np.float64))).max() < 4e-7


@pytest.mark.parametrize("turns", [0, 1, 7])
def test_a_repeated_turn_carries_its_lanes_and_knows_its_number(turns: int) -> None:
    def sums(numbers: Rows, out: Rows, count: Index) -> None:
        def turn(number: Index, carried: object) -> list[Lanes]:
            total, doubled = carried  # type: ignore[misc]
            return [total + numbers.load(number * LANES), doubled * 2.0]

        zero = count * 0
        total, doubled = count.repeat([numbers.load(zero) * 0.0, numbers.load(zero) * 0.0 + 1.0], turn)
        out.store(zero, total)
        out.store(zero + LANES, doubled)

    intrinsic = vectorised(sums)

    @numba.njit  # type: ignore[untyped-decorator]
    def run(numbers, out, count):  # type: ignore[no-untyped-def]
        intrinsic(numbers, out, count)

    rows = np.random.default_rng(3).standard_normal((8, LANES)).astype(np.float32)
    out = np.zeros((2, LANES), dtype=np.float32)
    run(rows.ravel(), out.reshape(-1), turns)
    assert out[0] == pytest.approx(rows[:turns].sum(axis=0), abs=1e-6)
    assert (out[1] == 2.0**turns).all()
