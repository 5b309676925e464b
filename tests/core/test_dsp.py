"""Laws of the feature maths: length, tone, shift, scale, independence, gradient."""

from __future__ import annotations

import dataclasses
import math

import librosa
import numpy as np
import pytest
import torch
import torchaudio

from synthkit import dsp
from synthkit.errors import AudioError
from synthkit.presets import PRESETS
from synthkit.specs import FeatureSpec

SPECS = [preset.spec for preset in PRESETS.values()]
BASE = PRESETS["melgan"].spec
NARROW = dataclasses.replace(BASE, n_fft=2048, win_length=800, hop_length=200, power=2, framing="center")
ODD_PADDING = FeatureSpec(sample_rate=8000, n_fft=512, win_length=401, hop_length=101, n_mels=20)
ALL = [*SPECS, NARROW, ODD_PADDING, *(dataclasses.replace(ODD_PADDING, framing=each) for each in ("center", "valid"))]  # type: ignore[arg-type]


def noise(samples: int, batch: int = 1, seed: int = 1) -> torch.Tensor:
    return torch.rand(batch, samples, generator=torch.Generator().manual_seed(seed)) - 0.5


@pytest.mark.parametrize("spec", ALL, ids=FeatureSpec.fingerprint)
def test_length_law(spec: FeatureSpec) -> None:
    """Every length from one sample up; the spec says how many frames come out before anything is computed."""
    for samples in (
        1,
        2,
        3,
        50,
        spec.hop_length - 1,
        spec.hop_length,
        spec.hop_length + 1,
        spec.n_fft,
        5 * spec.n_fft + 7,
    ):
        made = dsp.log_mel(noise(samples), spec)
        assert made.shape == (1, spec.n_mels, spec.frames(samples)), samples
        assert made.isfinite().all()
        assert dsp.stft_magnitude(noise(samples), spec).shape == (1, spec.n_fft // 2 + 1, spec.frames(samples))


@pytest.mark.parametrize("spec", [BASE, ODD_PADDING, NARROW], ids=FeatureSpec.fingerprint)
def test_a_sound_without_samples_is_refused(spec: FeatureSpec) -> None:
    with pytest.raises(AudioError, match="without samples"):
        dsp.log_mel(torch.zeros(1, 0), spec)
    for shape in [(100,), (1, 1, 100)]:
        with pytest.raises(AudioError, match="must be"):
            dsp.log_mel(torch.zeros(shape), spec)
    assert dsp.log_mel(torch.zeros(0, 1000), spec).shape == (0, spec.n_mels, spec.frames(1000))


@pytest.mark.parametrize("length", [1, 2, 3, 5, 400])
@pytest.mark.parametrize(("left", "right"), [(0, 0), (1, 2), (4, 4), (384, 385), (1000, 3)])
def test_reflection_is_numpys_for_every_length(length: int, left: int, right: int) -> None:
    x = noise(length, batch=2)
    expected = np.pad(x.numpy(), ((0, 0), (left, right)), mode="reflect")
    np.testing.assert_array_equal(dsp.reflect_pad(x, left, right).numpy(), expected)
    np.testing.assert_array_equal(dsp.reflect_pad(x[0], left, right).numpy(), expected[0])


@pytest.mark.parametrize("spec", [BASE, NARROW, *SPECS[1:6]], ids=FeatureSpec.fingerprint)
def test_a_tone_peaks_in_its_band(spec: FeatureSpec) -> None:
    edges = dsp.band_edges(spec)
    time = torch.arange(spec.sample_rate, dtype=torch.float64) / spec.sample_rate
    for band in range(spec.n_mels // 4, spec.n_mels, spec.n_mels // 5):
        features = dsp.log_mel(0.5 * torch.sin(2 * math.pi * edges[band + 1] * time)[None], spec)
        middle = features[0, :, features.shape[-1] // 2]
        assert abs(int(middle.argmax()) - band) <= (0 if spec.norm is None else 1), band


@pytest.mark.parametrize("spec", ALL[:8], ids=FeatureSpec.fingerprint)
def test_shifting_by_a_hop_shifts_by_a_frame(spec: FeatureSpec) -> None:
    x = noise(12 * spec.n_fft).double()
    a, b = dsp.log_mel(x[:, spec.hop_length :], spec), dsp.log_mel(x, spec)[..., 1:]
    edge = spec.n_fft // spec.hop_length + 1
    torch.testing.assert_close(a[..., edge:-edge], b[..., edge : a.shape[-1] - edge], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("spec", ALL, ids=FeatureSpec.fingerprint)
def test_items_of_a_batch_do_not_touch_each_other(spec: FeatureSpec) -> None:
    x = noise(3 * spec.n_fft, batch=3).double()
    x[1] = float("nan")
    x[2] *= 1000
    together = dsp.log_mel(x, spec)
    for item in (0, 2):
        torch.testing.assert_close(together[item], dsp.log_mel(x[item : item + 1], spec)[0], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("spec", [BASE, NARROW, PRESETS["melgan-vc"].spec, PRESETS["spectrogram-gan"].spec])
def test_a_gain_in_amplitude_adds_the_log_of_its_power(spec: FeatureSpec) -> None:
    x = noise(4 * spec.n_fft).double()
    step = (
        {"ln": math.log(3.0), "log10": math.log10(3.0), "db": 10 * math.log10(3.0)}[spec.log] * spec.power * spec.gain
    )
    made = dsp.log_mel(3.0 * x, spec) - dsp.log_mel(x, spec)
    torch.testing.assert_close(made, torch.full_like(made, step), rtol=1e-9, atol=1e-9)


def test_silence_has_the_value_that_the_spec_says() -> None:
    for spec in SPECS:
        if spec.magnitude_eps == 0:
            made = dsp.log_mel(torch.zeros(1, 2 * spec.n_fft), spec)
            torch.testing.assert_close(made, torch.full_like(made, spec.silence))


@pytest.mark.parametrize("spec", ALL, ids=FeatureSpec.fingerprint)
def test_gradients_are_finite_also_at_silence(spec: FeatureSpec) -> None:
    half_silent = torch.cat([noise(2 * spec.n_fft, 2), torch.zeros(2, 2 * spec.n_fft)], dim=1)
    for samples in (torch.zeros(2, 2 * spec.n_fft), half_silent, 1e-12 * half_silent):
        x = samples.clone().requires_grad_()
        dsp.log_mel(x, spec).sum().backward()
        assert x.grad is not None
        assert x.grad.isfinite().all()


def test_the_gradient_is_the_derivative() -> None:
    spec = FeatureSpec(sample_rate=1000, n_fft=64, hop_length=16, n_mels=5, log="ln", floor=1e-8)
    for each in (
        spec,
        dataclasses.replace(spec, power=2, framing="center"),
        dataclasses.replace(spec, magnitude_eps=1e-3),
    ):
        x = noise(70).double().requires_grad_()
        assert torch.autograd.gradcheck(lambda x, each=each: dsp.log_mel(x, each), (x,), atol=1e-6)


def test_a_long_sound_in_pieces_is_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    x = noise(60_000, batch=2).double()
    whole = {spec: dsp.log_mel(x, spec) for spec in (BASE, NARROW)}
    monkeypatch.setattr(dsp, "_CHUNK_FRAMES", {"cpu": 14})
    for spec, expected in whole.items():
        torch.testing.assert_close(dsp.log_mel(x, spec), expected, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(dsp.log_mel(x.clone().requires_grad_(), spec).detach(), expected)


def test_features_made_in_inference_mode_do_not_spoil_training() -> None:
    """Window and filterbank are kept between calls; made in inference mode they could never carry a gradient."""
    spec = dataclasses.replace(BASE, n_mels=37)
    with torch.inference_mode():
        dsp.log_mel(torch.zeros(1, 2048), spec)
    x = noise(2048).requires_grad_()
    dsp.log_mel(x, spec).mean().backward()
    assert x.grad is not None
    assert x.grad.abs().max() > 0


def test_half_precision_and_autocast_do_not_reach_the_maths() -> None:
    x = noise(8192)
    exact = dsp.log_mel(x, BASE)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(dsp.log_mel(x, BASE), exact, rtol=0, atol=0)
    assert dsp.log_mel(x.bfloat16(), BASE).dtype == torch.float32
    assert dsp.log_mel(x.double(), BASE).dtype == torch.float64


@pytest.mark.parametrize("spec", ALL, ids=FeatureSpec.fingerprint)
def test_filterbank_is_librosas(spec: FeatureSpec) -> None:
    expected = librosa.filters.mel(
        sr=spec.sample_rate, n_fft=spec.n_fft, n_mels=spec.n_mels, fmin=spec.f_min, fmax=spec.f_max,
        htk=spec.mel_scale == "htk", norm=spec.norm, dtype=np.float64,
    )  # fmt: skip
    np.testing.assert_allclose(dsp.mel_filterbank(spec).numpy(), expected, rtol=1e-6, atol=1e-9)
    assert dsp.mel_filterbank(spec).dtype == torch.float32


@pytest.mark.parametrize("scale", ["htk", "slaney"])
@pytest.mark.parametrize("norm", [None, "slaney"])
def test_filterbank_is_torchaudios(scale: str, norm: str | None) -> None:
    spec = dataclasses.replace(BASE, mel_scale=scale, norm=norm)  # type: ignore[arg-type]
    expected = torchaudio.functional.melscale_fbanks(513, 0.0, 11025.0, 80, 22050, norm=norm, mel_scale=scale).T
    torch.testing.assert_close(dsp.mel_filterbank(spec), expected, rtol=1e-3, atol=1e-5)


def test_filters_have_the_area_or_height_that_the_norm_says() -> None:
    fine = FeatureSpec(sample_rate=16000, n_fft=2**16, hop_length=256, n_mels=40, mel_scale="htk")
    area = dsp.mel_filterbank(fine).double().sum(dim=1) * fine.sample_rate / fine.n_fft
    torch.testing.assert_close(area, torch.ones_like(area), rtol=1e-3, atol=0)
    height = dsp.mel_filterbank(dataclasses.replace(fine, norm=None)).amax(dim=1)
    torch.testing.assert_close(height, torch.ones_like(height), rtol=2e-2, atol=0)


@pytest.mark.parametrize("scale", ["htk", "slaney"])
def test_mel_scales_invert_and_rise(scale: str) -> None:
    hz = np.linspace(0, 22050, 1001)
    mel = dsp.hz_to_mel(hz, scale)  # type: ignore[arg-type]
    assert (np.diff(mel) > 0).all()
    np.testing.assert_allclose(dsp.mel_to_hz(mel, scale), hz, atol=1e-9)  # type: ignore[arg-type]
    np.testing.assert_allclose(mel, librosa.hz_to_mel(hz, htk=scale == "htk"), atol=1e-9)


@pytest.mark.parametrize("spec", SPECS, ids=FeatureSpec.fingerprint)
def test_expand_inverts_compress_above_the_floor(spec: FeatureSpec) -> None:
    mel = torch.logspace(-3, 3, 50, dtype=torch.float64).clamp(min=spec.floor)
    torch.testing.assert_close(dsp.expand(dsp.compress(mel, spec), spec), mel, rtol=1e-9, atol=0)


@pytest.mark.parametrize("spec", [BASE, NARROW, PRESETS["hifi-gan"].spec, PRESETS["melgan-vc"].spec])
def test_magnitudes_are_those_of_torch_stft(spec: FeatureSpec) -> None:
    x = noise(10_000, batch=2).double()
    padded = dsp.pad_frames(x, spec)
    window = torch.hann_window(spec.win_length, dtype=torch.float64)
    spectrum = torch.stft(
        padded, spec.n_fft, spec.hop_length, spec.win_length, window,
        center=False, normalized=False, return_complex=True,
    )  # fmt: skip
    if spec.window_norm:
        spectrum = spectrum / window.square().sum().sqrt()
    expected = (spectrum.abs().square() + spec.magnitude_eps).sqrt()
    torch.testing.assert_close(dsp.stft_magnitude(x, spec), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_the_same_features() -> None:
    x = noise(100_000, batch=2)
    for spec in (BASE, NARROW, PRESETS["hifi-gan"].spec):
        made = dsp.log_mel(x.cuda(), spec)
        assert made.device.type == "cuda"
        torch.testing.assert_close(made.cpu(), dsp.log_mel(x, spec), rtol=1e-4, atol=1e-3)
