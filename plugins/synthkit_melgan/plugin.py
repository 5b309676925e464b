"""What this plugin offers. Imports nothing heavy."""

from __future__ import annotations

from synthkit.hookspecs import hookimpl
from synthkit.interfaces import Offer


@hookimpl
def synthkit_components() -> list[Offer]:
    """The MelGAN vocoder and how it learns."""
    return [
        Offer(
            kind="vocoder",
            name="melgan",
            build="synthkit_melgan.vocoder:MelGAN",
            config="synthkit_melgan.config:MelGANConfig",
            summary="MelGAN (2019): a small, fast GAN vocoder; 4.3 million parameters, any hop.",
            objective="melgan",
            imports="synthkit_melgan.importing:IMPORTER",
        ),
        Offer(
            kind="objective",
            name="melgan",
            build="synthkit_melgan.objective:MelGANObjective",
            config="synthkit_melgan.config:MelGANObjectiveConfig",
            summary="Hinge or least-squares critic, feature matching, and optional mel and multi-resolution STFT losses.",
        ),
    ]
