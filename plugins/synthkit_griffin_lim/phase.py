"""Fast Griffin-Lim: a sound whose STFT has given magnitudes (Perraudin, Balazs, Søndergaard, "A fast Griffin-Lim
algorithm", WASPAA 2013, section 3; with momentum 0 it is Griffin and Lim, IEEE TASSP 32(2), 1984).

The sound itself is estimated, not its padded frames: each round takes the sound of `spec.samples(N)` samples whose frames,
reflected ends included, are nearest to the wanted ones. So the result has exactly the frames that an extractor will see in
it, for every framing, and with momentum 0 the error never grows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from synthkit import dsp
from synthkit.specs import FeatureSpec

_BLOCK = 128  # frames worked on at a time: they stay in the processor's cache
_THIN = (
    0.01  # where the windows add up to less than this share of their most, the sound fades instead of being blown up
)
_TINY = 1e-30


class PhaseEstimator:
    """Estimates sounds of one spec and number of frames N, where `spec.samples(N)` is at least 1.

    Its frames are those of the window's support, `win_length` samples with zeros appended up to `n_fft`. Compared with
    windows centred in `n_fft` that shifts the phase of each bin by a constant, and no magnitude.
    """

    def __init__(self, spec: FeatureSpec, frames: int, device: torch.device) -> None:
        self.spec, self.frames, self.samples = spec, frames, spec.samples(frames)
        window = torch.hann_window(spec.win_length, dtype=torch.float64)
        if spec.window_norm:
            window = window / window.norm()
        self._window = window.float().to(device)
        self._start = (spec.n_fft - spec.win_length) // 2
        source = dsp.pad_frames(torch.arange(self.samples), spec).to(device)
        self._left = (len(source) - self.samples) // 2
        self._before, self._after = source[: self._left], source[self._left + self.samples :]
        weight = self._silence()
        for block in self._blocks():
            self._add(weight, block, self._window.expand(block.stop - block.start, -1))
        folded = self._fold(weight)
        self._weight = folded.clamp(min=_THIN * float(folded.max()))

    def estimate(
        self,
        magnitudes: Tensor,
        *,
        iterations: int,
        momentum: float = 0.99,
        convergence_db: float | None = None,
        random: torch.Generator,
        progress: Callable[[int], None] | None = None,
    ) -> Tensor:
        """A sound `[spec.samples(N)]` for magnitudes `[N, n_fft // 2 + 1]` (`window_norm` in them, `magnitude_eps` not).

        Args:
            magnitudes: What the sound's STFT should have.
            iterations: Rounds at most.
            momentum: alpha of the paper.
            convergence_db: Stop at a sound whose spectral convergence is this or lower.
            random: A generator on the CPU for the phases to begin with.
            progress: Called with the number of rounds done.
        """
        loudest = float(magnitudes.max())
        if loudest == 0.0:
            return magnitudes.new_zeros(self.samples)
        wanted = magnitudes / loudest
        enough = None if convergence_db is None else 10 ** (convergence_db / 10) * float(wanted.square().sum())
        # Interleaved with zeros, so that multiplying |X|^2 + 0j as plain numbers gives factors that X can be multiplied by.
        pairs = torch.stack((wanted, torch.zeros_like(wanted)), dim=-1)
        last = torch.zeros_like(wanted, dtype=torch.complex64) if momentum else None
        step = momentum / (1 + momentum)
        sound = self._begin(wanted, random)
        for done in range(iterations):
            padded = torch.cat((sound[self._before], sound, sound[self._after]))
            made, error = self._silence(), 0.0
            for block in self._blocks():
                spectrum = self._analyse(padded, block)
                if enough is not None:
                    error += float((spectrum.abs() - wanted[block]).square().sum())
                ahead = spectrum
                if last is not None:
                    ahead = torch.sub(spectrum, last[block], alpha=step) if done else spectrum
                    last[block] = spectrum
                self._synthesise(made, block, _with_magnitudes(ahead, pairs[block]))
            if enough is not None and error <= enough:
                break
            sound = self._fold(made) / self._weight
            if progress:
                progress(done + 1)
        return sound * loudest

    def _begin(self, wanted: Tensor, random: torch.Generator) -> Tensor:
        made = self._silence()
        for block in self._blocks():
            turns = torch.rand(wanted[block].shape, generator=random).to(wanted.device)
            self._synthesise(made, block, torch.polar(wanted[block], 2 * math.pi * turns))
        return self._fold(made) / self._weight

    def _blocks(self) -> Iterator[slice]:
        for start in range(0, self.frames, _BLOCK):
            yield slice(start, min(start + _BLOCK, self.frames))

    def _analyse(self, padded: Tensor, block: slice) -> Tensor:
        spec = self.spec
        first = self._start + block.start * spec.hop_length
        frames = padded[first:].unfold(0, spec.win_length, spec.hop_length)[: block.stop - block.start]
        spectrum: Tensor = torch.fft.rfft(frames * self._window, n=spec.n_fft)
        return spectrum

    def _synthesise(self, made: Tensor, block: slice, spectrum: Tensor) -> None:
        self._add(made, block, torch.fft.irfft(spectrum, n=self.spec.n_fft)[:, : self.spec.win_length])

    def _silence(self) -> Tensor:
        """A padded sound of zeros, with room for the last hop of the last frame."""
        return self._window.new_zeros((self.frames + 1) * self.spec.hop_length + self.spec.n_fft)

    def _add(self, made: Tensor, block: slice, frames: Tensor) -> None:
        """Overlap and add windowed frames, one hop of all of them at a time."""
        hop, count = self.spec.hop_length, block.stop - block.start
        frames = frames * self._window
        for offset in range(0, self.spec.win_length, hop):
            piece = frames[:, offset : offset + hop]
            first = self._start + block.start * hop + offset
            made[first : first + count * hop].view(count, hop)[:, : piece.shape[1]] += piece

    def _fold(self, made: Tensor) -> Tensor:
        """The adjoint of padding: what lies beyond the ends is added to the samples it is a reflection of."""
        end = self._left + self.samples
        sound = made[self._left : end].clone()
        sound.index_add_(0, self._before, made[: self._left])
        return sound.index_add_(0, self._after, made[end : end + len(self._after)])


def _with_magnitudes(spectrum: Tensor, pairs: Tensor) -> Tensor:
    """The spectrum's phases with other magnitudes: three passes over contiguous numbers, far quicker than `abs` and `/`."""
    energy = torch.view_as_real(spectrum * torch.conj_physical(spectrum))
    factors = energy.clamp_(min=_TINY).rsqrt_().mul_(pairs)
    return torch.view_as_complex(factors).mul_(spectrum)
