"""Several processes learn what one learns from the whole batch: real processes, gloo on the CPU, shares that are not equal."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from synthkit._run.launch import Ending, launch

SCRIPT = Path(__file__).with_name("together.py")

Found = list[dict[str, Any]]
"""What each of some processes wrote down."""


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """One process: this one."""
    out = tmp_path_factory.mktemp("alone")
    runpy.run_path(str(SCRIPT))["main"](out)
    return read(out, 1)


def together(count: int, out: Path) -> Found:
    assert launch([sys.executable, str(SCRIPT), str(out)], count) == Ending(0)
    return read(out, count)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """Two processes with 8 items of 16 each."""
    return together(2, tmp_path_factory.mktemp("two"))


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """Three processes with 5, 5 and 6 items of 16."""
    return together(3, tmp_path_factory.mktemp("three"))


@pytest.fixture(params=["two", "three"])
def several(request: pytest.FixtureRequest) -> Found:
    """Two processes, or three."""
    found: Found = request.getfixturevalue(request.param)
    return found


def read(out: Path, count: int) -> Found:
    return [torch.load(out / f"{index}-of-{count}.pt", weights_only=True) for index in range(count)]


def check_equal(one: dict[str, Any], many: list[dict[str, Any]], *, apart: float) -> None:
    """The losses of each step and the weights at the end, to float tolerance; between processes to the last bit."""
    for each in many:
        assert each["terms"] == many[0]["terms"]
        assert all(torch.equal(value, many[0]["weights"][name]) for name, value in each["weights"].items())
    for step, (lone, shared) in enumerate(zip(one["terms"], many[0]["terms"], strict=True)):
        assert shared == pytest.approx(lone, rel=1e-4, abs=1e-5), f"step {step}"
    for name, value in one["weights"].items():
        assert distance(many[0]["weights"][name], value) < apart, name


def distance(value: Tensor, expected: Tensor) -> float:
    """Norm of the difference, relative to that of what is expected."""
    return float((value.double() - expected.double()).norm() / expected.double().norm().clamp(min=1e-12))


@pytest.mark.slow
def test_a_gan_learns_alike(alone: Found, several: Found) -> None:
    # Adam makes a step of full size of a gradient that is 0 but for rounding; few are, after steps of 1e-4.
    check_equal(alone[0]["melgan"], [each["melgan"] for each in several], apart=1e-3)


@pytest.mark.slow
def test_a_likelihood_is_learned_alike(alone: Found, several: Found) -> None:
    check_equal(alone[0]["likelihood"], [each["likelihood"] for each in several], apart=1e-5)


@pytest.mark.slow
def test_pieces_in_two_processes_are_the_whole_batch(alone: Found, two: Found) -> None:
    check_equal(alone[0]["melgan"], [each["melgan in pieces"] for each in two], apart=1e-3)


@pytest.mark.slow
def test_all_begin_as_the_first_process(several: Found) -> None:
    first, *others = [each["rooms"]["begun"] for each in several]
    assert "code" in first
    assert "norm.running_mean" in first
    for other in others:
        assert all(torch.equal(value, first[name]) for name, value in other.items())


@pytest.mark.slow
def test_gradients_that_are_missing_in_some_processes(alone: Found, several: Found) -> None:
    """What only one process has counts for all; what none has stays missing, so that nothing decays the weight."""
    one, first = alone[0]["rooms"], several[0]["rooms"]
    for name in ("all.weight", "all.bias", "last.weight", "last.bias"):
        assert distance(first["ended"][name], one["ended"][name]) < 1e-5, name
        assert not torch.equal(first["ended"][name], first["begun"][name])
    for each in several:
        assert each["rooms"]["none"] is None
        assert torch.equal(each["rooms"]["ended"]["none.weight"], first["begun"]["none.weight"])
        assert all(torch.equal(value, first["ended"][name]) for name, value in each["rooms"]["ended"].items())


@pytest.mark.slow
def test_statistics_of_batch_normalisation_are_the_mean_over_the_processes(alone: Found, several: Found) -> None:
    """Each mean is over a process's own items, so that their weighted mean is that of the whole batch; the variance is less."""
    one, first = alone[0]["rooms"]["ended"], several[0]["rooms"]["ended"]
    torch.testing.assert_close(first["norm.running_mean"], one["norm.running_mean"], rtol=1e-4, atol=1e-6)
    assert not torch.equal(one["norm.running_mean"], torch.zeros(4))


@pytest.mark.slow
def test_statistics_do_not_stand_in_the_way_of_a_generator_whose_turn_comes_after_the_critics(several: Found) -> None:
    for each in several:
        assert not torch.equal(each["turns"]["ended"], each["turns"]["begun"])
        assert torch.equal(each["turns"]["ended"], several[0]["turns"]["ended"])
        assert torch.equal(each["turns"]["statistics"], several[0]["turns"]["statistics"])


@pytest.mark.slow
def test_means_are_weighted_by_the_shares(alone: Found, several: Found) -> None:
    shares = {2: [8, 8], 3: [5, 5, 6]}[len(several)]
    for each in several:
        weighted = sum(share * share for share in shares) / 16
        assert each["rooms"]["rows"].tolist() == pytest.approx([weighted, 1.0])
        assert float(each["rooms"]["square"]) == pytest.approx(float(alone[0]["rooms"]["square"]), rel=1e-5)


@pytest.mark.slow
def test_what_is_decided_is_the_main_processs_and_what_any_wants_all_know(several: Found) -> None:
    for each in several:
        assert each["words"] == {"shared": [{"from": 0}, [None, "b"]], "any": [False, True, False]}
