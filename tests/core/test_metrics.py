"""What each metric says of sounds whose answer is known, and of sounds that cannot be compared."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
import torchaudio

from synthkit.audio import Audio
from synthkit.builtin import metrics
from synthkit.builtin.config import McdConfig, MetricConfig
from synthkit.dsp import log_mel
from synthkit.errors import ConfigError
from synthkit.interfaces import Comparison, Metric, Score
from synthkit.presets import PRESETS

SPEC = PRESETS["melgan"].spec
LN_POWER = dataclasses.replace(SPEC, log="ln", power=2, floor=1e-10)
ALL = ("MelL1", "MultiStft", "MelCepstralDistortion", "RealTimeFactor", "Level", "Clipping", "Silence")
BESIDE_AN_ORIGINAL = tuple(name for name in ALL if name != "RealTimeFactor")


def build(name: str, spec: Any = SPEC, **settings: Any) -> Metric:
    config = McdConfig(**settings) if name == "MelCepstralDistortion" else MetricConfig()
    return getattr(metrics, name)(config, spec)  # type: ignore[no-any-return]


def measure(name: str, made: np.ndarray, reference: np.ndarray, spec: Any = SPEC, **settings: Any) -> Score:
    metric = build(name, spec, **settings)
    rate = spec.sample_rate
    metric.update(Comparison(made=Audio(made, rate), reference=Audio(reference, rate), elapsed=0.5))
    return metric.score()


def noise(seconds: float = 1.0, seed: int = 3, gain: float = 0.25) -> np.ndarray:
    return gain * np.random.default_rng(seed).uniform(-1, 1, int(seconds * 22050)).astype(np.float32)


@pytest.mark.parametrize("name", BESIDE_AN_ORIGINAL)
def test_a_perfect_copy_scores_zero(name: str) -> None:
    score = measure(name, noise(), noise())
    assert score.value == 0.0
    assert score.better in ("lower", "zero")
    assert score.per_item == (0.0,)


@pytest.mark.parametrize("name", ALL)
def test_score_is_the_mean_over_clips_and_needs_one(name: str) -> None:
    metric = build(name)
    with pytest.raises(ConfigError, match="no clip"):
        metric.score()
    pairs = [(noise(seed=1), noise(seed=2)), (noise(seed=1), 0.5 * noise(seed=1)), (np.ones(22050), noise())]
    for made, reference in pairs:
        metric.update(Comparison(made=Audio(made, 22050), reference=Audio(reference, 22050), elapsed=0.25))
    score = metric.score()
    assert len(score.per_item) == 3
    assert score.value == pytest.approx(sum(score.per_item) / 3)
    assert score.per_item[1] == pytest.approx(measure(name, *pairs[1]).value * (2 if name == "RealTimeFactor" else 1))


@pytest.mark.parametrize("name", BESIDE_AN_ORIGINAL)
def test_lengths_may_differ_by_a_hop(name: str) -> None:
    assert measure(name, noise()[:-256], noise()).value == 0.0
    assert measure(name, noise(), noise()[:-100]).value == 0.0
    with pytest.raises(ConfigError, match="may differ by one hop of 256"):
        measure(name, noise()[:-257], noise())


@pytest.mark.parametrize("name", BESIDE_AN_ORIGINAL)
def test_rates_and_channels_must_be_equal(name: str) -> None:
    metric = build(name)
    with pytest.raises(ConfigError, match=r"16000 Hz.*resample"):
        metric.update(Comparison(made=Audio(noise(), 16000), reference=Audio(noise(), 22050)))
    with pytest.raises(ConfigError, match="2 channels"):
        metric.update(Comparison(made=Audio(np.stack([noise()] * 2), 22050), reference=Audio(noise(), 22050)))
    with pytest.raises(ConfigError, match="no samples"):
        metric.update(Comparison(made=Audio(np.zeros(0), 22050), reference=Audio(np.zeros(0), 22050)))


@pytest.mark.parametrize("name", BESIDE_AN_ORIGINAL)
def test_channels_count_as_separate_sounds(name: str) -> None:
    a, b, c = (noise(seed=seed) for seed in (1, 2, 3))
    stereo = measure(name, np.stack([a, b]), np.stack([c, c])).value
    alone = [measure(name, a, c).value, measure(name, b, c).value]
    assert stereo == pytest.approx(sum(alone) / 2, rel=2e-3, abs=1e-3)


class TestMelL1:
    @pytest.mark.parametrize(
        ("spec", "step"),
        [
            (SPEC, math.log10(2.0)),
            (LN_POWER, 2 * math.log(2.0)),
            (PRESETS["spectrogram-gan"].spec, 20 * math.log10(2.0)),
            (PRESETS["cmelgan"].spec, 2 * math.log(2.0)),
        ],
    )
    def test_of_a_gain_is_its_logarithm(self, spec: Any, step: float) -> None:
        assert measure("MelL1", 2 * noise(), noise(), spec).value == pytest.approx(step, rel=1e-4)

    def test_unit_is_that_of_the_features(self) -> None:
        units = {name: metrics.MelL1(MetricConfig(), preset.spec).unit for name, preset in PRESETS.items()}
        assert units["melgan"] == "log10 mel"
        assert units["hifi-gan"] == "ln mel"
        assert units["melgan-vc"] == "dB mel"
        assert units["cmelgan"] == "ln mel", "differences of raw power say nothing: its logarithm is compared"

    def test_is_the_mean_over_the_features(self) -> None:
        a, b = torch.from_numpy(noise(seed=1)), torch.from_numpy(noise(seed=2))
        expected = (log_mel(a[None], SPEC) - log_mel(b[None], SPEC)).abs().mean()
        assert measure("MelL1", a.numpy(), b.numpy()).value == pytest.approx(float(expected), rel=1e-6)

    def test_a_clip_without_a_frame_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="too few for one frame"):
            measure("MelL1", noise()[:200], noise()[:200])


class TestMultiStft:
    @pytest.mark.parametrize("gain", [0.5, 2.0])
    def test_of_a_gain(self, gain: float) -> None:
        value = measure("MultiStft", gain * noise(), noise()).value
        assert value == pytest.approx(abs(1 - gain) + abs(math.log(gain)), rel=2e-3)

    def test_is_parallel_wavegans(self) -> None:
        """The loss written out anew from facts of the paper and its code."""
        made, real = noise(seed=1), noise(seed=2)
        total = 0.0
        for n_fft, hop, window in ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240)):
            x, y = (
                torch.stft(
                    torch.from_numpy(samples).double(), n_fft, hop, window, torch.hann_window(window).double(),
                    return_complex=True,
                ).abs().square().clamp(min=1e-7).sqrt()
                for samples in (made, real)
            )  # fmt: skip
            total += float((y - x).norm() / y.norm() + (y.log() - x.log()).abs().mean())
        assert measure("MultiStft", made, real).value == pytest.approx(total / 3, rel=1e-4)

    def test_takes_the_shortest_sound(self) -> None:
        assert math.isfinite(measure("MultiStft", noise()[:1], noise(seed=9)[:1]).value)


class TestMelCepstralDistortion:
    def test_a_gain_changes_nothing(self) -> None:
        assert measure("MelCepstralDistortion", 2 * noise(), noise()).value == pytest.approx(0.0, abs=1e-4)

    @pytest.mark.parametrize("spec", [SPEC, LN_POWER])
    def test_all_coefficients_together_are_the_rms_difference_in_db(self, spec: Any) -> None:
        a, b = noise(seed=1), noise(seed=2)
        value = measure("MelCepstralDistortion", a, b, spec, coefficients=79).value
        ln_magnitude = dataclasses.replace(spec, log="ln")
        gap = (log_mel(torch.from_numpy(a)[None], ln_magnitude) - log_mel(torch.from_numpy(b)[None], ln_magnitude))[0]
        db = 20 / math.log(10) * gap / spec.power
        expected = (db - db.mean(dim=0)).square().mean(dim=0).sqrt().mean()
        assert value == pytest.approx(float(expected), rel=1e-4)
        assert 0 < measure("MelCepstralDistortion", a, b, spec).value < value, "thirteen are part of all"

    def test_the_transform_is_the_cosine_transform(self) -> None:
        """torchaudio's orthonormal DCT-II, whose rows d >= 1 are sqrt(2 / M) cos(...), scaled by sqrt(2 / M)."""
        expected = torchaudio.functional.create_dct(14, 80, "ortho").T[1:] * math.sqrt(2 / 80)
        np.testing.assert_allclose(metrics.cosine_basis(13, 80), expected.numpy(), atol=1e-6)

    def test_more_coefficients_than_bands_are_refused(self) -> None:
        with pytest.raises(ConfigError, match="80 coefficients need more than the spec's 80 bands"):
            build("MelCepstralDistortion", coefficients=80)

    def test_further_away_is_worse(self) -> None:
        time = np.arange(22050) / 22050
        voice = sum(np.sin(2 * np.pi * 200 * k * time) / k for k in range(1, 20)).astype(np.float32) * 0.1
        near, far = voice + 0.01 * noise(), voice + 0.3 * noise()
        assert measure("MelCepstralDistortion", near, voice).value < measure("MelCepstralDistortion", far, voice).value


class TestRealTimeFactor:
    def test_is_sound_over_work(self) -> None:
        metric = build("RealTimeFactor")
        metric.update(Comparison(made=Audio(noise(1.0), 22050), reference=Audio(noise(1.0), 22050), elapsed=0.5))
        metric.update(Comparison(made=Audio(noise(9.0), 22050), reference=Audio(noise(9.0), 22050), elapsed=2.0))
        score = metric.score()
        assert score.value == pytest.approx(4.0), "10 s of sound in 2.5 s of work"
        assert score.per_item == pytest.approx((2.0, 4.5))
        assert score.better == "higher"

    def test_needs_the_time(self) -> None:
        with pytest.raises(ConfigError, match="not known"):
            build("RealTimeFactor").update(Comparison(made=Audio(noise(), 22050), reference=Audio(noise(), 22050)))


class TestLevel:
    def test_half_the_amplitude_is_six_decibels_less(self) -> None:
        score = measure("Level", 0.5 * noise(), noise())
        assert score.value == pytest.approx(-6.0206, abs=1e-3)
        assert (score.unit, score.better) == ("dB", "zero")

    def test_silence_has_a_level(self) -> None:
        assert measure("Level", np.zeros(22050), np.ones(22050)).value == pytest.approx(-100.0)
        assert measure("Level", np.zeros(22050), np.zeros(22050)).value == 0.0


class TestClipping:
    def test_counts_what_lies_at_or_beyond_full_scale(self) -> None:
        made = np.zeros(1000)
        made[:4] = 1.0, -1.0, 32767 / 32768, 1.7
        made[4] = 0.999
        assert measure("Clipping", made, np.zeros(1000)).value == pytest.approx(0.004)


class TestSilence:
    def test_finds_a_hole(self) -> None:
        made = noise(10.0)
        made[22050 * 2 : 22050 * 5] = 0.0
        assert measure("Silence", made, noise(10.0)).value == pytest.approx(0.3, abs=0.01)

    def test_silence_of_the_original_is_no_fault(self) -> None:
        original = noise(10.0)
        original[22050 * 2 : 22050 * 5] = 0.0
        assert measure("Silence", original, original).value == 0.0
        assert measure("Silence", np.zeros(22050), np.zeros(22050)).value == 0.0
        assert measure("Silence", np.zeros(22050), noise()).value == 1.0

    def test_the_limit_is_sixty_decibels_below_full_scale(self) -> None:
        loud, quiet = np.full(22050, 1.1e-3), np.full(22050, 0.9e-3)
        assert measure("Silence", loud, noise()).value == 0.0
        assert measure("Silence", quiet, noise()).value == 1.0

    def test_takes_a_sound_shorter_than_a_window(self) -> None:
        assert measure("Silence", np.zeros(10), np.full(10, 0.5)).value == 1.0
