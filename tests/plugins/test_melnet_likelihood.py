"""The likelihood is one: densities integrate to 1, samples follow them, and a floor of the deviation is only that."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from synthkit.specs import FeatureSpec
from synthkit.training.engine import seeded
from synthkit_melnet.config import MelNetConfig
from synthkit_melnet.mixture import Mixture
from synthkit_melnet.model import MelNet
from synthkit_melnet.network import Given


def mixture() -> Mixture:
    """Three components apart from each other."""
    return Mixture(
        mean=torch.tensor([-2.0, 0.5, 3.0]),
        log_std=torch.tensor([0.5, 0.1, 1.0]).log(),
        logits=torch.tensor([0.2, -0.4, 0.7]),
    )


def log_density(model: MelNet, features: Tensor, given: Given) -> Tensor:
    """The log density `[B]` of whole spectrograms `[B, N, M]` in physical units."""
    total = features.new_zeros(len(features))
    for tier in model.tiers:
        below, own = tier.scaled(features)
        total = total + (tier(own, below, given).log_prob(own) - tier.log_scale()).sum(dim=(1, 2))
    return total


class TestIntegral:
    @pytest.mark.parametrize(
        ("layers", "frames", "bands", "points"),
        [((1,), 1, 2, 241), ((2,), 2, 1, 241), ((1, 1), 1, 2, 241), ((1, 1, 1), 2, 2, 21)],
        ids=["1x2", "2x1", "1x2, two tiers", "2x2, three tiers"],
    )
    def test_the_density_of_a_small_spectrogram_integrates_to_1(
        self, layers: tuple[int, ...], frames: int, bands: int, points: int
    ) -> None:
        spec = FeatureSpec(sample_rate=8000, n_fft=256, hop_length=64, n_mels=bands)
        config = MelNetConfig(hidden=4, layers=layers, mixtures=2, conditions=("loudness",), least_std=0.1)
        with seeded(5):
            model = MelNet(config, spec, labels=("a", "b"))
        for tier in model.tiers:  # each its own units, which is what tiers of different runs may have
            tier.scaling.fit_range([torch.tensor([-1.2, 0.5 + 0.1 * tier.tier]).expand(1, bands, 2)])
            with torch.no_grad():  # a deviation that grows with the values before has tails beyond any range
                tier.head.weight *= 0.3
        line = torch.linspace(-10, 10, points)
        grid = torch.cartesian_prod(*[line] * (frames * bands)).reshape(-1, frames, bands)
        given = Given(labels=torch.ones(len(grid), dtype=torch.long), conditions=torch.zeros(len(grid), 1, frames))
        with torch.no_grad():
            density = log_density(model, grid, given).double().exp()
        step = float(line[1] - line[0])
        assert float(density.sum()) * step ** (frames * bands) == pytest.approx(1, abs=2e-3)

    def test_a_mixture_integrates_to_1(self) -> None:
        x = torch.linspace(-30, 30, 60001, dtype=torch.float64)
        assert float(torch.trapezoid(mixture()[None].log_prob(x).exp(), x)) == pytest.approx(1, abs=1e-6)

    def test_logarithms_do_not_underflow(self) -> None:
        far = mixture().log_prob(torch.tensor(1e4))
        assert far.isfinite()
        assert float(far) < -1e6


class TestSamples:
    def test_they_follow_the_density(self) -> None:
        random = torch.Generator().manual_seed(2)
        count = 200_000
        one = mixture()
        spread = Mixture(**{name: values.expand(count, 3) for name, values in vars(one).items()})
        drawn = spread.sample(torch.rand(count, generator=random), torch.randn(count, generator=random))
        edges = torch.linspace(-6, 8, 57)
        share = torch.histc(drawn, 56, -6, 8) / count
        fine = torch.linspace(-6, 8, 56 * 20 + 1)
        density = mixture()[None].log_prob(fine).exp()
        wanted = torch.stack(
            [torch.trapezoid(density[20 * k : 20 * k + 21], fine[20 * k : 20 * k + 21]) for k in range(56)]
        )
        assert len(edges) == len(wanted) + 1
        assert float((share - wanted).abs().max()) < 4 * math.sqrt(float(wanted.max()) / count)

    @pytest.mark.parametrize(("uniform", "mean"), [(0.0, -2.0), (0.2, -2.0), (0.45, 0.5), (0.6, 3.0), (1.0, 3.0)])
    def test_the_uniform_number_chooses_the_component(self, uniform: float, mean: float) -> None:
        assert float(mixture().sample(torch.tensor(uniform), torch.tensor(0.0))) == mean

    def test_the_deviation_is_one_and_no_variance(self) -> None:
        # A fault of a published one: what was learned as a variance was sampled as a deviation.
        at = mixture().sample(torch.tensor(0.0), torch.tensor(1.0))
        assert float(at) == pytest.approx(-1.5)
        lone = Mixture(mean=torch.zeros(1), log_std=torch.tensor([0.5]).log(), logits=torch.zeros(1))
        fall = lone.log_prob(torch.tensor(0.0)) - lone.log_prob(torch.tensor(0.5))
        assert float(fall) == pytest.approx(0.5)

    def test_a_bias_narrows_and_favours_what_is_likely(self) -> None:
        biased = mixture().biased(1.0)
        assert torch.allclose(biased.log_std, mixture().log_std - 1)
        assert torch.allclose(biased.logits.softmax(-1), (mixture().logits * 2).softmax(-1))
        plain = mixture().biased(0.0)
        assert torch.equal(plain.log_std, mixture().log_std)
        assert torch.equal(plain.logits, mixture().logits)


class TestParameters:
    def test_they_are_means_logs_of_deviations_and_logits_without_bounds(self) -> None:
        # Faults of published ones: means behind a ReLU, deviations forced to 1 +- 0.1, constants added to the weights.
        theta = torch.tensor([-7.0, 9.0, -3.0, 2.0, 1.0, -1.0])
        found = Mixture.split(theta)
        assert found.mean.tolist() == [-7, 9]
        assert found.log_std.tolist() == [-3, 2]
        assert torch.allclose(found.logits.softmax(-1), torch.tensor([2.0, 0.0]).softmax(-1))

    def test_no_deviation_is_below_the_least_and_all_still_learn(self) -> None:
        theta = torch.tensor([0.0, 0.0, -20.0, 0.0, 0.0, 0.0], requires_grad=True)
        found = Mixture.split(theta, least_std=0.1)
        assert found.log_std.exp().tolist() == pytest.approx([0.1, 1.1])
        (gradient,) = torch.autograd.grad(found.log_std.sum(), theta)
        assert (gradient[2:4] > 0).all()

    def test_half_precision_is_computed_with_in_full(self) -> None:
        assert Mixture.split(torch.zeros(6, dtype=torch.bfloat16)).log_prob(torch.tensor(0.3)).dtype == torch.float32
