"""The one training loop, for every objective: batches in, terms out, with progress, evaluation and checkpoints.

What an objective draws at random in a step follows from (seed, step) alone, as the crops do, so that a run that was stopped and
resumed sees what the straight run saw.
"""

from __future__ import annotations

import math
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from synthkit._run import checkpoint
from synthkit._run.checkpoint import Identity
from synthkit._run.folder import RunFolder, step_of
from synthkit._run.learner import Learner
from synthkit._run.reporter import Reporter, Task
from synthkit._run.seeds import derive_seed
from synthkit.audio import Audio
from synthkit.errors import RunError, TrainingError
from synthkit.interfaces import Batch, FeatureExtractor, Tracker, Vocoder
from synthkit.specs import FeatureSpec
from synthkit.training.engine import seeded


class RawBatch(Protocol):
    """Crops as a loader gives them."""

    @property
    def audio(self) -> np.ndarray:
        """`[B, T]` float32."""

    @property
    def labels(self) -> np.ndarray | None:
        """`[B]` int64."""

    @property
    def clips(self) -> tuple[str, ...]:
        """Ids of the clips."""

    @property
    def rows(self) -> range:
        """Rows of the whole batch."""


class Source(Protocol):
    """A loader: batches from some step on."""

    @property
    def waited(self) -> float:
        """Seconds that were spent waiting for batches so far."""

    def __iter__(self) -> Iterator[RawBatch]: ...


class Processes(Protocol):
    """The processes that train together (see `synthkit._run.processes`)."""

    @property
    def count(self) -> int:
        """How many there are."""

    @property
    def is_main(self) -> bool:
        """Whether this one speaks, evaluates and saves for all."""

    def share(self, value: Any) -> Any:
        """The main process's value, in every process."""


class _Alone:
    count, is_main = 1, True

    def share(self, value: Any) -> Any:
        return value


Sources = Callable[[int, int], AbstractContextManager[Source]]
"""`sources(start, attempt)`: the batches after step `start`; another attempt, after a rollback, sees other crops."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The numbers of a training that the loop itself needs (see `TrainBlock` for their meaning)."""

    steps: int
    seed: int
    log_every: int
    evaluate_every: int
    save_every: int
    keep_last: int
    keep_every: int | None
    keep_best: str | None


@dataclass(kw_only=True)
class Loop:
    """One part of a recipe learning. `run` trains from step `start` to the end."""

    run_folder: RunFolder
    part: str
    identity: Identity
    learner: Learner
    extractor: FeatureExtractor
    settings: Settings
    validation: Sequence[RawBatch]
    trackers: Sequence[Tracker]
    reporter: Reporter
    saved: Callable[[int, Path], None]
    """Called with the step and folder of each checkpoint."""
    picture: Callable[[np.ndarray, FeatureSpec], np.ndarray]
    """Draws features `[M, N]` as an image, for trackers that show pictures."""
    meta: Mapping[str, Any] = field(default_factory=dict)
    """What else the checkpoint's meta.json shall say."""
    processes: Processes = field(default_factory=_Alone)
    """Who trains together; only the main process tracks, says, evaluates and saves."""

    def run(self, sources: Sources, start: int = 0) -> None:
        """Train. Raises `TrainingError` for a term that is not finite, `Stopped` after Ctrl-C (a checkpoint is saved first)."""
        if start == 0:
            self._evaluate(0)
        stop = threading.Event()
        with (
            _stop_on_interrupt(stop),
            seeded(0),
            self.reporter.task(f"train {self.part}", self.settings.steps) as task,
            sources(start, self.learner.attempt) as source,
        ):
            self._train(source, start, stop, task)

    def _train(self, source: Source, start: int, stop: threading.Event, task: Task) -> None:
        settings = self.settings
        meter = _Meter(source)
        for step, raw in enumerate(source, start + 1):
            seed = derive_seed(settings.seed, "train", self.part, step)
            torch.manual_seed(seed)
            self.learner.engine.begin(seed)
            terms = self.learner.objective.step(self.batch(raw))
            if self.learner.average:
                self.learner.average.update()
            meter.count(len(raw.audio))
            last = step == settings.steps
            logs, evaluates = step % settings.log_every == 0 or last, step % settings.evaluate_every == 0 or last
            saves = step % settings.save_every == 0 or last or stop.is_set()
            if logs or saves:
                values = self._finite(step, terms)
                rates = meter.rates()
                task.update(step, _status(values, rates))
                self._track(step, {**_prefix("train", values), **_prefix("rate", rates)})
            else:
                task.update(step)
            score = self._evaluate(step) if evaluates else {}
            if saves or self._is_best(score):
                self._save(step, score)
                self._prune()
            if stop.is_set() and not last:
                raise Stopped(self.run_folder, self.part, step, settings.steps)

    def batch(self, raw: RawBatch) -> Batch:
        """Crops on the engine's device, with their features."""
        audio = torch.from_numpy(raw.audio).to(self.learner.engine.device, non_blocking=True)
        labels = None if raw.labels is None else torch.from_numpy(raw.labels).to(self.learner.engine.device)
        with torch.no_grad():
            features = self.extractor.extract(audio)
        return Batch(audio=audio, features=features, labels=labels, clips=raw.clips, rows=raw.rows)

    def _finite(self, step: int, terms: Mapping[str, Tensor]) -> dict[str, float]:
        values = {name: float(self.learner.engine.mean(value)) for name, value in terms.items()}
        bad = [name for name, value in values.items() if not math.isfinite(value)]
        if bad:
            newest = self.run_folder.newest(self.part)
            kept = f"the last good checkpoint is {str(newest)!r}" if newest else "no checkpoint was saved yet"
            raise TrainingError(
                f"step {step} of {self.part}: the term {bad[0]!r} is {values[bad[0]]}; {kept}. "
                "A smaller learning_rate of the objective usually helps."
            )
        return values

    def _evaluate(self, step: int) -> dict[str, float]:
        networks = list(self.learner.component.networks.values())
        for network in networks:
            network.eval()
        try:
            with torch.no_grad(), self._averaged(), seeded(derive_seed(self.settings.seed, "validation", self.part)):
                values = self._validation_terms()
                self._show_examples(step)
        finally:
            for network in networks:
                network.train()
        self._track(step, _prefix("validation", values))
        text = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        self.reporter.say(f"{self.part} step {step}: validation {text}")
        return values

    def _averaged(self) -> AbstractContextManager[None]:
        return self.learner.average.applied() if self.learner.average else nullcontext()

    def _validation_terms(self) -> dict[str, float]:
        totals: dict[str, float] = {}
        items = 0
        for raw in self.validation:
            for name, value in self.learner.objective.evaluate(self.batch(raw)).items():
                totals[name] = totals.get(name, 0.0) + float(self.learner.engine.mean(value)) * len(raw.audio)
            items += len(raw.audio)
        return {name: total / items for name, total in totals.items()}

    def _show_examples(self, step: int) -> None:
        watchers = [tracker for tracker in self.trackers if type(tracker).audio is not Tracker.audio]
        if not watchers or not isinstance(self.learner.component, Vocoder):
            return
        batch = self.batch(self.validation[0])
        made = self.learner.component.vocode(batch.features[:2])
        pictures = self.extractor.extract(made)
        rate = self.learner.component.spec.sample_rate
        for tracker in watchers:
            for item, (samples, features) in enumerate(zip(made, pictures, strict=True)):
                name = f"{self.part}/validation/{item}"
                tracker.audio(step, name, Audio(samples[None].float().cpu().numpy(), rate))
                tracker.image(step, name, self.picture(features.float().cpu().numpy(), self.learner.component.spec))

    def _track(self, step: int, values: Mapping[str, float]) -> None:
        for tracker in self.trackers:
            tracker.scalars(step, {f"{self.part}/{name}": value for name, value in values.items()})

    def _save(self, step: int, score: Mapping[str, float]) -> None:
        root = self.run_folder.checkpoint_root(self.part)
        root.mkdir(parents=True, exist_ok=True)
        term = self.settings.keep_best
        scored = {} if term is None or term not in score else {"score": {"term": term, "value": score[term]}}
        folder = checkpoint.save(root, step, self.identity, self.learner, {**self.meta, **scored})
        self.saved(step, folder)

    def _is_best(self, score: Mapping[str, float]) -> bool:
        """Whether an evaluation (empty: there was none) is better than that of every checkpoint, by the term of `keep.best`."""
        term = self.settings.keep_best
        if term is None or not score:
            return False
        if term not in score:
            known = ", ".join(sorted(score))
            raise TrainingError(
                f"keep.best names the term {term!r}, which this objective does not evaluate; it evaluates {known}"
            )
        lowest = self.run_folder.lowest(self.part, term)
        return lowest is None or score[term] < lowest

    def _prune(self) -> None:
        folders = self.run_folder.checkpoints(self.part)
        keep = set(folders[-self.settings.keep_last :])
        if self.settings.keep_every:
            keep |= {folder for folder in folders if step_of(folder) % self.settings.keep_every == 0}
        best = self.run_folder.best(self.part)
        for folder in folders:
            if folder not in keep and folder != best:
                shutil.rmtree(folder)


class Stopped(RunError):
    """The user stopped the training; everything up to here is saved."""

    exit_code = 130

    def __init__(self, run: RunFolder, part: str, step: int, steps: int) -> None:
        super().__init__(
            f"stopped: {part} is at step {step} of {steps}, saved in {str(run.path)!r}; go on with --resume"
        )


class _Meter:
    """Speed since it was last read, and the share of the time that was spent waiting for data."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._since, self._waited, self._steps, self._items = time.perf_counter(), source.waited, 0, 0

    def count(self, items: int) -> None:
        self._steps += 1
        self._items += items

    def rates(self) -> dict[str, float]:
        now, waited = time.perf_counter(), self._source.waited
        seconds = max(now - self._since, 1e-9)
        rates = {
            "steps_per_second": self._steps / seconds,
            "items_per_second": self._items / seconds,
            "data_wait": min(1.0, (waited - self._waited) / seconds),
        }
        self._since, self._waited, self._steps, self._items = now, waited, 0, 0
        return rates


@contextmanager
def _stop_on_interrupt(stop: threading.Event) -> Iterator[None]:
    """The first Ctrl-C sets `stop`, so that the step ends and is saved; the second interrupts at once."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread is given signals
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _prefix(prefix: str, values: Mapping[str, float]) -> dict[str, float]:
    return {f"{prefix}/{name}": value for name, value in values.items()}


def _status(values: Mapping[str, float], rates: Mapping[str, float]) -> str:
    terms = "  ".join(f"{name} {value:.3g}" for name, value in values.items())
    return f"{terms}  {rates['steps_per_second']:.2g} steps/s  data {rates['data_wait']:.0%}"
