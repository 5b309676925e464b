"""Where and with what a report was made."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version

_DISTRIBUTIONS = ("synthkit", "torch", "torchaudio", "numpy", "soundfile", "soxr", "librosa")


def describe(device_name: str, plugins: Mapping[str, str]) -> dict[str, str]:
    """The environment as name -> value, in the order of the table.

    Args:
        device_name: A torch device, as `pick_device` gives it.
        plugins: Distribution -> version of the plugins that the recipe uses.
    """
    rows = {"made": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"), "device": _device(device_name)}
    rows["system"] = platform.platform(terse=True)
    rows["processor"] = f"{platform.machine()}, {os.cpu_count()} logical cores"
    rows["python"] = sys.version.split()[0]
    for name in _DISTRIBUTIONS:
        try:
            rows[name] = version(name)
        except PackageNotFoundError:
            rows[name] = "not installed"
    return {**rows, **{name: number for name, number in plugins.items() if name not in rows}}


def _device(name: str) -> str:
    import torch

    if name.startswith("cuda") and torch.cuda.is_available():
        return f"{name} ({torch.cuda.get_device_name(torch.device(name))})"
    return f"{name} ({torch.get_num_threads()} threads)" if name == "cpu" else name
