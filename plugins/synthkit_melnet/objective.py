"""How MelNet learns: by maximum likelihood, each tier by itself (arXiv 1906.01083, sections 3 and 5)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from synthkit.errors import ConfigError
from synthkit.interfaces import Batch, Objective
from synthkit.training.engine import Engine, Terms
from synthkit_melnet import tiers
from synthkit_melnet.baselines import BandMixture
from synthkit_melnet.config import MelNetObjectiveConfig
from synthkit_melnet.model import MelNet
from synthkit_melnet.network import Tier

_MOST_VALUES = 4096
"""Values of a band that a baseline is fitted to."""
_LEAST_START = 1e-3
"""Least standard deviation of a tier before any learning, beside the `least_std` that is added to each."""


class MelNetObjective(Objective):
    """The exact negative log-likelihood of the features, given what conditions them.

    Terms, all in nats per element but one: `nats_tierG` for each tier that learns, `nats` over all their elements, `bits` the
    same in bits per dimension: densities in the features' physical units. `nats_scaled` is that in the units of the networks,
    which scale each band: what is made small. An evaluation has beside them what the same elements cost under two baselines:
    `baseline_gaussian`, a normal distribution for each band, and `baseline_mixture`, a mixture of several.
    """

    component: MelNet

    def __init__(self, config: MelNetObjectiveConfig, component: MelNet, engine: Engine) -> None:
        """Raises `ConfigError` for a tier that the model does not have."""
        count, wanted = component.config.tiers, config.tiers
        for number in wanted or ():
            if number > count:
                raise ConfigError(f"the objective's tiers name tier {number}, but the model has {count}")
        self.config = config
        self.component = component
        self._engine = engine
        chosen = [tier for tier in component.tiers if wanted is None or tier.tier in wanted]
        self._tiers = [engine.prepare(tier) for tier in chosen]
        for tier in chosen:
            tier.checkpointing = config.checkpointing
        self._optimisers = {f"tier{tier.tier}": self._optimiser(tier) for tier in chosen}
        bands = component.spec.n_mels
        self._baselines = {"gaussian": BandMixture(bands, 1), "mixture": BandMixture(bands, config.baseline_mixtures)}
        for baseline in self._baselines.values():
            baseline.to(engine.device)

    def _optimiser(self, tier: Tier) -> torch.optim.Optimizer:
        rate, momentum = self.config.learning_rate, self.config.momentum
        if self.config.optimiser == "adam":
            return torch.optim.Adam(tier.parameters(), rate, (momentum, 0.999), fused=True)
        return torch.optim.RMSprop(tier.parameters(), rate, momentum=momentum)

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """The baselines: fitted before the first step, they learn nothing."""
        return self._baselines

    @property
    def optimisers(self) -> Mapping[str, torch.optim.Optimizer]:
        """One for each tier that learns."""
        return self._optimisers

    def survey(self, batches: Iterable[Batch]) -> None:
        """Fit the scaling of every tier and both baselines to the same crops, and let each tier begin where all it knows is theirs."""
        seen = [batch.features for batch in batches]
        self.component.fit(seen)
        values = torch.cat([features.transpose(0, 1).flatten(1) for features in seen], dim=1)
        least = self.component.config.least_std * self.component.tiers[0].scaling.scale[:, 0]
        for baseline in self._baselines.values():
            baseline.fit(_some(values, _MOST_VALUES), least)
        whole = torch.cat(seen).transpose(1, 2)
        for tier in self._tiers:
            self._begin(tier, _some(tier.scaled(whole)[1].reshape(1, -1), 8 * _MOST_VALUES))

    @torch.no_grad()
    def _begin(self, tier: Tier, values: Tensor) -> None:
        """Let a fresh tier say the same of every element at first: the mixture of all its values `[1, n]`, scaled.

        A network that begins with normal distributions around 0 takes most of a short training to find out how often silence
        occurs. The paper says nothing of how it begins.
        """
        sizes = self.component.config
        all_alike = BandMixture(1, sizes.mixtures).to(values.device)
        all_alike.fit(values, sizes.least_std)
        std = (all_alike.log_std.exp() - sizes.least_std).clamp(min=_LEAST_START)  # the network adds it
        tier.head.weight.zero_()
        tier.head.bias.copy_(torch.cat([all_alike.mean, std.log(), all_alike.logits], dim=1)[0])

    def step(self, batch: Batch) -> Terms:
        """One update of each tier that learns."""
        pieces = self._engine.pieces(batch)
        terms: Terms = {}
        for tier in self._tiers:
            name = f"tier{tier.tier}"
            terms |= self._engine.learn(self._optimisers[name], pieces, partial(self._loss, tier))
        return self._summed(terms, batch)

    @torch.no_grad()
    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        """The same terms, and beside them the baselines', where they were fitted."""
        terms: Terms = {}
        for tier in self._tiers:
            terms |= self._loss(tier, batch)[1]
        terms = self._summed(terms, batch)
        for name, baseline in self._baselines.items():
            if baseline.is_fitted:
                terms[f"baseline_{name}"] = self._over_tiers(-baseline.log_prob(batch.features))
        return terms

    def _loss(self, tier: Tier, batch: Batch) -> tuple[Tensor, Terms]:
        """What a tier makes small, a mean over items and elements in its own units, and its terms."""
        below, own = tier.scaled(batch.features.transpose(1, 2))
        loss = -tier(own, below, self.component.given(batch)).log_prob(own).mean()
        return loss, {f"nats_tier{tier.tier}": loss + tier.log_scale().mean(), f"scaled_tier{tier.tier}": loss}

    def _summed(self, terms: Terms, batch: Batch) -> Terms:
        """The tiers' terms, and those over all their elements."""
        bands, frames = batch.features.shape[1:]
        sizes = {tier.tier: math.prod(tiers.shape_of(tier.tier, tier.count, frames, bands)) for tier in self._tiers}
        whole = sum(sizes.values())
        nats, scaled = (
            torch.stack([terms[f"{kind}_tier{tier}"] * (size / whole) for tier, size in sizes.items()]).sum()
            for kind in ("nats", "scaled")
        )
        own = {name: term for name, term in terms.items() if name.startswith("nats_")}
        return {"nats": nats, "bits": nats / math.log(2), "nats_scaled": scaled, **own}

    def _over_tiers(self, values: Tensor) -> Tensor:
        """The mean of `values [B, M, N]` over the elements of the tiers that learn."""
        grid = values.transpose(1, 2)
        return torch.cat([grid[tier.own_place].flatten() for tier in self._tiers]).mean()


def _some(values: Tensor, most: int) -> Tensor:
    """Values evenly taken of `[M, n]`, so that there are at most `most`."""
    return values[:, :: -(-values.shape[1] // most)]
