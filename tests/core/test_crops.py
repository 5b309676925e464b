"""Crops: a pure function of (seed, step, row), even over all sound; and the loader that reads them ahead."""

from __future__ import annotations

import itertools
import json
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from synthkit._data import Crops, Entry, Loader, Prepared, RawBatch
from synthkit._data.cache import entry_file, store
from synthkit.audio import Audio
from synthkit.errors import DatasetError

RATE = 8000
LENGTHS = {"a": 4000, "b": 8000, "c": 500, "d": 12000}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SYNTHKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def ramp(length: int, peak: float) -> np.ndarray:
    """A sound whose every sample says where it stood."""
    return peak * (np.arange(length) + 1) / length


@pytest.fixture
def prepared(cache: Path) -> Prepared:
    entries = []
    for number, (name, length) in enumerate(LENGTHS.items()):
        stored = store(name, RATE, Audio(ramp(length, 0.2 + 0.2 * number), RATE).stream())
        entries.append(
            Entry(
                id=name,
                label="even" if number % 2 == 0 else "odd",
                licence="CC0",
                split="train",
                frames=length,
                peak=stored.peak,
                step=stored.step,
                file=entry_file(name, RATE),
            )
        )
    entries.append(replace(entries[0], id="v", split="validation"))
    return Prepared(
        sample_rate=RATE,
        labels=("even", "odd"),
        dataset={"name": "ramps"},
        entries=tuple(entries),
        unreadable=(),
        cache=cache,
    )


def crops(prepared: Prepared, **settings: object) -> Crops:
    return Crops(prepared, "train", **{"crop_samples": 1000, "batch": 4, "seed": 7, **settings})  # type: ignore[arg-type]


def same(one: RawBatch, other: RawBatch) -> bool:
    assert one.labels is not None
    assert other.labels is not None
    return (
        np.array_equal(one.audio, other.audio) and np.array_equal(one.labels, other.labels) and one.clips == other.clips
    )


class TestCrops:
    def test_the_same_step_is_the_same_batch_for_ever(self, prepared: Prepared) -> None:
        one, other = crops(prepared, gain=(0.3, 1.0)), crops(prepared, gain=(0.3, 1.0))
        for step in (5, 0, 10**9, 5):
            assert same(one.batch(step), other.batch(step))

    def test_steps_seeds_and_rows_differ(self, prepared: Prepared) -> None:
        batches = [crops(prepared, seed=seed).batch(step) for seed in (0, 1, -1) for step in range(3)]
        rows = [row.tobytes() for batch in batches for row in batch.audio]
        assert len(set(rows)) > 0.9 * len(rows)

    def test_a_row_does_not_depend_on_the_size_of_the_batch(self, prepared: Prepared) -> None:
        small, large = crops(prepared, batch=3).batch(2), crops(prepared, batch=9).batch(2)
        assert np.array_equal(small.audio, large.audio[:3])
        assert small.clips == large.clips[:3]

    def test_shapes_and_kinds(self, prepared: Prepared) -> None:
        batch = crops(prepared).batch(0)
        assert (batch.audio.shape, batch.audio.dtype) == ((4, 1000), np.float32)
        assert batch.labels is not None
        assert (batch.labels.shape, batch.labels.dtype) == ((4,), np.int64)

    def test_a_crop_is_a_piece_of_its_clip_with_its_label(self, prepared: Prepared) -> None:
        peaks = {entry.id: entry.peak for entry in prepared.entries()}
        seen = Counter[str]()
        for step in range(20):
            batch = crops(prepared).batch(step)
            assert batch.labels is not None
            for row, clip, label in zip(batch.audio, batch.clips, batch.labels, strict=True):
                length = LENGTHS[clip]
                start = round(float(row[0]) / peaks[clip] * length) - 1
                count = min(length, 1000)
                assert row[:count] == pytest.approx(ramp(length, peaks[clip])[start : start + count], abs=1e-4)
                assert not row[count:].any()
                assert label == list(LENGTHS).index(clip) % 2
                seen[clip] += 1
        assert set(seen) == set(LENGTHS)

    def test_all_sound_is_equally_likely(self, prepared: Prepared) -> None:
        """Clips by their length, and places within a clip evenly."""
        batches = [crops(prepared, batch=16).batch(step) for step in range(300)]
        clips = Counter(clip for batch in batches for clip in batch.clips)
        total = sum(clips.values())
        for name, length in LENGTHS.items():
            share = length / sum(LENGTHS.values())
            assert clips[name] / total == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / total))
        longest = next(entry for entry in prepared.entries() if entry.id == "d")
        starts = [
            float(row[0]) / longest.peak * 12000 - 1
            for batch in batches
            for row, clip in zip(batch.audio, batch.clips, strict=True)
            if clip == "d"
        ]
        counts, _ = np.histogram(starts, bins=11, range=(0, 11001))
        expected = len(starts) / 11
        assert ((counts - expected) ** 2 / expected).sum() < 30  # chi squared, 10 degrees of freedom: p = 0.001

    def test_the_last_sample_of_a_clip_is_heard(self, prepared: Prepared) -> None:
        source = crops(prepared, crop_samples=3999, batch=8)
        batches = [source.batch(step) for step in range(60)]
        ends = [row[-1] for batch in batches for row, clip in zip(batch.audio, batch.clips, strict=True) if clip == "a"]
        assert max(ends) == pytest.approx(0.2, abs=1e-5)  # the crop that starts at sample 1
        assert min(ends) == pytest.approx(0.2 * 3999 / 4000, abs=1e-5)  # and the one at sample 0

    def test_at_the_start_every_clip_is_as_likely_and_begins(self, prepared: Prepared) -> None:
        source = crops(prepared, batch=16, at="start")
        batches = [source.batch(step) for step in range(200)]
        clips = Counter(clip for batch in batches for clip in batch.clips)
        total = sum(clips.values())
        for name in LENGTHS:
            assert clips[name] / total == pytest.approx(0.25, abs=4 * np.sqrt(0.25 * 0.75 / total))
        peaks = {entry.id: entry.peak for entry in prepared.entries()}
        for row, clip in zip(batches[0].audio, batches[0].clips, strict=True):
            assert row[0] == pytest.approx(peaks[clip] / LENGTHS[clip], abs=1e-4)

    def test_texts_are_those_of_the_clips_where_there_are_any(self, prepared: Prepared) -> None:
        assert crops(prepared).batch(0).texts is None
        entries = tuple(replace(entry, text=f"this is {entry.id}") for entry in prepared.entries()[1:])
        said = Prepared(
            sample_rate=RATE,
            labels=prepared.labels,
            dataset={},
            entries=(prepared.entries()[0], *entries),
            unreadable=(),
            cache=prepared.cache,
        )
        batch = crops(said, batch=16).batch(0)
        assert batch.texts == tuple("" if clip == "a" else f"this is {clip}" for clip in batch.clips)

    def test_each_clip_is_scaled_to_the_peak(self, prepared: Prepared) -> None:
        whole = crops(prepared, crop_samples=12000, peak=0.95, batch=16).batch(0)
        assert np.abs(whole.audio).max(axis=1) == pytest.approx(0.95, abs=1e-4)

    def test_the_gain_lies_in_its_range_and_fills_it(self, prepared: Prepared) -> None:
        source = crops(prepared, crop_samples=12000, peak=1.0, gain=(0.3, 0.8), batch=16)
        peaks = np.concatenate([np.abs(source.batch(step).audio).max(axis=1) for step in range(20)])
        assert 0.299 < peaks.min() < 0.32
        assert 0.78 < peaks.max() < 0.801

    def test_silence_stays_silence(self, prepared: Prepared, cache: Path) -> None:
        stored = store("silence", RATE, Audio(np.zeros(3000), RATE).stream())
        entry = replace(
            prepared.entries()[0],
            frames=3000,
            peak=stored.peak,
            step=stored.step,
            file=entry_file("silence", RATE),
        )
        silent = Prepared(sample_rate=RATE, labels=(), dataset={}, entries=(entry,), unreadable=(), cache=cache)
        batch = Crops(silent, "train", crop_samples=100, batch=2, seed=0, peak=0.95).batch(0)
        assert not batch.audio.any()
        assert batch.labels is None

    def test_a_split_without_clips_is_an_error(self, prepared: Prepared) -> None:
        with pytest.raises(DatasetError, match="the test split of 'ramps' has no clip"):
            Crops(prepared, "test", crop_samples=10, batch=1, seed=0)

    def test_a_clip_without_a_label_among_others_is_an_error(self, prepared: Prepared) -> None:
        entries = (replace(prepared.entries()[0], label=None), *prepared.entries()[1:])
        mixed = Prepared(
            sample_rate=RATE, labels=("even", "odd"), dataset={}, entries=entries, unreadable=(), cache=prepared.cache
        )
        with pytest.raises(DatasetError, match="'a' has the label None, which is none of even, odd"):
            Crops(mixed, "train", crop_samples=10, batch=1, seed=0)


class TestPrepared:
    def test_a_saved_one_opens_as_it_was(self, prepared: Prepared, tmp_path: Path) -> None:
        file = tmp_path / "run/data.json"
        prepared.save(file)
        again = Prepared.open(file)
        assert again.entries() == prepared.entries()
        assert (again.labels, again.sample_rate, again.dataset) == (("even", "odd"), RATE, {"name": "ramps"})
        assert same(crops(again).batch(3), crops(prepared).batch(3))

    def test_one_that_was_saved_before_there_were_texts_opens(self, prepared: Prepared, tmp_path: Path) -> None:
        file = tmp_path / "data.json"
        prepared.save(file)
        content = json.loads(file.read_text(encoding="utf-8"))
        for clip in content["clips"]:
            del clip["text"]
        file.write_text(json.dumps(content), encoding="utf-8")
        assert Prepared.open(file).entries() == prepared.entries()

    def test_read_gives_what_was_asked(self, prepared: Prepared) -> None:
        entry = prepared.entries()[1]
        assert prepared.read(entry).shape == (8000,)
        assert prepared.read(entry, 7000).shape == (1000,)
        assert prepared.read(entry, 100, 3) == pytest.approx(ramp(8000, 0.4)[100:103], abs=1e-5)
        assert prepared.read(entry, 8000, 0).shape == (0,)
        for start, count in ((-1, 1), (7999, 2), (0, -1), (9000, None)):
            with pytest.raises(DatasetError, match="do not lie in 'b', which has 8000"):
                prepared.read(entry, start, count)

    def test_an_emptied_cache_is_noticed(self, prepared: Prepared) -> None:
        assert prepared.missing() == ()
        (prepared.cache / prepared.entries()[2].file).unlink()
        assert [entry.id for entry in prepared.missing()] == ["c"]
        with pytest.raises(
            DatasetError, match=r"the cached sound of 'c' is gone or damaged .* run the stage prepare again"
        ):
            prepared.read(prepared.entries()[2])

    def test_a_cache_that_was_moved_is_found_again(
        self, prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        prepared.save(tmp_path / "data.json")
        prepared.cache.rename(tmp_path / "elsewhere")
        monkeypatch.setenv("SYNTHKIT_CACHE", str(tmp_path / "elsewhere"))
        assert Prepared.open(tmp_path / "data.json").missing() == ()

    def test_what_is_no_prepared_data_says_so(self, prepared: Prepared, tmp_path: Path) -> None:
        file = tmp_path / "data.json"
        with pytest.raises(DatasetError, match="the stage prepare has not run yet"):
            Prepared.open(file)
        prepared.save(file)
        text = file.read_text()
        for broken in ("", text[:-20], "[]", text.replace('"frames"', '"frame"'), text.replace('"labels"', '"label"')):
            file.write_text(broken)
            with pytest.raises(DatasetError, match=r"is damaged .* run the stage prepare again"):
                Prepared.open(file)
        file.write_text(text.replace('"format": 1', '"format": 99'))
        with pytest.raises(DatasetError, match="another version"):
            Prepared.open(file)


class TestLoader:
    @pytest.mark.parametrize("threads", [1, 3])
    def test_gives_every_batch_in_order_from_any_step(self, prepared: Prepared, threads: int) -> None:
        source = crops(prepared)
        with Loader(source, start=4, stop=25, threads=threads) as loader:
            batches = list(loader)
        assert len(batches) == 21
        for step, batch in enumerate(batches, 4):
            assert same(batch, source.batch(step))
        assert loader.waited > 0

    def test_nothing_to_do(self, prepared: Prepared) -> None:
        with Loader(crops(prepared), start=5, stop=5, threads=2) as loader:
            assert list(loader) == []

    def test_an_error_in_a_thread_reaches_the_reader(self, prepared: Prepared) -> None:
        source = crops(prepared)
        for file in {entry.file for entry in prepared.entries()}:
            (prepared.cache / file).unlink()
        with (
            Loader(source, start=0, stop=10, threads=2) as loader,
            pytest.raises(DatasetError, match="run the stage prepare"),
        ):
            next(iter(loader))

    def test_closing_early_ends_its_threads(self, prepared: Prepared) -> None:
        before = set(threading.enumerate())
        with Loader(crops(prepared), start=0, stop=10**9, threads=3) as loader:
            assert len(list(itertools.islice(loader, 5))) == 5
            assert set(threading.enumerate()) - before
        assert set(threading.enumerate()) == before

    def test_reads_only_a_bounded_number_ahead(self, prepared: Prepared) -> None:
        asked: list[int] = []

        class Watched(Crops):
            def batch(self, step: int) -> RawBatch:
                asked.append(step)
                return super().batch(step)

        source = Watched(prepared, "train", crop_samples=10, batch=1, seed=0)
        with Loader(source, start=0, stop=10**6, threads=2) as loader:
            next(iter(loader))
        assert max(asked) < 20


class TestBalance:
    """`balance`: rows take the labels in turn."""

    def test_rows_take_the_labels_in_turn(self, prepared: Prepared) -> None:
        crops = Crops(prepared, "train", crop_samples=64, batch=6, seed=1, balance=("odd", "even"))
        for step in range(20):
            batch = crops.batch(step)
            assert batch.labels is not None
            assert [prepared.labels[index] for index in batch.labels] == ["odd", "even"] * 3

    def test_within_a_label_all_sound_is_equally_likely(self, prepared: Prepared) -> None:
        crops = Crops(prepared, "train", crop_samples=64, batch=200, seed=1, balance=("odd", "even"))
        found = Counter(clip for step in range(20) for clip in crops.batch(step).clips)
        for label, clips in (("even", ("a", "c")), ("odd", ("b", "d"))):
            whole = sum(LENGTHS[clip] for clip in clips)
            for clip in clips:
                assert found[clip] / 2000 == pytest.approx(LENGTHS[clip] / whole, abs=0.04), label

    def test_a_process_draws_the_rows_that_a_single_one_would(self, prepared: Prepared) -> None:
        def crops(rows: range | None) -> RawBatch:
            return Crops(prepared, "train", crop_samples=64, batch=6, seed=1, balance=("odd", "even"), rows=rows).batch(
                5
            )

        whole, shares = crops(None), [crops(range(3)), crops(range(3, 6))]
        np.testing.assert_array_equal(np.concatenate([share.audio for share in shares]), whole.audio)
        assert sum((share.clips for share in shares), ()) == whole.clips

    def test_one_label_alone_may_be_asked_for(self, prepared: Prepared) -> None:
        crops = Crops(prepared, "train", crop_samples=64, batch=50, seed=1, balance=("odd",))
        assert set(crops.batch(0).clips) <= {"b", "d"}

    def test_without_it_the_crops_are_those_that_they_always_were(self, prepared: Prepared) -> None:
        crops = Crops(prepared, "train", crop_samples=64, batch=6, seed=1)
        ends = np.cumsum(list(LENGTHS.values()))
        for step in range(20):
            draws = np.random.default_rng([1, step]).random((6, 3))[:, 0]
            places = np.searchsorted(ends, draws * ends[-1], side="right")
            assert crops.batch(step).clips == tuple("abcd"[place] for place in places)

    def test_a_label_without_a_clip_is_an_error(self, prepared: Prepared) -> None:
        with pytest.raises(DatasetError, match="the validation split has no clip of the label 'odd'"):
            Crops(prepared, "validation", crop_samples=64, batch=6, seed=1, balance=("even", "odd"))
