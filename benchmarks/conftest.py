"""What the benchmarks of MelGAN share: the published code written plainly, and two things timed turn by turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from synthkit import dsp
from synthkit.presets import PRESETS
from synthkit.training.engine import seeded
from synthkit_melgan.network import Critic, Generator

SPEC = PRESETS["melgan"].spec
ByTurns = Callable[[Callable[[], object], Callable[[], object], int], None]
Step = Callable[[Tensor, Tensor], list[float]]


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def by_turns(benchmark: BenchmarkFixture) -> ByTurns:
    """Time `ours` as the benchmark and `published` before each round of it; the fastest round of each counts.

    What else the machine does can only add to a round.
    """

    def run(ours: Callable[[], object], published: Callable[[], object], rounds: int) -> None:
        seconds: list[float] = []

        def turn() -> None:
            start = time.perf_counter()
            published()
            seconds.append(time.perf_counter() - start)

        benchmark.pedantic(ours, setup=turn, rounds=rounds, warmup_rounds=1)
        baseline, fastest = min(seconds[1:]), benchmark.stats.stats.min
        benchmark.extra_info["published, s"] = round(baseline, 3)
        benchmark.extra_info["times as fast as published"] = round(baseline / fastest, 2)
        print(
            f"\n{benchmark.name}: {fastest:.3f} s, published {baseline:.3f} s, {baseline / fastest:.2f} times as fast"
        )

    return run


class Block(nn.Module):
    """`ResnetBlock` of `mel2wav/modules.py`."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.LeakyReLU(0.2),
            nn.ReflectionPad1d(dilation),
            weight_norm(nn.Conv1d(width, width, 3, dilation=dilation)),
            nn.LeakyReLU(0.2),
            weight_norm(nn.Conv1d(width, width, 1)),
        )
        self.shortcut = weight_norm(nn.Conv1d(width, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.block(x)


def as_published(ours: Generator) -> nn.Module:
    """`Generator(80, 32, 3)` of `mel2wav/modules.py`, with the weights of ours: `[B, 80, N]` to `[B, 1, 256 N]`."""
    layers: list[nn.Module] = [nn.ReflectionPad1d(3), weight_norm(nn.Conv1d(80, 512, 7))]
    width = 512
    for ratio in (8, 8, 2, 2):
        up = nn.ConvTranspose1d(width, width // 2, 2 * ratio, ratio, ratio // 2)
        layers += [nn.LeakyReLU(0.2), weight_norm(up)]
        width //= 2
        layers += [Block(width, dilation) for dilation in (1, 3, 9)]
    layers += [nn.LeakyReLU(0.2), nn.ReflectionPad1d(3), weight_norm(nn.Conv1d(width, 1, 7)), nn.Tanh()]
    network = nn.Sequential(*layers)
    network.load_state_dict(ours.model.state_dict())
    return network


@pytest.fixture
def published_generator() -> Callable[[Generator], nn.Module]:
    return as_published


@pytest.fixture
def published_step() -> Step:
    """One step of `scripts/train.py`, line by line, on new networks: `(mel, audio)` to the four numbers it logs."""
    with seeded(1):
        generator, critic = as_published(Generator()), Critic()
    options = {"lr": 1e-4, "betas": (0.5, 0.9)}
    generator_optimiser = torch.optim.Adam(generator.parameters(), **options)
    critic_optimiser = torch.optim.Adam(critic.parameters(), **options)

    def step(mel: Tensor, audio: Tensor) -> list[float]:
        made = generator(mel)
        with torch.no_grad():
            mel_error = (dsp.log_mel(made[:, 0].detach(), SPEC) - mel).abs().mean().item()
        said_of_made, said_of_real = critic(made.detach()), critic(audio)
        critic_loss = torch.zeros(())
        for scale in said_of_made:
            critic_loss = critic_loss + nn.functional.relu(1 + scale[-1]).mean()
        for scale in said_of_real:
            critic_loss = critic_loss + nn.functional.relu(1 - scale[-1]).mean()
        critic.zero_grad()
        critic_loss.backward()
        critic_optimiser.step()

        said_of_made = critic(made)
        loss, matching = torch.zeros(()), torch.zeros(())
        for scale in said_of_made:
            loss = loss - scale[-1].mean()
        for made_scale, real_scale in zip(said_of_made, said_of_real, strict=True):
            for made_layer, real_layer in zip(made_scale[:-1], real_scale[:-1], strict=True):
                matching = matching + nn.functional.l1_loss(made_layer, real_layer.detach()) * 4 / 5 / 3
        generator.zero_grad()
        (loss + 10 * matching).backward()
        generator_optimiser.step()
        return [critic_loss.item(), loss.item(), matching.item(), mel_error]

    return step
