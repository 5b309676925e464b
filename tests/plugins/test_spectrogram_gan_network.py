"""The published networks: their sizes, their shapes, and that nothing in them is idle."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from synthkit.training.engine import seeded
from synthkit_spectrogram_gan.architectures import ARCHITECTURES, Name, Pair
from synthkit_spectrogram_gan.network import Critic, Generator, one_hot

LABELS = 10


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def sizes(network: nn.Module, kind: type[nn.Module], *inputs: torch.Tensor) -> list[tuple[int, ...]]:
    """The shapes that the layers of a kind give, in order, without the batch."""
    seen: list[tuple[int, ...]] = []
    hooks = [
        module.register_forward_hook(lambda _, __, out: seen.append(tuple(out.shape[1:])))
        for module in network.modules()
        if isinstance(module, kind)
    ]
    network(*inputs)
    for hook in hooks:
        hook.remove()
    return seen


@pytest.mark.parametrize(
    ("name", "labels", "generator", "critic"),
    [
        ("dcgan", 0, 3_574_656, 2_763_520),
        ("cgan", LABELS, 4_436_609, 8_466_177),
        ("mel-patch", 0, 253_913, 73_485),
    ],
)
def test_the_published_networks_have_the_published_sizes(name: Name, labels: int, generator: int, critic: int) -> None:
    architecture = ARCHITECTURES[name]
    assert architecture.conditional == bool(labels)
    assert parameters(Generator(architecture, labels)) == generator
    assert parameters(Critic(architecture, labels)) == critic


@pytest.mark.parametrize(
    ("name", "rises", "falls"),
    [
        (
            "dcgan",
            [(512, 4, 4), (256, 8, 8), (128, 16, 16), (64, 32, 32), (1, 64, 64)],
            [(64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4)],
        ),
        ("cgan", [(128, 32, 32), (256, 64, 64), (1, 64, 64)], [(64, 32, 32), (128, 16, 16)]),
        (
            "mel-patch",
            [(256, 3, 2), (128, 7, 4), (32, 15, 8), (8, 32, 17), (1, 64, 16)],
            # The last is 1 x 1, whatever the project's README says.
            [(4, 32, 17), (16, 15, 8), (32, 7, 4), (64, 3, 2), (128, 1, 1)],
        ),
    ],
)
def test_the_layers_have_the_published_shapes(
    name: Name, rises: list[tuple[int, ...]], falls: list[tuple[int, ...]]
) -> None:
    architecture = ARCHITECTURES[name]
    labels = LABELS if architecture.conditional else 0
    told = (one_hot(torch.tensor([3, 4]), LABELS),) if labels else ()
    noise, maps = torch.randn(2, architecture.latent), torch.randn(2, *architecture.size)
    assert sizes(Generator(architecture, labels), nn.ConvTranspose2d, noise, *told) == rises
    assert sizes(Critic(architecture, labels), nn.Conv2d, maps, *told) == falls


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("labels", [0, 3])
def test_every_parameter_learns_and_every_input_counts(name: Name, labels: int) -> None:
    architecture = replace(ARCHITECTURES[name].scaled(0.1), dropout=0.0)
    with seeded(1):
        generator, critic = Generator(architecture, labels), Critic(architecture, labels)
        noise = torch.randn(4, architecture.latent, requires_grad=True)
    told = one_hot(torch.tensor([0, 1, 2, 0]), 3).requires_grad_() if labels else None
    maps = generator(noise, told)
    assert maps.shape == (4, *architecture.size)
    ((score,),) = critic(maps, told)
    assert score.shape == (4, 1)
    score.sum().backward()
    inputs = [noise] if told is None else [noise, told]
    for place, tensor in enumerate([*inputs, *generator.parameters(), *critic.parameters()]):
        assert tensor.grad is not None, place
        assert tensor.grad.abs().max() > 0, place


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_critic_judges_a_map_by_its_label(name: Name) -> None:
    """Not the map alone, nor the label alone: what one label adds to a score depends on the map."""
    architecture = replace(ARCHITECTURES[name], dropout=0.0, norm="none", initial=None)
    with seeded(2):
        critic = Critic(architecture, 3).eval()
        maps = torch.randn(2, *architecture.size)
    said = torch.stack([critic(maps, one_hot(torch.full((2,), label), 3))[0][0][:, 0] for label in range(3)])
    gains = said - said[:1]
    assert (gains[1:, 0] - gains[1:, 1]).abs().min() > 1e-4


@pytest.mark.parametrize(("name", "most"), [("dcgan", 1.0), ("cgan", 1.0), ("mel-patch", None)])
def test_what_the_last_layer_can_reach_holds_the_features_between_minus_one_and_one(
    name: Name, most: float | None
) -> None:
    last = Generator(ARCHITECTURES[name].scaled(0.1), 1).rise[-1]
    reached = last(torch.linspace(-30, 30, 1001))
    assert float(reached.min()) <= -0.999
    assert float(reached.max()) >= 0.999
    assert most is None or float(reached.max()) <= most


@pytest.mark.parametrize(("name", "deviation"), [("dcgan", 0.02), ("mel-patch", 0.02)])
def test_first_weights_are_normal(name: Name, deviation: float) -> None:
    with seeded(3):
        networks = (Generator(ARCHITECTURES[name]), Critic(ARCHITECTURES[name]))
    kinds = nn.Conv2d | nn.ConvTranspose2d
    found = [it.weight for network in networks for it in network.modules() if isinstance(it, kinds)]
    for weight in (weight for weight in found if weight.numel() > 5000):
        assert float(weight.detach().std()) == pytest.approx(deviation, rel=0.05)


def test_memory_layout_changes_nothing() -> None:
    """Maps lie with their channels side by side, which the plain layers know nothing of."""
    architecture = ARCHITECTURES["dcgan"].scaled(0.1)
    with seeded(4):
        generator, critic = Generator(architecture).eval(), Critic(architecture).eval()
        noise = torch.randn(3, architecture.latent)
    maps = generator.rise(noise[:, :, None, None])
    assert torch.allclose(generator(noise), maps[:, 0], atol=1e-6)
    score = critic.score(critic.fall(critic.first(maps)).flatten(1))
    assert torch.allclose(critic(maps[:, 0])[0][0], score, atol=1e-5)


@pytest.mark.parametrize(("width", "channels"), [(1.0, 512), (0.25, 128), (0.001, 1)])
def test_width_scales_channels_and_never_the_map(width: float, channels: int) -> None:
    scaled = ARCHITECTURES["dcgan"].scaled(width)
    assert scaled.rises[0].channels == scaled.falls[-1].channels == channels
    size: Pair = (1, 1)
    for layer in scaled.rises:
        size = layer.rise(size)
    assert (scaled.rises[-1].channels, size) == (1, scaled.size)
