"""Settings of what the core itself offers."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from synthkit.config import Config, ExistingFolder, FeaturesConfig
from synthkit.errors import ConfigError, UnknownName
from synthkit.presets import find_preset
from synthkit.specs import FeatureSpec, Framing, Log, MelScale


class LogMelConfig(FeaturesConfig):
    """Log mel features: a preset, and any field that is to differ from it.

    `win_length` follows `n_fft` and `f_max` follows `sample_rate` where they do so in the preset.

    >>> LogMelConfig(preset="melgan", sample_rate=16000).spec().f_max
    8000.0
    """

    preset: str | None = "melgan"
    """Name of a published set of values (docs/features.md lists them); null: all values are given here."""
    sample_rate: int | None = Field(default=None, gt=0)
    """Samples per second, Hz; null, here and below: as in the preset."""
    n_fft: int | None = Field(default=None, ge=2)
    """FFT length, samples, even."""
    win_length: int | None = Field(default=None, gt=0)
    """Length of the Hann window, samples, at most `n_fft`."""
    hop_length: int | None = Field(default=None, gt=0)
    """Distance between frames, samples."""
    n_mels: int | None = Field(default=None, gt=0)
    """Number of mel bands."""
    f_min: float | None = Field(default=None, ge=0)
    """Lower edge of the lowest band, Hz."""
    f_max: float | None = Field(default=None, gt=0)
    """Upper edge of the highest band, Hz."""
    mel_scale: MelScale | None = None
    """`slaney` (linear below 1 kHz, then logarithmic) or `htk` (2595 log10(1 + f / 700))."""
    norm: Literal["slaney", "none"] | None = None
    """`slaney`: each triangle has area 1; `none`: each has height 1."""
    power: Literal[1, 2] | None = None
    """1: bands of the magnitude; 2: bands of the power."""
    magnitude_eps: float | None = Field(default=None, ge=0)
    """Added to the power under the root."""
    window_norm: bool | None = None
    """Whether the STFT is divided by the root of the window's energy."""
    log: Log | None = None
    """`ln`, `log10`, `db` (10 log10) or `none`."""
    floor: float | None = Field(default=None, ge=0)
    """Smallest mel value before the logarithm."""
    gain: float | None = None
    """Factor after the logarithm."""
    offset: float | None = None
    """Added after `gain`."""
    framing: Framing | None = None
    """`same` (T // hop frames), `center` (one more) or `valid` (no padding)."""

    @field_validator("preset")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        try:
            return name if name is None else find_preset(name).name
        except UnknownName as error:
            raise ValueError(str(error)) from error

    @model_validator(mode="after")
    def _consistent(self) -> LogMelConfig:
        try:
            self.spec()
        except ConfigError as error:
            raise ValueError(str(error)) from error
        return self

    def spec(self) -> FeatureSpec:
        """The preset's spec with the given fields replaced."""
        fields: dict[str, Any] = {}
        if self.preset is not None:
            base = find_preset(self.preset).spec
            fields = base.to_dict()
            if base.win_length == base.n_fft:
                del fields["win_length"]
            if base.f_max == base.sample_rate / 2:
                del fields["f_max"]
        given = self.model_dump(exclude={"preset"}, exclude_none=True)
        if "norm" in given:
            given["norm"] = None if given["norm"] == "none" else given["norm"]
        fields |= given
        absent = [name for name in ("sample_rate", "n_fft", "hop_length", "n_mels") if name not in fields]
        if absent:
            raise ConfigError(f"without a preset, {', '.join(absent)} must be given")
        return FeatureSpec.from_dict(fields)


class MetricConfig(Config):
    """A metric without settings of its own."""


class McdConfig(MetricConfig):
    """How the mel cepstrum is taken."""

    coefficients: int = Field(default=13, ge=1)
    """Number of cepstral coefficients compared, from the first (the 0th, loudness, is left out)."""


class ClassifierConfig(Config):
    """How the classifier learns what the training clips sound like."""

    steps: int = Field(default=300, ge=1)
    """Optimisation steps."""
    batch: int = Field(default=32, ge=2)
    """Crops per step."""


class TrackerConfig(Config):
    """A tracker without settings of its own."""


class FolderConfig(Config):
    """A tree of sound files."""

    root: ExistingFolder
    """The folder, or its URL (`s3://bucket/music`); everything below it is searched."""
    labels: Literal["none", "folders"] = "none"
    """`folders`: the name of the folder directly below `root` is the clip's label."""
    texts: Literal["none", "beside", "metadata"] = "none"
    """What is said in a clip: `beside`, in the `.txt` file of its name; `metadata`, in a `metadata.csv` as LJSpeech has it."""
    exclude: tuple[str, ...] = ()
    """Patterns of paths below `root` to pass over, such as `drafts/*` or `*.ogg`; `*` also matches slashes."""
    validation: float = Field(default=0.1, ge=0, lt=1)
    """Share of the clips in the validation split."""
    test: float = Field(default=0.1, ge=0, lt=1)
    """Share of the clips in the test split."""
    licence: str = ""
    """Licence of the recordings, carried to whatever is made of them."""

    @model_validator(mode="after")
    def _leave_something_to_train_on(self) -> Self:
        if self.validation + self.test >= 1:
            raise ValueError("validation and test together must be less than 1, so that something is left to train on")
        return self


class TonesConfig(Config):
    """Procedural music."""

    clips_per_label: int = Field(default=16, ge=3)
    """Clips of each label; more of them never changes those there were."""
    seconds: float = Field(default=4.0, ge=0.5, le=60)
    """Length of a clip."""
    seed: int = 0
    """Another seed is other music."""
    sample_rate: int = Field(default=22050, ge=8000, le=192000)
    """Hz."""
