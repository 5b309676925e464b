"""MelGAN beside the official code, turn by turn in one process: one training step, and vocoding 10 s and 60 s.

The baseline is the official network used as published: whole utterances with weight norm on, and a training step that
computes gradients for the critic that it then throws away. Two threads.

make benchmark ONLY=melgan
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor, nn

from synthkit import dsp
from synthkit.interfaces import Batch
from synthkit.presets import PRESETS
from synthkit.training.engine import Engine, seeded
from synthkit_melgan.config import MelGANConfig, MelGANObjectiveConfig
from synthkit_melgan.network import Critic, Generator
from synthkit_melgan.objective import MelGANObjective
from synthkit_melgan.vocoder import MelGAN

SPEC = PRESETS["melgan"].spec


@pytest.fixture(scope="module", autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def by_turns(
    benchmark: BenchmarkFixture, ours: Callable[[], object], official: Callable[[], object], rounds: int
) -> None:
    """Time `ours` as the benchmark and `official` before each of its rounds."""
    seconds: list[float] = []

    def turn() -> None:
        start = time.perf_counter()
        official()
        seconds.append(time.perf_counter() - start)

    benchmark.pedantic(ours, setup=turn, rounds=rounds, warmup_rounds=1)
    baseline, median = statistics.median(seconds[1:]), benchmark.stats.stats.median
    benchmark.extra_info["official, s"] = round(baseline, 3)
    benchmark.extra_info["times as fast as official"] = round(baseline / median, 2)
    print(f"\n{benchmark.name}: {median:.3f} s, official {baseline:.3f} s, {baseline / median:.2f} times as fast")


def official_step(generator: Generator, critic: Critic) -> Callable[[Tensor, Tensor], list[float]]:
    """One step of `scripts/train.py`, line by line."""
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


@pytest.mark.benchmark(group="training step, 16 x 8192 samples")
def test_training_step(benchmark: BenchmarkFixture) -> None:
    audio = torch.rand(16, 8192, generator=torch.Generator().manual_seed(1)) - 0.5
    batch = Batch(audio=audio, features=dsp.log_mel(audio, SPEC))
    with seeded(1):
        objective = MelGANObjective(MelGANObjectiveConfig(), MelGAN(MelGANConfig(), SPEC), Engine())
        official = official_step(Generator(), Critic())
    by_turns(benchmark, lambda: objective.step(batch), lambda: official(batch.features, audio[:, None]), rounds=5)


@pytest.mark.parametrize(("seconds", "rounds"), [(10, 7), (60, 3)])
@pytest.mark.benchmark(group="vocoding")
def test_vocode(seconds: int, rounds: int, benchmark: BenchmarkFixture) -> None:
    with seeded(1):
        vocoder = MelGAN(MelGANConfig(), SPEC)
    mel = torch.randn(1, 80, round(seconds * SPEC.frames_per_second), generator=torch.Generator().manual_seed(1)) - 1
    official = torch.no_grad()(lambda: vocoder.generator(mel))
    by_turns(benchmark, lambda: vocoder.vocode(mel), official, rounds)
