"""MelNet's tiers and layers: how grids are split, what a tier is told, and faults of published implementations."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor, nn

from synthkit.training.engine import seeded
from synthkit_melnet import tiers
from synthkit_melnet.layers import Cell, along_frequency, along_time, recurrent
from synthkit_melnet.network import Given, Tier

SIZES = list(itertools.product((1, 2, 3, 5, 8), (8, 9, 13)))


def network(tier: int = 1, count: int = 1, n_mels: int = 5, **more: object) -> Tier:
    """A small tier of random weights."""
    sizes: dict[str, object] = {"hidden": 6, "layers": 2, "mixtures": 3} | more
    with seeded(3):
        return Tier(tier, count, n_mels=n_mels, **sizes)  # type: ignore[arg-type]


class TestTiers:
    @pytest.mark.parametrize("count", range(1, 7))
    @pytest.mark.parametrize(("frames", "bands"), SIZES)
    def test_parts_and_assembly_are_inverses(self, count: int, frames: int, bands: int) -> None:
        x = torch.arange(2 * frames * bands).reshape(2, frames, bands)
        grids = tiers.parts(x, count)
        assert torch.equal(tiers.assemble(grids), x)
        assert [tuple(grid.shape[1:]) for grid in grids] == [
            tiers.shape_of(tier, count, frames, bands) for tier in range(1, count + 1)
        ]

    @pytest.mark.parametrize("count", range(2, 7))
    @pytest.mark.parametrize(("frames", "bands"), SIZES)
    def test_splitting_from_the_top_finds_the_same_places(self, count: int, frames: int, bands: int) -> None:
        x = torch.arange(frames * bands).reshape(1, frames, bands)
        whole = x
        for tier in range(count, 1, -1):
            below, own = tiers.split(whole, tier)
            assert torch.equal(tiers.interleave(below, own, tier), whole)
            below_place, own_place = tiers.places(tier, count)
            assert torch.equal(x[below_place], below)
            assert torch.equal(x[own_place], own)
            whole = below

    def test_the_lower_tiers_keep_the_first_row(self) -> None:
        below, own = tiers.split(torch.arange(6)[None, :, None], 3)  # along time
        assert (below.flatten().tolist(), own.flatten().tolist()) == ([0, 2, 4], [1, 3, 5])

    def test_tiers_along_frequency_and_time_alternate_as_in_the_paper(self) -> None:
        # Section 5, figures 4 and 5: tier 1 is 32 x 50, tiers 1 to 3 are 64 x 100 and all six 256 x 200.
        assert tiers.shape_of(1, 6, 200, 256) == tiers.shape_of(2, 6, 200, 256) == (50, 32)
        assert tiers.places(4, 6)[0] == (slice(None), slice(0, None, 2), slice(0, None, 4))
        assert tiers.halvings(5) == (2, 2)

    def test_the_first_frames_of_a_spectrogram_are_the_first_of_every_tier(self) -> None:
        # What a clip that is to be continued rests on.
        x = torch.arange(11 * 8).reshape(1, 11, 8)
        for frames, count in itertools.product(range(1, 11), range(1, 7)):
            for part, start in zip(tiers.parts(x, count), tiers.parts(x[:, :frames], count), strict=True):
                assert torch.equal(part[:, : start.shape[1]], start)


class TestLayers:
    @pytest.mark.parametrize("cell", ["lstm", "gru"])
    def test_what_runs_backward_stands_where_it_belongs(self, cell: Cell) -> None:
        # A fault of a published one: the reversed output is not turned round again.
        rnn, grid = recurrent(1, 4, cell), torch.randn(1, 5, 3, 1, generator=torch.Generator().manual_seed(0))
        for run, axis in ((along_time, 1), (along_frequency, 2)):
            backward = run(rnn, grid, backward=True)
            last = grid.narrow(axis, grid.shape[axis] - 1, 1)
            alone = run(rnn, last)
            assert torch.allclose(backward.narrow(axis, grid.shape[axis] - 1, 1), alone, atol=1e-6)
            assert not torch.allclose(backward.narrow(axis, 0, 1), run(rnn, grid.narrow(axis, 0, 1)), atol=1e-3)

    def test_rows_do_not_see_each_other(self) -> None:
        rnn, grid = nn.GRU(1, 4, batch_first=True), torch.randn(2, 4, 3, 1)
        moved = grid.clone()
        moved[1, 2, 1] += 1
        over_time = (along_time(rnn, moved) - along_time(rnn, grid)).abs().sum(-1)
        over_bands = (along_frequency(rnn, moved) - along_frequency(rnn, grid)).abs().sum(-1)
        assert over_time.nonzero().tolist() == [[1, 2, 1], [1, 3, 1]]
        assert over_bands.nonzero().tolist() == [[1, 2, 1], [1, 2, 2]]


class TestConditioning:
    def test_another_label_is_another_distribution_of_every_element(self) -> None:
        one = network(labels=2)
        x = torch.randn(1, 4, 5)
        low, high = (one(x, given=Given(labels=torch.tensor([label]))).mean for label in (0, 1))
        assert ((low - high).abs().amax(-1) > 1e-4).all()

    @pytest.mark.parametrize(("tier", "count"), [(1, 1), (1, 3), (2, 3), (3, 3)])
    def test_a_condition_is_heard_from_its_own_frame_on(self, tier: int, count: int) -> None:
        one = network(tier, count, n_mels=6, conditions=1)
        features, conditions = torch.randn(1, 7, 6), torch.randn(1, 1, 7)
        below, own = one.scaled(features)
        frames = list(range(7))[one.own_place[tiers.TIME]]
        before = one(own, below, Given(conditions=conditions)).mean
        for place, frame in enumerate(frames):
            moved = conditions.clone()
            moved[0, 0, frame] += 1
            changed = (one(own, below, Given(conditions=moved)).mean - before).abs().amax(dim=(0, 2, 3)) > 1e-7
            assert changed.tolist() == [other >= place for other in range(len(frames))]

    @pytest.mark.parametrize(("frames", "bands"), [(4, 4), (5, 5), (1, 4), (7, 6)])
    @pytest.mark.parametrize("tier", [2, 3])
    def test_every_element_hears_the_whole_of_the_tiers_below(self, tier: int, frames: int, bands: int) -> None:
        one = network(tier, 3, n_mels=bands)
        below, own = one.scaled(torch.randn(1, frames, bands))
        if own.numel() == 0:
            assert one(own, below).log_prob(own).shape == own.shape
            return
        below.requires_grad_(True)
        for place in itertools.product(*map(range, own.shape[1:])):
            (gradient,) = torch.autograd.grad(one(own, below).mean[(0, *place)].sum(), below)
            # Of an odd number of rows the last has none beside it in this tier, and is heard from one side alone.
            assert (gradient[:, : own.shape[1], : own.shape[2]] != 0).all()

    def test_an_item_does_not_see_its_neighbours(self) -> None:
        # A fault of a published one: the shift along frequency moved the batch.
        one = network(2, 2, n_mels=6)
        below, own = one.scaled(torch.randn(3, 4, 6))
        together, alone = one(own, below), one(own[1:2], below[1:2])
        assert torch.allclose(together.mean[1:2], alone.mean, atol=1e-6)


class TestScaling:
    def test_each_tier_has_its_own_way_from_physical_units_and_back(self) -> None:
        one = network(2, 3, n_mels=6)
        features = 10 * torch.randn(4, 9, 6) + torch.arange(6)
        one.scaling.fit_standard([features.transpose(1, 2)])
        below, own = one.scaled(features)
        assert torch.allclose(one.scaled_below(features[one.below_place]), below)
        assert torch.allclose(one.physical(own), features[one.own_place], atol=1e-5)
        assert torch.allclose(one.log_scale().exp(), one.scaling.scale[1::2, 0])

    def test_it_is_saved_with_the_weights(self) -> None:
        assert {"scaling.shift", "scaling.scale"} <= set(network().state_dict())


class TestCheckpointing:
    @pytest.mark.parametrize("cell", ["lstm", "gru"])
    @pytest.mark.parametrize("tier", [1, 2])
    def test_gradients_are_the_same(self, tier: int, cell: Cell) -> None:
        one = network(tier, 2, n_mels=6, cell=cell)
        below, own = one.scaled(torch.randn(2, 4, 6))
        gradients = []
        for one.checkpointing in (False, True):
            one.zero_grad(set_to_none=True)
            (-one(own, below).log_prob(own).mean()).backward()
            gradients.append({name: weight.grad for name, weight in one.named_parameters() if weight.grad is not None})
        assert gradients[0].keys() == gradients[1].keys() == {name for name, _ in one.named_parameters()}
        assert all(torch.allclose(gradients[0][name], gradients[1][name], atol=1e-6) for name in gradients[0])

    def test_less_is_kept(self) -> None:
        one = network(hidden=16, layers=4, cell="gru")
        own = torch.randn(2, 8, 5)
        kept = []
        for one.checkpointing in (False, True):
            held: dict[int, int] = {}

            def pack(value: Tensor, held: dict[int, int] = held) -> Tensor:
                held[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
                return value

            with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
                one(own)
            kept.append(sum(held.values()))
        assert kept[1] < kept[0] / 3


def test_weights_alone_make_the_distribution() -> None:
    one, other = network(2, 3, n_mels=6), network(2, 3, n_mels=6)
    below, own = one.scaled(torch.randn(1, 4, 6))
    with torch.no_grad():
        for weight in one.parameters():
            weight.add_(0.1)
    assert not torch.equal(one(own, below).mean, other(own, below).mean)
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(own, below).mean, other(own, below).mean)
