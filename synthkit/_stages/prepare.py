"""The prepare stage: the data set decoded into the cache, and the run's list of what there is and what was left out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from synthkit._catalog import Catalog
from synthkit._data import prepare as data
from synthkit._data import shards
from synthkit._data.pool import Source, Spread, work_on
from synthkit._data.prepared import Prepared
from synthkit._recipe.model import Recipe
from synthkit._run.folder import RunFolder
from synthkit._run.reporter import Reporter, Task, duration
from synthkit.errors import DatasetError
from synthkit.interfaces import SPLITS, Dataset, Progress
from synthkit.storage import text_hash


def prepare(recipe: Recipe, run: RunFolder, catalog: Catalog, reporter: Reporter, spread: Spread = work_on) -> None:
    """Decode what is new, by `spread`, and write `data.json` and `quarantine.json`.

    What shards of this run have decoded, or tried in vain, is not tried again. Raises `DatasetError` where too many clips
    cannot be used; then only `quarantine.json` is written.
    """
    source = Source(catalog=catalog, offered=recipe.data.offered, config=recipe.data.config)
    dataset = source.build()
    index(dataset, reporter)
    known = shards.failures(shards.Done.read_all(run.shards), decoding(recipe))
    with showing(reporter, "prepare") as progress:
        prepared = data.prepare(
            source,
            dataset,
            recipe.spec.sample_rate,
            min_seconds=recipe.prepare.min_seconds,
            min_frames=min_frames(recipe),
            decode_seconds=recipe.prepare.decode_seconds,
            workers=recipe.prepare.workers,
            progress=progress,
            spread=shards.remembering(known, spread),
        )
    require_visible(prepared)
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


def decoding(recipe: Recipe) -> str:
    """What decoding a clip depends on beside the clip, as a hash."""
    offered = recipe.data.offered
    settings = {
        "data": offered.full_name,
        "version": offered.version,
        "sample_rate": recipe.spec.sample_rate,
        "decode_seconds": recipe.prepare.decode_seconds,
    }
    return text_hash(json.dumps(settings, sort_keys=True))


def min_frames(recipe: Recipe) -> int:
    """Samples that a clip must have: those of the longest crop, where shorter ones are to be skipped."""
    if recipe.prepare.short != "skip":
        return 0
    return max((recipe.spec.crop_samples(training.settings.crop_seconds) for training in recipe.train), default=0)


def require_visible(prepared: Prepared) -> None:
    """Raise `DatasetError` where entries that other machines say they made are not in the cache that is seen here."""
    for folder in {(prepared.cache / entry.file).parent for entry in prepared.missing()}:
        with suppress(OSError):
            list(folder.iterdir())  # a network disk looks again at a folder that is listed
    missing = prepared.missing()
    if missing:
        raise DatasetError(
            f"{len(missing)} of {len(prepared.entries())} clips were decoded but are not in the cache folder "
            f"{str(prepared.cache)!r}: those who decode must share it with this process (SYNTHKIT_CACHE)"
        )


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
