"""Each law of embeddings catches an embedding that breaks it, and the built-in one keeps them all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from synthkit.audio import Audio
from synthkit.builtin.classifier import ClassifierEmbedding
from synthkit.builtin.config import ClassifierConfig
from synthkit.interfaces import Embedding, Progress
from synthkit.presets import PRESETS
from synthkit.testing import Check, battery, check_embedding

SPEC = PRESETS["melgan"].spec
QUICK = ClassifierConfig(steps=2, batch=2)


class Spread(Embedding):
    """Mean and deviation of the samples, from the mean of what it was fitted to."""

    def __init__(self) -> None:
        self.spec, self.labels = SPEC, ("high", "low")
        self.middle = nn.Linear(1, 2)
        self.secret = 0.0

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        return {"middle": self.middle}

    def fit(self, sounds: Sequence[Audio], labels: Sequence[str], *, progress: Progress | None = None) -> None:
        with torch.no_grad():
            self.middle.bias.copy_(torch.tensor([float(np.mean([it.samples.std() for it in sounds])), 0.0]))
        self.secret = self.middle.bias[0].item()

    def embed(self, sounds: Sequence[Audio]) -> np.ndarray:
        values = np.array([[it.samples.mean(), it.samples.std()] for it in sounds], np.float32)
        return values - self.middle.bias.detach().numpy()


class Wide(Spread):
    def embed(self, sounds: Sequence[Audio]) -> np.ndarray:
        return super().embed(sounds).astype(np.float64)


class Divides(Spread):
    def embed(self, sounds: Sequence[Audio]) -> np.ndarray:
        with np.errstate(divide="ignore"):
            return np.log(super().embed(sounds) + self.middle.bias.detach().numpy())


class Ranked(Spread):
    def embed(self, sounds: Sequence[Audio]) -> np.ndarray:
        points = super().embed(sounds)
        return points - points.mean(0)


class Constant(Spread):
    def embed(self, sounds: Sequence[Audio]) -> np.ndarray:
        return np.ones((len(sounds), 2), np.float32)


class Drawing(Spread):
    def embed(self, sounds: Sequence[Audio]) -> np.ndarray:
        return super().embed(sounds) + 1e-6 * np.random.rand()  # type: ignore[no-any-return]


class Rescales(Spread):
    def embed(self, sounds: Sequence[Audio]) -> np.ndarray:
        points = super().embed(sounds)
        for sound in sounds:
            sound.samples[:] *= 0.5
        return points


class Restless(Spread):
    def embed(self, sounds: Sequence[Audio]) -> np.ndarray:
        self.secret += 1
        return super().embed(sounds) * np.float32(self.secret)


class Inventive(Spread):
    def classify(self, sounds: Sequence[Audio]) -> tuple[str, ...] | None:
        return ("neither",) * len(sounds)


class Terse(Spread):
    def classify(self, sounds: Sequence[Audio]) -> tuple[str, ...] | None:
        return ("high",)


class Forgetful(Spread):
    def embed(self, sounds: Sequence[Audio]) -> np.ndarray:
        return super().embed(sounds) + np.float32(self.secret)


VIOLATORS: list[tuple[str, Callable[[], Embedding], str]] = [
    ("points", Wide, "the points are float64"),
    ("points", Divides, "not finite"),
    ("company", Ranked, "in other company differs"),
    ("apart", Constant, "become the same point"),
    ("randomness", Drawing, "changes numpy's global random state"),
    ("randomness", Rescales, "writes into the sounds"),
    ("randomness", Restless, "a second call differs"),
    ("labels", Inventive, "['neither'] are no labels"),
    ("labels", Terse, "3 sounds are told 1 labels"),
    ("saved", Forgetful, "the points are others"),
]


def test_an_honest_embedding_keeps_the_laws() -> None:
    check_embedding(Spread)


@pytest.mark.parametrize(("law", "build", "how"), VIOLATORS, ids=[f"{law}-{it.__name__}" for law, it, _ in VIOLATORS])
def test_each_law_catches_its_violator(law: str, build: Callable[[], Embedding], how: str) -> None:
    check = next(check for check in battery("embedding", build) if check.name == f"embedding-{law}")
    with pytest.raises(AssertionError) as caught:
        check()
    assert str(caught.value).startswith(f"{check.law} Here ")
    assert how in str(caught.value)


def test_every_law_has_a_violator() -> None:
    assert {str(check) for check in battery("embedding", Spread)} == {f"embedding-{law}" for law, _, _ in VIOLATORS}


@pytest.mark.parametrize(
    "check",
    battery("embedding", lambda: ClassifierEmbedding(QUICK, SPEC, ("high", "low")), config=QUICK),
    ids=str,
)
def test_the_classifier_keeps_the_laws(check: Check) -> None:
    check()


def test_the_classifier_hears_features_without_a_logarithm_too() -> None:
    plain = replace(SPEC, log="none", floor=0.0)
    embedding = ClassifierEmbedding(QUICK, plain, ("high", "low"))
    assert embedding.spec == replace(SPEC, log="log10", floor=1e-5)
    assert np.isfinite(embedding.embed([Audio(np.zeros(4000, np.float32), 22050)])).all()
