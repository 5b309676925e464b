"""The published systems as data: what their networks are made of and how they learned. Nothing here needs torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Name = Literal["melgan-vc", "light", "travelgan"]
Family = Literal["columns", "pictures"]
Norm = Literal["batch", "item", "none"]


@dataclass(frozen=True, kw_only=True)
class Preset:
    """One generator, one critic and one siamese network, and what they learned with."""

    family: Family
    """`columns`: 1-D over time, all bands of a frame are its channels; `pictures`: 2-D."""
    piece_frames: int
    """Frames that are converted at once."""
    pieces: int
    """Pieces in a row that the critic judges as a whole."""
    channels: int
    """Of the generator and the siamese: of all their layers (`columns`), of the first (`pictures`)."""
    critic_channels: int
    """Of the critic, likewise."""
    patch_channels: int
    """Of a second critic beside that of columns, which sees patches of a picture wherever they lie; 0: there is none."""
    embedding: int
    """Numbers that the siamese makes of a piece."""
    norm: Norm
    """Of the generator."""
    critic_norm: Norm
    siamese_norm: Norm
    spectral: bool
    """Whether the generator's weights are divided by their spectral norm; the critic's always are."""
    siamese_spectral: bool
    residual: bool
    """Whether the generator makes the difference that conversion makes, rather than all of it."""
    carries: bool
    """Whether pieces are moved, before the generator sees them, to the bands in which the target's sounds lie."""
    travel_weight: float
    margin: float
    """Least distance of the siamese's two embeddings."""
    margin_power: int
    """Power of what is missing to the margin."""
    identity_weight: float
    content_weight: float
    every: int
    """The generator and the siamese learn in every so many-th step."""
    learning_rate: float
    """Of the generator and the siamese."""
    critic_learning_rate: float
    betas: tuple[float, float]

    @property
    def multiple(self) -> int:
        """What the frames of a piece, and for pictures the bands too, must be a multiple of."""
        return 4 if self.family == "columns" else 32


_MELGAN_VC = Preset(
    family="columns",
    piece_frames=24,
    pieces=3,
    channels=256,
    critic_channels=512,
    patch_channels=0,
    embedding=128,
    norm="batch",
    critic_norm="none",
    siamese_norm="batch",
    spectral=True,
    siamese_spectral=False,
    residual=False,
    carries=False,
    travel_weight=10.0,
    margin=2.0,
    margin_power=2,
    identity_weight=0.5,
    content_weight=0.0,
    every=3,
    learning_rate=2e-4,
    critic_learning_rate=2e-4,
    betas=(0.5, 0.999),
)
_LIGHT = Preset(
    family="columns",
    piece_frames=24,
    pieces=3,
    channels=64,
    critic_channels=128,
    patch_channels=32,
    embedding=64,
    norm="none",
    critic_norm="none",
    siamese_norm="none",
    spectral=False,
    siamese_spectral=False,
    residual=True,
    carries=True,
    travel_weight=0.5,
    margin=2.0,
    margin_power=2,
    identity_weight=0.2,
    content_weight=6.0,
    every=1,
    learning_rate=1e-3,
    critic_learning_rate=1e-3,
    betas=(0.5, 0.9),
)
_TRAVELGAN = Preset(
    family="pictures",
    piece_frames=128,
    pieces=2,
    channels=64,
    critic_channels=64,
    patch_channels=0,
    embedding=1000,
    norm="batch",
    critic_norm="batch",
    siamese_norm="none",
    spectral=True,
    siamese_spectral=True,
    residual=False,
    carries=False,
    travel_weight=10.0,
    margin=10.0,
    margin_power=1,
    identity_weight=0.0,
    content_weight=0.0,
    every=1,
    learning_rate=2e-4,
    critic_learning_rate=2e-4,
    betas=(0.5, 0.999),
)

PRESETS: Mapping[Name, Preset] = MappingProxyType({"melgan-vc": _MELGAN_VC, "light": _LIGHT, "travelgan": _TRAVELGAN})
"""`melgan-vc`: marcoppasini/MelGAN-VC, MelGAN_VC.ipynb, with the identity loss that it has for voices. `travelgan`:
2BytesGoat/wmelonet-melgan_style_transfer (starting project 001), travelgan/networks.py and configs/travel_cfg.json; its
generators were trained against the wrong direction and could not reach the range of their features. `light`: ours, a
smaller one of the first family that learns from few clips on a CPU."""
