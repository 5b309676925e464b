"""Long sounds in windows: cut with an overlap, made one by one, and faded into each other, so that memory does not grow with them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from synthkit.interfaces import Progress, Vocoder


@dataclass(frozen=True)
class Windows:
    """How a sound is cut along its last axis: every window begins `step` after the one before."""

    length: int
    overlap: int
    """At most half of `length`."""

    @property
    def step(self) -> int:
        """From the beginning of one window to that of the next."""
        return self.length - self.overlap

    def count(self, size: int) -> int:
        """How many windows so many values take."""
        return 1 + max(0, -(-(size - self.length) // self.step))

    def cut(self, pieces: Iterable[Tensor]) -> Iterator[Tensor]:
        """Pieces `[..., n]` as they come to windows `[..., length]`; the last one is shorter, but longer than `overlap`.

        >>> [window.tolist() for window in Windows(4, 1).cut(torch.arange(9).split(5))]
        [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8]]
        """
        held: Tensor | None = None
        for piece in pieces:
            held = piece if held is None else torch.cat([held, piece], dim=-1)
            while held.shape[-1] > self.length:
                yield held[..., : self.length]
                held = held[..., self.step :]
        if held is not None:
            yield held


WINDOWS = Windows(length=2048, overlap=16)
"""Of frames, for a vocoder that hears a whole sound at once."""


def joined(windows: Iterable[Tensor], overlap: int, *, alike: bool) -> Iterator[Tensor]:
    """Windows `[..., n]`, each of which begins `overlap` values before the end of the one before, faded into each other.

    With `alike` the two shares add up to 1, for windows that are nearly the same where they overlap; else their squares do, so that
    sounds whose phases have nothing to do with each other stay as loud.

    >>> torch.cat(list(joined([torch.ones(4), torch.full((3,), 2.0)], 2, alike=True)))
    tensor([1.0000, 1.0000, 1.2500, 1.7500, 2.0000])
    """
    rising = (torch.arange(overlap) + 0.5) / max(1, overlap)
    shares = (1 - rising, rising) if alike else ((1 - rising).sqrt(), rising.sqrt())
    fading: Tensor | None = None
    for window in windows:
        if fading is not None:
            falls, rises = (share.to(window) for share in shares)
            mixed = falls * fading + rises * window[..., :overlap]
            window = torch.cat([mixed, window[..., overlap:]], dim=-1)
        certain = window.shape[-1] - overlap
        yield window[..., :certain]
        fading = window[..., certain:]
    if fading is not None:
        yield fading


class InWindows(Vocoder):
    """A vocoder that hears a whole sound before it makes one, given windows of it. A sound no longer than one is made as ever."""

    def __init__(self, vocoder: Vocoder, windows: Windows) -> None:
        """`windows` are of frames."""
        self._vocoder, self._windows = vocoder, windows
        self.spec = vocoder.spec

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """Those of the vocoder."""
        return self._vocoder.networks

    @property
    def latency_frames(self) -> int:
        """A window."""
        return self._windows.length

    def vocode(
        self, features: Tensor, *, random: torch.Generator | None = None, progress: Progress | None = None
    ) -> Tensor:
        """What comes of all windows of the features `[B, M, N]`, together."""
        return torch.cat(list(self.stream([features], random=random)), dim=-1)

    def stream(self, frames: Iterable[Tensor], *, random: torch.Generator | None = None) -> Iterator[Tensor]:
        """Samples `[B, t]` of a window as soon as the next one has begun."""
        made = (self._vocoder.vocode(window, random=random) for window in self._windows.cut(frames))
        overlap = self.spec.samples(self._windows.length) - self._windows.step * self.spec.hop_length
        return joined(made, overlap, alike=False)


def bounded(vocoder: Vocoder) -> Vocoder:
    """The vocoder itself where it has a latency, else in windows: the memory it needs does not grow with the sound."""
    return InWindows(vocoder, WINDOWS) if vocoder.latency_frames is None else vocoder
