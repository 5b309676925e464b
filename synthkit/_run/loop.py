"""The one training loop, for every objective: batches in, terms out, with validation, checkpoints, and a watch over its health.

What an objective draws at random in a step follows from (seed, attempt, step) alone, as the crops do, so that a run that was
stopped and resumed sees what the straight run saw. What the loop decides (to roll back, to save) follows from the terms and
from what is in the checkpoint, so that it decides the same too, in every process.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import numpy as np
import torch

from synthkit._run import checkpoint, keeping, memory
from synthkit._run.batches import RawBatch, Sources, to_batch
from synthkit._run.checkpoint import Identity
from synthkit._run.events import Event, record
from synthkit._run.folder import RunFolder
from synthkit._run.health import ADVICE, Finding, Limits
from synthkit._run.keeping import Keep
from synthkit._run.learner import Learner
from synthkit._run.live import Live, Meter, Reading
from synthkit._run.processes import Processes
from synthkit._run.reporter import Reporter
from synthkit._run.seeds import derive_seed
from synthkit._run.validation import Validation
from synthkit._run.watch import Watch
from synthkit.errors import RunError, TrainingError
from synthkit.interfaces import FeatureExtractor, Tracker
from synthkit.specs import FeatureSpec
from synthkit.training.engine import seeded


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The numbers of a training that the loop itself needs (see `TrainBlock` for their meaning)."""

    steps: int
    seed: int
    log_every: int
    evaluate_every: int
    save_every: int
    batch: int
    crop_seconds: float
    keep: Keep = field(default_factory=Keep)
    watch: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class _Due:
    """What a step calls for beside learning."""

    last: bool
    logs: bool
    evaluates: bool
    saves: bool
    """Whether a checkpoint is planned at this step."""
    stops: bool
    """Whether the user has stopped the training."""

    @property
    def anything(self) -> bool:
        """Whether it calls for anything that needs the terms."""
        return self.logs or self.evaluates or self.saves or self.stops


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
    processes: Processes = field(default_factory=Processes)
    """Who trains together; only the main process tracks, says, evaluates and saves."""

    def __post_init__(self) -> None:
        self._watch = Watch(self.learner, self.settings.watch)
        self._step = 0
        self._validation = Validation(
            part=self.part,
            learner=self.learner,
            extractor=self.extractor,
            crops=self.validation,
            seed=self.settings.seed,
            trackers=self.trackers,
            picture=self.picture,
        )

    def run(self, sources: Sources, start: int = 0) -> None:
        """Train.

        Raises:
            TrainingError: where the training is ill and rolling it back did not help, or memory is short.
            Stopped: after Ctrl-C; a checkpoint is saved first.
            CheckpointError: where a checkpoint cannot be written.
        """
        self._step, steps = start, self.settings.steps
        self._watch.begin()
        with (
            self._enough_memory(),
            _stop_on_interrupt() as stop,
            seeded(0),
            self.reporter.task(f"train {self.part}", steps) as task,
        ):
            live = Live(part=self.part, start=start, steps=steps, reporter=self.reporter, task=task)
            if start == 0:
                self._evaluate(0, live)
                self._save_start()
            while finding := self._train(sources, start, stop, live):
                live.phase(finding.step, "rolling back")
                start = self._roll_back(finding)

    def _train(self, sources: Sources, start: int, stop: threading.Event, live: Live) -> Finding | None:
        """Train from `start` to the end (then None is returned), or to where the training is found to be ill."""
        learner = self.learner
        with sources(start, learner.attempt) as source:
            meter = Meter(source, learner.component.spec.sample_rate, self.processes.count, live.clock)
            for step, raw in enumerate(source, start + 1):
                self._step, due = step, self._due(step, stop)
                self._learn(step, raw, due)
                meter.count(raw)
                live.step(step)
                if (due.anything or self._watch.is_due) and (finding := self._look(step, due)):
                    return finding
                if due.logs or due.stops:
                    self._log(step, meter, live)
                score = self._evaluate(step, live) if due.evaluates else {}
                self._save(step, score, due, live)
                if due.stops and not due.last:
                    raise Stopped(self.run_folder, self.part, step, self.settings.steps)
        return None

    def _due(self, step: int, stop: threading.Event) -> _Due:
        settings = self.settings
        last = step == settings.steps
        return _Due(
            last=last,
            logs=last or step % settings.log_every == 0,
            evaluates=last or step % settings.evaluate_every == 0,
            saves=last or step % settings.save_every == 0,
            stops=self.processes.any(stop.is_set()),
        )

    def _learn(self, step: int, raw: RawBatch, due: _Due) -> None:
        """One step. Its terms stay on the device until somebody has to know them."""
        learner, again = self.learner, [self.learner.attempt] if self.learner.attempt else []
        seed = derive_seed(self.settings.seed, "train", self.part, step, *again)
        _seed(learner.engine.device, seed)
        learner.engine.begin(seed)
        learner.engine.watch = due.logs
        batch = to_batch(raw, self.extractor, learner.engine.device)
        with learner.engine.autocast():  # for objectives that use the engine's backward and update alone
            terms = learner.objective.step(batch)
        self._watch.add(step, terms)
        if learner.average:
            learner.average.update()

    def _look(self, step: int, due: _Due) -> Finding | None:
        """Whether the training is too ill to go on; what else is found is said."""
        for finding in self._watch.look():
            if finding.fatal:
                return finding
            text = f"step {finding.step} of {self.part}: {finding.text}; {ADVICE[finding.kind]}"
            self._happened("finding", finding.step, text, f"{finding.kind}/{finding.term}", 1.0)
        return self._watch.weigh(step) if due.saves or due.evaluates or due.stops else None

    def _log(self, step: int, meter: Meter, live: Live) -> None:
        engine, optimisers = self.learner.engine, self.learner.objective.optimisers
        reading = Reading(
            terms=self._watch.terms,
            balance=self._watch.balance,
            norms={name: float(norm) for name, norm in engine.norms(optimisers).items()},
            learning_rates=engine.rates(optimisers),
            speed=meter.read(),
            memory=memory.used(engine.device),
        )
        self._track(step, reading.scalars())
        live.reading(step, reading)

    def _evaluate(self, step: int, live: Live) -> dict[str, float]:
        """The validation terms, from the main process."""
        live.phase(step, "evaluating")
        terms: dict[str, float] = self._validation.judge(step) if self.processes.is_main else {}
        terms = self.processes.share(terms)
        self._track(step, {f"validation/{name}": value for name, value in terms.items()})
        live.evaluated(step, terms)
        if self.settings.keep.best is not None:
            self.settings.keep.value(terms)  # a name that is wrong is told before the first step
        return terms

    def _save(self, step: int, score: Mapping[str, float], due: _Due, live: Live) -> None:
        """Write a checkpoint, where one is due or the evaluation was the best so far, and delete those that need not stay."""
        keep, run = self.settings.keep, self.run_folder
        if not self.processes.is_main:
            return
        planned = due.saves or keep.is_best(run, self.part, score)
        if not (planned or due.stops):
            return
        live.phase(step, "saving")
        said = {} if planned else {"interrupted": True}
        scored = {"score": {"term": keep.best, "value": keep.value(score)}} if keep.best and score else {}
        root = run.checkpoint_root(self.part)
        root.mkdir(parents=True, exist_ok=True)
        folder = checkpoint.save(root, step, self.identity, self.learner, {**self.meta, **scored, **said})
        self.saved(step, folder)
        keeping.prune(run, self.part, keep)
        live.saved(step, folder)

    def _save_start(self) -> None:
        """Keep the state before the first step where a rollback finds it, but no user: it has not learned anything."""
        if self.processes.is_main:
            root = self.run_folder.checkpoint_root(self.part) / keeping.START
            root.mkdir(parents=True, exist_ok=True)
            checkpoint.save(root, 0, self.identity, self.learner, self.meta)

    def _roll_back(self, finding: Finding) -> int:
        """Go back to the last good checkpoint, with smaller steps and other crops, and return its step.

        Raises `TrainingError` where that was tried often enough, or there is none.
        """
        learner, limits, run = self.learner, self.settings.watch, self.run_folder
        attempt, slow_down = learner.attempt + 1, learner.engine.slow_down * limits.slow_down
        trouble = f"step {finding.step} of {self.part}: {finding.text}"
        found = keeping.roll_back_to(run, self.part, self.reporter.warn) if self.processes.is_main else None
        folder = self.processes.share(None if found is None else str(found))
        if attempt > limits.rollbacks or folder is None:
            raise TrainingError(f"{trouble}; {self._advice(folder)}")
        step = checkpoint.restore(Path(folder), learner)
        learner.attempt, learner.engine.slow_down = attempt, slow_down
        self._watch.begin()
        if self.processes.is_main:
            keeping.forget_later(run, self.part, step)
        text = (
            f"{trouble}; back to step {step} with other crops and learning rates times {slow_down:.3g} "
            f"(rollback {attempt} of {limits.rollbacks})"
        )
        self._happened("rollback", finding.step, text, "rollbacks", float(attempt))
        return step

    def _advice(self, folder: str | None) -> str:
        """What to do about a training that cannot be helped, with the present values."""
        numerics, attempt = self.learner.engine.numerics, self.learner.attempt
        tried = f"rolled back {attempt} times, in vain" if attempt else "it is not rolled back"
        saved = folder is not None and keeping.START not in Path(folder).parts
        kept = f"the last good checkpoint is {folder!r}" if saved else "there is no good checkpoint"
        clip = "null" if numerics.clip_norm is None else f"{numerics.clip_norm:g}"
        precision = "" if numerics.precision == "fp32" else f", or train.precision fp32 (now {numerics.precision})"
        return (
            f"{tried}; {kept}. A smaller learning_rate of the objective usually helps, or a train.clip_norm "
            f"(now {clip}){precision}"
        )

    def _happened(self, kind: Literal["finding", "rollback"], step: int, text: str, name: str, value: float) -> None:
        """Say what happened, keep it for the report, and mark it in the metrics."""
        if self.processes.is_main:
            self.reporter.warn(text)
            record(self.run_folder, Event(kind=kind, stage="train", part=self.part, step=step, text=text))
            self._track(step, {f"watch/{name}": value})

    def _track(self, step: int, values: Mapping[str, float]) -> None:
        for tracker in self.trackers if self.processes.is_main else ():
            tracker.scalars(step, {f"{self.part}/{name}": value for name, value in values.items()})

    @contextmanager
    def _enough_memory(self) -> Iterator[None]:
        """Within it, a shortage of memory is an error that names the settings which matter."""
        try:
            yield
        except (MemoryError, RuntimeError) as error:
            if not memory.is_shortage(error):
                raise
            settings, numerics = self.settings, self.learner.engine.numerics
            newest = self.run_folder.newest(self.part)
            kept = f"the checkpoint {str(newest)!r} is whole" if newest else "no checkpoint was due yet"
            raise TrainingError(
                f"out of memory in step {self._step} of {self.part} on {self.learner.engine.device}: what matters are "
                f"train.batch (now {settings.batch}), train.crop_seconds (now {settings.crop_seconds:g}) and "
                f"train.accumulate (now {numerics.accumulate}; with twice as many pieces the same batch needs about half), "
                f"on a GPU also train.precision (now {numerics.precision}); {kept}"
            ) from error


class Stopped(RunError):
    """The user stopped the training; everything up to here is saved."""

    exit_code = 130

    def __init__(self, run: RunFolder, part: str, step: int, steps: int) -> None:
        super().__init__(
            f"stopped: {part} is at step {step} of {steps}, saved in {str(run.path)!r}; go on with --resume"
        )


def _seed(device: torch.device, seed: int) -> None:
    """What `torch.manual_seed` does, without its millisecond of stack traces for each kind of device that is not used."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed_all(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)


@contextmanager
def _stop_on_interrupt() -> Iterator[threading.Event]:
    """The first Ctrl-C or SIGTERM sets the event, so that the step ends and is saved; the second interrupts at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread is given signals
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
