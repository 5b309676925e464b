"""What a folder of recordings holds: every file decoded, rates, channels, lengths, and what cannot be used and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from synthkit._catalog import Catalog
from synthkit._data.pool import Source
from synthkit._data.prepare import NO_LOSS
from synthkit._data.verify import decode
from synthkit.errors import ClipReport

MIN_SECONDS = 0.05
"""A shorter clip has no sound to speak of."""

_USABLE = ("ok", "truncated", "silent", "too-loud")
_MOST_LABELS = 200
_SPLIT_NAMES = {"train", "training", "valid", "validation", "val", "dev", "eval", "test"}


@dataclass(frozen=True)
class Group:
    """Some clips and their lengths."""

    clips: tuple[ClipReport, ...]

    @property
    def seconds(self) -> float:
        """Length of all together."""
        return sum(clip.seconds for clip in self.clips)

    def quantile(self, share: float) -> float:
        """The length in seconds that `share` of the clips do not reach: 0 the shortest, 0.5 the middle, 1 the longest.

        >>> Group(tuple(ClipReport(id="", code="ok", seconds=length) for length in (3, 1, 2))).quantile(0.5)
        2
        """
        lengths = sorted(clip.seconds for clip in self.clips)
        return lengths[min(len(lengths) - 1, int(share * len(lengths)))]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What decoding every file of a folder showed."""

    root: Path
    usable: Group
    """Clips that can be used; of some the code says what is odd about them."""
    lost: tuple[ClipReport, ...]
    """Sound that cannot be used, with the reason."""
    beside: tuple[ClipReport, ...]
    """Files that were never sound."""
    labels: tuple[str, ...]
    """Names of the sub-folders, where they look like classes; otherwise empty."""

    @property
    def total(self) -> int:
        """Clips in all."""
        return len(self.lost) + len(self.usable.clips)

    def by(self, *fields: str) -> dict[tuple[int, ...], Group]:
        """The usable clips by `sample_rate` or `channels` or both, the most sound first."""
        groups: dict[tuple[int, ...], list[ClipReport]] = {}
        for clip in self.usable.clips:
            groups.setdefault(tuple(getattr(clip, field) for field in fields), []).append(clip)
        made = {key: Group(tuple(clips)) for key, clips in groups.items()}
        return dict(sorted(made.items(), key=lambda item: (-item[1].seconds, item[0])))

    def reaching(self, sample_rate: int) -> float:
        """Share of the sound whose rate is at least `sample_rate`."""
        reached = sum(clip.seconds for clip in self.usable.clips if clip.sample_rate >= sample_rate)
        return reached / self.usable.seconds if self.usable.seconds else 0.0


def measure_folder(
    root: Path,
    catalog: Catalog,
    indexed: Callable[[int, int], None] | None = None,
    decoded: Callable[[int, int], None] | None = None,
) -> Measured:
    """Decode every file below `root` in several processes.

    Args:
        root: The folder.
        catalog: Where the data set `folder` is.
        indexed: Told of the files that are listed and hashed: done, total.
        decoded: Told of the clips that are decoded.

    Raises:
        ConfigError: there is no such folder.
        DatasetError: it holds no sound; the message says what was looked for.
    """
    offered, config = catalog.configure("dataset", "folder", {"root": root})
    source = Source(catalog=catalog, offered=offered, config=config)
    dataset = source.build()
    dataset.index(indexed)
    clips = dataset.clips()
    ordered = decode(source, dataset, clips, progress=decoded)
    usable = tuple(report for report in ordered if _is_usable(report))
    unusable = [*dataset.left_out(), *(_with_reason(report) for report in ordered if not _is_usable(report))]
    return Measured(
        root=root.expanduser().absolute(),
        usable=Group(usable),
        lost=tuple(report for report in unusable if report.code not in NO_LOSS),
        beside=tuple(report for report in unusable if report.code in NO_LOSS),
        labels=classes(usable),
    )


def _is_usable(report: ClipReport) -> bool:
    return report.code in _USABLE and report.seconds >= MIN_SECONDS


def _with_reason(report: ClipReport) -> ClipReport:
    if report.code not in _USABLE:
        return report
    reason = f"it is {report.seconds:.3g} s long, less than {MIN_SECONDS:g} s"
    return ClipReport(id=report.id, code="too-short", reason=reason, seconds=report.seconds)


def classes(usable: Sequence[ClipReport]) -> tuple[str, ...]:
    """The sub-folders' names, if every clip lies in one, there are several of them, and each holds several clips."""
    folders = Counter(clip.id.split("/", 1)[0] for clip in usable if "/" in clip.id)
    if sum(folders.values()) < len(usable) or not 2 <= len(folders) <= _MOST_LABELS:
        return ()
    if min(folders.values()) < 2 or {name.lower() for name in folders} <= _SPLIT_NAMES:
        return ()
    return tuple(sorted(folders))
