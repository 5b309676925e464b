"""The MelNet model: tiers of networks behind features in physical units."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from synthkit.errors import ConfigError
from synthkit.interfaces import Batch, GenerativeModel, Progress, Request
from synthkit.sampling import evaluating, item_generators, label_indices
from synthkit.specs import FeatureSpec
from synthkit_melnet.conditions import curves
from synthkit_melnet.config import MelNetConfig
from synthkit_melnet.network import Given, Tier
from synthkit_melnet.sampler import bias_of, sampled
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
        self.abilities = config.abilities()

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
        """Fit the scaling of every tier to features `[B, M, N]` of the training split: -1 their lowest value, 1 their highest.

        One range for all bands keeps silence, the features' floor, at one value: a network need not find out which band it is
        in to know it. Bands of deviation 1 each learned clearly worse.
        """
        seen = [one.detach() for one in features]
        conditions = [self.conditions_of(one) for one in seen]
        for tier in self.tiers:
            tier.scaling.fit_range(seen)
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

    def generate(
        self, request: Request, *, random: torch.Generator | None = None, progress: Progress | None = None
    ) -> Tensor:
        """Features `[B, M, N]` in physical units, element by element; nothing in them is below the spec's silence.

        On the CPU an item has the same bits in any batch. Progress is told of elements.

        Raises:
            ConfigError: for a length, a label, a temperature, a prompt, conditions or texts that do not fit.
        """
        self._check(request)
        reads = self.config.text
        given = Given(
            labels=label_indices(request.labels, self.labels, request.count, self.device),
            conditions=None if request.conditions is None else request.conditions.to(self.device),
            text=None if reads is None else encoded(request.texts or (), reads.alphabet, self.device),
        )
        with torch.no_grad(), evaluating(*self.tiers):
            made = sampled(
                self.tiers,
                request.frames,
                item_generators(request, random),
                given,
                prompt=None if request.prompt is None else request.prompt.to(self.device),
                bias=bias_of(request.temperature),
                progress=progress,
            )
        return made if self.spec.magnitude_eps else made.clamp(min=self.spec.silence)

    def _check(self, request: Request) -> None:
        """Raise `ConfigError` for what the model cannot serve."""
        count, frames = request.count, request.frames
        if frames < 1 or count < 1:
            raise ConfigError(f"MelNet makes 1 or more clips of 1 or more frames, not {count} of {frames}")
        if not 0 < request.temperature < math.inf:
            raise ConfigError(f"a temperature is above 0 (1 is as learned), not {request.temperature}")
        wanted: list[tuple[str, Tensor | None, tuple[int, int, int]]] = [
            ("conditions", request.conditions, (count, len(self.config.conditions), frames))
        ]
        if request.prompt is not None:
            length = request.prompt.shape[-1]
            if not 1 <= length <= frames:
                raise ConfigError(f"a prompt of {length} frames cannot begin a clip of {frames}")
            wanted.append(("a prompt", request.prompt, (count, self.spec.n_mels, length)))
        for name, values, shape in wanted:
            if values is not None and tuple(values.shape) != shape:
                raise ConfigError(f"MelNet needs {name} of shape {list(shape)}, not {list(values.shape)}")
        if self.config.conditions and request.conditions is None:
            names = ", ".join(self.config.conditions)
            raise ConfigError(
                f"MelNet follows curves ({names}): give conditions of shape {[count, len(self.config.conditions), frames]}"
            )
        if self.config.text is not None and len(request.texts or ()) != count:
            raise ConfigError(f"MelNet reads texts: give one for each of {count} items, not {len(request.texts or ())}")
