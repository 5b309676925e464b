"""Settings of cMelGAN and of how it learns. Nothing here needs torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from synthkit.config import Config, PartConfig, under
from synthkit.errors import ConfigError
from synthkit.specs import FeatureSpec

Count = Annotated[int, Field(ge=1)]
Preset = Literal["published", "published-1d"]
Beta = Annotated[float, Field(ge=0, lt=1)]

MODEL_PRESETS: Mapping[Preset, Mapping[str, Any]] = {
    "published": {"design": "map"},
    "published-1d": {"design": "map", "map": {"refine": (4, 8, 24, 24, 30)}},
}
OBJECTIVE_PRESETS: Mapping[Literal["published"], Mapping[str, Any]] = {
    "published": {
        "adversarial": "least-squares",
        "critic_steps": 2,
        "r1_weight": 0.0,
        "critic_noise": 0.0,
        "learning_rate": 1e-4,
        "critic_learning_rate": 1e-4,
        "betas": (0.9, 0.999),
        "map_critic": {"sigmoid": True},
    },
}


class PathConfig(Config):
    """The generator of synthkit's own design: a style for the clip and a path of noise along it."""

    width: int = Field(default=128, ge=1)
    """Channels of the first picture; each of the next has half as many."""
    style: int = Field(default=48, ge=1)
    """Numbers of noise for the whole clip."""
    step: int = Field(default=16, ge=1)
    """Numbers of noise for each step of the path."""
    stages: int = Field(default=4, ge=1, le=8)
    """Times that the picture is made twice as high and wide: 4 make 16 frames of a step."""


class MapConfig(Config):
    """The published generator. The defaults make maps of 256 bands and 256 frames and have 13,177,652 parameters for 3 labels."""

    noise: int = Field(default=128, ge=1)
    """Numbers of noise for a window, and of a label's embedding, which they are multiplied with."""
    start_channels: int = Field(default=256, ge=1)
    """Channels of the picture that the noise first becomes."""
    columns: int = Field(default=4, ge=2, multiple_of=2)
    """Width of that picture; times all strides it is a window's frames. Its height is n_mels through all strides."""
    channels: tuple[Count, ...] = Field(default=(512, 128, 32, 1), min_length=1)
    """Channels after each stage; the last is 1."""
    kernels: tuple[Count, ...] = (4, 4, 8, 8)
    """Kernel of each stage; it exceeds the stride by an even number."""
    strides: tuple[Count, ...] = (4, 4, 2, 2)
    """How many times as high and wide each stage makes the picture."""
    residual_layers: int = Field(default=3, ge=1, le=4)
    """Residual blocks of a stage, with dilations 1, 3, 9."""
    dropout: float = Field(default=0.5, ge=0, lt=1)
    """Share of a stage's channels' values that are dropped in training; when generating none are."""
    refine: tuple[Count, ...] = ()
    """Kernels of 1-D stages that refine the finished map along time; the published code has five that it never calls."""

    @model_validator(mode="after")
    def _stages_fit(self) -> MapConfig:
        if not len(self.channels) == len(self.kernels) == len(self.strides):
            raise ValueError("channels, kernels and strides must have a number for each stage")
        if self.channels[-1] != 1:
            raise ValueError(f"the last stage makes the map, so its channels must be 1, not {self.channels[-1]}")
        for kernel, stride in zip(self.kernels, self.strides, strict=True):
            if kernel < stride or (kernel - stride) % 2:
                raise ValueError(
                    f"a kernel must exceed its stride by an even number or 0; {kernel} and {stride} do not"
                )
        return self

    @property
    def growth(self) -> int:
        """How many times as high and wide all stages make the picture."""
        return math.prod(self.strides)

    @property
    def window(self) -> int:
        """Frames of a window."""
        return self.columns * self.growth

    def check_bands(self, n_mels: int) -> None:
        """Raise `ConfigError` where a map of so many bands cannot be made."""
        growth, reach = self.growth, 3 ** (self.residual_layers - 1)
        if n_mels % growth:
            nearest = max(1, round(n_mels / growth)) * growth
            raise ConfigError(
                f"cMelGAN's strides {' x '.join(map(str, self.strides))} make maps of a multiple of {growth} bands, but the "
                f"features have n_mels {n_mels}; n_mels {nearest} fits them"
            )
        smallest = min(n_mels // growth, self.columns) * self.strides[0]
        if smallest <= reach:
            raise ConfigError(
                f"cMelGAN's first stage makes pictures {smallest} wide or high, but its residual blocks look {reach} places "
                "around; lower residual_layers or raise the first stride"
            )


class CMelGANConfig(PartConfig):
    """cMelGAN: a label and noise become log-mel features. Without a preset it is synthkit's own design, small and of any length.

    >>> from synthkit.presets import PRESETS
    >>> CMelGANConfig().check_spec(PRESETS["melgan"].spec)
    >>> CMelGANConfig(preset="published").map.window, CMelGANConfig(preset="published", map={"dropout": 0.1}).design
    (256, 'map')
    """

    preset: Preset | None = None
    """`published` (what the authors trained: maps of 256 x 256, 13.18 million parameters) or `published-1d` (with their 1-D
    stages, which they constructed and never used); the other fields say what is otherwise."""
    design: Literal["path", "map"] = "path"
    """`path`: synthkit's own, for features of any spec and clips of any length; `map`: the published, windows of fixed size."""
    path: PathConfig = PathConfig()
    """Sizes of the design `path`."""
    map: MapConfig = MapConfig()
    """Sizes of the design `map`."""

    @model_validator(mode="before")
    @classmethod
    def _preset_first(cls, written: Any) -> Any:
        return under(MODEL_PRESETS, written)

    def abilities(self) -> frozenset[str]:
        """It blends labels and seeds, and varies as much as it is asked to."""
        return frozenset({"blend", "temperature"})

    def check_spec(self, spec: FeatureSpec) -> None:
        """Raise `ConfigError` where the maps cannot have so many bands, or features are linear.

        >>> CMelGANConfig(preset="published").check_spec(FeatureSpec(sample_rate=22050, n_fft=1024, hop_length=256, n_mels=80))
        Traceback (most recent call last):
        synthkit.errors.ConfigError: cMelGAN's strides 4 x 4 x 2 x 2 make maps of a multiple of 64 bands, but the features
        have n_mels 80; n_mels 64 fits them
        """
        if spec.log == "none":
            raise ConfigError(
                "cMelGAN needs features with a log (these have log: none): networks cannot learn values over many orders of "
                "magnitude; set log to log10 and a floor"
            )
        if self.design == "map":
            self.map.check_bands(spec.n_mels)


class PathCriticConfig(Config):
    """The critic of the design `path`."""

    channels: tuple[Count, ...] = Field(default=(20, 40, 80, 160), min_length=1)
    """Channels after each layer; each halves bands and frames."""
    columns: int = Field(default=6, ge=1)
    """Columns of the last picture that a score is given for: 6 of 16 frames each are windows of 96 frames."""

    @property
    def window(self) -> int:
        """Frames that a score is given for: crops have so many or more."""
        halved: int = 2 ** len(self.channels)
        return self.columns * halved


class MapCriticConfig(Config):
    """The critic of the design `map`. The defaults are the published sizes: 1,201,345 parameters for 3 labels."""

    channels: tuple[Count, ...] = Field(default=(16, 32, 64, 128, 256, 832), min_length=1)
    """Channels after each layer."""
    kernels: tuple[Count, ...] = (21, 22, 22, 22, 22, 6)
    """Kernel of each layer."""
    strides: tuple[Count, ...] = (1, 4, 2, 2, 4, 4)
    """Stride of each layer. The published critic has the same for other sizes, and pads one layer by 393 on each side."""
    groups: tuple[Count, ...] = (1, 4, 16, 16, 32, 64)
    """Groups of each layer."""
    sigmoid: bool = False
    """Squash the score to 0..1, as published, for the game `least-squares`."""

    @model_validator(mode="after")
    def _layers_fit(self) -> MapCriticConfig:
        if not len(self.channels) == len(self.kernels) == len(self.strides) == len(self.groups):
            raise ValueError("channels, kernels, strides and groups must have a number for each layer")
        for inputs, outputs, group in zip((2, *self.channels), self.channels, self.groups, strict=False):
            if inputs % group or outputs % group:
                raise ValueError(f"groups {group} must divide the channels of its layer, {inputs} and {outputs}")
        return self


class CMelGANObjectiveConfig(Config):
    """How cMelGAN learns: a critic that is told the label, and a watch over the variety of what is made."""

    preset: Literal["published"] | None = None
    """`published`: least squares of squashed scores, two steps of the critic, Adam at 1e-4; the other fields say what is otherwise."""
    adversarial: Literal["hinge", "least-squares", "bce"] = "bce"
    """The game between critic and generator; `bce` is binary cross-entropy."""
    critic_steps: int = Field(default=1, ge=1)
    """Steps that the critic makes for one of the generator."""
    r1_weight: float = Field(default=0.0, ge=0)
    """Weight of the critic's squared gradient at the real (R1), which keeps it from being surer than it can know; 0: none."""
    r1_every: int = Field(default=4, ge=1)
    """The penalty is taken every so many steps, and weighs as much more then."""
    means_weight: float = Field(default=10.0, ge=0)
    """For the design `path`: weight of how far the means of what the critic's layers see of the made are from those of the real. It
    tells the generator at once what is wrong with all that it makes."""
    critic_noise: float = Field(default=0.05, ge=0)
    """Deviation of the noise that the critic hears with the real and the made alike, in the network's units (for the design `path`
    all features lie between -1 and 1): what is finer than this, such as the exact value of silence, tells it nothing."""
    learning_rate: float = Field(default=5e-4, gt=0)
    """Of Adam, for the generator."""
    critic_learning_rate: float = Field(default=2e-4, gt=0)
    """Of Adam, for the critic."""
    betas: tuple[Beta, Beta] = (0.5, 0.99)
    """Of Adam, for both networks."""
    least_variety: float = Field(default=0.05, ge=0, lt=1)
    """The training stops where the clips of a label vary less than this share of the real ones: it has collapsed. 0: never."""
    variety_every: int = Field(default=50, ge=1)
    """Steps between two looks at the variety."""
    variety_patience: int = Field(default=10, ge=1)
    """So many looks in a row have to find it collapsed."""
    critic: PathCriticConfig = PathCriticConfig()
    """The critic of the design `path`."""
    map_critic: MapCriticConfig = MapCriticConfig()
    """The critic of the design `map`."""

    @model_validator(mode="before")
    @classmethod
    def _preset_first(cls, written: Any) -> Any:
        return under(OBJECTIVE_PRESETS, written)

    @model_validator(mode="after")
    def _squashed_for_least_squares(self) -> CMelGANObjectiveConfig:
        if self.map_critic.sigmoid and self.adversarial != "least-squares":
            raise ValueError(
                f"map_critic.sigmoid is for least-squares; {self.adversarial} needs scores that are not squashed"
            )
        return self
