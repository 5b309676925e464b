"""The MelNet model: tiers of networks behind features in physical units."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from synthkit.errors import ConfigError
from synthkit.interfaces import Ability, Batch, GenerativeModel, Progress, Request
from synthkit.specs import FeatureSpec
from synthkit_melnet.conditions import curves
from synthkit_melnet.config import MelNetConfig
from synthkit_melnet.network import Given, Tier
from synthkit_melnet.text import TextReader, encoded


class MelNet(GenerativeModel):
    """MelNet: an exact likelihood of spectrograms, element by element and tier by tier.

    >>> spec = FeatureSpec(sample_rate=8000, n_fft=256, hop_length=64, n_mels=8)
    >>> model = MelNet(MelNetConfig(preset="tiny"), spec, labels=("low", "high"))
    >>> list(model.networks)
    ['tier1', 'tier2']
    """

    def __init__(self, config: MelNetConfig, spec: FeatureSpec, labels: tuple[str, ...] = ()) -> None:
        """Raises `ConfigError` where `config` does not fit `spec`."""
        config.check_spec(spec)
        self.config = config
        self.spec = spec
        self.labels = labels if config.by_label else ()
        self.tiers = [self._tier(tier) for tier in range(1, config.tiers + 1)]
        abilities: set[Ability] = {"continue", "temperature"}
        abilities |= {"conditions"} if config.conditions else set()
        abilities |= {"text"} if config.text else set()
        self.abilities = frozenset(abilities)

    def _tier(self, tier: int) -> Tier:
        sizes, reads = self.config, self.config.text if tier == 1 else None
        return Tier(
            tier,
            sizes.tiers,
            n_mels=self.spec.n_mels,
            hidden=sizes.hidden,
            layers=sizes.layers[tier - 1],
            mixtures=sizes.mixtures,
            cell=sizes.cell,
            centralised=sizes.centralised,
            least_std=sizes.least_std,
            labels=len(self.labels),
            conditions=len(sizes.conditions),
            text=None if reads is None else TextReader(len(reads.alphabet), sizes.hidden, reads.logistics),
        )

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """`tier1`, `tier2` ...: each can be trained and saved alone."""
        return {f"tier{network.tier}": network for network in self.tiers}

    def fit(self, features: Iterable[Tensor]) -> None:
        """Fit the scaling of every tier to features `[B, M, N]` of the training split, mean 0 and deviation 1 in each band."""
        seen = [one.detach() for one in features]
        conditions = [self.conditions_of(one) for one in seen]
        for tier in self.tiers:
            tier.scaling.fit_standard(seen)
            if tier.condition_scaling is not None:
                tier.condition_scaling.fit_standard(conditions)

    def conditions_of(self, features: Tensor) -> Tensor:
        """The curves `[B, C, N]` of `config.conditions` in features `[B, M, N]`: what a model can be asked to follow."""
        return curves(self.config.conditions, features, self.spec)

    def given(self, batch: Batch) -> Given:
        """What the features of a batch are conditioned on.

        Raises:
            ConfigError: where the model learns from labels or texts that the data set does not have.
        """
        if self.labels and batch.labels is None:
            raise ConfigError("MelNet learns by label, but the clips have none; set by_label to false")
        if self.config.text is not None and batch.texts is None:
            raise ConfigError("MelNet learns to read, but the clips have no texts; set text to null")
        return Given(
            labels=batch.labels if self.labels else None,
            conditions=self.conditions_of(batch.features) if self.config.conditions else None,
            text=encoded(batch.texts, self.config.text.alphabet, batch.features.device)
            if self.config.text and batch.texts
            else None,
        )

    @torch.no_grad()
    def generate(
        self, request: Request, *, random: torch.Generator | None = None, progress: Progress | None = None
    ) -> Tensor:
        """Features `[B, M, N]` in physical units, element by element."""
        raise NotImplementedError
