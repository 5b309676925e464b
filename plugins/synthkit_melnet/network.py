"""One tier of MelNet (Vasquez and Lewis 2019, arXiv 1906.01083): a distribution for each element, given all before it.

Grids are `[B, N, M]` (see `tiers`) in the network's own units; `Tier.scaled` and `Tier.physical` lead there and back. Each tier
holds its own scaling, so that tiers that learned apart, from whatever data, fit together: they meet in physical units.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from synthkit.scaling import FeatureScaling
from synthkit_melnet import tiers
from synthkit_melnet.layers import Cell, Centralised, FeatureExtraction, FrequencyDelayed, TimeDelayed
from synthkit_melnet.mixture import Mixture
from synthkit_melnet.text import Text, TextReader


@dataclass(frozen=True, kw_only=True)
class Given:
    """What a spectrogram is conditioned on, beside the tiers below; each None where the model has no use for it."""

    labels: Tensor | None = None
    """`[B]` indices."""
    conditions: Tensor | None = None
    """Dense features `[B, C, N]` of the whole grid's frames, in physical units."""
    text: Text | None = None
    """What is said; only tier 1 reads it."""


class Tier(nn.Module):
    """Tier `tier` of `count`: stacks of layers that see the frames before, the bands below and the tiers below.

    >>> network = Tier(2, 2, n_mels=4, hidden=8, layers=1, mixtures=3)
    >>> features = torch.randn(1, 5, 4)
    >>> below, own = network.scaled(features)
    >>> network(own, below).mean.shape
    torch.Size([1, 5, 2, 3])
    """

    checkpointing: bool = False
    """Whether the gradient computes the activations of each layer again instead of keeping them."""

    def __init__(
        self,
        tier: int,
        count: int,
        *,
        n_mels: int,
        hidden: int,
        layers: int,
        mixtures: int,
        cell: Cell = "lstm",
        centralised: bool = True,
        least_std: float = 0.0,
        labels: int = 0,
        conditions: int = 0,
        text: TextReader | None = None,
    ) -> None:
        super().__init__()
        self.tier, self.count, self.least_std = tier, count, least_std
        self.below_place, self.own_place = tiers.places(tier, count)
        self.scaling = FeatureScaling(n_mels)
        self.time_input = nn.Linear(1, hidden)
        self.frequency_input = nn.Linear(1, hidden)
        self.time_layers = nn.ModuleList(TimeDelayed(hidden, cell) for _ in range(layers))
        self.frequency_layers = nn.ModuleList(FrequencyDelayed(hidden, cell) for _ in range(layers))
        self.central_layers = nn.ModuleList()
        if centralised and tier == 1:
            self.central_input = nn.Linear(tiers.shape_of(tier, count, 1, n_mels)[1], hidden)
            self.central_layers.extend(Centralised(hidden, cell) for _ in range(layers))
        self.head = nn.Linear(hidden, 3 * mixtures)
        if tier > 1:
            self.extraction = FeatureExtraction(hidden, cell)
            self.time_below = nn.Linear(4 * hidden, hidden, bias=False)
            self.frequency_below = nn.Linear(4 * hidden, hidden, bias=False)
        self.condition_scaling: FeatureScaling | None = None
        self.by_label = labels > 0
        if self.by_label:
            self.time_label = nn.Embedding(labels, hidden)
            self.frequency_label = nn.Embedding(labels, hidden)
        if conditions:
            self.condition_scaling = FeatureScaling(conditions)
            self.time_conditions = nn.Linear(conditions, hidden, bias=False)
            self.frequency_conditions = nn.Linear(conditions, hidden, bias=False)
        self.text = text

    def forward(self, own: Tensor, below: Tensor | None = None, given: Given | None = None) -> Mixture:
        """The mixtures `[B, N, M, K]` of the elements `own [B, N, M]`, each given those before it.

        Args:
            own: this tier's grid, scaled.
            below: the grid of all tiers below, scaled; None for tier 1.
            given: what else the spectrogram is conditioned on.
        """
        if own.numel() == 0:  # a spectrogram of one frame has none in a tier of time
            return self.mixture(own.new_zeros(*own.shape, self.head.in_features))
        given = given or Given()
        time_more, frequency_more = self._anew(self.conditioning, own.shape[1], below, given)
        h_time: Tensor = self.time_input(_delayed(own, tiers.TIME)[..., None]) + time_more
        h_frequency: Tensor = self.frequency_input(_delayed(own, tiers.FREQUENCY)[..., None]) + frequency_more
        h_central = self._central(own, given)
        for time, frequency, central in zip(self.time_layers, self.frequency_layers, h_central, strict=True):
            h_time, h_frequency = self._anew(_layer, time, frequency, h_time, h_frequency, central)
        return self.mixture(h_frequency)

    def _anew(self, part: Callable[..., tuple[Tensor, Tensor]], *inputs: object) -> tuple[Tensor, Tensor]:
        """What `part` makes of its inputs; with `checkpointing`, the gradient computes it again instead of keeping all of it."""
        if not (self.checkpointing and torch.is_grad_enabled()):
            return part(*inputs)
        made: tuple[Tensor, Tensor] = checkpoint(part, *inputs, use_reentrant=False)
        return made

    def mixture(self, h_frequency: Tensor) -> Mixture:
        """The mixtures that states `[..., H]` of the frequency-delayed stack stand for."""
        return Mixture.split(self.head(h_frequency), self.least_std)

    def conditioning(self, frames: int, below: Tensor | None, given: Given) -> tuple[Tensor, Tensor]:
        """What is added to the inputs of the time- and of the frequency-delayed stack (section 4.3).

        Both `[B, N, M, H]`, or with 1 for an axis along which they do not change, and N, M the tier's own (`frames` is N).
        """
        weight = self.time_input.weight
        time = frequency = weight.new_zeros(1, 1, 1, weight.shape[0])
        if self.tier > 1:
            assert below is not None
            # Of an odd number of rows the tiers below have one more, beside which this tier has none.
            rows, columns = (frames, None) if tiers.axis_of(self.tier) == tiers.TIME else (None, self.bands)
            found = self.extraction(below)[:, :rows, :columns]
            time, frequency = time + self.time_below(found), frequency + self.frequency_below(found)
        if self.by_label:
            assert given.labels is not None
            time = time + self.time_label(given.labels)[:, None, None]
            frequency = frequency + self.frequency_label(given.labels)[:, None, None]
        if self.condition_scaling is not None:
            assert given.conditions is not None
            wanted = self.condition_scaling(given.conditions).transpose(1, 2)[:, self.own_place[tiers.TIME], None]
            time, frequency = time + self.time_conditions(wanted), frequency + self.frequency_conditions(wanted)
        return time, frequency

    def _central(self, own: Tensor, given: Given) -> list[Tensor | None]:
        """The states `[B, N, H]` of the centralised stack after each layer; None for each where there is no such stack."""
        if not self.central_layers:
            return [None] * len(self.time_layers)
        h: Tensor = self.central_input(_delayed(own, tiers.TIME))
        states: list[Tensor | None] = []
        for number, layer in enumerate(self.central_layers):
            if self.text is not None and number == self.text_layer:
                assert given.text is not None
                h = self.text(h, given.text)
            h = layer(h)
            states.append(h)
        return states

    @property
    def text_layer(self) -> int:
        """The layer of the centralised stack, from 0, whose input is joined by what is read of the text: the middle one."""
        return len(self.central_layers) // 2

    @property
    def bands(self) -> int:
        """Bands of the tier's own grid."""
        return tiers.shape_of(self.tier, self.count, 1, len(self.scaling.shift))[1]

    def scaled(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """The tiers below and this one, `[B, N', M']` each in the network's units, of a whole grid `[B, N, M]` in physical ones."""
        whole = self.scaling(features.transpose(1, 2)).transpose(1, 2)
        return whole[self.below_place], whole[self.own_place]

    def scaled_below(self, below: Tensor) -> Tensor:
        """The grid of the tiers below, `[B, N', M']`, from physical units to the network's."""
        shift, scale = self._bands_of(self.below_place)
        return (below - shift) / scale

    def physical(self, own: Tensor) -> Tensor:
        """The tier's own grid, `[B, N', M']`, from the network's units to physical ones."""
        shift, scale = self._bands_of(self.own_place)
        return own * scale + shift

    def log_scale(self) -> Tensor:
        """`[M']`: what is to be taken from a log density in the network's units to have it in physical ones, for each band."""
        return self._bands_of(self.own_place)[1].log()

    def _bands_of(self, place: tiers.Place) -> tuple[Tensor, Tensor]:
        return self.scaling.shift[place[tiers.FREQUENCY], 0], self.scaling.scale[place[tiers.FREQUENCY], 0]


def _delayed(x: Tensor, axis: int) -> Tensor:
    """Each row of `[B, N, M]` at the place of the next one along `axis`; zeros at the first, and the last goes nowhere."""
    earlier = x.narrow(axis, 0, x.shape[axis] - 1)
    return torch.cat([torch.zeros_like(x.narrow(axis, 0, 1)), earlier], dim=axis)


def _layer(
    time: nn.Module, frequency: nn.Module, h_time: Tensor, h_frequency: Tensor, central: Tensor | None
) -> tuple[Tensor, Tensor]:
    """One layer of both stacks: the frequency-delayed one hears the time-delayed one of the same layer."""
    h_time = time(h_time)
    return h_time, frequency(h_frequency, h_time, central)
