"""A small network that tells kinds of sound apart by their log-mel features, and how it learns.

It judges: what a model made is as good as it is hard to tell from the real in what this network sees (its points), and
belongs to the label that it is taken for. It is small and learns from few clips in seconds, on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from synthkit.errors import ConfigError, nearest
from synthkit.interfaces import Progress
from synthkit.scaling import FeatureScaling
from synthkit.specs import FeatureSpec
from synthkit.training.engine import seeded

POINTS = 32
"""Dimensions D of a point."""
_WIDTHS = (16, 32, 64)
_SLICE = 64
"""Items that are judged at once."""


class Classifier(nn.Module):
    """Features `[B, M, N]` of any length to one of the labels, and to points `[B, 32]`: what its last layer sees.

    Three convolutions halve bands and frames; the mean and the largest value over time, band by band, become the point. The
    level of a sound does not matter: its loudest value counts as 0.

    Args:
        n_mels: Bands M.
        labels: What it tells apart; at least two.

    Raises:
        ConfigError: for fewer labels.
    """

    def __init__(self, n_mels: int, labels: Sequence[str]) -> None:
        super().__init__()
        if len(set(labels)) < 2:
            raise ConfigError(f"a classifier needs at least two labels to tell apart, not {len(set(labels))}")
        self.labels = tuple(labels)
        self.scaling = FeatureScaling(n_mels)
        layers: list[nn.Module] = []
        for before, after in zip((1, *_WIDTHS), _WIDTHS, strict=False):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.BatchNorm2d(after), nn.GELU()]
            n_mels = (n_mels + 1) // 2
        self.layers = nn.Sequential(*layers)
        self.narrow = nn.Sequential(nn.Linear(2 * _WIDTHS[-1] * n_mels, POINTS), nn.GELU())
        self.drop = nn.Dropout(0.2)
        self.last = nn.Linear(POINTS, len(self.labels))

    def forward(self, features: Tensor) -> Tensor:
        """Logits `[B, L]`."""
        logits: Tensor = self.last(self.drop(self.see(features)))
        return logits

    def see(self, features: Tensor) -> Tensor:
        """Points `[B, 32]`, with gradient."""
        seen = self.layers(self.scaling(level_free(features)).unsqueeze(1))
        point: Tensor = self.narrow(torch.cat([seen.mean(3), seen.amax(3)], dim=1).flatten(1))
        return point

    def points(self, features: Tensor) -> np.ndarray:
        """Points `[n, 32]` of any number of items; one does not depend on the others."""
        return self._judged(features, self.see)

    def probabilities(self, features: Tensor) -> np.ndarray:
        """How likely each item has each label: `[n, L]`."""
        return self._judged(features, lambda piece: self(piece).softmax(1))

    def classify(self, features: Tensor) -> tuple[str, ...]:
        """The label that each item is taken for."""
        return tuple(self.labels[index] for index in self.probabilities(features).argmax(1))

    def accuracy(self, features: Tensor, labels: Sequence[str]) -> float:
        """The share of items that are taken for what they should be. Raises `ConfigError` where the counts differ."""
        if len(labels) != len(features) or not labels:
            raise ConfigError(f"{len(features)} items need as many labels, not {len(labels)}")
        return float(np.mean([found == label for found, label in zip(self.classify(features), labels, strict=True)]))

    @torch.no_grad()
    def _judged(self, features: Tensor, judge: Callable[[Tensor], Tensor]) -> np.ndarray:
        was_training = self.training
        self.eval()
        try:
            pieces = [judge(piece.to(self.last.weight)).cpu().numpy() for piece in torch.split(features, _SLICE)]
        finally:
            self.train(was_training)
        return np.concatenate(pieces)


def audible(spec: FeatureSpec) -> FeatureSpec:
    """The spec of what is heard where features of `spec` are made: itself, or with a logarithm where it has none."""
    return spec if spec.log != "none" else replace(spec, log="log10", floor=max(spec.floor, 1e-5))


def level_free(features: Tensor) -> Tensor:
    """Features `[B, M, N]` relative to the loudest value of each item: a gain adds the same to all log features."""
    return features - features.amax(dim=(1, 2), keepdim=True)


def train_classifier(
    features: Tensor,
    labels: Sequence[str],
    *,
    known: Sequence[str] = (),
    steps: int = 300,
    batch: int = 32,
    seed: int = 0,
    progress: Progress | None = None,
) -> Classifier:
    """A classifier that has learned from examples, each label as often as any other. The same seed gives the same one.

    It sees each example in many forms: from another moment on, with bands and frames missing (Park et al. 2019).

    Args:
        features: `[n, M, N]`.
        labels: The label of each.
        known: All labels, in the order that it keeps; by default those that there are, sorted.
        steps: Optimisation steps.
        batch: Examples per step.
        seed: Of first weights, order and forms.
        progress: Told of steps.

    Raises:
        ConfigError: for fewer than two labels, one that is not known, or counts that differ.

    >>> low, high = torch.zeros(8, 16, 12), torch.zeros(8, 16, 12)
    >>> low[:, :4], high[:, -4:] = 1.0, 1.0
    >>> judge = train_classifier(torch.cat([low, high]), ["low"] * 8 + ["high"] * 8, steps=20, batch=8)
    >>> judge.classify(torch.stack([high[0], low[0]])), judge.points(low).shape
    (('high', 'low'), (8, 32))
    """
    if len(labels) != len(features):
        raise ConfigError(f"{len(features)} items need as many labels, not {len(labels)}")
    known = tuple(known) or tuple(sorted(set(labels)))
    for label in labels:
        if label not in known:
            raise ConfigError(f"the classifier knows no label {label!r}; {nearest(label, known)}")
    with seeded(seed):
        classifier = Classifier(features.shape[1], known)
        fit(classifier, features, labels, steps=steps, batch=batch, progress=progress)
    return classifier


def fit(
    classifier: Classifier,
    features: Tensor,
    labels: Sequence[str],
    *,
    steps: int,
    batch: int,
    progress: Progress | None = None,
) -> None:
    """Teach a fresh classifier; draws from torch's global generator. Left in evaluation mode."""
    wanted = torch.tensor([classifier.labels.index(label) for label in labels])
    classifier.scaling.fit_standard([level_free(piece) for piece in torch.split(features, _SLICE)])
    rare = 1.0 / wanted.bincount(minlength=len(classifier.labels)).clamp(min=1).double()[wanted]
    optimiser = torch.optim.AdamW(classifier.parameters(), lr=2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=2e-3, total_steps=steps)
    classifier.train()
    for step in range(steps):
        rows = torch.multinomial(rare, batch, replacement=True)
        logits = classifier(_varied(features[rows].float()))
        loss = nn.functional.cross_entropy(logits, wanted[rows], label_smoothing=0.05)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        if progress:
            progress(step + 1, steps)
    classifier.eval()


def _varied(features: Tensor) -> Tensor:
    """The batch from another moment on, with one stretch of frames and one of bands at each item's lowest value."""
    items, bands, frames = features.shape
    moved = torch.roll(features, int(torch.randint(frames, ())), dims=2)
    hidden = _stretch(items, bands, bands // 5)[:, :, None] | _stretch(items, frames, frames // 4)[:, None, :]
    return torch.where(hidden, moved.amin(dim=(1, 2), keepdim=True), moved)


def _stretch(items: int, length: int, longest: int) -> Tensor:
    """Masks `[items, length]`, each with one stretch of at most `longest`."""
    width = torch.randint(longest + 1, (items, 1))
    start = (torch.rand(items, 1) * (length - width + 1)).long()
    place = torch.arange(length)
    return (place >= start) & (place < start + width)
