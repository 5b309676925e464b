"""Which device a run uses."""

from __future__ import annotations

import torch

from synthkit.errors import ConfigError


def pick_device(name: str) -> torch.device:
    """The device of a recipe's `device:`; `auto` takes cuda, then mps, then cpu.

    >>> pick_device("cpu")
    device(type='cpu')
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"the device {name!r} cannot be used here: {str(error).splitlines()[0]}; use 'auto' or 'cpu'"
        ) from error
    return device
