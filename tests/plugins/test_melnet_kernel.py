"""MelNet frame by frame: in torch and by the kernel, what the network itself says of a whole spectrogram."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from synthkit.training.engine import seeded
from synthkit_melnet import compiled
from synthkit_melnet.compiled import KernelFrames
from synthkit_melnet.mixture import Mixture
from synthkit_melnet.network import Given, Tier
from synthkit_melnet.packing import packed
from synthkit_melnet.state import Frames, GraphFrames, TorchFrames
from synthkit_melnet.text import TextReader, encoded

Way = Callable[..., Frames]
FRAMES = 5
SHAPES: dict[str, dict[str, Any]] = {
    "paper": {},
    "gru": {"cell": "gru"},
    "odd sizes": {"hidden": 70, "mixtures": 23, "n_mels": 7},
    "one layer, no centralised stack": {"layers": 1, "centralised": False, "hidden": 10, "cell": "gru"},
    "along frequency": {"tier": 2, "count": 2, "n_mels": 9},
    "along time": {"tier": 3, "count": 3, "n_mels": 9},
    "by label": {"labels": 3},
    "by curve": {"conditions": 2},
    "by label, along time": {"tier": 3, "count": 3, "labels": 3},
    "reading": {"text": True, "layers": 3},
}


class Case:
    """A tier, elements of it for three items, and all that they are conditioned on."""

    def __init__(self, tier: int = 1, count: int = 1, text: bool = False, items: int = 3, **sizes: Any) -> None:
        sizes = {"n_mels": 6, "hidden": 24, "layers": 2, "mixtures": 4, "least_std": 0.01, **sizes}
        with seeded(5):
            reader = TextReader(5, sizes["hidden"], 4) if text else None
            self.tier = Tier(tier, count, text=reader, **sizes)
            for name, parameter in self.tier.named_parameters():  # far from where they begin, where gates hardly move
                parameter.data.mul_(1.5 if "head" not in name else 1.0)
            deviations = slice(sizes["mixtures"], 2 * sizes["mixtures"])
            self.tier.head.bias.data[deviations] -= 2  # or what is drawn may grow from frame to frame without end
            frames = FRAMES * (2 if tier == 3 else 1)
            self.below, self.own = self.tier.scaled(torch.randn(items, frames, sizes["n_mels"]))
            self.text = encoded(["abcd", "ab", "cdd"][:items], "abcde") if text else None
            conditions = torch.randn(items, sizes.get("conditions", 0), frames)
        self.items, bands = items, self.own.shape[2]
        labels = torch.arange(items) % 3 if "labels" in sizes else None
        self.given = Given(labels=labels, conditions=conditions, text=self.text)
        with torch.no_grad():
            self.time_more, self.frequency_more = self.tier.conditioning(FRAMES, self.below, self.given)
            self.whole: Mixture = self.tier(self.own, self.below, self.given)
        numbers = torch.Generator().manual_seed(9)
        self.uniform = torch.rand(FRAMES, items, bands, generator=numbers)
        self.normal = torch.randn(FRAMES, items, bands, generator=numbers)

    def at(self, more: Tensor, frame: int) -> Tensor:
        return more[:, frame if more.shape[1] > 1 else 0]

    def followed(self, way: Way) -> list[Mixture]:
        """The mixtures of each frame of `own`."""
        walk, previous, said = way(self.tier, self.items, self.text), torch.zeros_like(self.own[:, 0]), []
        for frame in range(FRAMES):
            walk.advance(previous, self.at(self.time_more, frame))
            said.append(walk.follow(self.at(self.frequency_more, frame), self.own[:, frame]))
            previous = self.own[:, frame]
        return said

    def drawn(self, way: Way, bias: float = 0.0) -> Tensor:
        """`[B, N, M]` with the case's noise."""
        walk, frames = way(self.tier, self.items, self.text, bias), [torch.zeros_like(self.own[:, 0])]
        for frame in range(FRAMES):
            walk.advance(frames[-1], self.at(self.time_more, frame))
            frames.append(walk.draw(self.at(self.frequency_more, frame), self.uniform[frame], self.normal[frame]))
        return torch.stack(frames[1:], dim=1)

    def recomputed(self, bias: float = 0.0) -> Tensor:
        """The same, with the whole network run anew for each element."""
        own = torch.zeros_like(self.own)
        with torch.no_grad():
            for frame in range(FRAMES):
                for band in range(own.shape[2]):
                    mixture = self.tier(own, self.below, self.given)[:, frame, band].biased(bias)
                    own[:, frame, band] = mixture.sample(self.uniform[frame, :, band], self.normal[frame, :, band])
        return own


def apart(one: Mixture, other: Mixture) -> float:
    return max(float((getattr(one, name) - getattr(other, name)).abs().max()) for name in ("mean", "log_std", "logits"))


@pytest.mark.parametrize("way", [TorchFrames, KernelFrames])
@pytest.mark.parametrize("name", SHAPES)
def test_followed_frame_by_frame_the_mixtures_are_those_of_the_whole(name: str, way: Way) -> None:
    case = Case(**SHAPES[name])
    for frame, mixture in enumerate(case.followed(way)):
        assert apart(mixture, case.whole[:, frame]) < 1e-5


@pytest.mark.parametrize("way", [TorchFrames, KernelFrames])
@pytest.mark.parametrize("name", ["paper", "gru", "along frequency", "along time", "reading"])
def test_drawn_with_the_same_noise_the_elements_are_those_of_the_network_run_anew_for_each(name: str, way: Way) -> None:
    case = Case(**SHAPES[name])
    assert (case.drawn(way) - case.recomputed()).abs().max() < 1e-5


@pytest.mark.parametrize("bias", [-0.5, 0.7, 30.0])
def test_both_ways_draw_under_a_bias_as_the_mixture_does(bias: float) -> None:
    case = Case()
    wanted = case.recomputed(bias)
    for way in (TorchFrames, KernelFrames):
        assert (case.drawn(way, bias) - wanted).abs().max() < 1e-5


@pytest.mark.parametrize("name", ["paper", "gru", "reading"])
def test_an_item_of_the_kernel_has_the_same_bits_alone_and_in_company(name: str) -> None:
    three, alone = Case(**SHAPES[name]), Case(**SHAPES[name], items=1)
    alone.uniform, alone.normal = three.uniform[:, :1], three.normal[:, :1]
    assert torch.equal(three.drawn(KernelFrames)[:1], alone.drawn(KernelFrames))


def test_threads_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(items=9)
    one = case.drawn(KernelFrames)
    monkeypatch.setattr(compiled, "_WORTH_THREADS", 0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert torch.equal(case.drawn(KernelFrames), one)


def test_the_time_states_go_on_and_are_not_counted_twice() -> None:
    case = Case()
    walk = KernelFrames(case.tier, case.items)
    with torch.no_grad():
        still = case.tier(torch.zeros_like(case.own), case.below, case.given)
    for frame in range(FRAMES):
        walk.advance(torch.zeros_like(case.own[:, 0]), case.at(case.time_more, frame))
        for _ in range(2):  # asking twice of one frame changes nothing
            mixture = walk.follow(case.at(case.frequency_more, frame), torch.zeros_like(case.own[:, 0]))
            assert apart(mixture, still[:, frame]) < 1e-5


def test_the_kernel_takes_the_weights_of_the_moment_and_leaves_them_alone() -> None:
    case = Case()
    before = {name: value.clone() for name, value in case.tier.state_dict().items()}
    case.drawn(KernelFrames)
    assert all(torch.equal(value, before[name]) for name, value in case.tier.state_dict().items())
    case.tier.head.bias.data[:4] += 1
    with torch.no_grad():
        case.whole = case.tier(case.own, case.below, case.given)
    assert apart(case.followed(KernelFrames)[0], case.whole[:, 0]) < 1e-5


def test_the_packed_weights_are_hardly_more_than_the_network() -> None:
    tier = Tier(1, 1, n_mels=32, hidden=128, layers=2, mixtures=10)
    numbers = sum(parameter.numel() for parameter in tier.parameters())
    assert packed(tier).weights.size < 1.05 * numbers


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", ["paper", "gru", "along time", "by label"])
def test_on_a_gpu_the_recorded_frames_are_those_of_the_plain_way(name: str) -> None:
    case = Case(**SHAPES[name])
    wanted = case.drawn(TorchFrames)
    case.tier.cuda()
    for field in ("own", "uniform", "normal", "time_more", "frequency_more"):
        setattr(case, field, getattr(case, field).cuda())
    assert (case.drawn(GraphFrames).cpu() - wanted).abs().max() < 1e-3
