"""What the measures of a conversion promise: they follow what happens in a sound, and nothing else of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch

import synthkit
from synthkit import dsp
from synthkit._stages.converted import content, hearing
from synthkit.audio import Audio
from synthkit.builtin.config import TonesConfig
from synthkit.builtin.instruments import render
from synthkit.builtin.tones import Tones
from synthkit.specs import FeatureSpec

SPEC = FeatureSpec(sample_rate=22050, n_fft=1024, hop_length=256, n_mels=80, floor=1e-3)
HZ = hearing.band_frequencies(SPEC)
CLIPS = 10


def picture(sound: Audio) -> np.ndarray:
    return hearing.of_features(dsp.log_mel(torch.from_numpy(sound.samples[:1]), SPEC)[0], SPEC)


@lru_cache
def tones() -> Tones:
    return Tones(TonesConfig(clips_per_label=2 * CLIPS))


@lru_cache
def sounds(label: str, first: int = 0) -> list[Audio]:
    clips = [clip for clip in tones().clips() if clip.label == label][first : first + CLIPS]
    return [tones().open(clip) for clip in clips]


@lru_cache
def played(voice: str, up: int) -> list[Audio]:
    """The same melodies on another instrument, higher or lower: conversions as good as can be."""
    made = []
    for number, clip in enumerate([clip for clip in tones().clips() if clip.label == "melody"][:CLIPS]):
        score = tones().score(clip)
        notes = tuple(
            replace(note, voice=voice, pitch=note.pitch + up) for note in score.notes if note.pitch is not None
        )
        samples = render(replace(score, notes=notes), 4.0, 22050, np.random.default_rng(number))
        made.append(Audio(samples, 22050))
    return made


def onsets(one: list[Audio], other: list[Audio]) -> float:
    pairs = zip(one, other, strict=True)
    return float(np.mean([content.onset_correlation(picture(a), picture(b), SPEC.frames_per_second) for a, b in pairs]))


def pitches(one: list[Audio], other: list[Audio]) -> float:
    pairs = zip(one, other, strict=True)
    return float(np.nanmean([content.pitch_correlation(picture(a), picture(b), HZ) for a, b in pairs]))


def chromas(one: list[Audio], other: list[Audio]) -> float:
    found = []
    for a, b in zip(one, other, strict=True):
        (first, hz), (second, _) = hearing.of_notes(a), hearing.of_notes(b)
        found.append(content.chroma_distance(first, second, hz))
    return float(np.mean(found))


@pytest.mark.parametrize("voice", ["reed", "keys", "bell", "music box", "guitar"])
def test_a_melody_on_another_instrument_keeps_rhythm_and_contour(voice: str) -> None:
    melodies = sounds("melody")
    for up in (0, 17):
        # of a plucked string other partials are loud in each note
        assert pitches(melodies, played(voice, up)) > (0.75 if voice == "guitar" else 0.9)
        assert onsets(melodies, played(voice, up)) > 0.65


def test_an_octave_keeps_the_chroma_and_another_key_does_not() -> None:
    reeds = played("reed", 0)
    assert chromas(reeds, played("reed", 12)) < 0.1 < 0.6 < chromas(reeds, played("reed", 6))
    assert chromas(reeds, played("music box", 24)) < 0.15


def test_unrelated_clips_have_nothing_in_common() -> None:
    melodies = sounds("melody")
    for others in (sounds("bells"), sounds("melody", CLIPS)):
        assert abs(onsets(melodies, others)) < 0.2
        assert abs(pitches(melodies, others)) < 0.35  # of ten clips of a handful of notes each
        assert chromas(melodies, others) > 0.6


def test_what_is_the_same_is_the_same_at_any_level() -> None:
    for sound in sounds("melody")[:3]:
        one = picture(sound)
        hushed = one - 9.0
        assert content.onset_correlation(one, hushed, 86.0) == pytest.approx(1.0)
        assert content.pitch_correlation(one, hushed, HZ) == pytest.approx(1.0)
        assert content.mel_distance(one, hushed) == pytest.approx(0.0, abs=1e-9)
        fine, hz = hearing.of_notes(sound)
        assert content.chroma_distance(fine, fine - 9.0, hz) == pytest.approx(0.0, abs=1e-9)


def test_backwards_is_another_clip() -> None:
    melodies = sounds("melody")
    reversed_ = [Audio(np.ascontiguousarray(sound.samples[:, ::-1]), 22050) for sound in melodies]
    assert onsets(melodies, reversed_) < 0.4
    assert pitches(melodies, reversed_) < 0.5


def test_silence_is_defined() -> None:
    silence, sound = np.full((80, 100), -60.0), picture(sounds("melody")[0])[:, :100]
    assert math.isnan(content.onset_correlation(silence, sound, 86.0))
    assert math.isnan(content.pitch_correlation(silence, sound, HZ))
    assert math.isnan(content.chroma_distance(silence, sound, HZ))
    assert content.onset_correlation(sound, silence, 86.0) == 0.0
    assert content.pitch_correlation(sound, silence, HZ) == 0.0
    assert content.chroma_distance(sound, silence, HZ) == 1.0
    assert content.mel_distance(silence, silence) == 0.0


def scale(fundamental: float, ratios: Sequence[float], steps: Sequence[float]) -> Audio:
    """Notes of a fifth of a second, each with partials in these ratios."""
    t, notes = np.arange(4410) / 22050, []
    for step in steps:
        waves = [np.sin(2 * np.pi * fundamental * 2 ** (step / 12) * ratio * t) for ratio in ratios]
        notes.append(np.sum([0.9**number * wave for number, wave in enumerate(waves)], axis=0))
    return Audio(np.concatenate(notes).astype(np.float32)[None] / 8, 22050)


STEPS = (0, 4, 2, 7, 5, 12, -3)
BELL, PIPE, REED = (1.0, 1.2, 1.5, 2.0, 2.51), (1.0,), (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)


@pytest.mark.parametrize("ratios", [BELL, PIPE, REED])
def test_pitch_is_told_in_semitones_whatever_the_partials(ratios: tuple[float, ...]) -> None:
    fine, hz = hearing.of_pitch(scale(500.0, ratios, STEPS))
    found = content.pitch(fine, hz)
    frames = len(found) / len(STEPS)
    middles = np.array([found[int((number + 0.5) * frames)] for number in range(len(STEPS))])
    assert np.abs(middles - middles[0] - STEPS).max() <= 0.5


def test_a_tune_is_the_same_on_pipe_reed_and_bell() -> None:
    pictures = [hearing.of_pitch(scale(hertz, it, STEPS)) for hertz, it in ((300, PIPE), (400, REED), (900, BELL))]
    for one, hz in pictures:
        for other, _ in pictures:
            assert content.pitch_correlation(one, other, hz) > 0.97


def test_a_melody_is_followed_where_partials_are_as_broad_as_mel_bands() -> None:
    """Bands that were moved up, as converters do, make broad noisy partials: high up, a band is wider than a semitone."""
    melodies = sounds("melody")
    features = torch.stack([dsp.log_mel(torch.from_numpy(clip.samples[:1]), SPEC)[0] for clip in melodies])
    moved = torch.full_like(features, SPEC.silence)
    moved[:, 24:] = features[:, :-24]
    vocoder = synthkit.vocoder("griffin-lim", spec=SPEC).component
    found = []
    for clip, samples in zip(melodies, vocoder.vocode(moved, random=torch.Generator().manual_seed(1)), strict=True):
        (one, hz), (other, _) = hearing.of_pitch(clip), hearing.of_pitch(Audio(samples.numpy(), 22050))
        frames = min(one.shape[1], other.shape[1])
        found.append(content.pitch_correlation(one[:, :frames], other[:, :frames], hz))
    assert float(np.mean(found)) > 0.95


def test_seams_are_told_by_their_place_only() -> None:
    random = np.random.default_rng(1)
    steady = random.standard_normal((20, 600))
    seams = range(30, 600, 30)
    assert abs(content.seam_decibels(steady, seams)) < 1.0
    broken = steady.copy()
    for number, seam in enumerate(seams):
        broken[:, seam : seam + 30] += 3.0 * (-1) ** number
    assert content.seam_decibels(broken, seams) > 6.0
    assert abs(content.seam_decibels(broken, [seam + 10 for seam in seams])) < 3.0
    assert math.isnan(content.seam_decibels(steady, []))
    assert math.isnan(content.seam_decibels(np.zeros((20, 600)), seams))
