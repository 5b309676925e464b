"""Sound that comes block by block gives the features and the sound that the whole gives."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from synthkit._stages.streaming import FrameStream, frames_stream, resampled, vocode_stream
from synthkit._stages.synthesis import SpecFeatures, extract, resynthesise
from synthkit.audio import Audio, Stream
from synthkit.errors import AudioError
from synthkit.interfaces import Vocoder
from synthkit.specs import FeatureSpec
from synthkit.training.engine import seeded
from synthkit_melgan.config import MelGANConfig
from synthkit_melgan.vocoder import MelGAN

SPEC = FeatureSpec(sample_rate=8000, n_fft=256, hop_length=64, n_mels=20)
FRAMINGS = ["same", "center", "valid"]


def sound(samples: int, channels: int = 2, sample_rate: int = 8000) -> Audio:
    return Audio(np.random.default_rng(1).uniform(-0.5, 0.5, (channels, samples)), sample_rate)


def in_blocks(audio: Audio, size: int) -> Stream:
    starts = range(0, audio.frames, size)
    return Stream(audio.sample_rate, audio.channels, (audio.samples[:, at : at + size].T for at in starts))


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("size", [1, 63, 64, 1000, 9999])
@pytest.mark.parametrize("samples", [1, 70, 300, 2000])
def test_frames_are_those_of_the_whole(framing: Any, size: int, samples: int) -> None:
    extractor, audio = SpecFeatures(dataclasses.replace(SPEC, framing=framing)), sound(samples)
    expected = extract(extractor, audio)
    frames = FrameStream(extractor, in_blocks(audio, size))
    made = torch.cat(list(frames), dim=-1)
    assert (frames.samples, frames.ended) == (samples, True)
    assert made.shape == expected.values.shape
    torch.testing.assert_close(made, expected.values, rtol=0, atol=1e-5)


def test_a_frame_is_given_as_soon_as_its_window_is_full() -> None:
    taken = 0

    def blocks() -> Any:
        nonlocal taken
        for block in in_blocks(sound(2000), 64):
            taken += len(block)
            yield block

    given = 0
    for piece in FrameStream(SpecFeatures(SPEC), blocks()):
        given += piece.shape[-1]
        if taken < 2000:
            assert (given - 1) * 64 - 96 + 256 <= taken < given * 64 - 96 + 256


@pytest.mark.parametrize("rate", [8000, 11025, 48000])
@pytest.mark.parametrize("size", [1, 17, 500])
def test_another_rate_is_that_of_the_whole(rate: int, size: int) -> None:
    audio = sound(500)
    made = np.concatenate(list(resampled(in_blocks(audio, size), rate)))
    expected = audio.resample(rate).samples.T
    assert made.shape == expected.shape
    np.testing.assert_allclose(made, expected, atol=2e-6)


def melgan(framing: Any = "same") -> MelGAN:
    with seeded(1):
        return MelGAN(MelGANConfig(channels=4, ratios=(8, 4, 2)), dataclasses.replace(SPEC, framing=framing))


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize(("size", "at_least"), [(37, 1), (640, 5), (4096, 64)])
def test_the_sound_is_that_of_the_whole(framing: Any, size: int, at_least: int) -> None:
    audio, vocoder = sound(5001, sample_rate=12000), melgan(framing)
    extractor = SpecFeatures(vocoder.spec)
    expected = resynthesise(vocoder, extract(extractor, audio))
    made = np.concatenate(list(vocode_stream(vocoder, extractor, in_blocks(audio, size), at_least=at_least)))
    assert made.shape == expected.samples.T.shape
    np.testing.assert_allclose(made, expected.samples.T, atol=1e-5)


def test_frames_from_elsewhere() -> None:
    vocoder = melgan()
    features = extract(SpecFeatures(SPEC), sound(3000, channels=1)).values
    made = np.concatenate(list(frames_stream(vocoder, features.split(3, dim=-1))))
    np.testing.assert_allclose(made[:, 0], vocoder.vocode(features)[0].numpy(), atol=1e-5)


def test_no_sound_and_no_number_are_said() -> None:
    with pytest.raises(AudioError, match="without samples"):
        list(FrameStream(SpecFeatures(SPEC), []))

    class Broken(Vocoder):
        spec = SPEC

        def vocode(self, features: torch.Tensor, **rest: Any) -> torch.Tensor:
            return torch.full((len(features), self.spec.samples(features.shape[-1])), torch.nan)

    with pytest.raises(AudioError, match="not finite"):
        list(vocode_stream(Broken(), SpecFeatures(SPEC), in_blocks(sound(500), 100)))
