"""MelNet's sampler: against recomputing, over lengths, by the kernel and in torch, in batches, and against the memory's speed.

make benchmark ONLY=melnet

One thread, in processor time: what else the machine does then counts for little. Candidates take turns and the fastest round of
each counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping

import pytest
import torch
from torch import Tensor

from synthkit.training.engine import seeded
from synthkit_melnet.compiled import KernelFrames
from synthkit_melnet.network import Given, Tier
from synthkit_melnet.sampler import sampled
from synthkit_melnet.state import Frames, TorchFrames

Make = Callable[..., Frames]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def network(hidden: int, layers: int, bands: int) -> Tier:
    with seeded(1):
        return Tier(1, 1, n_mels=bands, hidden=hidden, layers=layers, mixtures=10)


class Frame:
    """One more frame of a batch: the time-delayed and the centralised stack, then the elements."""

    def __init__(self, make: Make, tier: Tier, items: int = 1) -> None:
        self._walk = make(tier, items)
        self._more = torch.zeros(items, 1, tier.head.in_features)
        self._uniform, self._normal = torch.rand(items, tier.bands), torch.randn(items, tier.bands)
        self._last = torch.zeros(items, tier.bands)
        self.elements = items * tier.bands

    def __call__(self) -> None:
        self.advance()
        self.draw()

    def advance(self) -> None:
        self._walk.advance(self._last, self._more)

    def draw(self) -> Tensor:
        self._last = self._walk.draw(self._more, self._uniform, self._normal)
        return self._last


def take_turns(candidates: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """The fastest round of each, in seconds of processor time; the first warms up."""
    taken: dict[str, list[float]] = {name: [] for name in candidates}
    for number in range(rounds + 1):
        for name, work in candidates.items():
            began = time.process_time()
            work()
            if number:
                taken[name].append(time.process_time() - began)
    return {name: min(times) for name, times in taken.items()}


def per_element(frames: Mapping[str, Frame], rounds: int) -> dict[str, float]:
    """Microseconds for an element of each."""
    return {name: 1e6 * seconds / frames[name].elements for name, seconds in take_turns(frames, rounds).items()}


def test_against_recomputing_the_network_for_every_element() -> None:
    """Hidden 256, 4 layers, 40 bands, 16 frames: the network over all frames so far, once for each element.

    The passes for the bands of one frame take the same time, so one of each frame is timed and counted 40 times.
    """
    bands, frames = 40, 16
    tier = network(256, 4, bands)

    def recompute() -> None:
        with torch.no_grad():
            for frame in range(frames):
                tier(torch.zeros(1, frame + 1, bands))

    ways: dict[str, Callable[[], object]] = {"a pass for each frame": recompute}
    for name, make in (("incremental, kernel", KernelFrames), ("incremental, torch", TorchFrames)):
        walk = Frame(make, tier)

        def whole(walk: Frame = walk) -> None:
            for _ in range(frames):
                walk()

        ways[name] = whole
    times = take_turns(ways, rounds=3)
    anew = bands * times.pop("a pass for each frame")
    print(f"\n{bands} bands, {frames} frames, hidden 256, 4 layers: recomputed {anew:.1f} s")
    for name, seconds in times.items():
        print(f"  {name}: {seconds:.3f} s, {anew / seconds:.0f} times as fast")
    assert anew / times["incremental, kernel"] >= 150


def test_an_element_of_a_long_clip_takes_no_longer() -> None:
    tier = network(64, 4, 40)

    def clip(frames: int) -> Callable[[], object]:
        return lambda: sampled([tier], frames, [torch.Generator().manual_seed(1)], Given())

    times = take_turns({str(frames): clip(frames) for frames in (16, 64, 512)}, rounds=5)
    each = {frames: 1e6 * seconds / int(frames) / 40 for frames, seconds in times.items()}
    print(
        "\nus per element, hidden 64, 4 layers, 40 bands:", ", ".join(f"{n} frames {us:.1f}" for n, us in each.items())
    )
    assert each["512"] <= 1.2 * each["16"]


@pytest.mark.parametrize("hidden", [64, 256])
def test_the_kernel_beside_torch_one_item_beside_eight(hidden: int) -> None:
    """4 layers, 64 bands, and what the processor can do: products of large matrices.

    Eight items gain the kernel less than torch, because one item costs it so little: three quarters of the products are those of all
    bands at once, which are as fast as the processor multiplies whatever the batch. So eight are held against that speed.
    """
    tier = network(hidden, 4, 64)
    makes: dict[str, Make] = {"kernel": KernelFrames, "torch": TorchFrames}
    frames = {f"{name}, {items}": Frame(make, tier, items) for name, make in makes.items() for items in (1, 8)}
    square = torch.randn(1024, 1024)
    ways: dict[str, Callable[[], object]] = {**frames, "product": lambda: square @ square}
    times = take_turns(ways, rounds=12)
    multiplied = 2 * 1024**3 / times.pop("product")
    us = {name: 1e6 * seconds / frames[name].elements for name, seconds in times.items()}
    reached = 2 * 36 * hidden**2 * 4 / (1e-6 * us["kernel, 8"])  # 27 H^2 in the time-delayed stack, 9 H^2 in the other
    print(f"\nhidden {hidden}, 4 layers, 64 bands, us per element")
    for name in makes:
        one, eight = us[f"{name}, 1"], us[f"{name}, 8"]
        print(f"  {name}: one item {one:.1f}, eight {eight:.1f}: {one / eight:.2f} times the elements per second")
    print(f"  kernel against torch: {us['torch, 1'] / us['kernel, 1']:.2f} times, eight items ", end="")
    print(f"{us['torch, 8'] / us['kernel, 8']:.2f} times as fast")
    print(f"  eight items by the kernel: {reached / 1e9:.0f} GFLOP/s, large matrices: {multiplied / 1e9:.0f} GFLOP/s")
    print(f"  eight items by the kernel beside one by torch: {us['torch, 1'] / us['kernel, 8']:.1f} times the elements")
    assert us["torch, 1"] / us["kernel, 1"] >= 2.5
    assert us["torch, 1"] / us["kernel, 8"] >= 4
    assert reached >= 0.9 * multiplied or hidden < 256  # gates and sums of a small network are more than its products


def test_eight_items_of_the_papers_first_tier() -> None:
    """Blizzard's: hidden 512, 12 layers, 32 bands; its weights do not fit into any cache."""
    tier = network(512, 12, 32)
    us = per_element({str(items): Frame(KernelFrames, tier, items) for items in (1, 8)}, rounds=2)
    print(
        f"\ntier 1 of the paper's Blizzard model, kernel: one item {us['1']:.0f} us per element, eight {us['8']:.0f}",
        end="",
    )
    print(f": {us['1'] / us['8']:.2f} times the elements per second")


def test_the_share_of_the_floor_that_reading_the_weights_sets() -> None:
    """An element of one item cannot be drawn faster than the frequency-delayed stack's weights are read, 9 H^2 for each layer."""
    hidden, layers, bands = 256, 4, 64
    frame = Frame(KernelFrames, network(hidden, layers, bands))
    frame.advance()
    weights = torch.ones(9 * hidden**2 * layers)

    def read() -> None:
        for _ in range(bands):
            weights.sum()

    times = take_turns({"drawn": frame.draw, "read": read}, rounds=9)
    speed = 4 * bands * weights.numel() / times["read"] / 1e9
    print(f"\nhidden {hidden}, {layers} layers: an element is drawn in {1e6 * times['drawn'] / bands:.0f} us; ", end="")
    print(f"its {4e-6 * weights.numel():.1f} MB of weights are read in {1e6 * times['read'] / bands:.0f} us ", end="")
    print(f"({speed:.0f} GB/s): {times['read'] / times['drawn']:.0%} of the floor's speed")
