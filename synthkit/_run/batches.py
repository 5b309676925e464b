"""What the loop is fed with: crops as a loader gives them, and the batch that an objective sees."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol

import numpy as np
import torch

from synthkit.interfaces import Batch, FeatureExtractor


class RawBatch(Protocol):
    """Crops as a loader gives them."""

    @property
    def audio(self) -> np.ndarray:
        """`[B, T]` float32."""

    @property
    def labels(self) -> np.ndarray | None:
        """`[B]` int64."""

    @property
    def clips(self) -> tuple[str, ...]:
        """Ids of the clips."""

    @property
    def texts(self) -> tuple[str, ...] | None:
        """What is said in the clips."""

    @property
    def rows(self) -> range:
        """Rows of the whole batch."""


class Source(Protocol):
    """A loader: batches from some step on."""

    @property
    def waited(self) -> float:
        """Seconds that were spent waiting for batches so far."""

    def __iter__(self) -> Iterator[RawBatch]: ...


Sources = Callable[[int, int], AbstractContextManager[Source]]
"""`sources(start, attempt)`: the batches after step `start`; another attempt, after a rollback, sees other crops."""


def to_batch(raw: RawBatch, extractor: FeatureExtractor, device: torch.device) -> Batch:
    """Crops on a device, with their features, which are computed there."""
    audio = torch.from_numpy(raw.audio).to(device, non_blocking=True)
    labels = None if raw.labels is None else torch.from_numpy(raw.labels).to(device)
    with torch.no_grad():
        features = extractor.extract(audio)
    return Batch(audio=audio, features=features, labels=labels, clips=raw.clips, texts=raw.texts, rows=raw.rows)
