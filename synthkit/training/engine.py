"""`Engine`: the four verbs through which an objective touches the machine, so that it does not know how many processes there are."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from synthkit.interfaces import Batch
from synthkit.training.schedules import Schedule

Network = TypeVar("Network", bound=nn.Module)
Precision = Literal["fp32", "bf16", "fp16"]
Terms = dict[str, Tensor]
"""Named losses: scalars."""


@dataclass(frozen=True, kw_only=True)
class Numerics:
    """How an engine computes: the same for every network of a training (see `train:` of a recipe for the meaning)."""

    precision: Precision = "fp32"
    accumulate: int = 1
    clip_norm: float | None = None
    compile: bool = False
    schedule: Schedule = field(default_factory=Schedule)


class Engine:
    """One process on one device.

    An objective calls `prepare` once per network it trains. In a step it calls `learn` once per optimiser: the loss of each
    piece of the batch, the gradient of their mean, one update. `backward` and `update` are the two halves of `learn` for an
    objective that needs them apart. A distributed engine overrides how gradients and means are taken over processes, and
    nothing else changes.

    >>> engine = Engine()
    >>> network = engine.prepare(nn.Linear(1, 1, bias=False))
    >>> optimiser = torch.optim.SGD(network.parameters(), lr=0.5)
    >>> before = network.weight.item()
    >>> engine.backward(network(torch.ones(1, 1)).sum(), optimiser)
    >>> engine.update(optimiser)
    >>> round(before - network.weight.item(), 6)
    0.5
    """

    def __init__(self, device: torch.device | str = "cpu", numerics: Numerics | None = None) -> None:
        self.device = torch.device(device)
        self.numerics = numerics or Numerics()
        self.slow_down = 1.0
        """Factor of all learning rates beside the schedule's; what a rollback lowers."""
        self.norms: dict[int, Tensor] = {}
        """The norm of the gradient of each optimiser's last update, by the optimiser's `id`."""
        self._seed = 0
        self._updates: dict[int, int] = {}

    def begin(self, seed: int) -> None:
        """Called by the loop before each step: what `randn` draws in it follows from `seed`."""
        self._seed = seed

    def prepare(self, network: Network) -> Network:
        """Move a network to the device, in training mode."""
        return network.to(self.device).train()

    def pieces(self, batch: Batch) -> list[Batch]:
        """The batch in as many pieces as memory asks for: one, unless the recipe says `accumulate`."""
        count = min(self.numerics.accumulate, len(batch))
        bounds = [len(batch) * number // count for number in range(count + 1)]
        return [batch] if count == 1 else [batch.piece(a, b) for a, b in pairwise(bounds)]

    def learn(
        self, optimiser: torch.optim.Optimizer, pieces: Sequence[Batch], loss: Callable[[Batch], tuple[Tensor, Terms]]
    ) -> Terms:
        """One update on the gradient of the mean over all items; `loss(piece)` gives a mean over its items and the terms to tell.

        Returns the mean of each term, detached.
        """
        items = sum(map(len, pieces))
        optimiser.zero_grad(set_to_none=True)
        terms: Terms = {}
        for piece in pieces:
            share = len(piece) / items
            with self.autocast():
                value, said = loss(piece)
            self._add_gradient(value * share, optimiser)
            for name, term in said.items():
                terms[name] = terms.get(name, 0.0) + term.detach() * share
        self.update(optimiser)
        return terms

    def backward(self, loss: Tensor, optimiser: torch.optim.Optimizer) -> None:
        """Replace the gradients of the optimiser's parameters by those of `loss` (a scalar)."""
        optimiser.zero_grad(set_to_none=True)
        self._add_gradient(loss, optimiser)

    def update(self, optimiser: torch.optim.Optimizer) -> None:
        """Let the optimiser make its step, at the rate that the schedule gives for its own number of updates."""
        made = self._updates.get(id(optimiser), 0)
        factor = self.slow_down * self.numerics.schedule.factor_at(made)
        for group in optimiser.param_groups:
            group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor
        optimiser.step()
        self._updates[id(optimiser)] = made + 1

    def mean(self, value: Tensor) -> Tensor:
        """The detached mean of a scalar over all processes."""
        return value.detach()

    def randn(self, batch: Batch, *shape: int, name: str = "noise") -> Tensor:
        """Normal noise `[B, *shape]` for a step: a row follows from the step, `name` and its place in the whole batch alone.

        So it is the same however many processes or pieces the batch is shared among.
        """
        rows = batch.rows or range(len(batch))
        made = torch.empty(len(rows), *shape)
        for row, out in zip(rows, made, strict=True):
            digest = hashlib.sha256(f"{self._seed}/{name}/{row}".encode()).digest()
            out.normal_(generator=torch.Generator().manual_seed(int.from_bytes(digest[:7], "big")))
        return made.to(self.device)

    def autocast(self) -> AbstractContextManager[Any]:
        """Within it, the forward pass computes in the precision of the recipe."""
        return nullcontext()

    def state_dict(self, optimisers: Mapping[str, torch.optim.Optimizer]) -> dict[str, Any]:
        """What a resumed training needs beside the optimisers' own states."""
        updates = {name: self._updates.get(id(optimiser), 0) for name, optimiser in optimisers.items()}
        return {"updates": updates, "slow_down": self.slow_down}

    def load_state_dict(self, state: Mapping[str, Any], optimisers: Mapping[str, torch.optim.Optimizer]) -> None:
        """Take back what `state_dict` gave."""
        self.slow_down = float(state["slow_down"])
        for name, optimiser in optimisers.items():
            self._updates[id(optimiser)] = int(state["updates"][name])

    def _add_gradient(self, loss: Tensor, optimiser: torch.optim.Optimizer) -> None:
        loss.backward()  # type: ignore[no-untyped-call]


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from torch's global generators as after `torch.manual_seed(seed)`, and put them back afterwards.

    >>> with seeded(7):
    ...     a = torch.rand(1)
    >>> with seeded(7):
    ...     b = torch.rand(1)
    >>> bool(a == b)
    True
    """
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


@contextmanager
def frozen(*networks: nn.Module) -> Iterator[None]:
    """Within it, the networks' parameters take no gradient (none is computed and thrown away); gradients still pass through.

    >>> critic = nn.Linear(1, 1)
    >>> with frozen(critic):
    ...     [parameter.requires_grad for parameter in critic.parameters()]
    [False, False]
    """
    parameters = [parameter for network in networks for parameter in network.parameters() if parameter.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
