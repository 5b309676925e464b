"""Settings of what the core itself offers."""

from __future__ import annotations

from synthkit.config import Config


class MetricConfig(Config):
    """A metric without settings of its own."""


class TrackerConfig(Config):
    """A tracker without settings of its own."""
