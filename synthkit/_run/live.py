"""What is shown of a training while it goes: numbers for the trackers, a panel under the bar, lines for the log."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from synthkit._run.batches import RawBatch, Source
from synthkit._run.reporter import Details, Reporter, Task, duration

LINE_SECONDS = 10.0
"""Shortest time between two lines of the running account."""
Numbers = Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The numbers of one logged step."""

    terms: Numbers
    """The losses."""
    balance: Numbers
    """Of each critic, its loss as a share of an undecided critic's: 1 cannot tell made from real, 0 always can."""
    norms: Numbers
    """Of each optimiser, the norm of its gradient."""
    learning_rates: Numbers
    """Of each optimiser."""
    speed: Numbers
    """`steps_per_second`, `items_per_second` (crops), `audio_seconds_per_second`, and `data_wait`, a share of the time."""
    memory: Numbers
    """MiB."""

    def scalars(self) -> dict[str, float]:
        """All of them under one name each."""
        groups = {
            "train": self.terms,
            "balance": self.balance,
            "norm": self.norms,
            "rate": {**self.speed, **self.memory},
            "rate/learning_rate": self.learning_rates,
        }
        return {f"{group}/{name}": value for group, values in groups.items() for name, value in values.items()}

    def rows(self) -> dict[str, dict[str, str]]:
        """The same for people, by heading."""
        speed, memory = self.speed, self.memory
        machine = {"waiting for data": f"{speed['data_wait']:.0%}", "memory": f"{memory['memory_mib']:,.0f} MiB"}
        if "cuda_memory_mib" in memory:
            machine["GPU memory"] = f"{memory['cuda_memory_mib']:,.0f} MiB"
        return {
            "losses": {name: f"{value:.3g}" for name, value in self.terms.items()},
            "balance": {name: f"{value:.2f} of undecided" for name, value in self.balance.items()},
            "gradients": {name: f"{value:.3g}" for name, value in self.norms.items()},
            "learning rate": {name: f"{value:.2g}" for name, value in self.learning_rates.items()},
            "speed": {
                "steps": f"{speed['steps_per_second']:.3g}/s",
                "crops": f"{speed['items_per_second']:.3g}/s",
                "sound": f"{speed['audio_seconds_per_second']:.3g} s/s",
            },
            "machine": machine,
        }


class Meter:
    """Speed since it was last read, and the share of the time that was spent waiting for data."""

    def __init__(self, source: Source, sample_rate: int, processes: int, clock: Callable[[], float]) -> None:
        self._source, self._sample_rate, self._processes, self._clock = source, sample_rate, processes, clock
        self._since, self._waited, self._steps, self._items, self._samples = clock(), source.waited, 0, 0, 0

    def count(self, raw: RawBatch) -> None:
        """One step is done, on one batch (the share of this process)."""
        self._steps += 1
        self._items += len(raw.audio)
        self._samples += raw.audio.size

    def read(self) -> dict[str, float]:
        """The numbers of `Reading.speed`, of all processes together; counting begins anew."""
        now, waited = self._clock(), self._source.waited
        seconds = max(now - self._since, 1e-9)
        speed = {
            "steps_per_second": self._steps / seconds,
            "items_per_second": self._processes * self._items / seconds,
            "audio_seconds_per_second": self._processes * self._samples / self._sample_rate / seconds,
            "data_wait": min(1.0, (waited - self._waited) / seconds),
        }
        self._since, self._waited, self._steps, self._items, self._samples = now, waited, 0, 0, 0
        return speed


@dataclass(kw_only=True)
class Live:
    """Shows one training. Everything is one call each, so that the loop has no formatting in it."""

    part: str
    start: int
    steps: int
    reporter: Reporter
    task: Task
    clock: Callable[[], float] = time.monotonic
    _began: float = field(init=False)
    _noted: float = field(init=False)
    _rows: dict[str, dict[str, str]] = field(init=False, default_factory=dict)
    _validation: dict[str, str] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._began = self._noted = self.clock()

    def phase(self, step: int, name: str) -> None:
        """Say what is being done now: `training`, `evaluating`, `saving`, `rolling back`."""
        self.task.update(step, details=self._details(name))

    def step(self, step: int) -> None:
        """One step is done."""
        self.task.update(step)

    def reading(self, step: int, reading: Reading) -> None:
        """The numbers of a logged step: on the panel now, in the log when the last line there is old enough."""
        self._rows = reading.rows()
        self.task.update(step, details=self._details("training"))
        if self.clock() - self._noted >= LINE_SECONDS:
            self.line(step)

    def evaluated(self, step: int, values: Numbers) -> None:
        """The validation terms: on the panel until the next, and said."""
        shown = {name: f"{value:.4g}" for name, value in values.items()}
        self._validation = {"step": f"{step:,}", **shown}
        if self._rows:
            self.line(step)
        self.phase(step, "training")
        self.reporter.say(f"{self.part} step {step}: validation {_inline(shown)}")

    def saved(self, step: int, folder: Path) -> None:
        """A checkpoint is written."""
        self.reporter.note(f"{self.part} step {step}: saved {folder.name}")
        self.phase(step, "training")

    def line(self, step: int) -> None:
        """A line of the running account, whatever the time."""
        self._noted = self.clock()
        rows = {**self._rows, "time left": {"": self._left(step)}}
        text = " | ".join(f"{heading} {_inline(values)}" for heading, values in rows.items() if values)
        self.reporter.note(f"{self.part} step {step}/{self.steps}: {text}")

    def _details(self, phase: str) -> Details:
        return {"phase": {"": phase}, **self._rows, "validation": self._validation}

    def _left(self, step: int) -> str:
        done = step - self.start
        return duration((self.clock() - self._began) / done * (self.steps - step)) if done > 0 else "unknown"


def _inline(values: Mapping[str, str]) -> str:
    return "  ".join(f"{name} {value}".strip() for name, value in values.items())
