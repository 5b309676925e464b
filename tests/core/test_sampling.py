"""What models share when they serve a request: an item's own randomness, labels as indices, and refusing what they cannot do."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from synthkit.errors import ConfigError
from synthkit.interfaces import Ability, Blend, GenerativeModel, Request
from synthkit.sampling import item_generators, item_noise, label_indices, require_able
from synthkit.specs import FeatureSpec

SPEC = FeatureSpec(sample_rate=16000, n_fft=256, hop_length=64, n_mels=12)
KNOWN = ("blues", "jazz", "rock")


class Model(GenerativeModel):
    def __init__(self, *abilities: Ability) -> None:
        self.spec, self.abilities = SPEC, frozenset(abilities)

    def generate(self, request: Request, *, random: Any = None, progress: Any = None) -> Tensor:
        raise AssertionError("it is never asked")


class TestRandomness:
    @pytest.mark.parametrize("others", [(), (1,), (5, 6, 7), (8,) * 20])
    def test_an_item_depends_on_its_seed_alone(self, others: tuple[int, ...]) -> None:
        (alone,) = item_noise(item_generators(Request(frames=4, seeds=(8,))), 3, 5)
        company = item_noise(item_generators(Request(frames=4, count=len(others) + 1, seeds=(*others, 8))), 3, 5)
        assert torch.equal(company[-1], alone)

    def test_seeds_differ_and_items_draw_on(self) -> None:
        sources = item_generators(Request(frames=4, count=2, seeds=(1, 2)))
        first, second = item_noise(sources, 100), item_noise(sources, 100)
        assert first.shape == (2, 100)
        assert not torch.equal(first[0], first[1])
        assert not torch.equal(first, second)

    def test_a_long_draw_begins_like_a_short_one_where_frames_come_first(self) -> None:
        short, long = (item_noise(item_generators(Request(frames=4, seeds=(3,))), frames, 16) for frames in (4, 9))
        assert torch.equal(long[:, :4], short)

    def test_without_seeds_they_follow_from_the_generator(self) -> None:
        def drawn(seed: int) -> Tensor:
            return item_noise(item_generators(Request(frames=4, count=2), torch.Generator().manual_seed(seed)), 8)

        assert torch.equal(drawn(1), drawn(1))
        assert not torch.equal(drawn(1), drawn(2))
        state = torch.random.get_rng_state()
        drawn(1)
        assert torch.equal(state, torch.random.get_rng_state())

    def test_without_either_the_global_generator_is_used(self) -> None:
        torch.manual_seed(5)
        one = item_noise(item_generators(Request(frames=4)), 8)
        torch.manual_seed(5)
        assert torch.equal(one, item_noise(item_generators(Request(frames=4)), 8))

    def test_it_is_standard_normal(self) -> None:
        noise = item_noise(item_generators(Request(frames=4, seeds=(1,))), 100_000)
        assert float(noise.mean()) == pytest.approx(0, abs=0.02)
        assert float(noise.std()) == pytest.approx(1, abs=0.02)


class TestLabels:
    def test_indices_are_places_in_the_models_order(self) -> None:
        assert label_indices(("rock", "blues", "rock"), KNOWN, 3).tolist() == [2, 0, 2]  # type: ignore[union-attr]
        assert label_indices(None, (), 3) is None

    @pytest.mark.parametrize(
        ("labels", "known", "count", "message"),
        [
            (("rok",), KNOWN, 1, "no label 'rok'; did you mean 'rock'"),
            (("rock",), (), 1, "trained without labels, so 'rock' cannot be asked for"),
            (None, KNOWN, 1, "needs a label for each item"),
            (("rock",), KNOWN, 2, "1 labels for 2 items"),
        ],
    )
    def test_others_are_refused(
        self, labels: tuple[str, ...] | None, known: tuple[str, ...], count: int, message: str
    ) -> None:
        with pytest.raises(ConfigError, match=message):
            label_indices(labels, known, count)


ASKED: dict[Ability, Request] = {
    "continue": Request(frames=4, prompt=torch.zeros(1, 12, 2)),
    "blend": Request(frames=4, blend=Blend(share=(0.5,), seeds=(1,))),
    "text": Request(frames=4, texts=("hello",)),
    "conditions": Request(frames=4, conditions=torch.zeros(1, 1, 4)),
    "temperature": Request(frames=4, temperature=0.5),
}


class TestAbilities:
    @pytest.mark.parametrize("ability", ASKED)
    def test_each_is_needed_for_what_it_serves_and_for_nothing_else(self, ability: Ability) -> None:
        require_able(Model(ability), ASKED[ability])
        with pytest.raises(ConfigError, match=r"^Model cannot .*; it can serve: "):
            require_able(Model(*(set(ASKED) - {ability})), ASKED[ability])

    def test_a_plain_request_needs_none(self) -> None:
        require_able(Model(), Request(frames=4, count=2, labels=("a", "b"), seeds=(1, 2)))

    def test_what_it_can_is_said(self) -> None:
        with pytest.raises(ConfigError) as caught:
            require_able(Model("text", "blend"), ASKED["continue"])
        assert str(caught.value) == "Model cannot continue a clip; it can serve: blend, text"
        with pytest.raises(ConfigError, match="nothing beside labels and a length"):
            require_able(Model(), ASKED["blend"])

    def test_a_model_that_follows_nothing_says_so(self) -> None:
        with pytest.raises(ConfigError, match="Model cannot follow the course of a clip; it can serve: blend"):
            Model("blend").conditions_of(torch.zeros(1, 12, 4))


def test_pieces_of_a_request_put_together_are_the_request() -> None:
    whole = Request(
        frames=4,
        count=3,
        labels=("a", "b", "c"),
        prompt=torch.arange(3.0)[:, None, None].expand(3, 12, 2),
        temperature=0.5,
        seeds=(1, 2, 3),
        blend=Blend(share=(0.0, 0.5, 1.0), labels=("x", "y", "z"), seeds=(7, 8, 9)),
        texts=("one", "two", "three"),
        conditions=torch.arange(3.0)[:, None, None].expand(3, 1, 4),
    )
    first, second = whole.piece(0, 2), whole.piece(2, 4)
    assert (first.count, second.count, second.frames, second.temperature) == (2, 1, 4, 0.5)
    assert (second.labels, second.seeds, second.texts) == (("c",), (3,), ("three",))
    assert second.blend == Blend(share=(1.0,), labels=("z",), seeds=(9,))
    for name in ("prompt", "conditions"):
        assert torch.equal(torch.cat([getattr(first, name), getattr(second, name)]), getattr(whole, name))
    bare = Request(frames=4, count=3).piece(1, 3)
    assert (bare.count, bare.labels, bare.seeds, bare.blend, bare.prompt) == (2, None, (), None, None)
