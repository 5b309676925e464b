"""From features and sounds to the pictures that `content` compares: energies in dB, with the frequencies of their bands."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from synthkit import dsp
from synthkit.audio import Audio
from synthkit.specs import FeatureSpec

_PITCH_SECONDS, _NOTE_SECONDS = 0.09, 0.18
"""Windows of pictures for pitch and for notes."""
_FAINTEST = 1e-12


def of_features(features: Tensor, spec: FeatureSpec) -> np.ndarray:
    """Features `[M, N]` as energies in dB, `[M, N]` float64.

    >>> spec = FeatureSpec(sample_rate=8000, n_fft=256, hop_length=64, n_mels=2)
    >>> of_features(torch.tensor([[0.0], [-2.0]]), spec).round(2).tolist()
    [[0.0], [-40.0]]
    """
    mel = dsp.expand(features.detach().cpu().double(), spec)
    decibels: np.ndarray = (20 / spec.power * mel.clamp(min=_FAINTEST).log10()).numpy()
    return decibels


def band_frequencies(spec: FeatureSpec) -> np.ndarray:
    """Where the middle of each mel band lies, Hz, `[M]`."""
    return dsp.band_edges(spec)[1:-1]


def of_pitch(sound: Audio) -> tuple[np.ndarray, np.ndarray]:
    """A sound as a picture that pitch is told from: `[F, N]` and the frequencies `[F]`; quick enough for speech."""
    return _spectrum(sound, _PITCH_SECONDS)


def of_notes(sound: Audio) -> tuple[np.ndarray, np.ndarray]:
    """A sound as a picture whose bands lie closer than semitones, `[F, N]`, and their frequencies `[F]`."""
    return _spectrum(sound, _NOTE_SECONDS)


def _spectrum(sound: Audio, window_seconds: float) -> tuple[np.ndarray, np.ndarray]:
    window = round(sound.sample_rate * window_seconds / 64) * 64
    size = FeatureSpec(
        sample_rate=sound.sample_rate,
        n_fft=window,
        win_length=window,
        hop_length=window // 4,
        n_mels=1,
        framing="center",
    )
    magnitude = dsp.stft_magnitude(torch.from_numpy(sound.mono().samples), size)[0].double().numpy()
    decibels: np.ndarray = 20 * np.log10(np.maximum(magnitude, _FAINTEST))
    return decibels, np.fft.rfftfreq(window, 1 / sound.sample_rate)
