"""Scores of the data set `tones`: who plays which note when. Composed from a seed by a few rules that music lives by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

SCALES = (
    (0, 2, 4, 5, 7, 9, 11),  # major
    (0, 2, 3, 5, 7, 8, 10),  # minor
    (0, 2, 3, 5, 7, 9, 10),  # dorian
    (0, 2, 4, 7, 9),  # major pentatonic
    (0, 3, 5, 7, 10),  # minor pentatonic
)
_MELODY_RHYTHMS = ((1.0, 1.0), (0.5, 0.5, 1.0), (1.5, 0.5), (0.5, 0.5, 0.5, 0.5), (0.75, 0.25, 1.0), (2.0,))  # beats
_BASS_RHYTHMS = ((0.5, 0.5, 0.5, 0.5), (0.75, 0.75, 0.5), (1.0, 0.5, 0.5), (1.5, 0.5))
_PROGRESSIONS = ((0, 4, 5, 3), (5, 3, 0, 4), (1, 4, 0, 0), (0, 3, 4, 0), (0, 5, 1, 4))  # degrees of the scale, from 0
_DRUM_PATTERNS = (  # sixteenths of one bar: rock, house, break, half time
    {"kick": "x.......x.x.....", "snare": "....x.......x...", "hat": "x.x.x.x.x.x.x.x."},
    {"kick": "x...x...x...x...", "snare": "....x.......x..x", "hat": "..x...x...x...x."},
    {"kick": "x.x.......xx....", "snare": "....x..x.x..x...", "hat": "xxxxxxxxxxxxxxxx"},
    {"kick": "x.....x.........", "snare": "........x.......", "hat": "x..xx..xx..xx..x"},
)


@dataclass(frozen=True, kw_only=True)
class Note:
    """One sound of one voice."""

    start: float
    """Seconds from the beginning of the clip."""
    seconds: float
    """How long it is held."""
    pitch: float | None
    """MIDI number (69 is 440 Hz); None for noise and drums."""
    level: float
    """Loudness, 0 to 1."""
    voice: str
    """The instrument that plays it."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """What one clip plays: outside of its phrases there is silence, every sample zero."""

    notes: tuple[Note, ...]
    phrases: tuple[tuple[float, float], ...]
    """Start and end of each phrase in seconds."""
    peak: float
    """Largest magnitude of a sample of the clip."""
    room: float
    """Share of reverberation, 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class _Phrase:
    """A stretch of time to fill with notes."""

    start: float
    end: float
    beat: float
    """Seconds of a beat."""
    last: bool
    """Whether the piece ends with it."""

    def note(self, at: float, beats: float, pitch: float | None, level: float, voice: str) -> Note | None:
        """A note `at` so many beats into the phrase, cut where the phrase ends; None where nothing of it is left."""
        start = self.start + at * self.beat
        seconds = min(beats * self.beat, self.end - start)
        if seconds < 0.03:
            return None
        return Note(start=start, seconds=seconds, pitch=pitch, level=min(1.0, level), voice=voice)

    @property
    def beats(self) -> float:
        """Its length."""
        return (self.end - self.start) / self.beat


Composer = Callable[[Sequence[_Phrase], np.random.Generator], list[Note | None]]


def compose(label: str, seconds: float, random: np.random.Generator) -> Score:
    """A score of `seconds` for one of the labels in `COMPOSERS`."""
    beat = 60.0 / random.uniform(84, 152)
    silences = np.minimum([0.15, 0.25], 0.05 * seconds) * random.uniform(0.4, 1.0, size=2)
    count = max(1, round(seconds / 2.2))
    pauses = min(0.3, 0.1 * seconds) * random.uniform(0.4, 1.0, size=count - 1)
    playing = seconds - silences.sum() - pauses.sum()
    shares = random.uniform(0.7, 1.3, size=count)
    lengths = playing * shares / shares.sum()
    starts = silences[0] + np.concatenate([[0.0], np.cumsum(lengths[:-1] + pauses)])
    phrases = [
        _Phrase(start=float(start), end=float(start + length), beat=beat, last=number == count - 1)
        for number, (start, length) in enumerate(zip(starts, lengths, strict=True))
    ]
    notes = [note for note in COMPOSERS[label](phrases, random) if note is not None]
    return Score(
        notes=tuple(sorted(notes, key=lambda note: (note.start, note.voice, note.pitch or 0.0))),
        phrases=tuple((phrase.start, phrase.end) for phrase in phrases),
        peak=float(10 ** (random.uniform(-18, -1) / 20)),
        room=float(random.choice([0.0, 0.08, 0.16])),
    )


def _pick(random: np.random.Generator, options: Sequence[object]) -> int:
    return int(random.integers(len(options)))


def _scale_pitch(scale: Sequence[int], root: int, degree: int) -> int:
    """The pitch of a degree of a scale; degrees go on through the octaves, below 0 too."""
    return root + 12 * (degree // len(scale)) + scale[degree % len(scale)]


def _melody(phrases: Sequence[_Phrase], random: np.random.Generator) -> list[Note | None]:
    """A motif, said again a little higher or lower in every phrase; the piece ends on the tonic."""
    scale, root = SCALES[_pick(random, SCALES)], int(random.integers(60, 69))
    voice = ("reed", "brass", "keys")[_pick(random, "rbk")]
    rhythm = [length for _ in range(3) for length in _MELODY_RHYTHMS[_pick(random, _MELODY_RHYTHMS)]]
    steps = random.choice([-2, -1, -1, 0, 1, 1, 2, 3], size=len(rhythm))
    notes: list[Note | None] = []
    for number, phrase in enumerate(phrases):
        at, degree, index = 0.0, int(random.integers(0, 4)) if number else 2, 0
        while at < phrase.beats - 0.1:
            length = rhythm[index % len(rhythm)]
            ends = phrase.last and at + length >= phrase.beats - 0.1
            degree = min(max(degree + int(steps[index % len(steps)]), -2), 9)
            if ends:
                degree = len(scale) * round(degree / len(scale))
            accent = 0.9 if at % 2 == 0 else 0.7
            if ends or random.random() > 0.08:  # a rest now and then
                pitch = _scale_pitch(scale, root, degree)
                notes.append(phrase.note(at, 0.92 * length, pitch, accent * random.uniform(0.85, 1.1), voice))
            at, index = at + length, index + 1
    return notes


def _chords(phrases: Sequence[_Phrase], random: np.random.Generator) -> list[Note | None]:
    """A progression in close position, held, strummed or broken."""
    scale, root = SCALES[_pick(random, SCALES[:3])], int(random.integers(57, 64))
    progression = _PROGRESSIONS[_pick(random, _PROGRESSIONS)]
    voice = ("organ", "strings", "guitar")[_pick(random, "osg")]
    length, spread = float(random.choice([2.0, 2.0, 4.0])), float(random.choice([0.0, 0.06, 0.5]))
    notes: list[Note | None] = []
    number = 0
    for phrase in phrases:
        at = 0.0
        while at < phrase.beats - 0.2:
            degree = progression[number % len(progression)]
            pitches = [_scale_pitch(scale, root, degree + third) for third in (0, 2, 4)]
            pitches = [pitch - 12 if pitch > root + 14 else pitch for pitch in pitches]
            pitches = [
                min(pitches) - 12,
                *sorted(pitches),
                max(pitches) + 5 if random.random() < 0.3 else min(pitches) + 12,
            ]
            for place, pitch in enumerate(pitches):
                later = spread * place
                level = random.uniform(0.6, 0.8)
                notes.append(phrase.note(at + later, 0.97 * (length - later), pitch, level, voice))
            at, number = at + length, number + 1
    return notes


def _bass(phrases: Sequence[_Phrase], random: np.random.Generator) -> list[Note | None]:
    """Roots, fifths and octaves with a groove, two octaves below a melody."""
    scale, root = SCALES[_pick(random, SCALES)], int(random.integers(31, 40))
    progression = _PROGRESSIONS[_pick(random, _PROGRESSIONS)]
    voice = ("string bass", "synth bass")[_pick(random, "ss")]
    groove = [length for _ in range(2) for length in _BASS_RHYTHMS[_pick(random, _BASS_RHYTHMS)]]
    leaps = random.choice([0, 0, 0, 0, 7, 12], size=len(groove))
    notes: list[Note | None] = []
    for phrase in phrases:
        at, index = 0.0, 0
        while at < phrase.beats - 0.2:
            length = groove[index % len(groove)]
            tonic = root + (_scale_pitch(scale, 0, progression[int(at // 4) % len(progression)]) + 5) % 12 - 5
            leap = int(leaps[index % len(leaps)])
            if random.random() > 0.06:
                notes.append(phrase.note(at, 0.85 * length, tonic + leap, random.uniform(0.7, 1.0), voice))
            at, index = at + length, index + 1
    return notes


def _bells(phrases: Sequence[_Phrase], random: np.random.Generator) -> list[Note | None]:
    """Sparse high notes of a pentatonic scale that ring into each other."""
    scale, root = SCALES[3 + _pick(random, SCALES[3:])], int(random.integers(86, 92))
    voice = ("bell", "music box")[_pick(random, "bm")]
    notes: list[Note | None] = []
    for phrase in phrases:
        at = 0.0
        while at < phrase.beats - 0.2:
            pitch = _scale_pitch(scale, root, int(random.integers(-1, 6)))
            notes.append(phrase.note(at, 6.0, pitch, random.uniform(0.5, 1.0), voice))
            at += float(random.choice([0.5, 0.5, 1.0, 1.0, 1.5]))
    return notes


def _percussion(phrases: Sequence[_Phrase], random: np.random.Generator) -> list[Note | None]:
    """A drum kit: one bar's pattern with swing and ghost notes, and a fill on the toms at the end of each phrase."""
    pattern = _DRUM_PATTERNS[_pick(random, _DRUM_PATTERNS)]
    swing = float(random.choice([0.0, 0.0, 0.06]))
    notes: list[Note | None] = []
    for phrase in phrases:
        steps = int(phrase.beats * 4)
        fill = steps - 4 if steps >= 12 and random.random() < 0.7 else steps
        for step in range(steps):
            at = step / 4 + (swing if step % 2 else 0.0)
            if step >= fill:
                notes.append(phrase.note(at, 0.5, 55.0 - 4 * (step - fill), random.uniform(0.6, 0.9), "tom"))
            for drum, hits in pattern.items():
                accent = 1.0 if step % 4 == 0 else 0.75
                if hits[step % 16] == "x" and (step < fill or drum == "kick"):
                    notes.append(phrase.note(at, 0.5, None, accent * random.uniform(0.75, 1.0), drum))
                elif drum == "snare" and step < fill and random.random() < 0.08:
                    notes.append(phrase.note(at, 0.5, None, 0.2, drum))
    return notes


def _noise(phrases: Sequence[_Phrase], random: np.random.Generator) -> list[Note | None]:
    """One gesture of wind, surf, rain or steam in each phrase."""
    voice = ("wind", "surf", "rain", "steam")[_pick(random, "wsrs")]
    return [phrase.note(0.0, phrase.beats, None, random.uniform(0.5, 1.0), voice) for phrase in phrases]


COMPOSERS: dict[str, Composer] = {
    "bass": _bass,
    "bells": _bells,
    "chords": _chords,
    "melody": _melody,
    "noise": _noise,
    "percussion": _percussion,
}
"""Who writes the music of each label."""
