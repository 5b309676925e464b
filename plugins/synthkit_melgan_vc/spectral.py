"""Spectral normalisation (Miyato et al. 2018) whose power iteration is a step of its own and no part of the forward pass.

torch's own improves its estimate at every forward in training mode. Then a batch that is learned in pieces has other weights than
the whole batch, and so has a network whose mode was not put back. Here all of one step, and what is made afterwards, agree.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.nn.utils.parametrize import is_parametrized, register_parametrization

Layer = TypeVar("Layer", bound=nn.Module)
_FIRST = 15
"""Power iterations on the initial weight, as in torch."""


class SpectralNorm(nn.Module):
    """A weight divided by its largest singular value, where its first axis is the rows and all others are the columns."""

    left: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("left", normalize(torch.randn(weight.shape[0]).to(weight), dim=0))
        for _ in range(_FIRST):
            self.improve(weight)

    def forward(self, weight: Tensor) -> Tensor:
        with torch.autocast(weight.device.type, enabled=False):
            product = self.left @ weight.flatten(1)  # its length is the singular value, as far as `left` is its vector
            return weight / (product * normalize(product.detach(), dim=0)).sum()

    @torch.no_grad()
    def improve(self, weight: Tensor) -> None:
        """One power iteration."""
        matrix = weight.flatten(1)
        self.left.copy_(normalize(matrix @ normalize(self.left @ matrix, dim=0), dim=0))


def spectral(layer: Layer) -> Layer:
    """Normalise the weight of a layer.

    >>> layer = spectral(nn.Linear(3, 5))
    >>> round(torch.linalg.matrix_norm(layer.weight, 2).item(), 2)
    1.0
    """
    weight = layer.weight
    assert isinstance(weight, Tensor)
    register_parametrization(layer, "weight", SpectralNorm(weight.detach()))
    return layer


def improve(*networks: nn.Module) -> None:
    """One power iteration for every normalised weight: once in each step of a training."""
    for layer in (layer for network in networks for layer in network.modules() if is_parametrized(layer, "weight")):
        (norm,) = layer.parametrizations["weight"]  # type: ignore[index]
        norm.improve(layer.parametrizations["weight"].original)  # type: ignore[index, union-attr]
