"""MelNet learns: the entropy of a known process, tones by their label, real music better than any band by itself."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from synthkit import dsp
from synthkit.audio import read
from synthkit.builtin.config import TonesConfig
from synthkit.builtin.tones import Tones
from synthkit.interfaces import Batch, Request, Split
from synthkit.specs import FeatureSpec
from synthkit.training.engine import Engine, Numerics, seeded
from synthkit.training.schedules import Schedule
from synthkit_melnet.config import MelNetConfig, MelNetObjectiveConfig
from synthkit_melnet.model import MelNet
from synthkit_melnet.objective import MelNetObjective

SPEC = FeatureSpec(sample_rate=8000, n_fft=1024, hop_length=800, n_mels=16, floor=1e-3)
FRAMES = 16


def learner(
    spec: FeatureSpec, sizes: MelNetConfig, labels: tuple[str, ...], steps: int, rate: float
) -> MelNetObjective:
    schedule = Schedule(shape="cosine", warmup=20, steps=steps)
    with seeded(1):
        model = MelNet(sizes, spec, labels)
    config = MelNetObjectiveConfig(optimiser="adam", learning_rate=rate)
    return MelNetObjective(config, model, Engine(numerics=Numerics(clip_norm=1.0, schedule=schedule)))


def trained(objective: MelNetObjective, batches: Iterator[Batch], steps: int) -> MelNetObjective:
    objective.survey(itertools.islice(batches, 16))
    for batch in itertools.islice(batches, steps):
        objective.step(batch)
    return objective


def evaluated(objective: MelNetObjective, batch: Batch) -> dict[str, float]:
    for network in objective.component.networks.values():
        network.eval()
    return {name: float(term) for name, term in objective.evaluate(batch).items()}


def batch_of(features: Tensor, labels: Tensor | None = None) -> Batch:
    return Batch(audio=torch.zeros(len(features), 1), features=features, labels=labels)


def crops(features: Tensor, labels: Tensor | None, frames: int, count: int, seed: int) -> Iterator[Batch]:
    """Random crops of `[n, M, N]`, without end."""
    random = torch.Generator().manual_seed(seed)
    while True:
        items = torch.randint(len(features), (count,), generator=random)
        starts = torch.randint(features.shape[2] - frames + 1, (count,), generator=random)
        cut = torch.stack([features[item, :, at : at + frames] for item, at in zip(items, starts, strict=True)])
        yield batch_of(cut, None if labels is None else labels[items])


def test_it_reaches_the_entropy_of_a_known_process() -> None:
    """Each element is 0.6 of the one a frame ago, 0.3 of the one a band below, and a mixture of two normal distributions."""
    spec = FeatureSpec(sample_rate=8000, n_fft=256, hop_length=64, n_mels=6)
    noise = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(torch.tensor([0.7, 0.3])),
        torch.distributions.Normal(torch.tensor([-1.0, 4.0]), torch.tensor([0.6, 1.2])),
    )

    def process(count: int) -> tuple[Tensor, float]:
        grid, nats = torch.zeros(count, 6, 24), 0.0
        for frame, band in itertools.product(range(24), range(6)):
            drawn = noise.sample((count,))  # type: ignore[no-untyped-call]
            before = 0.6 * grid[:, band, frame - 1] if frame else 0.0
            grid[:, band, frame] = before + (0.3 * grid[:, band - 1, frame] if band else 0.0) + drawn
            nats -= float(noise.log_prob(drawn).mean()) / (24 * 6)  # type: ignore[no-untyped-call]
        return grid, nats

    with seeded(1):
        features, (fresh, entropy) = process(2000)[0], process(400)
    objective = learner(spec, MelNetConfig(hidden=16, layers=(1,), mixtures=4), (), 300, 1e-2)
    terms = evaluated(trained(objective, crops(features, None, 24, 16, 2), 300), batch_of(fresh))
    assert terms["nats"] == pytest.approx(entropy, rel=0.02)
    assert terms["baseline_mixture"] > 1.1 * entropy


@pytest.fixture(scope="module")
def music() -> dict[Split, tuple[Tensor, Tensor]]:
    """Features `[n, M, N]` and labels of tones, by split."""
    tones = Tones(TonesConfig(clips_per_label=80, seconds=3.0, sample_rate=8000))
    made: dict[Split, tuple[Tensor, Tensor]] = {}
    for split in ("train", "test"):
        clips = tones.clips(split)
        sound = torch.from_numpy(np.stack([tones.open(clip).samples[0] for clip in clips])).float()
        labels = torch.tensor([tones.labels().index(clip.label) for clip in clips if clip.label])
        made[split] = dsp.log_mel(0.9 * sound / sound.abs().amax(1, keepdim=True), SPEC), labels
    return made


def described(features: Tensor) -> Tensor:
    """What a simple classifier hears of a clip `[n, M, N]`: each band's mean and deviation, its change, and that of loudness."""
    loud = features.mean(1)
    return torch.cat(
        [features.mean(2), features.std(2), features.diff(dim=2).abs().mean(2), loud.std(1, keepdim=True)], dim=1
    )


def classifier(features: Tensor, labels: Tensor) -> torch.nn.Module:
    """Logistic regression on standardised descriptions."""
    x = described(features)
    mean, std = x.mean(0), x.std(0) + 0.1
    linear = torch.nn.Linear(x.shape[1], 6)
    fitting = torch.optim.LBFGS(linear.parameters(), max_iter=100)

    def loss() -> Tensor:
        fitting.zero_grad()
        value = (
            torch.nn.functional.cross_entropy(linear((x - mean) / std), labels) + 1e-2 * linear.weight.square().sum()
        )
        value.backward()  # type: ignore[no-untyped-call]
        return value

    fitting.step(loss)  # type: ignore[no-untyped-call]

    class Told(torch.nn.Module):
        def forward(self, features: Tensor) -> Tensor:
            told: Tensor = linear((described(features) - mean) / std)
            return told.argmax(1)

    return Told()


def test_it_learns_tones_by_label(music: dict[Split, tuple[Tensor, Tensor]]) -> None:
    """Held-out clips cost far less than under both baselines, and its clips are taken for what they should be."""
    names, steps = tuple(Tones(TonesConfig()).labels()), 900
    objective = learner(SPEC, MelNetConfig(hidden=32, layers=(2, 1), mixtures=5), names, steps, 8e-3)
    trained(objective, crops(*music["train"], FRAMES, 8, 2), steps)
    held_out = next(crops(*music["test"], FRAMES, 96, 3))
    terms = evaluated(objective, held_out)
    assert terms["nats"] < terms["baseline_gaussian"] - 2.0
    assert terms["nats"] < terms["baseline_mixture"] - 1.0
    with seeded(1):
        told = classifier(*[torch.cat(it) for it in zip(*[(b.features, b.labels) for b in _real(music)], strict=True)])
    with torch.no_grad():
        assert held_out.labels is not None
        assert float((told(held_out.features) == held_out.labels).float().mean()) > 0.85
        request = Request(frames=FRAMES, count=96, labels=names * 16, seeds=tuple(range(96)))
        made = objective.component.generate(request)
        right = told(made) == torch.arange(96) % 6
    assert float(right.float().mean()) >= 0.8


def _real(music: dict[Split, tuple[Tensor, Tensor]]) -> Iterator[Batch]:
    return itertools.islice(crops(*music["train"], FRAMES, 200, 4), 10)


@pytest.mark.data
def test_real_music_held_out_costs_less_than_under_both_baselines(shared: Path) -> None:
    """Whole recordings are held out, not parts of those that were learned."""
    files = sorted((shared / "audio" / "music").glob("*.ogg"))
    assert len(files) >= 8
    features = []
    for file in files:
        sound = read(file).resample(8000).samples.mean(0)[: 8000 * 20]
        features.append(dsp.log_mel(torch.from_numpy(np.ascontiguousarray(sound))[None].float(), SPEC)[0])
    frames = min(it.shape[1] for it in features)
    whole = torch.stack([it[:, :frames] for it in features])
    steps = 150
    objective = learner(SPEC, MelNetConfig(hidden=24, layers=(2,), mixtures=5), (), steps, 5e-3)
    trained(objective, crops(whole[3:], None, FRAMES, 8, 2), steps)
    terms = evaluated(objective, next(crops(whole[:3], None, FRAMES, 64, 3)))
    assert math.isfinite(terms["nats"])
    assert terms["nats"] < terms["baseline_mixture"] - 0.1
    assert terms["nats"] < terms["baseline_gaussian"] - 0.1
