"""The loop: what is counted, written, kept and said, with an objective small enough to see through."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from synthkit._catalog import Offered
from synthkit._run.batches import Sources
from synthkit._run.checkpoint import Identity, restore
from synthkit._run.events import read_events
from synthkit._run.folder import RunFolder, read_score
from synthkit._run.health import Limits
from synthkit._run.keeping import Keep
from synthkit._run.learner import Learner
from synthkit._run.loop import Loop, Settings, Stopped
from synthkit._run.processes import Processes
from synthkit._run.reporter import Reporter
from synthkit.builtin.config import TrackerConfig
from synthkit.builtin.trackers import TensorBoard
from synthkit.config import Config
from synthkit.errors import TrainingError
from synthkit.interfaces import Batch, FeatureExtractor, Objective, Offer, Tracker, Vocoder
from synthkit.specs import FeatureSpec
from synthkit.training.average import Average
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

    def __init__(self, component: Scale, engine: Engine) -> None:
        self.component, self.scale, self.engine, self.steps = component, component.scale, engine, 0
        self.adam = torch.optim.Adam(self.scale.parameters(), lr=0.01)
        self.saw_training_mode: list[bool] = []

    @property
    def optimisers(self) -> Mapping[str, torch.optim.Optimizer]:
        return {"adam": self.adam}

    def step(self, batch: Batch) -> dict[str, Tensor]:
        self.steps += 1
        self.saw_training_mode.append(self.scale.training)
        loss = self.loss(batch)
        self.engine.backward(loss, self.adam)
        self.engine.update(self.adam)
        return {"error": loss.detach()}

    def loss(self, batch: Batch) -> Tensor:
        return (self.scale(torch.rand(1, 1)) - batch.audio.abs().mean()).square().mean()

    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        assert not self.scale.training
        return {"error": self.scale.weight.detach().abs().squeeze()}


class Root(Fit):
    """Its loss is finite where its gradient is not: on silence."""

    def loss(self, batch: Batch) -> Tensor:
        return (self.scale.weight.squeeze() * batch.audio.abs().mean()).square().sqrt()


class Greedy(Fit):
    """Asks torch for more memory than any machine has, once."""

    def loss(self, batch: Batch) -> Tensor:
        if self.steps == 8:
            torch.empty(2**60, dtype=torch.uint8)
        return super().loss(batch)


@dataclass
class Crop:
    audio: np.ndarray
    labels: np.ndarray | None = None
    clips: tuple[str, ...] = ("a", "b")
    rows: range = range(2)
    texts: tuple[str, ...] | None = None


Before = Callable[[int], None]
Gain = Callable[[int, int], float]


@dataclass
class Crops:
    start: int
    stop: int
    attempt: int = 0
    before: Before = lambda step: None
    gain: Gain = lambda step, attempt: 1.0
    waited: float = 0.0

    def __iter__(self) -> Iterator[Crop]:
        for step in range(self.start + 1, self.stop + 1):
            self.before(step)
            yield crop(step, self.attempt, self.gain(step, self.attempt))


def crop(step: int, attempt: int = 0, gain: float = 1.0) -> Crop:
    audio = np.random.default_rng([step, attempt]).uniform(-1, 1, (2, 64))
    return Crop((gain * audio).astype(np.float32))


def crops(stop: int = 10, before: Before = lambda step: None, gain: Gain = lambda step, attempt: 1.0) -> Sources:
    return lambda start, attempt: nullcontext(Crops(start, stop, attempt, before, gain))


def interrupt_at(*steps: int) -> Before:
    return lambda step: signal.raise_signal(signal.SIGINT) if step in steps else None


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


class Spoken(Reporter):
    def __init__(self) -> None:
        self.said: list[str] = []
        self.warned: list[str] = []
        self.noted: list[str] = []
        self.say, self.warn, self.note = self.said.append, self.warned.append, self.noted.append  # type: ignore[method-assign]


def loop(
    folder: Path,
    objective: type[Fit] = Fit,
    average: float | None = None,
    trackers: Sequence[Tracker] = (),
    **changes: Any,
) -> tuple[Loop, Fit, Memory]:
    with seeded(3):
        component = Scale()
    engine = Engine()
    learns, memory = objective(component, engine), Memory()
    offer = Offer(kind="vocoder", name="scale", build="m:C", config="m:C", summary="Toy.", objective="fit")
    numbers = {"steps": 10, "seed": 1, "log_every": 2, "evaluate_every": 5, "save_every": 3}
    made = Loop(
        run_folder=RunFolder(folder),
        part="vocoder",
        identity=Identity(
            offered=Offered(offer=offer, plugin="toy", distribution="", version=""),
            config=Config(),
            spec=SPEC,
            labels=(),
        ),
        learner=Learner(
            component=component,
            objective=learns,
            engine=engine,
            average=None if average is None else Average(component.networks, average),
        ),
        extractor=Energy(),
        settings=Settings(**{**numbers, "batch": 2, "crop_seconds": 0.008, **changes}),
        validation=[crop(0)],
        trackers=[memory, *trackers],
        reporter=Spoken(),
        saved=lambda step, where: None,
        picture=lambda features, spec: np.zeros((*features.shape, 3), np.uint8),
    )
    made.run_folder.path.mkdir(parents=True, exist_ok=True)
    return made, learns, memory


def resumed(folder: Path, **changes: Any) -> tuple[Loop, int]:
    """A loop that stands where the newest checkpoint does."""
    made, _, _ = loop(folder, **changes)
    newest = made.run_folder.newest("vocoder")
    return made, 0 if newest is None else restore(newest, made.learner)


def weight(made: Loop) -> float:
    return float(made.learner.component.networks["scale"].state_dict()["weight"])


def steps_kept(made: Loop) -> list[int]:
    return [int(folder.name[5:]) for folder in made.run_folder.checkpoints("vocoder")]


def test_rows_evaluations_and_checkpoints_come_when_they_are_due(tmp_path: Path) -> None:
    made, objective, memory = loop(tmp_path)
    made.run(crops())
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
    made.run(crops())
    assert objective.saw_training_mode == [True] * 10  # evaluate asserts the other half


def test_terms_norms_rates_and_memory_are_in_the_metrics(tmp_path: Path) -> None:
    made, _, memory = loop(tmp_path)
    made.run(crops())
    row = next(row for step, row in memory.rows if step == 4)
    assert set(row) == {
        "vocoder/train/error",
        "vocoder/norm/adam",
        "vocoder/rate/learning_rate/adam",
        "vocoder/rate/steps_per_second",
        "vocoder/rate/items_per_second",
        "vocoder/rate/audio_seconds_per_second",
        "vocoder/rate/data_wait",
        "vocoder/rate/memory_mib",
    }
    assert row["vocoder/norm/adam"] > 0
    assert row["vocoder/rate/learning_rate/adam"] == 0.01
    assert row["vocoder/rate/memory_mib"] > 10
    seconds = 64 / SPEC.sample_rate
    ratio = row["vocoder/rate/audio_seconds_per_second"] / row["vocoder/rate/items_per_second"]
    assert math.isclose(ratio, seconds)


def test_trackers_are_given_what_was_made_each_time_and_the_reference_once(tmp_path: Path) -> None:
    made, _, memory = loop(tmp_path)
    made.run(crops())
    made_at = [step for step, name in memory.heard if name == "vocoder/validation/0/made"]
    references = [(step, name) for step, name in memory.heard if name.endswith("reference")]
    assert made_at == [0, 5, 10]
    assert references == [(0, "vocoder/validation/0/reference"), (0, "vocoder/validation/1/reference")]


class TestKeeping:
    @pytest.mark.parametrize(
        ("policy", "kept"),
        [
            (Keep(last=1), [10]),
            (Keep(last=2), [9, 10]),
            (Keep(last=1, every=6), [6, 10]),
            (Keep(last=10), [3, 6, 9, 10]),
        ],
    )
    def test_the_newest_few_and_each_of_some_steps_stay(self, tmp_path: Path, policy: Keep, kept: list[int]) -> None:
        made, _, _ = loop(tmp_path, keep=policy)
        made.run(crops())
        assert steps_kept(made) == kept
        assert not list(made.run_folder.checkpoint_root("vocoder").glob(".*"))

    def test_the_best_outlives_the_newest(self, tmp_path: Path) -> None:
        made, objective, _ = loop(tmp_path, keep=Keep(last=1, best="error"))
        scores = {5: 0.1, 10: 0.9}
        objective.evaluate = lambda batch: {"error": torch.tensor(scores.get(objective.steps, 9.0))}  # type: ignore[method-assign]
        made.run(crops())
        assert steps_kept(made) == [5, 10]
        assert made.run_folder.best("vocoder") == made.run_folder.checkpoint_root("vocoder") / "step-0000005"

    def test_the_best_is_chosen_by_what_the_averaged_weights_do(self, tmp_path: Path) -> None:
        made, _, memory = loop(tmp_path, average=0.9, keep=Keep(last=5, best="error"))
        made.run(crops())
        assert made.learner.average is not None
        averaged = abs(float(made.learner.average.networks["scale"]["weight"]))
        assert averaged != abs(weight(made))
        evaluated = [row["vocoder/validation/error"] for step, row in memory.rows if "vocoder/validation/error" in row]
        assert math.isclose(evaluated[-1], averaged, rel_tol=1e-6)
        score = read_score(made.run_folder.checkpoint_root("vocoder") / "step-0000010")
        assert score is not None
        assert math.isclose(score.value, averaged, rel_tol=1e-6)

    def test_an_unknown_term_is_named_before_the_first_step(self, tmp_path: Path) -> None:
        made, objective, _ = loop(tmp_path, keep=Keep(best="loudness"))
        with pytest.raises(
            TrainingError, match="'loudness', which this objective does not evaluate; it evaluates error"
        ):
            made.run(crops())
        assert objective.steps == 0


class TestStopping:
    def test_an_interrupt_saves_and_the_resumed_run_equals_the_straight_one(self, tmp_path: Path) -> None:
        straight, _, _ = loop(tmp_path / "straight")
        straight.run(crops())
        stopped, _, _ = loop(tmp_path / "stopped")
        with pytest.raises(Stopped, match=r"vocoder is at step 7 of 10.*--resume"):
            stopped.run(crops(before=interrupt_at(7)))
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        again, step = resumed(tmp_path / "stopped")
        assert step == 7
        again.run(crops(), start=7)
        assert weight(again) == weight(straight)
        assert steps_kept(again) == steps_kept(straight)

    def test_a_second_interrupt_does_not_wait_for_the_step(self, tmp_path: Path) -> None:
        def twice(step: int) -> None:
            if step == 4:
                signal.raise_signal(signal.SIGINT)
                signal.raise_signal(signal.SIGINT)

        made, objective, _ = loop(tmp_path)
        with pytest.raises(KeyboardInterrupt):
            made.run(crops(before=twice))
        assert objective.steps == 3
        assert steps_kept(made) == [3]

    def test_stopping_often_leaves_no_trail(self, tmp_path: Path) -> None:
        made, step = resumed(tmp_path, keep=Keep(last=1))
        for stop in (1, 2, 4, 5, 7):
            with pytest.raises(Stopped):
                made.run(crops(before=interrupt_at(stop)), start=step)
            made, step = resumed(tmp_path, keep=Keep(last=1))
            assert step == stop
        assert steps_kept(made) == [6, 7]  # the one to roll back to, and the one to go on from


def spoiled(step: int, attempt: int, *, at: int = 8, until: int = 1, by: float = math.nan) -> float:
    """Crops that spoil one step of the first attempts."""
    return by if step == at and attempt < until else 1.0


class TestRollback:
    @pytest.mark.parametrize("at", [1, 2, 3, 7, 8, 10])
    def test_a_term_that_is_not_finite_is_named_and_the_training_goes_on_from_the_last_good(
        self, tmp_path: Path, at: int
    ) -> None:
        made, objective, memory = loop(tmp_path)
        made.run(crops(gain=partial(spoiled, at=at)))
        back = (at - 1) // 3 * 3
        noticed = at + at % 2  # rows are written at even steps; a checkpoint looks too
        noticed = min(noticed, -(-at // 3) * 3)
        assert objective.steps == noticed + 10 - back
        assert isinstance(made.reporter, Spoken)
        (text,) = made.reporter.warned
        assert text == (
            f"step {at} of vocoder: the term 'error' is nan; back to step {back} with other crops and learning rates "
            "times 0.5 (rollback 1 of 2)"
        )
        (event,) = read_events(made.run_folder)
        assert (event.kind, event.part, event.step, event.text) == ("rollback", "vocoder", at, text)
        assert (at, {"vocoder/watch/rollbacks": 1.0}) in memory.rows
        assert (made.learner.attempt, made.learner.engine.slow_down) == (1, 0.5)
        assert math.isfinite(weight(made))

    def test_weights_that_are_not_finite_are_never_saved(self, tmp_path: Path) -> None:
        """The terms of step 6 are finite; what its gradient, that of a root at 0, did to the weights they cannot show."""
        made, _, memory = loop(tmp_path, Root, log_every=1)
        made.run(crops(gain=partial(spoiled, at=6, by=0.0)))
        assert isinstance(made.reporter, Spoken)
        assert made.reporter.warned[0].startswith(
            "step 6 of vocoder: a weight of 'scale' is not finite; back to step 3 "
        )
        assert [row["vocoder/train/error"] for step, row in memory.rows if step == 6 and "vocoder/train/error" in row]
        for folder in made.run_folder.checkpoints("vocoder"):
            assert torch.isfinite(load_file(folder / "scale.safetensors")["weight"]).all()

    def test_an_explosion_is_rolled_back(self, tmp_path: Path) -> None:
        made, _, _ = loop(tmp_path, steps=120, save_every=50, evaluate_every=60)
        made.run(crops(120, gain=partial(spoiled, at=90, by=1e4)))
        assert isinstance(made.reporter, Spoken)
        (text,) = made.reporter.warned
        assert text.startswith("step 90 of vocoder: the term 'error' is ")
        assert "while it usually was about" in text
        assert "; back to step 50 " in text

    def test_after_so_many_rollbacks_it_stops_with_advice(self, tmp_path: Path) -> None:
        made, objective, _ = loop(tmp_path, watch=Limits(rollbacks=2, slow_down=0.1))
        with pytest.raises(TrainingError) as raised:
            made.run(crops(gain=partial(spoiled, until=9)))
        assert raised.value.exit_code == 2
        text = str(raised.value)
        assert text.startswith("step 8 of vocoder: the term 'error' is nan; rolled back 2 times, in vain; ")
        assert "the last good checkpoint is" in text
        assert "step-0000006" in text
        assert "A smaller learning_rate" in text
        assert "train.clip_norm (now null)" in text
        assert objective.steps == 8 + 2 + 2
        assert steps_kept(made) == [3, 6]

    def test_none_is_made_where_the_recipe_says_none(self, tmp_path: Path) -> None:
        made, _, _ = loop(tmp_path, watch=Limits(rollbacks=0))
        with pytest.raises(
            TrainingError, match=r"the term 'error' is nan; it is not rolled back; the last good .*0006'"
        ):
            made.run(crops(gain=partial(spoiled, until=1)))

    def test_another_attempt_sees_other_crops_and_other_noise(self, tmp_path: Path) -> None:
        straight, _, _ = loop(tmp_path / "straight")
        straight.run(crops())
        rolled, _, _ = loop(tmp_path / "rolled", watch=Limits(slow_down=1.0))
        rolled.run(crops(gain=spoiled))
        assert weight(rolled) != weight(straight)

    @pytest.mark.parametrize("stops", [(2,), (4,), (7,), (4, 7), (1, 2, 4, 5, 7), (9,)])
    def test_stopped_and_resumed_anywhere_it_ends_the_same(self, tmp_path: Path, stops: tuple[int, ...]) -> None:
        """The end, and the checkpoint it goes back to, do not depend on where the user stopped it."""
        trouble = partial(spoiled, at=8, until=2)
        straight, _, _ = loop(tmp_path / "straight")
        straight.run(crops(gain=trouble))
        made, step = resumed(tmp_path / "stopped")
        for stop in stops:
            with pytest.raises(Stopped):
                made.run(crops(gain=trouble, before=interrupt_at(stop)), start=step)
            made, step = resumed(tmp_path / "stopped")
        made.run(crops(gain=trouble), start=step)
        assert weight(made) == weight(straight)
        assert made.learner.attempt == straight.learner.attempt == 2
        assert made.learner.engine.slow_down == straight.learner.engine.slow_down == 0.25
        assert made.learner.watch == straight.learner.watch
        assert steps_kept(made) == steps_kept(straight)

    def test_a_damaged_checkpoint_is_passed_over(self, tmp_path: Path) -> None:
        made, _, _ = loop(tmp_path)

        def damage(step: int) -> None:
            weights = made.run_folder.checkpoint_root("vocoder") / "step-0000006" / "scale.safetensors"
            if step == 8 and weights.is_file():
                weights.write_bytes(weights.read_bytes()[:-1])

        made.run(crops(gain=spoiled, before=damage))
        assert isinstance(made.reporter, Spoken)
        assert "step-0000006' cannot be used: scale.safetensors is damaged" in made.reporter.warned[0]
        assert "; back to step 3 " in made.reporter.warned[1]


class TestCritic:
    """A critic's loss is 6 where it cannot tell; the toy says it of its error."""

    @pytest.mark.parametrize(("undecided", "kind"), [(1e6, "won"), (1e-9, "given up")])
    def test_one_that_wins_or_gives_up_is_said_once_and_the_training_goes_on(
        self, tmp_path: Path, undecided: float, kind: str
    ) -> None:
        class Game(Fit):
            def undecided(self) -> Mapping[str, float]:
                return {"error": undecided}

        made, objective, memory = loop(tmp_path, Game, steps=40, watch=Limits(patience=10, explosion=1e9))
        made.run(crops(40))
        assert objective.steps == 40
        assert isinstance(made.reporter, Spoken)
        (text,) = made.reporter.warned
        assert text.startswith(f"step 10 of vocoder: the critic has {kind}: its loss 'error' has stayed ")
        assert "usually helps" in text
        (event,) = read_events(made.run_folder)
        assert (event.kind, event.step, event.text) == ("finding", 10, text)
        marks = [(step, row) for step, row in memory.rows if any("/watch/" in name for name in row)]
        assert [step for step, _ in marks] == [10]
        balance = [row["vocoder/balance/error"] for _, row in memory.rows if "vocoder/balance/error" in row]
        assert len(balance) == 20


class TestMemory:
    def test_a_shortage_names_the_settings_and_their_values(self, tmp_path: Path) -> None:
        made, _, _ = loop(tmp_path, Greedy)
        with pytest.raises(TrainingError) as raised:
            made.run(crops())
        text = str(raised.value)
        assert text.startswith("out of memory in step 8 of vocoder on cpu: what matters are train.batch (now 2), ")
        assert "train.crop_seconds (now 0.008)" in text
        assert "train.accumulate (now 1; " in text
        assert "train.precision (now fp32)" in text
        assert text.endswith("step-0000006' is whole")
        assert raised.value.exit_code == 2
        assert steps_kept(made) == [3, 6]

    @pytest.mark.skipif(sys.platform != "linux", reason="the limit of a process's memory is Linux's")
    def test_a_process_that_may_not_have_more_ends_with_the_sentence(self, tmp_path: Path) -> None:
        recipe = tmp_path / "greedy.yaml"
        recipe.write_text(
            "recipe: 1\nname: greedy\ndata: {use: tones, clips_per_label: 10, seconds: 1}\n"
            "features: {use: log-mel, preset: melgan}\nvocoder: {use: melgan, channels: 8}\n"
            "train: {part: vocoder, steps: 4, batch: 2, crop_seconds: 0.37, evaluate_items: 2, save_every: 1,\n"
            "        objective: {adversarial_weight: 0, feature_matching_weight: 0, mel_weight: 1}}\n",
            encoding="utf-8",
        )
        limit = (
            "import resource, sys; from dataclasses import replace; import numpy as np\n"
            "from synthkit._run import loop; learn = loop.Loop._learn\n"
            "def limited(self, step, raw, due):\n"
            "    if step == 3:\n"
            "        raw = replace(raw, audio=np.tile(raw.audio, (2000, 1)))\n"
            "        now = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize() + 2**25\n"
            "        resource.setrlimit(resource.RLIMIT_AS, (now, now))\n"
            "    learn(self, step, raw, due)\n"
            "loop.Loop._learn = limited\n"
            "from synthkit._cli.main import main\n"
            "sys.argv = ['synthkit', 'run', 'greedy.yaml', '--stage', 'prepare..train']\n"
            "main()\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", limit], cwd=tmp_path, capture_output=True, text=True, check=False,
            env={**os.environ, "SYNTHKIT_CACHE": str(tmp_path / "cache")},
        )  # fmt: skip
        assert done.returncode == 2, done.stderr[-2000:]
        last = done.stderr.strip().splitlines()[-1]
        assert last.startswith("out of memory in step 3 of vocoder on cpu: what matters are train.batch (now 2)")
        assert "Traceback" not in done.stderr
        events = read_events(RunFolder(tmp_path / "runs" / "greedy"))
        assert (events[-1].kind, events[-1].stage, events[-1].text) == ("failed", "train", last)


class First(Processes):
    """The main process of two, on the same crops; what it tells the other is kept."""

    count = 2

    def __init__(self) -> None:
        self.told: list[str] = []

    def share(self, value: Any) -> Any:
        self.told.append(json.dumps(value))
        return value


class Second(Processes):
    """The other one."""

    count, index = 2, 1

    def __init__(self, told: list[str]) -> None:
        self.told = iter(told)

    def share(self, value: Any) -> Any:
        return json.loads(next(self.told))


def test_another_process_writes_and_says_nothing_but_decides_and_ends_the_same(tmp_path: Path) -> None:
    first, main, _ = loop(tmp_path, keep=Keep(last=4, best="error"))
    first.processes = First()
    first.run(crops(gain=spoiled))
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    second, other, memory = loop(tmp_path, keep=Keep(last=4, best="error"))
    second.processes = Second(first.processes.told)
    second.run(crops(gain=spoiled))
    assert (other.steps, weight(second)) == (main.steps, weight(first))
    assert second.learner.attempt == first.learner.attempt == 1
    assert next(second.processes.told, None) is None
    assert (memory.rows, memory.heard) == ([], [])
    assert isinstance(second.reporter, Spoken)
    assert second.reporter.warned == []
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == files


def test_tensorboard_has_scalars_sounds_and_pictures_from_step_0_on(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tracker = TensorBoard(TrackerConfig(), tmp_path)
    made, _, _ = loop(tmp_path, trackers=[tracker])
    made.run(crops())
    tracker.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    for kind in (events.Audio, events.Images):
        assert [event.step for event in kind("vocoder/validation/0/made")] == [0, 5, 10]
        assert [event.step for event in kind("vocoder/validation/1/reference")] == [0]
    assert [event.step for event in events.Scalars("vocoder/validation/error")] == [0, 5, 10]
    assert [event.step for event in events.Scalars("vocoder/norm/adam")] == [2, 4, 6, 8, 10]


def test_the_account_says_everything_at_evaluations_and_saves(tmp_path: Path) -> None:
    made, _, _ = loop(tmp_path)
    made.run(crops())
    assert isinstance(made.reporter, Spoken)
    lines = made.reporter.noted
    assert [line for line in lines if "saved" in line] == [
        f"vocoder step {step}: saved step-{step:07d}" for step in (3, 6, 9, 10)
    ]
    account = next(line for line in lines if line.startswith("vocoder step 10/10: "))
    for part in ("losses error ", "gradients adam ", "learning rate adam 0.01", "speed steps ", "machine waiting for data ",
                 "memory ", "time left 0.0 s"):  # fmt: skip
        assert part in account


def test_the_loop_leaves_the_global_generator_as_it_was(tmp_path: Path) -> None:
    made, _, _ = loop(tmp_path)
    with seeded(11):
        made.run(crops())
        after = torch.rand(4)
    with seeded(11):
        assert torch.equal(after, torch.rand(4))
