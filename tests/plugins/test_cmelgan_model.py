"""cMelGAN as a model: the laws, seeds, blends, lengths, and what sampling must not do."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import synthkit_cmelgan.model
from synthkit.interfaces import Blend, Request
from synthkit.specs import FeatureSpec
from synthkit.testing import battery, declaration
from synthkit.training.engine import seeded
from synthkit_cmelgan.config import CMelGANConfig
from synthkit_cmelgan.maps import MapGenerator
from synthkit_cmelgan.model import CMelGAN

SPEC = FeatureSpec(sample_rate=8000, n_fft=256, hop_length=64, n_mels=16, floor=1e-3)
LABELS = ("blues", "jazz", "rock")
SIZES: dict[str, dict[str, Any]] = {
    "path": {"path": {"width": 16, "style": 6, "step": 4}},
    "map": {
        "design": "map",
        "map": {
            "noise": 6,
            "start_channels": 4,
            "channels": (6, 4, 1),
            "kernels": (4, 4, 4),
            "strides": (4, 2, 2),
            "residual_layers": 2,
            "refine": (4,),
            "dropout": 0.9,
        },
    },
}
each = pytest.mark.parametrize("design", list(SIZES))


def build(design: str, labels: tuple[str, ...] = LABELS) -> CMelGAN:
    with seeded(5):
        model = CMelGAN(CMelGANConfig.model_validate(SIZES[design]), SPEC, labels)
    model.generator.fit_scaling(torch.randn(4, 16, 50, generator=torch.Generator().manual_seed(2)) - 2)
    with torch.no_grad():  # so that noise is heard in what has not learned
        if isinstance(model.generator.network, MapGenerator):
            model.generator.network.linear.weight.mul_(100)
        for module in model.generator.network.modules():
            if isinstance(module, torch.nn.ConvTranspose2d) and design == "path":
                module.weight.mul_(10)
    return model


def one(design: str, **changes: Any) -> Tensor:
    settings: dict[str, Any] = {"frames": 50, "labels": ("jazz",), "seeds": (7,)}
    return build(design).generate(Request(**{**settings, **changes}))


@pytest.mark.parametrize(
    "check",
    [
        pytest.param(check, id=f"{design}-{check}")
        for design in SIZES
        for check in battery("model", lambda design=design: build(design))
    ],
)
def test_the_laws_of_models(check: Any) -> None:
    check()


@pytest.mark.parametrize("check", declaration("synthkit_cmelgan.plugin"), ids=str)
def test_the_declaration(check: Any) -> None:
    check()


@each
def test_an_item_follows_from_its_label_and_seed_whatever_the_batch(
    design: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = Request(frames=50, count=5, labels=("rock", "jazz", "blues", "jazz", "jazz"), seeds=(1, 7, 7, 8, 7))
    together = build(design).generate(request)
    assert torch.allclose(together[1], one(design)[0], atol=1e-6)
    assert torch.equal(together[1], together[4])
    assert not torch.allclose(together[1], together[2], atol=1e-6)
    assert not torch.allclose(together[1], together[3], atol=1e-6)
    monkeypatch.setattr(synthkit_cmelgan.model, "FRAMES_AT_ONCE", 100)
    steps: list[tuple[int, int]] = []
    apart = build(design).generate(request, progress=lambda done, total: steps.append((done, total)))
    assert torch.allclose(together, apart, atol=1e-5)
    assert steps == [(2, 5), (4, 5), (5, 5)]


def test_a_longer_clip_begins_like_a_shorter_one() -> None:
    long, short = one("path", frames=1000), one("path", frames=33)
    assert torch.allclose(long[..., :33], short, atol=1e-5)


@each
@pytest.mark.parametrize("frames", [1, 64, 65, 333])
def test_clips_have_any_length(design: str, frames: int) -> None:
    assert one(design, frames=frames).shape == (1, 16, frames)


@each
def test_nothing_is_dropped_when_sampling_and_the_mode_is_put_back(design: str) -> None:
    """The published code samples with dropout of one half."""
    model = build(design)
    request = Request(frames=64, labels=("rock",), seeds=(3,))
    model.generator.train()
    sampled = model.generate(request)
    assert model.generator.training
    model.generator.eval()
    assert torch.equal(sampled, model.generate(request))
    assert not model.generator.training
    model.generator.train()
    for module in model.generator.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    assert torch.equal(sampled, model.generate(request))


@each
def test_features_are_in_physical_units_and_nowhere_below_the_floor(design: str) -> None:
    model = build(design)
    scaling = model.generator.scaling
    scaling.shift.fill_(100.0)
    scaling.scale.fill_(10.0)
    request = Request(frames=200, count=4, labels=("rock",) * 4, seeds=(1, 2, 3, 4))
    high = model.generate(request)
    assert high.min() > 50
    scaling.shift.sub_(high.median() - SPEC.silence)  # half of it would now lie below the floor
    low = model.generate(request)
    assert low.min() == SPEC.silence == -3
    assert float((low == SPEC.silence).float().mean()) == pytest.approx(0.5, abs=0.1)


@each
def test_a_blend_leads_from_one_end_to_the_other(design: str) -> None:
    model = build(design)
    shares = (0.0, 0.25, 0.5, 0.75, 1.0)
    ends = Request(frames=40, count=2, labels=("jazz", "rock"), seeds=(1, 2))
    first, last = model.generate(ends)
    way = model.generate(
        Request(
            frames=40,
            count=5,
            labels=("jazz",) * 5,
            seeds=(1,) * 5,
            blend=Blend(share=shares, labels=("rock",) * 5, seeds=(2,) * 5),
        )
    )
    assert torch.allclose(way[0], first, atol=1e-5)
    assert torch.allclose(way[4], last, atol=1e-5)
    to_first = [float((item - first).square().mean()) for item in way]
    assert all(nearer < farther for nearer, farther in pairwise(to_first))


@each
def test_a_lower_temperature_varies_less(design: str) -> None:
    model = build(design)

    def spread(temperature: float) -> float:
        seeds = tuple(range(20))
        made = model.generate(Request(frames=40, count=20, labels=("jazz",) * 20, seeds=seeds, temperature=temperature))
        return float(made.std(dim=0).mean())

    assert spread(0.2) < 0.6 * spread(1.0)


_MADE = """
import sys, torch
import synthkit
model = synthkit.load(sys.argv[1]).component
from synthkit.interfaces import Request
print(model.labels, [round(float(v), 5) for v in model.generate(Request(frames=8, labels=("percussion",), seeds=(5,)))[0, :, 3]])
"""


def test_a_checkpoint_means_the_same_labels_in_another_process(tmp_path: Path) -> None:
    """The published ids come from the order of a Python set of strings, which changes from process to process."""

    def python(*arguments: str, hashes: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONHASHSEED": hashes},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    python(
        "-m", "synthkit", "run", "cmelgan-tones", "--tiny", "--run-dir", "run", "--stage", "prepare..train", hashes="1"
    )
    told = [python("-c", _MADE, "run", hashes=hashes) for hashes in ("2", "3")]
    assert told[0] == told[1]
    assert told[0].startswith("('bass', 'bells', 'chords', 'melody', 'noise', 'percussion')")
