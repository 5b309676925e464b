"""How a spectrogram GAN learns: the critic on real and made maps of the same labels, then the generator with the critic frozen."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from synthkit.errors import ConfigError
from synthkit.interfaces import Batch, Objective
from synthkit.sampling import evaluating
from synthkit.training.adversary import Adversary, Judgement, Round, play
from synthkit.training.engine import Engine, Terms
from synthkit_spectrogram_gan.config import SpectrogramGANObjectiveConfig
from synthkit_spectrogram_gan.model import SpectrogramGAN
from synthkit_spectrogram_gan.network import Critic


class SpectrogramGANObjective(Objective):
    """The game of Goodfellow et al. (2014) on maps as DCGAN plays it (Radford et al. 2016).

    Terms of a step: the losses `critic` and `generator`, and what the critic takes for real, of the real (`d_real`, the D(x) of the
    papers) and of the made (`d_made`, D(G(z)), after the critic has learned): shares between 0 and 1 with `bce`, mean scores with
    the other games.
    """

    component: SpectrogramGAN

    def __init__(self, config: SpectrogramGANObjectiveConfig, component: SpectrogramGAN, engine: Engine) -> None:
        self.config = config
        self.component = component
        self._engine = engine
        architecture = component.architecture
        if config.dropout is not None:
            architecture = dataclasses.replace(architecture, dropout=config.dropout)
        if engine.numerics.accumulate > 1 and (architecture.norm == "batch" or architecture.dropout):
            raise ConfigError(
                "batch normalisation and dropout work on a batch as a whole, so it cannot be learned in pieces; set accumulate to "
                "1, or the model's norm to item and the objective's dropout to 0"
            )
        self.critic = Critic(architecture, len(component.labels))
        self._generator = engine.prepare(component.generator)
        self._optimiser = self._adam(self._generator, config.learning_rate)
        prepared = engine.prepare(self.critic)
        rate = config.critic_learning_rate or config.learning_rate
        self._adversary = Adversary(prepared, self._adam(prepared, rate), config.adversarial, engine)

    def _adam(self, network: nn.Module, rate: float) -> torch.optim.Optimizer:
        return torch.optim.Adam(network.parameters(), rate, self.config.betas, fused=True)

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """The critic."""
        return {"critic": self.critic}

    @property
    def optimisers(self) -> Mapping[str, torch.optim.Optimizer]:
        """Adam of each network."""
        return {"generator": self._optimiser, "critic": self._adversary.optimiser}

    def survey(self, batches: Iterable[Batch]) -> None:
        """Fit the range of the features to -1..1, what the generator's tanh can reach."""
        self.component.scaling.fit_range(batch.features for batch in batches)

    def step(self, batch: Batch) -> Terms:
        """One step of the critic, then one of the generator.

        Raises:
            ConfigError: where the crops are not exactly as long as a map, or have no labels and need them.
        """
        self._require_maps(batch)
        rounds = play(
            self._engine.pieces(batch),
            real=lambda piece: self._heard(piece, self.component.scaling(piece.features), "real"),
            make=lambda piece: self._heard(piece, self._make(piece), "made"),
            given=lambda piece: self.component.given(piece.labels),
        )
        terms = self._adversary.learn(rounds)
        return terms | self._engine.learn(self._optimiser, rounds, self._loss)

    @torch.no_grad()
    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        """How far made maps are from real ones, in the features' units: no single map, but all of them together.

        `spectrum` is the mean absolute difference of the bands' means, `spread` that of their deviations over frames and items.
        What a critic says is no measure, because the critic moves.
        """
        self._require_maps(batch)
        with evaluating(self._generator):
            made = self.component.features(self._make(batch))
        real = batch.features
        return {
            "spectrum": (made.mean(dim=(0, 2)) - real.mean(dim=(0, 2))).abs().mean(),
            "spread": (made.std(dim=(0, 2)) - real.std(dim=(0, 2))).abs().mean(),
        }

    def undecided(self) -> Mapping[str, float]:
        """The critic's loss while it says the same of all maps."""
        return self._adversary.undecided(1)

    def _make(self, batch: Batch) -> Tensor:
        """Maps of the batch's labels, in the network's units, from noise that is each row's own."""
        noise = self._engine.randn(batch, self.component.architecture.latent)
        maps: Tensor = self._generator(noise, self.component.given(batch.labels))
        return maps

    def _heard(self, batch: Batch, maps: Tensor, name: str) -> Tensor:
        """Maps as the critic hears them."""
        if not self.config.critic_noise:
            return maps
        return maps + self.config.critic_noise * self._engine.randn(batch, *maps.shape[1:], name=f"heard/{name}")

    def _loss(self, one: Round) -> tuple[Tensor, Terms]:
        said_of_made = self._adversary.judge(one.made(), one.given)
        loss = self._adversary.fooled(said_of_made)
        terms = {"generator": loss, "d_made": self._taken_for_real(said_of_made)}
        if one.said_of_real is not None:
            terms["d_real"] = self._taken_for_real(one.said_of_real)
        return loss, terms

    def _taken_for_real(self, said: Judgement) -> Tensor:
        scores = said.scores[0].float()
        return (scores.sigmoid() if self.config.adversarial == "bce" else scores).mean()

    def _require_maps(self, batch: Batch) -> None:
        spec, size = self.component.spec, self.component.architecture.size
        frames = batch.features.shape[-1]
        if frames != size[1]:
            hops = size[1] if spec.framing == "same" else size[1] - 1
            raise ConfigError(
                f"{self.component.config.preset} learns from crops of exactly {size[1]} frames, not {frames}; set crop_seconds to "
                f"{hops * spec.hop_length / spec.sample_rate:.4f}"
            )
