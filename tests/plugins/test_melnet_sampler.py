"""MelNet's sampler: tiers one after the other, each with its own noise, in time that grows with the elements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from synthkit.training.engine import seeded
from synthkit_melnet.network import Given, Tier
from synthkit_melnet.sampler import bias_of, fastest, sampled
from synthkit_melnet.state import LIMIT, Frames, TorchFrames
from synthkit_melnet.tiers import places

BANDS = 7


def network(count: int = 3, **more: Any) -> list[Tier]:
    sizes: dict[str, Any] = {"n_mels": BANDS, "hidden": 16, "layers": 2, "mixtures": 3, "least_std": 0.01, **more}
    with seeded(3):
        tiers = [Tier(tier, count, **sizes) for tier in range(1, count + 1)]
        for tier in tiers:
            deviations = tier.head.bias.data[sizes["mixtures"] : 2 * sizes["mixtures"]]
            deviations -= 2  # a network that has learned nothing would answer one strange value by a stranger one
            tier.scaling.fit_standard([torch.randn(2, BANDS, 50) * 2 - 5])
    return tiers


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def recomputed(tiers: Sequence[Tier], frames: int, seed: int, prompt: Tensor | None = None) -> Tensor:
    """One item `[1, M, N]`: every tier's network run anew for each element of a grid in physical units."""
    whole = torch.zeros(1, frames, BANDS)
    primed = 0 if prompt is None else prompt.shape[-1]
    if prompt is not None:
        whole[:, :primed] = prompt.transpose(1, 2)
    numbers = torch.randint(2**62, (len(tiers),), generator=generators(seed)[0]).tolist()
    for tier, number in zip(tiers, numbers, strict=True):
        noise = torch.Generator().manual_seed(number)
        _, rows, columns = places(tier.tier, tier.count)[1]
        for row in range(frames)[rows]:
            if row < primed:
                continue
            uniform, normal = torch.rand(tier.bands, generator=noise), torch.randn(tier.bands, generator=noise)
            for place, band in enumerate(range(BANDS)[columns]):
                below, own = tier.scaled(whole)
                with torch.no_grad():
                    mixture = tier(own, below if tier.tier > 1 else None)
                at = range(frames)[rows].index(row)
                own[:, at, place] = mixture[:, at, place].sample(uniform[place], normal[place])
                whole[:, row, band] = tier.physical(own)[:, at, place]
    return whole.transpose(1, 2)


@pytest.mark.parametrize("make", [TorchFrames, fastest])
@pytest.mark.parametrize(("count", "frames"), [(1, 3), (2, 3), (3, 5), (4, 6)])
def test_a_sample_is_that_of_the_networks_run_anew_for_each_element(count: int, frames: int, make: Any) -> None:
    tiers = network(count)
    made = sampled(tiers, frames, generators(4), Given(), make=make)
    assert (made - recomputed(tiers, frames, 4)).abs().max() < 1e-4


@pytest.mark.parametrize("primed", [1, 2, 4])
def test_a_sample_that_goes_on_has_heard_the_frames_that_it_goes_on_from(primed: int) -> None:
    tiers = network(3)
    prompt = torch.randn(1, BANDS, primed) - 5
    made = sampled(tiers, 5, generators(4), Given(), prompt=prompt)
    assert torch.equal(made[..., :primed], prompt)
    assert (made - recomputed(tiers, 5, 4, prompt)).abs().max() < 1e-4
    other = sampled(tiers, 5, generators(4), Given(), prompt=prompt + 1)
    assert (other[..., primed:] - made[..., primed:]).abs().max() > 1e-3


def test_tier_1_of_a_longer_sample_begins_as_that_of_a_shorter_one() -> None:
    tiers = network(3)
    short, long = (sampled(tiers, frames, generators(6), Given()) for frames in (6, 14))
    _, rows, columns = places(1, 3)[1]
    assert torch.equal(long[:, columns, rows][..., :3], short[:, columns, rows])
    alone = [sampled(network(1), frames, generators(6), Given()) for frames in (6, 14)]
    assert torch.equal(alone[1][..., :6], alone[0])


def test_an_item_does_not_depend_on_its_batch_by_a_single_bit() -> None:
    tiers = network(3, labels=2)
    batch = sampled(tiers, 6, generators(1, 2, 3, 4, 5), Given(labels=torch.tensor([0, 1, 1, 0, 1])))
    alone = sampled(tiers, 6, generators(3), Given(labels=torch.tensor([1])))
    assert torch.equal(batch[2:3], alone)


def test_labels_curves_and_noise_each_change_the_sample() -> None:
    tiers = network(2, labels=2, conditions=1)
    curve = torch.zeros(1, 1, 6)

    def made(seed: int, label: int, conditions: Tensor) -> Tensor:
        return sampled(tiers, 6, generators(seed), Given(labels=torch.tensor([label]), conditions=conditions))

    first = made(1, 0, curve)
    assert torch.equal(first, made(1, 0, curve))
    bent = curve.clone()
    bent[..., 4] = 3  # a frame of tier 1, and of tier 2 too
    others = made(2, 0, curve), made(1, 1, curve), made(1, 0, bent)
    assert all((first - other).abs().max() > 1e-3 for other in others)
    assert torch.equal(others[2][:, 0::2, :4], first[:, 0::2, :4])  # tier 1 hears of a curve only when it is there


class Counting(Frames):
    """Frames that say how often they are asked."""

    calls: list[str]

    def __init__(self, *arguments: Any) -> None:
        self._plain = TorchFrames(*arguments)

    def advance(self, previous: Tensor, more: Tensor) -> None:
        self.calls.append("advance")
        self._plain.advance(previous, more)

    def draw(self, more: Tensor, uniform: Tensor, normal: Tensor) -> Tensor:
        self.calls.append("draw")
        return self._plain.draw(more, uniform, normal)

    def follow(self, more: Tensor, own: Tensor) -> Any:
        raise AssertionError("nothing is followed while sampling")


@pytest.mark.parametrize("frames", [1, 8, 32])
def test_each_frame_of_each_tier_is_advanced_and_drawn_once(frames: int) -> None:
    Counting.calls, told = [], []
    sampled(
        network(3), frames, generators(1, 2), Given(), make=Counting,
        progress=lambda done, total: told.append((done, total)),
    )  # fmt: skip
    rows = -(-frames // 2) * 2 + frames // 2
    assert Counting.calls == ["advance", "draw"] * rows
    assert told == sorted(set(told))
    assert told[-1] == (frames * BANDS, frames * BANDS)


def test_primed_frames_are_run_over_and_not_drawn() -> None:
    Counting.calls = []
    sampled(network(1), 6, generators(1), Given(), prompt=torch.zeros(1, BANDS, 4), make=Counting)
    assert Counting.calls == ["advance"] * 4 + ["advance", "draw"] * 2


def test_a_temperature_of_next_to_nothing_leaves_the_likeliest_mean() -> None:
    tiers = network(2, least_std=0.0)
    one, other = (sampled(tiers, 5, generators(seed), Given(), bias=bias_of(1e-3)) for seed in (1, 2))
    assert torch.equal(one, other)


@pytest.mark.parametrize("make", [TorchFrames, fastest])
def test_what_is_drawn_stays_finite_however_wild_the_network(make: Any) -> None:
    (tier,) = network(1)
    tier.head.weight.data *= 100
    made = sampled([tier], 8, generators(1, 2), Given(), make=make)
    drawn = tier.scaled(made.transpose(1, 2))[1]
    assert made.isfinite().all()
    assert LIMIT - 1e-3 < drawn.abs().max() < LIMIT + 1e-3


def test_a_lower_temperature_varies_less() -> None:
    tiers = network(1)
    seeds = range(64)
    spread = [
        float(sampled(tiers, 2, generators(*seeds), Given(), bias=bias_of(temperature)).std(0).mean())
        for temperature in (0.5, 1.0, 1.5)
    ]
    assert spread == sorted(spread)
    assert spread[0] < 0.7 * spread[1]
