"""Weight norm under its several names, and an affine map of the input folded into a first convolution. Imports no torch.

The weight of a layer is `g v / |v|`, the norm taken over all axes but the first, for transposed convolutions too (their first axis
is the input's).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from synthkit.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

MAGNITUDE, DIRECTION = "original0", "original1"
"""Last words of the names of g and v."""
_NAMES = {"weight_g": f"parametrizations.weight.{MAGNITUDE}", "weight_v": f"parametrizations.weight.{DIRECTION}"}


def normalised(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights under the names of PyTorch's present weight norm, in float32.

    They come as `weight_g` and `weight_v` (PyTorch before 2.0), under the present names, or as a folded `weight`, which is taken
    as its own direction. A norm over another axis than the first is expressed anew.
    """
    named: dict[str, Tensor] = {}
    for name, value in weights.items():
        layer, _, last = name.rpartition(".")
        value = value.detach().float()
        if last == "weight":
            named |= _separated(layer, value)
        else:
            named[f"{layer}.{_NAMES.get(last, last)}"] = value
    for name in [name for name in named if name.endswith(MAGNITUDE)]:
        g, v = named[name], named.get(_direction(name))
        if v is not None and _agree(g, v) and g.shape[0] != v.shape[0]:
            named |= _separated(name.removesuffix(f".{_NAMES['weight_g']}"), _effective(g, v))
    return named


def affine_input(weights: Mapping[str, Tensor], layer: str, multiply: Tensor, add: Tensor) -> dict[str, Tensor]:
    """Weights of a network that makes of x what the given ones make of `x multiply[m] + add[m]`, band by band.

    Exact where the input of `layer`, its first, has been padded by reflection or by repetition.

    Raises:
        ConfigError: where that layer is not whole.
    """
    names = [f"{layer}.{name}" for name in (*_NAMES.values(), "bias")]
    g, v, b = (weights.get(name) for name in names)
    if g is None or v is None or b is None or not _agree(g, v) or v.shape[1:2] != add.shape:
        raise ConfigError(
            f"the first convolution, {layer!r}, is not whole: it needs {', '.join(names)} of fitting shapes"
        )
    weight = _effective(g.double(), v.double())
    bias = b.double() + (weight * add.double()[:, None]).sum((1, 2))
    folded = (weight * multiply.double()[:, None]).float()
    return {**weights, **_separated(layer, folded), f"{layer}.bias": bias.float()}


def _direction(magnitude: str) -> str:
    return magnitude.removesuffix(MAGNITUDE) + DIRECTION


def _effective(g: Tensor, v: Tensor) -> Tensor:
    """`g v / |v|`, the norm over the axes along which g has no extent."""
    axes = [axis for axis in range(v.ndim) if g.shape[axis] == 1]
    return g * v / v.square().sum(axes, keepdim=True).sqrt()


def _agree(g: Tensor, v: Tensor) -> bool:
    return g.ndim == v.ndim and all(one in (1, size) for one, size in zip(g.shape, v.shape, strict=True))


def _separated(layer: str, weight: Tensor) -> dict[str, Tensor]:
    """A whole weight as magnitude and direction; what is all zero has no direction, so it gets one."""
    magnitude = weight.flatten(1).norm(dim=1).view(-1, *[1] * (weight.ndim - 1))
    weight = weight + (magnitude == 0)
    return {f"{layer}.{_NAMES['weight_g']}": magnitude, f"{layer}.{_NAMES['weight_v']}": weight}
