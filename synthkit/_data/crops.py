"""Crops of prepared clips: what each training step sees is a pure function of (seed, step, row)."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Literal

import numpy as np

from synthkit._data.prepared import Entry, Prepared
from synthkit.errors import DatasetError
from synthkit.interfaces import Split

ShortCrop = Literal["pad", "loop"]
CropAt = Literal["random", "start"]

_AHEAD_PER_THREAD = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class RawBatch:
    """Crops of one step, not yet on a device."""

    audio: np.ndarray
    """`[B, T]` float32."""
    labels: np.ndarray | None
    """`[B]` int64 indices into the prepared labels; None where clips have none."""
    clips: tuple[str, ...]
    """Ids of the clips the crops came from."""
    rows: range
    """Which rows of the step's whole batch these are: one process of several has its share."""
    texts: tuple[str, ...] | None = None
    """What is said in those clips; None where the split has no texts."""


@dataclass(frozen=True, eq=False)
class _Pool:
    """Clips that a row may come from."""

    places: np.ndarray
    """Which entries they are."""
    ends: np.ndarray
    """Their chances, summed up."""

    def place(self, draw: float) -> int:
        """The entry that a number in 0..1 falls on."""
        return int(self.places[np.searchsorted(self.ends, draw * self.ends[-1], side="right")])


class Crops:
    """Crops of one split, drawn evenly over all its sound.

    Resuming at step k gives the batches that a straight run sees from step k on, on any machine. A validation batch
    that never changes is `batch(0)` of the validation split with the gain (1, 1).
    """

    def __init__(
        self,
        prepared: Prepared,
        split: Split,
        *,
        crop_samples: int,
        batch: int,
        seed: int,
        peak: float | None = None,
        gain: tuple[float, float] = (1.0, 1.0),
        rows: range | None = None,
        short: ShortCrop = "pad",
        at: CropAt = "random",
        balance: tuple[str, ...] = (),
    ) -> None:
        """Crops of `crop_samples` samples, `batch` per step in all processes together.

        Args:
            prepared: The clips.
            split: Which of them.
            crop_samples: Length T of a crop.
            batch: Crops per step.
            seed: Any whole number.
            peak: Each clip is scaled to this peak first (MelGAN: 0.95); None leaves its level. Silence stays silence.
            gain: Each crop is then scaled by a factor drawn from this range (MelGAN: 0.3 to 1).
            rows: The rows of the batch that are drawn here, B of them; None: all.
            short: A clip shorter than a crop is followed by zeros (`pad`) or begins again (`loop`).
            at: A crop lies anywhere, evenly over all sound (`random`), or is the beginning of a clip (`start`), each clip as
                likely as another.
            balance: Row r has a crop of the label `balance[r % len(balance)]`, so that each is as frequent as another; empty: of
                each label there are as many as its clips are long.

        Raises:
            DatasetError: where the split has no clip, or none of a label in `balance`, or one has no label although others have.
        """
        self._prepared = prepared
        self._entries = prepared.entries(split)
        if not self._entries:
            raise DatasetError(
                f"the {split} split of {prepared.dataset.get('name', 'the data set')!r} has no clip that can be used"
            )
        self._labels = self._label_indices(self._entries)
        chances = np.array([entry.frames if at == "random" else 1 for entry in self._entries], dtype=np.int64)
        self._pools = [_Pool(places, np.cumsum(chances[places])) for places in self._choices(split, balance)]
        self._has_texts = any(entry.text for entry in self._entries)
        self._crop_samples, self._seed = crop_samples, seed % 2**64
        self._peak, self._gain, self._short, self._at = peak, gain, short, at
        self._rows = range(batch) if rows is None else rows

    def batch(self, step: int) -> RawBatch:
        """The crops of step `step` (from 0)."""
        draws = np.random.default_rng([self._seed, step]).random((max(self._rows, default=-1) + 1, 3))
        rows = draws[self._rows.start : self._rows.stop : self._rows.step]  # a row's numbers are those of any batch
        pools = [self._pools[row % len(self._pools)] for row in self._rows]
        places = np.array([pool.place(draw) for pool, draw in zip(pools, rows[:, 0], strict=True)], dtype=np.int64)
        audio = np.zeros((len(rows), self._crop_samples), dtype=np.float32)
        entries = [self._entries[place] for place in places]
        for entry, (_, start, gain), out in zip(entries, rows, audio, strict=True):
            self._crop(entry, start, gain, out)
        return RawBatch(
            audio=audio,
            labels=None if self._labels is None else self._labels[places],
            clips=tuple(entry.id for entry in entries),
            texts=tuple(entry.text for entry in entries) if self._has_texts else None,
            rows=self._rows,
        )

    def _crop(self, entry: Entry, start: float, gain: float, out: np.ndarray) -> None:
        """Fill `out` with a crop of a clip: `start` and `gain` lie in 0..1, of what there is to choose from."""
        count = min(self._crop_samples, entry.frames)
        low, high = self._gain
        scale = low + gain * (high - low)
        if self._peak is not None and entry.peak > 0:
            scale *= self._peak / entry.peak
        first = int(start * (entry.frames - count + 1)) if self._at == "random" else 0
        self._prepared.read(entry, first, count, scale=scale, out=out[:count])
        if self._short == "loop" and count < len(out):
            out[count:] = np.resize(out[:count], len(out) - count)

    def _choices(self, split: Split, balance: tuple[str, ...]) -> list[np.ndarray]:
        """The clips that a row may come from, by their places: one set for all rows, or one per label that they take in turn."""
        found = [
            np.array([place for place, entry in enumerate(self._entries) if entry.label == label], dtype=np.int64)
            for label in balance
        ]
        for label, places in zip(balance, found, strict=True):
            if not len(places):
                raise DatasetError(f"the {split} split has no clip of the label {label!r}, which `balance` needs")
        return found or [np.arange(len(self._entries))]

    def _label_indices(self, entries: tuple[Entry, ...]) -> np.ndarray | None:
        labels = self._prepared.labels
        if not labels:
            return None
        indices = {label: index for index, label in enumerate(labels)}
        for entry in entries:
            if entry.label not in indices:
                raise DatasetError(
                    f"the clip {entry.id!r} has the label {entry.label!r}, which is none of {', '.join(labels)}"
                )
        return np.array([indices[entry.label] for entry in entries if entry.label is not None], dtype=np.int64)


class Loader:
    """The batches of steps `start` to `stop` in order, read ahead by threads. Iterate it once, in a `with` block."""

    def __init__(self, crops: Crops, *, start: int, stop: int, threads: int) -> None:
        self.waited = 0.0
        """Seconds that iterating has waited for batches so far."""
        self._crops, self._steps = crops, iter(range(start, stop))
        self._pool = ThreadPoolExecutor(max(1, threads), thread_name_prefix="synthkit-loader")
        self._ahead: deque[Future[RawBatch]] = deque()
        for _ in range(_AHEAD_PER_THREAD * max(1, threads)):
            self._submit()

    def __iter__(self) -> Iterator[RawBatch]:
        """Batch after batch. An error in a thread is raised here."""
        while self._ahead:
            began = time.perf_counter()
            batch = self._ahead.popleft().result()
            self.waited += time.perf_counter() - began
            self._submit()
            yield batch

    def close(self) -> None:
        """Stop reading and wait for the threads to end."""
        self._steps = iter(())
        self._ahead.clear()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> Loader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _submit(self) -> None:
        step = next(self._steps, None)
        if step is not None:
            self._ahead.append(self._pool.submit(self._crops.batch, step))
