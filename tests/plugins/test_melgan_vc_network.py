"""The published networks: counts, shapes, spectral norms; and what a network must not depend on."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from synthkit.training.engine import seeded
from synthkit_melgan_vc.config import MelGANVCConfig
from synthkit_melgan_vc.network import Critic, Generator, Siamese
from synthkit_melgan_vc.presets import PRESETS
from synthkit_melgan_vc.spectral import SpectralNorm, improve, spectral
from synthkit_melgan_vc.unet import PatchCritic, PooledSiamese, UNetGenerator


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_published_melgan_vc_has_the_published_sizes() -> None:
    generator, critic, siamese = Generator(192), Critic(192, 72), Siamese(192, 24)
    convolutions = 256 * (192 * 3 + 256 * 9 + 256 * 7 + 256 * 7 + 512 * 9) + 512 * 192
    assert convolutions == 2_932_736  # the paper's code has as many weights in convolutions
    assert count(generator) == convolutions + 1 + 4 * 2 * 256  # a bias, and four batch normalisations
    assert count(critic) == 512 * (192 * 3 + 512 * 9 + 512 * 7) + 512 * 18 + 1
    assert count(siamese) == 256 * (192 * 3 + 256 * 9 + 256 * 7) + 3 * 2 * 256 + 256 * 6 * 128 + 128


def test_the_published_melgan_vc_has_the_published_shapes() -> None:
    x = torch.rand(2, 192, 24) * 2 - 1
    made = Generator(192)(x)
    assert made.shape == x.shape
    assert made.abs().max().item() < 1
    assert Siamese(192, 24)(x).shape == (2, 128)
    assert Critic(192, 72)(torch.cat([x, x, x], dim=2))[0][-1].shape == (2, 1)


def test_the_travelgan_of_starting_project_001_has_its_sizes() -> None:
    generator, critic, siamese = UNetGenerator(), PatchCritic(), PooledSiamese()
    kernels = 16 * (64 + 64 * 128 + 128 * 256 + 256 * 512 + 512 * 512)  # down
    kernels += 16 * (512 * 512 + 1024 * 256 + 512 * 128 + 256 * 64 + 128)  # and up
    assert count(generator) == kernels + 1 + 2 * (128 + 256 + 512) + 2 * (512 + 256 + 128 + 64)
    down = 16 * (64 + 64 * 128 + 128 * 256) + 64
    assert count(critic) == down + 2 * (128 + 256) + 16 * 256 + 1
    assert count(siamese) == down + 16 * 256 * 1000 + 1000
    x = torch.rand(1, 128, 128) * 2 - 1
    made = generator(x)
    assert made.shape == x.shape
    assert made.abs().max().item() < 1
    assert critic(x)[0][-1].shape == (1, 1, 13, 13)
    assert siamese(x).shape == (1, 1000)  # one vector of a picture: there the map of 13 x 13 was never pooled


def test_presets_say_what_was_published() -> None:
    vc, travel = PRESETS["melgan-vc"], PRESETS["travelgan"]
    assert (vc.piece_frames, vc.pieces, vc.channels, vc.critic_channels, vc.embedding) == (24, 3, 256, 512, 128)
    assert (vc.travel_weight, vc.margin, vc.margin_power, vc.identity_weight) == (10, 2, 2, 0.5)
    assert (vc.every, vc.betas, vc.norm, vc.critic_norm, vc.siamese_spectral) == (
        3,
        (0.5, 0.999),
        "batch",
        "none",
        False,
    )
    assert (travel.piece_frames, travel.channels, travel.embedding) == (128, 64, 1000)
    assert (travel.travel_weight, travel.margin, travel.margin_power) == (10, 10, 1)


@pytest.mark.parametrize("make", [lambda: nn.Linear(5, 9), lambda: nn.Conv1d(4, 7, 3), lambda: nn.Conv2d(3, 8, 4)])
def test_a_spectral_norm_is_one_after_some_steps(make: Any) -> None:
    with seeded(1):
        layer = spectral(make())
    with torch.no_grad():
        layer.parametrizations.weight.original.mul_(7)
    for _ in range(100):
        improve(layer)
    assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=1e-3)


def test_a_spectral_norm_changes_with_steps_only() -> None:
    """torch's changes with every forward in training mode: then a batch in pieces has other weights than the whole."""
    with seeded(1):
        layer = spectral(nn.Linear(5, 9)).train()
    with torch.no_grad():
        layer.parametrizations.weight.original[0, 0] += 3
    first = layer.weight.clone()
    assert torch.equal(layer.weight, first)
    assert torch.equal(layer.eval().weight, first)
    improve(layer)
    assert not torch.equal(layer.weight, first)


def test_the_gradient_of_a_spectral_norm_is_that_of_dividing_by_the_singular_value() -> None:
    with seeded(2):
        weight = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
        direction = torch.randn(4, 6, dtype=torch.float64)
    norm = SpectralNorm(weight.detach()).double()
    for _ in range(500):
        norm.improve(weight.detach())
    (found,) = torch.autograd.grad((norm(weight) * direction).sum(), weight)
    (wanted,) = torch.autograd.grad((weight / torch.linalg.matrix_norm(weight, 2) * direction).sum(), weight)
    assert torch.allclose(found, wanted, atol=1e-8)


@pytest.mark.parametrize("family", [Generator(16, 8, "item"), UNetGenerator(4, "item")], ids=["columns", "pictures"])
def test_pieces_of_a_batch_do_not_know_each_other(family: nn.Module) -> None:
    frames = 32
    one, other = torch.rand(2, 16 if isinstance(family, Generator) else 32, frames).split(1)
    assert torch.allclose(family(torch.cat([one, other]))[:1], family(one), atol=1e-6)


def test_a_residual_generator_of_nothing_is_the_identity_above_the_floor() -> None:
    network: Generator = copy.deepcopy(Generator(16, 8, "none", residual=True, normalised=False))
    nn.init.zeros_(network.last.weight)
    x: Tensor = torch.randn(1, 16, 24) * 5
    assert torch.allclose(network(x), x.clamp(min=-1), atol=1e-6)


def test_norms_are_those_that_the_settings_want() -> None:
    system = MelGANVCConfig(source="a", target="b", preset="melgan-vc", norm="item").system
    assert (system.norm, system.critic_norm, system.siamese_norm) == ("item", "none", "item")
    assert MelGANVCConfig(source="a", target="b", preset="travelgan").system.critic_norm == "batch"
