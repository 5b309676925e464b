"""What is read of a text: attention by logistic distributions that only moves forward, and where it ends."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from synthkit.errors import ConfigError
from synthkit.interfaces import Batch
from synthkit.specs import FeatureSpec
from synthkit.training.engine import seeded
from synthkit_melnet.config import MelNetConfig
from synthkit_melnet.model import MelNet
from synthkit_melnet.network import Given
from synthkit_melnet.text import Reading, TextReader, encoded

SPEC = FeatureSpec(sample_rate=8000, n_fft=256, hop_length=64, n_mels=6)
ALPHABET = "abcd "


def reader() -> TextReader:
    """One with random weights, for states of size 8."""
    with seeded(4):
        return TextReader(len(ALPHABET), 8, logistics=3)


def model() -> MelNet:
    """A small one of two tiers that reads."""
    with seeded(4):
        config = {"hidden": 8, "layers": (2, 1), "mixtures": 2, "text": {"alphabet": ALPHABET, "logistics": 3}}
        return MelNet(MelNetConfig.model_validate(config), SPEC)


def heard(place: float, beta: float, lengths: list[int], characters: int) -> Tensor:
    """How much of each character one logistic hears."""
    count = len(lengths)
    return TextReader.heard(
        torch.full((count, 1), place),
        torch.full((count, 1), beta),
        torch.ones(count, 1),
        torch.tensor(lengths),
        characters,
    )


class TestWindow:
    def test_a_narrow_logistic_hears_the_character_that_it_stands_at(self) -> None:
        # Characters count from 1. A widely copied form, w / (1 + sigmoid), is no distribution function and hears all of them.
        assert heard(3.0, 0.01, [5], 5)[0].tolist() == pytest.approx([0, 0, 1, 0, 0], abs=1e-6)
        assert heard(2.5, 0.01, [5], 5)[0].tolist() == pytest.approx([0, 0.5, 0.5, 0, 0], abs=1e-6)

    def test_it_is_the_share_of_a_logistic_distribution_between_the_edges(self) -> None:
        drawn = torch.distributions.Uniform(0, 1).sample((400_000,)).logit() * 0.7 + 2.2
        share = torch.stack([((drawn > u - 0.5) & (drawn < u + 0.5)).float().mean() for u in range(1, 6)])
        assert torch.allclose(heard(2.2, 0.7, [5], 5)[0], share, atol=5e-3)

    def test_what_is_beyond_an_items_end_is_not_heard(self) -> None:
        both = heard(3.0, 2.0, [2, 5], 5)
        assert both[0, 2:].tolist() == [0, 0, 0]
        assert torch.allclose(both[0, :2], heard(3.0, 2.0, [2], 2)[0])

    def test_all_is_heard_or_before_the_beginning_or_beyond_the_end(self) -> None:
        one = reader()
        text = encoded(["abcd"], ALPHABET)
        reading = dataclasses.replace(one.start(text), place=torch.tensor([[1.0, 2.0, 3.0]]))
        after = one.step(torch.zeros(1, 8), one.memory(text), text.lengths, reading)
        move, width, count = one.window(after.hidden).chunk(3, dim=-1)
        place, beta, alpha = reading.place + move.exp(), width.exp(), count.softmax(-1)
        assert torch.allclose(after.place, place)
        inside = TextReader.heard(place, beta, alpha, text.lengths, 4).sum(-1)
        before = (alpha * torch.sigmoid((0.5 - place) / beta)).sum(-1)
        assert torch.allclose(before + inside + after.ended, torch.ones(1), atol=1e-6)


class TestReading:
    def test_it_only_moves_forward_and_ends(self) -> None:
        one, text = reader(), encoded(["abca", "d"], ALPHABET)
        states = torch.randn(2, 60, 8, generator=torch.Generator().manual_seed(1))
        readings: list[Reading] = [one.start(text)]
        with torch.no_grad():
            for state in states.unbind(1):
                readings.append(one.step(state, one.memory(text), text.lengths, readings[-1]))
        places = torch.stack([reading.place for reading in readings])
        assert (places.diff(dim=0) > 0).all()
        ended = torch.stack([reading.ended for reading in readings])
        assert ((ended >= 0) & (ended <= 1)).all()
        assert (ended[0] == 0).all()
        assert (ended[-1] > 0.9).all()
        assert (ended[3, 1] > ended[3, 0]).all()  # the short text is over before the long one

    def test_step_by_step_is_the_whole(self) -> None:
        one, text = reader(), encoded(["ab", "cd a"], ALPHABET)
        states = torch.randn(2, 7, 8)
        reading, joined = one.start(text), []
        for state in states.unbind(1):
            reading = one.step(state, one.memory(text), text.lengths, reading)
            joined.append(state + reading.context)
        assert torch.allclose(one(states, text), torch.stack(joined, dim=1), atol=1e-6)

    def test_an_item_is_read_alike_alone_and_beside_a_longer_one(self) -> None:
        one, states = reader(), torch.randn(2, 5, 8)
        both = one(states, encoded(["ab", "cdcd cd"], ALPHABET))
        alone = one(states[:1], encoded(["ab"], ALPHABET))
        assert torch.allclose(both[:1], alone, atol=1e-6)

    def test_the_text_joins_the_middle_of_the_centralised_stack(self) -> None:
        tier = model().tiers[0]
        assert (tier.text_layer, len(tier.central_layers)) == (1, 2)
        own = torch.randn(1, 4, 3)
        said = [tier(own, given=Given(text=encoded([text], ALPHABET))).mean for text in ("ab", "cd")]
        assert ((said[0] - said[1]).abs().amax(-1) > 1e-7).all()

    def test_only_tier_1_reads(self) -> None:
        names = [{name.split(".")[0] for name, _ in tier.named_parameters()} for tier in model().tiers]
        assert ["text" in one for one in names] == [True, False]


class TestEncoding:
    def test_capitals_count_as_small_letters_where_they_are_unknown(self) -> None:
        text = encoded(["Ab", "d a"], ALPHABET)
        assert text.characters[0, :2].tolist() == [0, 1]
        assert text.lengths.tolist() == [2, 3]
        assert encoded(["Aa"], "aA").characters.tolist() == [[1, 0]]

    @pytest.mark.parametrize(
        ("texts", "said"),
        [(["ab", ""], "a text has no characters"), (["ab?"], r"the text 'ab\?' has '\?', which is not among")],
    )
    def test_what_cannot_be_read_is_said(self, texts: list[str], said: str) -> None:
        with pytest.raises(ConfigError, match=said):
            encoded(texts, ALPHABET)

    def test_a_batch_brings_its_texts(self) -> None:
        batch = Batch(audio=torch.zeros(2, 512), features=torch.zeros(2, 6, 8), texts=("ab", "c"))
        text = model().given(batch).text
        assert text is not None
        assert text.lengths.tolist() == [2, 1]

    def test_a_model_that_reads_needs_texts(self) -> None:
        with pytest.raises(ConfigError, match="the clips have no texts; set text to null"):
            model().given(Batch(audio=torch.zeros(1, 512), features=torch.zeros(1, 6, 8)))
        with seeded(1):
            plain = MelNet(MelNetConfig(preset="tiny"), SPEC, labels=("a", "b"))
        with pytest.raises(ConfigError, match="the clips have none; set by_label to false"):
            plain.given(Batch(audio=torch.zeros(1, 512), features=torch.zeros(1, 6, 8)))


def test_what_is_said_is_learned() -> None:
    """A curve that only the text tells: the error falls far below what is possible without it."""
    with seeded(0):
        one, out = TextReader(2, 16, logistics=2), torch.nn.Linear(16, 1)
    adam = torch.optim.Adam([*one.parameters(), *out.parameters()], 1e-2)
    random = torch.Generator().manual_seed(0)
    for _ in range(150):
        words = torch.randint(2, (16, 6), generator=random)
        text = encoded(["".join("ab"[letter] for letter in word) for word in words.tolist()], "ab")
        error = (out(one(torch.zeros(16, 6, 16), text))[..., 0] - words.float()).square().mean()
        adam.zero_grad()
        error.backward()
        adam.step()
    assert float(error) < 0.1  # 0.25 is chance
