"""Vocoding 10 s and 60 s beside the network as published, turn by turn in one process: whole utterances with weight norm on.

Two threads.

make benchmark ONLY=melgan
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from synthkit.presets import PRESETS
from synthkit.training.engine import seeded
from synthkit_melgan.config import MelGANConfig
from synthkit_melgan.network import Generator
from synthkit_melgan.vocoder import MelGAN

SPEC = PRESETS["melgan"].spec


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize(("seconds", "rounds"), [(10, 7), (60, 3)])
@pytest.mark.benchmark(group="vocoding")
def test_vocode(
    seconds: int, rounds: int, by_turns: Any, published_generator: Callable[[Generator], nn.Module]
) -> None:
    with seeded(1):
        vocoder = MelGAN(MelGANConfig(), SPEC)
    network = published_generator(vocoder.generator)
    mel = torch.randn(1, 80, round(seconds * SPEC.frames_per_second), generator=torch.Generator().manual_seed(1)) - 1
    by_turns(lambda: vocoder.vocode(mel), torch.no_grad()(lambda: network(mel)), rounds)
