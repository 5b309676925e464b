"""What an evaluation finds: every metric of every vocoder over the clips, and how the vocoders differ."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from synthkit._catalog import Catalog
from synthkit._recipe.model import Block
from synthkit._run.reporter import Reporter
from synthkit._stages.evaluation.contenders import Contender
from synthkit._stages.evaluation.making import Made
from synthkit._stages.evaluation.statistics import LEVEL, Estimate, estimate, paired
from synthkit._stages.report import scores
from synthkit._stages.report.scores import Result, finite
from synthkit._stages.report.sources import Item, Version
from synthkit._stages.synthesis import spec_at
from synthkit.errors import SynthkitError
from synthkit.interfaces import Score
from synthkit.specs import FeatureSpec


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One metric of one vocoder."""

    vocoder: str
    score: Score | None
    """What the metric itself says over all clips; None where it could measure none."""
    mean: Estimate | None
    """The mean of the clips' figures; None where the metric gives none for a clip."""
    difference: Estimate | None
    """How far it lies above the first vocoder on the clips that both have; None for the first itself."""
    problem: str

    @property
    def verdict(self) -> Literal["", "better", "worse", "differs"]:
        """What the difference says, where 0 lies outside of its interval; `differs` where neither direction is better."""
        if self.score is None or self.difference is None or not self.difference.excludes_zero:
            return ""
        if self.score.better == "zero":
            return "differs"
        return "better" if (self.difference.mean < 0) == (self.score.better == "lower") else "worse"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One metric of all vocoders."""

    metric: str
    summary: str
    unit: str
    better: str
    measured: tuple[Measured, ...]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Everything that the table, the page and the file say."""

    folder: Path
    data: Mapping[str, Any]
    """`name`, `use`, `settings`, `split`, `licence`, `citation`."""
    seconds: float
    seed: int
    spec: FeatureSpec
    """What the sounds are compared in, and at whose rate."""
    contenders: tuple[Contender, ...]
    made: Made
    results: tuple[Result, ...]
    rows: tuple[Row, ...]
    environment: Mapping[str, str]

    @property
    def items(self) -> Sequence[Item]:
        """The clips in all their versions."""
        return self.made.items

    @property
    def title(self) -> str:
        """What is evaluated on what."""
        return f"{' beside '.join(it.name for it in self.contenders)} on {self.data['name']}"

    @property
    def page(self) -> Path:
        """The page to listen to."""
        return self.folder / "evaluation.html"

    @property
    def file(self) -> Path:
        """All numbers, as JSON."""
        return self.folder / "evaluation.json"

    def role(self, version: Version) -> str:
        """What stands beside the name of a version: its rate."""
        if version.is_reference:
            return "the recording"
        rate = next(it.spec.sample_rate for it in self.contenders if it.name == version.name)
        return f"{rate:,} Hz"

    def to_json(self) -> dict[str, Any]:
        """The content of `evaluation.json`; what is not a finite number is null."""
        return {
            "format": 1,
            "title": self.title,
            "data": dict(self.data),
            "seconds": self.seconds,
            "seed": self.seed,
            "confidence": {"level": LEVEL, "method": "Student's t over clips; differences are paired by clip"},
            "compared_in": self.spec.to_dict(),
            "vocoders": [{"name": it.name, "origin": it.origin, "spec": it.spec.to_dict()} for it in self.contenders],
            "metrics": [_row_json(row) for row in self.rows],
            "clips": [self._clip_json(item) for item in self.items],
            "left_out": [asdict(report) for report in self.made.left_out],
            "failures": [asdict(failure) for failure in self.made.failures],
            "environment": dict(self.environment),
        }

    def _clip_json(self, item: Item) -> dict[str, Any]:
        return {
            "id": item.id,
            "label": item.label,
            "licence": item.licence,
            "credit": self.made.credits[item.id],
            "seed": item.seed,
            "versions": [
                {
                    "name": version.name,
                    "file": version.file.relative_to(self.folder).as_posix(),
                    "elapsed": version.elapsed,
                    "clipped": version.clipped,
                    "values": {
                        result.metric: finite(result.item(item.id))
                        for result in self.results
                        if result.version == version.name
                    },
                }
                for version in item.versions
            ],
        }


def common_spec(contenders: Sequence[Contender]) -> FeatureSpec:
    """What the sounds are compared in: the features that all share, else those like MelGAN's at the lowest of the rates."""
    specs = {contender.spec for contender in contenders}
    return specs.pop() if len(specs) == 1 else spec_at(min(spec.sample_rate for spec in specs))


def choose_metrics(wanted: Sequence[str], spec: FeatureSpec, catalog: Catalog, reporter: Reporter) -> tuple[Block, ...]:
    """The metrics by name, or all that there are and can be used with these features.

    Raises:
        UnknownName: nobody offers one that is wanted.
        ConfigError: one that is wanted cannot be used with these features.
    """
    blocks = []
    for name in dict.fromkeys(wanted) or [offered.full_name for offered in catalog.offers("metric")]:
        try:
            offered, config = catalog.configure("metric", name, {})
            catalog.build(offered, config, spec)
        except SynthkitError as error:
            if wanted:
                raise
            reporter.warn(f"evaluate: the metric {name} is left out: {error}")
        else:
            blocks.append(Block(kind="metric", offered=offered, config=config))
    return tuple(blocks)


def measure(
    metrics: Sequence[Block],
    spec: FeatureSpec,
    items: Sequence[Item],
    contenders: Sequence[Contender],
    catalog: Catalog,
    reporter: Reporter,
) -> tuple[tuple[Result, ...], tuple[Row, ...]]:
    """All figures, clip by clip, and the means of each metric."""
    results = scores.compute(metrics, spec, items, catalog, reporter)
    for result in results:
        if result.problem:
            reporter.warn(f"evaluate: {result.metric} of {result.version}: {result.problem}")
    rows = []
    for block in metrics:
        name = block.offered.offer.name
        mine = {result.version: result for result in results if result.metric == name}
        ordered = [mine.get(it.name) or Result(metric=name, version=it.name, score=None) for it in contenders]
        score = next((result.score for result in ordered if result.score), None)
        rows.append(
            Row(
                metric=name,
                summary=block.offered.offer.summary,
                unit=score.unit if score else "",
                better=score.better if score else "lower",
                measured=tuple(_measured(ordered)),
            )
        )
    return results, tuple(rows)


def _measured(results: Sequence[Result]) -> Iterator[Measured]:
    first = _values(results[0])
    for number, result in enumerate(results):
        values = _values(result)
        yield Measured(
            vocoder=result.version,
            score=result.score,
            mean=estimate(list(values.values())),
            difference=paired(first, values) if number else None,
            problem=result.problem,
        )


def _values(result: Result) -> dict[str, float]:
    """The finite figures of a metric's clips."""
    values = {clip: result.item(clip) for clip in result.clips}
    return {clip: value for clip, value in values.items() if value is not None and math.isfinite(value)}


def _row_json(row: Row) -> dict[str, Any]:
    return {
        "name": row.metric,
        "unit": row.unit,
        "better": row.better,
        "vocoders": [
            {
                "name": it.vocoder,
                "mean": _estimate_json(it.mean),
                "difference_to_first": _estimate_json(it.difference),
                "verdict": it.verdict or None,
                "score": finite(it.score.value) if it.score else None,
                "problem": it.problem or None,
            }
            for it in row.measured
        ],
    }


def _estimate_json(value: Estimate | None) -> dict[str, Any] | None:
    return None if value is None else {"value": value.mean, "low": value.low, "high": value.high, "clips": value.count}
