"""What this plugin offers. Imports nothing heavy."""

from __future__ import annotations

from synthkit.hookspecs import hookimpl
from synthkit.interfaces import Offer


@hookimpl
def synthkit_components() -> list[Offer]:
    """The cMelGAN model and how it learns."""
    return [
        Offer(
            kind="model",
            name="cmelgan",
            build="synthkit_cmelgan.model:CMelGAN",
            config="synthkit_cmelgan.config:CMelGANConfig",
            summary="cMelGAN (2022): a GAN that makes log-mel features of a label, of any length.",
            objective="cmelgan",
        ),
        Offer(
            kind="objective",
            name="cmelgan",
            build="synthkit_cmelgan.objective:CMelGANObjective",
            config="synthkit_cmelgan.config:CMelGANObjectiveConfig",
            summary="A critic that is told the label, and a watch that stops a generator that has collapsed.",
        ),
    ]
