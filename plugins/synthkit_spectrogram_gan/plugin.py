"""What this plugin offers. Imports nothing heavy."""

from __future__ import annotations

from synthkit.hookspecs import hookimpl
from synthkit.interfaces import Offer


@hookimpl
def synthkit_components() -> list[Offer]:
    """The spectrogram GANs and how they learn."""
    return [
        Offer(
            kind="model",
            name="spectrogram-gan",
            build="synthkit_spectrogram_gan.model:SpectrogramGAN",
            config="synthkit_spectrogram_gan.config:SpectrogramGANConfig",
            summary="DCGAN and cGAN on small log-mel spectrograms; from noise and a label to music of any length.",
            objective="spectrogram-gan",
        ),
        Offer(
            kind="objective",
            name="spectrogram-gan",
            build="synthkit_spectrogram_gan.objective:SpectrogramGANObjective",
            config="synthkit_spectrogram_gan.config:SpectrogramGANObjectiveConfig",
            summary="A critic of whole maps, binary cross-entropy as published; hinge and least squares by config.",
        ),
    ]
