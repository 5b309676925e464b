"""`FeatureScaling`: from physical units to the numbers a network works with, and back, band by band.

Features travel in physical units, and a network that wants others keeps this inside itself: its two buffers are in the
network's checkpoint, so that no file of statistics has to be carried along.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class FeatureScaling(nn.Module):
    """`y = (x - shift) / scale` for features `[B, M, N]`, with a shift and a scale for each of the M bands.

    It is the identity until it is fitted to data, which `Objective.survey` is for.

    >>> scaling = FeatureScaling(n_mels=2)
    >>> features = torch.tensor([[[0.0, 2.0], [-5.0, 5.0]]])
    >>> scaling.fit_range([features])
    >>> scaling(features).tolist()
    [[[0.0, 0.4000000059604645], [-1.0, 1.0]]]
    >>> bool(torch.allclose(scaling.inverse(scaling(features)), features))
    True
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, n_mels: int) -> None:
        super().__init__()
        self.register_buffer("shift", torch.zeros(n_mels, 1))
        self.register_buffer("scale", torch.ones(n_mels, 1))

    def forward(self, features: Tensor) -> Tensor:
        """Physical units to the network's."""
        return (features - self.shift) / self.scale

    def inverse(self, values: Tensor) -> Tensor:
        """The network's units to physical ones."""
        return values * self.scale + self.shift

    def fit_standard(self, features: Iterable[Tensor], least: float = 1e-2) -> None:
        """Mean 0 and variance 1 in each band over all of `features`, `[B, M, N]` each.

        A band that hardly changes (one that is always at the floor) is divided by `least` instead of next to nothing.
        """
        count, total, square = 0, torch.zeros(()), torch.zeros(())
        for values in features:
            precise = values.detach().double()
            count += precise.shape[0] * precise.shape[2]
            total = total.to(precise) + precise.sum(dim=(0, 2))
            square = square.to(precise) + precise.square().sum(dim=(0, 2))
        mean = total / count
        self._set(mean, (square / count - mean.square()).clamp(min=0).sqrt().clamp(min=least))

    def fit_range(self, features: Iterable[Tensor], least: float = 1e-2) -> None:
        """-1 for the lowest and 1 for the highest value of all bands together, for a network that ends in tanh.

        One range for all bands keeps their balance, and a band that is always silent stays at the bottom.
        """
        low, high = float("inf"), float("-inf")
        for values in features:
            low, high = min(low, float(values.min())), max(high, float(values.max()))
        middle, half = (high + low) / 2, max((high - low) / 2, least)
        self._set(torch.full_like(self.shift[:, 0], middle), torch.full_like(self.scale[:, 0], half))

    def _set(self, shift: Tensor, scale: Tensor) -> None:
        self.shift.copy_(shift[:, None])
        self.scale.copy_(scale[:, None])
