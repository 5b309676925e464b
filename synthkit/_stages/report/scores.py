"""The metrics of a recipe over all generated clips: one metric object per version, each compared with the originals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from synthkit._catalog import Catalog
from synthkit._recipe.model import Block
from synthkit._run.reporter import Reporter
from synthkit._stages.report.sources import Item, Version
from synthkit._stages.report.words import duration
from synthkit.audio import Audio, read
from synthkit.errors import AudioError, SynthkitError
from synthkit.interfaces import Comparison, Metric, Score
from synthkit.specs import FeatureSpec


@dataclass(frozen=True, kw_only=True)
class Result:
    """What one metric says about one version. `problem` says why `score` is None, or which clips it does not cover."""

    metric: str
    version: str
    score: Score | None
    clips: tuple[str, ...] = ()
    """Ids of the clips behind `score.per_item`."""
    problem: str = ""

    def item(self, clip: str) -> float | None:
        """The figure of one clip; None where there is none."""
        if self.score is None or len(self.score.per_item) != len(self.clips) or clip not in self.clips:
            return None
        return self.score.per_item[self.clips.index(clip)]


def compute(
    metrics: Sequence[Block], spec: FeatureSpec, items: Sequence[Item], catalog: Catalog, reporter: Reporter
) -> tuple[Result, ...]:
    """Every metric for every version that has originals to compare with; they are compared at the rate of `spec`."""
    names = list(dict.fromkeys(version.name for item in items if item.reference for version in item.made))
    running = {
        (block.offered.offer.name, name): _Running(catalog.build(block.offered, block.config, spec))
        for block in metrics
        for name in names
    }
    compared = [item for item in items if item.reference is not None]
    with reporter.task("metrics", len(compared)) as task:
        for number, item in enumerate(compared, 1):
            for version, comparison in _comparisons(item, spec):
                for (_, name), metric in running.items():
                    if name == version.name:
                        metric.update(item.id, comparison)
            task.update(number, item.title)
    return tuple(metric.result(*key) for key, metric in running.items())


def _comparisons(item: Item, spec: FeatureSpec) -> list[tuple[Version, Comparison | AudioError]]:
    assert item.reference is not None
    original = read(item.reference.file)
    pairs: list[tuple[Version, Comparison | AudioError]] = []
    for version in item.made:
        try:
            made, reference = aligned(read(version.file), original, spec)
        except AudioError as error:
            pairs.append((version, error))
        else:
            pairs.append((version, Comparison(made=made, reference=reference, elapsed=version.elapsed)))
    return pairs


def aligned(made: Audio, reference: Audio, spec: FeatureSpec) -> tuple[Audio, Audio]:
    """Both at the rate of the spec, with the same channels (else mixed to one) and the length of the shorter.

    Raises `AudioError` where the lengths differ by more than a hop, which whole frames do not explain.
    """
    made, reference = made.resample(spec.sample_rate), reference.resample(spec.sample_rate)
    if made.channels != reference.channels:
        made, reference = made.mono(), reference.mono()
    if abs(made.frames - reference.frames) > spec.hop_length:
        raise AudioError(f"it lasts {duration(made.seconds)}, its original {duration(reference.seconds)}")
    count = min(made.frames, reference.frames)
    return made.crop(0, count), reference.crop(0, count)


class _Running:
    """One metric object; a clip that it cannot measure is left out, and the first reason is kept."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self._clips: list[str] = []
        self._failed = 0
        self._problem = ""

    def update(self, clip: str, comparison: Comparison | AudioError) -> None:
        try:
            if isinstance(comparison, AudioError):
                raise comparison
            self._metric.update(comparison)
        except Exception as error:  # noqa: BLE001 - a metric of a plugin may raise anything; the page says what it was
            self._failed += 1
            self._problem = self._problem or f"{clip}: {_reason(error)}"
        else:
            self._clips.append(clip)

    def result(self, metric: str, version: str) -> Result:
        score, problem = None, self._problem
        if self._failed:
            problem = f"{self._failed} of {self._failed + len(self._clips)} clips could not be measured ({problem})"
        if self._clips:
            try:
                score = self._metric.score()
            except Exception as error:  # noqa: BLE001 - as above
                problem = problem or _reason(error)
        return Result(metric=metric, version=version, score=score, clips=tuple(self._clips), problem=problem)


def _reason(error: Exception) -> str:
    text = str(error) or "no reason given"
    return text if isinstance(error, SynthkitError) else f"{type(error).__name__}: {text}"


def best(results: Sequence[Result]) -> str | None:
    """The version that one metric finds best; None where fewer than two have a figure, or the best are equal.

    >>> def result(version, value): return Result(metric="m", version=version, score=Score(name="m", value=value))
    >>> best([result("a", 2.0), result("b", 1.0), result("c", math.nan)])
    'b'
    >>> best([result("a", 1.0), result("b", 1.0)]) is None
    True
    """
    ranked = sorted(
        (_badness(result.score), result.version)
        for result in results
        if result.score is not None and math.isfinite(result.score.value)
    )
    if len(ranked) < 2 or ranked[0][0] == ranked[1][0]:
        return None
    return ranked[0][1]


def _badness(score: Score) -> float:
    return {"lower": score.value, "higher": -score.value, "zero": abs(score.value)}[score.better]


def to_json(result: Result) -> Mapping[str, Any]:
    """A result as JSON can hold it: what is not a finite number is null."""
    score = result.score
    return {
        "version": result.version,
        "name": result.metric,
        "value": None if score is None else finite(score.value),
        "unit": None if score is None else score.unit,
        "better": None if score is None else score.better,
        "per_item": [{"clip": clip, "value": finite(result.item(clip))} for clip in result.clips],
        "problem": result.problem or None,
    }


def finite(value: float | None) -> float | None:
    """The number itself; None for what JSON has no word for."""
    return float(value) if value is not None and math.isfinite(value) else None
