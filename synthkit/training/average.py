"""`Average`: a running mean of weights, which is smoother than the weights themselves and makes better sound."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """The exponential moving average of all floating-point parameters and buffers of some networks.

    The decay is lower in the first steps, `min(decay, (1 + n) / (10 + n))`, so that the first weights are soon forgotten.

    >>> network = nn.Linear(1, 1, bias=False)
    >>> average = Average({"linear": network}, decay=0.5)
    >>> _ = nn.init.constant_(network.weight, 7.0); before = average.networks["linear"]["weight"].item()
    >>> average.update()
    >>> abs(average.networks["linear"]["weight"].item() - (before + 0.9 * (7.0 - before))) < 1e-6
    True
    """

    def __init__(self, networks: Mapping[str, nn.Module], decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self._sources = dict(networks)
        self.networks: dict[str, dict[str, Tensor]] = {
            name: {key: value.detach().clone() for key, value in network.state_dict().items()}
            for name, network in networks.items()
        }
        """The averaged state of each network: what is no floating-point number, such as a counter, is that of the last update."""

    @torch.no_grad()
    def update(self) -> None:
        """Take the present weights into account: once per step."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        means: list[Tensor] = []
        values: list[Tensor] = []
        for mean, value in self._pairs():
            if mean.is_floating_point():
                means.append(mean)
                values.append(value)
            else:
                mean.copy_(value)
        if means:
            torch._foreach_lerp_(means, values, 1 - decay)
        self.updates += 1

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within it, the networks have the averaged weights, and `networks` here the live ones: they change places, nothing is copied.

        What is written to the weights within it changes the average.
        """
        pairs = list(self._pairs())
        for mean, value in pairs:
            mean.data, value.data = value.data, mean.data
        try:
            yield
        finally:
            for mean, value in reversed(pairs):
                mean.data, value.data = value.data, mean.data

    def _pairs(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Each averaged tensor with the parameter or buffer that it is the mean of."""
        for name, network in self._sources.items():
            means = self.networks[name]
            for key, value in network.state_dict(keep_vars=True).items():
                yield means[key], value
