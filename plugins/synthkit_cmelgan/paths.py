"""synthkit's own networks for cMelGAN: features of any length, grown as a picture from a path of noise.

The generator is a DCGAN (Radford et al. 2016) whose noise is a row of steps along time instead of one vector. Style and label go
through a mapping of their own (Karras et al. 2019, arXiv 1812.04948, section 2) and are heard at every size of the picture. So is the
course of the clip, a line of vectors that is grown beside the picture: it tells all bands at once that something begins or ends, which a
picture alone would have to pass on from band to band. Bands are padded; time is not: every frame is computed from the noise around it by
the same weights, so that a long clip has no seam, begins as a shorter one of the same noise, and looks everywhere as the windows did
that the critic saw.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

SLOPE = 0.2
"""Slope of leaky ReLUs below zero."""
_REACH = 3
"""Steps of the path that each place of the first picture is made of."""
_DEVIATION = 0.02
"""Of the generator's first weights (Radford et al. 2016, section 3)."""


class PathGenerator(nn.Module):
    """A style for the whole clip, a label, and a path with a step of noise for every so many frames.

    >>> network = PathGenerator(classes=2, n_mels=20, width=8, style=4, step=3, stages=2).eval()
    >>> label, style, path = torch.eye(2)[:1], torch.randn(1, 4), torch.randn(1, network.steps(100), 3)
    >>> long, short = network(style, path, label), network(style, path[:, : network.steps(40)], label)
    >>> long.shape[2] >= 100, bool(torch.allclose(long[..., :40], short[..., :40], atol=1e-6))
    (True, True)
    """

    def __init__(self, classes: int, n_mels: int, width: int, style: int, step: int, stages: int) -> None:
        super().__init__()
        self.style_size, self.step_size = style, step
        self._bands, self._stages = n_mels, stages
        self._start = (width, math.ceil(n_mels / 2**stages))
        self.mapping = nn.Sequential(
            nn.Linear(style + classes, width), nn.LeakyReLU(SLOPE), nn.Linear(width, width), nn.LeakyReLU(SLOPE)
        )
        # What sounds in a step, such as a note with its partials, takes more layers than one to say; here they cost little.
        said = 2 * width
        self.first = nn.Sequential(_heard(step + width, said, said), nn.Conv1d(said, math.prod(self._start), 1))
        self.course = nn.ModuleList(
            [_heard(step + width, said, width), *(_twice_as_long(width) for _ in range(stages))]
        )
        widths = [max(1, width // 2**stage) for stage in range(stages)]
        self.norms = nn.ModuleList(
            _ToldNorm(channels, self._start[1] * 2**stage, width) for stage, channels in enumerate(widths)
        )
        self.rises = nn.ModuleList(_twice_as_large(before, after) for before, after in pairwise([*widths, 1]))
        self.last = nn.Conv1d(width, self._start[1] * 2**stages, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.normal_(module.weight, 0.0, _DEVIATION)
        nn.init.normal_(self.last.weight, 0.0, _DEVIATION)

    def steps(self, frames: int) -> int:
        """How many steps of the path make so many frames, with what the convolutions hear beyond both ends."""
        growth: int = 2**self._stages
        return math.ceil((frames + 2 * (growth - 1)) / growth) + _REACH - 1

    def forward(self, style: Tensor, path: Tensor, labels: Tensor) -> Tensor:
        """Noise `[B, style_size]`, a path `[B, L, step_size]` and weights of the labels `[B, classes]` to features `[B, M, N]`.

        N is the least number of frames that `steps` gives L for, or more; all values are between -1 and 1.
        """
        whole = self.mapping(torch.cat([style, labels], dim=1))
        along = whole[:, None].expand(-1, path.shape[1], -1)
        noise = torch.cat([path, along], dim=2).transpose(1, 2)
        picture = _side_by_side(self.first(noise).unflatten(1, self._start))
        now = noise
        for norm, rise, grow in zip(self.norms, self.rises, self.course, strict=False):
            now = grow(now)
            picture = rise(norm(picture, whole, now).relu())
        made: Tensor = (picture[:, 0] + self.last(self.course[-1](now))).tanh()
        return made[:, : self._bands]


class _ToldNorm(nn.Module):
    """Batch normalisation whose gain and level follow from what the whole clip is (de Vries et al. 2017, for labels; Chen et al. 2019, for
    noise) and from what is the case now, row by row: lines that go on through time, and edges across all bands, which convolutions
    learn late, are drawn at once."""

    def __init__(self, channels: int, rows: int, told: int) -> None:
        super().__init__()
        self._size = (2 * channels, rows)
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.told = nn.Conv2d(told, 2 * channels * rows, 1)
        self.now = nn.Conv1d(told, 2 * channels * rows, 1, bias=False)
        nn.init.normal_(self.now.weight, 0.0, _DEVIATION)

    def forward(self, picture: Tensor, whole: Tensor, now: Tensor) -> Tensor:
        """A picture `[B, C, M, N]`, what the clip is `[B, told]`, and what is the case in each column `[B, told, N]`."""
        always = self.told(whole[:, :, None, None]).squeeze(3).unflatten(1, self._size)
        gain, level = (always + _side_by_side(self.now(now).unflatten(1, self._size))).chunk(2, dim=1)
        heard: Tensor = torch.addcmul(level, self.norm(picture), 1 + gain)
        return heard


def _heard(inputs: int, between: int, outputs: int) -> nn.Module:
    """`[B, C, L]` to `[B, C', L - 2]`: what is at each place, from the steps around it."""
    return nn.Sequential(
        *(nn.Conv1d(inputs, between, _REACH), nn.BatchNorm1d(between), nn.ReLU()),
        *(nn.Conv1d(between, outputs, 1), nn.BatchNorm1d(outputs), nn.ReLU()),
    )


def _twice_as_long(channels: int) -> nn.Module:
    """`[B, C, n]` to `[B, C, 2 n - 2]`, as the picture grows."""
    return nn.Sequential(nn.ConvTranspose1d(channels, channels, 4, 2, padding=2), nn.BatchNorm1d(channels), nn.ReLU())


def _twice_as_large(before: int, after: int) -> nn.Module:
    """`[B, C, M, n]` to `[B, C', 2 M, 2 n - 2]`: frames of which a part would have to be made of nothing are left out."""
    return nn.ConvTranspose2d(before, after, 4, 2, padding=(1, 2))


class PathCritic(nn.Module):
    """Strided convolutions over the picture, and at the end a score of every window of `columns` columns of the last picture.

    It is told the label in the first layer, as a level of each channel, and at the score, as a vector that what was seen is multiplied
    with (projection: Miyato and Koyama 2018).

    Nothing is normalised: the real and the made come in batches of their own, and what all of the made have in common, each layer too much
    of this or that, is what a normalised batch no longer shows. The first weights keep the size of what goes through (He et al. 2015).

    >>> critic = PathCritic(classes=3, n_mels=20, channels=(4, 8, 8), columns=4)
    >>> [scale[-1].shape for scale in critic(torch.zeros(2, 20, 40), torch.tensor([0, 2]))]
    [torch.Size([2, 2])]
    """

    def __init__(self, classes: int, n_mels: int, channels: Sequence[int], columns: int) -> None:
        super().__init__()
        self.told = nn.Embedding(classes, channels[0])
        self.layers = nn.ModuleList(_half_as_large(before, after) for before, after in pairwise([1, *channels]))
        seen = channels[-1] * (n_mels // 2 ** len(channels))
        self.any = nn.Conv1d(seen, 1, columns)
        self.own = nn.Conv1d(seen, classes, columns, bias=False)

    def forward(self, features: Tensor, labels: Tensor) -> list[list[Tensor]]:
        """Features `[B, M, N]` and labels `[B]` to what the layers saw, the scores `[B, n]` last: one scale."""
        first, *others = self.layers
        heard = first(_side_by_side(features[:, None]))
        seen = [functional.leaky_relu(heard + self.told(labels)[:, :, None, None], SLOPE)]
        for layer in others:
            seen.append(functional.leaky_relu(layer(seen[-1]), SLOPE))
        last = seen[-1].flatten(1, 2)
        own = self.own(last)[torch.arange(len(labels)), labels]
        return [[*seen, self.any(last)[:, 0] + own]]


def _half_as_large(before: int, after: int) -> nn.Conv2d:
    """`[B, C, M, N]` to `[B, C', M / 2, N / 2]`, as large as before in its values."""
    layer = nn.Conv2d(before, after, 4, 2, padding=1)
    nn.init.kaiming_normal_(layer.weight, SLOPE)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def _side_by_side(picture: Tensor) -> Tensor:
    """`[B, C, M, N]` with all channels of a place side by side in memory: on a CPU its convolutions take half the time.

    Unlike `contiguous(memory_format=...)` it says so in the strides where there is one channel or one place, too.
    """
    if picture.device.type != "cpu":
        return picture
    return picture.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
