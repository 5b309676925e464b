"""The layers of MelNet's stacks (arXiv 1906.01083, sections 4 and 5). Hidden states of a grid are `[B, N, M, H]`.

Every recurrent network runs along one axis with weights that all rows share: those along frequency begin anew in each frame,
those along time go on from frame to frame. Each layer adds what it finds to its input.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

Cell = Literal["lstm", "gru"]
_CELLS: dict[Cell, type[nn.LSTM] | type[nn.GRU]] = {"lstm": nn.LSTM, "gru": nn.GRU}


def recurrent(inputs: int, hidden: int, cell: Cell) -> nn.LSTM | nn.GRU:
    """One layer of a recurrent network over `[B, L, inputs]`."""
    return _CELLS[cell](inputs, hidden, batch_first=True)


def along_time(rnn: nn.Module, grid: Tensor, backward: bool = False) -> Tensor:
    """Run over the frames of each band of `[B, N, M, I]`; `[B, N, M, H]` comes back, in the grid's order."""
    return along_frequency(rnn, grid.transpose(1, 2), backward).transpose(1, 2)


def along_frequency(rnn: nn.Module, grid: Tensor, backward: bool = False) -> Tensor:
    """Run over the bands of each frame of `[B, N, M, I]`; `[B, N, M, H]` comes back, in the grid's order."""
    lines = grid.flatten(0, 1)
    # What ran backwards is turned round again: `flip` on both sides, or every state would stand at another element's place.
    states: Tensor = rnn(lines.flip(1))[0].flip(1) if backward else rnn(lines)[0]
    return states.reshape(*grid.shape[:3], states.shape[-1])


class TimeDelayed(nn.Module):
    """A layer of the time-delayed stack: along time, and along frequency both ways. It sees all of the frames before."""

    def __init__(self, hidden: int, cell: Cell) -> None:
        super().__init__()
        self.time = recurrent(hidden, hidden, cell)
        self.up = recurrent(hidden, hidden, cell)
        self.down = recurrent(hidden, hidden, cell)
        self.project = nn.Linear(3 * hidden, hidden)

    def forward(self, h: Tensor) -> Tensor:
        """`[B, N, M, H]` to `[B, N, M, H]`."""
        ways = along_time(self.time, h), along_frequency(self.up, h), along_frequency(self.down, h, backward=True)
        refined: Tensor = h + self.project(torch.cat(ways, dim=-1))
        return refined


class Centralised(nn.Module):
    """A layer of the centralised stack, which takes a frame as a whole: along time, `[B, N, H]`."""

    def __init__(self, hidden: int, cell: Cell) -> None:
        super().__init__()
        self.time = recurrent(hidden, hidden, cell)
        self.project = nn.Linear(hidden, hidden)

    def forward(self, h: Tensor) -> Tensor:
        """`[B, N, H]` to `[B, N, H]`."""
        refined: Tensor = h + self.project(self.time(h)[0])
        return refined


class FrequencyDelayed(nn.Module):
    """A layer of the frequency-delayed stack: upwards through the bands below, within a frame."""

    def __init__(self, hidden: int, cell: Cell) -> None:
        super().__init__()
        self.up = recurrent(hidden, hidden, cell)
        self.project = nn.Linear(hidden, hidden)

    def forward(self, h: Tensor, time_delayed: Tensor, centralised: Tensor | None) -> Tensor:
        """`[B, N, M, H]` to `[B, N, M, H]`, with the same layer's `time_delayed [B, N, M, H]` and `centralised [B, N, H]`."""
        seen = h + time_delayed
        if centralised is not None:
            seen = seen + centralised[:, :, None]
        refined: Tensor = h + self.project(along_frequency(self.up, seen))
        return refined


class FeatureExtraction(nn.Module):
    """What a tier is told of the tiers below it: four recurrent networks over their grid, both ways along both axes.

    The paper gives no number of layers; with one, the sizes are those of its models.
    """

    def __init__(self, hidden: int, cell: Cell) -> None:
        super().__init__()
        self.forth = recurrent(1, hidden, cell)
        self.back = recurrent(1, hidden, cell)
        self.up = recurrent(1, hidden, cell)
        self.down = recurrent(1, hidden, cell)

    def forward(self, below: Tensor) -> Tensor:
        """`[B, N, M]` to `[B, N, M, 4H]`."""
        grid = below[..., None]
        ways = (
            along_time(self.forth, grid),
            along_time(self.back, grid, backward=True),
            along_frequency(self.up, grid),
            along_frequency(self.down, grid, backward=True),
        )
        return torch.cat(ways, dim=-1)
