"""The order of elements: none is told of itself or of a later one, and each tells all later ones; at every place, by two ways."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from synthkit.training.engine import seeded
from synthkit_melnet.layers import Cell
from synthkit_melnet.network import Given, Tier
from synthkit_melnet.text import TextReader, encoded

KINDS: dict[str, tuple[int, int, dict[str, object]]] = {
    "tier 1": (1, 1, {}),
    "tier 1, gru": (1, 1, {"cell": "gru"}),
    "tier 1, no centralised stack": (1, 1, {"centralised": False}),
    "tier 1, text": (1, 1, {"text": 3}),
    "tier 1 of 3": (1, 3, {}),
    "tier 2 of 3": (2, 3, {}),
    "tier 3 of 3": (3, 3, {}),
    "tier 2 of 3, gru, checkpointing": (2, 3, {"cell": "gru", "checkpointing": True}),
    "tier 4 of 6": (4, 6, {}),
    "tier 5 of 6": (5, 6, {}),
    "tier 6 of 6": (6, 6, {}),
}


class Case:
    """A tier of random weights, in float64 so that what is not told is exactly the same, and a grid of a few elements."""

    def __init__(self, tier: int, count: int, more: dict[str, object]) -> None:
        sizes: dict[str, object] = {"hidden": 4, "layers": 2, "mixtures": 2} | more
        checkpointing = bool(sizes.pop("checkpointing", False))
        reads = sizes.pop("text", None)
        frames, bands = (3, 3) if count == 1 else (7, 7) if count == 3 else (8, 13)
        with seeded(11):
            text = None if reads is None else TextReader(3, 4, 2)
            self.network = Tier(tier, count, n_mels=bands, text=text, **sizes).double()  # type: ignore[arg-type]
            features = torch.randn(1, frames, bands, dtype=torch.float64)
        self.network.checkpointing = checkpointing
        self.below, self.own = self.network.scaled(features)
        assert min(self.own.shape[1:]) > 1
        self.given = Given(text=None if reads is None else encoded(["abca"], "abc"))

    def parameters(self, own: Tensor) -> Tensor:
        """All that the distributions of a grid consist of, `[elements, 3K]`."""
        mixture = self.network(own, self.below, self.given)
        return torch.cat([mixture.mean, mixture.log_std, mixture.logits], dim=-1).flatten(0, 2)

    def places(self) -> Iterator[tuple[int, tuple[int, ...]]]:
        """The elements in their order, with their places."""
        return enumerate(itertools.product(*map(range, self.own.shape)))


@pytest.fixture(params=KINDS)
def case(request: pytest.FixtureRequest) -> Case:
    return Case(*KINDS[request.param])


def test_moving_an_element_changes_all_later_ones_and_no_other(case: Case) -> None:
    with torch.no_grad():
        before = case.parameters(case.own)
        for order, place in case.places():
            moved = case.own.clone()
            moved[place] += 1.0
            changed = (case.parameters(moved) - before).abs().amax(-1)
            assert (changed[: order + 1] == 0).all(), f"{place} is known too early"
            assert (changed[order + 1 :] > 0).all(), f"{place} is not known later"


def test_the_gradient_of_an_element_reaches_all_earlier_ones_and_no_other(case: Case) -> None:
    own = case.own.clone().requires_grad_(True)
    parameters = case.parameters(own)
    for order, place in case.places():
        (gradient,) = torch.autograd.grad(parameters[order].sum(), own, retain_graph=True)
        reached = gradient.flatten()
        assert (reached[order:] == 0).all(), f"{place} knows itself or a later one"
        assert (reached[:order] != 0).all(), f"{place} does not know an earlier one"


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("tier", [1, 2])
def test_nothing_comes_round_from_the_other_end(tier: int, cell: Cell) -> None:
    # Faults of published ones: `roll` brings the last frame and band to the first; a shift the wrong way shows the target itself.
    case = Case(tier, tier, {"cell": cell})
    first = case.parameters(case.own)[0]
    assert torch.equal(case.parameters(torch.randn_like(case.own))[0], first)


def test_the_first_frames_do_not_depend_on_how_many_follow() -> None:
    case = Case(1, 1, {})
    whole = case.parameters(case.own)
    start = case.parameters(case.own[:, :2])
    assert torch.allclose(whole[: len(start)], start, rtol=0, atol=1e-12)
