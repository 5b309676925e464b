"""Curves of features, one value per frame, that a model can learn to follow: they need no data beside the features."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from synthkit.specs import FeatureSpec, conversion
from synthkit_melnet.config import Condition


def loudness(features: Tensor, spec: FeatureSpec) -> Tensor:
    """`[B, N]`: the mean over the bands of features `[B, M, N]`, in their own units."""
    return features.mean(1)


def brightness(features: Tensor, spec: FeatureSpec) -> Tensor:
    """`[B, N]`: the mean band of features `[B, M, N]`, weighted by the energy in each; 0 the lowest, 1 the highest."""
    ln = dataclasses.replace(spec, log="ln", gain=1.0, offset=0.0)
    energy = (conversion(spec, ln)(features) * (2 / spec.power)).softmax(1)
    return torch.einsum("bmn,m->bn", energy, torch.linspace(0, 1, spec.n_mels, device=features.device))


_CURVES: Mapping[Condition, Callable[[Tensor, FeatureSpec], Tensor]] = {"loudness": loudness, "brightness": brightness}


def curves(names: Sequence[Condition], features: Tensor, spec: FeatureSpec) -> Tensor:
    """The named curves of features `[B, M, N]` of `spec`, `[B, C, N]` in the order of `names`."""
    found = [_CURVES[name](features, spec) for name in names]
    return torch.stack(found, dim=1) if found else features[:, :0]
