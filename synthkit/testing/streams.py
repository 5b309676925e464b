"""The law that whatever works on features frame by frame keeps: piece by piece it gives what it gives at once, and in time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor

from synthkit.testing.check import distance, expect
from synthkit.testing.sounds import CLOSE


def same_in_pieces(
    stream: Callable[[Iterator[Tensor]], Iterable[Tensor]],
    whole: Tensor,
    expected: Tensor,
    sizes: Sequence[int],
    *,
    latency_frames: int | None,
    unit: str,
    units_per_frame: int = 1,
) -> None:
    """Expect `stream` of `whole` `[B, M, N]` in pieces of each of `sizes` frames to give `expected` `[..., N * units_per_frame]`.

    `unit` is what comes out, in the plural. With a latency, what has come out may lag behind the frames that went in by so many,
    and by the one that is being worked on.
    """
    for size in sizes:
        made: list[Tensor] = []

        def pieces(size: int = size, made: list[Tensor] = made) -> Iterator[Tensor]:
            given = 0
            for piece in torch.split(whole, size, dim=-1):
                yield piece
                given += piece.shape[-1]
                there = sum(part.shape[-1] for part in made)
                if latency_frames is not None:
                    due = (given - latency_frames - 1) * units_per_frame
                    expect(there >= due, f"after {given} frames it has given {there} {unit} only, not {due}")

        for part in stream(pieces()):
            made.append(part)
        together = torch.cat(made, dim=-1)
        expect(together.shape == expected.shape, f"pieces of {size} frames give {list(together.shape)} {unit}")
        apart = distance(together, expected)
        expect(apart <= CLOSE, f"pieces of {size} frames give {unit} that differ by {apart:.2g}")
