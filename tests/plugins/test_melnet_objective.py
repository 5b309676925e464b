"""How MelNet learns: the laws of objectives, an exact likelihood in physical units, tiers that learn or stay, the baselines."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from synthkit.errors import ConfigError
from synthkit.interfaces import Batch
from synthkit.specs import FeatureSpec
from synthkit.testing import battery
from synthkit.training.engine import Engine, Numerics, seeded
from synthkit_melnet.baselines import BandMixture
from synthkit_melnet.config import MelNetConfig, MelNetObjectiveConfig
from synthkit_melnet.model import MelNet
from synthkit_melnet.objective import MelNetObjective

SPEC = FeatureSpec(sample_rate=8000, n_fft=256, hop_length=64, n_mels=10)
SIZES = MelNetConfig(hidden=8, layers=(2, 1, 1), mixtures=3)
SETTINGS = {
    "paper": MelNetObjectiveConfig(),
    "adam": MelNetObjectiveConfig(optimiser="adam", learning_rate=1e-3, checkpointing=True),
    "one-tier": MelNetObjectiveConfig(tiers=(2,)),
}


def build(
    config: MelNetObjectiveConfig = SETTINGS["paper"],
    sizes: MelNetConfig = SIZES,
    labels: tuple[str, ...] = ("a", "b"),
    engine: Engine | None = None,
) -> MelNetObjective:
    return MelNetObjective(config, MelNet(sizes, SPEC, labels), engine or Engine())


def waves(step: int, count: int = 4, frames: int = 12, spec: FeatureSpec = SPEC) -> Batch:
    """Features that follow from their neighbours: slow waves through time and frequency, silent below a floor."""
    random = torch.Generator().manual_seed(step)
    phase = 6.28 * torch.rand(count, 1, 1, generator=random)
    grid = 0.5 * torch.arange(frames) + 0.4 * torch.arange(spec.n_mels)[:, None] + phase
    noise = 0.1 * torch.randn(count, spec.n_mels, frames, generator=random)
    features = (-3 + 2 * grid.sin() + noise).clamp(min=-4.0)
    return Batch(audio=torch.zeros(count, 64 * frames), features=features, labels=torch.arange(count) % 2)


def started(objective: MelNetObjective) -> MelNetObjective:
    objective.survey(waves(number, count=16) for number in range(4))
    return objective


@pytest.mark.parametrize(
    "check",
    [
        check
        for config in SETTINGS.values()
        for check in battery("objective", lambda engine, c=config: build(c, engine=engine), config=config)
    ],
    ids=str,
)
def test_the_laws_of_objectives(check: Any) -> None:
    check()


def test_default_settings_are_the_papers() -> None:
    config = MelNetObjectiveConfig()
    assert (config.optimiser, config.learning_rate, config.momentum, config.tiers) == ("rmsprop", 1e-4, 0.9, None)
    with pytest.raises(ValidationError, match="tiers has a number twice"):
        MelNetObjectiveConfig(tiers=(1, 1))


def test_optimisers_of_either_kind() -> None:
    assert {type(it) for it in build().optimisers.values()} == {torch.optim.RMSprop}
    (adam, *_) = build(SETTINGS["adam"]).optimisers.values()
    assert isinstance(adam, torch.optim.Adam)
    assert adam.param_groups[0]["betas"] == (0.9, 0.999)


def density(objective: MelNetObjective, features: Tensor, labels: Tensor) -> Tensor:
    """Nats of each element, put together by hand: each tier's own density, scaled back by the change of variables."""
    model, grid = objective.component, features.transpose(1, 2)
    nats = torch.empty_like(grid)
    for tier in model.tiers:
        below, own = tier.scaled(grid)
        given = model.given(Batch(audio=torch.zeros(len(features), 1), features=features, labels=labels))
        columns = torch.arange(SPEC.n_mels)[tier.own_place[2]]
        nats[tier.own_place] = tier.scaling.scale[columns, 0].log() - tier(own, below, given).log_prob(own)
    return nats


@pytest.mark.parametrize("frames", [12, 7])
def test_nats_are_of_the_physical_density_over_all_elements(frames: int) -> None:
    objective = started(build())
    for tier in objective.component.tiers:  # bands of different scales, so that what is left out shows
        tier.scaling.scale.mul_(torch.linspace(0.5, 2, SPEC.n_mels)[:, None])
    batch = waves(9, frames=frames)
    assert batch.labels is not None
    with torch.no_grad():
        terms, expected = objective.evaluate(batch), density(objective, batch.features, batch.labels)
    assert float(terms["nats"]) == pytest.approx(float(expected.mean()), abs=1e-5)
    assert float(terms["bits"]) == pytest.approx(float(expected.mean()) / math.log(2), abs=1e-5)
    for tier in objective.component.tiers:
        assert float(terms[f"nats_tier{tier.tier}"]) == pytest.approx(float(expected[tier.own_place].mean()), abs=1e-5)


def test_the_units_of_features_move_nats_and_nothing_else() -> None:
    """Features twice as large have log 2 nats more; what the networks see, and so `nats_scaled`, is the same."""
    with seeded(3):
        one = started(build())
    with seeded(3):
        other = build()
    other.survey(replace(b, features=2 * b.features) for b in (waves(number, count=16) for number in range(4)))
    batch = waves(9)
    with torch.no_grad():
        a, b = one.evaluate(batch), other.evaluate(replace(batch, features=2 * batch.features))
    for name in ("nats", "baseline_gaussian", "baseline_mixture"):
        assert float(b[name] - a[name]) == pytest.approx(math.log(2), abs=1e-2), name
    assert float(b["nats_scaled"]) == pytest.approx(float(a["nats_scaled"]), abs=1e-2)


def test_a_step_says_what_an_evaluation_says() -> None:
    objective = started(build())
    for tier in objective.component.tiers:
        tier.train()
    with torch.no_grad():
        told = objective.evaluate(waves(5))
    terms = objective.step(waves(5))
    assert set(told) - set(terms) == {"baseline_gaussian", "baseline_mixture"}
    for name, term in terms.items():
        assert float(term) == pytest.approx(float(told[name]), abs=1e-5), name


def test_only_the_chosen_tiers_learn_and_are_told_of() -> None:
    objective = started(build(MelNetObjectiveConfig(tiers=(3, 1))))
    before = {name: [p.clone() for p in net.parameters()] for name, net in objective.component.networks.items()}
    terms = objective.step(waves(1))
    moved = {
        name
        for name, network in objective.component.networks.items()
        if any(not torch.equal(p, q) for p, q in zip(network.parameters(), before[name], strict=True))
    }
    assert moved == {"tier1", "tier3"}
    assert {name for name in terms if name.startswith("nats_tier")} == {"nats_tier1", "nats_tier3"}
    frames, bands = 12, SPEC.n_mels
    sizes = {1: frames // 2 * bands // 2, 3: frames // 2 * bands}
    mean = sum(float(terms[f"nats_tier{tier}"]) * size for tier, size in sizes.items()) / sum(sizes.values())
    assert float(terms["nats"]) == pytest.approx(mean, abs=1e-5)


def test_a_tier_that_the_model_does_not_have() -> None:
    with pytest.raises(ConfigError, match="the objective's tiers name tier 4, but the model has 3"):
        build(MelNetObjectiveConfig(tiers=(1, 4)))


def test_each_tier_learns_what_it_learns_alone() -> None:
    """Trained together or apart, from the same beginning: the same weights, bit for bit."""

    def trained(tiers: tuple[int, ...] | None) -> MelNetObjective:
        with seeded(4):
            objective = started(build(MelNetObjectiveConfig(tiers=tiers, optimiser="adam", learning_rate=1e-2)))
        for step in range(3):
            objective.step(waves(step))
        return objective

    together = trained(None).component.networks
    for tier in (1, 2, 3):
        alone = trained((tier,)).component.networks[f"tier{tier}"].state_dict()
        for name, value in together[f"tier{tier}"].state_dict().items():
            assert torch.equal(value, alone[name]), (tier, name)


def test_checkpointing_changes_no_gradient() -> None:
    def gradients(checkpointing: bool) -> list[Tensor]:
        with seeded(2):
            objective = started(build(MelNetObjectiveConfig(checkpointing=checkpointing)))
        objective.step(waves(1))
        return [p.grad for net in objective.component.networks.values() for p in net.parameters() if p.grad is not None]

    for kept, again in zip(gradients(False), gradients(True), strict=True):
        torch.testing.assert_close(kept, again, rtol=1e-5, atol=1e-7)


def test_gradients_are_clipped_tier_by_tier() -> None:
    engine = Engine(numerics=Numerics(clip_norm=1e-3))
    objective = started(build(engine=engine))
    objective.step(waves(1))
    for network in objective.component.networks.values():
        norm = torch.stack([p.grad.norm() for p in network.parameters() if p.grad is not None]).norm()
        assert float(norm) == pytest.approx(1e-3, rel=1e-3)


def test_a_fresh_model_begins_no_worse_than_one_mixture_for_all() -> None:
    """The first evaluation is near what a mixture of all values gives, however far that is from a normal distribution."""
    objective = started(build())
    values = torch.cat([waves(number, count=16).features for number in range(4)])
    alike = BandMixture(1, SIZES.mixtures)
    scale = float(objective.component.tiers[0].scaling.scale[0])
    alike.fit(values.reshape(1, -1), SIZES.least_std * scale)
    with torch.no_grad():
        nats = float(objective.evaluate(waves(0, count=16))["nats"])
        best = float(-alike.log_prob(waves(0, count=16).features.reshape(1, 1, -1)).mean())
    assert nats < best + 0.2


def test_no_baseline_before_it_is_fitted() -> None:
    with torch.no_grad():
        assert not [name for name in build().evaluate(waves(1)) if name.startswith("baseline")]


class TestBandMixture:
    """The baselines against densities that are known."""

    def test_a_known_mixture_costs_its_entropy(self) -> None:
        random = torch.Generator().manual_seed(1)
        mean, std = torch.tensor([[-3.0, 2.0], [0.0, 5.0]]), torch.tensor([[0.5, 1.0], [0.2, 0.3]])

        def drawn(count: int) -> Tensor:
            chosen = (torch.rand(2, count, generator=random) < 0.3).long()
            return mean.gather(1, chosen) + std.gather(1, chosen) * torch.randn(2, count, generator=random)

        fitted = BandMixture(2, 4)
        fitted.fit(drawn(8000))
        fresh = drawn(50_000)
        parts = torch.distributions.MixtureSameFamily(
            torch.distributions.Categorical(torch.tensor([0.7, 0.3]).expand(2, 2)),
            torch.distributions.Normal(mean, std),
        )
        truth = -parts.log_prob(fresh.T).mean()  # type: ignore[no-untyped-call]
        assert float(-fitted.log_prob(fresh[None]).mean()) == pytest.approx(float(truth), rel=0.02)

    def test_values_that_stand_still_have_a_bounded_density(self) -> None:
        fitted = BandMixture(1, 3)
        fitted.fit(torch.full((1, 500), -5.0), least_std=0.1)
        density = fitted.log_prob(torch.full((1, 1, 4), -5.0))
        assert float(density.max()) == pytest.approx(-math.log(0.1 * math.sqrt(2 * math.pi)), abs=1e-3)

    def test_it_comes_back_from_a_file(self) -> None:
        fitted, loaded = BandMixture(2, 3), BandMixture(2, 3)
        fitted.fit(torch.randn(2, 400, generator=torch.Generator().manual_seed(1)))
        assert not loaded.is_fitted
        loaded.load_state_dict(fitted.state_dict())
        assert loaded.is_fitted
        x = torch.linspace(-2, 2, 10).expand(1, 2, 10)
        assert torch.equal(fitted.log_prob(x), loaded.log_prob(x))
