"""Losses that compare made sound with real sound: log-mel, multi-resolution STFT, and what a critic saw of both.

Each is a mean over its elements, 0 for equal input, differentiable in its first argument, with finite gradients at silence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from synthkit import dsp
from synthkit.specs import FeatureSpec


def mel_l1(made: Tensor, features: Tensor, spec: FeatureSpec) -> Tensor:
    """Mean absolute difference between the log mel of `made` `[B, T]` and `features` `[B, M, N]` of the real sound.

    In the log units of `spec`; HiFi-GAN's mel loss. Ten times the amplitude is one unit of log10:

    >>> spec = FeatureSpec(sample_rate=8000, n_fft=512, hop_length=128, n_mels=20, floor=1e-9)
    >>> noise = torch.rand(1, 4000, generator=torch.Generator().manual_seed(1)) - 0.5
    >>> features = dsp.log_mel(noise, spec)
    >>> round(mel_l1(0.1 * noise, features, spec).item(), 3), mel_l1(noise, features, spec).item()
    (1.0, 0.0)
    """
    return (dsp.log_mel(made, spec) - features).abs().mean()


@dataclass(frozen=True)
class Resolution:
    """One STFT: lengths in samples."""

    n_fft: int
    hop_length: int
    win_length: int


RESOLUTIONS = (Resolution(1024, 120, 600), Resolution(2048, 240, 1200), Resolution(512, 50, 240))
"""Those of Parallel WaveGAN."""


def multi_resolution_stft(made: Tensor, real: Tensor, resolutions: Sequence[Resolution] = RESOLUTIONS) -> Tensor:
    """Spectral convergence plus mean |ln| magnitude difference of `[B, T]` samples, mean over the resolutions.

    Parallel WaveGAN (arXiv 1910.11480, section 3.2); as in its code the convergence `||X - Y|| / ||Y||` is taken over the
    whole batch, so that a silent item cannot outweigh the others. For `made = a * real` it is `|1 - a| + |ln a|`:

    >>> noise = torch.rand(1, 4000, generator=torch.Generator().manual_seed(1)) - 0.5
    >>> round(multi_resolution_stft(2 * noise, noise).item(), 3), multi_resolution_stft(noise, noise).item()
    (1.693, 0.0)
    """
    losses = []
    for resolution in resolutions:
        x, y = _magnitude(made, resolution), _magnitude(real, resolution)
        convergence = torch.linalg.vector_norm(x - y) / torch.linalg.vector_norm(y)
        losses.append(convergence + (x.log() - y.log()).abs().mean())
    return torch.stack(losses).mean()


def _magnitude(samples: Tensor, resolution: Resolution) -> Tensor:
    window = torch.hann_window(resolution.win_length, dtype=samples.dtype, device=samples.device)
    spectrum = torch.stft(
        dsp.reflect_pad(samples, resolution.n_fft // 2, resolution.n_fft // 2),
        resolution.n_fft,
        resolution.hop_length,
        resolution.win_length,
        window,
        center=False,
        return_complex=True,
    )
    power = spectrum.real.square() + spectrum.imag.square()
    return power.clamp(min=1e-7).sqrt()  # the smallest value keeps root and log differentiable at silence


def feature_matching(made: Sequence[Sequence[Tensor]], real: Sequence[Sequence[Tensor]]) -> Tensor:
    """Mean absolute difference of each layer's output, added over the layers of a critic's scale, mean over the scales.

    `made[scale][layer]` and `real[scale][layer]` have equal shapes; the real ones take no gradient.

    >>> layers = [[torch.zeros(2, 3), torch.zeros(5)], [torch.zeros(1), torch.zeros(1)]]
    >>> feature_matching(layers, [[layer + 0.5 for layer in scale] for scale in layers]).item()
    1.0
    """
    per_scale = []
    for made_scale, real_scale in zip(made, real, strict=True):
        gaps = [(m - r.detach()).abs().mean() for m, r in zip(made_scale, real_scale, strict=True)]
        per_scale.append(torch.stack(gaps).sum())
    return torch.stack(per_scale).mean()
