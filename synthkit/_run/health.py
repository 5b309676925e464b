"""Whether a training is well. Numbers in, findings out: no torch, no files, no clock.

What a `Health` finds follows from the terms it has seen and from nothing else, and what it remembers of them is in its state:
a training that was stopped and resumed finds the same at the same step.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

Kind = Literal["not-finite", "exploded", "critic-won", "critic-gave-up"]

_EVERY, _KEPT, _LEAST = 8, 32, 8
"""The running median is over the last 32 of every eighth value, and tells nothing before it has 8."""
_NEXT_TO_NOTHING = 0.01
"""A median below this counts as this: a term that is next to nothing may well become a hundred times as much."""
_SMOOTHING = 20
"""Values over which a critic's loss is averaged."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What counts as ill and what is done about it (see `train: watch:` of a recipe)."""

    rollbacks: int = 2
    slow_down: float = 0.5
    explosion: float = 100.0
    critic_margin: float = 0.02
    patience: int = 500


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that is wrong with a training."""

    kind: Kind
    step: int
    term: str
    text: str
    """A sentence without its full stop; it names the term and the numbers."""

    @property
    def fatal(self) -> bool:
        """Whether learning on makes no sense: then the training is rolled back."""
        return self.kind in ("not-finite", "exploded")


class Health:
    """The watch over one training: `see` the terms of each step, in order.

    >>> health = Health(Limits(patience=3), {"critic": 6.0})
    >>> health.see(1, {"critic": 5.9, "generator": math.nan})[0].text
    "the term 'generator' is nan"
    """

    def __init__(self, limits: Limits, undecided: Mapping[str, float]) -> None:
        """`undecided`: the loss of a critic that cannot tell the made from the real, by its term (`Objective.undecided`)."""
        self.limits = limits
        self.undecided = dict(undecided)
        self._kept: dict[str, deque[float]] = {}
        self._medians: dict[str, float] = {}
        self._shares: dict[str, float] = {}
        self._lasted: dict[str, int] = {}
        self._said: set[str] = set()

    def see(self, step: int, terms: Mapping[str, float]) -> list[Finding]:
        """What the terms of one step show that was not said before; a fatal finding comes first, and alone."""
        for name, value in terms.items():
            if not math.isfinite(value):
                return [Finding(kind="not-finite", step=step, term=name, text=f"the term {name!r} is {value}")]
            if finding := self._exploded(step, name, value):
                return [finding]
        for name, value in terms.items():
            self._remember(step, name, value)
        return [
            finding
            for name, least in self.undecided.items()
            if name in terms and least > 0
            for finding in self._judge_critic(step, name, terms[name] / least)
        ]

    def state_dict(self) -> dict[str, Any]:
        """What is remembered: numbers, strings, lists."""
        return {
            "kept": {name: list(values) for name, values in self._kept.items()},
            "shares": dict(self._shares),
            "lasted": dict(self._lasted),
            "said": sorted(self._said),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave; an empty mapping forgets everything but what was said already."""
        self._kept = {name: deque(values, _KEPT) for name, values in state.get("kept", {}).items()}
        self._medians = {name: _typical(values) for name, values in self._kept.items()}
        self._shares = dict(state.get("shares", {}))
        self._lasted = dict(state.get("lasted", {}))
        self._said |= set(state.get("said", ()))

    def _exploded(self, step: int, name: str, value: float) -> Finding | None:
        usual = self._medians.get(name, math.inf)
        scale = max(usual, self.undecided.get(name, 0.0), _NEXT_TO_NOTHING)
        if abs(value) <= self.limits.explosion * scale:
            return None
        text = f"the term {name!r} is {value:.4g}, while it usually was about {usual:.4g}"
        return Finding(kind="exploded", step=step, term=name, text=text)

    def _remember(self, step: int, name: str, value: float) -> None:
        if step % _EVERY == 0:
            values = self._kept.setdefault(name, deque(maxlen=_KEPT))
            values.append(value)
            self._medians[name] = _typical(values)

    def _judge_critic(self, step: int, name: str, share: float) -> list[Finding]:
        """Whether a critic has won or given up, by its loss as a share of an undecided critic's, averaged over some steps."""
        before = self._shares.get(name, share)
        self._shares[name] = share = before + (share - before) / _SMOOTHING
        margin, patience = self.limits.critic_margin, self.limits.patience
        loss = f"its loss {name!r} has stayed"
        won = f"the critic has won: {loss} below {margin:.3g} of an undecided critic's for {patience} steps"
        lost = f"the critic has given up: {loss} at that of one that cannot tell made from real for {patience} steps"
        found: list[Finding] = []
        states: tuple[tuple[Kind, bool, str], ...] = (
            ("critic-won", share < margin, won),
            ("critic-gave-up", share > 1 - margin, lost),
        )
        for kind, holds, text in states:
            key = f"{kind}/{name}"
            self._lasted[key] = self._lasted.get(key, 0) + 1 if holds else 0
            if self._lasted[key] >= patience and key not in self._said:
                self._said.add(key)
                found.append(Finding(kind=kind, step=step, term=name, text=text))
        return found


ADVICE: Mapping[Kind, str] = {
    "critic-won": (
        "the generator learns little from it; a smaller learning rate for the critic, a smaller critic, or more weight on the "
        "other losses usually helps"
    ),
    "critic-gave-up": (
        "it teaches the generator nothing; a higher learning rate for the critic, a larger critic, or a later start of it "
        "usually helps"
    ),
}
"""What to do about a finding that is no reason to stop."""


def _typical(values: deque[float]) -> float:
    """The median size; infinite while there are too few values to tell."""
    return median(map(abs, values)) if len(values) >= _LEAST else math.inf
