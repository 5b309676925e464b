"""What this plugin offers. Imports nothing heavy."""

from __future__ import annotations

from synthkit.hookspecs import hookimpl
from synthkit.interfaces import Offer


@hookimpl
def synthkit_components() -> list[Offer]:
    """The data set."""
    return [
        Offer(
            kind="dataset",
            name="fma",
            build="synthkit_fma.dataset:FMA",
            config="synthkit_fma.config:FMAConfig",
            summary="FMA: 8,000 to 106,574 tracks of the Free Music Archive, with genres, licences and official splits.",
        )
    ]
