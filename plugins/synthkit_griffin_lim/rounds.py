"""What a round of Griffin-Lim does to the frames of a sound: on any device with torch, or on the processor with vector lanes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from synthkit.specs import FeatureSpec

_BLOCK = 128  # frames that torch works on at a time: they stay in the processor's cache
_LANES = 16  # of the kernel, which is imported late because numba is
_LANE_BLOCK = 2 * _LANES  # frames of a block of the kernel
# Blocks of the kernel that a thread does in one go: a constant, so that sums do not depend on the number of threads.
_SEGMENT = 16
_TINY = 1e-30


class Rounds(ABC):
    """The wanted magnitudes of all frames, and the spectra of the last round."""

    @abstractmethod
    def __call__(self, padded: Tensor, made: Tensor, step: float, *, measured: bool) -> float:
        """One round: the frames of `padded`, with the wanted magnitudes, windowed and added to `made`.

        Args:
            padded: Samples, frame i from `i * hop_length` on; room for `whole_blocks` of frames.
            made: Zeros of that length.
            step: How much of each bin's last spectrum is subtracted before its phase is taken (alpha / (1 + alpha)).
            measured: Whether to return the squared error of the magnitudes there were; else 0 is returned.
        """

    @abstractmethod
    def remember(self, spectra: Tensor) -> None:
        """Take `[N, n_fft // 2 + 1]` complex numbers for the spectra of the last round."""


class TorchRounds(Rounds):
    """Magnitudes `[N, n_fft // 2 + 1]` on any device."""

    def __init__(self, wanted: Tensor, window: Tensor, spec: FeatureSpec) -> None:
        self._wanted, self._window, self._spec = wanted, window, spec
        # Interleaved with zeros, so that multiplying |X|^2 + 0j as plain numbers gives factors that X can be multiplied by.
        self._pairs = torch.stack((wanted, torch.zeros_like(wanted)), dim=-1)
        self._last = torch.zeros_like(wanted, dtype=torch.complex64)

    def __call__(self, padded: Tensor, made: Tensor, step: float, *, measured: bool) -> float:
        spec, error = self._spec, 0.0
        for block in self._blocks():
            frames = padded[block.start * spec.hop_length :].unfold(0, spec.win_length, spec.hop_length)
            spectrum = torch.fft.rfft(frames[: block.stop - block.start] * self._window, n=spec.n_fft)
            if measured:
                error += float((spectrum.abs() - self._wanted[block]).square().sum())
            ahead = torch.sub(spectrum, self._last[block], alpha=step)
            self._last[block] = spectrum
            shaped = torch.fft.irfft(_with_magnitudes(ahead, self._pairs[block]), n=spec.n_fft)[:, : spec.win_length]
            overlap_add(made[block.start * spec.hop_length :], shaped * self._window, spec.hop_length)
        return error

    def remember(self, spectra: Tensor) -> None:
        self._last.copy_(spectra)

    def _blocks(self) -> Iterator[slice]:
        for start in range(0, len(self._wanted), _BLOCK):
            yield slice(start, min(start + _BLOCK, len(self._wanted)))


class LaneRounds(Rounds):
    """Magnitudes `[N, n_fft // 2 + 1]` on the processor, for an `n_fft` that is a power of two."""

    def __init__(self, wanted: Tensor, window: Tensor, spec: FeatureSpec) -> None:
        from synthkit_griffin_lim import kernel

        self._kernel, self._frames, self._hop, self._plan = (
            kernel,
            len(wanted),
            spec.hop_length,
            kernel.plan(spec.n_fft),
        )
        self._state = kernel.kept(wanted.numpy(), spec.n_fft)
        room = -len(window) % _LANES
        self._window = torch.nn.functional.pad(window, (0, room)).numpy()

    @staticmethod
    def can(n_fft: int, device: torch.device) -> bool:
        """Whether the kernel can do it.

        >>> LaneRounds.can(1024, torch.device("cpu")), LaneRounds.can(1200, torch.device("cpu"))
        (True, False)
        """
        return device.type == "cpu" and n_fft >= _LANE_BLOCK and n_fft & (n_fft - 1) == 0

    def __call__(self, padded: Tensor, made: Tensor, step: float, *, measured: bool) -> float:
        starts = range(0, len(self._state), _SEGMENT)
        threads = min(torch.get_num_threads(), len(starts))

        def segment(start: int) -> tuple[Tensor, float]:
            return self._segment(padded, start, step, measured)

        error = 0.0
        with ThreadPoolExecutor(threads) as pool:
            for start, (part, gap) in zip(starts, (pool.map if threads > 1 else map)(segment, starts), strict=True):
                first = start * _LANE_BLOCK * self._hop
                made[first : first + len(part)] += part
                error += gap
        return error

    def remember(self, spectra: Tensor) -> None:
        self._kernel.remember(self._state, torch.view_as_real(spectra).numpy())

    def _segment(self, padded: Tensor, start: int, step: float, measured: bool) -> tuple[Tensor, float]:
        state, plan = self._state[start : start + _SEGMENT], self._plan
        first = start * _LANE_BLOCK * self._hop
        stop = first + len(state) * _LANE_BLOCK * self._hop + len(self._window)
        part = torch.zeros(min(stop, len(padded)) - first)
        numbers = torch.zeros(2 + _LANES)
        numbers[0], numbers[1] = step, plan.n_fft
        self._kernel.one_round(
            padded[first:stop].numpy(),
            part.numpy(),
            self._window,
            state.reshape(-1),
            numbers.numpy(),
            measured,
            self._frames - start * _LANE_BLOCK,
            self._hop,
            plan.n_fft,
            plan.odd,
            plan.turns,
            plan.places,
        )
        return part, float(numbers[2:].sum())


def whole_blocks(frames: int) -> int:
    """The next multiple of 32 frames.

    >>> whole_blocks(33)
    64
    """
    return -(-frames // _LANE_BLOCK) * _LANE_BLOCK


def overlap_add(made: Tensor, frames: Tensor, hop: int) -> None:
    """Add frames `[N, W]` to `made`, frame i from `i * hop` on, one hop of all of them at a time."""
    count, length = frames.shape
    for offset in range(0, length, hop):
        piece = frames[:, offset : offset + hop]
        made[offset : offset + count * hop].view(count, hop)[:, : piece.shape[1]] += piece


def _with_magnitudes(spectrum: Tensor, pairs: Tensor) -> Tensor:
    """The spectrum's phases with other magnitudes: three passes over contiguous numbers, far quicker than `abs` and `/`."""
    energy = torch.view_as_real(spectrum * torch.conj_physical(spectrum))
    factors = energy.clamp_(min=_TINY).rsqrt_().mul_(pairs)
    return torch.view_as_complex(factors).mul_(spectrum)
