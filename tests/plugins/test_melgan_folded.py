"""The generator as it runs when vocoding: the same function as the network that learns, and always of its present weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from synthkit.specs import FeatureSpec
from synthkit.training.engine import seeded
from synthkit_melgan.config import MelGANConfig
from synthkit_melgan.folded import FoldedGenerator
from synthkit_melgan.network import Generator
from synthkit_melgan.vocoder import MelGAN

SPEC = FeatureSpec(sample_rate=8000, n_fft=256, hop_length=64, n_mels=20)


def features(items: int, bands: int, frames: int) -> torch.Tensor:
    return torch.randn(items, bands, frames, generator=torch.Generator().manual_seed(2)) - 2


@pytest.mark.parametrize("ratios", [(8, 8, 2, 2), (4, 3), (5, 7), (2, 9, 2), (16,)])
@pytest.mark.parametrize("layers", [1, 3])
def test_it_is_the_network_whatever_its_ratios(ratios: tuple[int, ...], layers: int) -> None:
    with seeded(1):
        network = Generator(20, 4, ratios, layers).eval()
    mel = features(3, 20, max(network.least_frames, 11))
    with torch.inference_mode():
        made, expected = FoldedGenerator(network)(mel), network(mel)
    assert made.shape == expected.shape
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-6)
    assert expected.std() > 1e-4


def test_the_published_size_in_both_precisions() -> None:
    with seeded(1):
        network = Generator().eval()
    mel = features(1, 80, 40)
    with torch.inference_mode():
        expected, exact = network(mel), FoldedGenerator(network)(mel)
        rough = FoldedGenerator(network, torch.bfloat16)(mel)
    torch.testing.assert_close(exact, expected, rtol=0, atol=1e-5)
    assert rough.dtype == torch.float32
    noise = (rough - expected).square().mean()
    assert 10 * torch.log10(expected.var() / noise) > 30  # published measurements: about 35 dB with trained weights


def vocoder() -> MelGAN:
    with seeded(1):
        return MelGAN(MelGANConfig(channels=4, ratios=(8, 4, 2), gate_silence=False), SPEC)


@pytest.mark.parametrize(
    "optimiser", [lambda p: torch.optim.Adam(p, 0.1, fused=True), lambda p: torch.optim.SGD(p, 0.1)]
)
def test_a_step_of_training_is_heard_at_once(optimiser: Any) -> None:
    made = vocoder()
    adam = optimiser(made.generator.parameters())
    before = made.vocode(features(1, 20, 12))
    assert torch.equal(made.vocode(features(1, 20, 12)), before)
    made.generator(features(1, 20, 12)).square().mean().backward()
    adam.step()
    after = made.vocode(features(1, 20, 12))
    assert (after - before).abs().max() > 1e-3


def test_loaded_weights_are_heard_at_once() -> None:
    made, other = vocoder(), vocoder()
    with torch.no_grad():
        for weight in other.generator.parameters():
            weight.add_(0.05)
    expected = other.vocode(features(1, 20, 12))
    assert not torch.allclose(made.vocode(features(1, 20, 12)), expected, atol=1e-3)
    made.generator.load_state_dict(other.generator.state_dict())
    assert torch.equal(made.vocode(features(1, 20, 12)), expected)
