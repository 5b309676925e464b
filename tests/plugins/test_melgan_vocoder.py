"""The vocoder around the network: lengths, chunks, edges, silence, other log units."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

import synthkit_melgan.vocoder
from synthkit import dsp
from synthkit.errors import ConfigError
from synthkit.specs import FeatureSpec
from synthkit.testing import battery, declaration
from synthkit.training.engine import seeded
from synthkit_melgan.config import MelGANConfig
from synthkit_melgan.vocoder import MelGAN

SPEC = FeatureSpec(sample_rate=8000, n_fft=256, hop_length=64, n_mels=20)
CONFIG = MelGANConfig(channels=4, ratios=(4, 4, 2, 2))
FRAMINGS = ["same", "center", "valid"]


def build(spec: FeatureSpec = SPEC, **changes: Any) -> MelGAN:
    with seeded(5):
        return MelGAN(CONFIG.model_copy(update=changes), spec)


def noise(count: int, samples: int) -> Tensor:
    return torch.rand(count, samples, generator=torch.Generator().manual_seed(2)) - 0.5


def some_features(items: int, frames: int) -> Tensor:
    return torch.randn(items, SPEC.n_mels, frames, generator=torch.Generator().manual_seed(3)) - 2


def inner_network(vocoder: MelGAN, features: Tensor) -> Tensor:
    """What the bare network makes of features that go on beyond both ends as the vocoder's do."""
    reach = vocoder.generator.context
    wide = torch.nn.functional.pad(features, (reach, reach), mode="replicate")
    hop = vocoder.spec.hop_length
    with torch.no_grad():
        return vocoder.generator(wide)[:, 0, reach * hop : -reach * hop]


@pytest.mark.parametrize("check", battery("vocoder", build, config=CONFIG), ids=str)
def test_the_laws_of_vocoders(check: Any) -> None:
    check()


@pytest.mark.parametrize("check", declaration("synthkit_melgan.plugin"), ids=str)
def test_the_declaration(check: Any) -> None:
    check()


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("frames", [0, 1, 2, 3, 50])
def test_any_number_of_frames_gives_exactly_its_samples(framing: Any, frames: int) -> None:
    spec = dataclasses.replace(SPEC, framing=framing)
    made = build(spec).vocode(torch.zeros(2, 20, frames))
    assert made.shape == (2, spec.samples(frames))
    assert made.isfinite().all()


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("chunk", [1, 7, 40])
def test_chunks_make_what_the_whole_makes(framing: Any, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    vocoder = build(dataclasses.replace(SPEC, framing=framing))
    features = dsp.log_mel(noise(2, 64 * 45), vocoder.spec)
    whole = vocoder.vocode(features)
    monkeypatch.setattr(synthkit_melgan.vocoder, "CHUNK_FRAMES", 2 * chunk)
    told: list[tuple[int, int]] = []
    pieces = vocoder.vocode(features, progress=lambda *pair: told.append(pair))
    assert (pieces - whole).abs().max() < 1e-5
    assert len(told) > 1
    assert told[-1][0] == told[-1][1]


def test_far_from_the_ends_it_is_the_bare_network() -> None:
    vocoder = build()
    features = dsp.log_mel(noise(1, 64 * 40), SPEC)
    with torch.no_grad():
        bare = vocoder.generator(features)[:, 0]
    edge = vocoder.generator.context * 64
    torch.testing.assert_close(vocoder.vocode(features)[:, edge:-edge], bare[:, edge:-edge], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("framing", "lead"), [("same", 0), ("center", -32), ("valid", 96)])
def test_a_frame_makes_the_samples_around_the_middle_of_its_window(framing: Any, lead: int) -> None:
    spec = dataclasses.replace(SPEC, framing=framing)
    vocoder = build(spec)
    features = dsp.log_mel(noise(1, 64 * 40), spec)
    made, bare = vocoder.vocode(features), inner_network(vocoder, features)
    start = max(0, -lead)
    count = spec.samples(features.shape[-1]) if framing != "valid" else bare.shape[-1]
    expected = bare[:, start : start + count]
    torch.testing.assert_close(made[:, max(0, lead) :][:, : expected.shape[1]], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("framing", FRAMINGS)
def test_in_training_the_made_sound_lies_where_vocoding_puts_it(framing: Any) -> None:
    spec = dataclasses.replace(SPEC, framing=framing)
    vocoder, audio = build(spec), noise(2, 64 * 40)
    features = dsp.log_mel(audio, spec)
    with torch.no_grad():
        placed = vocoder.place(vocoder.generator(vocoder.hear(features)), audio)
    assert placed.shape == (2, 1, 64 * 40)
    middle = slice(64 * 15, 64 * 25)
    torch.testing.assert_close(placed[:, 0, middle], vocoder.vocode(features)[:, middle], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "changes", [{"log": "ln"}, {"log": "db"}, {"log": "db", "gain": 0.02, "offset": 1.0}, {"log": "ln", "gain": -1.0}]
)
def test_the_network_hears_the_same_whatever_the_log(changes: dict[str, Any]) -> None:
    other = dataclasses.replace(SPEC, **changes)
    audio = noise(1, 64 * 20)
    official, converted = build(), build(other)
    a, b = official.hear(dsp.log_mel(audio, SPEC)), converted.hear(dsp.log_mel(audio, other))
    torch.testing.assert_close(b, a, rtol=1e-4, atol=1e-4)
    assert torch.equal(official.hear(a), a)


def test_power_features_span_what_magnitudes_do() -> None:
    power = dataclasses.replace(SPEC, power=2, floor=1e-10)
    silence = torch.full((1, 20, 4), power.silence)
    torch.testing.assert_close(build(power).hear(silence), torch.full((1, 20, 4), -5.0))


@pytest.mark.parametrize(
    "changes", [{}, {"framing": "center"}, {"log": "db", "gain": -0.5, "offset": 3.0}, {"power": 2}]
)
def test_silence_gives_silence(changes: dict[str, Any]) -> None:
    spec = dataclasses.replace(SPEC, **changes)
    silent = torch.full((1, 20, 30), spec.silence)
    assert build(spec).vocode(silent).square().mean().sqrt() < 1e-3
    assert build(spec, gate_silence=False).vocode(silent).square().mean().sqrt() > 1e-3


def test_the_gate_fades_within_the_silent_frames_and_touches_no_other() -> None:
    gated, bare = build(), build(gate_silence=False)
    features = torch.zeros(1, 20, 30)
    features[..., 10:20] = SPEC.silence
    with_gate, without = gated.vocode(features)[0], bare.vocode(features)[0]
    gain = (with_gate / without).reshape(30, 64)
    torch.testing.assert_close(gain[:10], torch.ones(10, 64))
    torch.testing.assert_close(gain[20:], torch.ones(10, 64))
    assert gain[10, 0] > 0.99
    assert gain[19, -1] > 0.99
    assert (gain[10].diff() <= 1e-6).all()
    assert (gain[19].diff() >= -1e-6).all()
    assert gain[10:20].reshape(-1)[32:-32].abs().max() < 1e-12
    assert gain.reshape(-1).diff().abs().max() < math.pi / 64


def test_one_loud_band_is_enough_to_sound() -> None:
    features = torch.full((1, 20, 12), SPEC.silence)
    features[:, 7] = 0.0
    assert torch.equal(build().vocode(features), build(gate_silence=False).vocode(features))


def test_the_result_can_be_used_in_training() -> None:
    made = build().vocode(torch.zeros(1, 20, 8))
    scale = torch.ones(1, requires_grad=True)
    (made * scale).sum().backward()
    assert scale.grad is not None


def test_training_goes_on_after_vocoding() -> None:
    vocoder = build()
    vocoder.vocode(torch.zeros(1, 20, 8))
    vocoder.generator(torch.zeros(1, 20, 8)).square().mean().backward()
    assert all(parameter.grad is not None for parameter in vocoder.generator.parameters())


def test_features_of_another_shape_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"\[B, 20, N\], not \[20, 8\]"):
        build().vocode(torch.zeros(20, 8))
    with pytest.raises(ConfigError, match=r"\[B, 20, N\], not \[1, 80, 8\]"):
        build().vocode(torch.zeros(1, 80, 8))


@pytest.mark.parametrize("framing", ["same", "center", "valid"])
@pytest.mark.parametrize("size", [1, 2, 7, 13, 40, 100])
def test_a_stream_is_what_the_whole_makes(framing: Any, size: int) -> None:
    vocoder = build(dataclasses.replace(SPEC, framing=framing))
    whole = some_features(2, 100)
    expected = vocoder.vocode(whole)
    made = torch.cat(list(vocoder.stream(whole.split(size, dim=-1))), dim=-1)
    assert made.shape == expected.shape
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-5)


def test_a_stream_gives_samples_as_soon_as_the_network_has_heard_enough() -> None:
    vocoder = build()
    arrived = 0

    def frames() -> Iterator[Tensor]:
        nonlocal arrived
        for frame in some_features(1, 30).split(1, dim=-1):
            arrived += 1
            yield frame

    delays = []
    made = 0
    for piece in vocoder.stream(frames()):
        made += piece.shape[-1]
        delays.append(arrived - made // vocoder.spec.hop_length)
    assert delays[:-1] == [vocoder.latency_frames] * (30 - vocoder.generator.context)
    assert delays[-1] == 0


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_is_a_choice_of_the_caller(precision: str) -> None:
    vocoder, given = build(), some_features(1, 60)
    exact = vocoder.vocode(given)
    vocoder.precision = precision
    rough = vocoder.vocode(given)
    assert rough.dtype == torch.float32
    assert 35 < 10 * torch.log10(exact.square().mean() / (rough - exact).square().mean()) < 90
    assert len(rough.unique()) > len(rough.half().unique())  # the samples themselves are finer
    vocoder.precision = "fp32"
    assert torch.equal(vocoder.vocode(given), exact)
