"""The distribution of one element: a mixture of K normal distributions (MelNet, arXiv 1906.01083, section 3)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """K normal distributions for each element: `sum_k softmax(logits)_k N(x; mean_k, exp(log_std_k))`, all `[..., K]`.

    >>> two = Mixture(mean=torch.tensor([-1.0, 1.0]), log_std=torch.zeros(2), logits=torch.zeros(2))
    >>> x = torch.linspace(-8, 8, 1601)
    >>> density = two[None].log_prob(x).exp()
    >>> round(float(torch.trapezoid(density, x)), 5)
    1.0
    """

    mean: Tensor
    log_std: Tensor
    logits: Tensor

    @classmethod
    def split(cls, theta: Tensor, least_std: float = 0.0) -> Mixture:
        """The mixture that a network's output `[..., 3K]` stands for: means, logs of deviations, logits.

        No deviation is below `least_std`: it is added to each. Features at their floor have one and the same value, and a
        density that is free to grow there without end says nothing of what was learned.
        """
        mean, log_std, logits = theta.float().chunk(3, dim=-1)
        if least_std > 0:
            log_std = torch.logaddexp(log_std, log_std.new_tensor(math.log(least_std)))
        return cls(mean=mean, log_std=log_std, logits=logits)

    def __getitem__(self, place: int | slice | tuple[int | slice | None, ...] | None) -> Mixture:
        """The mixtures of some elements."""
        return Mixture(mean=self.mean[place], log_std=self.log_std[place], logits=self.logits[place])

    def log_prob(self, x: Tensor) -> Tensor:
        """Log density of `x [...]` in nats, computed in logarithms throughout."""
        distance = (x[..., None] - self.mean) * (-self.log_std).exp()
        of_each = -0.5 * distance.square() - self.log_std - _HALF_LOG_TAU
        return torch.logsumexp(self.logits.log_softmax(-1) + of_each, dim=-1)

    def sample(self, uniform: Tensor, normal: Tensor) -> Tensor:
        """One value for each element, `[...]`: `uniform` in 0..1 chooses the component, `normal` is its standard normal number.

        >>> apart = Mixture(mean=torch.tensor([0.0, 10.0]), log_std=torch.zeros(2), logits=torch.zeros(2))
        >>> [float(apart.sample(torch.tensor(u), torch.tensor(0.5))) for u in (0.2, 0.7)]
        [0.5, 10.5]
        """
        below = self.logits.softmax(-1).cumsum(-1)[..., :-1] <= uniform[..., None]
        chosen = below.sum(-1, keepdim=True)
        mean, log_std = self.mean.gather(-1, chosen)[..., 0], self.log_std.gather(-1, chosen)[..., 0]
        return mean + log_std.exp() * normal

    def biased(self, bias: float) -> Mixture:
        """The mixture under a bias `b`: deviations times `exp(-b)`, logits times `1 + b` (Graves 2013, section 5.4).

        0 is the mixture itself; above it, samples vary less. The paper names the method and gives no formula.
        """
        return Mixture(mean=self.mean, log_std=self.log_std - bias, logits=self.logits * (1 + bias))
