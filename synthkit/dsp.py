"""The reference maths of `FeatureSpec`: framing, STFT, mel filterbank, logarithm, in torch.

Every field of a spec is honoured here and nowhere else. All functions are differentiable, work in float32 (float64 if
given float64) on the samples' device whatever autocast says, and treat the items of a batch independently.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from synthkit.errors import AudioError
from synthkit.specs import FeatureSpec, MelScale

_CHUNK_FRAMES = {"cpu": 512}  # a few MB of spectrum: it stays in the cache, twice as fast as the whole clip at once
_CHUNK_FRAMES_ELSEWHERE = 65536


def log_mel(samples: Tensor, spec: FeatureSpec) -> Tensor:
    """Samples `[B, T]` to features `[B, M, spec.frames(T)]` of `spec`.

    Without gradient a long sound is worked through in pieces, so that its whole spectrum never exists.

    Raises:
        AudioError: where the samples are not `[B, T]` with T >= 1.

    >>> spec = FeatureSpec(sample_rate=22050, n_fft=1024, hop_length=256, n_mels=80)
    >>> log_mel(torch.zeros(2, 8192), spec).shape
    torch.Size([2, 80, 32])
    """
    if samples.ndim != 2:
        raise AudioError(f"samples must be [B, T], not of shape {list(samples.shape)}")
    _refuse_nothing(samples)
    samples = _real(samples)
    batch, count = samples.shape[0], spec.frames(samples.shape[1])
    if not batch or not count:
        return samples.new_zeros(batch, spec.n_mels, count)
    padded = pad_frames(samples, spec)
    frames = padded.unfold(-1, spec.n_fft, spec.hop_length)
    if torch.is_grad_enabled() and samples.requires_grad:
        return _features(frames, spec)
    step = max(1, _CHUNK_FRAMES.get(samples.device.type, _CHUNK_FRAMES_ELSEWHERE) // batch)
    if count <= step:
        return _features(frames, spec)
    out = samples.new_empty(batch, spec.n_mels, count)
    for start in range(0, count, step):
        out[..., start : start + step] = _features(frames[:, start : start + step], spec)
    return out


def stft_magnitude(samples: Tensor, spec: FeatureSpec) -> Tensor:
    """Magnitudes of the spec's STFT, before `power`: `[..., T]` to `[..., n_fft // 2 + 1, spec.frames(T)]`.

    `magnitude_eps` and `window_norm` are in it: |X| = sqrt(re^2 + im^2 + eps), X divided by sqrt(sum of window^2).
    """
    _refuse_nothing(samples)
    samples = _real(samples)
    if not spec.frames(samples.shape[-1]):
        return samples.new_zeros(*samples.shape[:-1], spec.n_fft // 2 + 1, 0)
    frames = pad_frames(samples, spec).unfold(-1, spec.n_fft, spec.hop_length)
    return _spectrum(frames, spec, power=1).transpose(-1, -2)


def compress(mel: Tensor, spec: FeatureSpec) -> Tensor:
    """Mel values to features: `gain * log(max(mel, floor)) + offset`. Below the floor the gradient is 0."""
    floored = mel.clamp(min=spec.floor)
    if spec.log == "ln":
        values = floored.log()
    elif spec.log == "none":
        values = floored
    else:
        values = floored.log10() * (10.0 if spec.log == "db" else 1.0)
    return values if (spec.gain, spec.offset) == (1.0, 0.0) else values * spec.gain + spec.offset


def expand(features: Tensor, spec: FeatureSpec) -> Tensor:
    """Features back to mel values: the inverse of `compress` at and above the floor.

    >>> spec = FeatureSpec(sample_rate=8000, n_fft=256, hop_length=64, n_mels=8, log="db", gain=0.01, offset=0.8)
    >>> mel = torch.tensor([1e-4, 1.0, 50.0])
    >>> bool(torch.allclose(expand(compress(mel, spec), spec), mel, rtol=1e-3))
    True
    """
    values = (features - spec.offset) / spec.gain
    if spec.log == "none":
        return values
    return (values * {"ln": 1.0, "log10": math.log(10.0), "db": math.log(10.0) / 10.0}[spec.log]).exp()


def pad_frames(samples: Tensor, spec: FeatureSpec) -> Tensor:
    """Pad `[..., T]` as `spec.framing` says, so that frame k is `n_fft` samples from `k * hop_length`.

    Raises:
        AudioError: where T is 0.
    """
    _refuse_nothing(samples)
    if spec.framing == "valid":
        return samples
    total = spec.n_fft if spec.framing == "center" else spec.n_fft - spec.hop_length
    return reflect_pad(samples, total // 2, total - total // 2)


def reflect_pad(samples: Tensor, left: int, right: int) -> Tensor:
    """Reflect `[..., T]` at both ends without repeating the end sample, to and fro as often as a short sound needs.

    >>> reflect_pad(torch.tensor([1.0, 2.0, 3.0]), 3, 3).tolist()
    [2.0, 3.0, 2.0, 1.0, 2.0, 3.0, 2.0, 1.0, 2.0]
    """
    length = samples.shape[-1]
    if max(left, right) < length and samples.ndim > 1:
        return torch.nn.functional.pad(samples, (left, right), mode="reflect")
    index = torch.arange(-left, length + right, device=samples.device)
    period = max(1, 2 * (length - 1))
    index = index % period
    return samples[..., torch.where(index < length, index, period - index)]


def mel_filterbank(spec: FeatureSpec) -> Tensor:
    """The spec's triangular filters `[M, n_fft // 2 + 1]`, float32, computed in float64. Shared: do not change it."""
    return _filterbank(spec, torch.device("cpu"), torch.float32)


def hz_to_mel(hz: np.ndarray, scale: MelScale) -> np.ndarray:
    """Frequencies in Hz to mel.

    `htk`: 2595 log10(1 + f / 700). `slaney`: 3 f / 200 below 1 kHz, above it 27 steps per factor 6.4.

    >>> hz_to_mel(np.array([1000.0, 6400.0]), "slaney").tolist()
    [15.0, 42.0]
    """
    if scale == "htk":
        return np.asarray(2595.0 * np.log10(1.0 + hz / 700.0))
    return np.where(hz < 1000.0, 3.0 * hz / 200.0, 15.0 + 27.0 * np.log(np.maximum(hz, 1000.0) / 1000.0) / np.log(6.4))


def mel_to_hz(mel: np.ndarray, scale: MelScale) -> np.ndarray:
    """The inverse of `hz_to_mel`."""
    if scale == "htk":
        return np.asarray(700.0 * (10.0 ** (mel / 2595.0) - 1.0))
    return np.where(mel < 15.0, 200.0 * mel / 3.0, 1000.0 * 6.4 ** ((np.maximum(mel, 15.0) - 15.0) / 27.0))


def band_edges(spec: FeatureSpec) -> np.ndarray:
    """The M + 2 edges in Hz: band m rises from edge m to its centre at edge m + 1 and falls to edge m + 2."""
    low, high = hz_to_mel(np.array([spec.f_min, spec.band_top]), spec.mel_scale)
    return mel_to_hz(np.linspace(low, high, spec.n_mels + 2), spec.mel_scale)


def _refuse_nothing(samples: Tensor) -> None:
    if not samples.shape[-1]:
        raise AudioError("a sound without samples has no features")


def _real(samples: Tensor) -> Tensor:
    return samples if samples.dtype == torch.float64 else samples.float()


def _features(frames: Tensor, spec: FeatureSpec) -> Tensor:
    """Frames `[B, N, n_fft]` to features `[B, M, N]`."""
    bank = _filterbank(spec, frames.device, frames.dtype)
    with torch.autocast(frames.device.type, enabled=False):
        mel = bank @ _spectrum(frames, spec, power=spec.power).transpose(-1, -2)
        return compress(mel, spec)


def _spectrum(frames: Tensor, spec: FeatureSpec, *, power: int) -> Tensor:
    """Frames `[..., N, n_fft]` to magnitudes raised to `power`, `[..., N, n_fft // 2 + 1]`."""
    spectrum: Tensor = torch.fft.rfft(frames * _window(spec, frames.device, frames.dtype))
    if power == 1 and spec.magnitude_eps == 0.0 and spectrum.requires_grad:
        return spectrum.abs()  # its gradient at 0 is 0, that of a root is not a number
    energy: Tensor = spectrum.real.square() + spectrum.imag.square()
    if spec.magnitude_eps:
        energy = energy + spec.magnitude_eps
    return energy if power == 2 else energy.sqrt()


# The caches are filled outside inference mode: a tensor made inside it could never be used in training again.
@lru_cache(maxsize=64)
def _window(spec: FeatureSpec, device: torch.device, dtype: torch.dtype) -> Tensor:
    """The periodic Hann window, centred in `n_fft`, with the window norm in it."""
    window = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(spec.win_length) / spec.win_length)
    if spec.window_norm:
        window = window / np.sqrt(np.sum(window**2))
    left = (spec.n_fft - spec.win_length) // 2
    whole = np.zeros(spec.n_fft)
    whole[left : left + spec.win_length] = window
    with torch.inference_mode(False):
        return torch.from_numpy(whole).to(dtype).to(device)


@lru_cache(maxsize=64)
def _filterbank(spec: FeatureSpec, device: torch.device, dtype: torch.dtype) -> Tensor:
    edges = band_edges(spec)
    bins = np.arange(spec.n_fft // 2 + 1) * (spec.sample_rate / spec.n_fft)
    widths = np.diff(edges)[:, None]
    rising = (bins - edges[:-2, None]) / widths[:-1]
    falling = (edges[2:, None] - bins) / widths[1:]
    bank = np.maximum(0.0, np.minimum(rising, falling))
    if spec.norm == "slaney":
        bank *= (2.0 / (edges[2:] - edges[:-2]))[:, None]
    with torch.inference_mode(False):
        return torch.from_numpy(bank).to(dtype).to(device)
