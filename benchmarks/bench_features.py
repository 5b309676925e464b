"""Features and reading beside librosa and torchaudio: 60 s of sound on one thread, page cache warm.

make benchmark ONLY=features
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
import torch
import torchaudio
from pytest_benchmark.fixture import BenchmarkFixture

from synthkit.audio import Audio, read
from synthkit.builtin.config import LogMelConfig
from synthkit.builtin.log_mel import LogMel

SECONDS = 60


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def music(rate: int) -> np.ndarray:
    """Chords that change every half second, with noise: `[2, T]`, float32."""
    random = np.random.default_rng(0)
    time = np.arange(SECONDS * rate) / rate
    pitch = np.repeat(random.uniform(80, 800, (2, 2 * SECONDS)), rate // 2, axis=1)
    tones = sum(np.sin(2 * np.pi * k * pitch * time) / k for k in (1, 2, 3, 5, 8))
    return (0.2 * tones + 0.02 * random.standard_normal(tones.shape)).astype(np.float32)


def _synthkit() -> Callable[[], object]:
    samples, mel = torch.from_numpy(music(22050)[:1]), LogMel(LogMelConfig(preset="melgan"))
    return torch.inference_mode()(partial(mel.extract, samples))


def _librosa() -> Callable[[], object]:
    samples = music(22050)[0]

    def extract() -> np.ndarray:
        mel = librosa.feature.melspectrogram(y=samples, sr=22050, n_fft=1024, hop_length=256, n_mels=80, power=1)
        return np.log10(np.maximum(mel, 1e-5))

    return extract


def _torchaudio() -> Callable[[], object]:
    samples = torch.from_numpy(music(22050)[:1])
    options = {"n_fft": 1024, "hop_length": 256, "n_mels": 80, "power": 1, "norm": "slaney", "mel_scale": "slaney"}
    mel = torchaudio.transforms.MelSpectrogram(22050, **options)
    return torch.inference_mode()(lambda: mel(samples).clamp(min=1e-5).log10())


@pytest.mark.parametrize("who", [_synthkit, _librosa, _torchaudio], ids=["synthkit", "librosa", "torchaudio"])
@pytest.mark.benchmark(group="log-mel of 60 s")
def test_log_mel(who: Callable[[], Callable[[], object]], benchmark: BenchmarkFixture) -> None:
    work = who()
    benchmark.pedantic(work, rounds=15, warmup_rounds=2)
    benchmark.extra_info["seconds of sound per second"] = round(SECONDS / benchmark.stats.stats.median)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    audio = Audio(music(44100), 44100)
    for suffix in ("wav", "flac", "ogg"):
        audio.write(folder / f"music.{suffix}")
    with soundfile.SoundFile(folder / "music.mp3", "w", 44100, 2, format="MP3") as file:
        file.write(audio.samples.T)
    return folder


def _read(path: Path) -> np.ndarray:
    return read(path).mono().resample(22050).samples[0]


def _load(path: Path) -> np.ndarray:
    return librosa.load(path, sr=22050)[0]


@pytest.mark.parametrize("who", [_read, _load], ids=["synthkit", "librosa"])
@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_decode_mix_resample(
    suffix: str, who: Callable[[Path], np.ndarray], files: Path, benchmark: BenchmarkFixture
) -> None:
    benchmark.group = f"read 60 s of stereo {suffix} as 22,050 Hz mono"
    samples = benchmark.pedantic(who, args=(files / f"music.{suffix}",), rounds=7, warmup_rounds=1)
    assert len(samples) == pytest.approx(SECONDS * 22050, abs=3000)
    benchmark.extra_info["seconds of sound per second"] = round(SECONDS / benchmark.stats.stats.median)
