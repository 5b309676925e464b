"""The networks against the paper's facts: sizes, lengths, reach, initial weights."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.nn.utils import parametrize

from synthkit.errors import ConfigError
from synthkit.specs import FeatureSpec
from synthkit.training.engine import seeded
from synthkit_melgan.config import CriticConfig, MelGANConfig, fitting_ratios
from synthkit_melgan.network import Critic, Generator, ScaleCritic

RATIOS = [(8, 8, 2, 2), (5, 5, 3), (3, 2), (7,), (2, 2, 2), (2, 3, 5, 7)]


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def fuse(network: nn.Module) -> None:
    for module in network.modules():
        if parametrize.is_parametrized(module):
            parametrize.remove_parametrizations(module, "weight")


def test_sizes_are_those_of_the_official_networks() -> None:
    generator = Generator()
    assert count(generator) == 4_266_050
    assert count(Generator(n_mels=128)) == 4_438_082
    fuse(generator)
    assert count(generator) == 4_260_257
    assert count(Critic()) == 16_924_086


@pytest.mark.parametrize("ratios", RATIOS)
def test_any_ratios_make_exactly_their_product_of_a_frame(ratios: tuple[int, ...]) -> None:
    network = Generator(n_mels=5, channels=2, ratios=ratios)
    hop = math.prod(ratios)
    for frames in (network.least_frames, network.least_frames + 1, 11):
        assert network(torch.randn(2, 5, frames)).shape == (2, 1, frames * hop)
    with pytest.raises(RuntimeError, match="Padding size"):
        network(torch.randn(2, 5, network.least_frames - 1))


@pytest.mark.parametrize("ratios", RATIOS)
def test_context_is_how_far_a_frame_reaches(ratios: tuple[int, ...]) -> None:
    with seeded(0):
        network = Generator(n_mels=4, channels=4, ratios=ratios).double()
    frames, place = 61, 30
    mel = torch.randn(1, 4, frames, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    changed = mel.clone()
    changed[..., place] += 1
    with torch.no_grad():
        touched = (network(changed) != network(mel)).view(frames, -1).any(1).nonzero().flatten() - place
    assert max(-int(touched.min()), int(touched.max())) == network.context


def test_official_reach_is_at_most_seven_frames() -> None:
    assert Generator().context <= 7


def test_initial_weights_are_pytorchs_defaults() -> None:
    with seeded(3):
        generator = Generator()
    for convolution in (generator.model[1], generator.model[24]):
        bound = 1 / math.sqrt(convolution.in_channels * convolution.kernel_size[0])
        weight = convolution.weight.detach()
        assert weight.abs().max() <= bound * (1 + 1e-5)
        assert weight.std() == pytest.approx(bound / math.sqrt(3), rel=0.1)


def test_every_convolution_has_weight_norm_over_all_but_the_first_axis() -> None:
    for network in (Generator(channels=2), Critic(channels=4, max_channels=16)):
        for module in network.modules():
            if isinstance(module, nn.Conv1d | nn.ConvTranspose1d):
                norm, direction = module.parametrizations.weight.original0, module.parametrizations.weight.original1
                assert norm.shape == (direction.shape[0], 1, 1)


def test_critic_with_channels_that_never_saturate() -> None:
    """The official layer of kernel 5 takes the wrong number of channels here."""
    layers = ScaleCritic(channels=4, layers=2, factor=2, max_channels=1024)(torch.randn(2, 1, 64))
    assert [layer.shape[1] for layer in layers] == [4, 8, 16, 32, 1]
    assert [layer.shape[2] for layer in layers] == [64, 32, 16, 16, 16]


def test_each_scale_hears_half_the_rate_and_no_padding() -> None:
    critic = Critic(channels=4, layers=1, max_channels=8)
    judged = critic(torch.randn(1, 1, 256))
    assert [scale[0].shape[-1] for scale in judged] == [256, 128, 64]
    assert torch.equal(critic.halve(torch.ones(1, 1, 32)), torch.ones(1, 1, 16))


@pytest.mark.parametrize("hop", [2, 30, 128, 160, 192, 200, 240, 256, 300, 441, 512, 800, 864, 1024, 1280])
def test_suggested_ratios_fit(hop: int) -> None:
    spec = FeatureSpec(sample_rate=22050, n_fft=2048, hop_length=hop, n_mels=8)
    MelGANConfig(ratios=tuple(fitting_ratios(hop))).check_spec(spec)


def test_a_hop_that_does_not_fit_is_said_with_ratios_that_would() -> None:
    spec = FeatureSpec(sample_rate=22050, n_fft=2048, hop_length=512, n_mels=8)
    with pytest.raises(ConfigError, match=r"make 256 .* hop_length is 512; ratios \[8, 8, 4, 2\] fit it"):
        MelGANConfig().check_spec(spec)
    with pytest.raises(ConfigError, match="choose another hop_length"):
        MelGANConfig().check_spec(FeatureSpec(sample_rate=22050, n_fft=2048, hop_length=509, n_mels=8))


def test_linear_features_are_refused() -> None:
    spec = FeatureSpec(sample_rate=22050, n_fft=1024, hop_length=256, n_mels=8, log="none", floor=0.0)
    with pytest.raises(ConfigError, match="log10"):
        MelGANConfig().check_spec(spec)


def test_a_critic_whose_groups_do_not_divide_is_refused() -> None:
    with pytest.raises(ValidationError, match="must be a multiple of"):
        CriticConfig(channels=24, factor=4, max_channels=100)
