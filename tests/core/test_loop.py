"""The loop: what is counted, written, kept and said, with an objective small enough to see through."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from synthkit._catalog import Offered
from synthkit._run.checkpoint import Identity, restore
from synthkit._run.folder import RunFolder
from synthkit._run.keeping import Keep
from synthkit._run.learner import Learner
from synthkit._run.loop import Loop, Settings, Stopped
from synthkit._run.reporter import Reporter
from synthkit.config import Config
from synthkit.errors import TrainingError
from synthkit.interfaces import Batch, FeatureExtractor, Objective, Offer, Tracker, Vocoder
from synthkit.specs import FeatureSpec
from synthkit.training.engine import Engine, seeded

SPEC = FeatureSpec(sample_rate=8000, n_fft=64, hop_length=16, n_mels=4)


class Energy(FeatureExtractor):
    """Mean level per frame in every band."""

    spec = SPEC

    def extract(self, samples: Tensor) -> Tensor:
        frames = samples.unfold(-1, SPEC.hop_length, SPEC.hop_length).abs().mean(-1)
        return frames[:, None].expand(-1, SPEC.n_mels, -1)


class Scale(Vocoder):
    """One number times the first band."""

    spec = SPEC

    def __init__(self) -> None:
        self.scale = nn.Linear(1, 1, bias=False)

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        return {"scale": self.scale}

    @torch.no_grad()
    def vocode(self, features: Tensor, **_: Any) -> Tensor:
        return (features[:, 0] * self.scale.weight.item()).repeat_interleave(SPEC.hop_length, -1).clamp(-1, 1)


class Fit(Objective):
    """Squared error of the scale, with noise, so that a change in what is drawn would show."""

    def __init__(self, component: Scale, explode_at: int | None = None) -> None:
        self.component, self.scale = component, component.scale
        self.adam = torch.optim.Adam(self.scale.parameters(), lr=0.01)
        self.engine, self.explode_at, self.steps = Engine(), explode_at, 0
        self.saw_training_mode: list[bool] = []

    @property
    def optimisers(self) -> Mapping[str, torch.optim.Optimizer]:
        return {"adam": self.adam}

    def step(self, batch: Batch) -> dict[str, Tensor]:
        self.steps += 1
        self.saw_training_mode.append(self.scale.training)
        loss = (self.scale(torch.rand(1, 1)) - batch.audio.abs().mean()).square().mean()
        self.engine.backward(loss, self.adam)
        self.engine.update(self.adam)
        return {"error": loss.detach() if self.steps != self.explode_at else torch.tensor(math.nan)}

    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        assert not self.scale.training
        return {"error": self.scale.weight.detach().abs().squeeze()}


@dataclass
class Crop:
    audio: np.ndarray
    labels: np.ndarray | None = None
    clips: tuple[str, ...] = ("a", "b")
    rows: range = range(2)


def crop(step: int) -> Crop:
    return Crop(np.random.default_rng(step).uniform(-1, 1, (2, 64)).astype(np.float32))


class Crops:
    waited = 0.0

    def __init__(self, start: int, stop: int, before: Callable[[int], None] = lambda step: None) -> None:
        self.range, self.before = range(start + 1, stop + 1), before

    def __iter__(self) -> Iterator[Crop]:
        for step in self.range:
            self.before(step)
            yield crop(step)


def crops(stop: int, before: Callable[[int], None] = lambda step: None) -> Callable[[int, int], Any]:
    return lambda start, attempt: nullcontext(Crops(start, stop, before))


class Memory(Tracker):
    def __init__(self) -> None:
        self.rows: list[tuple[int, dict[str, float]]] = []
        self.heard: list[tuple[int, str]] = []
        self.seen: list[tuple[int, ...]] = []

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        self.rows.append((step, dict(values)))

    def audio(self, step: int, name: str, audio: Any) -> None:
        self.heard.append((step, name))

    def image(self, step: int, name: str, image: np.ndarray) -> None:
        self.seen.append(image.shape)


def loop(folder: Path, steps: int = 10, explode_at: int | None = None, **changes: Any) -> tuple[Loop, Fit, Memory]:
    with seeded(3):
        component = Scale()
    objective, memory = Fit(component, explode_at), Memory()
    offer = Offer(kind="vocoder", name="scale", build="m:C", config="m:C", summary="Toy.", objective="fit")
    numbers = {
        "steps": steps,
        "seed": 1,
        "log_every": 2,
        "evaluate_every": 5,
        "save_every": 3,
        "batch": 2,
        "crop_seconds": 0.008,
    }
    made = Loop(
        run_folder=RunFolder(folder),
        part="vocoder",
        identity=Identity(
            offered=Offered(offer=offer, plugin="toy", distribution="", version=""),
            config=Config(),
            spec=SPEC,
            labels=(),
        ),
        learner=Learner(component=component, objective=objective, engine=Engine()),
        extractor=Energy(),
        settings=Settings(**{**numbers, **changes}),  # type: ignore[arg-type]
        validation=[crop(0)],
        trackers=[memory],
        reporter=Reporter(),
        saved=lambda step, where: None,
        picture=lambda features, spec: np.zeros((*features.shape, 3), np.uint8),
    )
    return made, objective, memory


def test_rows_evaluations_and_checkpoints_come_when_they_are_due(tmp_path: Path) -> None:
    made, objective, memory = loop(tmp_path)
    made.run(crops(10))
    assert objective.steps == 10
    evaluated = [step for step, row in memory.rows if "vocoder/validation/error" in row]
    logged = [step for step, row in memory.rows if "vocoder/train/error" in row]
    assert evaluated == [0, 5, 10]
    assert {2, 4, 6, 8, 10} <= set(logged)
    rates = [row for _, row in memory.rows if "vocoder/rate/steps_per_second" in row]
    assert all(row["vocoder/rate/items_per_second"] > row["vocoder/rate/steps_per_second"] > 0 for row in rates)
    assert all(0 <= row["vocoder/rate/data_wait"] <= 1 for row in rates)
    assert memory.heard[0] == (0, "vocoder/validation/0/made")
    assert memory.seen[0] == (SPEC.n_mels, 4, 3)


def test_networks_learn_in_training_mode_and_are_judged_in_evaluation_mode(tmp_path: Path) -> None:
    made, objective, _ = loop(tmp_path)
    made.learner.component.networks["scale"].train()
    made.run(crops(10))
    assert objective.saw_training_mode == [True] * 10  # evaluate asserts the other half


@pytest.mark.parametrize(
    ("policy", "kept"),
    [
        ({"last": 1}, [10]),
        ({"last": 2}, [9, 10]),
        ({"last": 1, "every": 6}, [6, 10]),
    ],
)
def test_the_keep_policy(tmp_path: Path, policy: dict[str, int], kept: list[int]) -> None:
    made, _, _ = loop(tmp_path, keep=Keep(**policy))
    made.run(crops(10))
    assert [int(folder.name[5:]) for folder in made.run_folder.checkpoints("vocoder")] == kept


def test_the_best_checkpoint_outlives_the_newest(tmp_path: Path) -> None:
    made, objective, _ = loop(tmp_path, keep=Keep(last=1, best="error"))
    scores = {5: 0.1, 10: 0.9}
    objective.evaluate = lambda batch: {"error": torch.tensor(scores.get(objective.steps, 9.0))}  # type: ignore[method-assign]
    made.run(crops(10))
    assert made.run_folder.best("vocoder") == made.run_folder.checkpoint_root("vocoder") / "step-0000005"
    assert made.run_folder.newest("vocoder") == made.run_folder.checkpoint_root("vocoder") / "step-0000010"


def test_an_unknown_best_term_is_named(tmp_path: Path) -> None:
    made, _, _ = loop(tmp_path, keep=Keep(best="loudness"))
    with pytest.raises(TrainingError, match="'loudness', which this objective does not evaluate; it evaluates error"):
        made.run(crops(10))


def test_a_term_that_is_not_finite_stops_the_run_and_is_never_saved(tmp_path: Path) -> None:
    made, _, _ = loop(tmp_path, explode_at=6)
    with pytest.raises(
        TrainingError, match=r"step 6 of vocoder: the term 'error' is nan; the last good checkpoint is .*step-0000003"
    ):
        made.run(crops(10))
    assert [folder.name for folder in made.run_folder.checkpoints("vocoder")] == ["step-0000003"]


def test_interrupt_saves_and_the_resumed_run_equals_the_straight_one(tmp_path: Path) -> None:
    straight, _, _ = loop(tmp_path / "straight")
    straight.run(crops(10))
    stopped, _, _ = loop(tmp_path / "stopped")
    with pytest.raises(Stopped, match=r"vocoder is at step 7 of 10.*--resume"):
        stopped.run(crops(10, lambda step: signal.raise_signal(signal.SIGINT) if step == 7 else None))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    resumed, _, _ = loop(tmp_path / "stopped")
    newest = resumed.run_folder.newest("vocoder")
    assert newest is not None
    assert restore(newest, resumed.learner) == 7
    resumed.run(crops(10), start=7)
    expected = straight.learner.component.networks["scale"].state_dict()["weight"]
    assert torch.equal(resumed.learner.component.networks["scale"].state_dict()["weight"], expected)


def test_the_loop_leaves_the_global_generator_as_it_was(tmp_path: Path) -> None:
    made, _, _ = loop(tmp_path)
    with seeded(11):
        made.run(crops(10))
        after = torch.rand(4)
    with seeded(11):
        assert torch.equal(after, torch.rand(4))
