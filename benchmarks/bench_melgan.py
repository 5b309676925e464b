"""Vocoding beside the network as published, turn by turn in one process: whole utterances, weight norm on, no gradient.

Two threads. Told too: the share of the machine's own matrix products that the arithmetic reaches, the error of bf16, and the
memory that a long sound takes.

make benchmark ONLY=melgan
"""

from __future__ import annotations

import subprocess
import sys
import time
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
GFLOP_PER_SECOND_OF_SOUND = 7.78  # counted by PyTorch's FlopCounter and by hand
TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def features(seconds: int) -> torch.Tensor:
    frames = round(seconds * SPEC.frames_per_second)
    return torch.randn(1, 80, frames, generator=torch.Generator().manual_seed(1)) - 1


def matrix_product_gflops(dtype: torch.dtype) -> float:
    """The rate of `torch.mm` on 1024 x 1024 matrices, the best of several."""
    a, b = torch.randn(2, 1024, 1024).to(dtype)
    best = 0.0
    for _ in range(30):
        began = time.perf_counter()
        torch.mm(a, b)
        best = max(best, 2 * 1024**3 / (time.perf_counter() - began) / 1e9)
    return best


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("precision", list(TYPES))
@pytest.mark.parametrize(("seconds", "rounds"), [(10, 7), (60, 3)])
@pytest.mark.benchmark(group="vocoding")
def test_vocode(
    seconds: int,
    rounds: int,
    precision: str,
    by_turns: Any,
    benchmark: Any,
    published_generator: Callable[[Generator], nn.Module],
) -> None:
    with seeded(1):
        vocoder = MelGAN(MelGANConfig(gate_silence=False), SPEC)
    network, mel = published_generator(vocoder.generator), features(seconds)
    exact = vocoder.vocode(mel[..., :400])
    vocoder.precision = precision
    by_turns(lambda: vocoder.vocode(mel), torch.no_grad()(lambda: network(mel)), rounds)
    rate = GFLOP_PER_SECOND_OF_SOUND * seconds / benchmark.stats.stats.min
    noise = (vocoder.vocode(mel[..., :400]) - exact).square().mean()
    snr = "exact" if not noise else f"{10 * torch.log10(exact.square().mean() / noise):.1f} dB from fp32"
    print(f"  {rate:.0f} GFLOP/s, {rate / matrix_product_gflops(TYPES[precision]):.0%} of torch.mm's; {snr}")


MEMORY = """
import resource, torch
from synthkit.presets import PRESETS
from synthkit_melgan.config import MelGANConfig
from synthkit_melgan.vocoder import MelGAN
def status():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) / 1024
vocoder = MelGAN(MelGANConfig(), PRESETS["melgan"].spec)
mel = torch.full((1, 80, {frames}), -2.0)
vocoder.vocode(mel[..., :40])
before = status()
out = vocoder.vocode(mel)
print(status() - before - out.nbytes / 2**20)
"""


def test_memory_of_long_sounds() -> None:
    """Working memory beside the features and the samples themselves."""
    taken = {}
    for seconds in (30, 300):
        script = MEMORY.format(frames=round(seconds * SPEC.frames_per_second))
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        taken[seconds] = float(done.stdout)
    print(
        "\nworking memory beside features and samples: " + ", ".join(f"{s} s: {mb:.0f} MB" for s, mb in taken.items())
    )
    assert taken[300] < 1.1 * taken[30] + 10
