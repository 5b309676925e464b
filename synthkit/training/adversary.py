"""A critic and how it is trained against a generator: three games, one optimiser, no gradient thrown away.

A critic is a network that maps what it hears (samples `[B, 1, T]`, features ...) to what it saw: for each of its scales the
outputs of all layers, the score map last. The real should score high. Scores are averaged over a map and added over the scales.
A conditional critic is told beside it what the real is an example of, such as labels `[B]`: it is called `critic(heard, given)`.

A step of a GAN: the pieces of the batch become `Round`s, `Adversary.learn` teaches the critic with what was made but without its
gradient, and the generator learns from `Adversary.judge`, whose critic is frozen:

    rounds = play(engine.pieces(batch), real=lambda piece: piece.audio[:, None], make=make)
    terms = adversary.learn(rounds)
    terms |= engine.learn(optimiser, rounds, lambda one: fooling(adversary, one.made()))

With a conditional critic `play(..., given=lambda piece: piece.labels)`, and `adversary.judge(one.made(), one.given)`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from synthkit.interfaces import Batch
from synthkit.training.engine import Engine, Terms, frozen

GameName = Literal["hinge", "least-squares", "bce"]


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


@dataclass(kw_only=True)
class Round:
    """One piece of a batch in one step: the real, and what the generator makes to be taken for it.

    It is made once where the batch is whole. Where it is in pieces, it is made without gradient for the critic and again for the
    generator, because all those graphs at once are what the memory was too short for. So `make` must give the same both times:
    what is random comes from `Engine.randn`.
    """

    batch: Batch
    real: Tensor
    """What the critic hears as the real."""
    make: Callable[[Batch], Tensor]
    """What the critic hears as the made, of the shape of `real`, with its gradient."""
    alone: bool
    """Whether this is the whole batch."""
    given: Tensor | None = None
    """What a conditional critic is told beside the real and the made, `[B, ...]`; None: the critic hears and is told nothing."""
    said_of_real: Judgement | None = field(default=None, init=False)
    """What the critic said of `real` in its own turn, before it learned from it; None before that."""
    _kept: Tensor | None = field(default=None, init=False, repr=False)

    def __len__(self) -> int:
        return len(self.batch)

    def shown(self) -> Tensor:
        """What is made, without gradient: for the critic."""
        if self.alone:
            self._kept = self.make(self.batch)
            return self._kept.detach()
        with torch.no_grad():
            return self.make(self.batch)

    def made(self) -> Tensor:
        """What is made, with its gradient: for the generator, once."""
        kept, self._kept = self._kept, None
        return self.make(self.batch) if kept is None else kept


def play(
    pieces: Sequence[Batch],
    *,
    real: Callable[[Batch], Tensor],
    make: Callable[[Batch], Tensor],
    given: Callable[[Batch], Tensor | None] = lambda _: None,
) -> list[Round]:
    """A round for each piece of a batch (see `Engine.pieces`)."""
    alone = len(pieces) == 1
    return [Round(batch=piece, real=real(piece), make=make, alone=alone, given=given(piece)) for piece in pieces]


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
    undecided: float
    """The critic's least loss while it says the same of all sound."""


GAMES: Mapping[GameName, Game] = {
    "hinge": Game(
        critic=lambda real, made: torch.relu(1 - real).mean() + torch.relu(1 + made).mean(),
        generator=lambda made: -made.mean(),
        undecided=2.0,
    ),
    "least-squares": Game(
        critic=lambda real, made: (1 - real).square().mean() + made.square().mean(),
        generator=lambda made: (1 - made).square().mean(),
        undecided=0.5,
    ),
    "bce": Game(
        critic=lambda real, made: softplus(-real).mean() + softplus(made).mean(),
        generator=lambda made: softplus(-made).mean(),
        undecided=2 * math.log(2),
    ),
}
"""Hinge (Lim and Ye 2017, used by MelGAN), least squares (Mao et al. 2017), and binary cross-entropy of scores as logits, with the
generator's loss that does not saturate (Goodfellow et al. 2014, section 3)."""


class Adversary:
    """A critic with its optimiser. One step of a GAN is `learn` on all rounds, then `judge` on what was made in each."""

    def __init__(
        self, critic: nn.Module, optimiser: torch.optim.Optimizer, game: GameName | Game, engine: Engine
    ) -> None:
        self.critic = critic
        self.optimiser = optimiser
        self.game = game if isinstance(game, Game) else GAMES[game]
        self.engine = engine

    def learn(self, rounds: Sequence[Round], *, r1_weight: float = 0.0) -> Terms:
        """One step of the critic. Returns its loss, `critic`, and leaves in each round what it said of the real before the step.

        With an `r1_weight`, half of it times the penalty `r1` is added to the loss: the squared norm of the gradient of an item's score
        at the real, mean over the items (Mescheder et al. 2018, equation 9). It needs second derivatives, which compiled networks lack.
        """
        return self.engine.learn(self.optimiser, rounds, lambda one: self._loss(one, r1_weight))

    def undecided(self, scales: int) -> dict[str, float]:
        """What `Objective.undecided` shall say where the critic has so many scales."""
        return {"critic": scales * self.game.undecided}

    def judge(self, made: Tensor, given: Tensor | None = None) -> Judgement:
        """What the critic says of `made`; the gradient goes to `made` alone, none is computed for the critic.

        A conditional critic is told `given`, that of the round.
        """
        with frozen(self.critic):
            return self._judge(made, given)

    def fooled(self, said_of_made: Judgement) -> Tensor:
        """The generator's adversarial loss: small where the critic takes the made for real."""
        return self._total(self.game.generator, said_of_made.scores)

    def _loss(self, one: Round, r1_weight: float) -> tuple[Tensor, Terms]:
        real = one.real.detach().requires_grad_() if r1_weight else one.real
        # One after the other: one batch of both is no faster on a CPU and rounds differently from MelGAN's published code.
        said_of_made, said_of_real = self._judge(one.shown(), one.given), self._judge(real, one.given)
        one.said_of_real = said_of_real.detach()
        loss = self._total(self.game.critic, said_of_real.scores, said_of_made.scores)
        if not r1_weight:
            return loss, {"critic": loss}
        penalty = self._steepness(said_of_real, real)
        return loss + 0.5 * r1_weight * penalty, {"critic": loss, "r1": penalty}

    def _steepness(self, said: Judgement, heard: Tensor) -> Tensor:
        """The squared norm of the gradient of an item's score at what was heard, mean over the items."""
        scores = self._total(lambda score: score.flatten(1).mean(dim=1).sum(), said.scores)
        (gradient,) = torch.autograd.grad(scores, heard, create_graph=True)
        return gradient.float().square().flatten(1).sum(dim=1).mean()

    def _judge(self, heard: Tensor, given: Tensor | None) -> Judgement:
        said = self.critic(heard) if given is None else self.critic(heard, given)
        return Judgement(tuple(tuple(scale) for scale in said))

    @staticmethod
    def _total(loss: Callable[..., Tensor], *scores: Sequence[Tensor]) -> Tensor:
        """The loss of each scale's maps, added, in float32 whatever autocast made of the scores."""
        return torch.stack([loss(*(score.float() for score in maps)) for maps in zip(*scores, strict=True)]).sum()
