"""Laws of embeddings."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from synthkit.audio import Audio
from synthkit.interfaces import Embedding
from synthkit.testing.check import expect, fresh, transplant, untouched_randomness
from synthkit.testing.sounds import CLOSE, sounds
from synthkit.training.engine import seeded

Build = Callable[[], Embedding]
_SECONDS = 0.25


def heard(embedding: Embedding, count: int, first: int = 0) -> list[Audio]:
    """Mono sounds at the embedding's rate; sound k is the same whatever the count."""
    rate = embedding.spec.sample_rate
    return [Audio(samples.numpy(), rate) for samples in sounds(rate, round(_SECONDS * rate), count, first)]


def fitted(build: Build) -> Embedding:
    """An embedding that has learned from a few sounds, two of each label, in the way that the core lets it learn."""
    embedding = fresh(build)
    labels = [label for label in embedding.labels for _ in range(2)] or ["sound"] * 4
    with seeded(3):
        embedding.fit(heard(embedding, len(labels)), labels)
    return embedding


def points(build: Build) -> None:
    """Sounds become as many points, `[n, D]`, finite float32 values; so does silence, and a sound of a single sample."""
    embedding = fitted(build)
    rate = embedding.spec.sample_rate
    odd = [Audio(np.zeros(rate // 4, np.float32), rate), Audio(np.full(1, 0.5, np.float32), rate)]
    for some in (heard(embedding, 3), heard(embedding, 1), odd):
        found = embedding.embed(some)
        expect(found.ndim == 2 and len(found) == len(some), f"{len(some)} sounds give the shape {list(found.shape)}")
        expect(found.dtype == np.float32, f"the points are {found.dtype}")
        expect(bool(np.isfinite(found).all()), "the points are not finite")


def company(build: Build) -> None:
    """The point of a sound does not depend on the other sounds, nor on their order or length."""
    embedding = fitted(build)
    some = heard(embedding, 3)
    together = embedding.embed(some)
    longer = Audio(np.tile(some[1].samples, 3), some[1].sample_rate)
    for others in ([some[0]], [*reversed(some)], [some[0], longer]):
        alone = embedding.embed(others)[others.index(some[0])]
        apart = float(np.abs(together[0] - alone).max() / max(1.0, float(np.abs(alone).max())))
        expect(apart <= CLOSE, f"the same sound in other company differs by {apart:.2g}")


def apart(build: Build) -> None:
    """Different sounds become different points."""
    embedding = fitted(build)
    first, other = embedding.embed(heard(embedding, 2))
    expect(not np.array_equal(first, other), "two sounds of different pitch become the same point")


def randomness(build: Build) -> None:
    """The same sound becomes the same point each time; embedding leaves sounds and global random states as they were."""
    embedding = fitted(build)
    some = heard(embedding, 2)
    before = [sound.samples.copy() for sound in some]
    with untouched_randomness("embed"):
        reference = embedding.embed(some)
    kept = all(np.array_equal(sound.samples, copy) for sound, copy in zip(some, before, strict=True))
    expect(kept, "it writes into the sounds it is given")
    expect(np.array_equal(reference, embedding.embed(some)), "a second call differs")


def labels(build: Build) -> None:
    """What sounds are taken for is one of the labels for each of them, or None at all."""
    embedding = fitted(build)
    told = embedding.classify(heard(embedding, 3))
    if told is not None:
        expect(len(told) == 3, f"3 sounds are told {len(told)} labels")
        strange = sorted(set(told) - set(embedding.labels))
        expect(not strange, f"{strange} are no labels of it")


def saved(build: Build) -> None:
    """All that it learned is in its networks: with them, another one gives the same points."""
    first, second = fitted(build), fresh(build, seed=2)
    transplant(first.networks, second.networks)
    some = heard(first, 2, first=5)
    one, other = first.embed(some), second.embed(some)
    expect(one.shape == other.shape and bool(np.allclose(one, other, atol=CLOSE)), "the points are others")


LAWS = (points, company, apart, randomness, labels, saved)
