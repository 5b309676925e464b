"""The noise that clips are made of: what an item is given of it, and the way from one item's to another's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from synthkit.sampling import slerp


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
        return Noise(slerp(self.style, other.style, share), slerp(self.path, other.path, share[:, None]))


def draw(generators: Sequence[torch.Generator], sizes: Sizes, frames: int) -> Noise:
    """The noise of each item from its own generator: the style first, then step by step, so that a longer clip begins like a shorter."""
    styles, paths = [], []
    for generator in generators:
        styles.append(torch.randn(sizes.style_size, generator=generator))
        steps = [torch.randn(sizes.step_size, generator=generator) for _ in range(sizes.steps(frames))]
        paths.append(torch.stack(steps))
    return Noise(torch.stack(styles), torch.stack(paths))
