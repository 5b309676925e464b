"""What happens in a clip, whatever it is played on: how loud it is and how high it lies, moment by moment.

Not in the papers. From the minutes that learn on a CPU, TraVeL alone finds bells that ring when notes are played, but not higher ones
where the notes are higher: the easiest bell keeps whichever partials of a note lie where bells lie.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from synthkit import dsp
from synthkit.specs import FeatureSpec

_FAINT = 1e-2
"""Energy beside that of the loudest frame, below which a frame counts less and less."""
_NEAR = 0.25
"""Heights that are this near to each other, in deviations, are hardly drawn nearer."""
_CERTAIN = 20.0
"""Of a listener, as the logarithm of a ratio."""
_TINY = 1e-8


def courses(features: Tensor, spec: FeatureSpec) -> tuple[Tensor, Tensor]:
    """Features `[B, M, N]` to their loudness, ln of the energy, and height, the mean band weighted by the square of its energy, so
    that the strongest decides; `[B, N]` each.

    >>> spec = FeatureSpec(sample_rate=8000, n_fft=256, hop_length=64, n_mels=3)
    >>> loudness, height = courses(torch.tensor([[[0.0], [-5.0], [-5.0]], [[0.0], [-5.0], [0.0]]]), spec)
    >>> loudness[:, 0].round(decimals=2).tolist(), height[:, 0].round(decimals=2).tolist()
    ([0.0, 0.6899999976158142], [0.0, 1.0])
    """
    energy = dsp.expand(features, spec) ** (2 / spec.power)
    total = energy.sum(dim=1)
    bands = torch.arange(features.shape[1], device=features.device, dtype=features.dtype)
    strong = (energy / (energy.amax(dim=1, keepdim=True) + _TINY)).square()
    return (total + _TINY).log(), (strong * bands[:, None]).sum(dim=1) / (strong.sum(dim=1) + _TINY)


class Content(nn.Module):
    """Where the sounds of the source and of the target lie, so that what is high for the one becomes what is high for the other.

    So voice conversion carries the fundamental frequency over (Liu et al. 2007), but all bands are moved by as many, the difference of
    the mean heights: stretched to the target's deviation too, partials get broader than any of the target's. `carry` moves a clip
    there, and called with two clips it says how little one follows the other. The move is one for all pieces, which no correlation
    within a piece asks for. Until it is fitted nothing moves.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, spec: FeatureSpec) -> None:
        super().__init__()
        self._spec = spec
        silence, _ = courses(torch.full((1, spec.n_mels, 1), spec.silence), spec)
        self._audible = float(silence) + 1.0  # where the floor of all bands is not most of the energy
        self.register_buffer("mean", torch.zeros(2))
        self.register_buffer("deviation", torch.ones(()))

    @torch.no_grad()
    def fit(self, domains: Sequence[Tensor]) -> None:
        """The mean heights of the source's and of the target's crops, `[B, M, N]` each, and the geometric mean of their deviations."""
        deviations = []
        for place, features in enumerate(domains):
            loudness, height = courses(features.double(), self._spec)
            weight = self._heard(loudness)
            total = weight.sum().clamp(min=_TINY)
            mean = (weight * height).sum() / total
            self.mean[place] = mean
            deviations.append(((weight * (height - mean).square()).sum() / total).sqrt().clamp(min=1.0))
        self.deviation.copy_(torch.stack(deviations).log().mean().exp())

    @torch.no_grad()
    def evidence(self, features: Tensor) -> Tensor:
        """By how much the heights of `[B, M, N]` are likelier the source's than the target's: the logarithm of the ratio, `[B]`."""
        with torch.autocast(features.device.type, enabled=False):
            loudness, height = courses(features.float(), self._spec)
            weight = self._heard(loudness)
            likelier = (self._units(height, 1).square() - self._units(height, 0).square()) / 2
            return (weight * likelier).sum(dim=1) / weight.sum(dim=1).clamp(min=1.0)

    @torch.no_grad()
    def carry(self, features: Tensor, evidence: Tensor) -> Tensor:
        """Features `[B, M, N]` with their bands moved from where the source's sounds lie to where the target's do.

        An item moves by the share that its `evidence` `[B]` gives, so that what is the target's already stays; what comes to lie
        between two bands goes to both.

        >>> content = Content(FeatureSpec(sample_rate=8000, n_fft=256, hop_length=64, n_mels=4))
        >>> content.mean[1] = 2.0
        >>> features = torch.tensor([[[0.0], [-5.0], [-5.0], [-5.0]], [[-5.0], [-5.0], [0.0], [-5.0]]])
        >>> content.carry(features, content.evidence(features))[..., 0].round().tolist()
        [[-4.0, -5.0, -1.0, -5.0], [-5.0, -5.0, -1.0, -5.0]]
        """
        with torch.autocast(features.device.type, enabled=False):
            features, silence = features.float(), self._spec.silence
            moved = self._carrier() @ (features - silence) + silence
            return torch.lerp(features, moved, evidence.sigmoid()[:, None, None])

    def _carrier(self) -> Tensor:
        """What each band of what is carried has of each band, `[M, M]`."""
        bands = torch.arange(self._spec.n_mels, device=self.mean.device, dtype=self.mean.dtype)
        moved = bands + self.mean[1] - self.mean[0]
        return (1 - (bands[:, None] - moved).abs()).clamp(min=0)

    def forward(self, made: Tensor, source: Tensor) -> Tensor:
        """The mean of two gaps between features `[B, M, N]`: 1 less the correlation of loudness, and how far heights are apart, in
        deviations. Where the source is faint its height hardly counts; its loudness does, so that silence stays silence.
        """
        with torch.autocast(made.device.type, enabled=False):
            (loud, height), (wanted, wanted_height) = (courses(x.float(), self._spec) for x in (made, source))
            apart = self._units(height, 1) - self._units(wanted_height, 0)
            weight = self._heard(wanted)
            weight = weight / weight.sum(dim=1, keepdim=True).clamp(min=1.0)
            high = functional.smooth_l1_loss(apart, torch.zeros_like(apart), beta=_NEAR, reduction="none")
            return (_uncorrelated(loud, wanted).mean() + (weight * high).sum(dim=1).mean()) / 2

    def _units(self, height: Tensor, place: int) -> Tensor:
        return (height - self.mean[place]) / self.deviation

    def _heard(self, loudness: Tensor) -> Tensor:
        """How much each frame counts by its loudness beside the loudest of its crop, 0 to 1: `[B, N]`; none of silence does."""
        beside = (loudness - loudness.amax(dim=1, keepdim=True)).exp() / _FAINT
        return beside.clamp(max=1.0) * (loudness > self._audible)


class Listener:
    """What the pieces of a clip have said so far of whose they are, one after the other: one high note of a melody is not a bell."""

    def __init__(self, content: Content) -> None:
        self._content = content
        self._told = torch.zeros(())

    def __call__(self, pieces: Tensor) -> Tensor:
        """The next pieces `[P, B, M, n]` to the evidence after each, `[P, B]`, at most `_CERTAIN`: a clip may go over to the other."""
        found = []
        for each in self._content.evidence(pieces.flatten(0, 1)).view(pieces.shape[:2]):
            self._told = (self._told.to(each) + each).clamp(-_CERTAIN, _CERTAIN)
            found.append(self._told)
        return torch.stack(found)


def _uncorrelated(one: Tensor, other: Tensor) -> Tensor:
    """1 less the correlation over time, `[B]`; 1 where either does not change."""
    one, other = (course - course.mean(dim=1, keepdim=True) for course in (one, other))
    spreads = one.square().mean(dim=1) * other.square().mean(dim=1)
    return 1 - (one * other).mean(dim=1) / (spreads + _TINY).sqrt()
