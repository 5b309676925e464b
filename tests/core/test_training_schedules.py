"""How learning rates change, by laws: where each shape begins and ends, and that it never rises once it is warm."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest

from synthkit.training.schedules import Schedule

SHAPES = ["constant", "step", "exponential", "cosine"]


def curve(updates: int = 100, **numbers: Any) -> list[float]:
    schedule = Schedule(**numbers)
    return [schedule.factor_at(update) for update in range(updates)]


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_begins_at_the_full_rate_never_rises_and_stays_above_its_end(shape: Any) -> None:
    factors = curve(shape=shape, steps=60, every=10, factor=0.5, final=0.1)
    assert factors[0] == 1
    assert all(a >= b for a, b in pairwise(factors))
    assert min(factors) >= 0.1


@pytest.mark.parametrize("shape", ["step", "exponential", "cosine"])
def test_every_shape_that_falls_ends_at_its_end(shape: Any) -> None:
    assert curve(shape=shape, steps=60, every=10, factor=0.5, final=0.1)[-1] == pytest.approx(0.1)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("warmup", [1, 7, 20])
def test_warming_up_rises_in_equal_steps_from_more_than_nothing(shape: Any, warmup: int) -> None:
    cold, warm = curve(shape=shape, steps=60, every=10), curve(shape=shape, steps=60, every=10, warmup=warmup)
    ratios = [a / b for a, b in zip(warm[:warmup], cold[:warmup], strict=True)]
    assert ratios == pytest.approx([(number + 1) / warmup for number in range(warmup)])
    assert warm[warmup:] == cold[warmup:]


def test_step_falls_by_its_factor_every_so_many_updates() -> None:
    factors = curve(40, shape="step", every=10, factor=0.5)
    assert factors == [0.5 ** (update // 10) for update in range(40)]


def test_exponential_falls_by_its_factor_over_so_many_updates_and_evenly() -> None:
    factors = curve(41, shape="exponential", every=10, factor=0.5)
    assert factors[::10] == pytest.approx([0.5**number for number in range(5)])
    assert [b / a for a, b in pairwise(factors)] == pytest.approx([0.5**0.1] * 40)


def test_cosine_is_half_way_in_the_middle_and_symmetric() -> None:
    factors = curve(101, shape="cosine", steps=100, final=0.2)
    assert factors[50] == pytest.approx(0.6)
    assert [a + b for a, b in zip(factors, reversed(factors), strict=True)] == pytest.approx([1.2] * 101)
    assert factors[25] == pytest.approx(0.2 + 0.8 * (1 + math.cos(math.pi / 4)) / 2)


def test_cosine_stays_at_its_end() -> None:
    assert set(curve(20, shape="cosine", steps=5, final=0.25)[5:]) == {0.25}
