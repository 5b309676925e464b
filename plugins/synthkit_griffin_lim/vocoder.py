"""The Griffin-Lim vocoder: mel inversion, then phase estimation, clip by clip."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from synthkit import dsp
from synthkit.errors import ConfigError
from synthkit.interfaces import Progress, Vocoder
from synthkit.specs import FeatureSpec
from synthkit_griffin_lim.config import GriffinLimConfig
from synthkit_griffin_lim.inversion import MelInversion
from synthkit_griffin_lim.phase import PhaseEstimator


class GriffinLim(Vocoder):
    """Features of any spec to sound, without learning anything.

    >>> spec = FeatureSpec(sample_rate=8000, n_fft=256, hop_length=64, n_mels=20)
    >>> GriffinLim(GriffinLimConfig(iterations=2), spec).vocode(torch.full((3, 20, 10), -2.0)).shape
    torch.Size([3, 640])
    """

    def __init__(self, config: GriffinLimConfig, spec: FeatureSpec) -> None:
        config.check_spec(spec)
        self.config, self.spec = config, spec

    def vocode(
        self, features: Tensor, *, random: torch.Generator | None = None, progress: Progress | None = None
    ) -> Tensor:
        """Features `[B, M, N]` to samples `[B, spec.samples(N)]` on the same device.

        All items begin with the same random phases, which one number from `random` gives (None: always the same number).
        So an item does not depend on the others, and two equal channels stay equal. Frames at the floor are silence.

        Raises:
            ConfigError: where the shape is another or a value is not finite.
        """
        if features.ndim != 3 or features.shape[1] != self.spec.n_mels:
            raise ConfigError(
                f"griffin-lim needs features [B, {self.spec.n_mels}, N], not of the shape {list(features.shape)}"
            )
        if not torch.isfinite(features).all():
            raise ConfigError("the features have values that are not finite numbers")
        items, _, frames = features.shape
        samples = self.spec.samples(frames)
        seed = 0 if random is None else int(torch.randint(2**62, (), generator=random, device=random.device))
        if not items or not samples:
            return features.new_zeros(items, samples, dtype=torch.float32)
        settings = self.config
        estimator = PhaseEstimator(self.spec, frames, features.device)
        sounds = []
        with torch.no_grad():
            for index, item in enumerate(features):

                def report(done: int, index: int = index) -> None:
                    if progress:
                        progress(index * settings.iterations + done, items * settings.iterations)

                sound = estimator.estimate(
                    self.magnitudes(item),
                    iterations=settings.iterations,
                    momentum=settings.momentum,
                    relaxation=settings.relaxation if settings.momentum else 1.0,
                    convergence_db=settings.convergence_db,
                    random=torch.Generator().manual_seed(seed),
                    progress=report,
                )
                report(settings.iterations)
                sounds.append(sound)
        return torch.stack(sounds)

    def magnitudes(self, features: Tensor) -> Tensor:
        """Features `[M, N]` to STFT magnitudes `[N, n_fft // 2 + 1]`, with `window_norm` and without `magnitude_eps`."""
        spec = self.spec
        # Not every device has float64; the processor always has.
        mel = dsp.expand(features.to("cpu" if features.device.type == "mps" else features.device, torch.float64), spec)
        mel = torch.where(mel > spec.floor * (1 + 1e-3), mel, 0.0)
        solved = _inversion(spec, self.config.inversion_iterations, mel.device)(mel)
        if spec.magnitude_eps:
            solved = (solved ** (2 / spec.power) - spec.magnitude_eps).clamp(min=0).sqrt()
        elif spec.power == 2:
            solved = solved.sqrt()
        return solved.T.float().contiguous().to(features.device)


@lru_cache(maxsize=8)
def _inversion(spec: FeatureSpec, iterations: int, device: torch.device) -> MelInversion:
    with torch.inference_mode(False):
        return MelInversion(dsp.mel_filterbank(spec).to(device), iterations=iterations)
