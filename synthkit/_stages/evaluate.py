"""Copy-synthesis of real clips through several vocoders: sounds, figures with intervals, and a page to hear them blind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from synthkit._catalog import Catalog
from synthkit._data.pool import Source
from synthkit._run.device import pick_device
from synthkit._run.folder import write_text
from synthkit._run.reporter import Reporter
from synthkit._stages.evaluation.contenders import load_contenders
from synthkit._stages.evaluation.making import Maker
from synthkit._stages.evaluation.measuring import Evaluation, choose_metrics, common_spec, measure
from synthkit._stages.evaluation.page import render
from synthkit._stages.prepare import index
from synthkit._stages.report import environment
from synthkit.errors import DatasetError
from synthkit.interfaces import SPLITS, Clip, Dataset, Split
from synthkit.storage import write_json


def evaluate(
    vocoders: Sequence[str],
    source: Source,
    catalog: Catalog,
    folder: Path,
    *,
    called: str = "",
    split: Split | None = "test",
    count: int = 20,
    seconds: float = 5.0,
    metrics: Sequence[str] = (),
    seed: int = 0,
    device: str = "auto",
    reporter: Reporter,
) -> Evaluation:
    """Evaluate vocoders side by side on real clips, and write the sounds, `evaluation.json` and `evaluation.html`.

    Sounds that are in the folder already and would be made of the same are kept. Figures are always taken from the files.

    Args:
        vocoders: As `load_contenders` takes them; differences are to the first.
        source: The data set.
        catalog: All components.
        folder: Where everything goes.
        called: What the page calls the data set; its component's name by default.
        split: Which clips; None: all.
        count: How many at most, spread evenly.
        seconds: From the middle of each.
        metrics: Names; all there are by default.
        seed: For vocoders that draw random numbers.
        device: Where they compute.
        reporter: Is told how far it is, and of what is left out.

    Raises:
        SynthkitError: what is asked for is not there or cannot be used (`load_contenders`, `choose_metrics`); nothing is
            written then.
        DatasetError: the split has no clip, or none that can be read.
    """
    contenders = load_contenders(vocoders, catalog, pick_device(device), say=reporter.warn)
    spec = common_spec(contenders)
    blocks = choose_metrics(metrics, spec, catalog, reporter)
    dataset = source.build()
    index(dataset, reporter)
    clips = _some(dataset, split, count)
    made = Maker(source, dataset, contenders, folder, seconds, seed, reporter).make(clips)
    for report in made.left_out:
        reporter.warn(f"evaluate: {report.id} is left out: {report.reason}")
    for failure in made.failures:
        reporter.warn(f"evaluate: {failure.vocoder} makes nothing of {failure.clip}: {failure.reason}")
    if not made.items:
        raise DatasetError(
            f"none of the {len(clips)} clips can be read: {made.left_out[0].id}: {made.left_out[0].reason}"
        )
    results, rows = measure(blocks, spec, made.items, contenders, catalog, reporter)
    evaluation = Evaluation(
        folder=folder,
        data={
            "name": called or source.offered.offer.name,
            "use": source.offered.full_name,
            "settings": source.config.model_dump(mode="json"),
            "split": split or "all",
            "licence": dataset.licence,
            "citation": dataset.citation,
        },
        seconds=seconds,
        seed=seed,
        spec=spec,
        contenders=contenders,
        made=made,
        results=results,
        rows=rows,
        environment=environment.describe(str(pick_device(device)), {}),
    )
    write_json(evaluation.file, evaluation.to_json())
    write_text(evaluation.page, render(evaluation, reporter))
    return evaluation


def _some(dataset: Dataset, split: Split | None, count: int) -> list[Clip]:
    """Clips spread evenly over the split, so that every label is likely to be heard."""
    clips = dataset.clips(split)
    if not clips:
        there = [f"{len(found)} in {name}" for name in SPLITS if (found := dataset.clips(name))]
        raise DatasetError(f"the {split} split has no clip; there are {', '.join(there) or 'none at all'}")
    count = min(count, len(clips))
    return [clips[number * len(clips) // count] for number in range(count)]
