"""Log mel features of any spec, by the reference maths of `synthkit.dsp`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synthkit.builtin.config import LogMelConfig
from synthkit.dsp import log_mel
from synthkit.interfaces import FeatureExtractor

if TYPE_CHECKING:
    from torch import Tensor


class LogMel(FeatureExtractor):
    """Log mel spectrogram.

    >>> import torch
    >>> LogMel(LogMelConfig(preset="hifi-gan")).extract(torch.zeros(2, 1024)).shape
    torch.Size([2, 80, 4])
    """

    def __init__(self, config: LogMelConfig) -> None:
        self.spec = config.spec()

    def extract(self, samples: Tensor) -> Tensor:
        """`[B, T]` samples in -1..1 to features `[B, M, spec.frames(T)]`, differentiable, on the same device.

        Raises:
            AudioError: where the samples are not `[B, T]` with T >= 1.
        """
        return log_mel(samples, self.spec)
