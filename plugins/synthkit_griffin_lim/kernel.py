"""One round of Griffin-Lim on the processor: every lane of a vector does the FFT of its own frames.

32 frames are worked on at a time. Frames 2l and 2l + 1 are the real and the imaginary part of lane l, so that one complex FFT
serves both. The forward transform (decimation in frequency) leaves the spectrum in digit-reversed order and the inverse one
(decimation in time) takes it so: nothing is ever sorted, and all of it stays in the processor's second-level cache.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numba
import numpy as np

from synthkit.lanes import LANES, Index, Lanes, Rows, transposed, vectorised

FRAMES = 2 * LANES  # of a block
KEPT = 6 * LANES  # numbers kept per block and bin: what is wanted of both frames, and both spectra of the last round


@dataclass(frozen=True)
class Plan:
    """What an FFT of `n_fft` samples needs, a power of two."""

    n_fft: int
    odd: bool
    """Whether `n_fft` is an odd power of two, so that one pass has radix 2 and not 4."""
    turns: np.ndarray
    """Cosines and sines in the order in which the forward transform uses them."""
    places: np.ndarray
    """Where the transform leaves bin k, `[n_fft]`."""


@lru_cache(maxsize=8)
def plan(n_fft: int) -> Plan:
    """The plan for a length.

    >>> plan(8).places.tolist()
    [0, 4, 1, 5, 2, 6, 3, 7]
    """
    turns: list[np.ndarray] = []
    size, places, block = n_fft, np.zeros(n_fft, dtype=np.int64), np.arange(n_fft)
    odd = n_fft.bit_length() % 2 == 0
    while size > 1:
        radix = 2 if odd and size == n_fft else 4
        angles = -2 * np.pi * np.outer(np.arange(size // radix), np.arange(1, radix)) / size
        turns.append(np.stack((np.cos(angles), np.sin(angles)), axis=-1).ravel())
        places += block % radix * (size // radix)
        block, size = block // radix, size // radix
    return Plan(n_fft, odd, np.concatenate(turns).astype(np.float32), places)


def kept(magnitudes: np.ndarray, n_fft: int) -> np.ndarray:
    """What is kept between rounds, `[blocks, n_fft // 2 + 1, 6, 16]`: of magnitudes `[N, n_fft // 2 + 1]`, and zeros.

    The inverse transform's factor `1 / n_fft` is in the magnitudes.
    """
    out = np.zeros((-(-len(magnitudes) // FRAMES), magnitudes.shape[1], 6, LANES), dtype=np.float32)
    out[:, :, :2] = _lanes(magnitudes[..., None] * np.float32(1 / n_fft))[..., 0, :]
    return out


def remember(state: np.ndarray, spectra: np.ndarray) -> None:
    """Write spectra `[N, n_fft // 2 + 1, 2]` into what is kept as those of the last round."""
    blocks, bins, _, _ = state.shape
    state[:, :, 2:] = _lanes(spectra).reshape(blocks, bins, 4, LANES)


def _lanes(frames: np.ndarray) -> np.ndarray:
    """`[N, F, C]` to `[blocks, F, 2, C, 16]`; frame 2l + p of a block is part p of lane l."""
    count, bins, numbers = frames.shape
    blocks = -(-count // FRAMES)
    whole = np.zeros((blocks * FRAMES, bins, numbers), dtype=np.float32)
    whole[:count] = frames
    return whole.reshape(blocks, LANES, 2, bins, numbers).transpose(0, 3, 2, 4, 1)


def _take(sound: Rows, window: Rows, out: Rows, first: Index, apart: Index, moment: Index) -> None:
    """16 moments of 16 frames into lanes, windowed."""
    weights = window.load(moment)
    for number, lanes in enumerate(
        transposed([sound.load(first + apart * lane + moment) * weights for lane in range(LANES)])
    ):
        out.store((moment + number) * LANES, lanes)


def _give(sound: Rows, window: Rows, made: Rows, first: Index, apart: Index, moment: Index) -> None:
    """16 moments of 16 frames from lanes, windowed, added to the sound."""
    weights = window.load(moment)
    for number, part in enumerate(transposed([made.load((moment + row) * LANES) for row in range(LANES)])):
        place = first + apart * number + moment
        sound.store(place, sound.load(place) + part * weights)


def _forward2(real: Rows, imag: Rows, first: Index, step: Index, turns: Rows, turn: Index) -> None:
    second = first + step
    ar, ai, br, bi = real.load(first), imag.load(first), real.load(second), imag.load(second)
    cosine, sine = turns.spread(turn), turns.spread(turn + 1)
    real.store(first, ar + br)
    imag.store(first, ai + bi)
    dr, di = ar - br, ai - bi
    real.store(second, dr * cosine - di * sine)
    imag.store(second, dr * sine + di * cosine)


def _inverse2(real: Rows, imag: Rows, first: Index, step: Index, turns: Rows, turn: Index) -> None:
    second = first + step
    ar, ai, xr, xi = real.load(first), imag.load(first), real.load(second), imag.load(second)
    cosine, sine = turns.spread(turn), turns.spread(turn + 1)
    br, bi = xr * cosine + xi * sine, xi * cosine - xr * sine
    real.store(first, ar + br)
    imag.store(first, ai + bi)
    real.store(second, ar - br)
    imag.store(second, ai - bi)


def _forward4(real: Rows, imag: Rows, first: Index, step: Index, turns: Rows, turn: Index) -> None:
    places = (first, first + step, first + step * 2, first + step * 3)
    (ar, br, cr, dr), (ai, bi, ci, di) = ([rows.load(place) for place in places] for rows in (real, imag))
    sr, si, tr, ti = ar + cr, ai + ci, ar - cr, ai - ci
    ur, ui, vr, vi = br + dr, bi + di, br - dr, bi - di
    real.store(first, sr + ur)
    imag.store(first, si + ui)
    turned = ((tr + vi, ti - vr), (sr - ur, si - ui), (tr - vi, ti + vr))
    for number, (xr, xi) in enumerate(turned):
        cosine, sine = turns.spread(turn + 2 * number), turns.spread(turn + (2 * number + 1))
        real.store(places[number + 1], xr * cosine - xi * sine)
        imag.store(places[number + 1], xr * sine + xi * cosine)


def _inverse4(real: Rows, imag: Rows, first: Index, step: Index, turns: Rows, turn: Index) -> None:
    places = (first, first + step, first + step * 2, first + step * 3)
    ar, ai = real.load(first), imag.load(first)
    back: list[tuple[Lanes, Lanes]] = []
    for number, place in enumerate(places[1:]):
        xr, xi = real.load(place), imag.load(place)
        cosine, sine = turns.spread(turn + 2 * number), turns.spread(turn + (2 * number + 1))
        back.append((xr * cosine + xi * sine, xi * cosine - xr * sine))
    (pr, pi), (qr, qi), (rr, ri) = back
    sr, si, ur, ui = ar + qr, ai + qi, ar - qr, ai - qi
    tr, ti, vr, vi = pr + rr, pi + ri, ri - pi, pr - rr
    for place, yr, yi in zip(
        places, (sr + tr, ur + vr, sr - tr, ur - vr), (si + ti, ui + vi, si - ti, ui - vi), strict=True
    ):
        real.store(place, yr)
        imag.store(place, yi)


def _project(
    real: Rows, imag: Rows, state: Rows, here: Index, there: Index, at: Index, numbers: Rows, zero: Index
) -> None:
    """Give bin k of both frames of each lane its magnitude: `here` is where the FFT left bin k, `there` bin -k.

    With Z the transform of a + ib: `A = (Z[k] + conj Z[-k]) / 2`, `B = (Z[k] - conj Z[-k]) / 2i`.
    """
    zr, zi, yr, yi = real.load(here), imag.load(here), real.load(there), imag.load(there)
    step = numbers.spread(zero)
    spectra = (((zr + yr) * 0.5, (zi - yi) * 0.5), ((zi + yi) * 0.5, (yr - zr) * 0.5))
    made = []
    for number, (xr, xi) in enumerate(spectra):
        last = at + LANES * (2 + 2 * number)
        ahead_r, ahead_i = xr - state.load(last) * step, xi - state.load(last + LANES) * step
        state.store(last, xr)
        state.store(last + LANES, xi)
        size = (ahead_r * ahead_r + ahead_i * ahead_i + 1e-30).sqrt()
        factor = state.load(at + LANES * number) / size
        made.append((ahead_r * factor, ahead_i * factor))
    (ar, ai), (br, bi) = made
    real.store(there, ar + bi)
    imag.store(there, br - ai)
    real.store(here, ar - bi)
    imag.store(here, ai + br)


def _measure(
    real: Rows, imag: Rows, state: Rows, here: Index, there: Index, at: Index, numbers: Rows, zero: Index
) -> None:
    """Add the squared distances of bin k's magnitudes from the wanted ones to the last 16 of `numbers`."""
    zr, zi, yr, yi = real.load(here), imag.load(here), real.load(there), imag.load(there)
    total, whole = numbers.load(zero + 2), numbers.spread(zero + 1)
    for number, (xr, xi) in enumerate((((zr + yr) * 0.5, (zi - yi) * 0.5), ((zi + yi) * 0.5, (yr - zr) * 0.5))):
        gap = (xr * xr + xi * xi).sqrt() - state.load(at + LANES * number) * whole
        total = total + gap * gap
    numbers.store(zero + 2, total)


take, give = vectorised(_take), vectorised(_give)
forward2, inverse2 = vectorised(_forward2), vectorised(_inverse2)
forward4, inverse4 = vectorised(_forward4), vectorised(_inverse4)
project, measure = vectorised(_project), vectorised(_measure)


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def forward(real: Any, imag: Any, n_fft: int, odd: bool, turns: Any) -> None:
    """FFT of 16 complex signals `[n_fft, 16]` in place, into the order of `Plan.places`; `odd`: the first radix is 2."""
    size, turn = n_fft, 0
    if odd:
        size //= 2
        for moment in range(size):
            forward2(real, imag, moment * LANES, size * LANES, turns, 2 * moment)
        turn = 2 * size
    while size > 1:
        quarter = size // 4
        for base in range(0, n_fft, size):
            for moment in range(quarter):
                forward4(real, imag, (base + moment) * LANES, quarter * LANES, turns, turn + 6 * moment)
        turn += 6 * quarter
        size = quarter


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def inverse(real: Any, imag: Any, n_fft: int, odd: bool, turns: Any) -> None:
    """Undo `forward`, except that the result is `n_fft` times as large."""
    whole = n_fft // 2 if odd else n_fft
    size, turn = 4, len(turns)
    while size <= whole:
        quarter = size // 4
        turn -= 6 * quarter
        for base in range(0, n_fft, size):
            for moment in range(quarter):
                inverse4(real, imag, (base + moment) * LANES, quarter * LANES, turns, turn + 6 * moment)
        size *= 4
    if odd:
        for moment in range(whole):
            inverse2(real, imag, moment * LANES, whole * LANES, turns, 2 * moment)


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def one_round(
    sound: Any,
    made: Any,
    window: Any,
    state: Any,
    numbers: Any,
    measured: bool,
    frames: int,
    hop: int,
    n_fft: int,
    odd: bool,
    turns: Any,
    places: Any,
) -> None:
    """For each block of 32 frames of `sound`: transform, give the wanted magnitudes, transform back, add to `made`.

    Args:
        sound: Samples; frame i begins at `i * hop`. Long enough for whole blocks.
        made: Zeros of the same length, to which the frames are added.
        window: As long as a frame, a multiple of 16, at most `n_fft`.
        state: What `kept` gave, flat.
        numbers: How much of the last spectrum is subtracted, `n_fft`, and 16 numbers to which errors are added.
        measured: Whether they are.
        frames: How many there are.
        hop: Samples between frames.
        n_fft: FFT length.
        odd: See `forward`.
        turns: See `Plan`.
        places: See `Plan`.
    """
    bins = n_fft // 2 + 1
    blocks = len(state) // (bins * KEPT)
    real, imag = np.empty(n_fft * LANES, dtype=np.float32), np.empty(n_fft * LANES, dtype=np.float32)
    for block in range(blocks):
        first = block * FRAMES * hop
        for moment in range(0, len(window), LANES):
            take(sound, window, real, first, 2 * hop, moment)
            take(sound, window, imag, first + hop, 2 * hop, moment)
        for frame in range(max(0, frames - block * FRAMES), FRAMES):  # those that only fill the last block up
            column = imag if frame % 2 else real
            column[frame // 2 : len(window) * LANES : LANES] = 0
        real[len(window) * LANES :] = 0
        imag[len(window) * LANES :] = 0
        forward(real, imag, n_fft, odd, turns)
        for k in range(bins):
            here, there = places[k] * LANES, places[(n_fft - k) % n_fft] * LANES
            if measured:
                measure(real, imag, state, here, there, (block * bins + k) * KEPT, numbers, 0)
            project(real, imag, state, here, there, (block * bins + k) * KEPT, numbers, 0)
        inverse(real, imag, n_fft, odd, turns)
        for moment in range(0, len(window), LANES):
            give(made, window, real, first, 2 * hop, moment)
            give(made, window, imag, first + hop, 2 * hop, moment)


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def solve_tridiagonal(diagonal: Any, beside: Any, right: Any) -> None:
    """Solve symmetric positive definite tridiagonal systems, one per column, in place: `right` `[M, N]` becomes the solution.

    `diagonal` `[M, N]` is overwritten; `beside` is `[M - 1, N]`.
    """
    bands, columns = diagonal.shape
    for k in range(1, bands):
        for n in range(columns):
            ratio = beside[k - 1, n] / diagonal[k - 1, n]
            diagonal[k, n] -= ratio * beside[k - 1, n]
            right[k, n] -= ratio * right[k - 1, n]
    for n in range(columns):
        right[bands - 1, n] /= diagonal[bands - 1, n]
    for k in range(bands - 2, -1, -1):
        for n in range(columns):
            right[k, n] = (right[k, n] - beside[k, n] * right[k + 1, n]) / diagonal[k, n]
