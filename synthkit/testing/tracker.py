"""Laws of trackers."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from synthkit.audio import Audio
from synthkit.interfaces import Tracker
from synthkit.testing.check import expect, untouched_randomness
from synthkit.testing.sounds import sounds

Build = Callable[[Path], Tracker]


def writes(build: Build) -> None:
    """What a tracker is told before `close` lies in its folder afterwards, and nothing of it elsewhere in reach."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "run"
        folder.mkdir()
        _use(build, folder, (1, 2))
        expect(any(_sizes(folder).values()), "its folder has no file with anything in it")
        beside = [path.name for path in Path(name).iterdir() if path != folder]
        expect(not beside, f"it writes {beside[0] if beside else ''!r} beside its folder")


def appends(build: Build) -> None:
    """A tracker on the folder of a stopped run keeps what is there."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _use(build, folder, (1, 2))
        before = _sizes(folder)
        _use(build, folder, (3,))
        after = _sizes(folder)
        lost = [file for file, size in before.items() if after.get(file, -1) < size]
        expect(not lost, f"{lost[0] if lost else ''!r} is shorter or gone")
        expect(sum(after.values()) > sum(before.values()), "nothing of the second part is there")


def randomness(build: Build) -> None:
    """Tracking leaves global random states as they were."""
    with tempfile.TemporaryDirectory() as name, untouched_randomness("tracking"):
        _use(build, Path(name), (1,))


def _use(build: Build, folder: Path, steps: tuple[int, ...]) -> None:
    tracker = build(folder)
    for step in steps:
        tracker.scalars(step, {"vocoder/train/mel_l1": 1.0 / step, "vocoder/rate/steps_per_second": 2.5})
        tracker.audio(step, "vocoder/validation/0", Audio(sounds(16000, 4000, 1).numpy(), 16000))
        tracker.image(step, "vocoder/validation/0", np.full((20, 30, 3), 128, dtype=np.uint8))
    tracker.close()


def _sizes(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*") if path.is_file()}


LAWS = (writes, appends, randomness)
