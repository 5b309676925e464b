"""The figures that judge what a model makes keep what their papers promise."""

from __future__ import annotations

import numpy as np
import pytest

from synthkit._stages.generation.figures import (
    density_coverage,
    different,
    distances,
    diversity,
    frechet,
    precision_recall,
)
from synthkit._stages.generation.likeness import coarse, differences, pairwise


def normal(seed: int, count: int, *, mean: float = 0.0, scale: float = 1.0, dimensions: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, scale, (count, dimensions))


def test_frechet_is_that_of_the_closed_form() -> None:
    """As scipy's matrix root has it, for full covariances; and as torchaudio has it."""
    import torch
    from torchaudio.functional import frechet_distance

    mixed = np.random.default_rng(0).normal(size=(6, 6))
    first, second = normal(1, 50, dimensions=6), normal(2, 70, dimensions=6) @ mixed + 0.5
    statistics = [torch.from_numpy(value) for points in (first, second) for value in (points.mean(0), np.cov(points.T))]
    assert frechet(first, second) == pytest.approx(float(frechet_distance(*statistics)), rel=1e-6)


def test_frechet_is_a_distance_with_fewer_points_than_dimensions() -> None:
    first, second = normal(1, 5, dimensions=40), normal(2, 6, dimensions=40)
    assert frechet(first, first) == pytest.approx(0, abs=1e-9)
    assert frechet(first, second) == pytest.approx(frechet(second, first))
    turned, _ = np.linalg.qr(normal(3, 40, dimensions=40))
    assert frechet(first @ turned, second @ turned) == pytest.approx(frechet(first, second))


def test_frechet_needs_as_many_points_to_compare() -> None:
    """It shrinks with the number of points though the distributions are the same: why floors have the same count."""
    few = np.mean([frechet(normal(seed, 10), normal(seed + 100, 10)) for seed in range(20)])
    many = np.mean([frechet(normal(seed, 200), normal(seed + 100, 200)) for seed in range(20)])
    assert many < few / 5


@pytest.mark.parametrize(
    ("made", "precise", "recalled"),
    [
        (normal(2, 200), True, True),
        (normal(2, 200, scale=0.1), True, False),  # all good, but little of the variety: collapse
        (normal(2, 200, scale=20.0), False, True),  # all of the variety, but mostly beside
        (normal(2, 200, mean=50.0), False, False),
    ],
    ids=["same", "narrow", "wide", "elsewhere"],
)
def test_precision_and_recall_tell_quality_from_variety(made: np.ndarray, precise: bool, recalled: bool) -> None:
    real = normal(1, 200)
    precision, recall = precision_recall(real, made)
    assert (precision > 0.6) == precise
    assert (recall > 0.6) == recalled
    density, coverage = density_coverage(real, made)
    assert (density > 0.6) == precise
    assert (coverage > 0.6) == (precise and recalled)


def test_density_and_coverage_of_the_same_distribution_are_what_the_paper_expects() -> None:
    """1, and 1 - (M-1)...(M-k) / (2M-1)...(2M-k) for M real and M made points (Naeem et al. 2020, section 3.4)."""
    count, k = 100, 5
    expected = 1 - np.prod([(count - i) / (2 * count - i) for i in range(1, k + 1)])
    found = np.mean([density_coverage(normal(seed, count), normal(seed + 50, count), k) for seed in range(20)], axis=0)
    assert found[0] == pytest.approx(1, abs=0.05)
    assert found[1] == pytest.approx(expected, abs=0.02)


def test_one_odd_point_opens_precision_but_not_density() -> None:
    """What density is for: the neighbourhood of a real point far from the others holds much that is not real."""
    real = np.concatenate([normal(1, 100), np.full((1, 4), 40.0)])
    made = normal(2, 100, mean=20.0, scale=0.1)
    assert precision_recall(real, made)[0] == 1.0
    assert density_coverage(real, made)[0] < 0.5


def test_figures_of_very_few_points_are_numbers() -> None:
    pair = normal(1, 2)
    values = (*precision_recall(pair, pair), *density_coverage(pair, pair), frechet(pair, pair), diversity(pair))
    assert np.isfinite(values).all()
    assert np.isnan(diversity(pair[:1]))
    with pytest.raises(ValueError, match="fewer than two points"):
        precision_recall(pair[:1], pair)


def test_different_counts_chains_as_one() -> None:
    line = np.array([[0.0], [1.0], [2.0], [9.0], [9.5]])
    assert different(distances(line, line), reach=1.1) == 2
    assert different(distances(line, line), reach=0.1) == 5
    assert different(np.zeros((0, 0)), reach=1.0) == 0


def test_a_piece_of_a_clip_is_found_in_it_wherever_and_however_loud() -> None:
    random = np.random.default_rng(3)
    clips = random.normal(size=(4, 20, 90))
    pieces = np.stack(
        [clips[0][:, :30], clips[0][:, 60:] - 2.0, clips[2][:, 17:47] + 0.5, random.normal(size=(20, 30))]
    )
    found = np.stack([differences(pieces, clip) for clip in clips])
    assert found[0, 0] < 1e-3
    assert found[0, 1] < 1e-3
    assert found[2, 2] < 1e-3
    assert np.sort(found.ravel())[3] > 0.8  # everything else


def test_differences_are_those_of_a_plain_search() -> None:
    random = np.random.default_rng(4)
    windows, clip = random.normal(size=(3, 6, 8)), 5 + random.normal(size=(6, 40))
    plain = []
    for window in windows:
        places = [clip[:, place : place + 8] for place in range(33)]
        plain.append(
            min(np.sqrt(np.mean(((window - window.mean()) - (piece - piece.mean())) ** 2)) for piece in places)
        )
    assert differences(windows, clip) == pytest.approx(np.array(plain), rel=1e-4)


def test_a_clip_shorter_than_the_window_goes_on_in_silence() -> None:
    clip = np.random.default_rng(5).normal(size=(6, 10))
    padded = np.pad(clip, ((0, 0), (0, 10)), constant_values=clip.min())
    assert differences(padded[None], clip)[0] < 1e-3


def test_pairs_at_the_same_moment() -> None:
    windows = np.random.default_rng(6).normal(size=(3, 6, 8))
    windows[1] = windows[0] + 3.0
    between = pairwise(windows)
    assert between[0, 1] < 1e-6
    assert between[0, 2] == pytest.approx(differences(windows[:1], windows[2])[0], rel=1e-4)


def test_coarse_keeps_a_spectrogram_in_place() -> None:
    features = np.zeros((80, 172))
    features[40:44, 86:88] = 1.0
    small = coarse(features, 86.13)
    assert small.shape == (20, 86)
    assert small[10, 43] == 1.0
    assert small.sum() == pytest.approx(1.0)
    assert coarse(np.ones((7, 1)), 86.13).shape == (7, 1)
