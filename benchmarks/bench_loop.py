"""What the core costs beside the learning itself: its own time per step, waiting for data, and checkpoints. Two threads.

make benchmark ONLY=loop
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

from synthkit import dsp
from synthkit._catalog import Catalog, Offered
from synthkit._cli.progress import RichReporter
from synthkit._data.crops import RawBatch
from synthkit._run import checkpoint
from synthkit._run.batches import to_batch
from synthkit._run.checkpoint import Identity
from synthkit._run.folder import RunFolder
from synthkit._run.learner import Learner
from synthkit._run.loop import Loop, Settings
from synthkit._run.reporter import Logged
from synthkit._stages.pipeline import run_recipe
from synthkit.builtin.config import TrackerConfig
from synthkit.builtin.trackers import JsonLines
from synthkit.config import Config
from synthkit.interfaces import Batch, FeatureExtractor, Objective, Offer, Vocoder
from synthkit.presets import PRESETS
from synthkit.specs import FeatureSpec
from synthkit.training.engine import Engine, seeded
from synthkit_melgan.config import MelGANConfig, MelGANObjectiveConfig
from synthkit_melgan.objective import MelGANObjective
from synthkit_melgan.vocoder import MelGAN

TOY = FeatureSpec(sample_rate=8000, n_fft=64, hop_length=16, n_mels=4)
MELGAN = PRESETS["melgan"].spec
STEPS = 2000
CROP = RawBatch(audio=np.full((2, 64), 0.5, np.float32), labels=None, clips=("a", "b"), rows=range(2))


class Level(FeatureExtractor):
    spec = TOY

    def extract(self, samples: Tensor) -> Tensor:
        return samples.unfold(-1, 16, 16).abs().mean(-1)[:, None].expand(-1, 4, -1)


class Scale(Vocoder):
    spec = TOY

    def __init__(self) -> None:
        self.scale = nn.Linear(1, 1)

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        return {"scale": self.scale}

    def vocode(self, features: Tensor, **_: Any) -> Tensor:
        return features[:, 0].repeat_interleave(16, -1)


class Fit(Objective):
    """Three terms, one optimiser, next to no arithmetic."""

    def __init__(self, component: Scale, engine: Engine) -> None:
        self.component, self.engine = component, engine
        self.sgd = torch.optim.SGD(component.scale.parameters(), lr=1e-3)

    @property
    def optimisers(self) -> Mapping[str, torch.optim.Optimizer]:
        return {"sgd": self.sgd}

    def step(self, batch: Batch) -> dict[str, Tensor]:
        loss = (self.component.scale(batch.audio[:, :1]) - 0.25).square().mean()
        self.engine.backward(loss, self.sgd)
        self.engine.update(self.sgd)
        return {"error": loss.detach(), "twice": 2 * loss.detach(), "half": loss.detach() / 2}

    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        return {"error": batch.audio.mean()}


class Ready:
    """A loader that never lets anybody wait."""

    waited = 0.0

    def __iter__(self) -> Iterator[RawBatch]:
        return iter([CROP] * STEPS)


def bare() -> None:
    """What a loop cannot do without: batches and steps."""
    component, engine, extractor = Scale(), Engine(), Level()
    objective = Fit(component, engine)
    for raw in Ready():
        objective.step(to_batch(raw, extractor, engine.device))


def whole(folder: Path) -> Callable[[], None]:
    """The loop as `synthkit run` has it on a terminal: bars, a panel, a log, metrics, the watch, a row every ten steps."""
    run = RunFolder(folder)
    run.path.mkdir(parents=True, exist_ok=True)
    offer = Offer(kind="vocoder", name="scale", build="m:C", config="m:C", summary="Toy.", objective="fit")
    offered = Offered(offer=offer, plugin="toy", distribution="", version="")
    terminal = Console(file=io.StringIO(), force_terminal=True, width=100)

    def train() -> None:
        component, engine = Scale(), Engine()
        Loop(
            run_folder=run,
            part="vocoder",
            identity=Identity(offered=offered, config=Config(), spec=TOY, labels=()),
            learner=Learner(component=component, objective=Fit(component, engine), engine=engine),
            extractor=Level(),
            settings=Settings(
                steps=STEPS, seed=1, log_every=10, evaluate_every=STEPS, save_every=STEPS, batch=2, crop_seconds=0.008
            ),
            validation=[CROP],
            trackers=[JsonLines(TrackerConfig(), run.path)],
            reporter=Logged(run.log_file, RichReporter(terminal)),
            saved=lambda step, where: None,
            picture=lambda features, spec: np.zeros((1, 1, 3), np.uint8),
        ).run(lambda start, attempt: nullcontext(Ready()))

    return train


@pytest.mark.usefixtures("two_threads")
@pytest.mark.benchmark(group="the core's own time")
def test_overhead_per_step(benchmark: Any, tmp_path: Path) -> None:
    seconds: list[float] = []

    def turn() -> None:
        start = time.perf_counter()
        bare()
        seconds.append(time.perf_counter() - start)

    benchmark.pedantic(whole(tmp_path), setup=turn, rounds=5, warmup_rounds=1)
    own = (benchmark.stats.stats.min - min(seconds[1:])) / STEPS
    benchmark.extra_info["ms per step"] = round(1e3 * own, 4)
    print(f"\nthe core's own time: {1e3 * own:.3f} ms per step (promised: under 1 ms)")


RECIPE = """\
recipe: 1
name: loader
data: {use: tones, clips_per_label: 12, seconds: 3}
features: {use: log-mel, preset: melgan}
vocoder: melgan
train: {part: vocoder, steps: 10, batch: 16, crop_seconds: 0.37, log_every: 5, evaluate_items: 2, save_every: 1000}
"""


@pytest.mark.usefixtures("two_threads")
@pytest.mark.benchmark(group="MelGAN, 16 x 8192 samples")
def test_waiting_for_data(benchmark: Any, tmp_path: Path) -> None:
    """A real training, from the prepared cache by the real loader; the rows tell how long it waited."""
    recipe = tmp_path / "loader.yaml"
    recipe.write_text(RECIPE, encoding="utf-8")
    run = benchmark.pedantic(
        lambda: run_recipe(recipe, catalog=Catalog.discover(), run_dir=tmp_path / "run", last="train"), rounds=1
    )
    rows = [json.loads(line) for line in run.metrics_file.read_text(encoding="utf-8").splitlines()]
    shares = [row["vocoder/rate/data_wait"] for row in rows if "vocoder/rate/data_wait" in row]
    benchmark.extra_info["share of waiting"] = [round(share, 5) for share in shares]
    print(f"\nwaiting for data: {', '.join(f'{share:.3%}' for share in shares)} of the time (promised: under 2 %)")


@pytest.mark.usefixtures("two_threads")
@pytest.mark.benchmark(group="MelGAN, 16 x 8192 samples")
def test_checkpoints(benchmark: Any, tmp_path: Path) -> None:
    """One checkpoint of the whole learner beside the thousand steps that pass until the next."""
    engine = Engine()
    with seeded(1):
        component = MelGAN(MelGANConfig(), MELGAN)
        objective = MelGANObjective(MelGANObjectiveConfig(), component, engine)
    audio = torch.rand(16, 8192, generator=torch.Generator().manual_seed(1)) - 0.5
    batch = Batch(audio=audio, features=dsp.log_mel(audio, MELGAN))
    seconds: list[float] = []

    def step() -> None:
        start = time.perf_counter()
        objective.step(batch)
        seconds.append(time.perf_counter() - start)

    learner = Learner(component=component, objective=objective, engine=engine)
    offered = Catalog.discover().find("vocoder", "melgan")
    identity = Identity(offered=offered, config=component.config, spec=MELGAN, labels=())
    benchmark.pedantic(lambda: checkpoint.save(tmp_path, 1000, identity, learner, {}), setup=step, rounds=4)
    share = benchmark.stats.stats.mean / (benchmark.stats.stats.mean + 1000 * min(seconds))
    size = sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file())
    benchmark.extra_info["share of a run that saves every 1,000 steps"] = round(share, 6)
    print(
        f"\na checkpoint of {size / 1e6:.0f} MB: {benchmark.stats.stats.mean:.2f} s beside steps of {min(seconds):.2f} s, "
        f"{share:.3%} of a run that saves every 1,000 steps (promised: under 1 %)"
    )
