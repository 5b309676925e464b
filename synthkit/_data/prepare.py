"""Decoding a data set into the cache: what is new is decoded, mixed down, resampled and stored; the rest is looked up."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from synthkit._data.cache import Stored, begin_to_store, entry_file, lookup, unfinished
from synthkit._data.pool import Crashed, Source, Spread, work_on
from synthkit._data.prepared import Entry, Prepared
from synthkit.errors import AudioError, ClipReport, DatasetError, UnreadableClip
from synthkit.interfaces import SPLITS, Clip, Dataset, Progress, Split
from synthkit.storage import cache_root, clear_unfinished, stamp, write_json

NO_LOSS = frozenset(("not-audio", "known-fault", "not-listed", "absent", "no-label", "short"))
"""Codes of what was never to be used: it is named, and not counted against the limit."""

_SHOWN = 5


def prepare(
    source: Source,
    dataset: Dataset,
    sample_rate: int,
    *,
    min_seconds: float = 0.0,
    min_frames: int = 0,
    decode_seconds: float | None = 600.0,
    workers: int = 0,
    progress: Progress | None = None,
    spread: Spread = work_on,
) -> Prepared:
    """Put every clip of the data set into the cache and list what there is now.

    A clip that cannot be used stands in `Prepared.unreadable`, whatever is wrong with it; only a cache that cannot be
    written is an error. Stopped at any moment, it leaves whole entries, and goes on from them the next time.

    Args:
        source: What other processes build the data set from.
        dataset: The data set in this process.
        sample_rate: Rate of the cache, Hz.
        min_seconds: A clip that is shorter is left out.
        min_frames: So is one of fewer samples at `sample_rate`: the longest crop, where short clips are to be skipped.
        decode_seconds: A clip whose decoding takes longer is left out; None sets no limit.
        workers: Processes; 0 means as many as are worth it.
        progress: Told of the clips that are decoded, not of those that were there already.
        spread: How the work is spread over processes or machines.

    Raises:
        DatasetError: the cache cannot be written, or two clips have one id.
    """
    clips = all_clips(dataset)
    found = fill(
        source,
        dataset,
        [clip for clip, _ in clips],
        sample_rate,
        decode_seconds=decode_seconds,
        workers=workers,
        progress=progress,
        spread=spread,
    )
    return listed(source, dataset, clips, sample_rate, found, min_seconds=min_seconds, min_frames=min_frames)


def all_clips(dataset: Dataset) -> list[tuple[Clip, Split]]:
    """Every clip with its split, split after split. Raises `DatasetError` where two clips have one id."""
    clips = [(clip, split) for split in SPLITS for clip in dataset.clips(split)]
    seen: set[str] = set()
    for clip, _ in clips:
        if clip.id in seen:
            raise DatasetError(f"the data set has two clips with the id {clip.id!r} (or one in two splits)")
        seen.add(clip.id)
    return clips


def fill(
    source: Source,
    dataset: Dataset,
    clips: Iterable[Clip],
    sample_rate: int,
    *,
    decode_seconds: float | None = 600.0,
    workers: int = 0,
    progress: Progress | None = None,
    spread: Spread = work_on,
) -> dict[str, Stored | ClipReport]:
    """Decode into the cache what is not there; equal content is decoded once. Arguments and errors as for `prepare`.

    Returns:
        For the key of each clip what the cache knows of its sound, or why it holds none.
    """
    found: dict[str, Stored | ClipReport] = {}
    new: dict[str, Clip] = {}
    for clip in clips:
        stored = lookup(clip.key, sample_rate)
        if stored:
            found[clip.key] = stored
        else:
            new.setdefault(clip.key, clip)
    clear_unfinished(unfinished())
    try:
        work = Decode(sample_rate)
        with closing(spread(source, dataset, list(new.values()), work, workers, decode_seconds)) as results:
            for done, (clip, result) in enumerate(results, 1):
                found[clip.key] = result.report(clip) if isinstance(result, Crashed) else result
                if progress:
                    progress(done, len(new))
    finally:
        clear_unfinished(unfinished())
    return found


def listed(
    source: Source,
    dataset: Dataset,
    clips: Iterable[tuple[Clip, Split]],
    sample_rate: int,
    found: Mapping[str, Stored | ClipReport],
    *,
    min_seconds: float = 0.0,
    min_frames: int = 0,
) -> Prepared:
    """The list of what can be used of `clips`, and of what cannot: `found` is what `fill` returned for them."""
    entries: list[Entry] = []
    unreadable = list(dataset.left_out())
    remarks: list[ClipReport] = []
    for clip, split in clips:
        stored = found[clip.key]
        if isinstance(stored, ClipReport):
            unreadable.append(replace(stored, id=clip.id, file=clip.path or ""))
        elif stored.seconds < min_seconds:
            reason = f"it is {stored.seconds:.3g} s long, less than prepare.min_seconds: {min_seconds:g}"
            unreadable.append(_report(clip, stored, "too-short", reason))
        elif stored.frames < min_frames:
            crop = min_frames / sample_rate
            reason = (
                f"it is {stored.seconds:.3g} s long, shorter than a crop of {crop:.3g} s, and prepare.short is skip"
            )
            unreadable.append(_report(clip, stored, "short", reason))
        else:
            entries.append(_entry(clip, split, stored, sample_rate))
            if stored.peak == 0:
                remarks.append(_report(clip, stored, "silent", "every sample is zero"))
            elif stored.note:
                remarks.append(_report(clip, stored, "truncated", stored.note))
    return Prepared(
        sample_rate=sample_rate,
        labels=dataset.labels(),
        dataset={"name": source.offered.offer.name, "licence": dataset.licence, "citation": dataset.citation},
        entries=tuple(entries),
        unreadable=tuple(unreadable),
        remarks=tuple(remarks),
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


@dataclass(frozen=True)
class Decode:
    """The work: decode one clip into the cache. What is wrong with the clip is returned, with the cache raised."""

    sample_rate: int

    def __call__(self, dataset: Dataset, clip: Clip) -> Stored | ClipReport:
        return self.begin(dataset, clip)()

    def begin(self, dataset: Dataset, clip: Clip) -> Callable[[], Stored | ClipReport]:
        """All but forcing the entry to the disk."""
        stored = lookup(clip.key, self.sample_rate)  # by now another process that prepares the same may have made it
        if stored:
            return partial(_same, stored)
        try:
            with dataset.stream(clip) as sound:
                return begin_to_store(clip.key, self.sample_rate, sound, partial(_check_unchanged, clip))
        except UnreadableClip as error:
            code, reason = error.code, error.reason
        except (AudioError, OSError) as error:
            code, reason = "unreadable", str(error)
        except MemoryError:
            code, reason = "out-of-memory", "it does not fit into the memory that there is for a process that decodes"
        if code != "missing":
            try:
                _check_unchanged(clip)  # a file that is being replaced may look damaged
            except UnreadableClip as error:
                code, reason = error.code, error.reason
        return partial(_same, ClipReport(id=clip.id, code=code, reason=reason))


def _same(result: Stored | ClipReport) -> Stored | ClipReport:
    return result


def _check_unchanged(clip: Clip) -> None:
    """Raise `UnreadableClip` where the file is not the one that the clip's key was made of: its sound is another's."""
    if not clip.stamp or clip.path is None:
        return
    now = stamp(Path(clip.path))
    if not now:
        raise UnreadableClip(clip.path, "missing", "the file vanished after it was listed")
    if now != clip.stamp:
        raise UnreadableClip(clip.path, "changed", "the file changed after it was listed; prepare again to take it up")


def _entry(clip: Clip, split: Split, stored: Stored, sample_rate: int) -> Entry:
    return Entry(
        id=clip.id,
        label=clip.label,
        licence=clip.licence,
        credit=clip.credit,
        text=clip.text,
        split=split,
        frames=stored.frames,
        peak=stored.peak,
        step=stored.step,
        file=entry_file(clip.key, sample_rate),
    )


def _report(clip: Clip, stored: Stored, code: str, reason: str) -> ClipReport:
    return ClipReport(
        id=clip.id,
        code=code,
        reason=reason,
        seconds=stored.seconds,
        sample_rate=stored.sample_rate,
        channels=stored.channels,
        peak=stored.peak,
        file=clip.path or "",
    )


def _first(lost: Sequence[ClipReport], listed_in: Path) -> str:
    if not lost:
        return ""
    lines = [f"  {report.id}: {report.reason}" for report in lost[:_SHOWN]]
    if len(lost) > _SHOWN:
        lines.append(f"  ... and {len(lost) - _SHOWN} more")
    return "\n".join([":", *lines, f"The whole list is in {str(listed_in)!r}."])
