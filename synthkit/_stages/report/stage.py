"""The report stage itself: gather, measure, write both files."""

from __future__ import annotations

from synthkit._catalog import Catalog
from synthkit._recipe.model import Block, Recipe
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
    findings = Findings(
        recipe=recipe,
        run=run,
        items=items,
        results=scores.compute(recipe, items, catalog, reporter),
        history=read_history(run.metrics_file),
        data=read_data(run),
        environment=environment.describe(str(device), _plugins(recipe)),
        stage_seconds=read_stage_seconds(run),
    )
    write_json(run.report_json, figures(findings))
    write_text(run.report_html, render(findings, reporter))
    reporter.say(f"report: {str(run.report_html)!r}")


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
