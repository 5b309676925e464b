"""`Engine`: the verbs through which an objective touches the machine.

Precision, loss scaling, accumulation, clipping, schedules and processes are its business; an objective only says which losses,
on which pieces of a batch, in which order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.amp import GradScaler

from synthkit.errors import ConfigError
from synthkit.interfaces import Batch
from synthkit.training.schedules import Schedule

Network = TypeVar("Network", bound=nn.Module)
Piece = TypeVar("Piece", bound=Sized)
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
    objective that takes a batch whole; such a one cannot accumulate. Learning rates in the optimisers stay the objective's own:
    the schedule's factor is put on them for the time of an update.

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
        """Raises `ConfigError` where the device cannot compute in the precision."""
        self.device = torch.device(device)
        self.numerics = numerics or Numerics()
        self.slow_down = 1.0
        """Factor of all learning rates beside the schedule's; what a rollback lowers."""
        self.share = 1.0
        """Factor of every loss: the weight of this process's items among those of all processes."""
        self.watch = False
        """Whether updates measure the norms of their gradients also where nothing is clipped."""
        self._seed = 0
        self._updates: dict[int, int] = {}
        self._rates: dict[int, float] = {}
        self._norms: dict[int, Tensor] = {}
        self._scalers: dict[int, GradScaler] = {}
        try:
            with self.autocast():
                pass
        except RuntimeError as error:
            raise ConfigError(
                f"the device {self.device} cannot compute in {self.numerics.precision} ({error}); set precision to fp32"
            ) from error

    def begin(self, seed: int) -> None:
        """Called by the loop before each step: what `randn` draws in it follows from `seed`."""
        self._seed = seed

    def prepare(self, network: Network) -> Network:
        """Move a network to the device, in training mode; compiled in place where the recipe asks for it.

        Raises:
            ConfigError: where it shall be compiled and this machine cannot.
        """
        network.to(self.device).train()
        if self.numerics.compile:
            _require_compiler(self.device)
            network.compile()
        return network

    def pieces(self, batch: Batch) -> list[Batch]:
        """The batch in as many pieces as memory asks for: one, unless the recipe says `accumulate`."""
        count = min(self.numerics.accumulate, len(batch))
        bounds = [len(batch) * number // count for number in range(count + 1)]
        return [batch] if count == 1 else [batch.piece(a, b) for a, b in pairwise(bounds)]

    def learn(
        self, optimiser: torch.optim.Optimizer, pieces: Sequence[Piece], loss: Callable[[Piece], tuple[Tensor, Terms]]
    ) -> Terms:
        """One update on the gradient of the mean over all items; `loss(piece)` gives a mean over its items and the terms to tell.

        A piece is what `pieces` gives, or anything made of it that has as many items. Returns the mean of each term, detached.

        Raises:
            ConfigError: where the recipe accumulates and the batch was not taken through `pieces`.
        """
        items = sum(map(len, pieces))
        self._require_pieces(len(pieces) >= min(self.numerics.accumulate, items))
        optimiser.zero_grad(set_to_none=True)
        terms: Terms = {}
        for piece in pieces:
            part = len(piece) / items
            with self.autocast():
                value, said = loss(piece)
            self._add_gradient(value * part, optimiser)
            for name, term in said.items():
                terms[name] = terms.get(name, 0.0) + term.detach().float() * part
        self.update(optimiser)
        return terms

    def backward(self, loss: Tensor, optimiser: torch.optim.Optimizer) -> None:
        """Replace the gradients of the optimiser's parameters by those of `loss`, a scalar: a mean over the whole batch.

        Raises:
            ConfigError: where the recipe accumulates.
        """
        self._require_pieces(self.numerics.accumulate == 1)
        optimiser.zero_grad(set_to_none=True)
        self._add_gradient(loss, optimiser)

    def update(self, optimiser: torch.optim.Optimizer) -> None:
        """Let the optimiser make its step, at the rate that the schedule gives for its own number of updates.

        With fp16, a gradient that is not finite makes no update, and the next loss is scaled less.
        """
        self._reduce(optimiser)
        scaler = self._scaler(optimiser)
        if scaler:
            scaler.unscale_(optimiser)
        norm = self._clip(optimiser)
        if not self._step(optimiser, scaler):
            return
        self._updates[id(optimiser)] = self._updates.get(id(optimiser), 0) + 1
        if norm is not None:
            self._norms[id(optimiser)] = norm

    def rates(self, optimisers: Mapping[str, torch.optim.Optimizer]) -> dict[str, float]:
        """The learning rate of each optimiser's last update (before the first: its own)."""
        return {
            name: self._rates.get(id(optimiser), float(optimiser.param_groups[0]["lr"]))
            for name, optimiser in optimisers.items()
        }

    def norms(self, optimisers: Mapping[str, torch.optim.Optimizer]) -> dict[str, Tensor]:
        """The norm of each optimiser's last gradient, before clipping, where `watch` or `clip_norm` had it measured."""
        return {
            name: self._norms[id(optimiser)] for name, optimiser in optimisers.items() if id(optimiser) in self._norms
        }

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
        """Within it, the forward pass computes in the precision of the recipe. `learn` is always within; it may be nested."""
        precision = self.numerics.precision
        return nullcontext() if precision == "fp32" else torch.autocast(self.device.type, dtype=_TYPES[precision])

    def state_dict(self, optimisers: Mapping[str, torch.optim.Optimizer]) -> dict[str, Any]:
        """What a resumed training needs beside the optimisers' own states: plain numbers."""
        scalers = {name: self._scaler(optimiser) for name, optimiser in optimisers.items()}
        return {
            "slow_down": self.slow_down,
            "updates": {name: self._updates.get(id(optimiser), 0) for name, optimiser in optimisers.items()},
            "scalers": {name: scaler.state_dict() for name, scaler in scalers.items() if scaler},
        }

    def load_state_dict(self, state: Mapping[str, Any], optimisers: Mapping[str, torch.optim.Optimizer]) -> None:
        """Take back what `state_dict` gave. Where it was given by a training without fp16, scaling begins anew."""
        self.slow_down = float(state["slow_down"])
        for name, optimiser in optimisers.items():
            self._updates[id(optimiser)] = int(state["updates"][name])
            scaler = self._scaler(optimiser)
            if scaler and name in state["scalers"]:
                scaler.load_state_dict(state["scalers"][name])

    def _reduce(self, optimiser: torch.optim.Optimizer) -> None:
        """Make the gradients of the optimiser's parameters the mean over all processes: nothing to do for one."""

    def _add_gradient(self, loss: Tensor, optimiser: torch.optim.Optimizer) -> None:
        scaler = self._scaler(optimiser)
        with torch.autocast(self.device.type, enabled=False):
            loss = loss.float() if self.share == 1.0 else loss.float() * self.share
            (scaler.scale(loss) if scaler else loss).backward()  # type: ignore[no-untyped-call]

    def _clip(self, optimiser: torch.optim.Optimizer) -> Tensor | None:
        """Scale the gradients down to the recipe's norm, and return the norm they had, where anybody asks for it."""
        most = self.numerics.clip_norm
        if most is None and not self.watch:
            return None
        held = [parameter for group in optimiser.param_groups for parameter in group["params"]]
        norm = nn.utils.get_total_norm(gradients(optimiser))
        if most is not None:
            nn.utils.clip_grads_with_norm_(held, most, norm)
        return norm

    def _step(self, optimiser: torch.optim.Optimizer, scaler: GradScaler | None) -> bool:
        """Let the optimiser make its step at the rate of now; returns whether it made one."""
        factor = self.slow_down * self.numerics.schedule.factor_at(self._updates.get(id(optimiser), 0))
        own = [group["lr"] for group in optimiser.param_groups]
        self._rates[id(optimiser)] = float(own[0] * factor)
        for group in optimiser.param_groups:
            group["lr"] = group["lr"] * factor
        try:
            if scaler is None:
                optimiser.step()
                return True
            before = scaler.get_scale()
            scaler.step(optimiser)
            scaler.update()
            return scaler.get_scale() >= before  # it falls only when a step was skipped
        finally:
            for group, rate in zip(optimiser.param_groups, own, strict=True):
                group["lr"] = rate
            # Weights that were cast for this step's forward passes are those of before the update.
            torch.clear_autocast_cache()

    def _scaler(self, optimiser: torch.optim.Optimizer) -> GradScaler | None:
        if self.numerics.precision != "fp16":
            return None
        if id(optimiser) not in self._scalers:
            self._scalers[id(optimiser)] = GradScaler(self.device.type)
        return self._scalers[id(optimiser)]

    def _require_pieces(self, taken: bool) -> None:
        if not taken:
            raise ConfigError(
                "this objective learns from a whole batch at once (it does not take it through engine.pieces and "
                f"engine.learn), so it cannot do so in {self.numerics.accumulate} pieces; set accumulate to 1"
            )


_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def gradients(optimiser: torch.optim.Optimizer) -> list[Tensor]:
    """The gradients that an optimiser's parameters have, in its own order."""
    held = (parameter.grad for group in optimiser.param_groups for parameter in group["params"])
    return [gradient for gradient in held if gradient is not None]


def _require_compiler(device: torch.device) -> None:
    """Compile a trifle, because the want of a compiler would show only in the middle of the first step."""
    try:
        torch.compile(lambda x: x + 1)(torch.zeros(1, device=device))
    except RuntimeError as error:
        raise ConfigError(
            f"this machine cannot compile networks for {device} ({str(error).strip().splitlines()[0]}); "
            "install a C++ compiler (on a GPU: triton), or set compile to false"
        ) from error


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
