"""The vector kernel: its FFT is the FFT, and a round with it is a round with torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from synthkit.specs import FeatureSpec
from synthkit_griffin_lim import kernel
from synthkit_griffin_lim.inversion import _solve_band_by_band, _solve_tridiagonal
from synthkit_griffin_lim.phase import PhaseEstimator
from synthkit_griffin_lim.rounds import LaneRounds, Rounds, TorchRounds, whole_blocks

SPECS = {
    "plain": FeatureSpec(sample_rate=22050, n_fft=1024, hop_length=256, n_mels=80),
    "odd power of two": FeatureSpec(sample_rate=22050, n_fft=512, hop_length=128, n_mels=40),
    "short window": FeatureSpec(sample_rate=16000, n_fft=1024, win_length=841, hop_length=203, n_mels=40),
    "small": FeatureSpec(sample_rate=8000, n_fft=32, win_length=17, hop_length=3, n_mels=4),
}


@pytest.mark.parametrize("n_fft", [32, 64, 128, 512, 1024, 2048])
def test_it_is_the_fourier_transform_and_back(n_fft: int) -> None:
    random = np.random.default_rng(1)
    real, imag = random.standard_normal((2, n_fft * 16)).astype(np.float32)
    signals = (real + 1j * imag).reshape(n_fft, 16)
    plan = kernel.plan(n_fft)
    made = real.copy(), imag.copy()
    kernel.forward(*made, n_fft, plan.odd, plan.turns)
    spectrum = (made[0] + 1j * made[1]).reshape(n_fft, 16)[plan.places]
    expected = np.fft.fft(signals, axis=0)
    assert np.abs(spectrum - expected).max() < 1e-6 * np.abs(expected).max()
    kernel.inverse(*made, n_fft, plan.odd, plan.turns)
    assert np.abs(made[0] / n_fft - real).max() < 5e-6
    assert np.abs(made[1] / n_fft - imag).max() < 5e-6


def window_of(spec: FeatureSpec) -> torch.Tensor:
    return torch.hann_window(spec.win_length)


@pytest.mark.parametrize("frames", [1, 31, 32, 33, 700])
@pytest.mark.parametrize("name", list(SPECS))
def test_a_round_is_that_of_torch(name: str, frames: int) -> None:
    spec, random = SPECS[name], torch.Generator().manual_seed(1)
    bins = spec.n_fft // 2 + 1
    wanted = torch.rand(frames, bins, generator=random)
    sound = torch.randn((whole_blocks(frames) + 1) * spec.hop_length + 2 * spec.n_fft, generator=random)
    last = torch.randn(frames, bins, dtype=torch.complex64, generator=random)

    def second_round(rounds: Rounds) -> tuple[torch.Tensor, float]:
        rounds.remember(last)
        rounds(sound, torch.zeros_like(sound), 0.4, measured=False)
        made = torch.zeros_like(sound)
        error = rounds(sound.flip(0), made, 0.4, measured=True)
        return made, error

    made, error = second_round(LaneRounds(wanted, window_of(spec), spec))
    expected, expected_error = second_round(TorchRounds(wanted, window_of(spec), spec))
    # A bin that is nearly zero has no phase to speak of, and rounding decides it: compared in the mean, not at the worst.
    assert (made - expected).norm() < 2e-4 * expected.norm()
    assert error == pytest.approx(expected_error, rel=1e-4)


def test_the_sound_does_not_depend_on_the_threads() -> None:
    spec = SPECS["plain"]
    wanted = torch.rand(1200, 513, generator=torch.Generator().manual_seed(1))

    def estimate() -> torch.Tensor:
        estimator = PhaseEstimator(spec, len(wanted), torch.device("cpu"))
        return estimator.estimate(wanted, iterations=2, random=torch.Generator().manual_seed(3))

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = estimate()
        torch.set_num_threads(2)
        assert torch.equal(estimate(), alone)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("n_fft", "device", "can"), [(2048, "cpu", True), (1200, "cpu", False), (1024, "meta", False)])
def test_who_takes_which_path(n_fft: int, device: Any, can: bool) -> None:
    assert LaneRounds.can(n_fft, torch.device(device)) is can


@pytest.mark.parametrize("solve", [_solve_tridiagonal, _solve_band_by_band])
@pytest.mark.parametrize("bands", [1, 2, 80])
def test_tridiagonal_systems_are_solved(solve: Any, bands: int) -> None:
    random = torch.Generator().manual_seed(1)
    diagonal = 3 + torch.rand(bands, 7, generator=random, dtype=torch.float64)
    beside = torch.rand(bands - 1, 7, generator=random, dtype=torch.float64)
    right = torch.randn(bands, 7, generator=random, dtype=torch.float64)
    given = diagonal.clone(), beside.clone(), right.clone()
    made = solve(diagonal, beside, right)
    matrices = torch.diag_embed(diagonal.T) + torch.diag_embed(beside.T, 1) + torch.diag_embed(beside.T, -1)
    torch.testing.assert_close(made, torch.linalg.solve(matrices, right.T).T)
    assert all(torch.equal(*pair) for pair in zip((diagonal, beside, right), given, strict=True))
