"""A critic and how it is trained against a generator: hinge and least-squares games, one optimiser, no gradient thrown away.

A critic is a network that maps samples `[B, 1, T]` to what it saw: for each of its scales the outputs of all layers, the score
map last. Real sound should score high. Scores are averaged over a map and added over the scales.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from synthkit.training.engine import Engine, frozen

GameName = Literal["hinge", "least-squares"]


@dataclass(frozen=True)
class Judgement:
    """What a critic said of one batch: `layers[scale][layer]`, the score map of each scale last."""

    layers: tuple[tuple[Tensor, ...], ...]

    @property
    def scores(self) -> tuple[Tensor, ...]:
        """The score map of each scale."""
        return tuple(scale[-1] for scale in self.layers)

    @property
    def features(self) -> tuple[tuple[Tensor, ...], ...]:
        """For each scale what its layers saw before the score."""
        return tuple(scale[:-1] for scale in self.layers)

    def detach(self) -> Judgement:
        """The same numbers without gradient."""
        return Judgement(tuple(tuple(layer.detach() for layer in scale) for scale in self.layers))


@dataclass(frozen=True)
class Game:
    """What a critic and a generator each try to make small, for one score map.

    The hinge game leaves alone what is already beyond the margin of 1:

    >>> hinge = GAMES["hinge"]
    >>> hinge.critic(torch.tensor([2.0]), torch.tensor([-3.0])).item(), hinge.generator(torch.tensor([-3.0])).item()
    (0.0, 3.0)
    >>> squares = GAMES["least-squares"]
    >>> squares.critic(torch.tensor([1.0]), torch.tensor([0.0])).item(), squares.generator(torch.tensor([0.0])).item()
    (0.0, 1.0)
    """

    critic: Callable[[Tensor, Tensor], Tensor]
    """`(scores of the real, scores of the made)` to a scalar."""
    generator: Callable[[Tensor], Tensor]
    """`(scores of the made)` to a scalar."""


GAMES: Mapping[GameName, Game] = {
    "hinge": Game(
        critic=lambda real, made: torch.relu(1 - real).mean() + torch.relu(1 + made).mean(),
        generator=lambda made: -made.mean(),
    ),
    "least-squares": Game(
        critic=lambda real, made: (1 - real).square().mean() + made.square().mean(),
        generator=lambda made: (1 - made).square().mean(),
    ),
}
"""Hinge (Lim and Ye 2017, used by MelGAN) and least squares (Mao et al. 2017)."""


class Adversary:
    """A critic with its optimiser. One step of a GAN is `learn` on the detached fake, then `judge` on the fake itself."""

    def __init__(self, critic: nn.Module, optimiser: torch.optim.Optimizer, game: GameName, engine: Engine) -> None:
        self.critic = critic
        self.optimiser = optimiser
        self.game = GAMES[game]
        self.engine = engine

    def learn(self, real: Tensor, made: Tensor) -> tuple[Tensor, Judgement]:
        """One step of the critic on `[B, 1, T]` each.

        Returns its loss and what it said of `real` before the step, both detached. The two are judged one after the other:
        one batch of both is no faster on a CPU and rounds differently from the published code.
        """
        said_of_made, said_of_real = self._judge(made.detach()), self._judge(real)
        loss = self._total(self.game.critic, said_of_real.scores, said_of_made.scores)
        self.engine.backward(loss, self.optimiser)
        self.engine.update(self.optimiser)
        return loss.detach(), said_of_real.detach()

    def judge(self, made: Tensor) -> Judgement:
        """What the critic says of `made` `[B, 1, T]`; the gradient goes to `made` alone, none is computed for the critic."""
        with frozen(self.critic):
            return self._judge(made)

    def fooled(self, said_of_made: Judgement) -> Tensor:
        """The generator's adversarial loss: small where the critic takes the made for real."""
        return self._total(self.game.generator, said_of_made.scores)

    def _judge(self, samples: Tensor) -> Judgement:
        return Judgement(tuple(tuple(scale) for scale in self.critic(samples)))

    @staticmethod
    def _total(loss: Callable[..., Tensor], *scores: Sequence[Tensor]) -> Tensor:
        return torch.stack([loss(*maps) for maps in zip(*scores, strict=True)]).sum()
