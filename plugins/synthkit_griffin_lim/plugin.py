"""What this plugin offers."""

from __future__ import annotations

from synthkit.hookspecs import hookimpl
from synthkit.interfaces import Offer


@hookimpl
def synthkit_components() -> list[Offer]:
    """The Griffin-Lim vocoder."""
    return [
        Offer(
            kind="vocoder",
            name="griffin-lim",
            build="synthkit_griffin_lim.vocoder:GriffinLim",
            config="synthkit_griffin_lim.config:GriffinLimConfig",
            summary="Fast Griffin-Lim on an exact mel inversion; learns nothing, works with any features.",
        )
    ]
