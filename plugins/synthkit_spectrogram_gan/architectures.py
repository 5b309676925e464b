"""The published networks as data: what their generators and critics are made of. Nothing here needs torch.

A map is a picture of a spectrogram, `bands x frames`, with one channel. Every pair below is (bands, frames).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

Pair = tuple[int, int]
Name = Literal["dcgan", "cgan", "mel-patch"]
Norm = Literal["batch", "item", "none"]
Activation = Literal["relu", "leaky", "selu", "tanh"]


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One convolution of a critic, or one transposed convolution of a generator."""

    channels: int
    """Channels that come out."""
    kernel: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    extra: Pair = (0, 0)
    """Rows and columns that a transposed convolution adds at the far ends (`output_padding`)."""

    def rise(self, size: Pair) -> Pair:
        """Size of the map that a transposed convolution makes of one of `size`.

        >>> Layer(channels=1, kernel=(3, 2), stride=(2, 1), padding=(1, 1), extra=(1, 0)).rise((32, 17))
        (64, 16)
        """
        bands, frames = (
            (one - 1) * stride - 2 * padding + kernel + extra
            for one, stride, padding, kernel, extra in zip(
                size, self.stride, self.padding, self.kernel, self.extra, strict=True
            )
        )
        return bands, frames

    def fall(self, size: Pair) -> Pair:
        """Size of the map that a convolution makes of one of `size`.

        >>> Layer(channels=4, kernel=(3, 2), stride=(2, 1), padding=(1, 1)).fall((64, 16))
        (32, 17)
        """
        bands, frames = (
            (one + 2 * padding - kernel) // stride + 1
            for one, stride, padding, kernel in zip(size, self.stride, self.padding, self.kernel, strict=True)
        )
        return bands, frames


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A generator and its critic."""

    size: Pair
    """Of a map."""
    latent: int
    """Numbers of noise that a map is made of."""
    conditional: bool
    """Whether both are told the label, as a one-hot vector."""
    dense: tuple[int, int, int] | None
    """Channels, bands and frames of what the generator's first, dense layer makes of the noise; None: noise is a map of 1 x 1."""
    rises: tuple[Layer, ...]
    """The generator's transposed convolutions."""
    rise_activation: Activation
    last_activation: Activation
    """Of the generator's last layer."""
    falls: tuple[Layer, ...]
    """The critic's convolutions; what comes out of them is laid flat."""
    hidden: tuple[int, ...]
    """The critic's dense layers before the last, which gives the score."""
    fall_activation: Activation
    told: Literal["first", "flat"]
    """Where a conditional critic is told the label: in the first layer, as if each label were one more channel of the map, or beside
    what was laid flat."""
    norm: Norm
    """After every convolution but the generator's last and the critic's first."""
    bias: bool
    dropout: float
    """Of the critic."""
    initial: float | None
    """Deviation of the first weights of convolutions; None: uniform after Glorot and Bengio."""

    def scaled(self, width: float) -> Architecture:
        """The same with `width` times as many channels."""

        def times(channels: int) -> int:
            return max(1, round(width * channels))

        *rises, last = self.rises
        return replace(
            self,
            dense=self.dense and (times(self.dense[0]), *self.dense[1:]),
            rises=(*(replace(layer, channels=times(layer.channels)) for layer in rises), last),
            falls=tuple(replace(layer, channels=times(layer.channels)) for layer in self.falls),
            hidden=tuple(map(times, self.hidden)),
        )


_HALVE = {"kernel": (4, 4), "stride": (2, 2), "padding": (1, 1)}
_KERAS = {"kernel": (3, 3), "stride": (2, 2), "padding": (1, 1)}
_PATCH = {"kernel": (3, 2), "stride": (2, 2)}

_DCGAN = Architecture(
    size=(64, 64),
    latent=100,
    conditional=False,
    dense=None,
    rises=(
        Layer(channels=512, kernel=(4, 4)),
        *(Layer(channels=channels, **_HALVE) for channels in (256, 128, 64, 1)),
    ),
    rise_activation="relu",
    last_activation="tanh",
    falls=tuple(Layer(channels=channels, **_HALVE) for channels in (64, 128, 256, 512)),
    hidden=(),
    fall_activation="leaky",
    told="first",
    norm="batch",
    bias=False,
    dropout=0.0,
    initial=0.02,
)
_CGAN = Architecture(
    size=(64, 64),
    latent=100,
    conditional=True,
    dense=(128, 16, 16),
    rises=(
        *(Layer(channels=channels, **_HALVE) for channels in (128, 256)),
        Layer(channels=1, kernel=(7, 7), padding=(3, 3)),
    ),
    rise_activation="relu",
    last_activation="tanh",
    falls=tuple(Layer(channels=channels, **_KERAS) for channels in (64, 128)),
    hidden=(256,),
    fall_activation="leaky",
    told="flat",
    norm="none",
    bias=True,
    dropout=0.25,
    initial=None,
)
_MEL_PATCH = Architecture(
    size=(64, 16),
    latent=20,
    conditional=False,
    dense=None,
    rises=(
        *(Layer(channels=channels, **_PATCH) for channels in (256, 128, 32)),
        Layer(channels=8, extra=(1, 1), **_PATCH),
        Layer(channels=1, kernel=(3, 2), stride=(2, 1), padding=(1, 1), extra=(1, 0)),
    ),
    rise_activation="selu",
    last_activation="selu",
    falls=(
        Layer(channels=4, kernel=(3, 2), stride=(2, 1), padding=(1, 1)),
        *(Layer(channels=channels, **_PATCH) for channels in (16, 32, 64, 128)),
    ),
    hidden=(64,),
    fall_activation="selu",
    told="flat",
    norm="none",
    bias=True,
    dropout=0.0,
    initial=0.02,
)

ARCHITECTURES: Mapping[Name, Architecture] = MappingProxyType({"dcgan": _DCGAN, "cgan": _CGAN, "mel-patch": _MEL_PATCH})
"""`dcgan` and `cgan` of Logeswaran123/MusicSpectroGAN (dcgan_model.py, cgan_model.py); `mel-patch` of bishakh17/Music-Generation
(melGAN.py). A published critic whose last layer is a convolution over the whole of its input has a dense layer here: the same sum."""
