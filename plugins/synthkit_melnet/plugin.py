"""What this plugin offers. Imports nothing heavy."""

from __future__ import annotations

from synthkit.hookspecs import hookimpl
from synthkit.interfaces import Offer


@hookimpl
def synthkit_components() -> list[Offer]:
    """The MelNet model."""
    return [
        Offer(
            kind="model",
            name="melnet",
            build="synthkit_melnet.model:MelNet",
            config="synthkit_melnet.config:MelNetConfig",
            summary="MelNet (2019): spectrograms element by element, from coarse to fine; an exact likelihood.",
        ),
    ]
