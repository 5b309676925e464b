"""How cMelGAN learns: a critic that is told the label, then the generator; now and then a look at the variety of what it makes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from synthkit.errors import ConfigError, TrainingError
from synthkit.interfaces import Batch, Objective
from synthkit.sampling import evaluating
from synthkit.training.adversary import Adversary, Round, play
from synthkit.training.engine import Engine, Terms
from synthkit_cmelgan.config import CMelGANObjectiveConfig
from synthkit_cmelgan.model import CMelGAN
from synthkit_cmelgan.network import build_critic
from synthkit_cmelgan.noise import Noise, draw
from synthkit_cmelgan.variety import frame_distance, mean_distance, variety_of

WATCHED = 8
"""Clips of each label, of seeds that never change, whose variety is watched."""


class CMelGANObjective(Objective):
    """The game of cMelGAN (arXiv 2205.07319) on crops of real features, in the network's own units.

    Terms of a step: `critic`, `adversarial` and `means` (the generator's losses), `r1` where it is due, and `variety` where it is
    looked at: how far apart the clips of a label are, as a share of the real ones, of the label where it is least.
    """

    component: CMelGAN

    def __init__(self, config: CMelGANObjectiveConfig, component: CMelGAN, engine: Engine) -> None:
        """Raises `ConfigError` where networks are compiled and R1 wants second derivatives, and for a batch in pieces of which batch
        normalisation would see one at a time."""
        if config.r1_weight and engine.numerics.compile:
            raise ConfigError(
                "r1_weight needs second derivatives, which compiled networks lack; set it to 0, or compile to false"
            )
        if component.config.design == "path" and engine.numerics.accumulate > 1:
            raise ConfigError(
                "batch normalisation works on a batch as a whole, so it cannot be learned in pieces; set accumulate to 1"
            )
        self.config = config
        self.component = component
        self._engine = engine
        self._steps = 0
        self._poor = 0
        self._generator = engine.prepare(component.generator)
        self._optimiser = self._adam(self._generator, config.learning_rate)
        critic = build_critic(config, component.config, component.spec, component.classes)
        self._critic = critic
        prepared = engine.prepare(critic)
        optimiser = self._adam(prepared, config.critic_learning_rate)
        self._adversary = Adversary(prepared, optimiser, config.adversarial, engine)

    def _adam(self, network: nn.Module, learning_rate: float) -> torch.optim.Optimizer:
        return torch.optim.Adam(network.parameters(), learning_rate, self.config.betas, fused=True)

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """The critic."""
        return {"critic": self._critic}

    @property
    def optimisers(self) -> Mapping[str, torch.optim.Optimizer]:
        """Adam of the generator and of the critic."""
        return {"generator": self._optimiser, "critic": self._adversary.optimiser}

    def survey(self, batches: Iterable[Batch]) -> None:
        """Fit the scaling of the features, and measure how much the real clips of each label vary."""
        seen = list(batches)
        generator, features = self.component.generator, torch.cat([batch.features for batch in seen])
        generator.fit_scaling(features)
        labels = torch.cat([self._labels(batch) for batch in seen])
        generator.variety.copy_(variety_of(generator.scaling(features), labels, self.component.classes))

    def step(self, batch: Batch) -> Terms:
        """The critic's steps, each against clips of its own, then one of the generator.

        Raises:
            ConfigError: where the crops do not fit the networks.
            TrainingError: where the generator has collapsed.
        """
        self._check_frames(batch.features.shape[2])
        pieces = self._engine.pieces(batch)
        due = self.config.r1_weight > 0 and self._steps % self.config.r1_every == 0
        r1_weight = self.config.r1_weight * self.config.r1_every if due else 0.0
        terms: Terms = {}
        for turn in range(self.config.critic_steps):
            real, make = partial(self._heard_real, turn=turn), partial(self._heard_made, turn=turn)
            rounds = play(pieces, real=real, make=make, given=self._labels)
            terms |= self._adversary.learn(rounds, r1_weight=r1_weight)
        terms |= self._engine.learn(self._optimiser, rounds, self._loss)
        self._steps += 1
        if self._steps % self.config.variety_every == 0:
            terms["variety"] = self._watch(batch.features.shape[2])
        return terms

    @torch.no_grad()
    def evaluate(self, batch: Batch) -> Terms:
        """`frame_distance`: how far the frames that are made are from the real ones, as a whole, in the network's own units."""
        self._check_frames(batch.features.shape[2])
        with evaluating(self._generator):
            return {"frame_distance": frame_distance(self._make(batch, turn=0), self._real(batch))}

    def undecided(self) -> Mapping[str, float]:
        """The critic's loss while it says the same of all features."""
        return self._adversary.undecided(1)

    def state_dict(self) -> dict[str, Any]:
        """The optimisers, the number of steps made, and looks in a row that found no variety."""
        return {**super().state_dict(), "steps": self._steps, "poor": self._poor}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        super().load_state_dict(state)
        self._steps, self._poor = int(state["steps"]), int(state["poor"])

    def _real(self, batch: Batch) -> Tensor:
        real: Tensor = self.component.generator.scaling(batch.features)
        return real

    def _heard_real(self, batch: Batch, turn: int) -> Tensor:
        return self._noisy(batch, self._real(batch), f"beside the real {turn}")

    def _heard_made(self, batch: Batch, turn: int) -> Tensor:
        return self._noisy(batch, self._make(batch, turn), f"beside the made {turn}")

    def _noisy(self, batch: Batch, features: Tensor, name: str) -> Tensor:
        """What the critic hears of features."""
        level = self.config.critic_noise
        return features + level * self._engine.randn(batch, *features.shape[1:], name=name) if level else features

    def _labels(self, batch: Batch) -> Tensor:
        """`[B]`; without labels, all are of the one class."""
        if batch.labels is None or not self.component.labels:
            return torch.zeros(len(batch), dtype=torch.long, device=batch.features.device)
        return batch.labels

    def _make(self, batch: Batch, turn: int) -> Tensor:
        """Clips of the batch's labels, of the batch's length."""
        network, frames = self.component.generator.network, batch.features.shape[2]
        noise = Noise(
            self._engine.randn(batch, network.style_size, name=f"style {turn}"),
            self._engine.randn(batch, network.steps(frames), network.step_size, name=f"path {turn}"),
        )
        made: Tensor = self._generator(noise, self.component.one_hot(self._labels(batch), len(batch)), frames)
        return made

    def _loss(self, one: Round) -> tuple[Tensor, Terms]:
        said = self._adversary.judge(one.made(), one.given)
        fooled = self._adversary.fooled(said)
        weight = self.config.means_weight if self.component.config.design == "path" else 0.0
        if not weight:
            return fooled, {"adversarial": fooled}
        assert one.said_of_real is not None, "the critic learns before the generator"
        means = mean_distance(said.features[0], one.said_of_real.features[0])
        return fooled + weight * means, {"adversarial": fooled, "means": means}

    def _check_frames(self, frames: int) -> None:
        """Raise `ConfigError` where crops of so many frames cannot be learned from."""
        model, spec = self.component.config, self.component.spec
        if model.design == "map" and frames != model.map.window:
            seconds = model.map.window * spec.hop_length / spec.sample_rate
            raise ConfigError(
                f"this cMelGAN learns from crops of exactly {model.map.window} frames, not {frames}; set crop_seconds to {seconds:.4f}"
            )
        least = self.config.critic.window
        if model.design == "path" and frames < least:
            seconds = least * spec.hop_length / spec.sample_rate
            raise ConfigError(
                f"cMelGAN's critic needs crops of at least {least} frames, not {frames}; set crop_seconds to {seconds:.3f} or more"
            )

    def _watch(self, frames: int) -> Tensor:
        """How much the clips of the poorest label vary. Raises `TrainingError` where that was next to nothing too often in a row."""
        shares = self._variety(frames)
        least = shares.min()
        self._poor = self._poor + 1 if float(least) < self.config.least_variety else 0
        if self.config.least_variety and self._poor >= self.config.variety_patience:
            of = f" of {self.component.labels[int(shares.argmin())]!r}" if self.component.labels else ""
            raise TrainingError(
                f"step {self._steps}: the generator has collapsed: its clips{of} vary {100 * float(least):.1f} % as much as the "
                f"real ones, and have for {self._poor * self.config.variety_every} steps; a smaller learning_rate or more "
                "critic_noise of the objective usually helps, or another seed"
            )
        return least

    @torch.no_grad()
    def _variety(self, frames: int) -> Tensor:
        """For each label how far apart its clips of the watched seeds are, as a share of the real ones."""
        generator, classes = self.component.generator, self.component.classes
        seeds = [torch.Generator().manual_seed(seed) for _ in range(classes) for seed in range(WATCHED)]
        noise = draw(seeds, generator.network, frames)
        labels = torch.arange(classes, device=self.component.device).repeat_interleave(WATCHED)
        with evaluating(generator):
            made = generator(noise.to(self.component.device), self.component.one_hot(labels, len(labels)), frames)
        return variety_of(made, labels, classes) / generator.variety
