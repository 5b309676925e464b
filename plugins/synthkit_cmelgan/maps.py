"""cMelGAN's published networks (Kaunismaa et al. 2022, arXiv 2205.07319): maps of fixed size, grown by 2-D convolutions.

Written from the published sizes. What the authors' code does otherwise, and why not here:

- Their five 1-D stages are constructed and never called. Here there are none, or they are used (`refine`): each refines the finished
  map with the bands as channels. Theirs would stride by 2 and pad the length back; these pad by a few frames.
- Their critic pads its second layer, which strides by 4, with 393 zeros on each side, so that only the middle of a map is seen. Here
  the strides divide the size, and every layer sees all of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

SLOPE = 0.2
"""Slope of every leaky ReLU below zero."""


class Residual(nn.Module):
    """Three times `x -> shortcut(x) + block(x)`; a block looks 1, 3 and 9 places around, along one axis or two."""

    def __init__(self, channels: int, axes: int, layers: int) -> None:
        super().__init__()
        conv, pad = (nn.Conv2d, nn.ReflectionPad2d) if axes == 2 else (nn.Conv1d, nn.ReflectionPad1d)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.LeakyReLU(SLOPE),
                pad(3**layer),
                weight_norm(conv(channels, channels, 3, dilation=3**layer)),
                nn.LeakyReLU(SLOPE),
                weight_norm(conv(channels, channels, 1)),
            )
            for layer in range(layers)
        )
        self.shortcuts = nn.ModuleList(weight_norm(conv(channels, channels, 1)) for _ in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, ...]` to the same shape."""
        for block, shortcut in zip(self.blocks, self.shortcuts, strict=True):
            x = shortcut(x) + block(x)
        return x


class MapGenerator(nn.Module):
    """Noise times the embedding of a label, made a small picture and grown in four stages to a map of features.

    The published one has 13,177,652 parameters; with its 1-D stages, which here are used, 24,016,692.

    >>> with torch.device("meta"):
    ...     [sum(p.numel() for p in MapGenerator(classes=3, rows=4, refine=kernels).parameters()) for kernels in ((), (4, 8, 24, 24, 30))]
    [13177652, 24016692]
    """

    def __init__(
        self,
        classes: int,
        rows: int,
        columns: int = 4,
        noise: int = 128,
        start_channels: int = 256,
        channels: Sequence[int] = (512, 128, 32, 1),
        kernels: Sequence[int] = (4, 4, 8, 8),
        strides: Sequence[int] = (4, 4, 2, 2),
        residual_layers: int = 3,
        dropout: float = 0.5,
        refine: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.style_size, self.step_size = 0, noise
        self.columns, self.growth = columns, math.prod(strides)
        self._start = (start_channels, rows, columns)
        self.embedding = nn.Embedding(classes, noise)
        self.linear = nn.Linear(noise, math.prod(self._start))
        widths = [start_channels, *channels]
        self.stages = nn.ModuleList(
            nn.Sequential(
                weight_norm(nn.ConvTranspose2d(inputs, outputs, kernel, stride, (kernel - stride) // 2)),
                nn.LeakyReLU(SLOPE),
                nn.Dropout(dropout),
                Residual(outputs, 2, residual_layers),
            )
            for inputs, outputs, kernel, stride in zip(widths, channels, kernels, strides, strict=False)
        )
        bands = rows * self.growth
        self.refine = nn.ModuleList(
            nn.Sequential(
                nn.ZeroPad1d(((kernel - 1) // 2, kernel // 2)),
                weight_norm(nn.Conv1d(bands, bands, kernel)),
                nn.LeakyReLU(SLOPE),
                nn.Dropout(dropout),
                Residual(bands, 1, residual_layers),
            )
            for kernel in refine
        )

    @property
    def window(self) -> int:
        """Frames of one window."""
        return self.columns * self.growth

    def steps(self, frames: int) -> int:
        """How many windows, each half over the one before, make so many frames."""
        half = self.window // 2
        return max(1, math.ceil(frames / half) - 1)

    def forward(self, style: Tensor, path: Tensor, labels: Tensor) -> Tensor:
        """Noise `[B, K, step_size]` of K windows and weights of the labels `[B, classes]` to features `[B, M, (K + 1) / 2 window]`.

        There is nothing in the `style` `[B, 0]`: each window is a clip of its own.

        The windows overlap by half before they are grown, in the picture that the linear layer makes of each: there they are
        cross-faded, and everything after it is convolution, so that there is no seam. One window is the published network.
        """
        items, count, _ = path.shape
        told = path * (labels @ self.embedding.weight)[:, None]
        pictures = functional.linear(told, self.linear.weight).view(items, count, *self._start)
        bias = self.linear.bias.view(self._start)
        x = functional.leaky_relu(_overlapped(pictures, bias), SLOPE)
        for stage in self.stages:
            x = stage(x)
        x = x[:, 0]
        for stage in self.refine:
            x = stage(x)
        return x


def _overlapped(pictures: Tensor, bias: Tensor) -> Tensor:
    """Pictures `[B, K, C, H, W]` of W columns, each W/2 columns after the one before, as one `[B, C, H, (K + 1) W / 2]`.

    The pictures are linear in normal noise: weights whose squares add up to 1 leave each column the distribution that it has in
    a picture alone. The bias `[C, H, W]` is faded with the squares.
    """
    count, width = pictures.shape[1], pictures.shape[-1]
    half = width // 2
    phase = (torch.arange(half, device=pictures.device) + 0.5) / half * (math.pi / 2)
    rise = phase.sin()
    total = None
    for place in range(count):
        fade = torch.ones(width, device=pictures.device)
        if place:
            fade[:half] = rise
        if place < count - 1:
            fade[width - half :] = rise.flip(0)
        faded = functional.pad(
            pictures[:, place] * fade + bias * fade.square(), (place * half, (count - 1 - place) * half)
        )
        total = faded if total is None else total + faded
    assert total is not None
    return total


class MapCritic(nn.Module):
    """Strided grouped 2-D convolutions over a map and beside it a map of weights learned for the label; one score for the whole.

    The published one, for three labels and maps of 256 x 256, has 1,201,345 parameters.

    >>> sum(p.numel() for p in MapCritic(classes=3, rows=256, columns=256).parameters())
    1201345
    """

    def __init__(
        self,
        classes: int,
        rows: int,
        columns: int,
        channels: Sequence[int] = (16, 32, 64, 128, 256, 832),
        kernels: Sequence[int] = (21, 22, 22, 22, 22, 6),
        strides: Sequence[int] = (1, 4, 2, 2, 4, 4),
        groups: Sequence[int] = (1, 4, 16, 16, 32, 64),
        sigmoid: bool = True,
    ) -> None:
        super().__init__()
        self._size = (rows, columns)
        self.embedding = nn.Embedding(classes, rows * columns)
        layers = zip([2, *channels], channels, kernels, strides, groups, strict=False)
        self.layers = nn.ModuleList(
            nn.Sequential(
                weight_norm(nn.Conv2d(inputs, outputs, kernel, stride, (kernel - stride + 1) // 2, groups=group)),
                nn.LeakyReLU(SLOPE),
            )
            for inputs, outputs, kernel, stride, group in layers
        )
        self.score = nn.Linear(channels[-1], 1)
        self._sigmoid = sigmoid

    def forward(self, features: Tensor, labels: Tensor) -> list[list[Tensor]]:
        """Features `[B, M, N]` and labels `[B]` to the outputs of all layers, the score `[B, 1]` last: one scale."""
        plane = self.embedding(labels).view(-1, *self._size)
        outputs = [torch.stack([features, plane], dim=1)]
        for layer in self.layers:
            outputs.append(layer(outputs[-1]))
        score = self.score(outputs[-1].mean(dim=(2, 3)))
        return [[*outputs[1:], score.sigmoid() if self._sigmoid else score]]
