"""Decoding every clip of a data set only to see what it holds: in parallel, and going on where it was stopped.

What is known so far stands in a journal in the cache folder, one line of JSON for each clip, until all is known.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path

from synthkit._data.pool import Crashed, Source, work_on
from synthkit.errors import ClipReport
from synthkit.interfaces import Clip, Dataset, Progress
from synthkit.storage import cache_root, disk_error, text_hash

DECODE_SECONDS = 600.0
"""Longest time that decoding one clip may take."""

Note = Callable[[Clip, ClipReport], None]


def decode(
    source: Source,
    dataset: Dataset,
    clips: Sequence[Clip],
    workers: int = 0,
    progress: Progress | None = None,
    *,
    seconds: float | None = DECODE_SECONDS,
    note: Note | None = None,
) -> tuple[ClipReport, ...]:
    """What decoding each of `clips` showed, in their order; several at once, in processes that may crash.

    A decoder that crashes or hangs is reported with the code `crashed` or `timed-out`.

    Args:
        source: What other processes build the data set from.
        dataset: The data set in this process.
        clips: The clips.
        workers: Processes; 0 means as many as are worth it.
        progress: Told of the clips that are decoded.
        seconds: Longest time that one clip may take; None sets no limit.
        note: Told of each report as soon as there is one.
    """
    reports: dict[str, ClipReport] = {}
    with closing(work_on(source, dataset, clips, decode_one, workers, seconds)) as results:
        for done, (clip, result) in enumerate(results, 1):
            report = result.report(clip) if isinstance(result, Crashed) else result
            reports[clip.id] = report
            if note:
                note(clip, report)
            if progress:
                progress(done, len(clips))
    return tuple(reports[clip.id] for clip in clips)


def decode_one(dataset: Dataset, clip: Clip) -> ClipReport:
    """What decoding one clip showed."""
    return dataset.check(clip)


class Verification:
    """The check of a whole data set, which can be stopped at any moment and goes on when it is made again.

    The journal is that of one data set with the same settings and decoder; a clip whose content has changed since is
    decoded again.
    """

    def __init__(self, source: Source, dataset: Dataset) -> None:
        self._source, self._dataset = source, dataset
        self._clips = dataset.clips()
        self._journal = cache_root() / "verify" / f"{_identity(source)}.jsonl"
        known = _read(self._journal)
        self._known = {clip.id: known[clip.id, clip.key] for clip in self._clips if (clip.id, clip.key) in known}

    @property
    def known(self) -> int:
        """How many clips were decoded before it was stopped."""
        return len(self._known)

    def forget(self) -> None:
        """Begin anew."""
        self._known.clear()
        self._journal.unlink(missing_ok=True)

    def run(
        self, workers: int = 0, progress: Progress | None = None, seconds: float | None = DECODE_SECONDS
    ) -> tuple[ClipReport, ...]:
        """Decode what is not known yet; the report of every clip, in the data set's order.

        A data set with a check of its own (`Dataset.verify` overridden) is asked for that, as a whole.

        Raises:
            DatasetError: the journal cannot be written.
        """
        if type(self._dataset).verify is not Dataset.verify:
            return self._dataset.verify(progress).clips
        new = [clip for clip in self._clips if clip.id not in self._known]
        before, total = len(self._known), len(self._clips)
        told: Progress | None = None
        if progress:
            told = lambda done, _: progress(before + done, total)  # noqa: E731
        with _appending(self._journal) as note:
            fresh = decode(self._source, self._dataset, new, workers, told, seconds=seconds, note=note)
        reports = self._known | {report.id: report for report in fresh}
        self._journal.unlink(missing_ok=True)
        return tuple(reports[clip.id] for clip in self._clips)


def _identity(source: Source) -> str:
    import soundfile

    settings = source.config.model_dump_json()
    return text_hash("\n".join([source.offered.full_name, settings, soundfile.__libsndfile_version__]))[:24]


def _read(journal: Path) -> dict[tuple[str, str], ClipReport]:
    """The reports by id and key. A line that is not whole (the last one of a killed process) is passed over."""
    reports: dict[tuple[str, str], ClipReport] = {}
    try:
        lines = journal.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # there is none, or none that can be used: then nothing is known
        return reports
    for line in lines:
        try:
            entry = json.loads(line)
            key = entry.pop("key")
            reports[entry["id"], key] = ClipReport(**entry)
        except (ValueError, KeyError, TypeError):
            continue
    return reports


@contextmanager
def _appending(journal: Path) -> Iterator[Note]:
    """A function that adds a report to the journal. Raises `DatasetError` where it cannot be written."""

    def note(clip: Clip, report: ClipReport) -> None:
        line = json.dumps({"key": clip.key, **asdict(report)})
        with _told(journal):
            stream.write(f"\n{line}".encode("ascii"))  # the end of line comes first: the last one may have been cut

    with _told(journal):
        journal.parent.mkdir(parents=True, exist_ok=True)
        stream = journal.open("ab", buffering=0)
    with stream:
        yield note


@contextmanager
def _told(journal: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise disk_error(journal, error) from error
