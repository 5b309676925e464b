"""A clip of any length, piece by piece: cut with an overlap, converted, and faded into each other. Nothing of it grows with the clip.

Piece k begins at frame `k * (length - overlap)`. Where two pieces overlap, the share of the earlier one falls in a straight line as
that of the later one rises: what both leave as it is comes back as it was. The last frame goes on until the last piece is full.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional

Convert = Callable[[Tensor], Tensor]
AT_ONCE = 32
"""Pieces, of all items together, that are converted at once."""


class Pieces:
    """Frames in, converted frames out, as soon as no later frame can change them.

    >>> pieces = Pieces(lambda x: x, length=6, overlap=2)
    >>> frames = torch.arange(11.0).view(1, 1, 11)
    >>> [made.shape[-1] for made in (*pieces.give(frames[..., :7]), *pieces.give(frames[..., 7:]), *pieces.end())]
    [4, 4, 3]
    """

    def __init__(self, convert: Convert, *, length: int, overlap: int) -> None:
        """`convert` takes and gives `[B, M, length]`; `overlap` is at most half of `length`."""
        self._convert = convert
        self._length, self._step = length, length - overlap
        self._rising = (torch.arange(overlap) + 0.5) / max(1, overlap)
        self._held: Tensor | None = None
        """Frames from the beginning of the next piece on."""
        self._fading: Tensor | None = None
        """What the last piece made of the overlap."""

    def give(self, frames: Tensor) -> Iterator[Tensor]:
        """The next frames `[B, M, n]`; what is certain now."""
        held = frames if self._held is None else torch.cat([self._held, frames], dim=-1)
        whole = max(0, (held.shape[-1] - self._length) // self._step + 1)
        self._held = held[..., whole * self._step :]
        at_once = max(1, AT_ONCE // max(1, len(held)))
        for first in range(0, whole, at_once):
            count = min(at_once, whole - first)
            start = first * self._step
            yield self._assembled(held[..., start : start + (count - 1) * self._step + self._length])

    def end(self) -> Iterator[Tensor]:
        """There are no more frames; what is left."""
        held = self._held
        if held is None:
            return
        left, overlap = held.shape[-1], self._length - self._step
        if self._fading is None or left > overlap:
            whole = functional.pad(held, (0, self._length - left), mode="replicate")
            yield torch.cat([self._assembled(whole), *self._rest()], dim=-1)[..., :left]
        elif left:
            yield self._fading[..., :left]

    def _rest(self) -> list[Tensor]:
        return [] if self._fading is None else [self._fading]

    def _assembled(self, frames: Tensor) -> Tensor:
        """Frames of `n` pieces `[B, M, (n - 1) * step + length]` to `n * step` converted ones."""
        cut = frames.unfold(-1, self._length, self._step).movedim(2, 0)  # [n, B, M, length]
        made = self._convert(cut.flatten(0, 1).contiguous()).view(cut.shape)
        rising, out = self._rising.to(made), []
        for piece in made:
            head, overlap = piece[..., : self._step], self._length - self._step
            if self._fading is not None and overlap:
                faded = torch.lerp(self._fading, head[..., :overlap], rising)
                head = torch.cat([faded, head[..., overlap:]], dim=-1)
            out.append(head)
            self._fading = piece[..., self._step :]
        return torch.cat(out, dim=-1)
