"""Decoding every clip of a data set only to see whether it can be decoded."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

from synthkit._data.pool import Crashed, Source, work_on
from synthkit.audio import check_clip
from synthkit.errors import ClipReport
from synthkit.interfaces import Clip, Dataset, Progress


def decode(
    source: Source, dataset: Dataset, clips: Sequence[Clip], workers: int = 0, progress: Progress | None = None
) -> tuple[ClipReport, ...]:
    """What decoding each of `clips` showed, in their order; several at once, in processes that may crash.

    A decoder's crash is reported with the code `crashed`. Other arguments are those of `synthkit._data.pool.work_on`.
    """
    reports: dict[str, ClipReport] = {}
    with closing(work_on(source, dataset, clips, decode_one, workers)) as results:
        for done, (clip, result) in enumerate(results, 1):
            if isinstance(result, Crashed):
                result = ClipReport(id=clip.id, code="crashed", reason=result.reason)
            reports[clip.id] = result
            if progress:
                progress(done, len(clips))
    return tuple(reports[clip.id] for clip in clips)


def decode_one(dataset: Dataset, clip: Clip) -> ClipReport:
    """What decoding one clip showed."""
    return check_clip(clip.id, lambda: dataset.open(clip))


def verify(source: Source, dataset: Dataset, progress: Progress | None = None) -> tuple[ClipReport, ...]:
    """What the data set's own check says of each clip; where it has none of its own, what decoding showed."""
    if type(dataset).verify is not Dataset.verify:
        return dataset.verify(progress).clips
    return decode(source, dataset, dataset.clips(), progress=progress)
