"""Laws of objectives on other engines: a batch in pieces, a batch that two processes share, half precision."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from synthkit.errors import ConfigError
from synthkit.interfaces import Batch, Objective
from synthkit.testing.check import distance, expect
from synthkit.training.engine import Engine, Numerics, Terms, gradients, seeded

Build = Callable[[Engine], Objective]
NEARLY = 1e-3
"""What rounding may change in a gradient beside the largest of its update, and in a term."""


class Recording(Engine):
    """Remembers the gradient of every update."""

    def __init__(self, numerics: Numerics | None = None) -> None:
        super().__init__("cpu", numerics)
        self.gradients: list[list[Tensor]] = []

    def _reduce(self, optimiser: torch.optim.Optimizer) -> None:
        self.gradients.append([gradient.clone() for gradient in gradients(optimiser)])


class Partner(Recording):
    """One of two processes that share a batch, as far as the sums of both gradients are known."""

    def __init__(self, share: float, sums: list[list[Tensor]]) -> None:
        super().__init__()
        self.share = share
        self._sums = sums

    def _reduce(self, optimiser: torch.optim.Optimizer) -> None:
        super()._reduce(optimiser)
        if len(self.gradients) > len(self._sums):
            raise _Unknown
        for gradient, total in zip(gradients(optimiser), self._sums[len(self.gradients) - 1], strict=True):
            gradient.copy_(total)


class _Unknown(Exception):
    """The gradient of this update is not known from both processes yet."""


def first_step(build: Build, engine: Engine, batch: Batch) -> Terms:
    """The terms of the first step of a new objective, as the core's loop makes it."""
    with seeded(1):
        objective = build(engine)
    engine.begin(1)
    with seeded(1), engine.autocast():
        return objective.step(batch)


def in_pieces(build: Build, batch: Batch) -> None:
    """Expect of a batch in two pieces what the whole gives, or a `ConfigError`."""
    whole, pieces = Recording(), Recording(Numerics(accumulate=2))
    told = first_step(build, whole, batch)
    try:
        said = first_step(build, pieces, batch)
    except ConfigError:
        return
    _expect_same(whole.gradients, told, pieces.gradients, said)


def shared_by_two(build: Build, batch: Batch) -> None:
    """Expect of two processes that share a batch what one makes of all of it.

    The two are not run side by side: each makes its step until an update needs the other's gradient; once both have come so far,
    they begin again and know that one.
    """
    whole = Recording()
    told = first_step(build, whole, batch)
    cut = len(batch) // 2
    halves = (batch.piece(0, cut), batch.piece(cut, len(batch)))
    sums: list[list[Tensor]] = []
    while True:
        partners = [Partner(len(half) / len(batch), sums) for half in halves]
        one, other = (_try_step(build, partner, half) for partner, half in zip(partners, halves, strict=True))
        if one is not None and other is not None:
            break
        alike = one is None and other is None and len(partners[0].gradients[-1]) == len(partners[1].gradients[-1])
        expect(alike, "the two do not make the same updates")
        sums.append([a + b for a, b in zip(partners[0].gradients[-1], partners[1].gradients[-1], strict=True)])
    expect(set(one) == set(other), f"one has the terms {set(one)}, the other {set(other)}")
    said = {name: partners[0].share * one[name] + partners[1].share * other[name] for name in one}
    _expect_same(whole.gradients, told, sums, said)


def in_half_precision(build: Build, batch: Batch) -> None:
    """Expect finite terms and gradients, in float32, of two steps with bf16."""
    engine = Recording(Numerics(precision="bf16"))
    with seeded(1):
        objective = build(engine)
    for number in (1, 2):
        engine.begin(number)
        with seeded(number), engine.autocast():
            terms = objective.step(batch)
        for name, value in terms.items():
            expect(bool(value.isfinite()), f"the term {name!r} of step {number} is {float(value)}")
    for gradient in (gradient for update in engine.gradients for gradient in update):
        expect(gradient.dtype == torch.float32, f"a gradient is {gradient.dtype}")
        expect(bool(gradient.isfinite().all()), "a gradient is not finite")


def _try_step(build: Build, partner: Partner, half: Batch) -> Terms | None:
    try:
        return first_step(build, partner, half)
    except _Unknown:
        return None


def _expect_same(
    one: list[list[Tensor]], told: Mapping[str, Tensor], other: list[list[Tensor]], said: Mapping[str, Tensor]
) -> None:
    """Expect the same updates from nearly the same gradients, and nearly the same terms."""
    expect(len(one) == len(other), f"{len(other)} updates are made, not {len(one)}")
    for number, (expected, found) in enumerate(zip(one, other, strict=True), 1):
        expect(len(expected) == len(found), f"update {number} has {len(found)} gradients, not {len(expected)}")
        largest = max((float(gradient.abs().max()) for gradient in expected), default=0.0)
        apart = max((distance(a, b) for a, b in zip(expected, found, strict=True)), default=0.0)
        expect(
            apart <= NEARLY * largest,
            f"a gradient of update {number} differs by {apart:.2g}, the largest is {largest:.2g}",
        )
    expect(set(told) == set(said), f"the terms are {set(said)}, not {set(told)}")
    for name, value in told.items():
        apart = abs(float(value) - float(said[name]))
        expect(
            apart <= NEARLY * max(1.0, abs(float(value))),
            f"{name!r} is {float(said[name]):.4g}, not {float(value):.4g}",
        )
