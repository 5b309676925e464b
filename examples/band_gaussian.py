"""A whole plugin in one file: a generative model that learns how loud each mel band is, and how much that varies, per label.

It makes coloured noise with the long-term spectrum of its label: little, but honestly learned by maximum likelihood, and the
baseline that any real model has to beat. Try it:

    synthkit --plugin examples/band_gaussian.py run examples/band_gaussian.yaml
    synthkit --plugin examples/band_gaussian.py generate runs/band-gaussian --label chords -o out/
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor, nn

from synthkit import hookimpl
from synthkit.config import Config, PartConfig
from synthkit.errors import ConfigError
from synthkit.interfaces import Ability, Batch, Component, GenerativeModel, Objective, Offer, Progress, Request
from synthkit.sampling import item_generators, item_noise, label_indices
from synthkit.specs import FeatureSpec
from synthkit.training.engine import Engine

ABILITIES: frozenset[Ability] = frozenset({"temperature"})


class BandGaussianConfig(PartConfig):
    """Settings of the model."""

    initial_sigma: float = Field(default=1.0, gt=0)
    """Standard deviation of every band before training, in the features' own units."""

    def abilities(self) -> frozenset[str]:
        return ABILITIES


class BandLikelihoodConfig(Config):
    """Settings of its training."""

    learning_rate: float = Field(default=0.05, gt=0)
    """Step size of Adam."""


class Bands(nn.Module):
    """A mean and a spread for each label and band: parameters `[L, M]`."""

    def __init__(self, labels: int, n_mels: int, initial_sigma: float) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(labels, n_mels))
        self.log_sigma = nn.Parameter(torch.full((labels, n_mels), math.log(initial_sigma)))

    def forward(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation `[B, M, 1]` for labels `[B]`."""
        return self.mean[labels][..., None], self.log_sigma[labels].exp()[..., None]


class BandGaussian(GenerativeModel):
    """Every value of a band is drawn from the band's own normal distribution."""

    abilities = ABILITIES

    def __init__(self, config: BandGaussianConfig, spec: FeatureSpec, labels: tuple[str, ...]) -> None:
        self.spec, self.labels = spec, labels
        self.bands = Bands(max(1, len(labels)), spec.n_mels, config.initial_sigma)

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        return {"bands": self.bands}

    @torch.no_grad()
    def generate(
        self, request: Request, *, random: torch.Generator | None = None, progress: Progress | None = None
    ) -> Tensor:
        known = label_indices(request.labels, self.labels, request.count)
        labels = torch.zeros(request.count, dtype=torch.long) if known is None else known
        mean, sigma = self.bands(labels.to(self.device))
        noise = item_noise(item_generators(request, random), self.spec.n_mels, request.frames, device=self.device)
        if progress:
            progress(request.count, request.count)
        made: Tensor = (mean + request.temperature * sigma * noise).clamp(min=self.spec.silence)
        return made


class BandLikelihood(Objective):
    """Maximum likelihood, in nats per element."""

    def __init__(self, config: BandLikelihoodConfig, component: Component, engine: Engine) -> None:
        if not isinstance(component, BandGaussian):
            raise ConfigError("the objective band-likelihood trains the model band-gaussian only")
        self.component, self.engine = component, engine
        self.bands = engine.prepare(component.bands)
        self.adam = torch.optim.Adam(component.bands.parameters(), lr=config.learning_rate)

    @property
    def optimisers(self) -> Mapping[str, torch.optim.Optimizer]:
        return {"adam": self.adam}

    def step(self, batch: Batch) -> dict[str, Tensor]:
        return self.engine.learn(self.adam, self.engine.pieces(batch), self._loss)

    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        return self._loss(batch)[1]

    def _loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """What is learned from, a mean over the items, and the terms that are told."""
        labels = batch.labels if batch.labels is not None else torch.zeros(len(batch), dtype=torch.long)
        mean, sigma = self.bands(labels.to(self.engine.device))
        distance = (batch.features - mean) / sigma
        nats = (0.5 * distance.square() + sigma.log() + 0.5 * math.log(2 * math.pi)).mean()
        return nats, {"nats": nats}


@hookimpl
def synthkit_components() -> list[Offer]:
    """One model and the objective that trains it."""
    return [
        Offer(
            kind="model",
            name="band-gaussian",
            build=f"{__name__}:BandGaussian",
            config=f"{__name__}:BandGaussianConfig",
            summary="Coloured noise with the long-term spectrum of its label.",
            objective="band-likelihood",
        ),
        Offer(
            kind="objective",
            name="band-likelihood",
            build=f"{__name__}:BandLikelihood",
            config=f"{__name__}:BandLikelihoodConfig",
            summary="Maximum likelihood for band-gaussian.",
        ),
    ]
