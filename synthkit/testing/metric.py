"""Laws of metrics."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from synthkit.audio import Audio
from synthkit.errors import ConfigError
from synthkit.interfaces import Comparison, Metric, Score
from synthkit.testing.check import BrokenLaw, expect, untouched_randomness
from synthkit.testing.sounds import sounds

Build = Callable[[], Metric]


def comparison(sample_rate: int, made: str, number: int = 0) -> Comparison:
    """A second of sound beside the `same`, `worse` or `silent` sound, or `silence` beside itself."""
    reference = sounds(sample_rate, sample_rate, 1, first=number).numpy()
    noise = np.random.default_rng(number).normal(0, 0.1, reference.shape).astype(np.float32)
    versions = {
        "same": reference,
        "worse": (0.25 * reference + noise).clip(-1, 1),
        "silent": 0 * reference,
        "silence": 0 * reference,
    }
    return Comparison(
        made=Audio(versions[made].copy(), sample_rate),
        reference=Audio(0 * reference if made == "silence" else reference, sample_rate),
        elapsed=0.5,
    )


def nothing(build: Build, sample_rate: int = 22050) -> None:
    """Asked for a score before it has heard a clip, a metric raises `ConfigError`."""
    try:
        score = build().score()
    except ConfigError:
        return
    except Exception as error:
        raise BrokenLaw(f"it raises {type(error).__name__}") from error
    raise BrokenLaw(f"it gives {score.value}")


def finite(build: Build, sample_rate: int = 22050) -> None:
    """A score is a finite number with a name, also of silence."""
    for made in ("same", "worse", "silent", "silence"):
        score = _score(build(), comparison(sample_rate, made))
        expect(bool(score.name), "it has no name")
        expect(math.isfinite(score.value), f"that of the {made!r} sound is {score.value}")


def identity(build: Build, sample_rate: int = 22050) -> None:
    """No sound scores better than the reference itself."""
    same = _score(build(), comparison(sample_rate, "same"))
    for made in ("worse", "silent"):
        other = _score(build(), comparison(sample_rate, made))
        expect(
            _badness(same) <= _badness(other),
            f"the reference scores {same.value:.6g}, a {made!r} one {other.value:.6g}, and {same.better} is better",
        )


def items(build: Build, sample_rate: int = 22050) -> None:
    """The order of the clips does not matter, nor when the score is read; figures per item are as many as the items."""
    some = [comparison(sample_rate, made, number) for number, made in enumerate(("same", "worse", "worse"))]
    forward, backward = build(), build()
    for item in some:
        forward.update(item)
        forward.score()
    for item in reversed(some):
        backward.update(item)
    one, other = forward.score(), backward.score()
    expect(math.isclose(one.value, other.value, rel_tol=1e-6), f"it is {one.value} or {other.value}, by their order")
    expect(len(one.per_item) in (0, len(some)), f"{len(some)} clips give {len(one.per_item)} figures")


def input_kept(build: Build, sample_rate: int = 22050) -> None:
    """A metric leaves the sounds as they were, and global random states too."""
    item = comparison(sample_rate, "worse")
    copies = item.made.samples.copy(), item.reference.samples.copy()
    with untouched_randomness("it"):
        _score(build(), item)
    kept = np.array_equal(item.made.samples, copies[0]) and np.array_equal(item.reference.samples, copies[1])
    expect(kept, "it writes into the sounds it is given")


def _score(metric: Metric, item: Comparison) -> Score:
    metric.update(item)
    return metric.score()


def _badness(score: Score) -> float:
    return {"lower": score.value, "higher": -score.value, "zero": abs(score.value)}[score.better]


LAWS = (nothing, finite, identity, items, input_kept)
