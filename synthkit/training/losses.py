"""Losses that compare made sound with real sound: log-mel, multi-resolution STFT, and what a critic saw of both.

Each is a mean over the items of a batch (so that a batch in pieces, or shared among processes, learns the same), 0 for equal
input, differentiable in its first argument, with finite gradients at silence. Spectra are computed in float32 whatever autocast says.
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


QUIETEST = 10 ** (-30 / 20)
"""Level of the noise, in full scale, below which an item of real sound is not taken as quieter: -30 dB."""


def multi_resolution_stft(made: Tensor, real: Tensor, resolutions: Sequence[Resolution] = RESOLUTIONS) -> Tensor:
    """Spectral convergence plus mean |ln| magnitude difference of `[B, T]` samples, mean over the items and the resolutions.

    Parallel WaveGAN (arXiv 1910.11480, section 3.2). The convergence `||X - Y|| / ||Y||` of an item is its own, as in the paper;
    the authors' code takes both norms over the whole batch, which makes the loss of a batch another than that of its parts. There a
    silent item is lost among the others; here it would be divided by next to nothing, so `||Y||` is at least that of white noise at
    -30 dB. For `made = a * real` it is `|1 - a| + |ln a|`:

    >>> noise = torch.rand(1, 4000, generator=torch.Generator().manual_seed(1)) - 0.5
    >>> round(multi_resolution_stft(2 * noise, noise).item(), 3), multi_resolution_stft(noise, noise).item()
    (1.693, 0.0)
    """
    with torch.autocast(made.device.type, enabled=False):
        losses = [_stft_distance(_precise(made), _precise(real), resolution) for resolution in resolutions]
        return torch.stack(losses).mean()


def _stft_distance(made: Tensor, real: Tensor, resolution: Resolution) -> Tensor:
    window = torch.hann_window(resolution.win_length, dtype=made.dtype, device=made.device)
    x, y = _magnitude(made, resolution, window), _magnitude(real, resolution, window)
    # White noise of level s has the expected power s^2 sum(w^2) in every bin.
    least = QUIETEST * (window.square().sum() * y[0].numel()).sqrt()
    norm = torch.linalg.vector_norm(y, dim=(1, 2)).clamp(min=least)
    convergence: Tensor = torch.linalg.vector_norm(x - y, dim=(1, 2)) / norm
    return convergence.mean() + (x.log() - y.log()).abs().mean()


def _magnitude(samples: Tensor, resolution: Resolution, window: Tensor) -> Tensor:
    """`[B, T]` to `[B, n_fft // 2 + 1, N]`."""
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

    `made[scale][layer]` and `real[scale][layer]` have equal shapes; the real ones take no gradient. Differences are taken in the
    type that autocast gave the layers, means in float32.

    >>> layers = [[torch.zeros(2, 3), torch.zeros(5)], [torch.zeros(1), torch.zeros(1)]]
    >>> feature_matching(layers, [[layer + 0.5 for layer in scale] for scale in layers]).item()
    1.0
    """
    per_scale = []
    for made_scale, real_scale in zip(made, real, strict=True):
        gaps = [_precise((m - r.detach()).abs()).mean() for m, r in zip(made_scale, real_scale, strict=True)]
        per_scale.append(torch.stack(gaps).sum())
    return torch.stack(per_scale).mean()


def _precise(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()
