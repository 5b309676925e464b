"""`Prepared`: the clips of a run as its `data.json` lists them, and their sound from the cache."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from synthkit.errors import ClipReport, DatasetError
from synthkit.interfaces import Split
from synthkit.storage import cache_root, write_json

FORMAT = 1
_OPEN_MAPS = 512


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One clip that can be used."""

    id: str
    label: str | None
    licence: str
    split: Split
    frames: int
    """Samples, T, at the rate of the prepared data."""
    peak: float
    """Largest magnitude of a sample."""
    step: float
    """What one stored integer stands for."""
    file: str
    """The cache entry, relative to the cache folder."""
    credit: str = ""
    """Whom to name for it, and what it is called."""
    text: str = ""
    """What is said in it, where the data set knows."""


class Prepared:
    """Decoded clips, ready for training: read with `open`, written by the stage `prepare`."""

    def __init__(
        self,
        *,
        sample_rate: int,
        labels: tuple[str, ...],
        dataset: Mapping[str, Any],
        entries: tuple[Entry, ...],
        unreadable: tuple[ClipReport, ...],
        cache: Path,
        remarks: tuple[ClipReport, ...] = (),
    ) -> None:
        self.sample_rate = sample_rate
        """Hz."""
        self.labels = labels
        """All labels of the data set; empty where its clips have none."""
        self.dataset = dict(dataset)
        """`name`, `licence` and `citation` of the data set."""
        self.unreadable = unreadable
        """What was left out, each with the reason."""
        self.remarks = remarks
        """Clips that are used although something is odd about them: `silent`, `truncated`."""
        self.cache = cache
        """The cache folder that the entries' files are in."""
        self._entries = entries
        self._maps: OrderedDict[str, np.ndarray] = OrderedDict()
        self._lock = Lock()

    @classmethod
    def open(cls, path: Path) -> Prepared:
        """Read a `data.json`. Raises `DatasetError` where it is absent, damaged or of another version."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["format"] != FORMAT:
                raise DatasetError(
                    f"{str(path)!r} was written by another version of synthkit; run the stage prepare again"
                )
            recorded = Path(content["cache"])
            return cls(
                sample_rate=content["sample_rate"],
                labels=tuple(content["labels"]),
                dataset=content["dataset"],
                entries=tuple(Entry(**entry) for entry in content["clips"]),
                unreadable=tuple(ClipReport(**report) for report in content["unreadable"]),
                remarks=tuple(ClipReport(**report) for report in content["remarks"]),
                cache=recorded if recorded.is_dir() else cache_root(),
            )
        except FileNotFoundError as error:
            raise DatasetError(f"there is no {str(path)!r}: the stage prepare has not run yet") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DatasetError(f"{str(path)!r} is damaged ({error!r}); run the stage prepare again") from error

    def save(self, path: Path) -> None:
        """Write it as a `data.json`, whole or not at all. Raises `OSError`."""
        content = {
            "format": FORMAT,
            "dataset": self.dataset,
            "sample_rate": self.sample_rate,
            "labels": list(self.labels),
            "cache": str(self.cache),
            "clips": [asdict(entry) for entry in self._entries],
            "unreadable": [asdict(report) for report in self.unreadable],
            "remarks": [asdict(report) for report in self.remarks],
        }
        write_json(path, content)

    def entries(self, split: Split | None = None) -> tuple[Entry, ...]:
        """The clips of one split (None: of all), in the data set's order."""
        return tuple(entry for entry in self._entries if split is None or entry.split == split)

    def seconds(self, split: Split | None = None) -> float:
        """Duration of all clips of a split."""
        return sum(entry.frames for entry in self.entries(split)) / self.sample_rate

    def missing(self) -> tuple[Entry, ...]:
        """Clips whose cache entry is gone (somebody emptied the cache)."""
        return tuple(entry for entry in self._entries if not (self.cache / entry.file).is_file())

    def read(
        self,
        entry: Entry,
        start: int = 0,
        count: int | None = None,
        *,
        scale: float = 1.0,
        out: np.ndarray | None = None,
    ) -> np.ndarray:
        """Samples `[count]` of a clip from `start` (None: to its end), float32, read from the map without the rest.

        They are multiplied by `scale` and, where there is one, written into `out`. Raises `DatasetError` where the cache
        entry is gone, or `start` and `count` lie outside of the clip.
        """
        stop = entry.frames if count is None else start + count
        if not 0 <= start <= stop <= entry.frames:
            raise DatasetError(f"samples {start} to {stop} do not lie in {entry.id!r}, which has {entry.frames}")
        factor = np.float32(entry.step * scale)
        samples: np.ndarray = np.multiply(self._map(entry)[start:stop], factor, out=out, dtype=np.float32)
        return samples

    def _map(self, entry: Entry) -> np.ndarray:
        with self._lock:
            found = self._maps.get(entry.file)
            if found is not None:
                self._maps.move_to_end(entry.file)
                return found
        file = self.cache / entry.file
        try:
            opened: np.ndarray = np.load(file, mmap_mode="r").view(np.ndarray)  # slices of a memmap cost ten times more
        except (OSError, ValueError) as error:
            raise DatasetError(
                f"the cached sound of {entry.id!r} is gone or damaged ({str(file)!r}); run the stage prepare again"
            ) from error
        with self._lock:
            self._maps[entry.file] = opened
            if len(self._maps) > _OPEN_MAPS:
                self._maps.popitem(last=False)
        return opened
