"""A vocoder that plays one sine per mel band, as loud as the band says."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from synthkit import dsp
from synthkit.interfaces import Progress, Vocoder
from synthkit.specs import FeatureSpec
from synthkit_hello.config import SineBankConfig


class SineBank(Vocoder):
    """Oscillators at fixed frequencies whose loudness follows the features.

    Their phase runs through from the first sample to the last, so there is no click between frames. Loudness is linear
    between the frames' centres.
    """

    def __init__(self, config: SineBankConfig, spec: FeatureSpec) -> None:
        self.spec = spec
        self._gain = 10 ** (config.level_db / 20)
        self._frequencies = _frequencies(spec, config.sines_per_band)
        self._response = _response(spec, self._frequencies)

    @torch.no_grad()
    def vocode(
        self, features: Tensor, *, random: torch.Generator | None = None, progress: Progress | None = None
    ) -> Tensor:
        """Features `[B, M, N]` to samples `[B, spec.samples(N)]`. Nothing is drawn at random."""
        loudness = self._gain * self._loudness(features.double())
        count = self.spec.samples(features.shape[2])
        time = torch.arange(count, dtype=torch.float64, device=features.device)
        # Frame of each sample, counted from the centre of the first one.
        place = ((time - self._first_centre()) / self.spec.hop_length).clamp(0, features.shape[2] - 1)
        before = place.long()
        after = (before + 1).clamp(max=features.shape[2] - 1)
        share = place - before
        sound = features.new_zeros(features.shape[0], count, dtype=torch.float64)
        for band, sines in enumerate(self._frequencies):
            wave = torch.zeros_like(time)
            for number, frequency in enumerate(sines.tolist()):
                # Schroeder's phases (1970) keep the peak of many sines low.
                phase = math.pi * (band + number / len(sines)) ** 2 / self.spec.n_mels
                wave += torch.sin(2 * math.pi * frequency / self.spec.sample_rate * time + phase)
            sound += torch.lerp(loudness[:, band, before], loudness[:, band, after], share) * wave
            if progress:
                progress(band + 1, self.spec.n_mels)
        return sound.clamp(-1, 1).float()

    def _loudness(self, features: Tensor) -> Tensor:
        """The amplitude `[B, M, N]` of each band's sines: what makes a band hear the value it has."""
        mel = dsp.expand(features, self.spec)
        heard = torch.where(mel > 1.001 * self.spec.floor, mel, 0.0)  # at the floor there is silence
        return (heard / self._response.to(features.device)[:, None]) ** (1 / self.spec.power)

    def _first_centre(self) -> float:
        """The sample on which the first frame is centred."""
        return {"same": self.spec.hop_length / 2, "center": 0.0, "valid": self.spec.n_fft / 2}[self.spec.framing]


def _frequencies(spec: FeatureSpec, count: int) -> Tensor:
    """Frequencies `[M, count]` in Hz, spread around the centre of each band."""
    edges = torch.from_numpy(dsp.band_edges(spec))
    centres, widths = edges[1:-1, None], (edges[2:] - edges[:-2])[:, None] / 2
    return centres + widths * ((torch.arange(count) + 0.5) / count - 0.5)


def _response(spec: FeatureSpec, frequencies: Tensor) -> Tensor:
    """What each band `[M]` hears, as a mel value, when every sine of the bank plays with amplitude 1."""
    bins = torch.arange(spec.n_fft // 2 + 1, dtype=torch.float64) * (spec.sample_rate / spec.n_fft)
    apart = (bins[:, None] - frequencies.flatten()) * (spec.win_length / spec.sample_rate)
    # The spectrum of a Hann window: three overlapping sinc functions.
    lobes = spec.win_length * (0.5 * apart.sinc() + 0.25 * (apart - 1).sinc() + 0.25 * (apart + 1).sinc())
    if spec.window_norm:
        lobes /= math.sqrt(3 / 8 * spec.win_length)
    # Lobes of different sines add as powers, because their phases are unrelated.
    power = (lobes / 2).square().sum(1)
    return dsp.mel_filterbank(spec).double() @ power ** (spec.power / 2)
