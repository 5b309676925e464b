"""How cMelGAN learns: the laws of objectives, labels that are told apart, axes that are right, a collapse that is seen."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from synthkit.errors import ConfigError, TrainingError
from synthkit.interfaces import Batch, Request
from synthkit.specs import FeatureSpec
from synthkit.testing import battery
from synthkit.training.average import Average
from synthkit.training.engine import Engine, Numerics, seeded
from synthkit_cmelgan.config import CMelGANConfig, CMelGANObjectiveConfig
from synthkit_cmelgan.model import CMelGAN
from synthkit_cmelgan.objective import CMelGANObjective

SPEC = FeatureSpec(sample_rate=8000, n_fft=256, hop_length=64, n_mels=16, floor=1e-3)
LABELS = ("down", "up")
MODELS: dict[str, dict[str, Any]] = {
    "path": {"path": {"width": 8, "style": 4, "step": 3}},
    "map": {
        "preset": "published-1d",
        "map": {
            "noise": 6,
            "start_channels": 4,
            "columns": 4,
            "channels": [6, 4, 1],
            "kernels": [4, 4, 3],
            "strides": [4, 2, 1],
            "residual_layers": 2,
            "refine": [4],
            "dropout": 0.0,
        },
    },
}
CRITICS: dict[str, Any] = {
    "critic": {"width": 8, "layers": 3},
    "map_critic": {"channels": [4, 8], "kernels": [5, 6], "strides": [1, 4], "groups": [1, 4], "sigmoid": False},
}
GAMES: dict[str, tuple[str, dict[str, Any]]] = {
    "default": ("path", {}),
    "bce": ("path", {"adversarial": "bce", "r1_weight": 0.0, "critic_steps": 2}),
    "published": ("map", {"preset": "published"}),
    "map-hinge": ("map", {"adversarial": "hinge"}),
}
# While both scores lie within the hinge's margin, the gradients of the real and the made cancel at what is added to every score.
# A weight-normed 1 x 1 convolution of one channel to one has a length, and no direction to learn.
STILL = (
    "objective.critic.*any.bias",
    "objective.critic.hidden.bias",
    "objective.critic.score.bias",
    "generator.network.stages.2.3.*.original1",
)


def build(
    game: str, engine: Engine | None = None, labels: tuple[str, ...] = LABELS, **changes: Any
) -> CMelGANObjective:
    design, settings = GAMES[game]
    config = CMelGANObjectiveConfig.model_validate({**CRITICS, **settings, **changes})
    return CMelGANObjective(
        config, CMelGAN(CMelGANConfig.model_validate(MODELS[design]), SPEC, labels), engine or Engine()
    )


@pytest.mark.parametrize(
    "check",
    [
        pytest.param(check, id=f"{game}-{check}")
        for game in GAMES
        for check in battery("objective", lambda engine, game=game: build(game, engine), still=STILL)
    ],
)
def test_the_laws_of_objectives(check: Any) -> None:
    check()
