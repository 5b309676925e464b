"""All that the page and the figures are made of, and what both say of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from synthkit._recipe.model import Recipe
from synthkit._run.events import Event
from synthkit._run.folder import RunFolder
from synthkit._stages.converted.findings import Conversion
from synthkit._stages.generation.judgement import Judgement
from synthkit._stages.report import scores
from synthkit._stages.report.scores import Result, finite
from synthkit._stages.report.sources import DataSummary, History, Item, Version
from synthkit._stages.report.words import listing, plural
from synthkit.config import ConverterConfig
from synthkit.interfaces import ClipReport


@dataclass(frozen=True, kw_only=True)
class Findings:
    """All that the page and the figures are made of."""

    recipe: Recipe
    run: RunFolder
    items: tuple[Item, ...]
    results: tuple[Result, ...]
    history: Mapping[str, History]
    data: DataSummary
    environment: Mapping[str, str]
    stage_seconds: Mapping[str, float] = field(default_factory=dict)
    events: tuple[Event, ...] = ()
    """What was found wrong with the training, and rollbacks."""
    judgement: Judgement | Conversion | None = None
    """What was found of the clips of the model or converter."""
    not_judged: str = ""
    """Why there is no judgement of one that should have one."""

    @property
    def title(self) -> str:
        """The heading of the page."""
        return self.recipe.report.title or self.recipe.name

    @property
    def own_versions(self) -> frozenset[str]:
        """The names under which the recipe's own vocoder is heard."""
        return frozenset(version.name for item in self.items for version in item.versions if version.role == "vocoder")

    def steps(self, part: str) -> int | None:
        """How many steps a part was trained in this run; None where it was not."""
        trained = [training.settings for training in self.recipe.train if training.settings.part == part]
        if not trained:
            return None
        logged = self.history[part].steps if part in self.history else 0
        return logged or trained[0].steps

    def role(self, version: Version) -> str:
        """What a version is to this run, in words."""
        if version.is_reference:
            return "the recording"
        if version.role == "beginning":
            return "the real beginning"
        if version.role == "converted":
            return "converted"
        if version.role == "compare":
            return "for comparison"
        steps = self.steps("vocoder")
        return "this run's vocoder" if steps is None else f"trained here, {plural(steps, 'step')}"


def sentence(findings: Findings) -> str:
    """What was made, in one sentence."""
    recipe, items = findings.recipe, findings.items
    if not items:
        return "No clip was generated, so there is nothing to hear."
    made = list(dict.fromkeys(version.name for item in items for version in item.made))
    by = f"by {listing(made)}" if made else "without a vocoder"
    trained = [f"the {part} was trained for {plural(steps, 'step')}" for part, steps in _trained(findings)]
    ending = f"; {listing(trained)}" if trained else ""
    count = plural(len(items), "clip")
    if recipe.model is not None:
        model, copies = recipe.model.offered.offer.name, sum(item.reference is not None for item in items)
        beside = f", beside {plural(copies, 'copy', 'copies')} of real ones" if copies else ""
        return f"{plural(len(items) - copies, 'clip')} made up by {model} and turned into sound {by}{beside}{ending}."
    block = recipe.converter
    if block is not None and isinstance(block.config, ConverterConfig):
        way = f"of {block.config.source} converted to {block.config.target} by {block.offered.offer.name}"
        return f"{count} {way} and turned into sound {by}{ending}."
    dataset = findings.data.name or recipe.data.offered.offer.name
    features = f"{recipe.features.offered.offer.name} features of {recipe.spec.n_mels} bands"
    return (
        f"{count} from the {recipe.generate.source} split of the data set “{dataset}”, taken apart into {features} "
        f"and turned back into sound {by}{ending}."
    )


def _trained(findings: Findings) -> list[tuple[str, int]]:
    steps = ((part, findings.steps(part)) for part in ("model", "converter", "vocoder"))
    return [(part, count) for part, count in steps if count is not None]


def figures(findings: Findings) -> dict[str, Any]:
    """The content of `report.json`; what is not a finite number is null."""
    data = findings.data
    return {
        "format": 1,
        "name": findings.recipe.name,
        "title": findings.title,
        "summary": sentence(findings),
        "scores": [scores.to_json(result) for result in findings.results],
        "evaluation": None if findings.judgement is None else findings.judgement.to_json(),
        "not_evaluated": findings.not_judged or None,
        "validation": {part: _validation(history) for part, history in findings.history.items()},
        "steps": dict(_trained(findings)),
        "noticed": [asdict(event) for event in findings.events],
        "clips": [_clip(item, findings.run) for item in findings.items],
        "data": {
            "name": data.name,
            "licence": data.licence,
            "sample_rate": data.sample_rate,
            "labels": list(data.labels),
            "splits": {split.name: {"clips": split.clips, "seconds": split.seconds} for split in data.splits},
            "left_out": [_report(clip) for clip in data.left_out],
            "remarks": [_report(clip) for clip in data.remarks],
        },
        "environment": dict(findings.environment),
        "stage_seconds": dict(findings.stage_seconds),
    }


def _validation(history: History) -> dict[str, dict[str, float]]:
    return {
        term: {
            "first": series.first,
            "last": series.last,
            "first_step": series.steps[0],
            "last_step": series.steps[-1],
            "lowest": min(series.values),
        }
        for term, series in history.validation.items()
    }


def _report(clip: ClipReport) -> dict[str, Any]:
    return {**asdict(clip), "seconds": finite(clip.seconds), "peak": finite(clip.peak)}


def _clip(item: Item, run: RunFolder) -> dict[str, Any]:
    versions = [{**asdict(version), "file": version.file.relative_to(run.path).as_posix()} for version in item.versions]
    return {
        "id": item.id,
        "title": item.title,
        "label": item.label,
        "licence": item.licence,
        "seed": item.seed,
        "remarks": list(item.remarks),
        "versions": versions,
    }
