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
            name="gtzan",
            build="synthkit_gtzan.dataset:GTZAN",
            config="synthkit_gtzan.config:GTZANConfig",
            summary="GTZAN: 1,000 excerpts of 30 s in ten genres, with its published splits and its known faults.",
        )
    ]
