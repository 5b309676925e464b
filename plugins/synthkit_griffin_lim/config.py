"""Settings of the Griffin-Lim vocoder."""

from __future__ import annotations

from pydantic import Field

from synthkit.config import PartConfig
from synthkit.errors import ConfigError
from synthkit.specs import FeatureSpec


class GriffinLimConfig(PartConfig):
    """Fast Griffin-Lim (Perraudin, Balazs, Søndergaard 2013) after a non-negative inversion of the mel bands."""

    iterations: int = Field(default=60, ge=0)
    """Rounds of phase estimation at most; 32 is enough for a draft."""
    momentum: float = Field(default=0.99, ge=0, lt=1)
    """How far each round goes beyond the last (alpha of the paper, which finds 0.99 best); 0 is Griffin and Lim of 1984."""
    relaxation: float = Field(default=1.25, ge=1, le=1.25)
    """How far each round goes beyond its projection (gamma of Nenov et al. 2023); 1 is the algorithm of 2013. Without momentum it
    is 1."""
    convergence_db: float | None = Field(default=None, lt=0)
    """Stop as soon as the spectral convergence, 20 log10(||S - |STFT|| / ||S||), is this low; null makes all rounds."""
    inversion_iterations: int = Field(default=25, ge=1)
    """Newton steps of the mel inversion at most; features of real sound need 5 to 10."""

    def check_spec(self, spec: FeatureSpec) -> None:
        """Griffin-Lim takes features of any spec whose frames overlap by a quarter or more."""
        if 4 * spec.hop_length > 3 * spec.win_length:
            raise ConfigError(
                f"griffin-lim needs frames that overlap by a quarter: hop_length {spec.hop_length} "
                f"is more than three quarters of win_length {spec.win_length}"
            )
