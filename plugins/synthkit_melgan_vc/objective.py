"""How MelGAN-VC learns: the critic hears pieces that were converted one by one, in a row, so that it hears their seams."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from synthkit.errors import ConfigError
from synthkit.interfaces import Batch, Objective
from synthkit.sampling import evaluating
from synthkit.training.adversary import GAMES, Adversary, Round
from synthkit.training.engine import Engine, Terms
from synthkit_melgan_vc.config import MelGANVCObjectiveConfig
from synthkit_melgan_vc.converter import MelGANVC
from synthkit_melgan_vc.network import Critic, Siamese
from synthkit_melgan_vc.spectral import improve
from synthkit_melgan_vc.unet import PatchCritic, PooledSiamese, TwoCritics

HALVED = dataclasses.replace(
    GAMES["hinge"], critic=lambda real, made: 0.5 * GAMES["hinge"].critic(real, made), undecided=1.0
)
"""The hinge game with the published half before the critic's loss."""


class MelGANVCObjective(Objective):
    """Crops of the source are converted piece by piece, and what comes of it is judged beside crops of the target.

    Terms of a step: `critic`; in every k-th step `adversarial`, `travel`, `margin`, `identity` and `content`, each unweighted, and their
    weighted sum `generator`; those with weight 0 are left out. Crops of other labels than the converter's two are passed over.
    """

    component: MelGANVC
    hears = "features"

    def __init__(self, config: MelGANVCObjectiveConfig, component: MelGANVC, engine: Engine) -> None:
        self.component = component
        self._engine = engine
        self._steps = 0
        system = component.system
        if engine.numerics.accumulate > 1 and "batch" in (system.norm, system.critic_norm, system.siamese_norm):
            raise ConfigError(
                "batch normalisation works on a batch as a whole, so it cannot be learned in pieces; set accumulate to 1, or the "
                "converter's norm to item"
            )
        published = {name: getattr(system, name) for name in _PUBLISHED if getattr(config, name) is None}
        self.config = config.model_copy(update=published)
        self.critic, siamese = self._judges()
        self.siamese = siamese if self.config.travel_weight else None
        self._generator = engine.prepare(component.generator)
        self._siamese = self.siamese and engine.prepare(self.siamese)
        learners = [self._generator, *([] if self._siamese is None else [self._siamese])]
        self._optimiser = self._adam(learners, self.config.learning_rate)
        critic = engine.prepare(self.critic)
        optimiser = self._adam([critic], self.config.critic_learning_rate)
        self._adversary = Adversary(critic, optimiser, HALVED, engine)

    def _judges(self) -> tuple[Critic | PatchCritic | TwoCritics, nn.Module]:
        system, bands = self.component.system, self.component.spec.n_mels
        if system.family == "pictures":
            sizes = (system.channels, system.embedding, system.siamese_norm, system.siamese_spectral)
            return PatchCritic(system.critic_channels, system.critic_norm), PooledSiamese(*sizes)
        whole = system.piece_frames * system.pieces
        columns = Critic(bands, whole, system.critic_channels, system.critic_norm)
        patches = PatchCritic(system.patch_channels, "none") if system.patch_channels else None
        critic = columns if patches is None else TwoCritics(columns, patches)
        sizes = (system.channels, system.embedding, system.siamese_norm, system.siamese_spectral)
        return critic, Siamese(bands, system.piece_frames, *sizes)

    def _adam(self, networks: Iterable[nn.Module], rate: float | None) -> torch.optim.Optimizer:
        parameters = [parameter for network in networks for parameter in network.parameters()]
        assert rate is not None
        assert self.config.betas is not None
        return torch.optim.Adam(parameters, rate, self.config.betas, fused=True)

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """The critic and, where it has a part, the siamese."""
        return {"critic": self.critic} | ({} if self.siamese is None else {"siamese": self.siamese})

    @property
    def optimisers(self) -> Mapping[str, torch.optim.Optimizer]:
        """Adam of the generator and the siamese together, and of the critic."""
        return {"generator": self._optimiser, "critic": self._adversary.optimiser}

    def survey(self, batches: Iterable[Batch]) -> None:
        """Fit the range of the two labels' features to -1..1, and how high each label's lie.

        Raises `ConfigError` where no crop has one of the labels.
        """
        component = self.component
        found: dict[str, list[Tensor]] = {component.source: [], component.target: []}
        for batch in batches:
            labels = self._labels(batch)
            for label, crops in found.items():
                crops.append(batch.features[labels == component.labels.index(label)])
        for label, crops in found.items():
            if not any(map(len, crops)):
                raise ConfigError(f"no crop has the label {label!r}")
        domains = [torch.cat(crops) for crops in found.values()]
        component.scaling.fit_range(domains)
        component.content.fit(domains)

    def step(self, batch: Batch) -> Terms:
        """One step of the critic and, when they are due, one of the generator and the siamese.

        Raises:
            ConfigError: where the crops are too short, have no labels, or none has the source's or none the target's.
        """
        sources, targets = self._domains(batch)
        assert self.config.every is not None
        due = self._steps % self.config.every == 0
        pieces = list(zip(self._engine.pieces(sources), self._engine.pieces(targets), strict=True))
        rounds = [
            Round(
                batch=source,
                real=self.component.scaling(target.features),
                make=self._made,
                alone=due and len(pieces) == 1,
            )
            for source, target in pieces
        ]
        improve(self._generator, *self.networks.values())
        terms = self._adversary.learn(rounds)
        if due:
            terms |= self._engine.learn(self._optimiser, rounds, self._loss)
        self._steps += 1
        return terms

    @torch.no_grad()
    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        """How far converted crops are from the target's, and what the target loses when it is converted, in the features' units.

        `spectrum` is the mean absolute difference of the bands' means between all converted and all real crops, `spread` that of
        their deviations, `identity` that of each target crop before and after. What a critic says is no measure, because it moves.
        """
        sources, targets = self._domains(batch)
        scaling, real = self.component.scaling, targets.features
        with evaluating(self._generator):
            made = scaling.inverse(self._made(sources))
            kept = scaling.inverse(self._made(targets))
        return {
            "spectrum": (made.mean(dim=(0, 2)) - real.mean(dim=(0, 2))).abs().mean(),
            "spread": (made.std(dim=(0, 2)) - real.std(dim=(0, 2))).abs().mean(),
            "identity": (kept - real).abs().mean(),
        }

    def undecided(self) -> Mapping[str, float]:
        """The critic's loss while it says the same of all crops."""
        return self._adversary.undecided(2 if self.component.system.patch_channels else 1)

    def hear(self, heard: Tensor) -> list[Tensor]:
        """Features `[B, M, N]` to what the critic's layers see, of 4 frames or more, where it judges patches of 32."""
        return self.critic.see(self.component.scaling(heard))

    def state_dict(self) -> dict[str, Any]:
        """The optimisers and the number of steps made."""
        return {**super().state_dict(), "steps": self._steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        super().load_state_dict(state)
        self._steps = int(state["steps"])

    def _labels(self, batch: Batch) -> Tensor:
        if batch.labels is None:
            raise ConfigError("MelGAN-VC converts between two labels of the data, but the clips have none")
        return batch.labels

    def _domains(self, batch: Batch) -> tuple[Batch, Batch]:
        """Equally many crops of the source and of the target, as long as the pieces that are judged together."""
        component, labels = self.component, self._labels(batch)
        system, spec = component.system, component.spec
        frames, found = system.piece_frames * system.pieces, batch.features.shape[-1]
        if found < frames:
            hops = frames if spec.framing == "same" else frames - 1
            raise ConfigError(
                f"{component.config.preset} learns from crops of at least {frames} frames, not {found}; set crop_seconds to "
                f"{hops * spec.hop_length / spec.sample_rate:.4f} or more"
            )
        rows = []
        for name, label in (("source", component.source), ("target", component.target)):
            places = (labels == component.labels.index(label)).nonzero()[:, 0]
            if not len(places):
                raise ConfigError(
                    f"of the {len(labels)} crops of this batch none is of the {name} {label!r}; set train.balance to labels, or batch "
                    "to more"
                )
            rows.append(places)
        count = min(map(len, rows))
        source, target = (
            Batch(audio=batch.audio[some[:count]], features=batch.features[some[:count], :, :frames]) for some in rows
        )
        return source, target

    def _made(self, batch: Batch) -> Tensor:
        """Crops converted piece by piece and put together again, in the network's units `[B, M, N]`."""
        evidence = self.component.content.evidence(batch.features).repeat_interleave(self.component.system.pieces)
        return self._put_together(
            self._generator(self.component.given(self._cut(batch.features).flatten(0, 1), evidence))
        )

    def _cut(self, crops: Tensor) -> Tensor:
        """`[B, M, N]` to the pieces `[B, P, M, n]`."""
        items, bands, frames = crops.shape
        count = self.component.system.pieces
        return crops.view(items, bands, count, frames // count).movedim(2, 1)

    def _put_together(self, pieces: Tensor) -> Tensor:
        """Pieces `[B * P, M, n]` side by side: `[B, M, P * n]`."""
        count = self.component.system.pieces
        return pieces.view(-1, count, *pieces.shape[1:]).movedim(1, 2).flatten(2)

    def _loss(self, one: Round) -> tuple[Tensor, Terms]:
        """The weighted losses of the generator and the siamese, added, and each by itself."""
        made, config = one.made(), self.config
        weighted: dict[str, tuple[float | None, Tensor]] = {
            "adversarial": (config.adversarial_weight, self._adversary.fooled(self._adversary.judge(made)))
        }
        if self._siamese is not None:
            travel, margin = self._travel(self._cut(self.component.scaling(one.batch.features)), self._cut(made))
            weighted |= {"travel": (config.travel_weight, travel), "margin": (config.travel_weight, margin)}
        if config.identity_weight:
            kept = self._made(dataclasses.replace(one.batch, features=self.component.scaling.inverse(one.real)))
            weighted["identity"] = (config.identity_weight, (kept - one.real).abs().mean())
        if config.content_weight:
            gap = self.component.content(self.component.scaling.inverse(made), one.batch.features)
            weighted["content"] = (config.content_weight, gap)
        total = torch.stack([weight * term.float() for weight, term in weighted.values() if weight]).sum()
        return total, {name: term for name, (_, term) in weighted.items()} | {"generator": total}

    def _travel(self, before: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
        """The TraVeL loss and the siamese's margin for the first and the last piece of each crop (section 3.2 of MelGAN-VC).

        What differs between the two shall differ alike once they are converted: in size and in direction. The margin keeps the
        siamese from calling everything the same.
        """
        assert self._siamese is not None
        system = self.component.system
        ends = [crops[:, place] for crops in (before, after) for place in (0, -1)]
        first, last, made_first, made_last = self._siamese(torch.cat(ends)).float().chunk(4)
        differs, made_differs = first - last, made_first - made_last
        cosine = functional.cosine_similarity(differs, made_differs, dim=1)
        travel = (differs - made_differs).square().mean() - cosine.mean()
        missing = torch.relu((self.config.margin or 0.0) - differs.norm(dim=1))
        return travel, (missing**system.margin_power).mean()


_PUBLISHED = (
    "travel_weight", "margin", "identity_weight", "content_weight", "every", "learning_rate", "critic_learning_rate", "betas",
)  # fmt: skip
"""Settings that each preset has its own values of."""
