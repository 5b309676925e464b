"""The two networks of a spectrogram GAN, built of an `Architecture`: maps are `[B, M, N]`, in the network's own units."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from synthkit_spectrogram_gan.architectures import Activation, Architecture, Norm

SLOPE = 0.2
"""Slope of a leaky ReLU below zero."""
_ACTIVATIONS: dict[Activation, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky": lambda: nn.LeakyReLU(SLOPE),
    "selu": nn.SELU,
    "tanh": nn.Tanh,
}
_NORMS: dict[Norm, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,
    "item": lambda channels: nn.GroupNorm(1, channels),
    "none": lambda _: nn.Identity(),
}


class Generator(nn.Module):
    """Noise, and what it shall be an example of, to maps.

    >>> from synthkit_spectrogram_gan.architectures import ARCHITECTURES
    >>> sum(parameter.numel() for parameter in Generator(ARCHITECTURES["dcgan"]).parameters())
    3574656
    """

    def __init__(self, architecture: Architecture, labels: int = 0) -> None:
        """`labels` is the number of labels that a conditional generator knows; 0 for one that is not conditional."""
        super().__init__()
        given = architecture.latent + labels
        self._first = architecture.dense or (given, 1, 1)
        self.dense = nn.Linear(given, math.prod(self._first)) if architecture.dense else None
        channels = self._first[0]
        slots: list[nn.Module] = []
        for layer in architecture.rises:
            sizes = (layer.kernel, layer.stride, layer.padding, layer.extra)
            slots.append(nn.ConvTranspose2d(channels, layer.channels, *sizes, bias=architecture.bias))
            slots += [_NORMS[architecture.norm](layer.channels), _ACTIVATIONS[architecture.rise_activation]()]
            channels = layer.channels
        self.rise = nn.Sequential(*slots[:-2], _ACTIVATIONS[architecture.last_activation]())
        initialise(self, architecture.initial)

    def forward(self, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        """Noise `[B, Z]` and one-hot labels `[B, L]` (or a mixture of some, where a blend is wanted) to maps `[B, M, N]`."""
        given = noise if labels is None else torch.cat([noise, labels], dim=1)
        if self.dense is not None:
            given = torch.relu(self.dense(given))
        maps: Tensor = self.rise(_side_by_side(given.view(-1, *self._first)))
        return maps[:, 0]


class Critic(nn.Module):
    """Maps, and what they are said to be examples of, to a score each: the real should score high.

    >>> from synthkit_spectrogram_gan.architectures import ARCHITECTURES
    >>> sum(parameter.numel() for parameter in Critic(ARCHITECTURES["cgan"], labels=10).parameters())
    8466177
    """

    def __init__(self, architecture: Architecture, labels: int = 0) -> None:
        """`labels` is the number of labels that a conditional critic is told; 0 for one that is not conditional."""
        super().__init__()
        told_first = bool(labels) and architecture.told == "first"
        channels, size = 1, architecture.size
        slots: list[nn.Module] = []
        for number, layer in enumerate(architecture.falls):
            norm = _NORMS[architecture.norm](layer.channels) if number else nn.Identity()
            sizes = (layer.kernel, layer.stride, layer.padding)
            slots.append(nn.Conv2d(channels, layer.channels, *sizes, bias=architecture.bias))
            slots += [norm, _ACTIVATIONS[architecture.fall_activation](), nn.Dropout(architecture.dropout)]
            channels, size = layer.channels, layer.fall(size)
        self.first, self.fall = slots[0], nn.Sequential(*slots[1:])
        self.told = nn.Linear(labels, architecture.falls[0].channels, bias=False) if told_first else None
        width = channels * math.prod(size)
        # One number among the 32,768 of `cgan`'s laid flat would hardly be heard, nor would its weights, which Adam moves no faster than
        # others: the label is as loud as all of them together.
        self._loudness = math.sqrt(width)
        width += 0 if told_first else labels
        slots = []
        for hidden in architecture.hidden:
            slots += [nn.Linear(width, hidden), _ACTIVATIONS[architecture.fall_activation]()]
            slots.append(nn.Dropout(architecture.dropout))
            width = hidden
        self.score = nn.Sequential(*slots, nn.Linear(width, 1, bias=architecture.bias))
        initialise(self, architecture.initial)

    def forward(self, maps: Tensor, labels: Tensor | None = None) -> list[list[Tensor]]:
        """Maps `[B, M, N]` and one-hot labels `[B, L]` to one scale of one layer, the scores `[B, 1]`."""
        heard = self.first(_side_by_side(maps[:, None]))
        if labels is not None and self.told is not None:
            heard = heard + self.told(labels)[:, :, None, None]
        flat = self.fall(heard).flatten(1)
        if labels is not None and self.told is None:
            flat = torch.cat([flat, self._loudness * labels], dim=1)
        return [[self.score(flat)]]


def _side_by_side(maps: Tensor) -> Tensor:
    """`[B, C, M, N]` with all channels of a place side by side in memory: on a CPU convolutions of such maps take half the time.

    Unlike `contiguous(memory_format=...)` it says so in the strides where there is one channel or one place, too.
    """
    if maps.device.type != "cpu":
        return maps
    return maps.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)


def one_hot(labels: Tensor, count: int) -> Tensor:
    """Indices `[B]` as vectors `[B, count]` that are 1 at the label and 0 elsewhere.

    >>> one_hot(torch.tensor([1, 0]), 3).tolist()
    [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]
    """
    return functional.one_hot(labels, count).float()


def initialise(network: nn.Module, deviation: float | None) -> None:
    """Draw first weights: normal of this deviation (DCGAN, Radford et al. 2016, section 3), or uniform after Glorot, as Keras does.

    With a deviation, biases, and dense layers that have one, stay as torch draws them: so they do in both published codes.
    """
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and deviation is not None:
            nn.init.normal_(module.weight, 1.0, deviation)
        elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            if deviation is None:
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif module.bias is None or not isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0.0, deviation)
