"""Which device a run uses."""

from __future__ import annotations

import torch

from synthkit.errors import ConfigError


def pick_device(name: str, local: int | None = None) -> torch.device:
    """The device of a recipe's `device:`; `auto` takes cuda, then mps, then cpu.

    With `local`, the number of this process among several on its machine, it is the GPU of that number, or the CPU.

    >>> pick_device("cpu"), pick_device("cpu", local=1)
    (device(type='cpu'), device(type='cpu'))

    Raises:
        ConfigError: where it cannot be used here, or not by several processes.
    """
    if name == "auto":
        name = _best(alone=local is None)
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"the device {name!r} cannot be used here: {str(error).splitlines()[0]}; use 'auto' or 'cpu'"
        ) from error
    return device if local is None else _one_of_several(device, local)


def _best(alone: bool) -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if alone and torch.backends.mps.is_available() else "cpu"


def _one_of_several(device: torch.device, local: int) -> torch.device:
    if device.type == "cpu":
        return device
    if device.type != "cuda" or device.index is not None:
        raise ConfigError(
            f"several processes cannot share the device {str(device)!r}: use 'auto', 'cuda' (a GPU for each) or 'cpu'"
        )
    count = torch.cuda.device_count()
    if local >= count:
        raise ConfigError(
            f"process {local + 1} of this machine has no GPU, there are {count}: start {count} processes here, "
            "or set the device to 'cpu'"
        )
    return torch.device("cuda", local)
