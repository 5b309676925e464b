"""`Engine`: the four verbs through which an objective touches the machine, so that it does not know how many processes there are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


class Engine:
    """One process on one device.

    An objective calls `prepare` once per network it trains, then in each step `backward` and `update` per optimiser, and
    `mean` for whatever is logged. A distributed engine overrides these four and nothing else changes.

    >>> engine = Engine()
    >>> network = engine.prepare(nn.Linear(1, 1, bias=False))
    >>> optimiser = torch.optim.SGD(network.parameters(), lr=0.5)
    >>> before = network.weight.item()
    >>> engine.backward(network(torch.ones(1, 1)).sum(), optimiser)
    >>> engine.update(optimiser)
    >>> round(before - network.weight.item(), 6)
    0.5
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)

    def prepare(self, network: Network) -> Network:
        """Move a network to the device, in training mode."""
        return network.to(self.device).train()

    def backward(self, loss: Tensor, optimiser: torch.optim.Optimizer) -> None:
        """Replace the gradients of the optimiser's parameters by those of `loss` (a scalar)."""
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]

    def update(self, optimiser: torch.optim.Optimizer) -> None:
        """Let the optimiser make its step."""
        optimiser.step()

    def mean(self, value: Tensor) -> Tensor:
        """The detached mean of a scalar over all processes."""
        return value.detach()


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
