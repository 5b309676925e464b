"""A tier one frame further at a time, in torch: what of the frames before has to be kept, and nothing is computed twice.

Before an element of frame `i` is drawn, the time-delayed and the centralised stack of the whole frame can be computed, since they
hear the frames before alone. The frequency-delayed stack then goes from element to element. From frame to frame only the states of
the networks along time go on. So the cost is the same for each element, however long the clip.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from synthkit_melnet.layers import Centralised, FrequencyDelayed, TimeDelayed
from synthkit_melnet.mixture import Mixture
from synthkit_melnet.network import Tier
from synthkit_melnet.text import Reading, Text

LIMIT = 16.0
"""The farthest from its band's mean that an element is drawn, in deviations of the band. No data lies there; but a network that has
learned little may answer one strange value by a stranger one, until there is no number for it."""


class Frames(ABC):
    """One tier of a batch of B items, frame by frame. Elements are in the network's units."""

    @abstractmethod
    def advance(self, previous: Tensor, more: Tensor) -> None:
        """Go on to the next frame.

        Args:
            previous: `[B, M]`, the frame before; zeros before the first.
            more: `[B, M or 1, H]`, what the time-delayed stack is conditioned on.
        """

    @abstractmethod
    def draw(self, more: Tensor, uniform: Tensor, normal: Tensor) -> Tensor:
        """The frame's elements, `[B, M]`, drawn one after the other, none beyond `LIMIT`.

        Args:
            more: `[B, M or 1, H]`, what the frequency-delayed stack is conditioned on.
            uniform: `[B, M]` numbers in 0..1, which choose the components.
            normal: `[B, M]` standard normal numbers.
        """

    @abstractmethod
    def follow(self, more: Tensor, own: Tensor) -> Mixture:
        """The mixtures, `[B, M, K]`, of given elements `[B, M]`; the bias does not count."""


class TorchFrames(Frames):
    """The plain way, for every device; the compiled ways are held against it."""

    def __init__(self, tier: Tier, items: int, text: Text | None = None, bias: float = 0.0) -> None:
        """`bias` is that of `Mixture.biased`; `text` is needed where the tier reads one."""
        self.tier, self.items, self.bias = tier, items, bias
        self._time_layers, self._frequency_layers, self._central_layers = stacks(tier)
        self._time = [Cell(layer.time, items * tier.bands) for layer in self._time_layers]
        self._central = [Cell(layer.time, items) for layer in self._central_layers]
        self._frequency = [Cell(layer.up, items) for layer in self._frequency_layers]
        self._heard: list[Tensor] = []
        self._text = None if text is None or tier.text is None else Reader(tier, text)

    @torch.no_grad()
    def advance(self, previous: Tensor, more: Tensor) -> None:
        tier, self._heard = self.tier, []
        h: Tensor = tier.time_input(previous[..., None]) + more
        central = tier.central_input(previous) if self._central else None
        for number, (layer, time) in enumerate(zip(self._time_layers, self._time, strict=True)):
            later = time.step(h.flatten(0, 1)).view_as(h)
            ways = later, layer.up(h)[0], layer.down(h.flip(1))[0].flip(1)
            h = h + layer.project(torch.cat(ways, dim=-1))
            if central is not None:
                if self._text is not None and number == tier.text_layer:
                    central = central + self._text.read(central)
                found = self._central[number].step(central)
                central = central + self._central_layers[number].project(found)
            self._heard.append(h if central is None else h + central[:, None])

    @torch.no_grad()
    def draw(self, more: Tensor, uniform: Tensor, normal: Tensor) -> Tensor:
        for cell in self._frequency:
            cell.reset()
        drawn: list[Tensor] = []
        below = uniform.new_zeros(self.items)
        for band in range(self.tier.bands):
            mixture = self._element(band, below, more)
            below = mixture.biased(self.bias).sample(uniform[:, band], normal[:, band]).clamp(-LIMIT, LIMIT)
            drawn.append(below)
        return torch.stack(drawn, dim=1)

    @torch.no_grad()
    def follow(self, more: Tensor, own: Tensor) -> Mixture:
        for cell in self._frequency:
            cell.reset()
        below = torch.cat([torch.zeros_like(own[:, :1]), own[:, :-1]], dim=1)
        each = [self._element(band, below[:, band], more) for band in range(self.tier.bands)]
        mean, log_std, logits = (
            torch.stack([getattr(one, name) for one in each], dim=1) for name in ("mean", "log_std", "logits")
        )
        return Mixture(mean=mean, log_std=log_std, logits=logits)

    def _element(self, band: int, below: Tensor, more: Tensor) -> Mixture:
        """The mixtures `[B, K]` of one band, after the elements `below` `[B]` it."""
        h: Tensor = self.tier.frequency_input(below[:, None]) + more[:, band if more.shape[1] > 1 else 0]
        for layer, cell, heard in zip(self._frequency_layers, self._frequency, self._heard, strict=True):
            h = h + layer.project(cell.step(h + heard[:, band]))
        return self.tier.mixture(h)

    def reset(self) -> None:
        """Back to before the first frame."""
        for cell in (*self._time, *self._central, *self._frequency):
            cell.reset()
        if self._text is not None:
            self._text.reset()


class GraphFrames(Frames):
    """`TorchFrames` on a CUDA device, recorded once and replayed: a frame is one launch instead of thousands."""

    def __init__(self, tier: Tier, items: int, text: Text | None = None, bias: float = 0.0) -> None:
        self._plain = TorchFrames(tier, items, text, bias)
        grid = torch.zeros(items, tier.bands, device=tier.head.weight.device)
        more = grid.new_zeros(items, tier.bands, tier.head.in_features)
        self._advance = Recorded(self._plain.advance, grid, more)
        self._draw = Recorded(self._plain.draw, more, grid, grid)
        self._plain.reset()  # recording has gone on by a few frames

    def advance(self, previous: Tensor, more: Tensor) -> None:
        self._advance(previous, more)

    def draw(self, more: Tensor, uniform: Tensor, normal: Tensor) -> Tensor:
        drawn = self._draw(more, uniform, normal)
        assert drawn is not None
        return drawn.clone()

    def follow(self, more: Tensor, own: Tensor) -> Mixture:
        return self._plain.follow(more, own)


class Recorded:
    """A function of tensors, which may keep state in tensors of its own, as a CUDA graph."""

    def __init__(self, function: Callable[..., Tensor | None], *inputs: Tensor) -> None:
        """Called a few times with `inputs` to warm up, then recorded; later inputs are broadcast to their shapes."""
        self._inputs = [given.clone() for given in inputs]
        aside: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(3):
                function(*self._inputs)
        torch.cuda.current_stream().wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._output = function(*self._inputs)

    def __call__(self, *inputs: Tensor) -> Tensor | None:
        """What the function gives; the next call overwrites it."""
        for own, given in zip(self._inputs, inputs, strict=True):
            own.copy_(given)
        self._graph.replay()
        return self._output


def stacks(tier: Tier) -> tuple[list[TimeDelayed], list[FrequencyDelayed], list[Centralised]]:
    """The layers of a tier's three stacks; the last may be empty."""
    every = list(tier.time_layers), list(tier.frequency_layers), list(tier.central_layers)
    return cast(tuple[list[TimeDelayed], list[FrequencyDelayed], list[Centralised]], every)


class Cell:
    """A recurrent network of one layer step by step, with the states of `rows` rows, which stay where they are in memory."""

    def __init__(self, network: nn.RNNBase, rows: int) -> None:
        lstm = isinstance(network, nn.LSTM)
        kind = nn.LSTMCell if lstm else nn.GRUCell
        self._cell = kind(network.input_size, network.hidden_size, device="meta")  # it borrows the weights
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            setattr(self._cell, name, getattr(network, f"{name}_l0"))
        zeros = self._cell.weight_hh.new_zeros(rows, network.hidden_size)
        self._states = (zeros, zeros.clone()) if lstm else (zeros,)

    def step(self, x: Tensor) -> Tensor:
        """The hidden state `[rows, H]` after an input `[rows, I]`."""
        if len(self._states) == 1:
            self._states[0].copy_(self._cell(x, self._states[0]))
        else:
            for kept, new in zip(self._states, self._cell(x, self._states), strict=True):
                kept.copy_(new)
        return self._states[0]

    def reset(self) -> None:
        """States before the first step."""
        for state in self._states:
            state.zero_()


class Reader:
    """How far the items have read their texts; it stays where it is in memory."""

    def __init__(self, tier: Tier, text: Text) -> None:
        assert tier.text is not None
        self._network, self._text = tier.text, text
        with torch.no_grad():
            self._memory = self._network.memory(text)
        start = self._network.start(text)
        self._reading = Reading(**{name: kept.clone() for name, kept in vars(start).items()})

    def read(self, central: Tensor) -> Tensor:
        """What is read, `[B, H]`, at the next frame, from the centralised stack's state `[B, H]`."""
        later = self._network.step(central, self._memory, self._text.lengths, self._reading)
        for name, kept in vars(self._reading).items():
            kept.copy_(getattr(later, name))
        return self._reading.context

    def reset(self) -> None:
        """Before the first character."""
        for kept in vars(self._reading).values():
            kept.zero_()
