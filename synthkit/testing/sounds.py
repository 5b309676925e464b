"""Sounds to try components on: harmonic tones of several pitches and levels over faint noise."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from synthkit import dsp
from synthkit.specs import FeatureSpec

CLOSE = 1e-4
"""What rounding may change in a value of order 1 when the rest of a batch is another."""


def sounds(sample_rate: int, samples: int, count: int = 2, first: int = 0) -> Tensor:
    """`[count, samples]` float32 within -1..1; item k is the same whatever the count.

    >>> a, b = sounds(16000, 400, 3), sounds(16000, 400, 2)
    >>> bool((a[:2] == b).all()), bool((a[0] == a[1]).all())
    (True, False)
    """
    return torch.stack([_sound(sample_rate, samples, first + item) for item in range(count)])


def _sound(sample_rate: int, samples: int, number: int) -> Tensor:
    time = torch.arange(samples, dtype=torch.float64) / sample_rate
    pitch = 110.0 * 2 ** ((number * 7 % 36) / 12)
    partials = [k for k in range(1, 20) if k * pitch < 0.4 * sample_rate]
    tone = sum((torch.sin(2 * math.pi * k * pitch * time) / k for k in partials), torch.zeros_like(time))
    noise = torch.randn(samples, generator=torch.Generator().manual_seed(number), dtype=torch.float64)
    sound = tone / max(1.0, float(tone.abs().max())) * (0.3 + 0.1 * (number % 5)) + 0.01 * noise
    return sound.clamp(-1, 1).float()


def features(spec: FeatureSpec, frames: int, count: int = 2, first: int = 0) -> Tensor:
    """Features `[count, M, frames]` of `sounds`.

    >>> spec = FeatureSpec(sample_rate=16000, n_fft=512, hop_length=128, n_mels=20)
    >>> features(spec, 5).shape
    torch.Size([2, 20, 5])
    """
    return dsp.log_mel(sounds(spec.sample_rate, spec.samples(frames), count, first), spec)
