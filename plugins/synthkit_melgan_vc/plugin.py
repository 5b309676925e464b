"""What this plugin offers. Imports nothing heavy."""

from __future__ import annotations

from synthkit.hookspecs import hookimpl
from synthkit.interfaces import Offer


@hookimpl
def synthkit_components() -> list[Offer]:
    """The converter and how it learns."""
    return [
        Offer(
            kind="converter",
            name="melgan-vc",
            build="synthkit_melgan_vc.converter:MelGANVC",
            config="synthkit_melgan_vc.config:MelGANVCConfig",
            summary="MelGAN-VC and TraVeLGAN: one kind of sound to another, of any length, what happens in it kept.",
            objective="melgan-vc",
        ),
        Offer(
            kind="objective",
            name="melgan-vc",
            build="synthkit_melgan_vc.objective:MelGANVCObjective",
            config="synthkit_melgan_vc.config:MelGANVCObjectiveConfig",
            summary="Hinge critic of assembled pieces, TraVeL loss with a siamese margin, and identity.",
        ),
    ]
