"""cMelGAN: clips per second, and a training step beside the published networks written plainly, turn by turn in one process.

One thread. The published critic pads its second layer by 393 on each side and strides over mostly zeros; the published generator
constructs five 1-D stages that it never calls. Memory is the peak of what a step keeps for its backward pass, by
`torch.autograd.graph.saved_tensors_hooks`: the same on any machine.

make benchmark ONLY=cmelgan
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from synthkit.interfaces import Request
from synthkit.presets import PRESETS
from synthkit.specs import FeatureSpec
from synthkit.training.engine import seeded
from synthkit_cmelgan.config import CMelGANConfig
from synthkit_cmelgan.maps import MapCritic, MapGenerator
from synthkit_cmelgan.model import CMelGAN

SPEC = PRESETS["melgan"].spec
MAPS = FeatureSpec(sample_rate=22050, n_fft=2048, hop_length=864, n_mels=256, floor=1e-5)
LABELS = ("classical", "edm", "lofi")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class PublishedCritic(nn.Module):
    """The published sizes, as plainly as they are published: padding keeps layer 2 at 256 x 256 although it strides by 4."""

    def __init__(self) -> None:
        super().__init__()
        layers = [(2, 16, 21, 1, 1, 10), (16, 32, 22, 4, 4, 393), (32, 64, 22, 4, 16, 9)]
        layers += [(64, 128, 22, 4, 16, 9), (128, 256, 22, 4, 32, 9), (256, 832, 6, 2, 64, 1)]
        self.plane = nn.Embedding(3, 256 * 256)
        self.layers = nn.Sequential(
            *(
                module
                for inputs, outputs, kernel, stride, groups, padding in layers
                for module in (
                    nn.utils.parametrizations.weight_norm(
                        nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups)
                    ),
                    nn.LeakyReLU(0.2),
                )
            )
        )
        self.score = nn.Linear(832, 1)

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        stacked = torch.stack([features, self.plane(labels).view(-1, 256, 256)], dim=1)
        score: Tensor = self.score(self.layers(stacked).flatten(1)).sigmoid()
        return score


def model(design: str) -> CMelGAN:
    config = CMelGANConfig.model_validate({} if design == "path" else {"preset": "published"})
    with seeded(1):
        return CMelGAN(config, SPEC if design == "path" else MAPS, LABELS)


@pytest.mark.parametrize("design", ["path", "published"])
@pytest.mark.parametrize("count", [1, 16])
@pytest.mark.benchmark(group="ten seconds of features")
def test_generate_mel(design: str, count: int, benchmark: Any) -> None:
    one = model(design)
    frames = round(10 * one.spec.frames_per_second)
    request = Request(frames=frames, count=count, labels=LABELS[:1] * count, seeds=tuple(range(count)))
    benchmark.pedantic(lambda: one.generate(request), rounds=3 if design == "path" else 2, warmup_rounds=1)
    print(f"\n{design}, batch {count}: {count / benchmark.stats.stats.min:.2f} clips of 10 s per second (mel)")


@pytest.mark.parametrize("count", [1, 16])
@pytest.mark.benchmark(group="ten seconds of sound")
def test_generate_wav(count: int, benchmark: Any) -> None:
    """The same clips through a small MelGAN, which is what a vocoder adds."""
    from synthkit_melgan.config import MelGANConfig
    from synthkit_melgan.vocoder import MelGAN

    one = model("path")
    with seeded(1):
        vocoder = MelGAN(MelGANConfig(channels=8), SPEC)
    frames = round(10 * SPEC.frames_per_second)
    features = one.generate(Request(frames=frames, count=count, labels=LABELS[:1] * count, seeds=tuple(range(count))))
    benchmark.pedantic(lambda: vocoder.vocode(features), rounds=3, warmup_rounds=1)
    print(f"\nbatch {count}: {count / benchmark.stats.stats.min:.2f} clips of 10 s per second (wav of mel)")


def critic_step(critic: Callable[[Tensor, Tensor], Tensor], features: Tensor, labels: Tensor) -> int:
    """Forward and backward; returns the bytes that are kept between the two."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        score = critic(features, labels)
    score.square().mean().backward()  # type: ignore[no-untyped-call]
    return sum(kept.values())


def test_a_critic_step_beside_the_published_one() -> None:
    """The same parameters and the same map; theirs computes a layer of 256 x 256 of which a sixteenth sees data."""
    with seeded(1):
        published, ours = PublishedCritic(), MapCritic(3, 256, 256)
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in published.parameters()) == 1_201_345
    features, labels = torch.randn(2, 256, 256), torch.tensor([0, 2])
    critics: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "published": published,
        "ours": lambda x, y: ours(x, y)[0][-1],
    }
    seconds: dict[str, list[float]] = {name: [] for name in critics}
    memory: dict[str, int] = {}
    for _ in range(4):
        for name, critic in critics.items():
            began = time.perf_counter()
            memory[name] = critic_step(critic, features, labels)
            seconds[name].append(time.perf_counter() - began)
    step, kept = (min(seconds["published"]) / min(seconds["ours"]), memory["published"] / memory["ours"])
    print(
        f"\ncritic: {min(seconds['ours']):.2f} s a step of 2 maps, {step:.1f} times as fast as published, {kept:.1f} times less memory"
    )
    assert step > 2
    assert kept > 1.5


def test_a_generator_step_has_no_dead_parameters_to_carry() -> None:
    """The published code's optimiser holds 24.0 million parameters, of which 10.8 million never take a gradient."""
    with seeded(1):
        network = MapGenerator(3, 4)
    noise, labels = torch.randn(2, 1, 128), torch.eye(3)[:2]
    began = time.perf_counter()
    network(torch.zeros(2, 0), noise, labels).square().mean().backward()
    seconds = time.perf_counter() - began
    live = sum(p.numel() for p in network.parameters() if p.grad is not None)
    print(
        f"\ngenerator: {seconds:.2f} s a step of 2 maps, {live:,} parameters, all of them learning; published: 24,016,692"
    )
    assert live == 13_177_652
