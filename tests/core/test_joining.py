"""Sounds in windows: nothing is lost or doubled, what is alike stays as it is, and no window is longer than it may be."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from synthkit._stages.joining import InWindows, Windows, bounded, joined
from synthkit.interfaces import Progress, Vocoder
from synthkit.specs import FeatureSpec
from synthkit.testing import check_vocoder

SPEC = FeatureSpec(sample_rate=16000, n_fft=256, hop_length=64, n_mels=12)
WINDOWS = Windows(length=20, overlap=3)


class Whole(Vocoder):
    """Each frame's mean as the value of the samples around it; it remembers how many frames it was given."""

    def __init__(self, spec: FeatureSpec = SPEC) -> None:
        self.spec, self.given = spec, []

    def vocode(
        self, features: Tensor, *, random: torch.Generator | None = None, progress: Progress | None = None
    ) -> Tensor:
        self.given.append(features.shape[-1])
        at = torch.arange(self.spec.samples(features.shape[-1])) / self.spec.hop_length
        lower = at.floor().long().clamp(max=features.shape[-1] - 1)
        made: Tensor = torch.tanh((features.mean(1) - self.spec.silence) / 10)[:, lower]
        return made.float().detach()

    given: list[int]


@pytest.mark.parametrize("size", [1, 7, 8, 49, 50, 51, 93, 94, 400])
@pytest.mark.parametrize("overlap", [0, 7, 25])
def test_windows_put_together_again_are_the_whole(size: int, overlap: int) -> None:
    windows, whole = Windows(length=50, overlap=overlap), torch.randn(2, size, dtype=torch.float64)
    for pieces in (whole.split(13, dim=-1), [whole]):
        cut = list(windows.cut(pieces))
        assert len(cut) == windows.count(size)
        assert all(overlap < window.shape[-1] <= 50 for window in cut[1:])
        assert [window.shape[-1] for window in cut[:-1]] == [50] * (len(cut) - 1)
        torch.testing.assert_close(torch.cat(list(joined(cut, overlap, alike=True)), dim=-1), whole)


def test_noises_that_have_nothing_to_do_with_each_other_stay_as_loud() -> None:
    random = torch.Generator().manual_seed(1)
    cut = [torch.randn(5000, 50, generator=random) for _ in range(5)]
    together = torch.cat(list(joined(cut, 20, alike=False)), dim=-1)
    energy = together.square().mean(0)
    assert 0.9 < float(energy.min()) < float(energy.max()) < 1.1


@pytest.mark.parametrize("framing", ["same", "center", "valid"])
def test_a_vocoder_in_windows_is_a_vocoder(framing: str) -> None:
    spec = dataclasses.replace(SPEC, framing=framing)  # type: ignore[arg-type]
    vocoder = Whole(spec)
    check_vocoder(lambda: InWindows(vocoder, WINDOWS))
    assert max(vocoder.given) == WINDOWS.length


@pytest.mark.parametrize("framing", ["same", "center", "valid"])
def test_a_sound_no_longer_than_a_window_is_made_as_ever(framing: str) -> None:
    vocoder = Whole(dataclasses.replace(SPEC, framing=framing))  # type: ignore[arg-type]
    inside = InWindows(vocoder, WINDOWS)
    for frames in (1, WINDOWS.length - 1, WINDOWS.length):
        features = torch.randn(2, 12, frames)
        assert torch.equal(inside.vocode(features), vocoder.vocode(features))


@pytest.mark.parametrize("framing", ["same", "center"])
def test_everything_stays_where_it_is_in_time(framing: str) -> None:
    """Away from the fades the sound is that of the whole."""
    vocoder = Whole(dataclasses.replace(SPEC, framing=framing))  # type: ignore[arg-type]
    features = torch.randn(1, 12, 300)
    made, whole = InWindows(vocoder, WINDOWS).vocode(features), vocoder.vocode(features)
    assert made.shape == whole.shape
    for start in range(WINDOWS.overlap, 250, WINDOWS.step):
        inside = slice(start * 64, (start + WINDOWS.step - WINDOWS.overlap - 1) * 64)
        torch.testing.assert_close(made[:, inside], whole[:, inside])


def test_only_a_vocoder_without_latency_needs_windows() -> None:
    class Soon(Whole):
        @property
        def latency_frames(self) -> int:
            return 3

    assert isinstance(bounded(Whole()), InWindows)
    assert isinstance(bounded(Soon()), Soon)
