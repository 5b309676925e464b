"""MelGAN's two networks (Kumar et al. 2019, arXiv 1910.06711; official code descriptinc/melgan-neurips).

Module names and order follow the official state dict (`model.3`, `model.4.block.2`, `model.disc_0.model.layer_1.0`), so that
its checkpoints map onto these networks by renaming `weight_g`, `weight_v` to `parametrizations.weight.original0`, `original1`.
Initial weights are PyTorch's defaults: the official N(0, 0.02) is written to a derived tensor and lost at the first forward.
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


class _Line(nn.Conv1d):
    """A convolution of `[B, C, 1, T]`, a picture one pixel high."""

    def __init__(self, inputs: int, outputs: int, kernel: int, dilation: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, dilation=dilation)
        weight_norm(self)

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.weight[:, :, None], self.bias, dilation=(1, *self.dilation))


class _Upsample(nn.ConvTranspose1d):
    """A transposed convolution of `[B, C, 1, T]` that makes exactly `ratio` steps of one, for odd ratios too."""

    def __init__(self, inputs: int, outputs: int, ratio: int) -> None:
        super().__init__(inputs, outputs, 2 * ratio, ratio, ratio // 2 + ratio % 2, output_padding=ratio % 2)
        weight_norm(self)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        stride, padding, odd = (1, *self.stride), (0, int(self.padding[0])), (0, *self.output_padding)
        return functional.conv_transpose2d(x, self.weight[:, :, None], self.bias, stride, padding, odd)


class Residual(nn.Module):
    """`x -> shortcut(x) + block(x)`; the shortcut is a learned 1x1 convolution, the block looks `dilation` steps around."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.LeakyReLU(SLOPE),
            nn.ReflectionPad2d((dilation, dilation, 0, 0)),
            _Line(channels, channels, 3, dilation),
            nn.LeakyReLU(SLOPE),
            _Line(channels, channels, 1),
        )
        self.shortcut = _Line(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, C, 1, T]` to `[B, C, 1, T]`."""
        refined: Tensor = self.shortcut(x) + self.block(x)
        return refined


class Generator(nn.Module):
    """Log-mel frames to samples: each stage upsamples by one ratio and refines with dilated residual blocks.

    Inside, sound is `[B, C, 1, T]`: a CPU computes pictures whose channels lie side by side in memory 1.2 times as fast as
    `[B, C, T]` in float32, 1.6 times in bfloat16.

    >>> network = Generator()
    >>> sum(p.numel() for p in network.parameters())
    4266050
    >>> network.context
    6
    """

    def __init__(
        self, n_mels: int = 80, channels: int = 32, ratios: Sequence[int] = (8, 8, 2, 2), residual_layers: int = 3
    ) -> None:
        super().__init__()
        self.ratios = tuple(ratios)
        self.dilations = tuple(3**layer for layer in range(residual_layers))
        width = channels * 2 ** len(self.ratios)
        slots: list[nn.Module] = [nn.ReflectionPad2d((3, 3, 0, 0)), _Line(n_mels, width, 7)]
        for ratio in self.ratios:
            slots += [nn.LeakyReLU(SLOPE), _Upsample(width, width // 2, ratio)]
            width //= 2
            slots += [Residual(width, dilation) for dilation in self.dilations]
        slots += [nn.LeakyReLU(SLOPE), nn.ReflectionPad2d((3, 3, 0, 0)), _Line(width, 1, 7), nn.Tanh()]
        self.model = nn.Sequential(*slots)

    def forward(self, mel: Tensor) -> Tensor:
        """Log10 mel `[B, M, N]` to samples `[B, 1, N * product(ratios)]` in -1..1; N is at least `least_frames`."""
        picture = mel[:, :, None]
        if picture.device.type == "cpu":
            picture = picture.contiguous(memory_format=torch.channels_last)
        samples: Tensor = self.model(picture)
        return samples[:, :, 0]

    @property
    def least_frames(self) -> int:
        """Fewest frames that every reflection padding inside can work with."""
        rate, least = 1, 4
        for ratio in self.ratios:
            rate *= ratio
            least = max([least, *(dilation // rate + 1 for dilation in self.dilations)])
        return least

    @property
    def context(self) -> int:
        """Frames on each side that a frame's samples depend on: what a chunk needs to come out as in the whole."""
        first, last = -3, math.prod(self.ratios) - 1 + 3
        for ratio in reversed(self.ratios):
            reach, padding = sum(self.dilations), ratio // 2 + ratio % 2
            first = -((2 * ratio - 1 - padding - (first - reach)) // ratio)
            last = (last + reach + padding) // ratio
        return max(3 - first, last + 3)


def _conv(inputs: int, outputs: int, kernel: int, *, stride: int = 1, padding: int = 0, groups: int = 1) -> nn.Conv1d:
    convolution = nn.Conv1d(inputs, outputs, kernel, stride, padding, groups=groups)
    weight_norm(convolution)
    return convolution


class ScaleCritic(nn.Module):
    """One discriminator: strided grouped convolutions that judge windows of the sound. Kept in `model.layer_i`, the last is the score."""

    def __init__(self, channels: int, layers: int, factor: int, max_channels: int) -> None:
        super().__init__()
        width = channels
        stack: list[nn.Module] = [nn.Sequential(nn.ReflectionPad1d(7), _conv(1, width, 15), nn.LeakyReLU(SLOPE))]
        for _ in range(layers):
            inputs, width = width, min(width * factor, max_channels)
            down = _conv(inputs, width, 10 * factor + 1, stride=factor, padding=5 * factor, groups=inputs // 4)
            stack.append(nn.Sequential(down, nn.LeakyReLU(SLOPE)))
        # The official code takes the channels before the last `factor` here, which is right only once they are capped.
        inputs, width = width, min(width * 2, max_channels)
        stack.append(nn.Sequential(_conv(inputs, width, 5, padding=2), nn.LeakyReLU(SLOPE)))
        stack.append(_conv(width, 1, 3, padding=1))
        self.model = nn.ModuleDict({f"layer_{place}": layer for place, layer in enumerate(stack)})

    def forward(self, samples: Tensor) -> list[Tensor]:
        """`[B, 1, T]` to the outputs of all layers, the score map `[B, 1, T']` last."""
        outputs = [samples]
        for layer in self.model.values():
            outputs.append(layer(outputs[-1]))
        return outputs[1:]


class Critic(nn.Module):
    """The same discriminator, with weights of its own, on the sound and on halvings of its rate.

    >>> sum(p.numel() for p in Critic().parameters())
    16924086
    """

    def __init__(
        self, scales: int = 3, channels: int = 16, layers: int = 4, factor: int = 4, max_channels: int = 1024
    ) -> None:
        super().__init__()
        critics = {f"disc_{scale}": ScaleCritic(channels, layers, factor, max_channels) for scale in range(scales)}
        self.model = nn.ModuleDict(critics)
        self.halve = nn.AvgPool1d(4, stride=2, padding=1, count_include_pad=False)

    def forward(self, samples: Tensor) -> list[list[Tensor]]:
        """`[B, 1, T]` to, for each scale, the outputs of all its layers, the score map last."""
        judged = []
        for scale, critic in enumerate(self.model.values()):
            if scale:
                samples = self.halve(samples)
            judged.append(critic(samples))
        return judged
