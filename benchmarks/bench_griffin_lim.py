"""Griffin-Lim and the mel inversion beside librosa and torchaudio: 10 s of sound on one thread, all in one run.

make benchmark ONLY=griffin_lim

Rounds of all candidates take turns, so that a busy machine slows all alike. The bare FFTs of as many frames and rounds are
timed too: they are the floor for anything that does one FFT per frame.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import librosa
import numpy as np
import pytest
import torch
import torchaudio
from torch import Tensor

from synthkit import dsp
from synthkit.presets import PRESETS
from synthkit_griffin_lim.inversion import MelInversion
from synthkit_griffin_lim.phase import PhaseEstimator

SECONDS = 10
SPEC = replace(PRESETS["melgan"].spec, framing="center")  # the framing that librosa and torchaudio have


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def magnitudes() -> Tensor:
    """`[F, N]` of chords that change every half second, with noise."""
    random = np.random.default_rng(0)
    seconds = np.arange(SECONDS * SPEC.sample_rate) / SPEC.sample_rate
    pitch = np.repeat(random.uniform(80, 800, (3, 2 * SECONDS)), SPEC.sample_rate // 2, axis=1)
    tones = sum(np.sin(2 * np.pi * k * pitch * seconds) / k for k in (1, 2, 3, 5, 8)).sum(0)
    samples = (0.1 * tones + 0.02 * random.standard_normal(tones.shape)).astype(np.float32)
    return dsp.stft_magnitude(torch.from_numpy(samples), SPEC)


def take_turns(candidates: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each."""
    taken: dict[str, list[float]] = {name: [] for name in candidates}
    for number in range(rounds + 1):
        for name, work in candidates.items():
            began = time.perf_counter()
            work()
            if number:  # the first round warms up
                taken[name].append(time.perf_counter() - began)
    return {name: float(np.median(times)) for name, times in taken.items()}


def convergence_db(sound: Tensor, wanted: Tensor) -> float:
    return float(20 * torch.log10((dsp.stft_magnitude(sound, SPEC) - wanted).norm() / wanted.norm()))


def test_phase_estimation(magnitudes: Tensor) -> None:
    frames, length = magnitudes.shape[1], SPEC.samples(magnitudes.shape[1])
    by_frame, window = magnitudes.T.contiguous(), torch.hann_window(1024)
    rows, spectra = torch.randn(frames, 1024), torch.fft.rfft(torch.randn(frames, 1024))
    estimator = PhaseEstimator(SPEC, frames, torch.device("cpu"))

    def synthkit() -> Tensor:
        return estimator.estimate(by_frame, iterations=32, momentum=0.99, random=torch.Generator().manual_seed(0))

    def torchaudio_() -> Tensor:
        return torchaudio.functional.griffinlim(magnitudes, window, 1024, 256, 1024, 1.0, 32, 0.99, length, True)

    def librosa_() -> Tensor:
        made = librosa.griffinlim(
            magnitudes.numpy(), n_iter=32, hop_length=256, momentum=0.99, pad_mode="reflect", length=length
        )
        return torch.from_numpy(made)

    def bare_ffts() -> None:
        for _ in range(32):
            torch.fft.rfft(rows)
            torch.fft.irfft(spectra)

    candidates = {"synthkit": synthkit, "torchaudio": torchaudio_, "librosa": librosa_}
    reached = {name: convergence_db(work(), magnitudes) for name, work in candidates.items()}
    times = take_turns({**candidates, "bare FFTs": bare_ffts}, rounds=7)
    print("\n32 rounds, momentum 0.99, 10 s, 1 thread")
    for name, seconds in times.items():
        note = f"{reached[name]:6.1f} dB" if name in reached else ""
        print(f"  {name:11s} {seconds * 1000:7.1f} ms  {seconds / times['synthkit']:5.2f} x synthkit  {note}")
    assert times["torchaudio"] / times["synthkit"] >= 1.4
    assert reached["synthkit"] <= max(reached["torchaudio"], reached["librosa"]) + 1.0  # spread of the first phases


def test_mel_inversion(magnitudes: Tensor) -> None:
    bank = dsp.mel_filterbank(SPEC)
    mel = bank @ magnitudes
    ours = MelInversion(bank)
    candidates = {
        "synthkit": lambda: ours(mel),
        "librosa nnls": lambda: torch.from_numpy(librosa.util.nnls(bank.numpy(), mel.numpy())),
        "least squares, clipped": lambda: (torch.linalg.pinv(bank) @ mel).clamp(min=0),
    }
    residuals = {
        name: float((bank.double() @ work().double() - mel).norm() / mel.norm()) for name, work in candidates.items()
    }
    times = take_turns(candidates, rounds=3)
    print("\nmel inversion, 10 s, 1 thread")
    for name, seconds in times.items():
        ratio = seconds / times["synthkit"]
        print(f"  {name:23s} {seconds * 1000:7.1f} ms  {ratio:6.2f} x synthkit  residual {residuals[name]:.1e}")
    assert residuals["synthkit"] < 1e-4
    assert residuals["synthkit"] < residuals["librosa nnls"] / 100
    assert times["librosa nnls"] / times["synthkit"] >= 10
