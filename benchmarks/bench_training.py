"""A training step of MelGAN (16 crops of 8,192 samples) beside the step of the published code, turn by turn in one process.

The published step computes gradients for the critic that it throws away, waits for four numbers, and keeps its sound in `[B, C, T]`.
It is float32, as published, also beside our bf16. Two threads.

make benchmark ONLY=training
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from synthkit import dsp
from synthkit.interfaces import Batch
from synthkit.presets import PRESETS
from synthkit.training.average import Average
from synthkit.training.engine import Engine, Numerics, seeded
from synthkit_melgan.config import MelGANConfig, MelGANObjectiveConfig
from synthkit_melgan.objective import MelGANObjective
from synthkit_melgan.vocoder import MelGAN

SPEC = PRESETS["melgan"].spec


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.benchmark(group="training step, 16 x 8192 samples")
def test_step(precision: Any, by_turns: Any, published_step: Any) -> None:
    audio = torch.rand(16, 8192, generator=torch.Generator().manual_seed(1)) - 0.5
    batch = Batch(audio=audio, features=dsp.log_mel(audio, SPEC))
    engine = Engine("cpu", Numerics(precision=precision))
    with seeded(1):
        objective = MelGANObjective(MelGANObjectiveConfig(), MelGAN(MelGANConfig(), SPEC), engine)
    by_turns(lambda: objective.step(batch), lambda: published_step(batch.features, audio[:, None]), 5)


@pytest.mark.benchmark(group="running mean of weights")
def test_average_of_the_generator(benchmark: Any) -> None:
    average = Average(MelGAN(MelGANConfig(), SPEC).networks, 0.999)
    benchmark(average.update)
