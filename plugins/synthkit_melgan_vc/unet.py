"""TraVeLGAN's three networks on pictures (Amodio and Krishnaswamy 2019, arXiv 1902.09631), as starting project 001 built them:
the U-net and the patch critic of pix2pix (Isola et al. 2017), all with spectral normalisation.

Pictures are features `[B, M, N]` in the network's own units, -1 to 1; bands and frames are multiples of 32.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from synthkit_melgan_vc.network import SLOPE, Critic, changed
from synthkit_melgan_vc.presets import Norm
from synthkit_melgan_vc.spectral import spectral

_WIDTHS = (1, 2, 4, 8, 8)
"""Channels of each level of the U-net, as multiples of those of the first."""
_NORMS: dict[Norm, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,
    "item": lambda channels: nn.GroupNorm(1, channels),
    "none": lambda _: nn.Identity(),
}


def _down(
    inputs: int, outputs: int, *, stride: int = 2, padding: int = 1, bias: bool = False, normalised: bool = True
) -> nn.Module:
    convolution = nn.Conv2d(inputs, outputs, 4, stride, padding, bias=bias)
    return spectral(convolution) if normalised else convolution


def _up(inputs: int, outputs: int, *, bias: bool = False, normalised: bool = True) -> nn.Module:
    convolution = nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=bias)
    return spectral(convolution) if normalised else convolution


class UNetGenerator(nn.Module):
    """Pictures of one domain to pictures of the other: down to a 32nd of the size and up again, with a way across at each size.

    >>> sum(parameter.numel() for parameter in UNetGenerator().parameters())
    16652929
    """

    def __init__(
        self, channels: int = 64, norm: Norm = "batch", residual: bool = False, normalised: bool = True
    ) -> None:
        super().__init__()
        self.residual = residual
        widths = [channels * width for width in _WIDTHS]
        self.downs = nn.ModuleList(
            _down(inputs, outputs, normalised=normalised) for inputs, outputs in pairwise([1, *widths])
        )
        self.down_norms = nn.ModuleList(
            _NORMS[norm if 0 < level < len(widths) - 1 else "none"](width) for level, width in enumerate(widths)
        )
        self.ups = nn.ModuleList(
            _up(inputs if level == 0 else 2 * inputs, outputs, normalised=normalised)
            for level, (inputs, outputs) in enumerate(pairwise(reversed(widths)))
        )
        self.up_norms = nn.ModuleList(_NORMS[norm](width) for width in list(reversed(widths))[1:])
        self.last = _up(2 * widths[0], 1, bias=True, normalised=normalised)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, M, N]` to `[B, M, N]`."""
        across: list[Tensor] = []
        made = x[:, None]
        for down, norm in zip(self.downs, self.down_norms, strict=True):
            made = functional.leaky_relu(norm(down(made)), SLOPE)
            across.append(made)
        across.pop()
        for up, norm in zip(self.ups, self.up_norms, strict=True):
            made = torch.cat([across.pop(), norm(up(functional.relu(made)))], dim=1)
        out: Tensor = self.last(functional.relu(made))[:, 0]
        return changed(x, out) if self.residual else out.tanh()


class PatchCritic(nn.Module):
    """Pictures to a map of scores, one for each patch of 46 x 46: the real should score high. Of any size.

    >>> [tuple(layer.shape) for layer in PatchCritic()(torch.zeros(1, 128, 128))[0]]
    [(1, 64, 64, 64), (1, 128, 32, 32), (1, 256, 16, 16), (1, 1, 13, 13)]
    """

    def __init__(self, channels: int = 64, norm: Norm = "batch") -> None:
        super().__init__()
        self.layers = _layers(channels, norm, normalised=True)
        self.last = _down(4 * channels, 1, stride=1, padding=0, bias=True)

    def forward(self, x: Tensor) -> list[list[Tensor]]:
        """`[B, M, N]` to one scale: the outputs of all layers, the map of scores `[B, 1, M', N']` last."""
        seen = self.see(x)
        return [[*seen, self.last(seen[-1])]]

    def see(self, x: Tensor) -> list[Tensor]:
        """`[B, M, N]` to the outputs of all layers before the score."""
        seen = [x[:, None]]
        for layer in self.layers:
            seen.append(layer(seen[-1]))
        return seen[1:]


class TwoCritics(nn.Module):
    """A critic of columns, which knows which band is which, beside one of patches, which knows what comes from any of them.

    >>> from synthkit_melgan_vc.network import Critic
    >>> [scale[-1].shape[2:] for scale in TwoCritics(Critic(80, 72, 8), PatchCritic(4))(torch.zeros(1, 80, 72))]
    [torch.Size([]), torch.Size([7, 6])]
    """

    def __init__(self, columns: Critic, patches: PatchCritic) -> None:
        super().__init__()
        self.columns, self.patches = columns, patches

    def forward(self, x: Tensor) -> list[list[Tensor]]:
        """`[B, M, N]` to the scale of each."""
        return [*self.columns(x), *self.patches(x)]

    def see(self, x: Tensor) -> list[Tensor]:
        """`[B, M, N]` of any length, 32 or more, to the outputs of all layers of both before the scores."""
        return [*self.columns.see(x), *self.patches.see(x)]


class PooledSiamese(nn.Module):
    """Pictures to vectors: the mean over the last map. Starting project 001 did not take the mean, and compared maps place by place.

    >>> PooledSiamese()(torch.zeros(2, 128, 128)).shape
    torch.Size([2, 1000])
    """

    def __init__(self, channels: int = 64, embedding: int = 1000, norm: Norm = "none", normalised: bool = True) -> None:
        super().__init__()
        self.layers = nn.Sequential(*_layers(channels, norm, normalised))
        self.last = _down(4 * channels, embedding, stride=1, padding=0, bias=True, normalised=normalised)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, M, N]` to `[B, E]`."""
        vectors: Tensor = self.last(self.layers(x[:, None])).mean(dim=(2, 3))
        return vectors


def _layers(channels: int, norm: Norm, normalised: bool) -> nn.ModuleList:
    """Three halvings; the first has a bias and no norm."""
    widths = [1, channels, 2 * channels, 4 * channels]
    return nn.ModuleList(
        nn.Sequential(
            _down(inputs, outputs, bias=level == 0, normalised=normalised),
            _NORMS[norm if level else "none"](outputs),
            nn.LeakyReLU(SLOPE),
        )
        for level, (inputs, outputs) in enumerate(pairwise(widths))
    )
