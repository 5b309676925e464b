"""Laws of the Griffin-Lim vocoder and its mel inversion, and librosa as the judge on real sound."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from synthkit import dsp
from synthkit.audio import AUDIO_SUFFIXES, read
from synthkit.errors import ConfigError
from synthkit.presets import PRESETS
from synthkit.specs import FeatureSpec
from synthkit.testing import Check, check_vocoder, declaration
from synthkit_griffin_lim.config import GriffinLimConfig
from synthkit_griffin_lim.inversion import MelInversion
from synthkit_griffin_lim.phase import PhaseEstimator
from synthkit_griffin_lim.vocoder import GriffinLim

MELGAN = FeatureSpec(sample_rate=22050, n_fft=1024, hop_length=256, n_mels=80)
SPECS = {
    "same, log10": MELGAN,
    "center, ln": dataclasses.replace(MELGAN, framing="center", log="ln", f_max=8000.0),
    "valid, db, power": dataclasses.replace(MELGAN, framing="valid", log="db", power=2, floor=1e-10, f_min=40.0),
    "no log": dataclasses.replace(MELGAN, log="none", floor=0.0, norm=None, mel_scale="htk"),
    "hifi-gan": dataclasses.replace(MELGAN, log="ln", magnitude_eps=1e-9, f_max=8000.0),
    "power with eps": dataclasses.replace(MELGAN, power=2, magnitude_eps=1e-6, log="db", gain=0.01, offset=0.8),
    "short window": dataclasses.replace(MELGAN, n_fft=2048, win_length=1100, hop_length=275, window_norm=True),
    "odd hop, many bands": dataclasses.replace(
        MELGAN, n_fft=512, win_length=512, hop_length=101, n_mels=128, gain=-2.0, offset=1.0
    ),
    "24 kHz, 32 bands": FeatureSpec(
        sample_rate=24000, n_fft=1024, hop_length=240, n_mels=32, power=2, framing="center"
    ),
}
by_spec = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())


def melody(spec: FeatureSpec, frames: int = 40, seed: int = 0) -> Tensor:
    """`[1, T]`: gliding harmonics and some noise, T the samples of whole frames."""
    time = torch.arange(spec.samples(frames)) / spec.sample_rate
    phase = 2 * torch.pi * (200 * time + 60 * time**2)
    noise = torch.randn(time.shape, generator=torch.Generator().manual_seed(seed))
    return (sum(torch.sin(k * phase) / k for k in range(1, 12)) * 0.15 + 0.01 * noise)[None]


def vocode(features: Tensor, spec: FeatureSpec, **settings: object) -> Tensor:
    return GriffinLim(GriffinLimConfig.model_validate({"iterations": 30, **settings}), spec).vocode(features)


def error_db(sound: Tensor, wanted: Tensor, spec: FeatureSpec) -> float:
    """Spectral convergence, both halves of the spectrum counted."""
    weight = torch.full((wanted.shape[0], 1), 2.0)
    weight[0] = weight[-1] = 1.0
    difference = (weight * (dsp.stft_magnitude(sound, spec) - wanted).square()).sum()
    return float(10 * torch.log10(difference / (weight * wanted.square()).sum()))


@by_spec
@pytest.mark.parametrize("frames", [1, 2, 3, 17, 130])
def test_as_long_as_the_spec_says(spec: FeatureSpec, frames: int) -> None:
    features = torch.rand(2, spec.n_mels, frames, generator=torch.Generator().manual_seed(frames))
    made = vocode(features, spec, iterations=1, inversion_iterations=2)
    assert made.shape == (2, spec.samples(frames))
    assert made.dtype == torch.float32
    assert torch.isfinite(made).all()
    if made.shape[1]:
        assert dsp.log_mel(made, spec).shape[2] == frames


@by_spec
def test_the_same_mel_comes_back(spec: FeatureSpec) -> None:
    """Level and content: the mel of the result is the mel that went in, band by band."""
    features = dsp.log_mel(melody(spec), spec)
    made = vocode(features, spec, iterations=60)
    wanted, got = dsp.expand(features, spec), dsp.expand(dsp.log_mel(made, spec), spec)
    level = 20 / spec.power * torch.log10(got.sum() / wanted.sum())
    assert abs(float(level)) < 0.4
    loud = wanted > wanted.max() * 1e-3
    assert float((got[loud].log() - wanted[loud].log()).abs().mean()) < 0.2


@by_spec
def test_a_tone_comes_back_as_that_tone_at_its_place(spec: FeatureSpec) -> None:
    frames = 48
    time = torch.arange(spec.samples(frames)) / spec.sample_rate
    begin, end = 0.4 * float(time[-1]), 0.7 * float(time[-1])
    burst = (0.5 * torch.sin(2 * torch.pi * 1000 * time) * ((time > begin) & (time < end)))[None]
    made = vocode(dsp.log_mel(burst, spec), spec, iterations=60)[0].double()
    energy = made.square()
    centre = float((energy * time).sum() / energy.sum())
    assert centre == pytest.approx((begin + end) / 2, abs=1.5 * spec.hop_length / spec.sample_rate)
    inside = made[(time > begin) & (time < end)]
    spectrum = torch.fft.rfft(inside * torch.hann_window(len(inside)), n=1 << 17).abs()
    peak = float(spectrum.argmax()) * spec.sample_rate / (1 << 17)
    resolution = spec.sample_rate / spec.n_fft
    assert peak == pytest.approx(1000, abs=2 * resolution)  # a mel band is a few bins wide


@by_spec
def test_silence_in_digital_silence_out(spec: FeatureSpec) -> None:
    frames = 60
    samples = spec.samples(frames)
    assert not vocode(dsp.log_mel(torch.zeros(1, samples), spec), spec).any()
    half = melody(spec, frames).clone()
    half[:, samples // 2 :] = 0
    made = vocode(dsp.log_mel(half, spec), spec)
    reach = samples // 2 + spec.n_fft
    assert made[:, : samples // 2].abs().max() > 0.1
    assert not made[:, reach + spec.n_fft :].any()


def test_ends_without_clicks() -> None:
    """The first and last samples of `valid` framing lie under the foot of one window: they fade, they do not blow up."""
    for spec in SPECS.values():
        sound = melody(spec)
        made = vocode(dsp.log_mel(sound, spec), spec)
        assert made.abs().max() < 2 * sound.abs().max()


def test_an_item_does_not_depend_on_its_neighbours() -> None:
    features = torch.cat([dsp.log_mel(melody(MELGAN, seed=seed) * (1 + seed), MELGAN) for seed in range(3)])
    together = vocode(features, MELGAN)
    for index in range(3):
        assert torch.equal(together[index], vocode(features[index : index + 1], MELGAN)[0])
    same = vocode(features[:1].expand(2, -1, -1), MELGAN)
    assert torch.equal(same[0], same[1])


def test_the_same_generator_state_gives_the_same_samples() -> None:
    features = dsp.log_mel(melody(MELGAN), MELGAN)
    vocoder = GriffinLim(GriffinLimConfig(iterations=4), MELGAN)

    def seeded(seed: int) -> Tensor:
        return vocoder.vocode(features, random=torch.Generator().manual_seed(seed))

    torch.manual_seed(5)
    assert torch.equal(vocoder.vocode(features), vocoder.vocode(features))
    assert torch.equal(seeded(3), seeded(3))
    assert not torch.equal(seeded(3), seeded(4))
    torch.manual_seed(5)
    assert torch.rand(1) == torch.rand(
        1, generator=torch.Generator().manual_seed(5)
    )  # the global generator is untouched


@pytest.mark.parametrize("framing", ["same", "center"])
def test_without_momentum_the_error_never_grows(framing: str) -> None:
    spec = dataclasses.replace(MELGAN, framing=framing)
    sound = melody(spec)
    wanted = dsp.stft_magnitude(sound, spec)[0]
    estimator = PhaseEstimator(spec, wanted.shape[1], torch.device("cpu"))

    def error(iterations: int) -> float:
        random = torch.Generator().manual_seed(1)
        made = estimator.estimate(wanted.T.contiguous(), iterations=iterations, momentum=0.0, random=random)
        return error_db(made, wanted, spec)

    errors = [error(iterations) for iterations in range(25)]
    assert all(later <= earlier + 1e-4 for earlier, later in itertools.pairwise(errors))
    assert errors[-1] < errors[0] - 5


def test_momentum_converges_faster() -> None:
    sound = melody(MELGAN, frames=100)
    wanted = dsp.stft_magnitude(sound, MELGAN)[0]
    estimator = PhaseEstimator(MELGAN, wanted.shape[1], torch.device("cpu"))

    def error(iterations: int, momentum: float) -> float:
        random = torch.Generator().manual_seed(1)
        made = estimator.estimate(wanted.T.contiguous(), iterations=iterations, momentum=momentum, random=random)
        return error_db(made, wanted, MELGAN)

    assert error(60, 0.99) < error(30, 0.99) < error(10, 0.99) - 3
    assert error(30, 0.99) < error(30, 0.0) - 2


def test_stops_when_it_is_good_enough() -> None:
    wanted = dsp.stft_magnitude(melody(MELGAN, frames=100), MELGAN)[0]
    estimator = PhaseEstimator(MELGAN, wanted.shape[1], torch.device("cpu"))
    rounds: list[int] = []
    made = estimator.estimate(
        wanted.T.contiguous(),
        iterations=500,
        convergence_db=-15.0,
        random=torch.Generator().manual_seed(1),
        progress=rounds.append,
    )
    assert error_db(made, wanted, MELGAN) == pytest.approx(-15.5, abs=0.6)
    assert 3 < len(rounds) < 100


def test_progress_ends_at_its_total() -> None:
    calls: list[tuple[int, int]] = []
    features = dsp.log_mel(melody(MELGAN), MELGAN).expand(2, -1, -1)
    GriffinLim(GriffinLimConfig(iterations=5), MELGAN).vocode(features, progress=lambda *call: calls.append(call))
    done = [call[0] for call in calls]
    assert done == sorted(done)
    assert calls[-1] == (10, 10)


@by_spec
def test_inversion_is_exact_for_mels_that_a_sound_can_have(spec: FeatureSpec) -> None:
    bank = dsp.mel_filterbank(spec)
    spectrum = dsp.stft_magnitude(melody(spec), spec)[0].double() ** spec.power
    mel = bank.double() @ spectrum
    found = MelInversion(bank)(mel)
    assert float(found.min()) >= 0
    assert float((bank.double() @ found - mel).norm() / mel.norm()) < 1e-5
    quiet = ((bank.double() @ found - mel).norm(dim=0) / mel.norm(dim=0)).max()
    assert float(quiet) < 1e-4  # every single frame, the quiet ones too


def test_inversion_of_mels_that_no_sound_has_is_the_best_there_is() -> None:
    """Against scipy's active-set NNLS, in the norm that the inversion minimises."""
    from scipy.optimize import nnls

    spec = dataclasses.replace(MELGAN, n_fft=512, win_length=512, n_mels=40, hop_length=128)
    bank = dsp.mel_filterbank(spec).double()
    random = torch.Generator().manual_seed(2)
    mel = (bank @ dsp.stft_magnitude(melody(spec, 8), spec)[0].double()) * torch.exp(
        1.5 * torch.randn(40, 8, generator=random, dtype=torch.float64)
    )
    found = MelInversion(bank, iterations=60)(mel)
    sums = bank.sum(1, keepdim=True)
    unit = bank / sums
    reached = bank.sum(0) > 0
    envelope = torch.zeros(bank.shape[1], 8, dtype=torch.float64)
    envelope[reached] = (unit[:, reached] / unit[:, reached].sum(0)).T @ (mel / sums)
    weight = ((unit * unit) @ envelope).rsqrt()
    impossible = 0
    for frame in range(8):
        scaled = (weight[:, frame, None] * unit).numpy()
        target = (weight[:, frame] * mel[:, frame] / sums[:, 0]).numpy()
        size, best = np.linalg.norm(target), nnls(scaled, target)[1]
        impossible += best > 0.05 * size
        assert np.linalg.norm(scaled @ found[:, frame].numpy() - target) <= best * (1 + 1e-4) + 1e-5 * size
    assert impossible >= 4


def test_says_what_it_cannot_work_with() -> None:
    sparse = dataclasses.replace(MELGAN, hop_length=800)
    with pytest.raises(ConfigError, match="hop_length 800 is more than three quarters of win_length 1024"):
        GriffinLim(GriffinLimConfig(), sparse)
    with pytest.raises(ConfigError, match=r"\[B, 80, N\]"):
        vocode(torch.zeros(1, 64, 3), MELGAN)
    with pytest.raises(ConfigError, match="not finite"):
        vocode(torch.full((1, 80, 3), float("nan")), MELGAN)


@pytest.mark.parametrize("preset", ["melgan", "hifi-gan", "cmelgan", "melnet-jaeyeun97", "melgan-vc"])
def test_the_laws_of_vocoders(preset: str) -> None:
    config = GriffinLimConfig(iterations=8)
    check_vocoder(lambda: GriffinLim(config, PRESETS[preset].spec), config=config)


@pytest.mark.parametrize("check", declaration("synthkit_griffin_lim.plugin"), ids=str)
def test_the_declaration(check: Check) -> None:
    check()


CLIPS = ("music/citychill.ogg", "speech/jfk.flac")


def real(path: Path, spec: FeatureSpec, seconds: float = 4.0) -> Tensor:
    audio = read(path).mono().resample(spec.sample_rate)
    samples = torch.from_numpy(audio.samples[:, : int(seconds * spec.sample_rate)])
    return samples[:, : samples.shape[1] // spec.hop_length * spec.hop_length]


@pytest.mark.data
def test_all_real_sound_converges_farther_than_librosa(shared: Path) -> None:
    """Both with 60 rounds and momentum 0.99, from 4 s of every recording."""
    import librosa

    spec = dataclasses.replace(MELGAN, framing="center")
    clips = [*(shared / "audio/music").iterdir(), *(shared / "audio/speech").glob("*.*")]
    files = sorted(clip for clip in clips if clip.is_file() and clip.suffix in AUDIO_SUFFIXES)
    assert len(files) >= 15
    gains = {}
    for file in files:
        sound = real(file, spec)
        wanted = dsp.stft_magnitude(sound, spec)[0]
        judge = librosa.griffinlim(wanted.numpy(), n_iter=60, hop_length=256, random_state=0, length=sound.shape[1])
        estimator = PhaseEstimator(spec, wanted.shape[1], torch.device("cpu"))
        random = torch.Generator().manual_seed(0)
        made = estimator.estimate(wanted.T.contiguous(), iterations=60, relaxation=1.25, random=random)
        gains[file.name] = error_db(torch.from_numpy(judge), wanted, spec) - error_db(made, wanted, spec)
    assert min(gains.values()) > 0, gains
    assert sum(gains.values()) / len(gains) > 1, gains


@pytest.mark.data
@pytest.mark.parametrize("clip", CLIPS)
def test_real_sound_inverts_far_better_than_librosa(shared: Path, clip: str) -> None:
    import librosa

    bank = dsp.mel_filterbank(MELGAN)
    spectrum = dsp.stft_magnitude(real(shared / "audio" / clip, MELGAN), MELGAN)[0]
    mel = bank @ spectrum

    def residual(found: Tensor) -> float:
        return float((bank.double() @ found.double() - mel.double()).norm() / mel.norm())

    judge = librosa.util.nnls(bank.numpy(), mel.numpy())
    ours = MelInversion(bank)(mel)
    assert residual(ours) < 1e-5
    assert residual(ours) < residual(torch.from_numpy(judge)) / 100
    assert (ours - spectrum).norm() < (torch.from_numpy(judge) - spectrum).norm()  # nearer to the truth as well
