"""From sound to features and from features to sound: the one place that says how length, channels and specs are kept.

The rule: a sound is resampled to the spec's rate and padded with zeros at its end until whole frames cover it; what the
vocoder makes is cut back to the sound's own number of samples. Each channel is one item of the batch. Features that
differ from what the vocoder needs by an exact formula are converted, and that is said; otherwise `SpecMismatch` names
the fields.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from synthkit import dsp
from synthkit.audio import Audio
from synthkit.errors import AudioError, ConfigError
from synthkit.interfaces import FeatureExtractor, Progress, Vocoder
from synthkit.presets import PRESETS
from synthkit.specs import FeatureSpec, conversion

logger = logging.getLogger("synthkit")


@dataclass(frozen=True, eq=False)
class Features:
    """Features that know what they mean, and how many samples of sound they describe.

    Raises `ConfigError` where the tensor does not fit the spec or has fewer frames than the samples need.

    >>> spec = FeatureSpec(sample_rate=22050, n_fft=1024, hop_length=256, n_mels=80)
    >>> Features(torch.zeros(2, 80, 4), spec, 1000)
    Features(2 x 80 bands x 4 frames, 1000 samples at 22050 Hz)
    """

    values: Tensor
    """`[C, M, N]`: one item per channel."""
    spec: FeatureSpec
    """What the values mean."""
    samples: int
    """Length T of the sound at `spec.sample_rate`; at most `spec.samples(N)`."""

    def __post_init__(self) -> None:
        shape = tuple(self.values.shape)
        if len(shape) != 3 or shape[1] != self.spec.n_mels:
            raise ConfigError(
                f"features must be [C, {self.spec.n_mels}, N] for this spec, not of the shape {list(shape)}"
            )
        if not 0 < self.samples <= self.spec.samples(shape[2]):
            raise ConfigError(
                f"{shape[2]} frames describe 1 to {self.spec.samples(shape[2])} samples, not {self.samples}"
            )

    def __repr__(self) -> str:
        channels, bands, frames = self.values.shape
        size = f"{channels} x {bands} bands x {frames} frames"
        return f"Features({size}, {self.samples} samples at {self.spec.sample_rate} Hz)"

    @property
    def frames(self) -> int:
        """Number of frames N."""
        return int(self.values.shape[2])

    @property
    def seconds(self) -> float:
        """Duration of the sound."""
        return self.samples / self.spec.sample_rate

    def convert(self, spec: FeatureSpec, *, needer: str = "the target") -> Features:
        """The same features in the units of `spec`, where an exact formula leads there; a conversion is logged.

        Raises `SpecMismatch` naming every field that differs in another way.
        """
        change = conversion(self.spec, spec, giver="the input", needer=needer)
        if self.spec == spec:
            return self
        fields = ", ".join(
            f"{name} {mine!r} -> {theirs!r}" for name, (mine, theirs) in self.spec.differences(spec).items()
        )
        logger.info("features converted exactly for %s: %s", needer, fields)
        return Features(change(self.values), spec, self.samples)


class SpecFeatures(FeatureExtractor):
    """Features of any spec by the reference maths of `synthkit.dsp`: a spec alone says how they are computed."""

    def __init__(self, spec: FeatureSpec) -> None:
        self.spec = spec

    def extract(self, samples: Tensor) -> Tensor:
        """`[B, T]` samples to features `[B, M, spec.frames(T)]`."""
        return dsp.log_mel(samples, self.spec)


def spec_at(sample_rate: int) -> FeatureSpec:
    """Features like MelGAN's for any sample rate: frames as long in time, bands as dense, up to half the rate.

    The hop is a multiple of 16 samples, so that the FFT stays quick; at 22,050 Hz it is the preset `melgan` itself.

    >>> spec_at(22050) == PRESETS["melgan"].spec, spec_at(44100).hop_length, spec_at(44100).n_mels, spec_at(48000).n_fft
    (True, 512, 96, 2240)
    """
    base = PRESETS["melgan"].spec
    hop = max(1, round(base.hop_length * sample_rate / base.sample_rate / 16)) * 16
    window = base.n_fft // base.hop_length * hop
    top, base_top = dsp.hz_to_mel(np.array([sample_rate / 2, base.band_top]), base.mel_scale)
    return replace(
        base,
        sample_rate=sample_rate,
        n_fft=window,
        win_length=window,
        hop_length=hop,
        n_mels=max(1, round(base.n_mels * top / base_top)),
        f_max=None,
    )


def covering_frames(spec: FeatureSpec, samples: int) -> int:
    """The smallest number of frames whose sound is at least `samples` long.

    >>> spec = FeatureSpec(sample_rate=22050, n_fft=1024, hop_length=256, n_mels=80)
    >>> covering_frames(spec, 1024), covering_frames(spec, 1025)
    (4, 5)
    """
    beyond_first = max(0, samples - spec.samples(1))
    return 1 + -(-beyond_first // spec.hop_length)


def extract(extractor: FeatureExtractor, audio: Audio, *, device: torch.device | str = "cpu") -> Features:
    """Features `[C, M, N]` of a whole sound, channel by channel, at the extractor's rate.

    Raises `AudioError` for a sound without samples.
    """
    spec = extractor.spec
    sound = audio.resample(spec.sample_rate)
    length = sound.frames
    if length == 0:
        raise AudioError("a sound without samples has no features")
    covered = spec.samples(covering_frames(spec, length))
    with torch.no_grad():
        channels = torch.from_numpy(sound.samples).to(device)
        padded = torch.nn.functional.pad(channels, (0, covered - length))
        values = torch.cat([extractor.extract(channel[None]) for channel in padded])
    return Features(values, spec, length)


def resynthesise(
    vocoder: Vocoder, features: Features, *, random: torch.Generator | None = None, progress: Progress | None = None
) -> Audio:
    """The sound that the vocoder makes of the features: as many channels and exactly `features.samples` samples.

    Raises:
        SpecMismatch: where no exact formula leads from the features to what the vocoder needs.
        AudioError: where the vocoder makes values that are not finite.
    """
    needed = features.convert(vocoder.spec, needer="the vocoder")
    made = vocoder.vocode(needed.values.to(vocoder.device), random=random, progress=progress)
    samples = made[:, : needed.samples].float().cpu().numpy()
    if not torch.isfinite(made).all():
        raise AudioError("the vocoder made samples that are not finite: its weights or the features are damaged")
    return Audio(samples, vocoder.spec.sample_rate)
