"""Settings of MelGAN-VC and of how it learns. Nothing here needs torch."""

from __future__ import annotations

import dataclasses
from typing import Annotated

from pydantic import Field, model_validator

from synthkit.config import Config, ConverterConfig
from synthkit.errors import ConfigError
from synthkit.specs import FeatureSpec
from synthkit_melgan_vc.presets import PRESETS, Name, Norm, Preset

PATCH = 32
"""Fewest bands and frames that a critic of patches can judge."""


class MelGANVCConfig(ConverterConfig):
    """A converter from one label of the data to another: a published system, and whatever is to differ from it.

    >>> MelGANVCConfig(source="jazz", target="classical", channels=64).system.channels
    64
    """

    preset: Name = "light"
    """`melgan-vc` (Pasini 2019), `light` (a smaller one that learns on a CPU) or `travelgan` (U-net on 128 x 128 pictures)."""
    channels: int | None = Field(default=None, ge=1)
    """Of the generator and the siamese; null, here and below: as in the preset."""
    piece_frames: int | None = Field(default=None, ge=4)
    """Frames that are converted at once; the critic judges several such pieces in a row."""
    norm: Norm | None = None
    """In the place of each batch normalisation of the preset: `item` within each item, `none`, or `batch`."""
    residual: bool | None = None
    """Whether the generator makes the difference that conversion makes, which keeps more of the content."""
    carries: bool | None = None
    """Whether a piece is first moved to the bands in which the target's sounds lie, as voice conversion moves the pitch, so that the
    generator changes what it is played on; what the target already is stays. Not in the papers."""
    overlap_frames: int | None = Field(default=None, ge=0)
    """Frames over which one converted piece fades into the next, at most half of what is kept of one; null: a third of a piece. With 0,
    and no context, the pieces stand side by side, as published."""
    context_frames: int | None = Field(default=None, ge=0)
    """Frames at both ends of a piece that are heard when it is converted, and not kept; null: a sixth of a piece."""
    gate_silence: bool = True
    """Leave frames in which nothing sounds (every band at the floor) as they are, so that silence in gives silence out however little
    the network was trained."""

    @model_validator(mode="after")
    def _consistent(self) -> MelGANVCConfig:
        system = self.system
        if system.piece_frames % system.multiple:
            raise ValueError(f"piece_frames must be a multiple of {system.multiple} for {self.preset}")
        if system.patch_channels and system.piece_frames * system.pieces < PATCH:
            raise ValueError(
                f"piece_frames must be {-(-PATCH // system.pieces // 4) * 4} or more, so that there are patches to judge"
            )
        kept = system.piece_frames - 2 * self.context
        if kept < 1 or self.overlap > kept // 2:
            raise ValueError(
                f"overlap_frames is at most half of what is kept of a piece: of {system.piece_frames} frames the context_frames, "
                f"{self.context}, at both ends are not"
            )
        return self

    @property
    def system(self) -> Preset:
        """All networks, as these settings want them."""
        base = PRESETS[self.preset]
        given = self.model_dump(include={"channels", "piece_frames", "residual", "carries"}, exclude_none=True)
        norms = (base.norm, base.critic_norm, base.siamese_norm)
        norm, critic_norm, siamese_norm = (self.norm if self.norm and one == "batch" else one for one in norms)
        return dataclasses.replace(base, norm=norm, critic_norm=critic_norm, siamese_norm=siamese_norm, **given)

    @property
    def overlap(self) -> int:
        """Frames over which one converted piece fades into the next."""
        return self.system.piece_frames // 3 if self.overlap_frames is None else self.overlap_frames

    @property
    def context(self) -> int:
        """Frames at both ends of a piece that are heard and not kept."""
        return self.system.piece_frames // 6 if self.context_frames is None else self.context_frames

    def check_spec(self, spec: FeatureSpec) -> None:
        """Raise `ConfigError` where features are linear, or have bands that the pictures of a preset cannot have.

        >>> spec = FeatureSpec(sample_rate=22050, n_fft=1024, hop_length=256, n_mels=80)
        >>> MelGANVCConfig(source="a", target="b", preset="travelgan").check_spec(spec)
        Traceback (most recent call last):
        synthkit.errors.ConfigError: the pictures of travelgan need bands in a multiple of 32, but the features have n_mels 80: set
        n_mels to 96, or to 128 as in its preset style-transfer
        """
        if spec.log == "none":
            raise ConfigError(
                "MelGAN-VC needs features with a log (these have log: none): between -1 and 1, power that is not compressed is all "
                "-1 but for a few peaks; set log to log10 and floor to 1e-5"
            )
        system = self.system
        if system.patch_channels and spec.n_mels < PATCH:
            raise ConfigError(f"{self.preset} needs features of {PATCH} bands or more, not of n_mels {spec.n_mels}")
        if system.family == "pictures" and spec.n_mels % system.multiple:
            above = -(-spec.n_mels // system.multiple) * system.multiple
            raise ConfigError(
                f"the pictures of {self.preset} need bands in a multiple of {system.multiple}, but the features have n_mels "
                f"{spec.n_mels}: set n_mels to {above}, or to 128 as in its preset style-transfer"
            )


class MelGANVCObjectiveConfig(Config):
    """How MelGAN-VC learns; null: as the converter's preset was published."""

    adversarial_weight: float = Field(default=1.0, gt=0)
    """Weight of being taken for the target."""
    travel_weight: float | None = Field(default=None, ge=0)
    """Weight of the TraVeL loss (what differs between two pieces shall differ alike between the converted) and of the siamese's
    margin; 0 leaves both, and the siamese, out."""
    margin: float | None = Field(default=None, gt=0)
    """Least distance of the siamese's vectors of two pieces."""
    identity_weight: float | None = Field(default=None, ge=0)
    """Weight of leaving the target as it is."""
    content_weight: float | None = Field(default=None, ge=0)
    """Weight of following the source's loudness and height from moment to moment, its high ones to the target's high ones; not in the
    papers, for small data."""
    every: int | None = Field(default=None, ge=1)
    """The generator and the siamese learn in every so many-th step, the critic in each."""
    learning_rate: float | None = Field(default=None, gt=0)
    """Of Adam, for the generator and the siamese."""
    critic_learning_rate: float | None = Field(default=None, gt=0)
    """Of Adam, for the critic."""
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] | None = None
    """Of Adam, for all networks."""
