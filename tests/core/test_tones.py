"""The data set `tones`: made from a seed, alike everywhere, of kinds that can be told apart, and played as its scores say."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections import Counter
from functools import cache

import librosa
import numpy as np
import pytest

from synthkit.builtin.config import TonesConfig
from synthkit.builtin.instruments import INSTRUMENTS, render
from synthkit.builtin.score import COMPOSERS, Note, Score
from synthkit.builtin.tones import Tones
from synthkit.errors import UnreadableClip
from synthkit.interfaces import SPLITS, Clip

LABELS = ("bass", "bells", "chords", "melody", "noise", "percussion")


@cache
def tones(**settings: float) -> Tones:
    return Tones(TonesConfig.model_validate(settings))


@cache
def heard(id: str, **settings: float) -> np.ndarray:
    dataset = tones(**settings)
    clip = next(clip for clip in dataset.clips() if clip.id == id)
    return dataset.open(clip).samples[0]


@cache
def everything() -> tuple[tuple[Clip, Score, np.ndarray], ...]:
    """The first eight clips of each label."""
    dataset = tones(clips_per_label=8)
    return tuple((clip, dataset.score(clip), heard(clip.id, clips_per_label=8)) for clip in dataset.clips())


class TestIndex:
    def test_labels_are_balanced_in_every_split(self) -> None:
        for count in (3, 8, 16, 40):
            dataset = tones(clips_per_label=count)
            assert dataset.labels() == LABELS
            for split in SPLITS:
                counts = Counter(clip.label for clip in dataset.clips(split))
                assert set(counts) == set(LABELS)
                assert len(set(counts.values())) == 1

    def test_every_clip_is_in_one_split(self) -> None:
        dataset = tones(clips_per_label=25)
        split = [clip.id for name in SPLITS for clip in dataset.clips(name)]
        assert sorted(split) == sorted(clip.id for clip in dataset.clips())
        assert len(set(split)) == 6 * 25

    def test_more_clips_change_none(self) -> None:
        for name in SPLITS:
            few, many = tones(clips_per_label=5).clips(name), tones(clips_per_label=50).clips(name)
            assert set(few) <= set(many)

    def test_a_key_stands_for_the_sound(self) -> None:
        keys = {
            tuple(settings.items()): [clip.key for clip in tones(**settings).clips()]
            for settings in ({}, {"seed": 1}, {"seconds": 3.0}, {"sample_rate": 16000})
        }
        every = [key for some in keys.values() for key in some]
        assert len(set(every)) == len(every)
        assert [clip.key for clip in Tones(TonesConfig()).clips()] == keys[()]

    def test_a_foreign_clip_is_refused(self) -> None:
        for clip in (Clip(id="x/1", key="", label="x"), Clip(id="bass/x", key="", label="bass")):
            with pytest.raises(UnreadableClip, match="not a clip of the data set tones"):
                tones().open(clip)

    def test_every_clip_is_free_to_use(self) -> None:
        assert {clip.licence for clip in tones().clips()} == {tones().licence}
        assert "CC0" in tones().licence


class TestSound:
    def test_length_rate_level(self) -> None:
        peaks = []
        for clip, score, samples in everything():
            assert len(samples) == 4 * 22050, clip.id
            assert np.isfinite(samples).all()
            peak = np.abs(samples).max()
            assert peak == pytest.approx(score.peak, rel=1e-4)
            assert 0.1 < peak < 0.9
            peaks.append(20 * np.log10(peak))
        assert max(peaks) - min(peaks) > 12  # dB: levels vary

    def test_begins_and_ends_in_exact_silence_and_rests_between(self) -> None:
        for clip, score, samples in everything():
            assert not samples[: int(0.02 * 22050)].any(), clip.id
            assert not samples[-int(0.02 * 22050) :].any()
            assert len(score.phrases) >= 2
            for (_, end), (start, _) in zip(score.phrases, score.phrases[1:], strict=False):
                assert start - end > 0.05
                assert not samples[int(end * 22050) + 1 : int(start * 22050)].any(), clip.id

    def test_is_heard_in_every_phrase(self) -> None:
        for clip, score, samples in everything():
            for start, end in score.phrases:
                phrase = samples[int(start * 22050) : int(end * 22050)]
                assert np.abs(phrase).max() > 0.02 * score.peak, clip.id

    def test_a_phrase_neither_begins_nor_ends_with_a_click(self) -> None:
        """Its first and last millisecond are far below what it reaches."""
        for clip, score, samples in everything():
            for start, end in score.phrases:
                first, last = round(start * 22050), round(end * 22050)
                for edge in (samples[first : first + 22], samples[last - 22 : last]):
                    assert np.abs(edge).max() < 0.2 * score.peak, clip.id

    def test_no_tone_above_the_top_at_a_low_rate(self) -> None:
        """What a higher rate plays below 3.4 kHz, 8 kHz plays too, and nothing folds back as a tone."""
        for voice in ("reed", "keys", "organ", "strings", "bell", "music box", "brass"):
            note = Note(start=0.0, seconds=0.8, pitch=93.0, level=1.0, voice=voice)
            made = INSTRUMENTS[voice](note, 8000, np.random.default_rng(0))
            spectrum = np.abs(np.fft.rfft(made[:6400] * np.hanning(6400)))
            frequencies = np.fft.rfftfreq(6400, 1 / 8000)
            assert spectrum[frequencies > 3900].max() < 0.02 * spectrum.max(), voice

    @pytest.mark.parametrize("settings", [{"seconds": 0.5}, {"seconds": 11.0}, {"sample_rate": 8000}, {"seed": -5}])
    def test_any_setting_gives_sound(self, settings: dict[str, float]) -> None:
        dataset = tones(clips_per_label=3, **settings)
        config = TonesConfig.model_validate(settings)
        for clip in dataset.clips():
            audio = dataset.open(clip)
            assert audio.sample_rate == config.sample_rate
            assert audio.frames == round(config.seconds * config.sample_rate)
            assert 0.1 < audio.peak < 0.9, clip.id


class TestSame:
    def test_in_another_process(self) -> None:
        program = """
import hashlib, numpy as np
from synthkit.builtin.tones import Tones
from synthkit.builtin.config import TonesConfig
dataset = Tones(TonesConfig(clips_per_label=3, seconds=1.0))
for clip in reversed(dataset.clips()):
    print(clip.id, hashlib.sha256(np.round(dataset.open(clip).samples * 4096).astype("<i4").tobytes()).hexdigest())
"""
        run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        there = dict(line.split() for line in run.stdout.splitlines())
        dataset = tones(clips_per_label=3, seconds=1.0)
        here = {}
        for clip in dataset.clips():
            rounded = np.round(dataset.open(clip).samples * 4096).astype("<i4")
            here[clip.id] = hashlib.sha256(rounded.tobytes()).hexdigest()
        assert there == here
        assert len(set(here.values())) == 18

    def test_another_seed_is_other_music(self) -> None:
        one, other = tones(), tones(seed=1)
        for clip in one.clips()[:6]:
            assert one.score(clip).notes != other.score(clip).notes

    def test_a_clip_does_not_depend_on_what_was_played_before(self) -> None:
        dataset = tones()
        clip = dataset.clips()[3]
        before = dataset.open(clip).samples
        dataset.open(dataset.clips()[0])
        assert np.array_equal(dataset.open(clip).samples, before)


class TestScores:
    def test_notes_lie_in_their_phrases(self) -> None:
        for clip, score, _ in everything():
            assert score.notes, clip.id
            for note in score.notes:
                assert any(
                    start <= note.start < note.start + note.seconds <= end + 1e-9 for start, end in score.phrases
                )
                assert 0 < note.level <= 1
                assert note.voice in INSTRUMENTS

    def test_melodies_are_heard_as_they_are_written(self) -> None:
        """The pitch that an independent tracker hears is that of the note, in nearly all notes."""
        right = total = 0
        for clip, score, samples in everything():
            if clip.label != "melody":
                continue
            for note in score.notes:
                assert note.pitch is not None
                hertz = 440 * 2 ** ((note.pitch - 69) / 12)
                start = int((note.start + 0.03) * 22050)
                piece = samples[start : start + int(min(note.seconds - 0.03, 0.4) * 22050)]
                if len(piece) < 1024:
                    continue
                found = librosa.yin(piece, fmin=150, fmax=2000, sr=22050, frame_length=1024)
                total += 1
                right += bool(abs(1200 * np.log2(np.median(found) / hertz)) < 50)  # cents
        assert total > 60
        assert right / total > 0.95

    def test_a_plucked_string_is_in_tune(self) -> None:
        for pitch in (40.0, 52.0, 64.0, 76.0):
            note = Note(start=0.0, seconds=1.0, pitch=pitch, level=1.0, voice="guitar")
            string = INSTRUMENTS["guitar"](note, 22050, np.random.default_rng(0))
            found = np.median(librosa.yin(string[2000:12000], fmin=60, fmax=1500, sr=22050, frame_length=4096))
            assert abs(1200 * np.log2(found / (440 * 2 ** ((pitch - 69) / 12)))) < 8  # cents

    def test_melodies_keep_to_a_scale_and_come_home(self) -> None:
        for clip, score, _ in everything():
            if clip.label != "melody":
                continue
            pitches = [round(note.pitch) for note in score.notes if note.pitch is not None]
            home = pitches[-1] % 12
            degrees = {(pitch - home) % 12 for pitch in pitches}
            scales = ({0, 2, 4, 5, 7, 9, 11}, {0, 2, 3, 5, 7, 8, 10}, {0, 2, 3, 5, 7, 9, 10})
            assert any(degrees <= scale for scale in scales), clip.id
            assert len(set(pitches)) >= 3

    def test_chords_sound_together_and_melodies_do_not(self) -> None:
        def most_at_once(score: Score) -> int:
            times = [note.start + 0.5 * note.seconds for note in score.notes]
            return max(sum(note.start <= t < note.start + note.seconds for note in score.notes) for t in times)

        most = {
            (clip.label, most_at_once(score)) for clip, score, _ in everything() if clip.label in ("chords", "melody")
        }
        assert {count for label, count in most if label == "melody"} == {1}
        assert min(count for label, count in most if label == "chords") >= 3

    def test_every_drum_hit_is_an_onset(self) -> None:
        """An independent onset detector finds what the score says, and little else."""
        for clip, score, samples in everything():
            if clip.label != "percussion":
                continue
            written = sorted({round(note.start, 3) for note in score.notes if note.level > 0.5})
            found = librosa.onset.onset_detect(y=samples, sr=22050, hop_length=128, units="time", backtrack=False)
            hits = sum(bool(np.abs(found - start).min() < 0.05) for start in written)
            assert hits / len(written) > 0.6, clip.id

    def test_every_instrument_is_used_and_every_label_is_composed(self) -> None:
        assert tuple(COMPOSERS) == LABELS
        used = {note.voice for clip in tones(clips_per_label=40).clips() for note in tones().score(clip).notes}
        assert used == set(INSTRUMENTS)

    def test_an_empty_score_is_silence(self) -> None:
        score = Score(notes=(), phrases=((0.1, 0.4),), peak=0.5, room=0.1)
        assert not render(score, 0.5, 8000, np.random.default_rng(0)).any()


def test_labels_can_be_told_apart_by_ear() -> None:
    """The nearest mean of simple descriptors (level of 40 mel bands and how much it varies, 60 dB deep) names the label."""
    descriptors, labels, numbers = [], [], []
    for seed in (0, 1):
        dataset = tones(seed=seed, clips_per_label=12)
        for clip in dataset.clips():
            samples = dataset.open(clip).samples[0]
            mel = librosa.feature.melspectrogram(
                y=samples / np.abs(samples).max(), sr=22050, n_fft=1024, hop_length=512, n_mels=40, power=1
            )
            log_mel = np.log10(np.maximum(mel, 1e-3))
            descriptors.append(np.concatenate([log_mel.mean(axis=1), log_mel.std(axis=1)]))
            labels.append(clip.label)
            numbers.append(int(clip.id[-4:]))
    x, y, known = np.array(descriptors), np.array(labels), np.array(numbers) % 2 == 0
    means = {label: x[known & (y == label)].mean(axis=0) for label in LABELS}
    guessed = [min(LABELS, key=lambda label: float(((row - means[label]) ** 2).sum())) for row in x[~known]]
    assert np.mean(np.array(guessed) == y[~known]) >= 0.95
