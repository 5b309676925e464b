"""Settings of MelGAN and of how it learns. The defaults are the official ones; nothing here needs torch."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from synthkit.config import Config, PartConfig
from synthkit.errors import ConfigError
from synthkit.specs import FeatureSpec

Ratio = Annotated[int, Field(ge=2)]


class MelGANConfig(PartConfig):
    """MelGAN's generator. The default has 4,266,050 parameters and fits features of hop 256.

    >>> from synthkit.presets import PRESETS
    >>> MelGANConfig().check_spec(PRESETS["melgan"].spec)
    """

    channels: int = Field(default=32, ge=1)
    """Channels at the sample rate; each stage before has twice as many (512 at the frame rate with four ratios)."""
    ratios: tuple[Ratio, ...] = Field(default=(8, 8, 2, 2), min_length=1)
    """Upsampling of each stage; their product is the features' hop_length."""
    residual_layers: int = Field(default=3, ge=1, le=6)
    """Residual blocks per stage, with dilations 1, 3, 9 ..."""
    gate_silence: bool = True
    """Fade the sound out where the features say that nothing sounds (every band of a frame at the floor), so that silence
    in gives silence out however little the network was trained. The paper's network alone is this set to false."""

    def check_spec(self, spec: FeatureSpec) -> None:
        """Raise `ConfigError` where the ratios do not make `spec.hop_length` samples of a frame, or features are linear.

        >>> MelGANConfig().check_spec(FeatureSpec(sample_rate=24000, n_fft=1200, hop_length=300, n_mels=80))
        Traceback (most recent call last):
        synthkit.errors.ConfigError: MelGAN's ratios 8 x 8 x 2 x 2 make 256 samples of a frame, but the features'
        hop_length is 300; ratios [6, 5, 5, 2] fit it
        """
        product = math.prod(self.ratios)
        if product != spec.hop_length:
            fitting = fitting_ratios(spec.hop_length)
            advice = (
                f"ratios {fitting} fit it" if fitting else "no ratios of 2 to 16 fit it, so choose another hop_length"
            )
            made = f"MelGAN's ratios {' x '.join(map(str, self.ratios))} make {product} samples of a frame"
            raise ConfigError(f"{made}, but the features' hop_length is {spec.hop_length}; {advice}")
        if spec.log == "none":
            raise ConfigError(
                "MelGAN needs features with a log (these have log: none); log10 with floor 1e-5 is the official one"
            )


class CriticConfig(Config):
    """MelGAN's multi-scale discriminator. The default has 16,924,086 parameters."""

    scales: int = Field(default=3, ge=1, le=6)
    """Discriminators; each hears the sound at half the rate of the one before."""
    channels: int = Field(default=16, ge=4, multiple_of=4)
    """Channels of the first layer."""
    layers: int = Field(default=4, ge=1, le=6)
    """Strided layers; each lowers the rate and raises the channels by `factor`."""
    factor: int = Field(default=4, ge=2, le=16)
    """Stride of a strided layer."""
    max_channels: int = Field(default=1024, ge=4, multiple_of=4)
    """Most channels of a layer."""

    @model_validator(mode="after")
    def _groups_divide(self) -> CriticConfig:
        width = self.channels
        for _ in range(self.layers):
            groups, width = width // 4, min(width * self.factor, self.max_channels)
            if width % groups or width < groups:
                raise ValueError(
                    f"max_channels {self.max_channels} must be a multiple of {groups}, the groups of a layer"
                )
        return self


class MelGANObjectiveConfig(Config):
    """How MelGAN learns: a critic and the matching of its features; optionally the losses that later papers add.

    A weight of 0 leaves a loss out. With both `adversarial_weight` and `feature_matching_weight` 0 there is no critic at
    all and the generator learns by reconstruction alone.
    """

    adversarial: Literal["hinge", "least-squares", "bce"] = "hinge"
    """The game between critic and generator; `bce` is binary cross-entropy."""
    adversarial_weight: float = Field(default=1.0, ge=0)
    """Weight of being taken for real."""
    feature_matching_weight: float = Field(default=10.0, ge=0)
    """Weight of looking alike to each layer of the critic."""
    mel_weight: float = Field(default=0.0, ge=0)
    """Weight of the mean absolute log-mel difference, in the features' own log units (HiFi-GAN: 45 with ln)."""
    multi_stft_weight: float = Field(default=0.0, ge=0)
    """Weight of the multi-resolution STFT loss of Parallel WaveGAN."""
    adversarial_from_step: int = Field(default=0, ge=0)
    """Steps by reconstruction alone before the critic and its two losses begin (Parallel WaveGAN: 100,000)."""
    critic_warmup: int = Field(default=0, ge=0)
    """The critic's first steps, in which it learns alone: 1,000 or so for a new critic beside a generator that is trained already."""
    learning_rate: float = Field(default=1e-4, gt=0)
    """Of Adam, for both networks."""
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.5, 0.9)
    """Of Adam, for both networks."""
    critic: CriticConfig = CriticConfig()
    """The discriminator."""

    @model_validator(mode="after")
    def _something_to_learn(self) -> MelGANObjectiveConfig:
        reconstructs = self.mel_weight > 0 or self.multi_stft_weight > 0
        if not (reconstructs or self.has_critic):
            raise ValueError("all weights are 0, so there is nothing to learn")
        if self.adversarial_from_step and self.has_critic and not reconstructs:
            raise ValueError(
                "adversarial_from_step needs something to learn before that step: set mel_weight or multi_stft_weight"
            )
        if self.critic_warmup and not self.has_critic:
            raise ValueError("critic_warmup needs a critic: set adversarial_weight or feature_matching_weight")
        return self

    @property
    def has_critic(self) -> bool:
        """Whether any loss needs the critic."""
        return self.adversarial_weight > 0 or self.feature_matching_weight > 0


def fitting_ratios(hop_length: int) -> list[int]:
    """Ratios of 2 to 16, largest first, whose product is `hop_length`: near to four, none larger than need be; empty if there are none.

    >>> fitting_ratios(256), fitting_ratios(300), fitting_ratios(441), fitting_ratios(13 * 17)
    ([8, 8, 2, 2], [6, 5, 5, 2], [7, 7, 3, 3], [])
    """
    found = _factorings(hop_length, 16)
    if not found:
        return []
    # Official MelGAN has four stages and no ratio above 8; among equals it puts the large ratios first.
    return min(found, key=lambda ratios: (max(*ratios, 8), abs(len(ratios) - 4), [-ratio for ratio in ratios]))


def _factorings(number: int, largest: int) -> list[list[int]]:
    """All products of descending factors from 2 to `largest` that give `number` (at least 2)."""
    found = [[number]] if 2 <= number <= largest else []
    for factor in range(min(largest, number // 2), 1, -1):
        if number % factor == 0:
            found += [[factor, *rest] for rest in _factorings(number // factor, factor)]
    return found
