"""What this package offers to synthkit."""

from __future__ import annotations

from synthkit import Offer, hookimpl


@hookimpl
def synthkit_components() -> list[Offer]:
    """One vocoder."""
    return [
        Offer(
            kind="vocoder",
            name="sine-bank",
            build="synthkit_hello.vocoder:SineBank",
            config="synthkit_hello.config:SineBankConfig",
            summary="One sine per mel band, as loud as the band; learns nothing.",
        )
    ]
