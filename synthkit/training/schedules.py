"""How learning rates change: a factor of the objective's own learning rate, by the number of updates its optimiser has made."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Shape = Literal["constant", "step", "exponential", "cosine"]


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A shape and its numbers (see `train: schedule:` of a recipe).

    >>> Schedule(shape="step", every=10, factor=0.5).factor_at(25)
    0.25
    >>> Schedule(shape="cosine", steps=100).factor_at(50), Schedule(warmup=4).factor_at(0)
    (0.5, 0.25)
    """

    shape: Shape = "constant"
    warmup: int = 0
    """Updates in which the factor rises linearly to 1; the first is made with `1 / warmup`."""
    every: int = 100_000
    factor: float = 0.5
    final: float = 0.0
    steps: int = 1
    """Updates of the whole training: where the cosine ends."""

    def factor_at(self, updates: int) -> float:
        """The factor of the next update, when `updates` have been made."""
        rise = min(1.0, (updates + 1) / self.warmup) if self.warmup else 1.0
        return rise * self._shape_at(updates)

    def _shape_at(self, updates: int) -> float:
        if self.shape == "constant":
            return 1.0
        if self.shape == "cosine":
            done = min(1.0, updates / self.steps)
            return round(self.final + (1 - self.final) * (1 + math.cos(math.pi * done)) / 2, 12)
        times = updates // self.every if self.shape == "step" else updates / self.every
        return max(self.final, self.factor**times)
