"""The running mean of weights: its formula, what it leaves alone, and how it takes the networks' place."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from synthkit.training.average import Average
from synthkit.training.engine import seeded


class Counting(nn.Module):
    """A parameter, a buffer that is averaged, one that counts, and one that no checkpoint holds."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))
        self.register_buffer("level", torch.zeros(2))
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))
        self.register_buffer("window", torch.ones(4), persistent=False)

    def set(self, value: float) -> None:
        with torch.no_grad():
            self.weight.fill_(value)
            self.level.fill_(10 * value)
            self.steps += 1


def values(network: Counting) -> tuple[float, float, int]:
    return network.weight[0].item(), network.level[0].item(), int(network.steps)


def test_it_is_the_exponential_mean_with_a_rising_decay() -> None:
    network = Counting()
    average = Average({"it": network}, decay=0.5)
    expected = 0.0
    for update, value in enumerate([1.0, -2.0, 4.0, 8.0, 3.0, 5.0, 7.0, 1.0, 0.0, 2.0, 6.0]):
        network.set(value)
        average.update()
        decay = min(0.5, (1 + update) / (10 + update))
        expected = decay * expected + (1 - decay) * value
        assert average.networks["it"]["weight"].tolist() == pytest.approx([expected] * 3, rel=1e-5)
        assert average.networks["it"]["level"].tolist() == pytest.approx([10 * expected] * 2, rel=1e-5)
    assert average.updates == 11
    assert average.networks["it"]["steps"] == 11
    assert set(average.networks["it"]) == {"weight", "level", "steps"}


def test_of_weights_that_stay_it_is_these_weights() -> None:
    network = Counting()
    network.set(0.7)
    average = Average({"it": network}, decay=0.999)
    for _ in range(20):
        average.update()
    assert torch.allclose(average.networks["it"]["weight"], network.weight)


def test_updating_changes_no_weight() -> None:
    with seeded(1):
        network = nn.Linear(3, 3)
    average = Average({"it": network}, decay=0.9)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with torch.no_grad():
        network.weight += 1
    average.update()
    assert torch.equal(network.weight, before["weight"] + 1)
    assert network.weight.requires_grad
    assert not average.networks["it"]["weight"].requires_grad


def test_applied_it_takes_the_place_of_the_weights_and_gives_it_back() -> None:
    one, other = Counting(), Counting()
    average = Average({"one": one, "other": other}, decay=0.5)
    for network, value in ((one, 10.0), (other, 20.0)):
        network.set(value)
    average.update()
    places = [parameter.data_ptr() for parameter in (one.weight, other.weight)]
    with average.applied():
        assert values(one) == pytest.approx((9.0, 90.0, 1))
        assert values(other) == pytest.approx((18.0, 180.0, 1))
    with pytest.raises(KeyError), average.applied():
        raise KeyError
    assert values(one) == (10.0, 100.0, 1)
    assert values(other) == (20.0, 200.0, 1)
    assert [parameter.data_ptr() for parameter in (one.weight, other.weight)] == places
    assert average.networks["one"]["weight"][0].item() == pytest.approx(9.0)


def test_learning_goes_on_after_it_was_applied() -> None:
    network = Counting()
    optimiser = torch.optim.SGD([network.weight], lr=1.0)
    average = Average({"it": network}, decay=0.5)
    network.set(4.0)
    average.update()
    with average.applied():
        assert network.weight[0].item() == pytest.approx(3.6)
    network.weight.sum().backward()
    optimiser.step()
    assert network.weight[0].item() == 3.0
    average.update()
    assert average.networks["it"]["weight"][0].item() == pytest.approx(2 / 11 * 3.6 + 9 / 11 * 3.0)


def test_a_weight_of_two_names_has_one_mean() -> None:
    shared = nn.Linear(2, 2, bias=False)
    network = nn.ModuleDict({"a": shared, "b": shared})
    average = Average({"it": network}, decay=0.5)
    before = shared.weight.detach().clone()
    with torch.no_grad():
        shared.weight += 10
    average.update()
    with average.applied():
        assert torch.allclose(shared.weight, before + 9)
    assert torch.allclose(shared.weight, before + 10)
    for mean in average.networks["it"].values():
        assert torch.allclose(mean, before + 9)
