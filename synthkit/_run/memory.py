"""How much memory is used, and what is said where there is not enough."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch

MIB = 2**20


def used(device: torch.device) -> dict[str, float]:
    """MiB in use: of this process, and the most that torch has held on a CUDA device so far."""
    sizes = {"memory_mib": _resident() / MIB}
    if device.type == "cuda":
        sizes["cuda_memory_mib"] = torch.cuda.max_memory_reserved(device) / MIB
    return sizes


def is_shortage(error: BaseException) -> bool:
    """Whether an error says that there is not enough memory, on whatever device.

    >>> is_shortage(MemoryError()), is_shortage(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    (True, False)
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS)


_WORDS = ("DefaultCPUAllocator", "not enough memory", "can't allocate memory", "out of memory", "std::bad_alloc")
"""What torch says of a shortage in a plain RuntimeError: on a CPU, on Windows, on mps, in a library."""


def _resident() -> int:
    """Bytes of this process in memory: now on Linux, the most so far on other systems that tell."""
    statm = Path("/proc/self/statm")
    if statm.is_file():
        return int(statm.read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    try:
        import resource
    except ImportError:  # Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
