"""synthkit's own networks for cMelGAN: features of any length from a path of noise, convolved along time with the bands as channels.

Nothing is padded: every frame is computed from the noise around it by the same weights, so that a long clip has no seam, begins as a
shorter one of the same noise, and looks everywhere as the windows did that the critic saw.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

SLOPE = 0.2
"""Slope of every leaky ReLU below zero."""


def _level(x: Tensor) -> Tensor:
    """Each moment of `[B, C, N]` with a mean square of 1 over its channels (Karras et al. 2018, section 4.2)."""
    return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-4)


class Stage(nn.Module):
    """Twice the frames, and a residual block whose channels the style scales and shifts. `[B, C, n]` to `[B, C, 2 n - 2]`."""

    def __init__(self, width: int, style: int) -> None:
        super().__init__()
        self.style = nn.Linear(style, 2 * width)
        self.conv = nn.Conv1d(width, width, 3)
        self.mix = nn.Conv1d(width, width, 1)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """`x` under `style` `[B, S]`."""
        x = x.repeat_interleave(2, dim=2)
        scale, shift = self.style(style)[..., None].chunk(2, dim=1)
        hidden = self.conv(functional.leaky_relu(_level(x) * (1 + scale) + shift, SLOPE))
        refined: Tensor = x[..., 1:-1] + self.mix(functional.leaky_relu(_level(hidden), SLOPE))
        return refined


class PathGenerator(nn.Module):
    """A style for the whole clip, made of its noise and its label, and a path with a step of noise for every so many frames.

    >>> network = PathGenerator(classes=2, n_mels=20, width=8, style=4, step=3, stages=2)
    >>> label, style, path = torch.eye(2)[:1], torch.randn(1, 4), torch.randn(1, network.steps(100), 3)
    >>> long, short = network(style, path, label), network(style, path[:, : network.steps(40)], label)
    >>> long.shape[2] >= 100, bool(torch.allclose(long[..., :40], short[..., :40], atol=1e-6))
    (True, True)
    """

    def __init__(self, classes: int, n_mels: int, width: int, style: int, step: int, stages: int) -> None:
        super().__init__()
        self.style_size, self.step_size = style, step
        self.embedding = nn.Embedding(classes, style)
        self.mapping = nn.Sequential(
            nn.Linear(2 * style, 2 * style), nn.LeakyReLU(SLOPE), nn.Linear(2 * style, 2 * style), nn.LeakyReLU(SLOPE)
        )
        self.first = nn.Conv1d(step, width, 3)
        self.tint = nn.Linear(2 * style, width)
        self.stages = nn.ModuleList(Stage(width, 2 * style) for _ in range(stages))
        self.last = nn.Conv1d(width, n_mels, 3)

    def steps(self, frames: int) -> int:
        """How many steps of the path make so many frames, with what the convolutions hear beyond both ends."""
        growth: int = 2 ** len(self.stages)
        return math.ceil((frames + 2 + 2 * (growth - 1)) / growth) + 2

    def forward(self, style: Tensor, path: Tensor, labels: Tensor) -> Tensor:
        """Noise `[B, style_size]`, a path `[B, L, step_size]` and weights of the labels `[B, classes]` to features `[B, M, N]`.

        N is the least number of frames that `steps` gives L for, or more.
        """
        told = self.mapping(torch.cat([style, labels @ self.embedding.weight], dim=1))
        x = self.first(path.transpose(1, 2)) + self.tint(told)[..., None]
        for stage in self.stages:
            x = stage(x, told)
        made: Tensor = self.last(functional.leaky_relu(x, SLOPE))
        return made


class PathCritic(nn.Module):
    """Two scales: a score for every few frames, and one for the window, by the mean and the deviation over time of what is seen in it.

    It looks at features as at a picture, because a sound an octave higher is made of the same lines. It is told the label beside
    the picture, as a level of each band, and at each score, as a vector that what was seen is multiplied with (Miyato and Koyama
    2018, projection).

    >>> critic = PathCritic(classes=3, n_mels=20, width=4, layers=3)
    >>> [scale[-1].shape for scale in critic(torch.zeros(2, 20, 32), torch.tensor([0, 2]))]
    [torch.Size([2, 8]), torch.Size([2, 1])]
    """

    def __init__(self, classes: int, n_mels: int, width: int, layers: int) -> None:
        super().__init__()
        self.plane = nn.Embedding(classes, n_mels)
        widths = [2, *(width * 2**layer for layer in range(layers))]
        self.layers = nn.ModuleList(nn.Conv2d(before, after, 4, 2, padding=1) for before, after in pairwise(widths))
        bands = [n_mels // 2**layer for layer in range(layers + 1)]
        self._middle = min(2, layers)
        self.near = _Score(classes, widths[self._middle] * bands[self._middle])
        self.hidden = nn.Linear(2 * widths[-1] * bands[-1], 8 * width)
        self.far = _Score(classes, 8 * width)

    def forward(self, features: Tensor, labels: Tensor) -> list[list[Tensor]]:
        """Features `[B, M, N]` and labels `[B]` to what the layers of each scale saw, the score last."""
        told = self.plane(labels)[..., None].expand(features.shape)
        seen = [torch.stack([features, told.to(features.dtype)], dim=1)]
        for layer in self.layers:
            seen.append(functional.leaky_relu(layer(seen[-1]), SLOPE))
        near = self.near(seen[self._middle].flatten(1, 2), labels)
        last = seen[-1].flatten(1, 2)
        deviation = (last.var(dim=2, correction=0) + 1e-4).sqrt()
        whole = functional.leaky_relu(self.hidden(torch.cat([last.mean(dim=2), deviation], dim=1)), SLOPE)
        far = self.far(whole[..., None], labels)
        return [[*seen[1 : self._middle + 1], near], [*seen[self._middle + 1 :], whole, far]]


class _Score(nn.Module):
    """`[B, C, n]` to scores `[B, n]`, by what a real of the label looks like."""

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.any = nn.Conv1d(width, 1, 1)
        self.embedding = nn.Embedding(classes, width)

    def forward(self, seen: Tensor, labels: Tensor) -> Tensor:
        own = (self.embedding(labels)[..., None] * seen).sum(dim=1) / math.sqrt(seen.shape[1])
        scores: Tensor = self.any(seen)[:, 0] + own
        return scores
