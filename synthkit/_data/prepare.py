"""Decoding a data set into the cache: what is new is decoded, mixed down, resampled and stored; the rest is looked up."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from synthkit._data.cache import Stored, entry_file, lookup, store
from synthkit._data.pool import Crashed, Source, work_on
from synthkit._data.prepared import Entry, Prepared
from synthkit.errors import AudioError, ClipReport, DatasetError, UnreadableClip
from synthkit.interfaces import SPLITS, Clip, Dataset, Progress, Split
from synthkit.storage import cache_root, write_json

NO_LOSS = frozenset(("not-audio",))
"""Codes of files that were never sound: they are named, and not counted against the limit."""

_SHOWN = 5


def prepare(
    source: Source,
    dataset: Dataset,
    sample_rate: int,
    *,
    min_seconds: float = 0.0,
    workers: int = 0,
    progress: Progress | None = None,
) -> Prepared:
    """Put every clip of the data set into the cache and list what there is now.

    A clip that cannot be used stands in `Prepared.unreadable`, whatever is wrong with it; only a cache that cannot be
    written is an error. Stopped at any moment, it leaves whole entries, and goes on from them the next time.

    Args:
        source: What other processes build the data set from.
        dataset: The data set in this process.
        sample_rate: Rate of the cache, Hz.
        min_seconds: A shorter clip is left out.
        workers: Processes; 0 means as many as are worth it.
        progress: Told of the clips that are decoded, not of those that were there already.

    Raises:
        DatasetError: the cache cannot be written, or two clips have one id.
    """
    splits = {split: dataset.clips(split) for split in SPLITS}
    clips = _by_id(splits)
    found = _decode_all(source, dataset, clips.values(), sample_rate, min_seconds, workers, progress)
    reports = [_report(clip, found[clip.key], min_seconds) for clip in clips.values()]
    entries = tuple(
        _entry(clip, split, stored, sample_rate)
        for split in SPLITS
        for clip in splits[split]
        if isinstance(stored := found[clip.key], Stored) and stored.seconds >= min_seconds
    )
    used = {entry.id for entry in entries}
    return Prepared(
        sample_rate=sample_rate,
        labels=dataset.labels(),
        dataset={"name": source.offered.offer.name, "licence": dataset.licence, "citation": dataset.citation},
        entries=entries,
        unreadable=(*dataset.left_out(), *(report for report in reports if report.id not in used)),
        remarks=tuple(report for report in reports if report.id in used and report.code != "ok"),
        cache=cache_root(),
    )


def check(prepared: Prepared, max_unreadable: float, listed_in: Path) -> None:
    """Raise `DatasetError` where too large a share of the data set cannot be used, or nothing is left to train on."""
    lost = [report for report in prepared.unreadable if report.code not in NO_LOSS]
    total = len(prepared.entries()) + len(lost)
    name = prepared.dataset["name"]
    if not prepared.entries("train"):
        raise DatasetError(f"no clip of the train split of {name!r} can be used{_first(lost, listed_in)}")
    if len(lost) > max_unreadable * total:
        share = math.ceil(100 * len(lost) / total) / 100
        raise DatasetError(
            f"{len(lost)} of {total} clips of {name!r} cannot be used, more than prepare.max_unreadable: "
            f"{max_unreadable:g} allows{_first(lost, listed_in)}\n"
            f"Mend or remove them, or go on without them with prepare.max_unreadable: {share:g}"
        )


def write_quarantine(prepared: Prepared, path: Path) -> None:
    """Write what was left out, and what is odd about clips that were not, as a list of its own. Raises `OSError`."""
    write_json(
        path,
        {
            "dataset": prepared.dataset["name"],
            "left_out": [asdict(report) for report in prepared.unreadable],
            "used_all_the_same": [asdict(report) for report in prepared.remarks],
        },
    )


def _by_id(splits: Mapping[Split, Sequence[Clip]]) -> dict[str, Clip]:
    clips: dict[str, Clip] = {}
    for split in SPLITS:
        for clip in splits[split]:
            if clip.id in clips:
                raise DatasetError(f"the data set has two clips with the id {clip.id!r} (or one in two splits)")
            clips[clip.id] = clip
    return clips


def _decode_all(
    source: Source,
    dataset: Dataset,
    clips: Iterable[Clip],
    sample_rate: int,
    min_seconds: float,
    workers: int,
    progress: Progress | None,
) -> dict[str, Stored | ClipReport]:
    """What there is for each key; equal content is decoded once."""
    found: dict[str, Stored | ClipReport] = {}
    new: dict[str, Clip] = {}
    for clip in clips:
        stored = lookup(clip.key, sample_rate)
        if stored:
            found[clip.key] = stored
        else:
            new.setdefault(clip.key, clip)
    work = partial(_decode, sample_rate, min_seconds)
    with closing(work_on(source, dataset, list(new.values()), work, workers)) as results:
        for done, (clip, result) in enumerate(results, 1):
            if isinstance(result, Crashed):
                found[clip.key] = ClipReport(id=clip.id, code="crashed", reason=result.reason)
            else:
                found[clip.key] = result
            if progress:
                progress(done, len(new))
    return found


def _decode(sample_rate: int, min_seconds: float, dataset: Dataset, clip: Clip) -> Stored | ClipReport:
    """Decode one clip into the cache. What is wrong with the clip is returned, what is wrong with the cache is raised."""
    try:
        audio = dataset.open(clip)
        if audio.seconds < min_seconds and audio.frames:
            return ClipReport(
                id=clip.id,
                code="too-short",
                reason=_too_short(audio.seconds, min_seconds),
                seconds=audio.seconds,
                sample_rate=audio.sample_rate,
                channels=audio.channels,
                peak=audio.peak,
            )
        return store(clip.key, sample_rate, audio)
    except UnreadableClip as error:
        return ClipReport(id=clip.id, code=error.code, reason=error.reason)
    except MemoryError:
        return ClipReport(id=clip.id, code="unreadable", reason="it does not fit into memory")
    except (AudioError, OSError) as error:
        return ClipReport(id=clip.id, code="unreadable", reason=str(error))


def _entry(clip: Clip, split: Split, stored: Stored, sample_rate: int) -> Entry:
    return Entry(
        id=clip.id,
        label=clip.label,
        licence=clip.licence,
        split=split,
        frames=stored.frames,
        peak=stored.peak,
        step=stored.step,
        file=entry_file(clip.key, sample_rate).as_posix(),
    )


def _report(clip: Clip, found: Stored | ClipReport, min_seconds: float) -> ClipReport:
    if isinstance(found, ClipReport):
        return replace(found, id=clip.id)
    code, reason = "ok", ""
    if found.seconds < min_seconds:
        code, reason = "too-short", _too_short(found.seconds, min_seconds)
    elif found.peak == 0:
        code, reason = "silent", "every sample is zero"
    elif found.note:
        code, reason = "truncated", found.note
    return ClipReport(
        id=clip.id,
        code=code,
        reason=reason,
        seconds=found.seconds,
        sample_rate=found.sample_rate,
        channels=found.channels,
        peak=found.peak,
    )


def _too_short(seconds: float, min_seconds: float) -> str:
    return f"it is {seconds:.3g} s long, less than prepare.min_seconds: {min_seconds:g}"


def _first(lost: Sequence[ClipReport], listed_in: Path) -> str:
    if not lost:
        return ""
    lines = [f"  {report.id}: {report.reason}" for report in lost[:_SHOWN]]
    if len(lost) > _SHOWN:
        lines.append(f"  ... and {len(lost) - _SHOWN} more")
    return "\n".join([":", *lines, f"The whole list is in {str(listed_in)!r}."])
