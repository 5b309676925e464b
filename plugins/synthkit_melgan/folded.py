"""MelGAN's generator for inference: the same function as `network.Generator`, computed in the order that memory likes.

What is different, and why, on a CPU (10 s of sound, one and two threads, against the network as published):

- Weight norm is folded into the weights once instead of before every convolution.
- Sound lies in memory as `[B, T, C]`, all channels of one moment side by side: the layout in which convolutions reach the speed of
  matrix products.
- A transposed convolution of stride r and kernel 2r is a convolution of kernel 2 with r times the channels (its r phases), whose
  output, in this layout, is the interleaved sound as it lies. No zero is multiplied.
- A residual block's two 1x1 convolutions add into one output.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from synthkit_melgan.network import SLOPE, Generator, Residual


@dataclass(frozen=True)
class _Convolution:
    """Weights `[O, C, 1, K]` with the channels last in memory, and a bias `[O]`."""

    weight: Tensor
    bias: Tensor

    def __call__(self, x: Tensor, *, padding: int = 0, dilation: int = 1) -> Tensor:
        """`[B, T, C]` to `[B, T', O]`; zeros are padded."""
        image = x.transpose(1, 2)[:, :, None]
        out: Tensor = functional.conv2d(image, self.weight, self.bias, 1, (0, padding), (1, dilation))
        return out[:, :, 0].transpose(1, 2)


@dataclass(frozen=True)
class _Residual:
    dilated: _Convolution
    mix: Tensor
    """The block's 1x1 weights, `[C, C]`, from input to output."""
    shortcut: Tensor
    bias: Tensor
    dilation: int

    def __call__(self, x: Tensor) -> Tensor:
        hidden = functional.leaky_relu_(self.dilated(_activated(x, self.dilation), dilation=self.dilation), SLOPE)
        out = torch.addmm(self.bias, hidden.reshape(-1, hidden.shape[2]), self.mix)
        return out.addmm_(x.reshape(-1, x.shape[2]), self.shortcut).view(x.shape)


@dataclass(frozen=True)
class _Stage:
    phases: _Convolution
    ratio: int
    skip: int
    """Samples before the first, which the transposed convolution's padding cuts off."""
    residuals: tuple[_Residual, ...]

    def __call__(self, x: Tensor) -> Tensor:
        items, frames, _ = x.shape
        made = self.phases(functional.leaky_relu_(x, SLOPE), padding=1)
        x = made.reshape(items, (frames + 1) * self.ratio, -1)[:, self.skip : self.skip + frames * self.ratio]
        for residual in self.residuals:
            x = residual(x)
        return x


class FoldedGenerator:
    """A generator's weights of this moment, ready to run.

    >>> network = Generator(20, 4, (4, 3), 2).eval()
    >>> mel = torch.randn(2, 20, 12, generator=torch.Generator().manual_seed(1))
    >>> with torch.inference_mode():
    ...     bool(torch.allclose(FoldedGenerator(network)(mel), network(mel), atol=1e-6))
    True
    """

    def __init__(self, network: Generator, dtype: torch.dtype = torch.float32) -> None:
        """Fold `network`; it computes in `dtype` (bfloat16 is twice as fast where the processor has it, 35 dB above its error)."""
        self._dtype = dtype
        layers = list(network.model)
        self._first = self._convolution(layers[1])
        stages, place = [], 2
        for ratio in network.ratios:
            blocks = layers[place + 2 : place + 2 + len(network.dilations)]
            residuals = tuple(map(self._residual, blocks, network.dilations))
            stages.append(self._stage(layers[place + 1], ratio, residuals))
            place += 2 + len(blocks)
        self._stages = tuple(stages)
        # The samples themselves are never of bfloat16: quiet sound would be made of its 8 bits.
        self._last = self._convolution(layers[-2], torch.float32)

    def __call__(self, mel: Tensor) -> Tensor:
        """Log10 mel `[B, M, N]` to samples `[B, 1, N * product(ratios)]` in -1..1, float32."""
        x = self._first(_reflected(mel.to(self._dtype).transpose(1, 2), 3))
        for stage in self._stages:
            x = stage(x)
        return torch.tanh(self._last(_activated(x, 3).float())).transpose(1, 2)

    def _convolution(self, layer: nn.Module, dtype: torch.dtype | None = None) -> _Convolution:
        assert isinstance(layer, nn.Conv1d)
        return self._layer(layer.weight, layer.bias, dtype or self._dtype)

    def _layer(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> _Convolution:
        assert bias is not None
        image = weight.detach()[:, :, None].to(dtype)
        # The copy matters: PyTorch picks the kernel by the strides, and those of a kernel of width 1 would tell it nothing.
        return _Convolution(image.contiguous(memory_format=torch.channels_last), bias.detach().to(dtype))

    def _stage(self, layer: nn.Module, ratio: int, residuals: tuple[_Residual, ...]) -> _Stage:
        """Sample `s r + j` before cropping is `weight[j] x[s] + weight[j + r] x[s - 1]`."""
        assert isinstance(layer, nn.ConvTranspose1d)
        assert layer.bias is not None
        inputs, outputs, _ = layer.weight.shape
        taps = layer.weight.detach().view(inputs, outputs, 2, ratio).flip(2)
        phases = taps.permute(3, 1, 0, 2).reshape(ratio * outputs, inputs, 2)
        skip = layer.padding[0]
        assert isinstance(skip, int)
        return _Stage(self._layer(phases, layer.bias.repeat(ratio), self._dtype), ratio, skip, residuals)

    def _residual(self, block: nn.Module, dilation: int) -> _Residual:
        assert isinstance(block, Residual)
        mix, shortcut = self._convolution(block.block[4]), self._convolution(block.shortcut)
        return _Residual(
            dilated=self._convolution(block.block[2]),
            mix=mix.weight[:, :, 0, 0].t().contiguous(),
            shortcut=shortcut.weight[:, :, 0, 0].t().contiguous(),
            bias=mix.bias + shortcut.bias,
            dilation=dilation,
        )


def _activated(x: Tensor, padding: int) -> Tensor:
    """Leaky ReLU of `[B, T, C]`, reflected by `padding` at both ends, in one pass over the sound."""
    items, frames, channels = x.shape
    out = x.new_empty(items, frames + 2 * padding, channels)
    torch._C._nn.leaky_relu(x, SLOPE, out=out[:, padding : padding + frames])
    return _reflect_ends(out, padding)


def _reflected(x: Tensor, padding: int) -> Tensor:
    out = x.new_empty(x.shape[0], x.shape[1] + 2 * padding, x.shape[2])
    out[:, padding:-padding] = x
    return _reflect_ends(out, padding)


def _reflect_ends(x: Tensor, padding: int) -> Tensor:
    """Fill the first and last `padding` moments with the reflection of what lies inside."""
    x[:, :padding] = x[:, padding + 1 : 2 * padding + 1].flip(1)
    x[:, -padding:] = x[:, -2 * padding - 1 : -padding - 1].flip(1)
    return x
