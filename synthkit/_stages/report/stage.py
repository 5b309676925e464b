"""The report stage itself: gather, measure, write both files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from synthkit._catalog import Catalog
from synthkit._recipe.model import Block, Recipe
from synthkit._run.events import read_events
from synthkit._run.folder import RunFolder, write_text
from synthkit._run.reporter import Reporter
from synthkit._stages.report import environment, scores
from synthkit._stages.report.findings import Findings, figures
from synthkit._stages.report.sources import read_data, read_history, read_items, read_stage_seconds
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
        events=tuple(event for event in read_events(run) if event.kind in ("finding", "rollback")),
    )
    content = figures(findings)
    write_json(run.report_json, content)
    write_text(run.report_html, render(findings, reporter))
    for line in _summary(content):
        reporter.say(f"report: {line}")


def _summary(content: Mapping[str, Any]) -> Iterator[str]:
    """The page's main figures in a few words: how far each validation term fell, and the first metric of each version."""
    for part, terms in content["validation"].items():
        for name, ends in terms.items():
            if ends["first"] is not None and ends["last"] is not None:
                yield f"{part} {name} went from {ends['first']:.3g} to {ends['last']:.3g} on the validation split"
    if content["scores"]:
        first = content["scores"][0]["name"]
        scores = [score for score in content["scores"] if score["name"] == first and score["value"] is not None]
        yield f"{first} is " + ", ".join(f"{score['value']:.3g} ({score['version']})" for score in scores)


def _plugins(recipe: Recipe) -> dict[str, str]:
    """The distributions that the recipe's components come from, with their versions."""
    blocks: list[Block | None] = [
        recipe.data,
        recipe.features,
        recipe.model,
        recipe.vocoder,
        *recipe.compare,
        *recipe.metrics,
    ]
    offered = [block.offered for block in blocks if block is not None]
    return {it.distribution: it.version for it in offered if it.distribution}
