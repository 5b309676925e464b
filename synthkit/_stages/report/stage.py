"""The report stage itself: gather, measure, write both files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from synthkit._catalog import Catalog
from synthkit._data.prepared import Prepared
from synthkit._recipe.model import Block, Recipe
from synthkit._run.events import read_events
from synthkit._run.folder import RunFolder, write_text
from synthkit._run.reporter import Reporter
from synthkit._stages.converted.stage import ConverterCase, judge_converter
from synthkit._stages.generate import Parts
from synthkit._stages.generation.stage import Case, judge
from synthkit._stages.judgements import AnyJudgement
from synthkit._stages.report import environment, scores
from synthkit._stages.report.findings import Findings, figures
from synthkit._stages.report.sources import read_data, read_history, read_items, read_stage_seconds
from synthkit.errors import SynthkitError
from synthkit.interfaces import Converter, GenerativeModel, Vocoder
from synthkit.storage import write_json


def report(recipe: Recipe, run: RunFolder, catalog: Catalog, reporter: Reporter) -> None:
    """Measure what was generated and write `report.html` and `report.json`, each whole or not at all.

    Raises:
        RunError: the run has no generated clips, or a file of the run is damaged.
        DatasetError: the run has no prepared data.
        UnreadableClip: a generated file is damaged.
    """
    from synthkit._run.device import pick_device
    from synthkit._stages.report.page import render

    items = read_items(run)
    device = pick_device(next((training.settings.device for training in recipe.train), "auto"))
    judgement, not_judged = _judged(recipe, run, str(device), catalog, reporter)
    results = scores.compute(recipe.metrics, recipe.spec, items, catalog, reporter)
    for result in results:
        if result.problem:
            reporter.warn(f"report: {result.metric} of {result.version}: {result.problem}")
    findings = Findings(
        recipe=recipe,
        run=run,
        items=items,
        results=results,
        history=read_history(run.metrics_file),
        data=read_data(run),
        environment=environment.describe(str(device), _plugins(recipe)),
        stage_seconds=read_stage_seconds(run),
        judgement=judgement,
        not_judged=not_judged,
        events=tuple(event for event in read_events(run) if event.kind in ("finding", "rollback")),
    )
    content = figures(findings)
    write_json(run.report_json, content)
    write_text(run.report_html, render(findings, reporter))
    for line in _summary(content):
        reporter.say(f"report: {line}")


def _judged(
    recipe: Recipe, run: RunFolder, device: str, catalog: Catalog, reporter: Reporter
) -> tuple[AnyJudgement | None, str]:
    """What is found of the clips of the model or converter, or why nothing could be."""
    wanted, voice = recipe.report.evaluate, recipe.vocoder or next(iter(recipe.compare), None)
    block = recipe.model or recipe.converter
    if block is None or voice is None or not wanted.count:
        return None, ""
    prepared = Prepared.open(run.data_file)
    parts = Parts(recipe, run, catalog, prepared.labels, torch.device(device), reporter)
    try:
        maker = parts.trained(block)
        vocoder = parts.trained(voice) if voice is recipe.vocoder else parts.beside(voice)
        assert isinstance(vocoder, Vocoder)
        asked: dict[str, Any] = {
            "name": block.offered.offer.name,
            "voices": ((voice.offered.offer.name, vocoder),),
            "prepared": prepared,
            "embedding": recipe.embedding,
            "count": wanted.count,
            "seconds": wanted.seconds,
            "seed": recipe.seed,
        }
        if isinstance(maker, Converter):
            case = ConverterCase(converter=maker, strength=recipe.generate.strength, **asked)
            return judge_converter(case, catalog, reporter), ""
        assert isinstance(maker, GenerativeModel)
        asked |= {"texts": recipe.generate.texts or (), "batch": recipe.generate.batch}
        return judge(Case(model=maker, temperature=recipe.generate.temperature, **asked), catalog, reporter), ""
    except SynthkitError as error:
        reporter.warn(f"report: the {block.part} is not judged: {error}")
        return None, str(error)


def _summary(content: Mapping[str, Any]) -> Iterator[str]:
    """The page's main figures in a few words: how far each validation term fell, the first metric of each version, the model."""
    for part, terms in content["validation"].items():
        for name, ends in terms.items():
            if ends["first"] is not None and ends["last"] is not None:
                yield f"{part} {name} went from {ends['first']:.3g} to {ends['last']:.3g} on the validation split"
    if content["scores"]:
        first = content["scores"][0]["name"]
        scores = [score for score in content["scores"] if score["name"] == first and score["value"] is not None]
        yield f"{first} is " + ", ".join(f"{score['value']:.3g} ({score['version']})" for score in scores)
    if content["evaluation"]:
        yield from content["evaluation"]["says"]


def _plugins(recipe: Recipe) -> dict[str, str]:
    """The distributions that the recipe's components come from, with their versions."""
    blocks: list[Block | None] = [
        recipe.data,
        recipe.features,
        recipe.model,
        recipe.converter,
        recipe.vocoder,
        *recipe.compare,
        *recipe.metrics,
    ]
    offered = [block.offered for block in blocks if block is not None]
    return {it.distribution: it.version for it in offered if it.distribution}
