"""Fast Griffin-Lim: a sound whose STFT has given magnitudes (Perraudin, Balazs, Søndergaard, "A fast Griffin-Lim
algorithm", WASPAA 2013, section 3; with momentum 0 it is Griffin and Lim, IEEE TASSP 32(2), 1984), and its accelerated form
(Nenov, Nguyen, Balazs, Bot, "Faster than fast: accelerating the Griffin-Lim algorithm", ICASSP 2023).

The sound itself is estimated, not its padded frames: each round takes the sound of `spec.samples(N)` samples whose frames,
reflected ends included, are nearest to the wanted ones. So the result has exactly the frames that an extractor will see in
it, for every framing, and with momentum 0 the error never grows.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from synthkit import dsp
from synthkit.specs import FeatureSpec
from synthkit_griffin_lim.rounds import LaneRounds, Rounds, TorchRounds, overlap_add, whole_blocks

_INERTIA = 1.1
"""beta of the accelerated algorithm. With gamma 1.25, 60 rounds come 1.7 dB nearer than without on real music and speech; with
gamma 1.3 the error grows."""
_THIN = 0.01
"""Where the windows add up to less than this share of their most, the sound fades instead of being blown up."""


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
        overlap_add(weight[self._start :], self._window.square().expand(frames, -1), spec.hop_length)
        folded = self._fold(weight)
        self._weight = folded.clamp(min=_THIN * float(folded.max()))

    def estimate(
        self,
        magnitudes: Tensor,
        *,
        iterations: int,
        momentum: float = 0.99,
        relaxation: float = 1.0,
        convergence_db: float | None = None,
        random: torch.Generator,
        progress: Callable[[int], None] | None = None,
    ) -> Tensor:
        """A sound `[spec.samples(N)]` for magnitudes `[N, n_fft // 2 + 1]` (`window_norm` in them, `magnitude_eps` not).

        Args:
            magnitudes: What the sound's STFT should have.
            iterations: Rounds at most.
            momentum: alpha of both papers.
            relaxation: gamma of the accelerated algorithm; 1 is the one of 2013.
            convergence_db: Stop at a sound whose spectral convergence is this or lower.
            random: A generator on the CPU for the phases to begin with.
            progress: Called with the number of rounds done.
        """
        loudest = float(magnitudes.max())
        if loudest == 0.0:
            return magnitudes.new_zeros(self.samples)
        wanted = magnitudes / loudest
        enough = None if convergence_db is None else 10 ** (convergence_db / 10) * float(wanted.square().sum())
        rounds = self._rounds(wanted)
        # Silence minus noise: a round that takes all its phases from what it remembers.
        rounds.remember(torch.randn(wanted.shape, dtype=torch.complex64, generator=random).to(wanted.device))
        sound, _ = self._round(rounds, wanted.new_zeros(self.samples), 1.0)
        ahead = sound
        for done in range(iterations):
            better, error = self._round(rounds, sound, momentum / (1 + momentum), measured=enough is not None)
            if enough is not None and error <= enough:
                break
            better = (1 - relaxation) * ahead + relaxation * better
            ahead = better + _INERTIA * (better - sound)
            sound = better
            if progress:
                progress(done + 1)
        return sound * loudest

    def _rounds(self, wanted: Tensor) -> Rounds:
        """The quicker way to do what a round does to the frames."""
        if LaneRounds.can(self.spec.n_fft, wanted.device):
            return LaneRounds(wanted, self._window, self.spec)
        return TorchRounds(wanted, self._window, self.spec)

    def _round(self, rounds: Rounds, sound: Tensor, step: float, *, measured: bool = False) -> tuple[Tensor, float]:
        """The sound nearest to the frames of `sound` with the wanted magnitudes, and the squared error of the frames there were."""
        padded, made = self._silence(), self._silence()
        for piece, place in (
            (sound[self._before], 0),
            (sound, self._left),
            (sound[self._after], self._left + self.samples),
        ):
            padded[place : place + len(piece)] = piece
        error = rounds(padded[self._start :], made[self._start :], step, measured=measured)
        return self._fold(made) / self._weight, error

    def _silence(self) -> Tensor:
        """A padded sound of zeros, with room for whole blocks of frames and what they reach beyond the last hop."""
        return self._window.new_zeros((whole_blocks(self.frames) + 1) * self.spec.hop_length + 2 * self.spec.n_fft)

    def _fold(self, made: Tensor) -> Tensor:
        """The adjoint of padding: what lies beyond the ends is added to the samples it is a reflection of."""
        end = self._left + self.samples
        sound = made[self._left : end].clone()
        sound.index_add_(0, self._before, made[: self._left])
        return sound.index_add_(0, self._after, made[end : end + len(self._after)])
