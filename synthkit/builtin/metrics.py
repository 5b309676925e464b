"""Figures that say how near made sound is to its original. One value per clip; the score is their mean.

Made and original sound must have the rate of the spec and equal channels, which count as separate sounds. Where the lengths
differ by at most one hop, which whole frames can cause, both are cropped to the shorter.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from synthkit.builtin.config import McdConfig, MetricConfig
from synthkit.errors import ConfigError
from synthkit.interfaces import Comparison, Metric, Score
from synthkit.specs import FeatureSpec

if TYPE_CHECKING:
    from torch import Tensor

_SILENT = 1e-3
"""RMS of a frame below which it is silent: -60 dB of full scale."""
_QUIETEST = 1e-5
"""Smallest RMS that a level is taken of: -100 dB of full scale."""
_FULL_SCALE = 1.0 - 2.0**-15
"""The largest value of a 16-bit file."""


class _Mean(Metric):
    """Collects one value per clip and gives their mean."""

    name: str
    unit: str = ""
    better: Literal["lower", "higher", "zero"] = "lower"

    def __init__(self, config: MetricConfig, spec: FeatureSpec) -> None:
        self.config, self.spec = config, spec
        self.values: list[float] = []

    def score(self) -> Score:
        """The mean over all clips so far. Raises `ConfigError` where there was none."""
        if not self.values:
            raise ConfigError(f"{self.name}: there was no clip to measure")
        mean = sum(self.values) / len(self.values)
        return Score(name=self.name, value=mean, unit=self.unit, better=self.better, per_item=tuple(self.values))


class _Compared(_Mean):
    """Measures the made samples against the original's."""

    def update(self, item: Comparison) -> None:
        """Take one clip into account. Raises `ConfigError` where the two sounds cannot be compared."""
        self.values.append(self.measure(*self._pair(item)))

    @abstractmethod
    def measure(self, made: np.ndarray, reference: np.ndarray) -> float:
        """The figure of one clip from samples `[C, T]` of equal shape, float32."""

    def _pair(self, item: Comparison) -> tuple[np.ndarray, np.ndarray]:
        made, reference = item.made, item.reference
        if not made.sample_rate == reference.sample_rate == self.spec.sample_rate:
            raise ConfigError(
                f"{self.name}: made sound at {made.sample_rate} Hz, its original at {reference.sample_rate} Hz and the "
                f"spec's {self.spec.sample_rate} Hz must be equal; resample first"
            )
        if made.channels != reference.channels:
            raise ConfigError(
                f"{self.name}: the made sound has {made.channels} channels, its original {reference.channels}"
            )
        if abs(made.frames - reference.frames) > self.spec.hop_length:
            raise ConfigError(
                f"{self.name}: the made sound has {made.frames} samples and its original {reference.frames}; they may "
                f"differ by one hop of {self.spec.hop_length}"
            )
        count = min(made.frames, reference.frames)
        if not count:
            raise ConfigError(f"{self.name}: the sound has no samples")
        return made.samples[:, :count], reference.samples[:, :count]


class MelL1(_Compared):
    """Mean absolute difference of the log mels, in the units of the recipe's spec (natural log where it takes none).

    A made sound of ten times the amplitude scores 1 with log10 of a magnitude mel, ln 10 = 2.3 with its natural log.
    """

    name = "mel-l1"

    def __init__(self, config: MetricConfig, spec: FeatureSpec) -> None:
        super().__init__(config, spec)
        log = _logarithmic(spec).log
        self.unit = f"{'dB' if log == 'db' else log} mel"

    def measure(self, made: np.ndarray, reference: np.ndarray) -> float:
        """Mean over channels, bands and frames."""
        a, b = _mels(made, reference, _logarithmic(self.spec), self.name)
        return float((a - b).abs().mean())


class MultiStft(_Compared):
    """Spectral convergence plus mean |ln| magnitude difference, mean of three resolutions (Parallel WaveGAN, 3.2).

    FFT/hop/window 1024/120/600, 2048/240/1200, 512/50/240. For sound of `a` times the amplitude it is |1 - a| + |ln a|.
    """

    name = "multi-stft"

    def measure(self, made: np.ndarray, reference: np.ndarray) -> float:
        """The sum, a number without unit."""
        import torch

        from synthkit.training.losses import multi_resolution_stft

        with torch.no_grad():
            return float(multi_resolution_stft(torch.from_numpy(made), torch.from_numpy(reference)))


class MelCepstralDistortion(_Compared):
    """Mel cepstral distortion in dB, frame by frame without time warping (Kubichek 1993).

    `10 sqrt(2) / ln 10 * sqrt(sum over d = 1..D of (c_d - c'_d)^2)`, mean over frames, with
    `c_d = 2 / M * sum over bands k of L_k cos(pi d (k + 1/2) / M)` and `L` the natural log of the magnitude mel. The 0th
    coefficient, loudness, is left out, so that a gain changes nothing. With this scale of the cosine transform and all
    D = M - 1 coefficients it is the RMS difference of the two mel spectra in dB after their means are removed; other
    programs scale otherwise, so compare figures only with figures of this one.
    """

    name = "mcd"
    unit = "dB"

    def __init__(self, config: McdConfig, spec: FeatureSpec) -> None:
        super().__init__(config, spec)
        if config.coefficients >= spec.n_mels:
            raise ConfigError(f"mcd: {config.coefficients} coefficients need more than the spec's {spec.n_mels} bands")
        self._basis = cosine_basis(config.coefficients, spec.n_mels)

    def measure(self, made: np.ndarray, reference: np.ndarray) -> float:
        """Mean over channels and frames, dB."""
        spec = replace(_logarithmic(self.spec), log="ln", gain=1.0, offset=0.0)
        a, b = _mels(made, reference, spec, self.name)
        gap = self._basis @ (a - b).numpy().astype(np.float64) / spec.power  # ln of power is twice ln of magnitude
        return float(10.0 * math.sqrt(2.0) / math.log(10.0) * np.sqrt((gap**2).sum(axis=1)).mean())


class RealTimeFactor(_Mean):
    """Seconds of sound made per second of work; above 1 is faster than real time."""

    name = "real-time-factor"
    unit = "x real time"
    better: Literal["lower", "higher", "zero"] = "higher"

    def __init__(self, config: MetricConfig, spec: FeatureSpec) -> None:
        super().__init__(config, spec)
        self._seconds = self._elapsed = 0.0

    def update(self, item: Comparison) -> None:
        """Take one clip into account. Raises `ConfigError` where nobody took the time."""
        if item.elapsed <= 0:
            raise ConfigError(f"{self.name}: the time it took to make the sound is not known")
        self.values.append(item.made.seconds / item.elapsed)
        self._seconds += item.made.seconds
        self._elapsed += item.elapsed

    def score(self) -> Score:
        """All sound over all work, so that a short clip counts as little as it lasts."""
        score = super().score()
        return replace(score, value=self._seconds / self._elapsed)


class Level(_Compared):
    """RMS level of the made sound minus that of its original, dB; both are at least -100 dB of full scale."""

    name = "level"
    unit = "dB"
    better: Literal["lower", "higher", "zero"] = "zero"

    def measure(self, made: np.ndarray, reference: np.ndarray) -> float:
        """Over all channels together."""
        return 20.0 * math.log10(max(_rms(made), _QUIETEST) / max(_rms(reference), _QUIETEST))


class Clipping(_Compared):
    """Share of samples at or beyond full scale (32767/32768, the largest value of a 16-bit file)."""

    name = "clipping"
    unit = "of samples"

    def measure(self, made: np.ndarray, reference: np.ndarray) -> float:
        """Between 0 and 1."""
        return float(np.count_nonzero(np.abs(made) >= _FULL_SCALE) / made.size)


class Silence(_Compared):
    """Share of the original's sounding frames that are silent (RMS below -60 dB of full scale) in the made sound.

    Frames are the spec's: its window length apart from hop to hop; 0 where the original is silent throughout.
    """

    name = "silence"
    unit = "of frames"

    def measure(self, made: np.ndarray, reference: np.ndarray) -> float:
        """Between 0 and 1."""
        sounding = self._levels(reference) >= _SILENT
        lost = sounding & (self._levels(made) < _SILENT)
        return float(lost.sum() / max(1, sounding.sum()))

    def _levels(self, samples: np.ndarray) -> np.ndarray:
        """RMS `[C, N]` of each frame; one frame where the sound is shorter than that."""
        window, hop = min(self.spec.win_length, samples.shape[1]), self.spec.hop_length
        energy = np.pad(np.cumsum(samples.astype(np.float64) ** 2, axis=1), ((0, 0), (1, 0)))
        starts = np.arange(0, samples.shape[1] - window + 1, hop)
        return np.asarray(np.sqrt(np.maximum(energy[:, starts + window] - energy[:, starts], 0.0) / window))


def cosine_basis(coefficients: int, bands: int) -> np.ndarray:
    """Rows `2 / M cos(pi d (k + 1/2) / M)` for d = 1..coefficients: `[coefficients, M]`.

    With all M - 1 rows, half the sum of squares of the coefficients is the mean square of the deviation from the mean:

    >>> bump = np.array([1.0, 4.0, 2.0, 1.0])
    >>> round(float(np.sum((cosine_basis(3, 4) @ bump) ** 2) / 2), 9), float(np.var(bump))
    (1.5, 1.5)
    """
    orders, centres = np.arange(1, coefficients + 1)[:, None], np.arange(bands) + 0.5
    return np.asarray(2.0 / bands * np.cos(np.pi * orders * centres / bands))


def _logarithmic(spec: FeatureSpec) -> FeatureSpec:
    """The spec itself if it takes a logarithm, else with the natural log and a floor of 1e-5 in magnitude."""
    return (
        spec if spec.log != "none" else replace(spec, log="ln", floor=10.0 ** (-5 * spec.power), gain=1.0, offset=0.0)
    )


def _mels(made: np.ndarray, reference: np.ndarray, spec: FeatureSpec, metric: str) -> tuple[Tensor, Tensor]:
    import torch

    from synthkit.dsp import log_mel

    if not spec.frames(made.shape[1]):
        raise ConfigError(f"{metric}: {made.shape[1]} samples are too few for one frame of the spec")
    with torch.no_grad():
        return log_mel(torch.from_numpy(made), spec), log_mel(torch.from_numpy(reference), spec)


def _rms(samples: np.ndarray) -> float:
    return math.sqrt(float(np.mean(np.square(samples, dtype=np.float64))))
