"""What any model has to beat: each band by itself, without a glance at its neighbours in time or frequency."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from synthkit_melnet.mixture import Mixture

_ROUNDS, _ENOUGH = 100, 1e-4
"""Most rounds of expectation and maximisation, and the gain in nats per element below which another is not worth it."""


class BandMixture(nn.Module):
    """A mixture of normal distributions for each band, fitted once; with one component a Gaussian. It learns nothing.

    Elements are independent, so its likelihood says how far the levels of the bands alone go. It knows no labels.

    >>> random = torch.Generator().manual_seed(0)
    >>> gaussian = BandMixture(n_mels=1, components=1)
    >>> gaussian.fit(3 + 2 * torch.randn(1, 5000, generator=random))
    >>> entropy = 0.5 * math.log(2 * math.pi * math.e * 4)
    >>> fresh = 3 + 2 * torch.randn(1, 1, 5000, generator=random)
    >>> abs(float(-gaussian.log_prob(fresh).mean()) - entropy) < 0.02
    True
    """

    mean: Tensor
    log_std: Tensor
    logits: Tensor
    fitted: Tensor

    def __init__(self, n_mels: int, components: int) -> None:
        super().__init__()
        for name in ("mean", "log_std", "logits"):
            self.register_buffer(name, torch.zeros(n_mels, components))
        self.register_buffer("fitted", torch.tensor(False))

    @property
    def is_fitted(self) -> bool:
        """Whether `fit` was called, here or before the weights were saved."""
        return bool(self.fitted)

    def log_prob(self, features: Tensor) -> Tensor:
        """Log density of each element of `features [B, M, N]`, in nats."""
        mixture = Mixture(mean=self.mean, log_std=self.log_std, logits=self.logits)
        return mixture[:, None].log_prob(features)

    def fit(self, values: Tensor, least_std: Tensor | float = 0.0) -> None:
        """Fit each band to its values `[M, n]` by expectation maximisation, from its quantiles on.

        No deviation is below `least_std`, a number or `[M]`: values that occur again and again, as those of silence, have no density.
        """
        x = values.double()
        least = torch.as_tensor(least_std, device=x.device, dtype=x.dtype).expand(len(x))[:, None].clamp(min=1e-9)
        components = self.mean.shape[1]
        ranks = (torch.arange(components, device=x.device, dtype=x.dtype) + 0.5) / components
        mean = x.quantile(ranks, dim=1).T
        std = (x.std(dim=1, correction=0, keepdim=True) / components).clamp(min=least).expand_as(mean)
        weight, before = torch.full_like(mean, 1 / components), -math.inf
        for _ in range(_ROUNDS):
            distance = (x[..., None] - mean[:, None]) / std[:, None]
            joint = (weight / std).log()[:, None] - 0.5 * (distance.square() + math.log(2 * math.pi))
            total = joint.logsumexp(-1, keepdim=True)
            share = (joint - total).exp()
            count = share.sum(1).clamp(min=1e-9)
            weight = count / x.shape[1]
            mean = (share * x[..., None]).sum(1) / count
            variance = (share * (x[..., None] - mean[:, None]).square()).sum(1) / count
            std = variance.sqrt().clamp(min=least)
            if float(total.mean()) - before < _ENOUGH:
                break
            before = float(total.mean())
        for buffer, value in ((self.mean, mean), (self.log_std, std.log()), (self.logits, weight.log())):
            buffer.copy_(value)
        self.fitted.fill_(True)
