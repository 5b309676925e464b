"""A plugin file with a model that can do all that a model may be asked for, so that asking can be tried.

Each item is its label's mean, plus noise of its own, plus the length of its text, plus the loudness that it follows; it goes on from
a prompt at the prompt's last frame.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from synthkit import hookimpl
from synthkit.config import Config, PartConfig
from synthkit.interfaces import Batch, Component, GenerativeModel, Objective, Offer, Progress, Request
from synthkit.sampling import item_generators, item_noise, label_indices
from synthkit.specs import FeatureSpec
from synthkit.training.engine import Engine

ALL = ("blend", "conditions", "continue", "temperature", "text")


class AbleConfig(PartConfig):
    """Settings."""

    can: tuple[str, ...] = ALL
    """What it can."""
    tells: bool = True
    """Whether its settings tell that."""

    def abilities(self) -> frozenset[str] | None:
        return frozenset(self.can) if self.tells else None


class Able(GenerativeModel):
    """See above."""

    def __init__(self, config: AbleConfig, spec: FeatureSpec, labels: tuple[str, ...]) -> None:
        self.spec, self.labels, self.abilities = spec, labels, frozenset(config.can)  # type: ignore[assignment]
        self.means = nn.Embedding(max(1, len(labels)), spec.n_mels)
        self.asked: list[Request] = []

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        return {"means": self.means}

    @torch.no_grad()
    def generate(
        self, request: Request, *, random: torch.Generator | None = None, progress: Progress | None = None
    ) -> Tensor:
        self.asked.append(request)
        made = self._ends(request, random)
        if request.blend is not None:
            blend = request.blend
            other = replace(request, labels=blend.labels or request.labels, seeds=blend.seeds or request.seeds)
            made = torch.lerp(made, self._ends(other, random), torch.tensor(blend.share)[:, None, None])
        for number, text in enumerate(request.texts or ()):
            made[number] += len(text)
        if request.conditions is not None:
            made += request.conditions
        if request.prompt is not None:
            made = torch.cat([request.prompt, made[..., request.prompt.shape[2] :] + request.prompt[..., -1:]], dim=2)
        if progress:
            progress(request.count, request.count)
        return made

    def _ends(self, request: Request, random: torch.Generator | None) -> Tensor:
        known = label_indices(request.labels, self.labels, request.count)
        noise = item_noise(item_generators(request, random), self.spec.n_mels, request.frames)
        means = self.means(torch.zeros(request.count, dtype=torch.long) if known is None else known)
        return means[..., None] + request.temperature * noise

    def conditions_of(self, features: Tensor) -> Tensor:
        return features.mean(1, keepdim=True)


class LearningConfig(Config):
    """Settings of its training."""


class Learning(Objective):
    """Draws the means to those of the data."""

    def __init__(self, config: LearningConfig, component: Component, engine: Engine) -> None:
        self.component, self.engine = component, engine
        self.means = engine.prepare(component.networks["means"])
        self.adam = torch.optim.Adam(self.means.parameters(), lr=0.1)

    @property
    def optimisers(self) -> Mapping[str, torch.optim.Optimizer]:
        return {"adam": self.adam}

    def step(self, batch: Batch) -> dict[str, Tensor]:
        return self.engine.learn(self.adam, self.engine.pieces(batch), self._loss)

    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        return self._loss(batch)[1]

    def _loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        error = (batch.features - self.means(batch.labels)[..., None]).square().mean()
        return error, {"error": error}


@hookimpl
def synthkit_components() -> list[Offer]:
    """The model and how it learns."""
    model = {"build": f"{__name__}:Able", "config": f"{__name__}:AbleConfig", "objective": "learning"}
    learning = {"build": f"{__name__}:Learning", "config": f"{__name__}:LearningConfig"}
    return [
        Offer(kind="model", name="able", summary="Can do all.", **model),
        Offer(kind="objective", name="learning", summary="Draws means to those of the data.", **learning),
    ]
