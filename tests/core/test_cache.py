"""The cache: what is stored is what was heard, and no half entry is ever used."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from synthkit import storage
from synthkit._data.cache import Stored, entry_file, lookup, store, unfinished
from synthkit.audio import Audio
from synthkit.errors import DatasetError, UnreadableClip


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SYNTHKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def noise(seconds: float, rate: int, *, peak: float = 0.9, channels: int = 1, seed: int = 0) -> Audio:
    samples = np.random.default_rng(seed).standard_normal((channels, round(seconds * rate)))
    return Audio(peak * samples / np.abs(samples).max(), rate)


def stored_samples(cache: Path, key: str, rate: int, stored: Stored) -> np.ndarray:
    integers = np.load(cache / entry_file(key, rate), mmap_mode="r")
    assert isinstance(integers, np.memmap)
    assert integers.dtype == np.int16
    return integers.astype(np.float64) * stored.step


@pytest.mark.parametrize("peak", [1e-4, 0.3, 1.0, 1.0033, 40.0])
def test_a_sample_is_off_by_half_a_step_at_most(cache: Path, peak: float) -> None:
    audio = noise(0.5, 22050, peak=peak)
    stored = store("k", 22050, audio.stream())
    error = np.abs(stored_samples(cache, "k", 22050, stored) - audio.samples[0])
    assert error.max() <= 0.5 * stored.step * (1 + 1e-6)
    assert stored.step <= max(2**-15, 1.0001 * peak / 32767)
    assert stored.peak == pytest.approx(peak, rel=1e-6)


def test_sixteen_bits_stay_as_they_are(cache: Path) -> None:
    integers = np.arange(-32768, 32768, dtype=np.int16)
    stored = store("k", 8000, Audio(integers / 32768, 8000).stream())
    assert np.array_equal(np.load(cache / entry_file("k", 8000)), integers)
    assert stored.step == 2**-15


def test_full_scale_up_and_down_is_kept(cache: Path) -> None:
    stored = store("k", 8000, Audio(np.array([1.0, -1.0, 0.0, 1.0]), 8000).stream())
    assert stored_samples(cache, "k", 8000, stored) == pytest.approx([1.0, -1.0, 0.0, 1.0])


def test_silence_is_exactly_silent(cache: Path) -> None:
    stored = store("k", 8000, Audio(np.zeros(100), 8000).stream())
    assert stored.peak == 0.0
    assert not np.load(cache / entry_file("k", 8000)).any()


@pytest.mark.parametrize(
    ("rate", "frames", "channels"), [(22050, 2**20 + 5000, 1), (44100, 2**22 + 1, 2), (22050, 2**20, 1), (48000, 7, 3)]
)
def test_a_long_sound_is_stored_as_it_would_be_in_one_piece(cache: Path, rate: int, frames: int, channels: int) -> None:
    """A sound that goes through a file, block by block, gives what the whole of it gives in memory."""
    at = np.arange(frames, dtype=np.float32)
    audio = Audio(
        np.stack([np.float32(1.3) * np.sin(at * (0.1 + 0.01 * channel)) for channel in range(channels)]), rate
    )
    stored = store("k", 22050, audio.stream())
    whole = audio.mono().resample(22050).samples[0].astype(np.float64)
    assert stored.step == float(np.abs(whole).max()) / 32767
    assert stored.frames == len(whole)
    integers = np.load(cache / entry_file("k", 22050))
    assert np.array_equal(integers, np.rint(whole * (1 / stored.step)))
    assert not list(unfinished().iterdir())


def test_mixed_down_and_resampled(cache: Path) -> None:
    t = np.arange(48000) / 48000
    left, right = np.sin(2 * np.pi * 1000 * t), 0.5 * np.sin(2 * np.pi * 3000 * t)
    stored = store("k", 16000, Audio(np.stack([left, right]), 48000).stream())
    samples = stored_samples(cache, "k", 16000, stored)
    assert (stored.frames, stored.channels, stored.sample_rate, stored.seconds) == (16000, 2, 48000, 1.0)
    spectrum = np.abs(np.fft.rfft(samples)) / 8000
    assert spectrum[1000] == pytest.approx(0.5, rel=0.01)
    assert spectrum[3000] == pytest.approx(0.25, rel=0.01)
    assert np.delete(spectrum, np.r_[990:1011, 2990:3011]).max() < 0.001


def test_what_was_stored_is_found_by_content_and_rate() -> None:
    audio = noise(0.1, 8000, channels=2)
    stored = store("a key/with: any \ud800 text", 8000, audio.stream())
    assert lookup("a key/with: any \ud800 text", 8000) == stored
    assert lookup("a key/with: any \ud800 text", 16000) is None
    assert lookup("another key", 8000) is None


def test_no_entry_that_is_cut_anywhere_is_used(cache: Path) -> None:
    stored = store("k", 8000, noise(0.05, 8000).stream())
    file = cache / entry_file("k", 8000)
    whole = file.read_bytes()
    for length in (*range(0, 200, 3), *range(200, len(whole) - 200, 41), *range(len(whole) - 200, len(whole))):
        file.write_bytes(whole[:length])
        assert lookup("k", 8000) is None, length
    file.write_bytes(whole + b"\0")
    assert lookup("k", 8000) is None
    file.write_bytes(whole)
    assert lookup("k", 8000) == stored


def test_an_entry_that_lies_about_its_length_is_not_used(cache: Path) -> None:
    store("k", 8000, noise(0.05, 8000).stream())
    file = cache / entry_file("k", 8000)
    whole = file.read_bytes()
    assert b"(400,)" in whole
    file.write_bytes(whole.replace(b"(400,)", b"(398,)", 1))
    assert lookup("k", 8000) is None


@pytest.mark.parametrize(
    ("samples", "code"),
    [(np.zeros((1, 0)), "empty"), (np.array([0.0, np.nan]), "not-finite"), ([np.inf], "not-finite")],
)
def test_nothing_useless_is_stored(cache: Path, samples: np.ndarray, code: str) -> None:
    with pytest.raises(UnreadableClip) as caught:
        store("k", 8000, Audio(samples, 8000).stream())
    assert caught.value.code == code
    assert not list(cache.rglob("*.npy"))


def test_a_full_disk_is_an_error_that_says_what_to_do_and_leaves_nothing(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store("before", 8000, noise(0.05, 8000).stream())

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(storage.os, "fsync", full)
    with pytest.raises(DatasetError, match="No space left on device; make room, or set SYNTHKIT_CACHE"):
        store("k", 8000, noise(0.05, 8000).stream())
    assert lookup("k", 8000) is None
    assert [file for file in cache.rglob("*") if file.is_file()] == [cache / entry_file("before", 8000)]


STORE_OFTEN = """
import numpy as np
from synthkit._data.cache import lookup, store
from synthkit.audio import Audio
audio = Audio(np.random.default_rng(0).uniform(-0.5, 0.5, 2000), 8000)
for _ in range(50):
    store("k", 8000, audio.stream())
    assert lookup("k", 8000) is not None
"""


def test_processes_that_store_the_same_thing_do_not_disturb_each_other(cache: Path) -> None:
    workers = [subprocess.Popen([sys.executable, "-c", STORE_OFTEN]) for _ in range(3)]
    assert [worker.wait(timeout=60) for worker in workers] == [0, 0, 0]
    assert [file for file in cache.rglob("*") if file.is_file()] == [cache / entry_file("k", 8000)]


def test_the_cache_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert storage.cache_root() == tmp_path / "cache"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SYNTHKIT_CACHE", "~/there")
    assert storage.cache_root() == tmp_path / "there"
    monkeypatch.delenv("SYNTHKIT_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert tmp_path in storage.cache_root().parents
    assert storage.cache_root().name == "synthkit"
