"""The classifier tells kinds of sound apart from few examples, and what it says of one sound depends on that sound only."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from synthkit.errors import ConfigError
from synthkit.training.classifier import Classifier, train_classifier


def lines(count: int, band: int, seed: int, frames: int = 24) -> Tensor:
    """Noise with a line in one band that comes and goes, at levels that differ: `[count, 16, frames]`."""
    random = torch.Generator().manual_seed(seed)
    features = torch.randn(count, 16, frames, generator=random) * 0.3 - 4
    features[:, band, : frames // 2] += 3
    return features + 2 * torch.rand(count, 1, 1, generator=random)


@pytest.fixture(scope="module")
def judge() -> Classifier:
    return train_classifier(
        torch.cat([lines(12, 3, 1), lines(12, 9, 2)]), ["low"] * 12 + ["high"] * 12, steps=40, batch=16
    )


def test_it_tells_what_it_has_never_heard(judge: Classifier) -> None:
    heard = torch.cat([lines(20, 3, 5), lines(20, 9, 6)])
    assert judge.accuracy(heard, ["low"] * 20 + ["high"] * 20) == 1.0
    assert judge.accuracy(heard, ["high"] * 20 + ["low"] * 20) == 0.0
    assert judge.labels == ("high", "low")
    assert judge.probabilities(heard).sum(1) == pytest.approx(1.0, abs=1e-5)


def test_level_length_and_neighbours_do_not_matter(judge: Classifier) -> None:
    heard = lines(70, 3, 7, frames=50)
    points = judge.points(heard)
    assert points.shape == (70, 32)
    assert judge.points(heard[65:]) == pytest.approx(points[65:], abs=1e-4)
    assert judge.points(heard - 1.5) == pytest.approx(points, abs=1e-3)
    assert set(judge.classify(lines(5, 9, 8, frames=11))) == {"high"}


def test_the_same_seed_is_the_same_classifier_and_no_global_state_is_touched() -> None:
    features, labels = torch.cat([lines(4, 3, 1), lines(4, 9, 2)]), ["a"] * 4 + ["b"] * 4
    before = torch.random.get_rng_state()
    one, same = (train_classifier(features, labels, steps=3, batch=4, seed=5) for _ in range(2))
    other = train_classifier(features, labels, steps=3, batch=4, seed=6)
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(one.parameters(), same.parameters(), strict=True))
    assert not torch.equal(one.last.weight, other.last.weight)


def test_a_rare_label_counts_as_much_as_a_frequent_one() -> None:
    features = torch.cat([lines(60, 3, 1), lines(3, 9, 2)])
    judge = train_classifier(features, ["many"] * 60 + ["few"] * 3, steps=40, batch=16)
    assert judge.accuracy(lines(20, 9, 6), ["few"] * 20) > 0.9


def test_it_keeps_the_order_of_labels_that_it_is_given() -> None:
    features = torch.cat([lines(4, 3, 1), lines(4, 9, 2)])
    judge = train_classifier(features, ["b"] * 4 + ["a"] * 4, known=("b", "unheard", "a"), steps=20, batch=8)
    assert judge.labels == ("b", "unheard", "a")
    assert judge.probabilities(features).shape == (8, 3)
    assert judge.classify(features[:1]) == ("b",)


@pytest.mark.parametrize(
    ("labels", "known", "says"),
    [
        (["a"] * 4, (), "at least two labels to tell apart, not 1"),
        (["a", "b", "a"], (), "4 items need as many labels, not 3"),
        (["a", "jaz", "a", "b"], ("a", "b", "jazz"), "knows no label 'jaz'; did you mean 'jazz'"),
    ],
)
def test_what_it_cannot_learn_is_said(labels: list[str], known: tuple[str, ...], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        train_classifier(lines(4, 3, 1), labels, known=known, steps=1)


def test_accuracy_needs_a_label_for_each_item(judge: Classifier) -> None:
    with pytest.raises(ConfigError, match="3 items need as many labels, not 2"):
        judge.accuracy(lines(3, 3, 1), ["low", "low"])
