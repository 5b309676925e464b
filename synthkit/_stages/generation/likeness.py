"""Whether two pieces of mel features are the same sound: at another moment, and louder or softer, too. Pure numpy, in dB."""

from __future__ import annotations

import math

import numpy as np

RANGE_DB = 30.0
"""What is so far below the loudest of a sound is not compared: at another level, features' floor would hide it."""
ROWS = 20
"""Bands that are compared."""
COLUMNS_PER_SECOND = 44.0
"""Columns per second that are compared, at most: half of the frames of most features, so that a shift by less hardly counts."""


def coarse(decibels: np.ndarray, frames_per_second: float) -> np.ndarray:
    """Mel bands `[M, N]` in dB as a small picture: what is faint is cut off, neighbouring bands and frames become their mean.

    >>> coarse(np.ones((80, 86)), frames_per_second=86.1).shape
    (20, 43)
    """
    bands, frames = decibels.shape
    heard = np.maximum(decibels, decibels.max() - RANGE_DB)
    rows = min(ROWS, bands)
    every = math.ceil(frames_per_second / COLUMNS_PER_SECOND)
    columns = max(1, frames // every)
    edges = np.arange(rows) * bands // rows
    banded = np.add.reduceat(heard, edges, axis=0) / np.diff([*edges, bands])[:, None]
    kept = banded[:, : columns * every].reshape(rows, columns, -1)
    small: np.ndarray = kept.mean(2).astype(np.float32)
    return small


def differences(windows: np.ndarray, clip: np.ndarray) -> np.ndarray:
    """How far each window is from the place of the clip that is most like it: `[n]`, in dB.

    Windows `[n, M, N]` are slid along the clip `[M, T]`; the difference is the RMS of what is left when both have mean 0 (a
    gain adds the same to all), and the smallest of all places counts. A clip shorter than the windows goes on
    with its lowest value, as a short clip is padded in training.

    >>> clip = np.sin(np.arange(80.0)).reshape(2, 40) + 3
    >>> differences(clip[None, :, 5:25] - 1, clip).round(3)
    array([0.], dtype=float32)
    """
    count, bands, frames = windows.shape
    if clip.shape[1] < frames:
        clip = np.pad(clip, ((0, 0), (0, frames - clip.shape[1])), constant_values=float(clip.min(initial=0)))
    places = clip.shape[1] - frames + 1
    size = 1 << (clip.shape[1] - 1).bit_length()
    level = clip.mean()  # sums of squares are exact for small numbers only
    shapes = windows - windows.mean(axis=(1, 2), keepdims=True)
    spectra = np.fft.rfft(shapes, size).conj() * np.fft.rfft(clip - level, size)
    products = np.fft.irfft(spectra.sum(1), size)[:, :places]
    means, squares = (_sliding((clip - level) ** power, frames) / (bands * frames) for power in (1, 2))
    own = (shapes**2).mean(axis=(1, 2))
    left = own[:, None] + (squares - means**2)[None] - 2 * products / (bands * frames)
    found: np.ndarray = np.sqrt(left.clip(min=0).min(1)).astype(np.float32)
    return found.reshape(count)


def pairwise(windows: np.ndarray) -> np.ndarray:
    """The same between windows `[n, M, N]` at the same moment: `[n, n]`."""
    shapes = (windows - windows.mean(axis=(1, 2), keepdims=True)).reshape(len(windows), -1).astype(np.float64)
    squares = (shapes**2).sum(1)
    left = squares[:, None] + squares[None] - 2 * shapes @ shapes.T
    between: np.ndarray = np.sqrt(left.clip(min=0) / shapes.shape[1])
    return between


def _sliding(values: np.ndarray, frames: int) -> np.ndarray:
    """Sums over all bands and `frames` frames from each place on."""
    total = np.concatenate([[0.0], values.sum(0).astype(np.float64).cumsum()])
    sums: np.ndarray = total[frames:] - total[:-frames]
    return sums
