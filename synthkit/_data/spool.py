"""Decoded sound on its way into the cache: mono, at the cache's rate, in memory while it is short and in a file if not."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from synthkit.audio import Stream
from synthkit.storage import disk_error

_STEP_16_BIT = 2.0**-15
_BLOCK = 2**16
_BLOCKS_IN_MEMORY = 16
"""2^20 samples in all: 48 s at 22.05 kHz, 4 MiB."""


class Spool:
    """Samples `[T]`, float32, written once with `fill` and then read as 16-bit integers. Use it in a `with` block.

    The peak must be known before the first sample can be rounded, so each is kept until the last is there: those of a
    long sound in a file without a name, which is gone whatever happens to the process.
    """

    def __init__(self, folder: Path) -> None:
        """`folder` is where a long sound is kept; it is made if it is needed."""
        self.frames = 0
        """Samples, T."""
        self.peak = 0.0
        """Largest magnitude of a sample; infinite where one is not finite."""
        self._folder = folder
        self._sixteen_bit = True
        self._blocks: list[np.ndarray] = []
        self._file: Any = None  # a raw file; its type has other names on other systems
        self._in_file = 0

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._blocks.clear()
        if self._file is not None:
            self._file.close()

    def fill(self, sound: Stream, sample_rate: int) -> None:
        """Take all of `sound`, mixed down and resampled.

        Raises:
            UnreadableClip: where it cannot be decoded to its end.
            DatasetError: where the disk is full.
        """
        block, filled = np.empty(_BLOCK, dtype=np.float32), 0
        for samples in sound.mono(sample_rate):
            taken = 0
            while taken < len(samples):
                count = min(len(samples) - taken, _BLOCK - filled)
                block[filled : filled + count] = samples[taken : taken + count]
                taken, filled = taken + count, filled + count
                if filled == _BLOCK:
                    self._append(block)
                    block, filled = np.empty(_BLOCK, dtype=np.float32), 0
        if filled:
            self._append(block[:filled])

    @property
    def step(self) -> float:
        """What one integer stands for: 2^-15 where all samples are 16-bit already; else the peak becomes full scale."""
        return _STEP_16_BIT if self._sixteen_bit else self.peak / 32767

    def integers(self) -> Iterator[np.ndarray]:
        """Blocks of int16, T in all: a sample is off by half a `step` at most."""
        scale = 1 / self.step
        for block in self._read():
            scaled = np.multiply(block, scale, dtype=np.float64)  # float32 would add an error of its own
            yield np.rint(scaled, out=scaled).astype("<i2")

    def _append(self, block: np.ndarray) -> None:
        peak = float(max(block.max(), -block.min()))
        self.peak = max(self.peak, peak) if math.isfinite(peak) else math.inf
        self._sixteen_bit = self._sixteen_bit and _is_16_bit(block)
        self.frames += len(block)
        self._blocks.append(block)
        if len(self._blocks) > _BLOCKS_IN_MEMORY:
            self._move_to_file()

    def _move_to_file(self) -> None:
        try:
            if self._file is None:
                self._folder.mkdir(parents=True, exist_ok=True)
                self._file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115 - closed on exit
            for block in self._blocks:
                left = block.data.cast("B")
                while left:  # on a disk that is nearly full a part of it is written
                    left = left[self._file.write(left) :]
        except OSError as error:
            raise disk_error(self._folder, error) from error
        self._blocks.clear()
        self._in_file = self.frames

    def _read(self) -> Iterator[np.ndarray]:
        if self._file is not None:
            self._file.seek(0)
            for start in range(0, self._in_file, _BLOCK):
                count = min(_BLOCK, self._in_file - start)
                yield np.frombuffer(self._file.read(4 * count), dtype=np.float32)
        yield from self._blocks


def _is_16_bit(samples: np.ndarray) -> bool:
    scaled = samples * np.float32(1 / _STEP_16_BIT)
    return bool(scaled.max() <= 32767 and scaled.min() >= -32768 and np.array_equal(scaled, np.rint(scaled)))
