"""`KernelFrames`: a tier one frame further at a time, by the compiled kernel, on as many cores as torch may use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import torch
from torch import Tensor

from synthkit_melnet import kernel
from synthkit_melnet.mixture import Mixture
from synthkit_melnet.network import Tier
from synthkit_melnet.packing import packed
from synthkit_melnet.panels import gates_width, stride
from synthkit_melnet.state import Frames, Reader
from synthkit_melnet.text import Text

Job = Callable[[], object]
_WORTH_THREADS = 3e6
"""Products of a frame's layer from which on handing parts of it to other threads costs less than it gains."""


class KernelFrames(Frames):
    """The same numbers as `TorchFrames`, up to rounding; an item has the same bits whatever items are beside it."""

    def __init__(self, tier: Tier, items: int, text: Text | None = None, bias: float = 0.0) -> None:
        self._tier, self._items, self._bands, self._bias = tier, items, tier.bands, bias
        self._net = packed(tier)
        self._work = _workspace(self._net, items, tier.bands, bool(tier.central_layers))
        self._turn = 0
        # Item by item, so that none depends on the others: torch sums in another order where there are more rows.
        self._readers = [] if text is None or tier.text is None else [Reader(tier, one) for one in _each(text)]
        step = stride(self._net.hidden)
        self._more = np.zeros((items, tier.bands, step), dtype=np.float32)
        self._biases = [linear.bias.detach().numpy() for linear in (tier.time_input, tier.frequency_input)]
        self._theta = np.zeros((items, tier.bands, stride(3 * self._net.mixtures)), dtype=np.float32)
        worth = items * tier.bands * self._net.hidden**2 >= _WORTH_THREADS
        self._threads = torch.get_num_threads() if worth else 1
        self._pool = (
            ThreadPoolExecutor(self._threads) if self._threads > 1 else None
        )  # its threads end with this object

    @torch.no_grad()
    def advance(self, previous: Tensor, more: Tensor) -> None:
        net, work = self._net, self._work
        central = len(work.central_cells) > 0
        self._turn = 1 - self._turn
        kernel.enter(net, work, self._rows(more, self._biases[0]), _flat(previous), central)
        rows = self._items * self._bands
        for layer in range(len(net.layers)):
            ways = [
                partial(kernel.along_frequency, net, work, layer, down, first, count)
                for down in (False, True)
                for first, count in _shares(self._items, self._threads)
            ]
            later = [
                partial(kernel.later, net, work, layer, self._turn, first, count)
                for first, count in _shares(rows, 2 * self._threads)
            ]
            self._run([*ways, *later])
            self._run(
                [
                    partial(kernel.join, net, work, layer, self._turn, first, count)
                    for first, count in _shares(rows, self._threads)
                ]
            )
            if central:
                if layer == self._tier.text_layer:
                    self._read(layer)
                kernel.centralise(net, work, layer, self._turn)
        if central:
            kernel.spread(net, work)

    def draw(self, more: Tensor, uniform: Tensor, normal: Tensor) -> Tensor:
        values = np.zeros((self._items, self._bands), dtype=np.float32)
        self._elements(more, values, _flat(uniform), _flat(normal), given=False)
        return torch.from_numpy(values)

    def follow(self, more: Tensor, own: Tensor) -> Mixture:
        values = _flat(own)
        self._elements(more, values, values, values, given=True)
        theta = torch.from_numpy(self._theta[..., : 3 * self._net.mixtures].copy())
        return Mixture.split(theta, self._tier.least_std)

    def _elements(
        self, more: Tensor, values: np.ndarray, uniform: np.ndarray, normal: np.ndarray, *, given: bool
    ) -> None:
        rows, theta = self._rows(more, self._biases[1]), self._theta.reshape(-1)
        self._run(
            [
                partial(
                    kernel.elements, self._net, self._work, rows, values.reshape(-1), theta, uniform, normal,
                    self._bias, given, first, count,
                )
                for first, count in _shares(self._items, self._threads, least=1)
            ]
        )  # fmt: skip

    def _rows(self, more: Tensor, bias: np.ndarray) -> np.ndarray:
        """`[B, M or 1, H]` and a bias as rows of the kernel."""
        np.add(more.numpy(), bias, out=self._more[..., : self._net.hidden])
        return self._more.reshape(-1)

    def _read(self, layer: int) -> None:
        """What is read joins the centralised stack at the input of `layer`."""
        step = stride(self._net.hidden)
        states = self._work.central_inputs.reshape(-1, self._items, step)[layer, :, : self._net.hidden]
        for state, reader in zip(states, self._readers, strict=False):
            state += reader.read(torch.from_numpy(state[None]))[0].numpy()

    def _run(self, jobs: Sequence[Job]) -> None:
        """All of `jobs`, which touch different memory."""
        if self._pool is None:
            for job in jobs:
                job()
        else:
            for done in [self._pool.submit(job) for job in jobs]:
                done.result()


def _workspace(net: kernel.Network, items: int, bands: int, central: bool) -> kernel.Workspace:
    layers, step, rows = len(net.layers), stride(net.hidden), items * bands
    of_centre = layers if central else 0

    def zeros(*shape: int) -> np.ndarray:
        return np.zeros(int(np.prod(shape)), dtype=np.float32)

    return kernel.Workspace(
        bands=bands,
        time_states=zeros(layers, 2, rows, step),
        time_cells=zeros(layers, rows, step),
        central_states=zeros(of_centre, 2, items, step),
        central_cells=zeros(of_centre, items, step),
        stack=zeros(layers + 1, rows, step),
        ways=zeros(2, rows, step),
        way_cells=zeros(2, rows, step),
        gates=zeros(2, rows, gates_width(net.hidden)),
        central_inputs=zeros(of_centre + 1, items, step),
        central=zeros(of_centre, items, step),
        states=zeros(layers, 2, items, step),
        cells=zeros(layers, items, step),
        stream=zeros(items, step),
        seen=zeros(items, step),
        zeros=zeros(rows, step),
    )


def _shares(count: int, among: int, least: int = 4) -> list[tuple[int, int]]:
    """`count` rows in parts of about the same size, as (first, how many): `least` or more, so that weights are read once for four.

    >>> _shares(10, 2), _shares(8, 4, least=1)
    ([(0, 8), (8, 2)], [(0, 2), (2, 2), (4, 2), (6, 2)])
    """
    size = max(least, -(-count // among))
    size = -(-size // least) * least
    return [(first, min(size, count - first)) for first in range(0, count, size)]


def _each(text: Text) -> list[Text]:
    """The texts of a batch one by one."""
    return [
        Text(characters=characters[None, :length], lengths=length[None])
        for characters, length in zip(text.characters, text.lengths, strict=True)
    ]


def _flat(values: Tensor) -> np.ndarray:
    return np.ascontiguousarray(values.numpy(), dtype=np.float32).reshape(-1)
