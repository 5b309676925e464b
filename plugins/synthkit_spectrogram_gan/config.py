"""Settings of the spectrogram GANs and of how they learn. Nothing here needs torch."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

from pydantic import Field, model_validator

from synthkit.config import Config, PartConfig
from synthkit.errors import ConfigError
from synthkit.specs import FeatureSpec
from synthkit_spectrogram_gan.architectures import ARCHITECTURES, Architecture, Name, Norm


class SpectrogramGANConfig(PartConfig):
    """A generator of small maps: a published one, and whatever is to differ from it.

    >>> SpectrogramGANConfig(preset="mel-patch").architecture.size
    (64, 16)
    """

    preset: Name = "dcgan"
    """`dcgan` or `cgan` (64 bands x 64 frames), or `mel-patch` (64 bands x 16 frames)."""
    conditional: bool | None = None
    """Whether it learns what each label sounds like and makes clips of a label; null, here and below: as in the preset."""
    latent: int | None = Field(default=None, ge=1)
    """Numbers of noise that a map is made of."""
    width: float = Field(default=1.0, gt=0)
    """Factor of all channels, of the generator and of its critic: 1 as published, 0.25 learns on a CPU."""
    norm: Norm | None = None
    """Normalisation after a convolution: `batch` over the whole batch, `item` within each item, `none`."""
    overlap: int | None = Field(default=None, ge=0)
    """Frames over which one map fades into the next where a clip is longer than a map; null: half of a map."""
    steadiness: float = Field(default=0.7, ge=0, lt=1)
    """How much of its noise a map shares with the one before it (a correlation): at 0 every map is other music."""

    @model_validator(mode="after")
    def _maps_go_on(self) -> SpectrogramGANConfig:
        half = self.architecture.size[1] // 2
        if self.overlap is not None and self.overlap > half:
            raise ValueError(
                f"overlap is at most half of a map, {half} frames, so that no more than two maps sound at once"
            )
        return self

    @property
    def architecture(self) -> Architecture:
        """Both networks, as these settings want them."""
        given = self.model_dump(include={"conditional", "latent", "norm"}, exclude_none=True)
        return dataclasses.replace(ARCHITECTURES[self.preset].scaled(self.width), **given)

    @property
    def fade(self) -> int:
        """Frames over which one map fades into the next."""
        return self.architecture.size[1] // 2 if self.overlap is None else self.overlap

    def abilities(self) -> frozenset[str]:
        """It blends labels and seeds, and varies as much as it is asked to."""
        return frozenset({"blend", "temperature"})

    def check_spec(self, spec: FeatureSpec) -> None:
        """Raise `ConfigError` where the features have not the map's bands, or no logarithm.

        >>> SpectrogramGANConfig().check_spec(FeatureSpec(sample_rate=22050, n_fft=1024, hop_length=256, n_mels=80))
        Traceback (most recent call last):
        synthkit.errors.ConfigError: the maps of dcgan have 64 bands, but the features have n_mels 80: set n_mels to 64
        """
        bands = self.architecture.size[0]
        if spec.n_mels != bands:
            raise ConfigError(
                f"the maps of {self.preset} have {bands} bands, but the features have n_mels {spec.n_mels}: set n_mels to {bands}"
            )
        if spec.log == "none":
            raise ConfigError(
                "a spectrogram GAN needs features with a log (these have log: none): between -1 and 1, power that is not "
                "compressed is all -1 but for a few peaks; set log to log10 and floor to 1e-5"
            )


class SpectrogramGANObjectiveConfig(Config):
    """How a spectrogram GAN learns. The defaults are those that both projects published."""

    adversarial: Literal["bce", "hinge", "least-squares"] = "bce"
    """The game between critic and generator; `bce` is binary cross-entropy."""
    learning_rate: float = Field(default=2e-4, gt=0)
    """Of Adam, for the generator."""
    critic_learning_rate: float | None = Field(default=None, gt=0)
    """Of Adam, for the critic; null: that of the generator."""
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.5, 0.999)
    """Of Adam, for both networks."""
    dropout: float | None = Field(default=None, ge=0, lt=1)
    """Of the critic; null: as in the model's preset."""
    critic_noise: float = Field(default=0.2, ge=0)
    """Deviation of normal noise that is added to every map, real or made, before the critic hears it; maps lie between -1 and 1.
    With some (0.1 to 0.3) the two can never be told apart by a trifle, and the critic does not win in its first steps."""
