"""The figures of converted clips, beside those of the vocoder alone, of the untouched source and of random clips of the target."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from synthkit._stages.converted import content, hearing
from synthkit._stages.converted.findings import Better, Column, Row, mean_of
from synthkit._stages.generation.real import Crop, levelled
from synthkit._stages.synthesis import Features, SpecFeatures, extract
from synthkit.audio import Audio
from synthkit.interfaces import Converter, Embedding
from synthkit.specs import FeatureSpec


@dataclass(frozen=True)
class Heard:
    """One set of sounds, crop by crop."""

    column: Column
    sounds: Sequence[Audio]
    """Of the crops of the source."""
    kept: Sequence[Audio | None]
    """Of the crops of the target, which a converter is to leave alone; None where there is no such sound."""
    features: Sequence[Features]
    """Of the crops of the source: what a converter made, or what the sound has."""


class _Ear:
    """All pictures of a sound that are compared."""

    def __init__(self, sound: Audio, spec: FeatureSpec) -> None:
        self.frames_per_second = spec.frames_per_second
        self.bands = _bands(sound, spec)
        self.pitch, self.pitch_hz = hearing.of_pitch(sound)
        self.notes, self.notes_hz = hearing.of_notes(sound)


def measure(
    sets: Sequence[Heard], source: Sequence[Crop], target: Sequence[Crop], converter: Converter, embedding: Embedding
) -> tuple[Row, ...]:
    """All rows; style is left out where the embedding tells no labels."""
    clips, own = [crop.clip for crop in source], [crop.clip for crop in target]
    rows = [*_style(sets, clips, converter, embedding), *_content(sets, source, converter.spec)]
    summary = f"How far clips that are {converter.target} already are from what they were, mean over their mel bands."
    values = {it.column.name: mean_of(_distances(it, target, converter.spec), own) for it in sets}
    rows.append(Row(name="identity", summary=summary, better="lower", unit="dB", values=values))
    return (*rows, _joints(sets, clips, converter))


def _style(sets: Sequence[Heard], clips: Sequence[str], converter: Converter, embedding: Embedding) -> Iterator[Row]:
    told = {it.column.name: embedding.classify([levelled(sound) for sound in it.sounds]) for it in sets}
    if any(labels is None for labels in told.values()):
        return
    values = {
        name: mean_of([float(label == converter.target) for label in labels or ()], clips, share=True)
        for name, labels in told.items()
    }
    summary = f"Share of the clips that are taken for {converter.target}."
    yield Row(name="style", summary=summary, better="higher", unit="of clips", values=values)


@dataclass(frozen=True)
class _Measure:
    """A figure of what is kept."""

    name: str
    summary: str
    better: Better
    compare: Callable[[_Ear, _Ear], float]
    """Of the source and what became of it."""


_CONTENT = (
    _Measure(
        "onsets",
        "Correlation with the source of what sets in when: is the rhythm kept?",
        "higher",
        lambda source, made: content.onset_correlation(source.bands, made.bands, source.frames_per_second),
    ),
    _Measure(
        "pitch",
        "Correlation with the source of how high it lies: is the melody kept, in whatever key?",
        "higher",
        lambda source, made: content.pitch_correlation(source.pitch, made.pitch, source.pitch_hz),
    ),
    _Measure(
        "chroma",
        "Distance from the source's notes, in whatever octave: 0 the same, 1 none in common, as in some other keys.",
        "lower",
        lambda source, made: content.chroma_distance(source.notes, made.notes, source.notes_hz),
    ),
)


def _content(sets: Sequence[Heard], source: Sequence[Crop], spec: FeatureSpec) -> Iterator[Row]:
    """What is kept of the source. Pictures are large, so only those of one crop are there at a time."""
    found: dict[str, dict[str, list[float]]] = {one.name: {it.column.name: [] for it in sets} for one in _CONTENT}
    for number, crop in enumerate(source):
        original = _Ear(crop.sound, spec)
        for it in sets:
            made = _Ear(it.sounds[number], spec)
            for one in _CONTENT:
                found[one.name][it.column.name].append(one.compare(original, made))
    clips = [crop.clip for crop in source]
    for one in _CONTENT:
        values = {column: mean_of(each, clips) for column, each in found[one.name].items()}
        yield Row(name=one.name, summary=one.summary, better=one.better, unit="", values=values)


def _distances(heard: Heard, target: Sequence[Crop], spec: FeatureSpec) -> list[float]:
    return [
        math.nan if sound is None else content.mel_distance(_bands(crop.sound, spec), _bands(sound, spec))
        for crop, sound in zip(target, heard.kept, strict=True)
    ]


def _joints(sets: Sequence[Heard], clips: Sequence[str], converter: Converter) -> Row:
    """How smooth the features are: where pieces meet, or for a converter without pieces, everywhere."""
    frames = sets[0].features[0].frames
    seams = converter.seams(frames)
    if seams:
        name, summary = "seams", "Level of the jumps from frame to frame where pieces meet, above that of the others."
        found = {
            it.column.name: [content.seam_decibels(_values(one), converter.seams(one.frames)) for one in it.features]
            for it in sets
        }
    else:
        name, summary = "unrest", "Energy of the jumps from frame to frame, above that of the source's."
        originals = next(it.features for it in sets if it.column.role == "source")
        found = {
            it.column.name: [
                content.unrest_decibels(_values(one), _values(other))
                for one, other in zip(originals, it.features, strict=True)
            ]
            for it in sets
        }
    values = {column: mean_of(each, clips) for column, each in found.items()}
    return Row(name=name, summary=summary, better="zero", unit="dB", values=values)


def _bands(sound: Audio, spec: FeatureSpec) -> np.ndarray:
    return hearing.of_features(extract(SpecFeatures(spec), sound.mono()).values[0], spec)


def _values(features: Features) -> np.ndarray:
    values: np.ndarray = features.values[0].detach().cpu().double().numpy()
    return values
