"""Prepared data: the cache of decoded sound, and crops drawn from it. Needs numpy, no torch."""

from __future__ import annotations

from synthkit._data.crops import Crops, Loader, RawBatch
from synthkit._data.prepared import Entry, Prepared

__all__ = ["Crops", "Entry", "Loader", "Prepared", "RawBatch"]
