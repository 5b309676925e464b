"""Tiers: a spectrogram in interleaved parts, from coarse to fine (MelNet, arXiv 1906.01083, section 5).

Grids are `[B, N, M]` here: frames, then bands, the order in which elements are drawn. Tier 1 is the coarsest. Each further tier
holds the rows between those of all the tiers below it: tier 2 along frequency, tier 3 along time, tier 4 along frequency again.
Rows 0, 2, 4 ... stay below, so that of an odd number the lower tiers have one row more than the tier itself.

No torch is imported: the functions serve tensors and arrays of any kind by slicing, and `shape_of` serves numbers alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

TIME, FREQUENCY = 1, 2
"""Axes of a grid `[B, N, M]`."""
Place = tuple[slice, slice, slice]
"""Which elements of a grid `[B, N, M]` are meant."""


def axis_of(tier: int) -> int:
    """The axis along which tier `tier` (2 or higher) lies between the rows of those below it.

    >>> [axis_of(tier) for tier in (2, 3, 4, 5, 6)] == [FREQUENCY, TIME, FREQUENCY, TIME, FREQUENCY]
    True
    """
    return FREQUENCY if tier % 2 == 0 else TIME


def halvings(tiers: int) -> tuple[int, int]:
    """How often time and frequency are halved from the whole grid to tier 1.

    >>> halvings(6)
    (2, 3)
    """
    return (tiers - 1) // 2, tiers // 2


def split(x: Tensor, tier: int) -> tuple[Tensor, Tensor]:
    """The tiers up to `tier` together, `[B, N, M]`, as all those below it and the tier itself.

    >>> import torch
    >>> below, own = split(torch.arange(5)[None, None], 2)
    >>> below.tolist(), own.tolist()
    ([[[0, 2, 4]]], [[[1, 3]]])
    """
    if axis_of(tier) == TIME:
        return x[:, 0::2], x[:, 1::2]
    return x[:, :, 0::2], x[:, :, 1::2]


def interleave(below: Tensor, own: Tensor, tier: int) -> Tensor:
    """The inverse of `split`."""
    axis = axis_of(tier)
    shape = list(below.shape)
    shape[axis] += own.shape[axis]
    whole = below.new_empty(shape)
    rest, rows = split(whole, tier)
    rest.copy_(below)
    rows.copy_(own)
    return whole


def places(tier: int, tiers: int) -> tuple[Place, Place]:
    """Where tier `tier` of `tiers` finds, in the whole grid, all that is below it and its own elements; tier 1 has nothing below.

    >>> places(2, 3)[1]
    (slice(None, None, None), slice(0, None, 2), slice(1, None, 2))
    """
    time, frequency = (
        2 ** sum(axis_of(higher) == axis for higher in range(tier + 1, tiers + 1)) for axis in (TIME, FREQUENCY)
    )
    every, frames, bands = slice(None), slice(0, None, time), slice(0, None, frequency)
    if tier == 1:
        return (every, slice(0, 0), slice(0, 0)), (every, frames, bands)
    if axis_of(tier) == TIME:
        return (every, slice(0, None, 2 * time), bands), (every, slice(time, None, 2 * time), bands)
    return (every, frames, slice(0, None, 2 * frequency)), (every, frames, slice(frequency, None, 2 * frequency))


def parts(x: Tensor, tiers: int) -> list[Tensor]:
    """The whole grid `[B, N, M]` as its tiers, tier 1 first."""
    return [x[places(tier, tiers)[1]] for tier in range(1, tiers + 1)]


def assemble(grids: list[Tensor]) -> Tensor:
    """The inverse of `parts`."""
    whole = grids[0]
    for tier, own in enumerate(grids[1:], start=2):
        whole = interleave(whole, own, tier)
    return whole


def shape_of(tier: int, tiers: int, frames: int, bands: int) -> tuple[int, int]:
    """Frames and bands of tier `tier` of `tiers`.

    >>> [shape_of(tier, 6, 200, 256) for tier in (1, 2, 3, 6)]
    [(50, 32), (50, 32), (50, 64), (200, 128)]
    >>> shape_of(1, 3, 5, 5), shape_of(2, 3, 5, 5), shape_of(3, 3, 5, 5)
    ((3, 3), (3, 2), (2, 5))
    """
    _, (_, rows, columns) = places(tier, tiers)
    return len(range(frames)[rows]), len(range(bands)[columns])
