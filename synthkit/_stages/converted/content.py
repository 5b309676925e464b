"""How much of what happens in a sound is still there in another: onsets, pitch, chroma, mel bands, seams. Pure numpy.

Sounds are pictures: energies in dB, `[M, N]`, the M bands at frequencies `hz`. A gain does not matter, and what lies `RANGE_DB`
below the loudest of a picture is not heard. A figure that follows the source is NaN where there is nothing to follow: silence has
neither onsets nor pitch, and of a single held note no course can be kept.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

RANGE_DB = 40.0
"""What is so far below the loudest of a sound is not heard."""
ONSET_SECONDS = 0.05
"""How far apart two onsets may lie and still be the same (as in MIREX)."""
_CLEAR_DB = 25.0
"""A frame, or a partial in it, this far below the loudest does not tell the pitch."""
_STILL_DB = 60.0
"""Where a jump is so far below the largest, nothing moves."""
_STEP = 0.5
"""Semitones that pitches are told apart by."""
_MOST_SEMITONES = 24.0
"""How far a note lies from the middle of a clip at most."""
_ROUNDS = 8
_SMOOTH = 5
"""Frames whose median is the pitch of the middle one, so that single frames do not jump."""
_PITCH_HZ, _CHROMA_HZ = (80.0, 8000.0), (100.0, 5000.0)
_TINY = 1e-12


def onset_correlation(source: np.ndarray, made: np.ndarray, frames_per_second: float) -> float:
    """The correlation of how much sets in at each moment, -1 to 1: 1 for the same rhythm, about 0 for another.

    What sets in is what the bands rise by within `ONSET_SECONDS` (spectral flux, Dixon 2006), and counts for as long.

    >>> random = np.random.default_rng(0)
    >>> clicks, others = (np.where(random.random(400) < 0.05, 0.0, -60.0) * np.ones((8, 1)) for _ in range(2))
    >>> round(onset_correlation(clicks, clicks - 12, 86.0), 3), abs(onset_correlation(clicks, others, 86.0)) < 0.3
    (1.0, True)
    """
    return _correlation(_onsets(source, frames_per_second), _onsets(made, frames_per_second), least=1e-3)


def _onsets(picture: np.ndarray, frames_per_second: float) -> np.ndarray:
    """How much sets in, dB, `[N]`."""
    heard = _heard(picture)
    lag = max(1, round(ONSET_SECONDS * frames_per_second))
    before = np.pad(heard, ((0, 0), (lag, 0)), mode="edge")[:, : heard.shape[1]]
    rising = np.maximum(heard - before, 0).mean(0)
    window = np.ones(2 * lag + 1) / (2 * lag + 1)
    return np.convolve(rising, window)[lag : lag + len(rising)]


def pitch_correlation(source: np.ndarray, made: np.ndarray, hz: np.ndarray) -> float:
    """The correlation of how high the sounds lie, moment by moment, where both are clearly heard: -1 to 1.

    Higher or lower as a whole does not matter, and an instrument need not be harmonic: see `pitch`.

    >>> hz = 200 * 2 ** (np.arange(36) / 12)
    >>> notes = np.array([4, 9, 6, 11, 7, 4]).repeat(20)
    >>> melody = np.where(np.arange(36)[:, None] == notes, 0.0, -60.0)
    >>> round(pitch_correlation(melody, np.roll(melody, 12, axis=0), hz), 3)
    1.0
    >>> pitch_correlation(melody[:, :20], melody[:, :20], hz)  # a single note
    nan
    """
    course, heard = pitch(source, hz), _clear(source)
    if not _varies(course[heard], _STEP / 2):
        return math.nan
    both = heard & _clear(made)
    return _correlation(course[both], pitch(made, hz)[both], least=_TINY) if both.any() else 0.0


def pitch(picture: np.ndarray, hz: np.ndarray) -> np.ndarray:
    """How much higher each frame lies than the middle of the clip, in semitones, `[N]`; 0 where nothing is clearly heard.

    On a scale of semitones a note is a shifted picture of the clip's timbre, whatever its partials are. So timbre and shifts are
    found by turns: the timbre is the mean of the frames moved back by their shifts, and the shift of a frame is where it is most like
    the timbre. They begin at the strongest partial of each frame.
    """
    lines, clear = _lines(picture, hz), _clear(picture)
    if not clear.any():
        return np.zeros(picture.shape[1])
    strongest = lines.argmax(0)
    most = round(_MOST_SEMITONES / _STEP)
    shifts = np.clip(strongest - int(np.median(strongest[clear])), -most, most)
    size = 1 << (2 * len(lines) - 1).bit_length()  # what is moved beyond one end does not come in again at the other
    spectra, possible = np.fft.rfft(lines, size, axis=0), np.arange(-most, most + 1)
    turn = 2j * np.pi * np.arange(len(spectra))[:, None] / size
    for _ in range(_ROUNDS):
        timbre = (spectra[:, clear] * np.exp(turn * shifts[clear])).mean(1, keepdims=True)
        likeness = np.fft.irfft(spectra * timbre.conj(), size, axis=0)[possible]
        before, shifts = shifts, possible[likeness.argmax(0)]
        if np.array_equal(before, shifts):
            break
    around = np.pad(np.where(clear, shifts, 0), _SMOOTH // 2, mode="edge")
    return np.asarray(_STEP * np.median(np.lib.stride_tricks.sliding_window_view(around, _SMOOTH), axis=1))


def _lines(picture: np.ndarray, hz: np.ndarray) -> np.ndarray:
    """The picture on a scale of semitones, `[S, N]`: roots of amplitudes, so that faint partials count too; frames of length 1.

    A line is the mean of the energy between it and its neighbours, for a high partial may be broad, and any one frequency in it faint.
    """
    low, high = (12 * math.log2(value / 440) for value in (_PITCH_HZ[0], min(_PITCH_HZ[1], hz[-1])))
    edges = 440 * 2 ** ((np.arange(low, high + _STEP, _STEP) - _STEP / 2) / 12)
    energy = 10 ** (_heard(picture) / 10)
    between = (energy[1:] + energy[:-1]) / 2 * np.diff(hz)[:, None]
    place = np.interp(edges, hz, np.arange(len(hz)))
    below = np.minimum(place.astype(int), len(hz) - 2)
    up_to = np.pad(between.cumsum(0), ((1, 0), (0, 0)))[below] + (place - below)[:, None] * between[below]
    lines = np.diff(up_to, axis=0) / np.diff(edges)[:, None]
    roots = (lines / lines.max(0)) ** 0.25
    roots[roots < 10 ** (-_CLEAR_DB / 40)] = 0.0
    unit: np.ndarray = roots / np.linalg.norm(roots, axis=0)
    return unit


def chroma_distance(source: np.ndarray, made: np.ndarray, hz: np.ndarray) -> float:
    """How different the notes are, whatever their octave: 0 for the same, 1 for none in common.

    The mean over all moments in which the source is clearly heard of 1 less the cosine of both chromas, `[12]` energies of the
    pitch classes. Bands must lie closer than semitones.

    >>> hz = 200 * 2 ** (np.arange(72) / 24)
    >>> note = np.where(np.arange(72)[:, None] == 10, 0.0, -60.0) * np.ones(50)
    >>> distances = [chroma_distance(note, np.roll(note, bands, axis=0), hz) for bands in (0, 24, 12)]
    >>> [round(distance, 3) for distance in distances]
    [0.0, 0.0, 1.0]
    """
    clear = _clear(source)
    if not clear.any():
        return math.nan
    one, other = chroma(source, hz)[:, clear], chroma(made, hz)[:, clear]
    lengths = np.linalg.norm(one, axis=0) * np.linalg.norm(other, axis=0)
    cosines = (one * other).sum(0) / np.maximum(lengths, _TINY**2)
    return max(0.0, round(1 - float(cosines.mean()), 9))  # the cosine of a sound with itself is 1 but for rounding


def chroma(picture: np.ndarray, hz: np.ndarray) -> np.ndarray:
    """Energies of the twelve pitch classes from A on, `[12, N]`; a frequency between two belongs to both."""
    low, high = _CHROMA_HZ
    inside = (hz >= low) & (hz <= high)
    energy = 10 ** ((picture[inside] - picture.max()) / 10)
    energy[(energy < 10 ** (-RANGE_DB / 10)) | _is_silent(picture)] = 0.0
    semitones = 12 * np.log2(hz[inside] / 440)
    below = np.floor(semitones).astype(int)
    share = (semitones - below)[:, None]
    classes = np.zeros((12, picture.shape[1]))
    np.add.at(classes, below % 12, energy * (1 - share))
    np.add.at(classes, (below + 1) % 12, energy * share)
    return classes


def mel_distance(real: np.ndarray, made: np.ndarray) -> float:
    """The mean difference of the bands in dB, each picture relative to its own loudest point.

    >>> picture = np.array([[0.0, -10.0], [-20.0, -90.0]])
    >>> mel_distance(picture, picture - 6), mel_distance(picture, np.zeros((2, 2)))
    (0.0, 17.5)
    """
    return float(np.abs((_heard(real) - real.max()) - (_heard(made) - made.max())).mean())


def seam_decibels(picture: np.ndarray, seams: Sequence[int]) -> float:
    """How much higher the level of the jumps at the seams is than that of those between, dB: about 0 where nobody can find the seams.

    A jump is the mean squared difference of neighbouring frames of `picture`, features as the converter made them; one at seam n leads
    from frame n - 1 to frame n. Means are of levels in dB, so that a note that happens to begin at a seam does not decide, and
    where nothing moves is left out. NaN where no jump is left at the seams or between them.

    >>> steady = np.random.default_rng(0).standard_normal((8, 400))
    >>> broken = steady + 4.0 * (np.arange(400) // 20 % 2)
    >>> [round(seam_decibels(picture, range(20, 400, 20))) for picture in (steady, broken)]
    [0, 10]
    """
    jumps = _jumps(picture)
    at, between = np.zeros((2, len(jumps)), dtype=bool)
    places = [seam - 1 for seam in seams if 0 < seam <= len(jumps)]
    at[places] = True
    between[min(places, default=0) : max(places, default=0)] = True  # not the ends of a clip: there it begins and stops
    moving = jumps > jumps.max(initial=0.0) * 10 ** (-_STILL_DB / 10)
    between &= moving & ~at
    at &= moving
    if not at.any() or not between.any():
        return math.nan
    levels = 10 * np.log10(np.maximum(jumps, _TINY))
    return float(levels[at].mean() - levels[between].mean())


def unrest_decibels(source: np.ndarray, made: np.ndarray) -> float:
    """By how many dB all jumps of what was made have more energy than those of the source: 0 where it is as steady.

    >>> source = np.random.default_rng(0).standard_normal((8, 400))
    >>> round(unrest_decibels(source, 2 * source), 2)
    6.02
    """
    one, other = _jumps(source).sum(), _jumps(made).sum()
    return float(10 * np.log10(max(other, _TINY) / one)) if one > 0 else math.nan


def _jumps(picture: np.ndarray) -> np.ndarray:
    """The mean squared difference of each frame from the one before, `[N - 1]`."""
    return np.asarray(np.square(np.diff(picture, axis=1)).mean(0))


def _heard(picture: np.ndarray) -> np.ndarray:
    """The picture without what is not heard."""
    return np.asarray(np.maximum(picture, picture.max() - RANGE_DB))


def _clear(picture: np.ndarray) -> np.ndarray:
    """Which frames are clearly heard, `[N]`; none of silence."""
    energy = (10 ** ((picture - picture.max()) / 10)).sum(0)
    return np.asarray((energy > energy.max() * 10 ** (-_CLEAR_DB / 10)) & (not _is_silent(picture)))


def _is_silent(picture: np.ndarray) -> bool:
    """Whether every band is at the floor."""
    return float(np.ptp(picture)) == 0.0


def _varies(course: np.ndarray, least: float) -> bool:
    return len(course) > 1 and float(course.std()) >= least


def _correlation(source: np.ndarray, made: np.ndarray, least: float) -> float:
    """Pearson's; NaN where the source varies by less than `least`, 0 where only what was made does not vary."""
    if not _varies(source, least):
        return math.nan
    if not _varies(made, _TINY):
        return 0.0
    return float(np.corrcoef(source, made)[0, 1])
