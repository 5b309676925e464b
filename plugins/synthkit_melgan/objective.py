"""How MelGAN learns: first the critic on the detached sound, then the generator on the same sound with the critic frozen."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from synthkit.errors import ConfigError
from synthkit.interfaces import Batch, Objective
from synthkit.training.adversary import Adversary, Round, play
from synthkit.training.engine import Engine, Terms
from synthkit.training.losses import feature_matching, mel_l1, multi_resolution_stft
from synthkit_melgan.config import MelGANObjectiveConfig
from synthkit_melgan.network import Critic
from synthkit_melgan.vocoder import MelGAN


class MelGANObjective(Objective):
    """Adversarial and reconstruction losses of MelGAN (arXiv 1910.06711, section 2.2, and `scripts/train.py`).

    Terms of a step: `critic`, `adversarial`, `feature_matching`, `mel_l1`, `multi_stft`, each unweighted, and the weighted sum of the
    generator's, `generator`; those with weight 0 are left out, except `mel_l1`.
    """

    component: MelGAN

    def __init__(self, config: MelGANObjectiveConfig, component: MelGAN, engine: Engine) -> None:
        self.config = config
        self.component = component
        self._engine = engine
        self._steps = 0
        self._generator = engine.prepare(component.generator)
        self._optimiser = self._adam(self._generator)
        self._networks: dict[str, nn.Module] = {}
        self._adversary: Adversary | None = None
        if config.has_critic:
            self.hears = "samples"
            sizes = config.critic
            critic = Critic(sizes.scales, sizes.channels, sizes.layers, sizes.factor, sizes.max_channels)
            self._networks["critic"] = critic
            prepared = engine.prepare(critic)
            self._adversary = Adversary(prepared, self._adam(prepared), config.adversarial, engine)

    @property
    def _least_frames(self) -> int:
        """Fewest frames whose sound every padding in the networks can reflect (a critic's is 7, at the rate of the last scale)."""
        critic = 8 * 2 ** (self.config.critic.scales - 1) if self.config.has_critic else 0
        return max(self.component.generator.least_frames, math.ceil(critic / self.component.spec.hop_length))

    def _adam(self, network: nn.Module) -> torch.optim.Optimizer:
        # Fused: ten times as fast as the default on a CPU, which counts where the networks are small.
        return torch.optim.Adam(network.parameters(), self.config.learning_rate, self.config.betas, fused=True)

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """The critic, where a loss needs one."""
        return self._networks

    @property
    def optimisers(self) -> Mapping[str, torch.optim.Optimizer]:
        """Adam of the generator and, where there is one, of the critic."""
        if self._adversary is None:
            return {"generator": self._optimiser}
        return {"generator": self._optimiser, "critic": self._adversary.optimiser}

    def step(self, batch: Batch) -> Terms:
        """One step of the critic (once it is due), then one of the generator (unless the critic is warming up).

        Raises:
            ConfigError: where the crops are too short for the network.
        """
        rounds = play(self._engine.pieces(batch), real=lambda piece: piece.audio[:, None], make=self._make)
        since = self._steps - self.config.adversarial_from_step
        terms: Terms = {}
        if self._adversary is not None and since >= 0:
            terms |= self._adversary.learn(rounds)
        if self._adversary is None or not 0 <= since < self.config.critic_warmup:
            terms |= self._engine.learn(self._optimiser, rounds, self._loss)
        self._steps += 1
        return terms

    @torch.no_grad()
    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        """`mel_l1` and `multi_stft` of the same forward; what a critic says is no measure, because the critic moves."""
        made = self._make(batch)[:, 0]
        return {
            "mel_l1": mel_l1(made, batch.features, self.component.spec),
            "multi_stft": multi_resolution_stft(made, batch.audio),
        }

    def undecided(self) -> Mapping[str, float]:
        """The critic's loss, over its scales."""
        return self._adversary.undecided(self.config.critic.scales) if self._adversary else {}

    def hear(self, heard: Tensor) -> list[Tensor]:
        """Samples `[B, T]` to what the layers of all scales see. Raises `ConfigError` where no loss needs a critic."""
        if self._adversary is None:
            return super().hear(heard)
        return [layer for scale in self._adversary.critic(heard[:, None]) for layer in scale[:-1]]

    def state_dict(self) -> dict[str, Any]:
        """The optimisers and the number of steps made."""
        return {**super().state_dict(), "steps": self._steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        super().load_state_dict(state)
        self._steps = int(state["steps"])

    def _make(self, batch: Batch) -> Tensor:
        """The sound that the generator makes of the features, `[B, 1, T]` as long as the real one."""
        spec, frames, least = self.component.spec, batch.features.shape[-1], self._least_frames
        if frames < least:
            seconds = least * spec.hop_length / spec.sample_rate
            raise ConfigError(
                f"MelGAN learns from crops of at least {least} frames, not {frames}; set crop_seconds to {seconds:.3f} or more"
            )
        return self.component.place(self._generator(self.component.hear(batch.features)), batch.audio)

    def _loss(self, one: Round) -> tuple[Tensor, Terms]:
        """The generator's weighted losses, added, and each by itself."""
        made = one.made()
        terms = self._judged(one, made) | self._reconstructed(one.batch, made[:, 0])
        weights = {
            "adversarial": self.config.adversarial_weight,
            "feature_matching": self.config.feature_matching_weight,
            "mel_l1": self.config.mel_weight,
            "multi_stft": self.config.multi_stft_weight,
        }
        total = torch.stack([weights[name] * term for name, term in terms.items()]).sum()
        return total, {**terms, "generator": total}

    def _judged(self, one: Round, made: Tensor) -> Terms:
        """What the critic says of `made`, once it has learned in this step."""
        if self._adversary is None or one.said_of_real is None:
            return {}
        said_of_made = self._adversary.judge(made)
        terms: Terms = {}
        if self.config.adversarial_weight:
            terms["adversarial"] = self._adversary.fooled(said_of_made)
        if self.config.feature_matching_weight:
            # The official weight of a layer, 4 / (n_layers + 1), beside the mean over the scales.
            weight = 4.0 / (self.config.critic.layers + 1)
            terms["feature_matching"] = weight * feature_matching(said_of_made.features, one.said_of_real.features)
        return terms

    def _reconstructed(self, batch: Batch, made: Tensor) -> Terms:
        """How far `made` `[B, T]` is from the real sound."""
        with torch.set_grad_enabled(self.config.mel_weight > 0):
            terms = {"mel_l1": mel_l1(made, batch.features, self.component.spec)}
        if self.config.multi_stft_weight:
            terms["multi_stft"] = multi_resolution_stft(made, batch.audio)
        return terms
