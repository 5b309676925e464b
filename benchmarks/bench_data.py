"""Preparing and cropping beside a bare loop and librosa.load, what they need of memory, and how fast tones are made.

make benchmark ONLY=data

Files of 30 s, 44.1 kHz, stereo, half wav and half mp3, page cache warm; what is compared is timed in one run, turn by turn. The
bare loop is soundfile, the mean of the channels, soxr HQ, rounding, and numpy.save without fsync: the least that has to
be done. The processes of a prepare are timed from the clip on with which all of them are at work; starting them is
printed beside it.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
import soxr

from synthkit._catalog import Catalog
from synthkit._data import Crops
from synthkit._data.pool import Source, work_here
from synthkit._data.prepare import prepare
from synthkit.audio import Audio
from synthkit.builtin.config import TonesConfig
from synthkit.builtin.tones import Tones

RATE, SECONDS, FILES, ROUNDS = 22050, 30, 12, 5
COPIES = 8
"""Of each file, all different in a byte: for what is timed with processes, which take a while to start."""
WARM = 16
"""Clips before the clock starts."""


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("music")
    for number in range(FILES):
        random = np.random.default_rng(number)
        t = np.arange(SECONDS * 44100) / 44100
        chord = sum(np.sin(2 * np.pi * f * t) for f in random.uniform(80, 2000, 6)) / 8
        stereo = np.stack([chord, chord + 0.02 * random.standard_normal(len(t))], axis=1)
        if number % 2:
            soundfile.write(root / f"{number:02}.mp3", stereo, 44100, format="MP3")
        else:
            soundfile.write(root / f"{number:02}.wav", stereo, 44100, "PCM_16")
    return root


@pytest.fixture(scope="module")
def much_music(music: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("much")
    for copy in range(COPIES):
        for path in music.iterdir():
            content = path.read_bytes()
            if path.suffix == ".wav":
                content = content[:-2] + copy.to_bytes(2, "little")
            else:
                content += b"TAG" + bytes([copy]) * 125  # an ID3v1 tag, which follows the sound
            (root / f"{copy} {path.name}").write_bytes(content)
    return root


def folder(root: Path, **settings: object) -> Source:
    catalog = Catalog.discover()
    offered, config = catalog.configure("dataset", "folder", {"root": root, **settings})
    return Source(catalog=catalog, offered=offered, config=config)


@pytest.fixture(scope="module")
def source(music: Path) -> Source:
    return folder(music)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTHKIT_CACHE", str(tmp_path / "cache"))


def by_turns(candidates: dict[str, Callable[[int], float | None]], rounds: int = ROUNDS) -> dict[str, float]:
    """Seconds of the fastest turn of each, as it says or as it takes: what else the machine does can only add to a turn."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(rounds):
        for name, run in candidates.items():
            os.sync()  # what one has written is not forced to the disk while the next has its turn
            began = time.perf_counter()
            said = run(turn)
            times[name].append(time.perf_counter() - began if said is None else said)
    return {name: min(some) for name, some in times.items()}


def bare(paths: Sequence[Path], out: Path) -> None:
    out.mkdir(parents=True)
    for path in paths:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        mono = np.ascontiguousarray((samples[:, 0] + samples[:, 1]) * np.float32(0.5))
        resampled = soxr.resample(mono, rate, RATE, quality="HQ")
        np.save(out / f"{path.name}.npy", np.rint(resampled * 32767).astype(np.int16))


def with_librosa(paths: Sequence[Path], out: Path) -> None:
    out.mkdir()
    for path in paths:
        samples, _ = librosa.load(path, sr=RATE, mono=True)
        np.save(out / f"{path.name}.npy", np.rint(samples * 32767).astype(np.int16))


def show(name: str, seconds: float, files: int, beside: float) -> None:
    print(f"  {name:22} {seconds:7.3f} s  {files * SECONDS / seconds:6.0f} x real time  {beside / seconds:5.2f}")


def prepared_by(workers: int, source: Source) -> tuple[float, float]:
    """Seconds until the first clip was done, and from the clip on with which the clock starts until the last."""
    dataset = source.build()
    dataset.index()
    began = time.perf_counter()
    done: list[float] = []
    prepare(source, dataset, RATE, workers=workers, progress=lambda *_: done.append(time.perf_counter()))
    return done[0] - began, done[-1] - done[WARM - 1]


def timed_files(source: Source) -> list[Path]:
    """The files of the clips that are decoded while the clock runs."""
    return [Path(str(clip.path)) for clip in source.build().clips()][WARM:]


def test_processes(much_music: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = folder(much_music, validation=0, test=0)
    paths = timed_files(source)
    starts: list[float] = []

    def ours(workers: int, turn: int) -> float:
        monkeypatch.setenv("SYNTHKIT_CACHE", str(tmp_path / f"{workers} {turn}"))
        start, seconds = prepared_by(workers, source)
        starts.append(start)
        return seconds

    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:

        def bare_once(turn: object) -> None:
            pool.submit(bare, paths, tmp_path / f"once {turn}").result()

        def bare_twice(turn: object) -> None:
            outs = [tmp_path / f"twice {turn}" / str(number) for number in range(2)]
            list(pool.map(bare, [paths[::2], paths[1::2]], outs))

        bare_twice("to start the processes")
        seconds = by_turns(
            {
                "bare loop": bare_once,  # in a process of its own too
                "prepare, 1 process": lambda turn: ours(1, turn),
                "bare loop, 2 processes": bare_twice,
                "prepare, 2 processes": lambda turn: ours(2, turn),
            },
            rounds=8,
        )
    print(f"\n{len(paths)} clips; the first result comes after {statistics.median(starts):.2f} s:")
    for name, some in seconds.items():
        show(name, some, len(paths), seconds["bare loop"])
    one, two = seconds["prepare, 1 process"], seconds["prepare, 2 processes"]
    print(f"  two processes are {one / two:.2f} times one")
    assert seconds["bare loop"] >= 0.9 * one
    assert one >= 1.8 * two


@pytest.mark.parametrize("suffix", ["wav", "mp3"])
def test_beside_librosa(suffix: str, much_music: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = folder(much_music, exclude=["*.mp3" if suffix == "wav" else "*.wav"], validation=0, test=0)
    paths = timed_files(source)

    def ours(turn: int) -> float:
        monkeypatch.setenv("SYNTHKIT_CACHE", str(tmp_path / f"ours {turn}"))
        return prepared_by(1, source)[1]

    with_librosa(paths[:1], tmp_path / "to import it")
    seconds = by_turns(
        {
            "bare loop": lambda turn: bare(paths, tmp_path / f"bare {turn}"),
            "prepare, 1 process": ours,
            "librosa.load": lambda turn: with_librosa(paths, tmp_path / f"librosa {turn}"),
        },
        rounds=3,
    )
    print(f"\n{len(paths)} {suffix}:")
    for name, some in seconds.items():
        show(name, some, len(paths), seconds["bare loop"])
    assert seconds["librosa.load"] >= 1.5 * seconds["prepare, 1 process"]


MEMORY = """
import multiprocessing, re, sys
from pathlib import Path
from synthkit._catalog import Catalog
from synthkit._data.pool import Source
from synthkit._data.prepare import prepare

def peak(process):  # not ru_maxrss: that of a new process begins with what its parent had
    return int(re.search(r"VmHWM:\\s*(\\d+)", Path(f"/proc/{process}/status").read_text())[1]) / 1024

worker = 0.0
def look(done, total):
    global worker
    if done == total:
        worker = max(peak(child.pid) for child in multiprocessing.active_children())

catalog = Catalog.discover()
offered, config = catalog.configure("dataset", "folder", {"root": sys.argv[1]})
source = Source(catalog=catalog, offered=offered, config=config)
made = prepare(source, source.build(), 22050, workers=1, progress=look)
print(len(made.entries()), peak("self"), worker)
"""


def peak_memory(root: Path, clips: int) -> tuple[float, float]:
    """MiB of the process that prepares and of the one that decodes for it."""
    done = subprocess.run([sys.executable, "-c", MEMORY, root], check=True, capture_output=True, text=True)
    entries, parent, worker = done.stdout.split()
    assert int(entries) == clips
    return float(parent), float(worker)


def compare_memory(what: str, few: tuple[float, float], many: tuple[float, float]) -> None:
    for name, less, more in zip(("the process", "its worker"), few, many, strict=True):
        print(f"  {name:12} {less:6.1f} MiB -> {more:6.1f} MiB  {more / less:5.2f}  ({what})")
        assert more <= 1.1 * less


def test_memory_of_many_clips(tmp_path: Path) -> None:
    peaks = []
    for count in (100, 2000):
        root = tmp_path / str(count)
        root.mkdir()
        for number in range(count):
            noise = np.random.default_rng(number).uniform(-0.5, 0.5, (2, 22050))
            Audio(noise, 44100).write(root / f"{number}.wav")
        peaks.append(peak_memory(root, count))
    print()
    compare_memory("100 -> 2,000 clips", *peaks)


@pytest.mark.parametrize("suffix", ["wav", "mp3"])
def test_memory_of_long_clips(tmp_path: Path, suffix: str) -> None:
    peaks = []
    second = np.random.default_rng(0).uniform(-0.3, 0.3, (44100, 2))
    for seconds in (30, 1800):
        root = tmp_path / str(seconds)
        root.mkdir()
        with soundfile.SoundFile(root / f"long.{suffix}", "w", 44100, 2) as file:
            for _ in range(seconds):
                file.write(second)
        peaks.append(peak_memory(root, 1))
    print()
    compare_memory(f"{suffix} of 30 s -> 30 min", *peaks)


def test_nothing_new(source: Source) -> None:
    prepare(source, source.build(), RATE, spread=work_here)

    def again(turn: int) -> None:
        prepare(source, source.build(), RATE)

    seconds = by_turns({"again": again})
    print(f"\nprepare with nothing new: {1000 * seconds['again'] / FILES:.2f} ms per clip")
    assert seconds["again"] < 0.1


def test_crops(source: Source, music: Path) -> None:
    prepared = prepare(source, source.build(), RATE, spread=work_here)
    crops = Crops(prepared, "train", crop_samples=8192, batch=16, seed=0, peak=0.95, gain=(0.3, 1.0))
    files = sorted(music.iterdir())

    def draw(turn: int) -> None:
        crops.batch(turn)

    def read(turn: int) -> None:
        for row in range(16):
            librosa.load(files[(turn + row) % FILES], sr=RATE, offset=3.0 + row, duration=8192 / RATE)

    def read_whole(turn: int) -> None:
        for row in range(16):
            librosa.load(files[(turn + row) % FILES], sr=RATE)

    seconds = by_turns({"crops": draw, "librosa.load": read, "librosa.load, whole": read_whole}, rounds=3)
    warm = by_turns({"crops": draw}, rounds=200)["crops"]
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
