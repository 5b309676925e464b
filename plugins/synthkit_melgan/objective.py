"""How MelGAN learns: first the critic on the detached sound, then the generator on the same sound with the critic frozen."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from synthkit.errors import ConfigError
from synthkit.interfaces import Batch, Objective
from synthkit.training.adversary import Adversary, Judgement
from synthkit.training.engine import Engine
from synthkit.training.losses import feature_matching, mel_l1, multi_resolution_stft
from synthkit_melgan.config import MelGANObjectiveConfig
from synthkit_melgan.network import Critic
from synthkit_melgan.vocoder import MelGAN


class MelGANObjective(Objective):
    """Adversarial and reconstruction losses of MelGAN (arXiv 1910.06711, section 2.2, and `scripts/train.py`).

    Terms of a step: `critic`, `adversarial`, `feature_matching`, `mel_l1`, `multi_stft`, each unweighted, and their weighted sum
    `generator`; those with weight 0 are left out, except `mel_l1`, which is always told.
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

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """One step of the critic (once it is due), then one of the generator.

        Raises:
            ConfigError: where the crops are too short for the network.
        """
        made, real = self._make(batch), batch.audio[:, None]
        terms: dict[str, Tensor] = {}
        losses: list[Tensor] = []
        if self._adversary is not None and self._steps >= self.config.adversarial_from_step:
            terms["critic"], said_of_real = self._adversary.learn(real, made)
            losses += self._judged(self._adversary, made, said_of_real, terms)
        losses += self._reconstructed(made[:, 0], batch, terms)
        total = torch.stack(losses).sum()
        self._engine.backward(total, self._optimiser)
        self._engine.update(self._optimiser)
        self._steps += 1
        return {**{name: term.detach() for name, term in terms.items()}, "generator": total.detach()}

    @torch.no_grad()
    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        """`mel_l1` and `multi_stft` of the same forward; what a critic says is no measure, because the critic moves."""
        made = self._make(batch)[:, 0]
        return {
            "mel_l1": mel_l1(made, batch.features, self.component.spec),
            "multi_stft": multi_resolution_stft(made, batch.audio),
        }

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

    def _judged(
        self, adversary: Adversary, made: Tensor, said_of_real: Judgement, terms: dict[str, Tensor]
    ) -> list[Tensor]:
        """The weighted losses that the critic gives the generator."""
        said_of_made = adversary.judge(made)
        losses = []
        if self.config.adversarial_weight:
            terms["adversarial"] = adversary.fooled(said_of_made)
            losses.append(self.config.adversarial_weight * terms["adversarial"])
        if self.config.feature_matching_weight:
            # The official weight of a layer, 4 / (n_layers + 1), beside the mean over the scales.
            weight = 4.0 / (self.config.critic.layers + 1)
            terms["feature_matching"] = weight * feature_matching(said_of_made.features, said_of_real.features)
            losses.append(self.config.feature_matching_weight * terms["feature_matching"])
        return losses

    def _reconstructed(self, made: Tensor, batch: Batch, terms: dict[str, Tensor]) -> list[Tensor]:
        """The weighted losses that compare `made` `[B, T]` with the real sound directly."""
        losses = []
        with torch.set_grad_enabled(self.config.mel_weight > 0):
            terms["mel_l1"] = mel_l1(made, batch.features, self.component.spec)
        if self.config.mel_weight:
            losses.append(self.config.mel_weight * terms["mel_l1"])
        if self.config.multi_stft_weight:
            terms["multi_stft"] = multi_resolution_stft(made, batch.audio)
            losses.append(self.config.multi_stft_weight * terms["multi_stft"])
        return losses
