"""From real features back to the noise that would make them: how the design `path` learns to make everything that there is.

A generator that only has to fool a critic may leave out much of what is real. One that also decodes what an encoder tells it of each real
window (a variational autoencoder beside the GAN: Larsen et al. 2016) has to be able to make all of it. The encoder is for training only.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from synthkit_cmelgan.noise import Noise
from synthkit_cmelgan.paths import SLOPE


@dataclass(frozen=True)
class Belief:
    """What noise a window was probably made of: independent normal distributions."""

    style: Tensor
    """Means and logarithms of variances, `[B, 2 style_size]`."""
    path: Tensor
    """The same of the steps within the window, `[B, n, 2 step_size]`."""

    def sample(self, noise: Noise) -> Noise:
        """Noise as believed, drawn with standard normal `noise`, whose steps before and after the window stay as they are."""
        before = (noise.path.shape[1] - self.path.shape[1]) // 2
        inner = slice(before, before + self.path.shape[1])
        path = torch.cat(
            [noise.path[:, :before], _drawn(self.path, noise.path[:, inner]), noise.path[:, inner.stop :]], dim=1
        )
        return Noise(_drawn(self.style, noise.style), path)

    def divergence(self) -> Tensor:
        """How many nats an item tells beyond what standard normal noise does: `[B]`."""
        return _divergence(self.style) + _divergence(self.path).sum(dim=1)


def _drawn(belief: Tensor, noise: Tensor) -> Tensor:
    mean, log_variance = belief.chunk(2, dim=-1)
    return mean + noise * (0.5 * log_variance).exp()


def _divergence(belief: Tensor) -> Tensor:
    """Kullback-Leibler divergence from the standard normal distribution, added over the last axis (Kingma and Welling 2014)."""
    mean, log_variance = belief.float().chunk(2, dim=-1)
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=-1)


class PathEncoder(nn.Module):
    """Features to a belief about the style and the steps that a `PathGenerator` would make them of.

    >>> belief = PathEncoder(classes=2, n_mels=20, width=8, style=4, step=3, stages=2)(torch.zeros(2, 20, 30), torch.tensor([0, 1]))
    >>> belief.style.shape, belief.path.shape, belief.divergence().shape
    (torch.Size([2, 8]), torch.Size([2, 7, 6]), torch.Size([2]))
    """

    def __init__(self, classes: int, n_mels: int, width: int, style: int, step: int, stages: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(n_mels, width, 3, padding=1)
        self.embedding = nn.Embedding(classes, width)
        self.layers = nn.ModuleList(nn.Conv1d(width, width, 4, 2, padding=1) for _ in range(stages))
        self.style = nn.Linear(width, 2 * style)
        self.path = nn.Conv1d(width, 2 * step, 3, padding=1)

    def forward(self, features: Tensor, labels: Tensor) -> Belief:
        """Features `[B, M, N]` in the network's units and labels `[B]`; there are `n = N // 2 ** stages` steps.

        It is told the label, so that it need not tell the generator what that knows already.
        """
        seen = functional.leaky_relu(self.first(features) + self.embedding(labels)[..., None], SLOPE)
        for layer in self.layers:
            seen = functional.leaky_relu(layer(seen), SLOPE)
        return Belief(self.style(seen.mean(dim=2)), self.path(seen).transpose(1, 2))
