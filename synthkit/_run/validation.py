"""Validation: what the objective says of fixed crops, with the weights that generate, and what they sound and look like."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from synthkit._run.batches import RawBatch, to_batch
from synthkit._run.learner import Learner
from synthkit._run.seeds import derive_seed
from synthkit.audio import Audio
from synthkit.interfaces import Batch, FeatureExtractor, Tracker, Vocoder
from synthkit.specs import FeatureSpec
from synthkit.training.engine import seeded

EXAMPLES = 2
"""Crops that trackers are shown."""


@dataclass(frozen=True, kw_only=True)
class Validation:
    """The fixed crops of one training; what is drawn at random while they are judged is the same each time."""

    part: str
    learner: Learner
    extractor: FeatureExtractor
    crops: Sequence[RawBatch]
    seed: int
    trackers: Sequence[Tracker]
    picture: Callable[[np.ndarray, FeatureSpec], np.ndarray]

    def judge(self, step: int) -> dict[str, float]:
        """Each validation term, as the mean over all crops; trackers that show sound or pictures are given examples."""
        with torch.no_grad(), self._judging():
            terms = self._terms()
            watchers = [tracker for tracker in self.trackers if type(tracker).audio is not Tracker.audio]
            if watchers and isinstance(self.learner.component, Vocoder):
                self._show(step, watchers, self.learner.component)
        return terms

    @contextmanager
    def _judging(self) -> Iterator[None]:
        """Networks as they generate: in evaluation mode, averaged where there is an average, the same random numbers."""
        learner, networks = self.learner, list(self.learner.component.networks.values())
        seed = derive_seed(self.seed, "validation", self.part)
        for network in networks:
            network.eval()
        try:
            with seeded(seed), learner.average.applied() if learner.average else nullcontext():
                learner.engine.begin(seed)
                yield
        finally:
            for network in networks:
                network.train()

    def _terms(self) -> dict[str, float]:
        totals: dict[str, float] = {}
        for raw in self.crops:
            for name, value in self.learner.objective.evaluate(self._batch(raw)).items():
                totals[name] = totals.get(name, 0.0) + float(value) * len(raw.audio)
        items = sum(len(raw.audio) for raw in self.crops)
        return {name: total / items for name, total in totals.items()}

    def _show(self, step: int, watchers: Sequence[Tracker], vocoder: Vocoder) -> None:
        batch = self._batch(self.crops[0])
        made = vocoder.vocode(batch.features[:EXAMPLES])
        self._give(step, watchers, "made", made, self.extractor.extract(made))
        if step == 0:
            self._give(step, watchers, "reference", batch.audio[:EXAMPLES], batch.features[:EXAMPLES])

    def _give(self, step: int, watchers: Sequence[Tracker], role: str, samples: Tensor, features: Tensor) -> None:
        spec = self.learner.component.spec
        for item, (sound, frames) in enumerate(zip(samples, features, strict=True)):
            name = f"{self.part}/validation/{item}/{role}"
            audio = Audio(sound[None].float().cpu().numpy(), spec.sample_rate)
            image = self.picture(frames.float().cpu().numpy(), spec)
            for tracker in watchers:
                tracker.audio(step, name, audio)
                tracker.image(step, name, image)

    def _batch(self, raw: RawBatch) -> Batch:
        return to_batch(raw, self.extractor, self.learner.engine.device)
