"""`synthkit data`: what a data set holds, whether it can be decoded, and how to get it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from synthkit._cli.context import Context
from synthkit._cli.data_export import command as export
from synthkit._cli.data_merge import command as merge
from synthkit._cli.data_sound import command as sound
from synthkit.errors import ClipReport, RecipeError, SynthkitError, UnknownName, nearest
from synthkit.interfaces import SPLITS
from synthkit.remote import is_remote

if TYPE_CHECKING:
    from synthkit._data.pool import Source
    from synthkit.interfaces import Dataset

_SHOWN = 200
_MOST_LABELS = 60


@click.group("data")
def command() -> None:
    """Measure, check or fetch a data set.

    WHAT is the name of a data set (with its settings: --set root=DIR), a folder of recordings, or a recipe.
    """


command.add_command(export)
command.add_command(merge)
command.add_command(sound)


def _with_what(function: Callable[..., None]) -> Callable[..., None]:
    settings = click.option(
        "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change one setting; may be repeated."
    )
    return click.argument("what")(settings(click.pass_obj(function)))


@command.command("info")
@click.option("--sample", default=200, show_default=True, type=click.IntRange(0), help="Decode at most so many clips.")
@click.option("--all", "every", is_flag=True, help="Decode every clip.")
@click.option("--picture", type=click.Path(path_type=Path), help="Also draw it, as a .png or .svg file.")
@_with_what
def info(
    context: Context, what: str, settings: tuple[str, ...], sample: int, every: bool, picture: Path | None
) -> None:
    """Count the clips of each split and label, and measure rates, channels, lengths and levels."""
    from synthkit._data.verify import decode
    from synthkit._stages.overview import Overview, check_name, draw
    from synthkit._stages.prepare import index, showing

    if picture:
        check_name(picture)
    source = find_source(what, settings, context)
    dataset = source.build()
    index(dataset, context.reporter)
    clips = dataset.clips()
    sample = len(clips) if every else sample
    _print(context, f"{source.offered.full_name}: {source.offered.offer.summary}")
    _print(context, f"licence: {dataset.licence or 'not stated'}")
    if dataset.citation:
        _print(context, f"citation: {dataset.citation}")
    _show_counts(context, dataset)
    some = clips[:: max(1, -(-len(clips) // sample))] if sample else []
    with showing(context.reporter, "decode") as progress:
        reports = decode(source, dataset, some, progress=progress)
    _show_sound(context, reports, len(clips))
    _show_left_out(context, dataset.left_out())
    if picture:
        draw(Overview.of(what.rstrip("/").rsplit("/", 1)[-1], dataset, reports), picture)
        _print(context, f"picture: {picture}")


@command.command("verify")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write the result for every clip here.")
@click.option("--workers", default=0, type=click.IntRange(0), help="Processes that decode.  [default: as many as help]")
@click.option(
    "--decode-seconds",
    default=600.0,
    show_default=True,
    type=click.FloatRange(0, min_open=True),
    help="Longest time for one clip.",
)
@click.option("--fresh", is_flag=True, help="Do not go on from where the last verify was stopped.")
@_with_what
@click.pass_context
def verify(
    ctx: click.Context,
    context: Context,
    what: str,
    settings: tuple[str, ...],
    json_file: Path | None,
    workers: int,
    decode_seconds: float,
    fresh: bool,
) -> None:
    """Decode every clip and list what is wrong; the exit code is 1 if anything is.

    Stopped at any moment, it goes on where it was when it is called again.
    """
    from synthkit._data.prepare import NO_LOSS
    from synthkit._data.verify import Verification
    from synthkit._stages.prepare import index, showing

    source = find_source(what, settings, context)
    dataset = source.build()
    index(dataset, context.reporter)
    verification = Verification(source, dataset)
    if fresh:
        verification.forget()
    if verification.known:
        context.reporter.say(f"verify goes on: {verification.known} clips were decoded before it was stopped")
    with showing(context.reporter, "verify") as progress:
        reports = verification.run(workers, progress, decode_seconds)
    left_out = dataset.left_out()
    if json_file:
        _write_result(json_file, source, reports, left_out)
    wrong = [report for report in reports if report.code != "ok"]
    counts = Counter(report.code for report in left_out)
    rarest_first = sorted(left_out, key=lambda report: (report.code in NO_LOSS, counts[report.code]))
    _show_wrong(context, [*wrong, *rarest_first])
    _print(context, f"{len(reports)} clips decoded: {_codes(reports)}")
    if left_out:
        _print(context, f"{len(left_out)} left out: {_codes(left_out)}")
    ctx.exit(int(any(report.code not in NO_LOSS for report in (*wrong, *left_out))))


@command.command("fetch")
@click.option(
    "--archive", type=click.Path(path_type=Path), help="A file of the set that you have: check and unpack it."
)
@_with_what
def fetch(context: Context, what: str, settings: tuple[str, ...], archive: Path | None) -> None:
    """Download the data set, unpack an archive of it, or say where to get it."""
    from synthkit._stages.prepare import showing

    source = find_source(what, settings, context)
    dataset = source.build()
    with showing(context.reporter, "fetch") as progress:
        dataset.fetch(progress, archive)
    _print(context, f"{source.offered.offer.name} is there: {len(dataset.clips())} clips")


def find_source(what: str, settings: Sequence[str], context: Context) -> Source:
    """The data set that a user means by its name, a folder, or a recipe.

    Raises `UnknownName` where it is none of them, `ConfigError` or `RecipeError` where settings are wrong.
    """
    from synthkit._data.pool import Source
    from synthkit._recipe.find import find_recipe, shipped_recipes
    from synthkit._recipe.load import load_recipe

    catalog = context.catalog
    names = [name for it in catalog.offers("dataset") for name in (it.offer.name, it.full_name)]
    if what in names:
        offered, config = catalog.configure("dataset", what, parse_settings(settings))
        return Source(catalog=catalog, offered=offered, config=config)
    if is_remote(what) or Path(what).expanduser().is_dir():
        offered, config = catalog.configure("dataset", "folder", {"root": what, **parse_settings(settings)})
        return Source(catalog=catalog, offered=offered, config=config)
    try:
        find_recipe(what)
    except UnknownName as error:
        known = [*names, *(path.stem for path in shipped_recipes())]
        raise UnknownName(f"{what!r} is no data set, folder or recipe; {nearest(what, known)}") from error
    recipe = load_recipe(what, catalog, overrides=settings)
    return Source(catalog=catalog, offered=recipe.data.offered, config=recipe.data.config)


def parse_settings(sets: Sequence[str]) -> dict[str, Any]:
    """The settings of `--set KEY=VALUE` by key. Raises `RecipeError` for those that are none."""
    from synthkit._recipe.overrides import parse_sets
    from synthkit._recipe.yaml import plain

    overrides, problems = parse_sets(sets)
    if problems:
        raise RecipeError(problems)
    return {".".join(override.path): plain(override.value) for override in overrides}


def _show_counts(context: Context, dataset: Dataset) -> None:
    from synthkit._cli.tables import show_table

    splits = {split: dataset.clips(split) for split in SPLITS}
    labels = dataset.labels()
    rows: list[list[str]] = []
    if 0 < len(labels) <= _MOST_LABELS:
        counts = {split: Counter(clip.label for clip in clips) for split, clips in splits.items()}
        rows = [[label, *(str(counts[split][label]) for split in SPLITS)] for label in labels]
    total = "all" if not labels or rows else f"all {len(labels)} labels"
    rows.append([total, *(str(len(splits[split])) for split in SPLITS)])
    show_table(context, ("label" if labels else "clips", *SPLITS), rows)


def _show_sound(context: Context, reports: Sequence[ClipReport], clips: int) -> None:
    from synthkit._cli.tables import show_table
    from synthkit._run.reporter import duration

    groups: dict[tuple[int, int], list[float]] = {}
    for report in reports:
        if report.seconds:
            groups.setdefault((report.sample_rate, report.channels), []).append(report.seconds)
    rows = []
    for (rate, channels), lengths in sorted(groups.items(), key=lambda item: -sum(item[1])):
        lengths.sort()
        shown = (sum(lengths), lengths[0], lengths[len(lengths) // 2], lengths[-1])
        rows.append((f"{rate} Hz", str(channels), str(len(lengths)), *map(duration, shown)))
    if rows:
        show_table(context, ("rate", "channels", "clips", "sound", "shortest", "middle", "longest"), rows)
    if reports:
        _print(context, f"measured on {len(reports)} of {clips} clips: {_codes(reports)}")


def _show_left_out(context: Context, left_out: Sequence[ClipReport]) -> None:
    """How many were left out for what, each with the first as an example."""
    first: dict[str, ClipReport] = {}
    for report in left_out:
        first.setdefault(report.code, report)
    if left_out:
        _print(context, f"left out: {_codes(left_out)}; `synthkit data verify` lists them")
    for report in first.values():
        _print(context, f"  {report.code}: {report.id}: {report.reason}")


def _show_wrong(context: Context, wrong: Sequence[ClipReport]) -> None:
    from synthkit._cli.tables import show_table

    if wrong:
        rows = [
            (one.id, one.code, *((f"{one.seconds:.2f} s", f"{one.peak:.2f}") if one.seconds else ("", "")), one.reason)
            for one in wrong[:_SHOWN]
        ]
        show_table(context, ("clip", "what", "length", "peak", "why"), rows)
    if len(wrong) > _SHOWN:
        _print(context, f"... and {len(wrong) - _SHOWN} more; --json FILE lists all")


def _write_result(file: Path, source: Source, reports: Sequence[ClipReport], left_out: Sequence[ClipReport]) -> None:
    from synthkit.storage import write_json

    content = {
        "dataset": source.offered.full_name,
        "settings": source.config.model_dump(mode="json"),
        "codes": Counter(report.code for report in (*reports, *left_out)),
        "clips": [asdict(report) for report in reports],
        "left_out": [asdict(report) for report in left_out],
    }
    try:
        write_json(file, content)
    except OSError as error:
        raise SynthkitError(f"cannot write {str(file)!r}: {error.strerror or error}") from error


def _codes(reports: Sequence[ClipReport]) -> str:
    counts = Counter(report.code for report in reports)
    return ", ".join(f"{count} {code}" for code, count in counts.most_common())


def _print(context: Context, text: str) -> None:
    context.console.print(text, markup=False, soft_wrap=True)
