"""The watch over a learner: its terms are read from the device now and then, all at once, and shown to `Health`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor

from synthkit._run.health import Finding, Health, Limits
from synthkit._run.learner import Learner

_MOST_UNREAD = 50
"""Steps after which the terms are read at the latest: each reading waits for the device."""


class Watch:
    """What it remembers is in `learner.watch` after each `look`, and so in the checkpoint."""

    def __init__(self, learner: Learner, limits: Limits) -> None:
        self._learner = learner
        self._health = Health(limits, learner.objective.undecided())
        self._unread: list[tuple[int, Mapping[str, Tensor]]] = []
        self.terms: Mapping[str, float] = {}
        """The terms of the last step that was looked at."""

    @property
    def balance(self) -> dict[str, float]:
        """Of each critic, its last loss as a share of an undecided critic's."""
        undecided = self._health.undecided
        return {name: self.terms[name] / least for name, least in undecided.items() if name in self.terms and least > 0}

    @property
    def is_due(self) -> bool:
        """Whether enough is unread."""
        return len(self._unread) >= _MOST_UNREAD

    def begin(self) -> None:
        """Take up what the learner remembers: it is new, or has just been restored."""
        self._unread.clear()
        self._health.load_state_dict(self._learner.watch)

    def add(self, step: int, terms: Mapping[str, Tensor]) -> None:
        """The terms of one step; they stay where they are."""
        self._unread.append((step, terms))

    def look(self) -> list[Finding]:
        """What the steps since the last look show; a fatal finding is the only one, and of the first step that shows it."""
        found: list[Finding] = []
        for step, terms in self._read():
            self.terms = terms
            now = self._health.see(step, terms)
            if any(finding.fatal for finding in now):
                return now
            found += now
        self._learner.watch = self._health.state_dict()
        return found

    def weigh(self, step: int) -> Finding | None:
        """Whether a weight is not finite, which the terms would show only a step later: asked before anything is saved."""
        learner = self._learner
        averaged = learner.average.networks if learner.average else {}
        states = {
            **{name: network.state_dict() for name, network in learner.component.networks.items()},
            **{f"objective.{name}": network.state_dict() for name, network in learner.objective.networks.items()},
            **{f"average of {name}": state for name, state in averaged.items()},
        }
        whole = {name: _is_finite(state.values()) for name, state in states.items()}
        bad = [name for name, is_finite in whole.items() if not bool(is_finite)]
        if not bad:
            return None
        return Finding(
            kind="not-finite", step=step, term=f"weights of {bad[0]}", text=f"a weight of {bad[0]!r} is not finite"
        )

    def _read(self) -> Iterator[tuple[int, dict[str, float]]]:
        """All terms of all unread steps, as means over all processes."""
        unread, self._unread = self._unread, []
        flat = [term.float() for _, terms in unread for term in terms.values()]
        values = iter(self._learner.engine.mean(torch.stack(flat)).tolist() if flat else ())
        for step, terms in unread:
            yield step, {name: next(values) for name in terms}


def _is_finite(tensors: Iterable[Tensor]) -> Tensor:
    """Whether all numbers are finite, as a tensor: nothing waits for the device yet. A sum is not finite if a part is not."""
    sums = [tensor.detach().float().sum() for tensor in tensors if tensor.is_floating_point()]
    return torch.stack(sums).isfinite().all() if sums else torch.tensor(True)
