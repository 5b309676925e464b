"""What a series of terms says of a training: synthetic series of each disease, and healthy ones that look like it."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
from collections.abc import Callable, Iterable

import pytest

from synthkit._run.health import ADVICE, Finding, Health, Limits

HINGE = {"critic": 6.0}
"""Three scales of the hinge game: an undecided critic's loss is 2 on each."""
Series = Callable[[int], dict[str, float]]


def findings(health: Health, series: Series, steps: Iterable[int]) -> list[Finding]:
    return [finding for step in steps for finding in health.see(step, series(step))]


def noisy(level: float, spread: float) -> Callable[[int], float]:
    return lambda step: level + spread * random.Random(step).uniform(-1, 1)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_found_at_once_with_its_term(value: float) -> None:
    (found,) = Health(Limits(), {}).see(1, {"mel_l1": 0.4, "generator": value, "critic": math.nan})
    assert (found.kind, found.step, found.term, found.fatal) == ("not-finite", 1, "generator", True)
    assert found.text == f"the term 'generator' is {value}"


@pytest.mark.parametrize("sign", [1, -1])
def test_a_jump_far_above_the_usual_size_is_an_explosion(sign: int) -> None:
    health = Health(Limits(explosion=50), {})
    assert findings(health, lambda step: {"loss": sign * noisy(2.0, 0.5)(step)}, range(1, 200)) == []
    assert health.see(200, {"loss": sign * 70.0}) == []
    (found,) = health.see(201, {"loss": sign * 140.0})
    assert (found.kind, found.step, found.fatal) == ("exploded", 201, True)
    assert "the term 'loss' is" in found.text
    assert "it usually was about 1.959" in found.text


def test_growth_by_a_tenth_per_step_is_found_long_before_it_overflows() -> None:
    found = findings(Health(Limits(), {}), lambda step: {"loss": 1.1**step}, range(1, 400))
    assert found[0].kind == "exploded"
    assert found[0].step < 200


@pytest.mark.parametrize(
    "series",
    [
        lambda step: 10.0 * 0.99**step + 0.01,
        lambda step: math.sin(step / 30) * 3,
        lambda step: 4.0 - step / 100,
        lambda step: 0.0 if step < 300 else 0.9,
        lambda step: 20.0 if step % 100 == 0 else 1.0,
    ],
    ids=["falls", "swings", "crosses zero", "starts late", "spikes"],
)
def test_a_healthy_term_is_no_explosion(series: Callable[[int], float]) -> None:
    assert findings(Health(Limits(), {}), lambda step: {"loss": series(step)}, range(1, 1000)) == []


def test_the_first_steps_are_no_explosion_because_nothing_is_usual_yet() -> None:
    assert findings(Health(Limits(), {}), lambda step: {"loss": 1e6 if step == 40 else 1.0}, range(1, 60)) == []


def test_a_critic_that_comes_back_from_nothing_has_not_exploded() -> None:
    health = Health(Limits(patience=10_000), HINGE)
    assert findings(health, lambda step: {"critic": 0.0 if step < 900 else 7.0}, range(1, 1000)) == []


def test_a_critic_that_wins_is_found_once_and_the_training_goes_on() -> None:
    health = Health(Limits(patience=100), HINGE)
    series: Series = lambda step: {"critic": max(0.0, 6.0 - step / 50), "generator": 3.0}  # noqa: E731
    (found,) = findings(health, series, range(1, 1500))
    assert (found.kind, found.term, found.fatal) == ("critic-won", "critic", False)
    assert 300 + 100 <= found.step < 300 + 200
    assert "its loss 'critic' has stayed below 0.02 of an undecided critic's for 100 steps" in found.text
    assert "learning rate" in ADVICE[found.kind]


def test_a_single_lucky_batch_does_not_save_a_critic_that_has_won() -> None:
    health = Health(Limits(patience=100), HINGE)
    series: Series = lambda step: {"critic": 1.0 if step % 97 == 0 else 0.01}  # noqa: E731
    assert [found.kind for found in findings(health, series, range(1, 600))] == ["critic-won"]


@pytest.mark.parametrize("level", [6.0, 5.95, 9.0], ids=["undecided", "almost", "worse than undecided"])
def test_a_critic_that_gives_up_is_found(level: float) -> None:
    health = Health(Limits(patience=100), HINGE)
    (found,) = findings(health, lambda step: {"critic": level}, range(1, 600))
    assert (found.kind, found.step, found.fatal) == ("critic-gave-up", 100, False)


def test_a_critic_that_learns_within_the_patience_has_not_given_up() -> None:
    health = Health(Limits(patience=100), HINGE)
    assert findings(health, lambda step: {"critic": 6.0 if step < 80 else 4.8}, range(1, 600)) == []


def test_a_balanced_game_is_healthy() -> None:
    assert findings(Health(Limits(patience=50), HINGE), lambda s: {"critic": noisy(4.5, 1.2)(s)}, range(1, 2000)) == []


def test_a_term_that_is_not_there_yet_is_not_judged() -> None:
    health = Health(Limits(patience=5), HINGE)
    assert findings(health, lambda step: {"mel_l1": 1.0}, range(1, 100)) == []


@pytest.mark.parametrize("cut", [1, 64, 199, 350, 410])
def test_one_that_was_stopped_and_resumed_finds_the_same(cut: int) -> None:
    def series(step: int) -> dict[str, float]:
        return {"critic": 6.0 * 0.98**step, "loss": noisy(1.0, 0.2)(step) if step < 480 else 300.0}

    def fresh() -> Health:
        return Health(Limits(patience=100), HINGE)

    straight = findings(fresh(), series, range(1, 481))
    assert [found.kind for found in straight] == ["critic-won", "exploded"]
    first, second = fresh(), fresh()
    before = findings(first, series, range(1, cut + 1))
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert before + findings(second, series, range(cut + 1, 481)) == straight


def test_what_was_said_is_not_said_again_after_a_rollback() -> None:
    health = Health(Limits(patience=10), HINGE)
    state = health.state_dict()
    assert len(findings(health, lambda step: {"critic": 0.0}, range(1, 50))) == 1
    health.load_state_dict(state)
    assert findings(health, lambda step: {"critic": 0.0}, range(1, 50)) == []


def test_it_needs_no_torch() -> None:
    code = "import sys, synthkit._run.health; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("game", ["hinge", "least-squares", "bce"])
def test_an_undecided_critic_can_do_no_better_than_its_game_says(game: str) -> None:
    import torch

    from synthkit.training.adversary import GAMES

    scores = torch.linspace(-3, 3, 601)
    losses = torch.stack([GAMES[game].critic(score[None], score[None]) for score in scores])
    assert math.isclose(float(losses.min()), GAMES[game].undecided, rel_tol=1e-4)
