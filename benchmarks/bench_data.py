"""Preparing and cropping beside a bare loop and librosa.load, and how fast tones are made; all in one run, turn by turn.

make benchmark ONLY=data

Twelve files of 30 s, 44.1 kHz, stereo, half wav and half mp3, page cache warm. The bare loop is soundfile, the mean of the
channels, soxr HQ, rounding, and numpy.save without fsync: the least that has to be done.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
import soxr

from synthkit._catalog import Catalog
from synthkit._data import Crops
from synthkit._data.pool import Source
from synthkit._data.prepare import prepare
from synthkit.builtin.config import TonesConfig
from synthkit.builtin.tones import Tones

RATE, SECONDS, FILES, ROUNDS = 22050, 30, 12, 5


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("music")
    for number in range(FILES):
        random = np.random.default_rng(number)
        t = np.arange(SECONDS * 44100) / 44100
        chord = sum(np.sin(2 * np.pi * f * t) for f in random.uniform(80, 2000, 6)) / 8
        stereo = np.stack([chord, chord + 0.02 * random.standard_normal(len(t))], axis=1)
        if number % 2:
            soundfile.write(root / f"{number}.mp3", stereo, 44100, format="MP3")
        else:
            soundfile.write(root / f"{number}.wav", stereo, 44100, "PCM_16")
    return root


@pytest.fixture(scope="module")
def source(music: Path) -> Source:
    catalog = Catalog.discover()
    offered, config = catalog.configure("dataset", "folder", {"root": music})
    return Source(catalog=catalog, offered=offered, config=config)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTHKIT_CACHE", str(tmp_path / "cache"))


def by_turns(candidates: dict[str, Callable[[int], object]], rounds: int = ROUNDS) -> dict[str, float]:
    """Median seconds of each; a disturbance of the machine hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(rounds):
        for name, run in candidates.items():
            began = time.perf_counter()
            run(turn)
            times[name].append(time.perf_counter() - began)
    return {name: statistics.median(some) for name, some in times.items()}


def bare(music: Path, folder: Path) -> None:
    folder.mkdir()
    for path in sorted(music.iterdir()):
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        mono = np.ascontiguousarray((samples[:, 0] + samples[:, 1]) * np.float32(0.5))
        resampled = soxr.resample(mono, rate, RATE, quality="HQ")
        np.save(folder / f"{path.name}.npy", np.rint(resampled * 32767).astype(np.int16))


def with_librosa(music: Path, folder: Path) -> None:
    folder.mkdir()
    for path in sorted(music.iterdir()):
        samples, _ = librosa.load(path, sr=RATE, mono=True)
        np.save(folder / f"{path.name}.npy", np.rint(samples * 32767).astype(np.int16))


def test_prepare(source: Source, music: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = source.build()
    dataset.index()

    def ours(turn: int) -> None:
        monkeypatch.setenv("SYNTHKIT_CACHE", str(tmp_path / f"ours {turn}"))
        assert len(prepare(source, dataset, RATE, workers=1).entries()) == FILES

    seconds = by_turns(
        {
            "bare loop": lambda turn: bare(music, tmp_path / f"bare {turn}"),
            "prepare": ours,
            "librosa.load": lambda turn: with_librosa(music, tmp_path / f"librosa {turn}"),
        }
    )
    print(f"\none process, {FILES * SECONDS} s of sound:")
    for name, some in seconds.items():
        print(
            f"  {name:14} {some:7.3f} s  {FILES * SECONDS / some:6.0f} x real time  {seconds['bare loop'] / some:5.2f}"
        )
    assert seconds["prepare"] <= seconds["librosa.load"]


def test_nothing_new(source: Source) -> None:
    prepare(source, source.build(), RATE, workers=1)
    seconds = by_turns({"again": lambda turn: prepare(source, source.build(), RATE)})
    print(f"\nprepare with nothing new: {1000 * seconds['again'] / FILES:.2f} ms per clip")
    assert seconds["again"] < 0.1


def test_crops(source: Source, music: Path) -> None:
    prepared = prepare(source, source.build(), RATE, workers=1)
    crops = Crops(prepared, "train", crop_samples=8192, batch=16, seed=0, peak=0.95, gain=(0.3, 1.0))
    files = sorted(music.iterdir())

    def read(turn: int) -> None:
        for row in range(16):
            librosa.load(files[(turn + row) % FILES], sr=RATE, offset=3.0 + row, duration=8192 / RATE)

    def read_whole(turn: int) -> None:
        for row in range(16):
            librosa.load(files[(turn + row) % FILES], sr=RATE)

    seconds = by_turns({"crops": crops.batch, "librosa.load": read, "librosa.load, whole": read_whole}, rounds=3)
    warm = by_turns({"crops": crops.batch}, rounds=200)["crops"]
    print(f"\na batch of 16 crops of 8,192 samples: {1000 * warm:.2f} ms")
    for name in ("librosa.load", "librosa.load, whole"):
        print(f"  {name}: {1000 * seconds[name]:.0f} ms, {seconds[name] / warm:.0f} times as long")
    assert warm * 30 <= seconds["librosa.load"]


def test_tones() -> None:
    dataset = Tones(TonesConfig())
    clips: dict[str, list[float]] = {}
    for clip in dataset.clips():
        began = time.process_time()
        dataset.open(clip)
        clips.setdefault(str(clip.label), []).append(time.process_time() - began)
    print("\ntones, times real time: " + ", ".join(f"{k} {4 / statistics.median(v):.0f}" for k, v in clips.items()))
    assert sum(map(sum, clips.values())) <= 4 * len(dataset.clips()) / 50
