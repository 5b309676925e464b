"""`Dataset`: an index of clips and the way to their sound. Importing this file imports no torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from synthkit.errors import ClipReport, DatasetError, PluginError, UnreadableClip
from synthkit.values import Clip, Progress, Split, VerifyReport

if TYPE_CHECKING:
    from pathlib import Path

    from synthkit.audio import Audio, Stream


class Dataset(ABC):
    """An index of clips and the way to their sound."""

    licence: str = ""
    """Licence of the set as a whole, or where it is stated."""
    citation: str = ""
    """How its authors ask to be cited."""

    def labels(self) -> tuple[str, ...]:
        """All labels, in an order that is the same in every process; empty where clips have none."""
        return ()

    def index(self, progress: Progress | None = None) -> None:  # noqa: B027 - most sets are indexed at once
        """Do now what the first call of `clips` would do and that may last (hashing files, reading tables)."""

    def left_out(self) -> Sequence[ClipReport]:
        """What was found but is no clip, each with the reason (`unsupported`, `not-audio`, a known fault). Reads no sound."""
        return ()

    @abstractmethod
    def clips(self, split: Split | None = None) -> Sequence[Clip]:
        """The clips of one split (None: of all), in a stable order. Reads an index, never sound."""

    def open(self, clip: Clip) -> Audio:
        """The clip's sound at its own rate and channels: that of the file `clip.path`.

        A data set whose sound is something else overrides this. Raises `UnreadableClip` with a reason.
        """
        from synthkit.audio import read

        try:
            return read(self._file_of(clip))
        except UnreadableClip as error:
            raise UnreadableClip(clip.id, error.code, error.reason) from error

    @contextmanager
    def stream(self, clip: Clip) -> Iterator[Stream]:
        """The same sound block by block, for clips of any length: from the file, or from an `open` that was overridden."""
        from synthkit.audio import stream

        if type(self).open is not Dataset.open:
            yield self.open(clip).stream()
        else:
            with stream(self._file_of(clip)) as sound:
                yield sound

    def _file_of(self, clip: Clip) -> str:
        if clip.path is None:
            raise PluginError(f"{type(self).__name__} has clips without a file ({clip.id!r}) and no open() of its own")
        return clip.path

    def verify(self, progress: Progress | None = None) -> VerifyReport:
        """Decode every clip and report; headers are not trusted."""
        clips = self.clips()
        reports = []
        for done, clip in enumerate(clips, 1):
            reports.append(self.check(clip))
            if progress:
                progress(done, len(clips))
        return VerifyReport(dataset=type(self).__name__, clips=tuple(reports))

    def check(self, clip: Clip) -> ClipReport:
        """What decoding one clip to its end shows, held against `expected_seconds`."""
        from synthkit.audio import check_stream

        report = check_stream(clip.id, lambda: self.stream(clip), self.expected_seconds(clip))
        return replace(report, file=clip.path or "")

    def expected_seconds(self, clip: Clip) -> tuple[float, float] | None:
        """The shortest and the longest that the clip should last, both included; None where nothing is known of it."""
        return None

    def fetch(self, progress: Progress | None = None, archive: Path | None = None) -> None:
        """Download the set with checksums, or say where to get it. Raises `DatasetError` where it cannot be fetched.

        Args:
            progress: Told of bytes or files, whatever takes long.
            archive: A file of the set that the user has already: it is checked and unpacked, nothing is downloaded.
        """
        raise DatasetError(f"{type(self).__name__} has nothing to fetch: it is made of files you already have")
