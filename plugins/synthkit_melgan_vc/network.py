"""MelGAN-VC's three networks (arXiv 1910.03713; MelGAN_VC.ipynb): 1-D over time, the bands of a frame are its channels.

There a spectrogram is a picture `[192, N, 1]` and the first and last kernels are as high as the picture, so that the height is 1 in
between: the same sums as here. Features are in the network's own units, -1 to 1.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from synthkit_melgan_vc.presets import Norm
from synthkit_melgan_vc.spectral import spectral

SLOPE = 0.2
"""Slope of every leaky ReLU below zero."""
_FIRST_CHANGE = 0.1
"""How much a residual generator changes before it has learned, as a share of what it sees."""
_NORMS: dict[Norm, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm1d,
    "item": lambda channels: nn.GroupNorm(1, channels),
    "none": lambda _: nn.Identity(),
}


class _Layer(nn.Module):
    """A convolution, a norm and a leaky ReLU; with a stride of 2 it halves the frames, padded as Keras pads (`same`)."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, norm: Norm = "none", normalised: bool = True
    ) -> None:
        super().__init__()
        convolution = nn.Conv1d(inputs, outputs, kernel, stride, bias=False)
        nn.init.kaiming_uniform_(convolution.weight, nonlinearity="relu")  # he_uniform
        self.convolution = spectral(convolution) if normalised else convolution
        self.norm = _NORMS[norm](outputs)
        self._padding = ((kernel - stride) // 2, kernel - stride - (kernel - stride) // 2)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, N]` to `[B, C', N / stride]`."""
        made: Tensor = functional.leaky_relu(self.norm(self.convolution(functional.pad(x, self._padding))), SLOPE)
        return made


class Generator(nn.Module):
    """Pieces of one domain to pieces of the other: a U-net over time.

    >>> sum(parameter.numel() for parameter in Generator(192).parameters())
    2934785
    """

    def __init__(
        self, n_mels: int, channels: int = 256, norm: Norm = "batch", residual: bool = False, normalised: bool = True
    ) -> None:
        super().__init__()
        self.residual = residual
        self.first = _Layer(n_mels, channels, 3, norm=norm, normalised=normalised)
        self.down_once = _Layer(channels, channels, 9, stride=2, norm=norm, normalised=normalised)
        self.down_twice = _Layer(channels, channels, 7, stride=2, norm=norm, normalised=normalised)
        self.up_once = _Layer(channels, channels, 7, norm=norm, normalised=normalised)
        self.up_twice = _Layer(2 * channels, channels, 9, normalised=normalised)
        last = nn.Conv1d(2 * channels, n_mels, 1, bias=False)
        if residual:
            nn.init.normal_(last.weight, std=_FIRST_CHANGE * (2 * channels) ** -0.5)
        self.last = spectral(last) if normalised else last
        self.bias = nn.Parameter(torch.zeros(()))  # one for all bands, because there the last kernel has one channel

    def forward(self, x: Tensor) -> Tensor:
        """`[B, M, N]` to `[B, M, N]`; N is a multiple of 4."""
        whole = self.first(x)
        half = self.down_once(whole)
        made = self.up_once(_twice(self.down_twice(half)))
        made = self.up_twice(_twice(torch.cat([made, half], dim=1)))
        out: Tensor = self.last(torch.cat([made, whole], dim=1)) + self.bias
        return changed(x, out) if self.residual else out.tanh()


class Siamese(nn.Module):
    """Pieces to vectors: how two pieces of one clip differ, the difference of their vectors says.

    >>> Siamese(192, frames=24)(torch.zeros(2, 192, 24)).shape
    torch.Size([2, 128])
    """

    def __init__(
        self, n_mels: int, frames: int, channels: int = 256, embedding: int = 128, norm: Norm = "batch",
        normalised: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.layers = nn.Sequential(
            _Layer(n_mels, channels, 3, norm=norm, normalised=normalised),
            _Layer(channels, channels, 9, stride=2, norm=norm, normalised=normalised),
            _Layer(channels, channels, 7, stride=2, norm=norm, normalised=normalised),
        )
        self.last = nn.Linear(frames // 4 * channels, embedding)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, M, N]` to `[B, E]`."""
        vectors: Tensor = self.last(self.layers(x).flatten(1))
        return vectors


class Critic(nn.Module):
    """Pieces in a row to one score: the real of the target domain should score high.

    >>> [layer.shape[1:] for layer in Critic(192, frames=72)(torch.zeros(2, 192, 72))[0]]
    [torch.Size([512, 72]), torch.Size([512, 36]), torch.Size([512, 18]), torch.Size([1])]
    """

    def __init__(self, n_mels: int, frames: int, channels: int = 512, norm: Norm = "none") -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            [
                _Layer(n_mels, channels, 3, norm=norm),
                _Layer(channels, channels, 9, stride=2, norm=norm),
                _Layer(channels, channels, 7, stride=2, norm=norm),
            ]
        )
        self.last = spectral(nn.Linear(frames // 4 * channels, 1))

    def forward(self, x: Tensor) -> list[list[Tensor]]:
        """`[B, M, N]` to one scale: the outputs of all layers, the scores `[B, 1]` last."""
        seen = self.see(x)
        return [[*seen, self.last(seen[-1].flatten(1))]]

    def see(self, x: Tensor) -> list[Tensor]:
        """`[B, M, N]` of any length, 4 or more, to the outputs of all layers before the score."""
        seen = [x]
        for layer in self.layers:
            seen.append(layer(seen[-1]))
        return seen[1:]


def changed(x: Tensor, change: Tensor) -> Tensor:
    """The sum, which ends at -1, the floor, as the features do: so silence can be made exactly, and a critic knows nothing by it."""
    return functional.relu(x + change + 1) - 1


def _twice(x: Tensor) -> Tensor:
    """Every frame twice."""
    return x.repeat_interleave(2, dim=-1)
