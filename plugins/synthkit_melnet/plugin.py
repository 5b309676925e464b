"""What this plugin offers. Imports nothing heavy."""

from __future__ import annotations

from synthkit.hookspecs import hookimpl
from synthkit.interfaces import Offer


@hookimpl
def synthkit_components() -> list[Offer]:
    """The MelNet model and how it learns."""
    return [
        Offer(
            kind="model",
            name="melnet",
            build="synthkit_melnet.model:MelNet",
            config="synthkit_melnet.config:MelNetConfig",
            summary="MelNet (2019): spectrograms element by element, from coarse to fine; an exact likelihood.",
            objective="melnet",
        ),
        Offer(
            kind="objective",
            name="melnet",
            build="synthkit_melnet.objective:MelNetObjective",
            config="synthkit_melnet.config:MelNetObjectiveConfig",
            summary="Maximum likelihood, tier by tier, with two baselines beside it.",
        ),
    ]
