"""The embedding `classifier`: what a small network sees that has learned to tell the run's own labels apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from synthkit import dsp
from synthkit.audio import Audio
from synthkit.builtin.config import ClassifierConfig
from synthkit.interfaces import Embedding, Progress
from synthkit.specs import FeatureSpec
from synthkit.training.classifier import Classifier, audible, fit


class ClassifierEmbedding(Embedding):
    """Points are what the last layer of `synthkit.training.classifier.Classifier` is given.

    It hears log-mel features of the run's own spec; a spec without a logarithm is heard in `log10`.
    """

    def __init__(self, config: ClassifierConfig, spec: FeatureSpec, labels: tuple[str, ...]) -> None:
        self.config, self.labels = config, labels
        self.spec = audible(spec)
        self.network = Classifier(spec.n_mels, labels)

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        return {"classifier": self.network}

    def fit(self, sounds: Sequence[Audio], labels: Sequence[str], *, progress: Progress | None = None) -> None:
        heard = [self._features(sound) for sound in sounds]
        frames = min(features.shape[1] for features in heard)
        examples = torch.stack([features[:, :frames] for features in heard])
        fit(self.network, examples, labels, steps=self.config.steps, batch=self.config.batch, progress=progress)

    def embed(self, sounds: Sequence[Audio]) -> np.ndarray:
        return np.concatenate([self.network.points(self._features(sound)[None]) for sound in sounds])

    def classify(self, sounds: Sequence[Audio]) -> tuple[str, ...] | None:
        return tuple(label for sound in sounds for label in self.network.classify(self._features(sound)[None]))

    def _features(self, sound: Audio) -> Tensor:
        """`[M, N]`; a sound shorter than a frame is followed by silence."""
        samples = torch.from_numpy(sound.mono().samples)
        missing = max(0, self.spec.samples(1) - sound.frames)
        features: Tensor = dsp.log_mel(nn.functional.pad(samples, (0, missing)), self.spec)[0]
        return features
