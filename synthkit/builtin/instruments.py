"""Instruments of the data set `tones`: additive, FM, plucked-string, modal and noise synthesis, and drums.

Each turns a note into samples `[T]`, float64, of about its level. No tone lies above 0.45 times the sample rate.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from synthkit.builtin.score import Note, Score

Samples = NDArray[np.float64]

_TOP = 0.45  # of the sample rate
_FADE_IN, _FADE_OUT = 0.004, 0.03  # seconds at the ends of a phrase


def render(score: Score, seconds: float, sample_rate: int, random: np.random.Generator) -> NDArray[np.float32]:
    """The sound of a score, samples `[T]` float32. Silence between the phrases is exact; nothing clicks."""
    count = round(seconds * sample_rate)
    sound = np.zeros(count)
    for note in score.notes:
        start = round(note.start * sample_rate)
        made = INSTRUMENTS[note.voice](note, sample_rate, random)[: count - start]
        sound[start : start + len(made)] += made
    if score.room:
        sound = _in_room(sound, score.room, sample_rate, random)
    sound *= _gate(score, count, sample_rate)
    peak = np.abs(sound).max()
    return (sound * (score.peak / peak if peak else 0.0)).astype(np.float32)


def _gate(score: Score, count: int, sample_rate: int) -> Samples:
    gate = np.zeros(count)
    for start, end in score.phrases:
        first, last = round(start * sample_rate), min(count, round(end * sample_rate))
        length = last - first
        rise, fall = (min(length // 2, round(fade * sample_rate)) for fade in (_FADE_IN, _FADE_OUT))
        gate[first:last] = 1.0
        gate[first : first + rise] = np.sin(np.linspace(0.0, np.pi / 2, rise, endpoint=False)) ** 2
        gate[last - fall : last] = np.cos(np.linspace(0.0, np.pi / 2, fall)) ** 2
    return gate


def _in_room(sound: Samples, share: float, sample_rate: int, random: np.random.Generator) -> Samples:
    """Convolved with a decaying noise of a third of a second."""
    t = _time(0.35, sample_rate)
    tail = random.standard_normal(len(t)) * np.exp(-t / 0.06)
    tail /= np.sqrt((tail**2).sum())
    size = _fft_size(len(sound) + len(tail))
    wet = np.fft.irfft(np.fft.rfft(sound, size) * np.fft.rfft(tail, size), size)[: len(sound)]
    return (1 - share) * sound + share * wet


def _fft_size(length: int) -> int:
    """The smallest power of two, or three times one, that is not below `length`."""
    size = 1 << (length - 1).bit_length()
    return size * 3 // 4 if size * 3 // 4 >= length else size


def _time(seconds: float, sample_rate: int) -> Samples:
    return np.arange(max(2, round(seconds * sample_rate))) / sample_rate


def _hertz(note: Note) -> float:
    assert note.pitch is not None
    return float(440.0 * 2 ** ((note.pitch - 69) / 12))


def _adsr(note: Note, sample_rate: int, attack: float, decay: float, sustain: float, release: float) -> Samples:
    """Attack, decay, sustain, and a release after the note: levels 0, 1, `sustain`, `sustain`, 0, in seconds."""
    held = max(note.seconds, attack + 0.01)
    decay = min(decay, held - attack)
    t = _time(held + release, sample_rate)
    return np.interp(t, [0, attack, attack + decay, held, held + release], [0, 1, sustain, sustain, 0])


def _harmonics(phase: Samples, amplitudes: Samples, brightness: Samples | float = 1.0) -> Samples:
    """Sum over k of `amplitudes[k - 1] * brightness**k * sin(k * phase)`, by the recurrence of Chebyshev."""
    before, now = np.zeros_like(phase), brightness * np.sin(phase)
    twice, square = 2 * brightness * np.cos(phase), brightness * brightness
    out: Samples = amplitudes[0] * now
    for amplitude in amplitudes[1:]:
        before, now = now, twice * now - square * before
        out += amplitude * now
    return out


def _partials(hertz: float, sample_rate: int, most: int) -> Samples:
    """Numbers 1, 2, ... of the harmonics that fit below the top."""
    return np.arange(1.0, 1 + max(1, min(most, int(_TOP * sample_rate / hertz))))


def _vibrato(t: Samples, hertz: float, rate: float, depth: float) -> Samples:
    """Phase of a tone whose pitch swings by `depth` (a share of it), setting in after a quarter of a second."""
    onset = np.clip((t - 0.25) / 0.3, 0.0, 1.0)
    swing: Samples = onset * (hertz * depth / rate) * np.cos(2 * np.pi * rate * t)
    return 2 * np.pi * hertz * t - swing


def _reed(note: Note, sample_rate: int, random: np.random.Generator) -> Samples:
    """Many harmonics that open and close with the note."""
    hertz, envelope = _hertz(note), _adsr(note, sample_rate, 0.03, 0.12, 0.75, 0.05)
    t = np.arange(len(envelope)) / sample_rate
    k = _partials(hertz, sample_rate, 12)
    phase = _vibrato(t, hertz, random.uniform(4.8, 6.0), 0.006)
    return note.level * envelope * _harmonics(phase, 1.0 / k**0.6, 0.58 + 0.25 * envelope)


def _brass(note: Note, sample_rate: int, random: np.random.Generator) -> Samples:
    """As loud as bright: the attack overshoots, and the harmonics follow the envelope (Risset 1966)."""
    hertz, envelope = _hertz(note), _adsr(note, sample_rate, 0.05, 0.12, 0.7, 0.06)
    t = np.arange(len(envelope)) / sample_rate
    k = _partials(hertz, sample_rate, 14)
    phase = _vibrato(t, hertz, random.uniform(5.0, 6.0), 0.004)
    return note.level * envelope * _harmonics(phase, 1.0 / k**0.3, 0.35 + 0.45 * envelope) * 0.7


def _keys(note: Note, sample_rate: int, random: np.random.Generator) -> Samples:
    """An electric piano: two FM pairs (Chowning 1973), the upper one for the hammer."""
    hertz = _hertz(note)
    envelope = _adsr(note, sample_rate, 0.004, 0.9, 0.35, 0.08)
    t = np.arange(len(envelope)) / sample_rate
    body = np.sin(2 * np.pi * hertz * t + 1.4 * note.level * np.exp(-t / 0.4) * np.sin(2 * np.pi * hertz * t))
    hammer = np.zeros_like(t)
    if 9 * hertz < _TOP * sample_rate:
        hammer = np.exp(-t / 0.12) * np.sin(2 * np.pi * hertz * t + 0.7 * np.sin(2 * np.pi * 8 * hertz * t))
    return note.level * envelope * (body + 0.35 * hammer) * 0.7


def _organ(note: Note, sample_rate: int, random: np.random.Generator) -> Samples:
    """Drawbars: the harmonics 1, 2, 3, 4, 6 and 8."""
    hertz, envelope = _hertz(note), _adsr(note, sample_rate, 0.02, 0.05, 0.9, 0.05)
    t = np.arange(len(envelope)) / sample_rate
    bars = np.array([1.0, 0.7, 0.5, 0.3, 0.0, 0.15, 0.0, 0.1])[: len(_partials(hertz, sample_rate, 8))]
    return note.level * envelope * _harmonics(_vibrato(t, hertz, 6.4, 0.002), bars) * 0.4


def _strings(note: Note, sample_rate: int, random: np.random.Generator) -> Samples:
    """Three sawtooths a little out of tune, swelling."""
    hertz, envelope = _hertz(note), _adsr(note, sample_rate, 0.18, 0.1, 0.9, 0.15)
    t = np.arange(len(envelope)) / sample_rate
    k = _partials(hertz, sample_rate, 10)
    tone = np.zeros_like(t)
    for detune in (-0.003, 0.0, 0.0035):
        phase = 2 * np.pi * hertz * (1 + detune) * t + random.uniform(0, 2 * np.pi)
        tone += _harmonics(phase, 1.0 / k, 0.8)
    return note.level * envelope * tone * 0.2


def _plucked(
    hertz: float,
    seconds: float,
    sample_rate: int,
    random: np.random.Generator,
    *,
    loss: float,
    damping: float,
    softness: float,
) -> Samples:
    """A string (Karplus and Strong 1983): a burst of noise that goes round a delay and is smoothed in each round.

    Smoothing adds `damping` times the next sample (Jaffe and Smith 1983), which makes the delay longer by that share of a
    sample; a second such filter tunes it. `softness` is the width of the finger, as a share of the string.
    """
    delay = sample_rate / hertz - damping
    period = int(delay)
    tuning = delay - period
    taps = loss * np.convolve([1 - damping, damping], [1 - tuning, tuning])
    count = round(seconds * sample_rate)
    string = np.zeros(period + 2 + count + period)
    finger = np.hanning(3 + round(softness * period))
    rounds = np.tile(random.uniform(-1, 1, size=period), 3)
    burst = np.convolve(rounds, finger, mode="same")[period : 2 * period]
    burst -= burst.mean()
    string[2 : period + 2] = burst / max(1e-9, np.abs(burst).max())
    for start in range(period + 2, period + 2 + count, period):
        past = string[start - period - 2 : start]
        string[start : start + period] = taps[0] * past[2:] + taps[1] * past[1:-1] + taps[2] * past[:-2]
    return string[period + 2 : period + 2 + count]


def _guitar(note: Note, sample_rate: int, random: np.random.Generator) -> Samples:
    string = _plucked(_hertz(note), note.seconds + 0.05, sample_rate, random, loss=0.997, damping=0.2, softness=0.03)
    return note.level * string * _release(len(string), 0.05, sample_rate) * 1.2


def _string_bass(note: Note, sample_rate: int, random: np.random.Generator) -> Samples:
    string = _plucked(_hertz(note), note.seconds + 0.04, sample_rate, random, loss=0.97, damping=0.5, softness=0.5)
    t = np.arange(len(string)) / sample_rate
    body = np.sin(2 * np.pi * _hertz(note) * t) * np.exp(-t / 0.5)
    return note.level * (string + 0.8 * body) * np.minimum(1.0, t / 0.015) * _release(len(string), 0.04, sample_rate)


def _synth_bass(note: Note, sample_rate: int, random: np.random.Generator) -> Samples:
    """A sawtooth whose upper harmonics die away."""
    hertz, envelope = _hertz(note), _adsr(note, sample_rate, 0.006, 0.25, 0.6, 0.04)
    t = np.arange(len(envelope)) / sample_rate
    k = _partials(hertz, sample_rate, 16)
    return note.level * envelope * _harmonics(2 * np.pi * hertz * t, 1.0 / k, 0.5 + 0.4 * np.exp(-t / 0.12)) * 0.8


def _release(count: int, seconds: float, sample_rate: int) -> Samples:
    return np.clip((count - np.arange(count)) / (seconds * sample_rate), 0.0, 1.0)


def _bell(note: Note, sample_rate: int, random: np.random.Generator) -> Samples:
    """A church bell without its hum: prime, minor third, fifth, octave and above, the higher ones shorter."""
    return _modes(note, sample_rate, random, (1.0, 1.2, 1.5, 2.0, 2.51, 2.66, 3.01, 4.17), ring=0.9)


def _music_box(note: Note, sample_rate: int, random: np.random.Generator) -> Samples:
    """The modes of a clamped bar."""
    return _modes(note, sample_rate, random, (1.0, 6.27, 2.0, 3.01), ring=0.35)


def _modes(
    note: Note, sample_rate: int, random: np.random.Generator, ratios: tuple[float, ...], ring: float
) -> Samples:
    hertz = _hertz(note)
    t = _time(min(note.seconds, 5 * ring) + 0.02, sample_rate)
    sound = np.zeros_like(t)
    for number, ratio in enumerate(ratios):
        if ratio * hertz < _TOP * sample_rate:
            fading = np.exp(-t * (0.4 + 0.6 * ratio) / ring)
            sound += 0.8**number * fading * np.sin(2 * np.pi * ratio * hertz * t + random.uniform(0, 2 * np.pi))
    return note.level * sound * np.minimum(1.0, t / 0.002) * _release(len(t), 0.02, sample_rate) * 0.4


def _band_noise(
    count: int, sample_rate: int, random: np.random.Generator, low: float, high: float, slope: int = 2
) -> Samples:
    """White noise between two frequencies (Butterworth's gain on each side), of standard deviation 1."""
    size = _fft_size(count)
    frequency = np.fft.rfftfreq(size, 1 / sample_rate)[1:]
    gain = 1 / np.sqrt((1 + (low / frequency) ** (2 * slope)) * (1 + (frequency / high) ** (2 * slope)))
    spectrum = np.fft.rfft(random.standard_normal(size))
    spectrum[0] = 0.0
    spectrum[1:] *= gain / np.sqrt(np.mean(gain**2))
    return np.fft.irfft(spectrum, size)[:count]


def _kick(note: Note, sample_rate: int, random: np.random.Generator) -> Samples:
    """A sine that falls from 180 to 48 Hz, and a click."""
    t = _time(0.28, sample_rate)
    sweep = 2 * np.pi * (48 * t + (180 - 48) * 0.03 * (1 - np.exp(-t / 0.03)))
    click = np.exp(-t / 0.004) * _band_noise(len(t), sample_rate, random, 1000, 5000)
    return note.level * (np.sin(sweep) * np.exp(-t / 0.09) + 0.08 * click) * _release(len(t), 0.05, sample_rate)


def _tom(note: Note, sample_rate: int, random: np.random.Generator) -> Samples:
    hertz, t = _hertz(note), _time(0.3, sample_rate)
    sweep = 2 * np.pi * (hertz * t + 0.6 * hertz * 0.04 * (1 - np.exp(-t / 0.04)))
    skin = np.exp(-t / 0.03) * _band_noise(len(t), sample_rate, random, 300, 2500)
    return note.level * (np.sin(sweep) * np.exp(-t / 0.12) + 0.1 * skin) * _release(len(t), 0.05, sample_rate) * 0.8


def _snare(note: Note, sample_rate: int, random: np.random.Generator) -> Samples:
    t = _time(0.22, sample_rate)
    skin = np.exp(-t / 0.05) * (np.sin(2 * np.pi * 185 * t) + 0.6 * np.sin(2 * np.pi * 331 * t))
    wires = np.exp(-t / 0.07) * _band_noise(len(t), sample_rate, random, 1500, 9000)
    return note.level * (0.4 * skin + 0.35 * wires) * _release(len(t), 0.03, sample_rate)


def _hat(note: Note, sample_rate: int, random: np.random.Generator) -> Samples:
    t = _time(0.09, sample_rate)
    metal = _band_noise(len(t), sample_rate, random, 6500, 12000, slope=4)
    return note.level * np.exp(-t / 0.025) * metal * _release(len(t), 0.02, sample_rate) * 0.22


def _wandering(count: int, knots: int, low: float, random: np.random.Generator) -> Samples:
    """A line through random points between `low` and 1."""
    points = random.uniform(low, 1.0, size=knots)
    return np.interp(np.linspace(0, knots - 1, count), np.arange(knots), points)


def _wind(note: Note, sample_rate: int, random: np.random.Generator) -> Samples:
    """Narrow bands of noise that come and go by themselves."""
    count = len(_time(note.seconds, sample_rate))
    knots = max(3, round(3 * note.seconds))
    sound = np.zeros(count)
    for centre in (450.0, 900.0, 1700.0, 3000.0, 4800.0, 7000.0):
        band = _band_noise(count, sample_rate, random, centre / 1.3, centre * 1.3, slope=3)
        sound += _wandering(count, knots, 0.1, random) ** 2 * band
    return note.level * sound * 0.25


def _surf(note: Note, sample_rate: int, random: np.random.Generator) -> Samples:
    """A wave that rises slowly and breaks: darkness first, brightness at the top."""
    count = len(_time(note.seconds, sample_rate))
    place = np.linspace(0, 1, count)
    crest = random.uniform(0.35, 0.65)
    swell = np.interp(place, [0, crest, 1], [0.15, 1.0, 0.1])
    deep = _band_noise(count, sample_rate, random, 300, 2500)
    high = _band_noise(count, sample_rate, random, 1500, 9000)
    return note.level * (swell * deep + swell**2 * high) * 0.3


def _rain(note: Note, sample_rate: int, random: np.random.Generator) -> Samples:
    """Thousands of drops over a soft hiss."""
    count = len(_time(note.seconds, sample_rate))
    drops = np.zeros(count)
    places = random.integers(count, size=int(random.uniform(300, 900) * note.seconds))
    drops[places] = random.exponential(1.0, size=len(places)) * random.choice([-1.0, 1.0], size=len(places))
    size = _fft_size(count)
    frequency = np.fft.rfftfreq(size, 1 / sample_rate)
    shape = np.exp(-0.5 * (np.log2(np.maximum(frequency, 1.0) / 3500.0) / 0.8) ** 2)
    splashes = np.fft.irfft(np.fft.rfft(drops, size) * shape, size)[:count]
    hiss = _band_noise(count, sample_rate, random, 1500, 9000)
    return note.level * (splashes + 0.25 * _wandering(count, 4, 0.5, random) * hiss)


def _steam(note: Note, sample_rate: int, random: np.random.Generator) -> Samples:
    """Puffs of broad noise in a steady rhythm."""
    t = _time(note.seconds, sample_rate)
    rate = random.uniform(2.0, 5.0)
    puffs = np.exp(-((t * rate) % 1.0) / 0.3) * np.minimum(1.0, ((t * rate) % 1.0) / 0.03)
    return note.level * puffs * _band_noise(len(t), sample_rate, random, 500, 8000) * 0.3


INSTRUMENTS: dict[str, Callable[[Note, int, np.random.Generator], Samples]] = {
    "reed": _reed,
    "brass": _brass,
    "keys": _keys,
    "organ": _organ,
    "strings": _strings,
    "guitar": _guitar,
    "string bass": _string_bass,
    "synth bass": _synth_bass,
    "bell": _bell,
    "music box": _music_box,
    "kick": _kick,
    "tom": _tom,
    "snare": _snare,
    "hat": _hat,
    "wind": _wind,
    "surf": _surf,
    "rain": _rain,
    "steam": _steam,
}
"""The instruments by the names that scores use."""
