"""Preparing shard by shard, each in a process of its own, on any machine that shares the cache and the run's folder."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from synthkit._catalog import Catalog
from synthkit._data import prepare as data
from synthkit._data import shards
from synthkit._data.cache import lookup
from synthkit._data.pool import Source, Spread, work_on
from synthkit._data.shards import Done, Shard
from synthkit._recipe.load import load_recipe
from synthkit._recipe.model import Recipe
from synthkit._run.folder import RunFolder
from synthkit._run.reporter import Logged, Reporter, duration
from synthkit._stages.pipeline import folder_of, run_recipe
from synthkit._stages.prepare import decoding, index, min_frames, showing
from synthkit.interfaces import Dataset


def prepare_shard(
    source: str | Path,
    shard: Shard,
    *,
    catalog: Catalog,
    overrides: Mapping[str, Any] | Sequence[str] = (),
    tiny: bool = False,
    run_dir: Path | None = None,
    reporter: Reporter | None = None,
    spread: Spread = work_on,
) -> RunFolder:
    """Decode the clips of one shard, and write what it did into the run's folder `shards`.

    Any number of shards may run at once, the same one twice, too: each writes nothing but whole entries of the cache and
    its own file. What is in the cache, or was tried in vain before, is not decoded again.

    Raises:
        RecipeError: with every mistake, before anything runs.
        DatasetError: where the cache cannot be written.
    """
    recipe = load_recipe(source, catalog, overrides=overrides, tiny=tiny)
    run = folder_of(recipe, run_dir, tiny=tiny)
    run.shards.mkdir(parents=True, exist_ok=True)
    told = Logged(run.log_file, reporter or Reporter())
    began = time.perf_counter()
    work, dataset = _open(recipe, catalog, told)
    clips = [(clip, split) for clip, split in data.all_clips(dataset) if shard.holds(clip)]
    mine = [clip for clip, _ in clips]
    rate, settings = recipe.spec.sample_rate, decoding(recipe)
    before = [done for done in Done.read_all(run.shards) if done.shard == shard]
    known = shards.failures(before, settings)
    new = len({clip.key for clip in mine if clip.key not in known and lookup(clip.key, rate) is None})
    with showing(told, f"shard {shard}") as progress:
        found = data.fill(
            work,
            dataset,
            mine,
            rate,
            decode_seconds=recipe.prepare.decode_seconds,
            workers=recipe.prepare.workers,
            progress=progress,
            spread=shards.remembering(known, spread),
        )
    listed = data.listed(
        work, dataset, clips, rate, found, min_seconds=recipe.prepare.min_seconds, min_frames=min_frames(recipe)
    )
    reports = {report.id: report for report in listed.unreadable}
    done = Done(
        shard=shard,
        clips=len(mine),
        decoded=new,
        seconds=round(time.perf_counter() - began, 3),
        contents=shards.contents_of(mine),
        settings=settings,
        left_out={clip.key: reports[clip.id] for clip in mine if clip.id in reports},
    )
    if not new and any(done.same_as(one) for one in before):
        told.say(f"shard {shard}: nothing it depends on has changed, skipped")
        return run
    done.save(run.shards)
    told.say(
        f"shard {shard}: {done.clips} clips, {done.decoded} decoded, {len(done.left_out)} cannot be used, "
        f"{duration(done.seconds)}"
    )
    return run


def look(
    source: str | Path,
    *,
    catalog: Catalog,
    overrides: Mapping[str, Any] | Sequence[str] = (),
    tiny: bool = False,
    run_dir: Path | None = None,
    reporter: Reporter | None = None,
) -> shards.Standing:
    """Which shards of a recipe's prepare have run and which are missing. Decodes nothing. Raises as `prepare_shard`."""
    recipe = load_recipe(source, catalog, overrides=overrides, tiny=tiny)
    run = folder_of(recipe, run_dir, tiny=tiny)
    _, dataset = _open(recipe, catalog, reporter or Reporter())
    clips = [clip for clip, _ in data.all_clips(dataset)]
    return shards.standing(Done.read_all(run.shards), clips, decoding(recipe))


def merge(
    source: str | Path,
    found: shards.Standing,
    *,
    catalog: Catalog,
    overrides: Mapping[str, Any] | Sequence[str] = (),
    tiny: bool = False,
    run_dir: Path | None = None,
    reporter: Reporter | None = None,
) -> RunFolder:
    """Finish the stage prepare from shards that are complete, decoding nothing.

    Raises `DatasetError` where clips that they decoded are not in the cache, or too many cannot be used.
    """
    return run_recipe(
        source,
        catalog=catalog,
        overrides=overrides,
        tiny=tiny,
        run_dir=run_dir,
        first="prepare",
        last="prepare",
        reporter=reporter,
        spread=shards.refusing(found.done),
    )


def _open(recipe: Recipe, catalog: Catalog, reporter: Reporter) -> tuple[Source, Dataset]:
    source = Source(catalog=catalog, offered=recipe.data.offered, config=recipe.data.config)
    dataset = source.build()
    index(dataset, reporter)
    return source, dataset
