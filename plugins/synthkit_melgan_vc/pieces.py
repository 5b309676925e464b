"""A clip of any length, piece by piece: cut with an overlap, converted, and faded into each other. Nothing of it grows with the clip.

Of a piece, the `context` frames at both ends are heard and not kept, since there a network does not know what comes before or after.
What is kept of piece k begins at frame `k * (length - 2 * context - overlap)`. Where two overlap, the share of the earlier one falls in
a straight line as that of the later one rises: what both leave as it is comes back as it was. Before the clip its first frame stands,
and after it its last one, until the last piece is full.
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

    >>> pieces = Pieces(lambda x: x, length=8, overlap=2, context=1)
    >>> frames = torch.arange(11.0).view(1, 1, 11)
    >>> [made.shape[-1] for made in (*pieces.give(frames[..., :7]), *pieces.give(frames[..., 7:]), *pieces.end())]
    [4, 4, 3]
    """

    def __init__(self, convert: Convert, *, length: int, overlap: int, context: int = 0) -> None:
        """`convert` takes and gives pieces `[P, B, M, length]`, in their order; `overlap` is at most half of what is kept of it."""
        self._convert = convert
        self._length, self._context = length, context
        self._kept = slice(context, length - context)
        self._step = length - 2 * context - overlap
        self._overlap = overlap
        self._rising = (torch.arange(overlap) + 0.5) / max(1, overlap)
        self._held: Tensor | None = None
        """Frames from the beginning of the next piece on, its context first."""
        self._fading: Tensor | None = None
        """What the last piece made of the overlap."""

    def give(self, frames: Tensor) -> Iterator[Tensor]:
        """The next frames `[B, M, n]`; what is certain now."""
        if not frames.shape[-1]:
            return
        held = self._begun(frames) if self._held is None else torch.cat([self._held, frames], dim=-1)
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
        left = held.shape[-1] - self._context
        if self._fading is None or left > self._overlap:
            count = max(1, -(-(left - self._overlap) // self._step))
            missing = (count - 1) * self._step + self._length - held.shape[-1]
            whole = functional.pad(held, (0, missing), mode="replicate")
            yield torch.cat([self._assembled(whole), *self._rest()], dim=-1)[..., :left]
        elif left:
            yield self._fading[..., :left]

    def _begun(self, frames: Tensor) -> Tensor:
        """The first frames, with context before them."""
        return functional.pad(frames, (self._context, 0), mode="replicate")

    def _rest(self) -> list[Tensor]:
        return [] if self._fading is None else [self._fading]

    def _assembled(self, frames: Tensor) -> Tensor:
        """Frames of `n` pieces `[B, M, (n - 1) * step + length]` to `n * step` converted ones."""
        cut = frames.unfold(-1, self._length, self._step).movedim(2, 0)  # [n, B, M, length]
        made = self._convert(cut.contiguous())[..., self._kept]
        rising, overlap, out = self._rising.to(made), self._overlap, []
        for piece in made:
            head = piece[..., : self._step]
            if self._fading is not None and overlap:
                faded = torch.lerp(self._fading, head[..., :overlap], rising)
                head = torch.cat([faded, head[..., overlap:]], dim=-1)
            out.append(head)
            self._fading = piece[..., self._step :]
        return torch.cat(out, dim=-1)
