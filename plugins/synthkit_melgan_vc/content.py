"""What happens in a clip, whatever it is played on: how loud it is and how high it lies, moment by moment."""

from __future__ import annotations

import torch
from torch import Tensor

from synthkit import dsp
from synthkit.specs import FeatureSpec

_FAINT = 1e-2
"""Energy beside that of the loudest frame, below which a frame counts less and less."""
_TINY = 1e-8


def courses(features: Tensor, spec: FeatureSpec) -> tuple[Tensor, Tensor]:
    """Features `[B, M, N]` to `[B, 2, N]`, loudness (ln of the energy) and height (the mean band, weighted by
    the square of its energy, so that the strongest decides), and the energies `[B, N]`.

    >>> spec = FeatureSpec(sample_rate=8000, n_fft=256, hop_length=64, n_mels=3)
    >>> courses(torch.tensor([[[0.0], [-5.0], [-5.0]], [[0.0], [-5.0], [0.0]]]), spec)[0][..., 0].round(decimals=2)
    tensor([[0.0000, 0.0000],
            [0.6900, 1.0000]])
    """
    energy = dsp.expand(features, spec) ** (2 / spec.power)
    total = energy.sum(dim=1)
    bands = torch.arange(features.shape[1], device=features.device, dtype=features.dtype)
    strong = (energy / (energy.amax(dim=1, keepdim=True) + _TINY)).square()
    height = (strong * bands[:, None]).sum(dim=1) / (strong.sum(dim=1) + _TINY)
    return torch.stack([(total + _TINY).log(), height], dim=1), total


def content_gap(made: Tensor, source: Tensor, spec: FeatureSpec) -> Tensor:
    """How little the courses of `made` follow those of `source`, `[B, M, N]` both: 1 less their correlation, mean over both courses.

    0 says that one rises and falls with the other, by however much. Where the source is faint, its height hardly counts; its
    loudness does, so that silence stays silence.

    >>> spec = FeatureSpec(sample_rate=8000, n_fft=256, hop_length=64, n_mels=20)
    >>> features = torch.randn(2, 20, 30, generator=torch.Generator().manual_seed(1))
    >>> bool(content_gap(features - 0.5, features, spec) < 1e-3 < 0.5 < content_gap(features.flip(2), features, spec))
    True
    """
    with torch.autocast(made.device.type, enabled=False):
        found, _ = courses(made.float(), spec)
        wanted, energy = courses(source.float(), spec)
        heard = (energy / (_FAINT * energy.amax(dim=1, keepdim=True) + _TINY)).clamp(max=1)
        weight = torch.stack([torch.ones_like(heard), heard], dim=1)
        weight = weight / weight.sum(dim=2, keepdim=True).clamp(min=_TINY)
        one, other = (course - (weight * course).sum(dim=2, keepdim=True) for course in (found, wanted))
        spreads = (weight * one.square()).sum(2) * (weight * other.square()).sum(2)
        correlation = (weight * one * other).sum(2) / (spreads + _TINY).sqrt()
        return (1 - correlation).mean()
