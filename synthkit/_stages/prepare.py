"""The prepare stage: the data set decoded into the cache, and the run's list of what there is and what was left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from synthkit._catalog import Catalog
from synthkit._data import prepare as data
from synthkit._data.pool import Source
from synthkit._data.prepared import Prepared
from synthkit._recipe.model import Recipe
from synthkit._run.folder import RunFolder
from synthkit._run.reporter import Reporter, Task, duration
from synthkit.interfaces import SPLITS, Dataset, Progress


def prepare(recipe: Recipe, run: RunFolder, catalog: Catalog, reporter: Reporter) -> None:
    """Decode what is new and write `data.json` and `quarantine.json`.

    Raises `DatasetError` where too many clips cannot be used; then only `quarantine.json` is written.
    """
    source = Source(catalog=catalog, offered=recipe.data.offered, config=recipe.data.config)
    dataset = source.build()
    index(dataset, reporter)
    with showing(reporter, "prepare") as progress:
        prepared = data.prepare(
            source,
            dataset,
            recipe.spec.sample_rate,
            min_seconds=recipe.prepare.min_seconds,
            workers=recipe.prepare.workers,
            progress=progress,
        )
    quarantine = run.path / "quarantine.json"
    data.write_quarantine(prepared, quarantine)
    data.check(prepared, recipe.prepare.max_unreadable, quarantine)
    prepared.save(run.data_file)
    if prepared.unreadable:
        reporter.warn(
            f"{_summary(prepared)}; {_count(len(prepared.unreadable))} left out: {str(quarantine)!r} says why"
        )
    else:
        reporter.say(_summary(prepared))


def _summary(prepared: Prepared) -> str:
    shares = ", ".join(f"{split} {duration(prepared.seconds(split))}" for split in SPLITS)
    odd = Counter(report.code for report in prepared.remarks)
    among = f" ({', '.join(f'{count} {code}' for code, count in odd.most_common())})" if odd else ""
    return f"prepare: {len(prepared.entries())} clips{among}, {shares}, at {prepared.sample_rate} Hz"


def _count(files: int) -> str:
    return "1 file is" if files == 1 else f"{files} files are"


def index(dataset: Dataset, reporter: Reporter) -> None:
    """Index the data set where that lasts, showing how far it is."""
    with showing(reporter, "index") as progress:
        dataset.index(progress)


@contextmanager
def showing(reporter: Reporter, description: str) -> Iterator[Progress]:
    """A progress bar that appears with the first call of the `progress(done, total)` it gives."""
    with ExitStack() as stack:
        tasks: list[Task] = []

        def progress(done: int, total: int) -> None:
            if not tasks:
                tasks.append(stack.enter_context(reporter.task(description, total)))
            tasks[0].update(done)

        yield progress
