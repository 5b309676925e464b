"""`FeatureScaling`: fitted to features, it gives a network its own numbers and brings them back, and is saved with it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from synthkit.scaling import FeatureScaling

BANDS = 5


@pytest.fixture
def batches() -> list[Tensor]:
    """Bands of very different level and spread, the last one always at its floor."""
    level, spread = torch.tensor([-4.0, -2.0, 0.0, 30.0, -5.0]), torch.tensor([0.1, 1.0, 3.0, 0.5, 0.0])
    random = torch.Generator().manual_seed(3)
    shapes = ((4, BANDS, 33), (2, BANDS, 7), (1, BANDS, 130))
    return [level[:, None] + spread[:, None] * torch.randn(shape, generator=random) for shape in shapes]


def flat(batches: list[Tensor], scaling: FeatureScaling) -> Tensor:
    """All values of each band, `[M, n]`, as the network sees them."""
    return torch.cat([scaling(batch).transpose(0, 1).flatten(1) for batch in batches], dim=1)


def test_until_it_is_fitted_it_changes_nothing(batches: list[Tensor]) -> None:
    assert torch.equal(FeatureScaling(BANDS)(batches[0]), batches[0])


def test_standard_gives_each_band_mean_0_and_variance_1_over_all_batches(batches: list[Tensor]) -> None:
    scaling = FeatureScaling(BANDS)
    scaling.fit_standard(iter(batches))
    seen = flat(batches, scaling).double()
    assert seen.mean(1).abs().max() < 1e-4
    assert seen[:-1].std(1, correction=0).numpy() == pytest.approx(1, abs=1e-4)
    assert not seen[-1].abs().max() > 1e-3  # a band that never changes is not blown up


def test_a_far_level_costs_no_precision() -> None:
    """The variance of a band at 1000 with a spread of 0.05: the difference of two large squares, if taken carelessly."""
    scaling = FeatureScaling(1)
    values = 1000 + 0.05 * torch.randn(4, 1, 5000, generator=torch.Generator().manual_seed(1))
    scaling.fit_standard(values.split(1))
    assert float(scaling.scale) == pytest.approx(float(values.double().std(correction=0)), rel=1e-4)


def test_range_reaches_from_minus_1_to_1_and_keeps_the_balance_of_the_bands(batches: list[Tensor]) -> None:
    scaling = FeatureScaling(BANDS)
    scaling.fit_range(iter(batches))
    seen = flat(batches, scaling)
    assert (float(seen.min()), float(seen.max())) == pytest.approx((-1, 1), abs=1e-5)
    assert scaling.scale.unique().numel() == scaling.shift.unique().numel() == 1


@pytest.mark.parametrize("fit", ["fit_standard", "fit_range"])
def test_the_way_back_is_exact_and_has_a_gradient(batches: list[Tensor], fit: str) -> None:
    scaling = FeatureScaling(BANDS)
    getattr(scaling, fit)(batches)
    values = batches[0].clone().requires_grad_()
    back = scaling.inverse(scaling(values))
    assert torch.allclose(back, values, atol=1e-5)
    back.sum().backward()
    assert values.grad is not None
    assert torch.allclose(values.grad, torch.ones_like(values), atol=1e-5)


def test_the_order_and_the_pieces_of_the_data_do_not_matter(batches: list[Tensor]) -> None:
    one, other = FeatureScaling(BANDS), FeatureScaling(BANDS)
    one.fit_standard(batches)
    other.fit_standard([piece for batch in reversed(batches) for piece in batch.split(1)])
    assert torch.allclose(one.shift, other.shift, atol=1e-6)
    assert torch.allclose(one.scale, other.scale, rtol=1e-5)


def test_it_is_saved_with_its_network_and_learned_by_no_optimiser(batches: list[Tensor]) -> None:
    scaling, other = FeatureScaling(BANDS), FeatureScaling(BANDS)
    scaling.fit_standard(batches)
    other.load_state_dict(scaling.state_dict())
    assert torch.equal(other(batches[0]), scaling(batches[0]))
    assert list(scaling.parameters()) == []
