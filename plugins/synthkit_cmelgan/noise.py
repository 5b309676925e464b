"""The noise that clips are made of: what an item is given of it, and the way from one item's to another's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Sizes(Protocol):
    """What a network needs of noise."""

    style_size: int
    """Numbers for the whole clip."""
    step_size: int
    """Numbers for each step along it."""

    def steps(self, frames: int) -> int:
        """How many steps make so many frames."""


@dataclass(frozen=True)
class Noise:
    """Standard normal numbers for some items."""

    style: Tensor
    """`[B, style_size]`."""
    path: Tensor
    """`[B, L, step_size]`."""

    def to(self, device: torch.device) -> Noise:
        """The same on a device."""
        return Noise(self.style.to(device), self.path.to(device))

    def times(self, factor: float) -> Noise:
        """All numbers times `factor`: below 1, items are less extreme and less different."""
        return Noise(self.style * factor, self.path * factor)

    def towards(self, other: Noise, share: Tensor) -> Noise:
        """The noise `share` `[B]` of the way to `other`: every vector of it goes along the arc."""
        return Noise(slerp(self.style, other.style, share[:, None]), slerp(self.path, other.path, share[:, None, None]))


def draw(generators: Sequence[torch.Generator], sizes: Sizes, frames: int) -> Noise:
    """The noise of each item from its own generator: the style first, then step by step, so that a longer clip begins like a shorter."""
    styles, paths = [], []
    for generator in generators:
        styles.append(torch.randn(sizes.style_size, generator=generator))
        steps = [torch.randn(sizes.step_size, generator=generator) for _ in range(sizes.steps(frames))]
        paths.append(torch.stack(steps))
    return Noise(torch.stack(styles), torch.stack(paths))


def slerp(start: Tensor, end: Tensor, share: Tensor) -> Tensor:
    """Spherical interpolation over the last axis (Shoemake 1985): the norm of normal noise is kept, which a straight line loses.

    Where the two point the same way, or against each other, there is no arc, and the line is taken.

    >>> a, b = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    >>> slerp(a, b, torch.tensor([[0.5]])).round(decimals=3), slerp(a, b, torch.tensor([[0.0]]))
    (tensor([[0.7070, 0.7070]]), tensor([[1., 0.]]))
    """
    cosine = torch.nn.functional.cosine_similarity(start, end, dim=-1)[..., None].clamp(-1, 1)
    angle = cosine.arccos()
    sine = angle.sin()
    arc = sine > 1e-4
    safe = torch.where(arc, sine, torch.ones_like(sine))
    first = torch.where(arc, ((1 - share) * angle).sin() / safe, 1 - share)
    second = torch.where(arc, (share * angle).sin() / safe, share)
    return first * start + second * end
