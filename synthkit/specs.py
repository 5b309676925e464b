"""`FeatureSpec`: what a feature tensor `[B, M, N]` physically means. The joint between extractors, models and vocoders.

Two parts fit if their specs are equal. Where they differ only by an exact formula (log base, affine scale, a higher floor)
`conversion` gives it; otherwise it raises `SpecMismatch`, which lists every differing field. Nothing here needs torch.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from synthkit.errors import ConfigError, SpecMismatch

MelScale = Literal["slaney", "htk"]
Log = Literal["ln", "log10", "db", "none"]
Framing = Literal["same", "center", "valid"]

_UNITS_PER_LN = {"ln": 1.0, "log10": 1.0 / math.log(10.0), "db": 10.0 / math.log(10.0)}
_EXACT = ("log", "gain", "offset", "floor")


@dataclass(frozen=True, kw_only=True)
class FeatureSpec:
    """The physical meaning of a mel feature tensor `[B, M, N]`.

    A value is `gain * log(max(mel, floor)) + offset`, where `mel` is the filterbank applied to the magnitude of a
    Hann-windowed STFT raised to `power`.

    >>> spec = FeatureSpec(sample_rate=22050, n_fft=1024, hop_length=256, n_mels=80)
    >>> spec.frames(8192), spec.samples(32), spec.f_max
    (32, 8192, 11025.0)
    >>> spec == dataclasses.replace(spec, f_max=11025.0)
    True
    """

    sample_rate: int
    """Samples per second, Hz."""
    n_fft: int
    """FFT length, samples."""
    win_length: int = 0
    """Length of the periodic Hann window, samples, centred in the FFT frame; 0 means `n_fft`."""
    hop_length: int
    """Distance between frames, samples."""
    n_mels: int
    """Number of mel bands, M."""
    f_min: float = 0.0
    """Lower edge of the lowest band, Hz."""
    f_max: float | None = None
    """Upper edge of the highest band, Hz; None means half the sample rate (and is stored as that number)."""
    mel_scale: MelScale = "slaney"
    """`slaney` (linear below 1 kHz, then logarithmic; Auditory Toolbox) or `htk` (2595 log10(1 + f / 700))."""
    norm: Literal["slaney"] | None = "slaney"
    """`slaney`: each triangle has area 1 (divided by its width in Hz); None: each triangle has height 1."""
    power: int = 1
    """Exponent of the STFT magnitude before the filterbank: 1 magnitude, 2 power."""
    magnitude_eps: float = 0.0
    """Added under the root, |X| = sqrt(re^2 + im^2 + eps); 1e-9 in HiFi-GAN."""
    window_norm: bool = False
    """Whether the STFT is divided by the root of the window's energy (torchaudio's `normalized=True`)."""
    log: Log = "log10"
    """`ln`, `log10`, `db` (10 log10 of the mel value, whatever its power) or `none`."""
    floor: float = 1e-5
    """Smallest mel value before the log; 0 only where `log` is `none`."""
    gain: float = 1.0
    """Affine scale applied after the log."""
    offset: float = 0.0
    """Affine offset added after `gain`."""
    framing: Framing = "same"
    """`same`: reflect (n_fft - hop) / 2 on each side, N = T // hop. `center`: reflect n_fft / 2, N = T // hop + 1.
    `valid`: no padding, N = (T - n_fft) // hop + 1."""

    def __post_init__(self) -> None:
        if not self.win_length:
            object.__setattr__(self, "win_length", self.n_fft)
        if self.f_max is None:
            object.__setattr__(self, "f_max", self.sample_rate / 2)
        object.__setattr__(self, "f_min", float(self.f_min))
        object.__setattr__(self, "f_max", float(self.band_top))
        self._check()

    def _check(self) -> None:
        rules = [
            (self.sample_rate > 0, "sample_rate must be positive"),
            (self.n_fft >= 2 and self.n_fft % 2 == 0, "n_fft must be even and at least 2"),
            (0 < self.win_length <= self.n_fft, f"win_length must lie in 1..n_fft ({self.n_fft})"),
            (0 < self.hop_length <= self.win_length, f"hop_length must lie in 1..win_length ({self.win_length})"),
            (self.n_mels > 0, "n_mels must be positive"),
            (
                0 <= self.f_min < self.band_top <= self.sample_rate / 2,
                f"0 <= f_min < f_max <= {self.sample_rate / 2:g} (half the sample rate) must hold; "
                f"they are {self.f_min:g} and {self.band_top:g}",
            ),
            (self.mel_scale in ("slaney", "htk"), "mel_scale must be 'slaney' or 'htk'"),
            (self.norm in ("slaney", None), "norm must be 'slaney' or null"),
            (self.power in (1, 2), "power must be 1 (magnitude) or 2 (power)"),
            (self.log in ("ln", "log10", "db", "none"), "log must be 'ln', 'log10', 'db' or 'none'"),
            (self.framing in ("same", "center", "valid"), "framing must be 'same', 'center' or 'valid'"),
            (self.floor > 0 or (self.log == "none" and self.floor == 0), "floor must be positive where a log is taken"),
            (self.magnitude_eps >= 0, "magnitude_eps must not be negative"),
            (self.gain != 0, "gain must not be 0"),
        ]
        for holds, message in rules:
            if not holds:
                raise ConfigError(message)

    @property
    def band_top(self) -> float:
        """Upper edge of the highest band, Hz: `f_max` as a plain number."""
        return self.sample_rate / 2 if self.f_max is None else self.f_max

    @property
    def frames_per_second(self) -> float:
        """Frames per second of sound."""
        return self.sample_rate / self.hop_length

    @property
    def silence(self) -> float:
        """The value that every band of a silent frame has."""
        eps = self.magnitude_eps**0.5
        if eps:
            raise ConfigError("with magnitude_eps the value of silence differs between bands")
        return self.gain * self._log(self.floor) + self.offset

    def _log(self, value: float) -> float:
        if self.log == "none":
            return value
        return math.log(value) if self.log == "ln" else math.log10(value) * (10.0 if self.log == "db" else 1.0)

    def frames(self, samples: int) -> int:
        """Frames N that `samples` audio values give.

        >>> FeatureSpec(sample_rate=8000, n_fft=512, hop_length=128, n_mels=20, framing="center").frames(1280)
        11
        """
        if self.framing == "same":
            return samples // self.hop_length
        if self.framing == "center":
            return samples // self.hop_length + 1 if samples > 0 else 0
        return max(0, (samples - self.n_fft) // self.hop_length + 1)

    def samples(self, frames: int) -> int:
        """Samples that a vocoder makes of `frames` frames: the shortest sound that has as many.

        The law `spec.frames(spec.samples(n)) == n` holds for every framing and every n >= 1 (n >= 2 where `center`).
        """
        if frames <= 0:
            return 0
        if self.framing == "same":
            return frames * self.hop_length
        if self.framing == "center":
            return (frames - 1) * self.hop_length
        return (frames - 1) * self.hop_length + self.n_fft

    def crop_samples(self, seconds: float) -> int:
        """Samples of a crop of about `seconds` whose features describe all of it: `samples(n)` of some n.

        >>> FeatureSpec(sample_rate=22050, n_fft=1024, hop_length=256, n_mels=80).crop_samples(0.37)
        8192
        """
        frames = max(1, round(seconds * self.frames_per_second))
        return self.samples(frames if self.framing == "same" else frames + 1)

    def to_dict(self) -> dict[str, Any]:
        """All fields, as JSON can hold them."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> FeatureSpec:
        """The spec that `to_dict` described. Raises `ConfigError` naming a field that is unknown or missing."""
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(fields) - known)
        if unknown:
            raise ConfigError(f"unknown feature spec fields: {', '.join(unknown)}")
        try:
            return cls(**fields)
        except TypeError as error:
            raise ConfigError(f"incomplete feature spec: {error}") from error

    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that are equal exactly when the specs are.

        >>> a = FeatureSpec(sample_rate=22050, n_fft=1024, hop_length=256, n_mels=80)
        >>> a.fingerprint() == dataclasses.replace(a).fingerprint() != dataclasses.replace(a, f_max=8000).fingerprint()
        True
        """
        import hashlib
        import json

        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def differences(self, other: FeatureSpec) -> dict[str, tuple[Any, Any]]:
        """The fields in which the two differ: `{field: (mine, theirs)}`."""
        mine, theirs = self.to_dict(), other.to_dict()
        return {name: (mine[name], theirs[name]) for name in mine if mine[name] != theirs[name]}


@dataclass(frozen=True)
class Conversion:
    """An exact affine map between two log-mel conventions: `max(x * multiply + add, minimum)`."""

    multiply: float
    add: float
    minimum: float | None = None

    def __call__(self, values: Any) -> Any:
        """Apply to an array or tensor with arithmetic and `clip`; the shape is kept."""
        out = values * self.multiply + self.add
        return out if self.minimum is None else out.clip(self.minimum)

    @property
    def is_identity(self) -> bool:
        """Whether it changes nothing."""
        return self.multiply == 1.0 and self.add == 0.0 and self.minimum is None


def conversion(
    given: FeatureSpec, needed: FeatureSpec, *, giver: str = "the source", needer: str = "the target"
) -> Conversion:
    """The exact map from features of spec `given` to spec `needed`.

    Log bases, gains and offsets convert both ways; a floor can be raised (information is dropped on purpose), never lowered.

    Raises:
        SpecMismatch: where anything else differs; lists every differing field and what to do.

    >>> ln = FeatureSpec(sample_rate=22050, n_fft=1024, hop_length=256, n_mels=80, log="ln")
    >>> log10 = dataclasses.replace(ln, log="log10")
    >>> round(conversion(ln, log10)(math.log(100.0)), 12)
    2.0
    >>> conversion(ln, dataclasses.replace(ln, f_max=8000.0))
    Traceback (most recent call last):
    synthkit.errors.SpecMismatch: features of the source do not fit the target:
      f_max: the source has 11025.0, the target needs 8000.0
    ...
    """
    differences = given.differences(needed)
    lasting = {name: pair for name, pair in differences.items() if name not in _EXACT}
    logs_differ = given.log != needed.log and "none" in (given.log, needed.log)
    if logs_differ:
        lasting["log"] = (given.log, needed.log)
    if needed.floor < given.floor:
        lasting["floor"] = (given.floor, needed.floor)
    if lasting:
        raise SpecMismatch(lasting, given=giver, needed=needer, advice=_advice(lasting))
    if not differences:
        return Conversion(1.0, 0.0)
    ratio = 1.0 if given.log == needed.log else _UNITS_PER_LN[needed.log] / _UNITS_PER_LN[given.log]
    multiply = needed.gain * ratio / given.gain
    add = needed.offset - given.offset * multiply
    raised = needed.floor > given.floor
    if raised and needed.gain < 0:
        raise SpecMismatch({"floor": (given.floor, needed.floor)}, given=giver, needed=needer, advice=_advice({}))
    minimum = needed.gain * needed._log(needed.floor) + needed.offset if raised else None
    return Conversion(multiply, add, minimum)


def _advice(differences: Mapping[str, Any]) -> str:
    if "sample_rate" in differences:
        return "Resample the sound to the needed rate and extract its features again, or use a vocoder trained at this rate."
    return "Extract the features again with the needed spec, or use a vocoder trained on features of this spec."
