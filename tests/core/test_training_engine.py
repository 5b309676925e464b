"""The engine: precision, pieces, clipping, rates and its own state, tried on networks small enough to compute by hand."""

from __future__ import annotations

import io
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from synthkit.errors import ConfigError
from synthkit.interfaces import Batch
from synthkit.training.engine import Engine, Numerics, frozen, gradients
from synthkit.training.schedules import Schedule

HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def engine(**numerics: Any) -> Engine:
    return Engine("cpu", Numerics(**numerics))


def line(weight: float = 1.0) -> nn.Linear:
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, weight)
    return network


def batch(items: int = 5, seed: int = 1) -> Batch:
    random = torch.Generator().manual_seed(seed)
    return Batch(audio=torch.rand(items, 8, generator=random), features=torch.rand(items, 2, 4, generator=random))


def step(one: Engine, optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    one.backward(loss, optimiser)
    one.update(optimiser)


# Precision


@pytest.mark.parametrize("precision", HALVES)
def test_the_forward_of_learn_is_cast_and_the_rest_is_float32(precision: Any) -> None:
    one = engine(precision=precision)
    network = one.prepare(nn.Linear(8, 3))
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    seen: list[torch.dtype] = []

    def loss(piece: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        made = network(piece.audio)
        made.register_hook(lambda gradient: seen.append(torch.is_autocast_enabled("cpu")))
        seen.append(made.dtype)
        return made.square().mean(), {"square": made.square().mean()}

    terms = one.learn(optimiser, one.pieces(batch()), loss)
    assert seen == [HALVES[precision], False]
    assert terms["square"].dtype == network.weight.dtype == network.weight.grad.dtype == torch.float32


@pytest.mark.parametrize("precision", HALVES)
def test_weights_cast_before_an_update_are_not_used_after_it(precision: Any) -> None:
    """An objective whose whole step the loop wraps in autocast judges with the critic before and after its update."""
    one = engine(precision=precision)
    network = one.prepare(line())
    optimiser = torch.optim.SGD(network.parameters(), lr=2.0)
    with one.autocast():
        before = network(torch.ones(1, 1))
        step(one, optimiser, 0.25 * before.float().sum())
        after = network(torch.ones(1, 1))
    assert (before.item(), after.item()) == (1.0, 0.5)
    assert after.dtype == HALVES[precision]


def test_fp16_scales_the_loss_and_takes_the_scale_out_again() -> None:
    """A gradient of 1e-7 is nothing in fp16; scaled it passes through the network and comes out right."""
    gradients_of = {}
    for precision in ("fp32", "fp16"):
        one = engine(precision=precision)
        network = one.prepare(nn.Sequential(line(), line()))
        optimiser = torch.optim.SGD(network.parameters(), lr=1.0)
        with one.autocast():
            made = network(torch.ones(4, 1))
        step(one, optimiser, 1e-7 * made.float().mean())
        gradients_of[precision] = [float(gradient) for gradient in gradients(optimiser)]
    assert gradients_of["fp32"] == pytest.approx([1e-7, 1e-7])
    assert gradients_of["fp16"] == pytest.approx(gradients_of["fp32"], rel=2e-3)


@pytest.mark.parametrize("fused", [False, True])
def test_a_step_that_fp16_skips_is_no_update(fused: bool) -> None:
    one = engine(precision="fp16", schedule=Schedule(warmup=4), clip_norm=1.0)
    networks = {"good": one.prepare(line()), "bad": one.prepare(line())}
    optimisers = {
        name: torch.optim.Adam(network.parameters(), lr=0.1, fused=fused) for name, network in networks.items()
    }
    for infinite in (False, True, False):
        for name, optimiser in optimisers.items():
            before = networks[name].weight.clone()
            step(one, optimiser, (math.inf if infinite and name == "bad" else 1.0) * networks[name].weight.sum())
            assert torch.equal(before, networks[name].weight) == (infinite and name == "bad")
            assert one.norms(optimisers)[name] == 1
    state = one.state_dict(optimisers)
    assert state["updates"] == {"good": 3, "bad": 2}
    assert state["scalers"]["bad"]["scale"] == state["scalers"]["good"]["scale"] / 2
    assert one.rates(optimisers) == pytest.approx({"good": 0.1 * 3 / 4, "bad": 0.1 * 2 / 4})


def test_fp32_has_no_scale_and_skips_nothing() -> None:
    one = engine()
    network = one.prepare(line())
    optimiser = torch.optim.SGD(network.parameters(), lr=1.0)
    step(one, optimiser, math.inf * network.weight.sum())
    assert not network.weight.isfinite().any()
    assert one.state_dict({"it": optimiser}) == {"slow_down": 1.0, "updates": {"it": 1}, "scalers": {}}


def test_a_device_without_the_precision_is_refused_in_one_sentence() -> None:
    Engine("meta")
    with pytest.raises(
        ConfigError, match=r"the device meta cannot compute in bf16 \(.*\); set precision to fp32"
    ) as refused:
        Engine("meta", Numerics(precision="bf16"))
    assert "\n" not in str(refused.value)


# Pieces


@pytest.mark.parametrize("count", [1, 2, 3, 5, 9])
def test_pieces_have_every_item_once_and_in_order(count: int) -> None:
    whole = batch(5)
    pieces = engine(accumulate=count).pieces(whole)
    assert len(pieces) == min(count, 5)
    assert torch.equal(torch.cat([piece.audio for piece in pieces]), whole.audio)
    assert [row for piece in pieces for row in piece.rows or range(5)] == list(range(5))
    assert max(map(len, pieces)) - min(map(len, pieces)) <= 1


@pytest.mark.parametrize("count", [2, 3, 5])
def test_learning_in_pieces_is_learning_from_the_whole(count: int) -> None:
    results = []
    for accumulate in (1, count):
        one = engine(accumulate=accumulate)
        network = one.prepare(line())
        optimiser = torch.optim.SGD(network.parameters(), lr=1.0)

        def loss(piece: Batch, network: nn.Module = network) -> tuple[Tensor, dict[str, Tensor]]:
            error = (network(piece.audio.mean(1, keepdim=True)) - 1).square().mean()
            return error, {"error": error}

        told = one.learn(optimiser, one.pieces(batch()), loss)
        results.append((float(told["error"]), network.weight.item()))
        assert not told["error"].requires_grad
    assert results[0] == pytest.approx(results[1], rel=1e-6)


def test_an_objective_that_takes_the_batch_whole_cannot_accumulate() -> None:
    one = engine(accumulate=4)
    network = one.prepare(line())
    optimiser = torch.optim.SGD(network.parameters(), lr=1.0)
    with pytest.raises(ConfigError, match="it cannot do so in 4 pieces; set accumulate to 1"):
        one.backward(network.weight.sum(), optimiser)
    with pytest.raises(ConfigError, match=r"does not take it through engine\.pieces"):
        one.learn(optimiser, [batch()], lambda piece: (network.weight.sum(), {}))
    assert network.weight.grad is None
    one.learn(optimiser, one.pieces(batch(1)), lambda piece: (network.weight.sum(), {}))  # one item is one piece


# Norms and rates


def test_norms_are_measured_where_somebody_asks() -> None:
    one = engine()
    networks = {"a": one.prepare(line()), "b": one.prepare(line())}
    optimisers = {name: torch.optim.SGD(network.parameters(), lr=0.1) for name, network in networks.items()}
    step(one, optimisers["a"], 3 * networks["a"].weight.sum())
    assert one.norms(optimisers) == {}
    one.watch = True
    for name, scale in (("a", 3.0), ("b", 4.0)):
        step(one, optimisers[name], scale * networks[name].weight.sum())
    assert one.norms(optimisers) == {"a": 3.0, "b": 4.0}


@pytest.mark.parametrize(("norm", "expected"), [(2.5, 0.5), (10.0, 1.0)])
def test_gradients_are_scaled_down_to_the_norm_but_never_up(norm: float, expected: float) -> None:
    one = engine(clip_norm=norm)
    network = one.prepare(nn.Linear(2, 1, bias=False))
    optimiser = torch.optim.SGD(network.parameters(), lr=1.0)
    step(one, optimiser, (network.weight * torch.tensor([3.0, 4.0])).sum())
    assert one.norms({"it": optimiser})["it"] == 5
    assert network.weight.grad is not None
    assert network.weight.grad[0].tolist() == pytest.approx([3 * expected, 4 * expected], rel=1e-5)


def test_an_optimiser_keeps_its_own_rates_and_is_given_the_schedules() -> None:
    one = engine(schedule=Schedule(shape="step", every=1, factor=0.5))
    network = one.prepare(nn.ParameterList([torch.zeros(1), torch.zeros(1)]))
    slow, fast = network
    optimiser = torch.optim.SGD([{"params": [slow], "lr": 1.0}, {"params": [fast], "lr": 10.0}])
    optimisers = {"it": optimiser}
    assert one.rates(optimisers) == {"it": 1.0}
    places, rates = [], []
    for _ in range(3):
        step(one, optimiser, slow.sum() + fast.sum())
        places.append((slow.item(), fast.item()))
        rates.append(one.rates(optimisers)["it"])
    assert places == [(-1.0, -10.0), (-1.5, -15.0), (-1.75, -17.5)]
    assert rates == [1.0, 0.5, 0.25]
    assert [group["lr"] for group in optimiser.param_groups] == [1.0, 10.0]
    one.slow_down = 0.1
    step(one, optimiser, slow.sum())
    assert one.rates(optimisers)["it"] == pytest.approx(0.0125)


def test_each_optimiser_counts_its_own_updates() -> None:
    one = engine(schedule=Schedule(warmup=10))
    networks = {"often": one.prepare(line()), "seldom": one.prepare(line())}
    optimisers = {name: torch.optim.SGD(network.parameters(), lr=1.0) for name, network in networks.items()}
    for turn in range(6):
        for name, network in networks.items():
            if name == "often" or turn % 3 == 0:
                step(one, optimisers[name], network.weight.sum())
    assert one.rates(optimisers) == pytest.approx({"often": 0.6, "seldom": 0.2})


def test_an_update_that_raises_leaves_the_rates_as_they_were() -> None:
    class Failing(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:
            raise RuntimeError("no memory")

    one = engine(schedule=Schedule(warmup=10))
    network = one.prepare(line())
    optimiser = Failing(network.parameters(), lr=1.0)
    with pytest.raises(RuntimeError, match="no memory"):
        step(one, optimiser, network.weight.sum())
    assert optimiser.param_groups[0]["lr"] == 1.0
    assert one.state_dict({"it": optimiser})["updates"] == {"it": 0}


# State


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_training_goes_on_from_the_state_as_if_never_stopped(precision: Any) -> None:
    def begin() -> tuple[Engine, nn.Linear, torch.optim.Optimizer]:
        one = engine(precision=precision, schedule=Schedule(shape="cosine", steps=12, warmup=3), clip_norm=0.5)
        network = one.prepare(line(3.0))
        return one, network, torch.optim.Adam(network.parameters(), lr=0.3)

    def go(one: Engine, network: nn.Linear, optimiser: torch.optim.Optimizer, numbers: range) -> None:
        for number in numbers:
            scale = math.inf if number == 2 and precision == "fp16" else 1.0
            with one.autocast():
                made = network(torch.full((1, 1), 0.1 * number))
            step(one, optimiser, scale * made.float().square().sum())

    straight = begin()
    straight[0].slow_down = 0.5
    go(*straight, range(1, 9))
    stopped, resumed = begin(), begin()
    stopped[0].slow_down = 0.5
    go(*stopped, range(1, 5))
    file = io.BytesIO()
    torch.save([stopped[0].state_dict({"it": stopped[2]}), stopped[1].state_dict(), stopped[2].state_dict()], file)
    file.seek(0)
    engine_state, weights, moments = torch.load(file, weights_only=True)
    resumed[0].load_state_dict(engine_state, {"it": resumed[2]})
    resumed[1].load_state_dict(weights)
    resumed[2].load_state_dict(moments)
    go(*resumed, range(5, 9))
    assert torch.equal(straight[1].weight, resumed[1].weight)
    assert straight[0].state_dict({"it": straight[2]}) == resumed[0].state_dict({"it": resumed[2]})


# Noise


def test_noise_of_a_row_follows_from_step_name_and_place_in_the_whole_batch() -> None:
    one, whole = engine(accumulate=3), batch(7)
    one.begin(5)
    drawn = one.randn(whole, 2, 3)
    assert drawn.shape == (7, 2, 3)
    assert torch.equal(drawn, torch.cat([one.randn(piece, 2, 3) for piece in one.pieces(whole)]))
    assert len({float(row[0, 0]) for row in drawn}) == 7
    assert not torch.equal(drawn, one.randn(whole, 2, 3, name="other"))
    one.begin(6)
    assert not torch.equal(drawn, one.randn(whole, 2, 3))
    many = one.randn(batch(400), 50)
    assert float(many.mean()) == pytest.approx(0, abs=0.03)
    assert float(many.std()) == pytest.approx(1, abs=0.03)


# Frozen networks


def test_frozen_puts_back_what_it_found_also_after_an_error() -> None:
    network = nn.Linear(2, 2)
    network.bias.requires_grad_(False)
    with frozen(network):
        assert not any(parameter.requires_grad for parameter in network.parameters())
    with pytest.raises(KeyError), frozen(network):
        raise KeyError
    assert [parameter.requires_grad for parameter in network.parameters()] == [True, False]


# Compiling

COMPILE = """
import torch
from torch import nn
from synthkit.errors import ConfigError
from synthkit.training.engine import Engine, Numerics

network = nn.Sequential(nn.Linear(4, 4), nn.Tanh())
keys, x = list(network.state_dict()), torch.randn(3, 4)
expected = network(x)
try:
    prepared = Engine("cpu", Numerics(compile=True)).prepare(network)
except ConfigError as error:
    print("refused:", error)
else:
    assert prepared is network and list(network.state_dict()) == keys
    assert torch.allclose(network(x), expected, atol=1e-6)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 2, "the trifle and the network"
    print("compiled")
"""


def compiled(folder: Path, **environment: str) -> str:
    inherited = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "TORCHINDUCTOR_COMPILE_THREADS": "1",
        "TORCHINDUCTOR_CACHE_DIR": str(folder),
        **environment,
    }
    done = subprocess.run([sys.executable, "-c", COMPILE], capture_output=True, text=True, env=inherited, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.slow
def test_a_network_is_compiled_in_place(tmp_path: Path) -> None:
    assert compiled(tmp_path) == "compiled"


@pytest.mark.slow
def test_without_a_compiler_one_sentence_says_so(tmp_path: Path) -> None:
    said = compiled(tmp_path, CXX="/nowhere/g++")
    assert said.startswith("refused: this machine cannot compile networks for cpu (")
    assert said.endswith("install a C++ compiler (on a GPU: triton), or set compile to false")
    assert "\n" not in said
