"""Settings of the sine bank."""

from __future__ import annotations

from pydantic import Field

from synthkit.config import PartConfig


class SineBankConfig(PartConfig):
    """One sine, or a few, per mel band."""

    sines_per_band: int = Field(default=1, ge=1, le=8)
    """Sines in each band, evenly spaced; more sound less like an organ and more like a choir."""
    level_db: float = Field(default=0.0, ge=-60, le=20)
    """Level of the output against what the features say."""
