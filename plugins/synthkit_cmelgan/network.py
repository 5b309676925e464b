"""cMelGAN's generator as it is saved: one of the two designs, between the scaling of its features and their floor."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from synthkit.errors import ConfigError
from synthkit.scaling import FeatureScaling
from synthkit.specs import FeatureSpec
from synthkit_cmelgan.config import CMelGANConfig, CMelGANObjectiveConfig
from synthkit_cmelgan.encoder import PathEncoder
from synthkit_cmelgan.maps import MapCritic, MapGenerator
from synthkit_cmelgan.noise import Noise
from synthkit_cmelgan.paths import PathCritic, PathGenerator


class Generator(nn.Module):
    """Noise and a label to features in the network's own units; `scaling` leads to physical units and back.

    What is made is not cut at the floor of the features here: what has sunk below it would learn nothing more, and in the end all
    would be silent.
    """

    variety: Tensor

    def __init__(self, network: PathGenerator | MapGenerator, spec: FeatureSpec, classes: int) -> None:
        super().__init__()
        self.network = network
        self.scaling = FeatureScaling(spec.n_mels)
        self.register_buffer("variety", torch.ones(classes))
        """How far apart the real windows of each label are (see `objective.variety_of`)."""

    def forward(self, noise: Noise, labels: Tensor, frames: int) -> Tensor:
        """Noise for `frames` frames and weights of the labels `[B, classes]`, one-hot or mixed, to features `[B, M, frames]`."""
        made: Tensor = self.network(noise.style, noise.path, labels)[..., :frames]
        return made


def build_generator(config: CMelGANConfig, spec: FeatureSpec, classes: int) -> Generator:
    """The generator of the configured design and sizes."""
    network: PathGenerator | MapGenerator
    if config.design == "path":
        path = config.path
        network = PathGenerator(classes, spec.n_mels, path.width, path.style, path.step, path.stages)
    else:
        sizes = config.map.model_dump()
        network = MapGenerator(classes, spec.n_mels // config.map.growth, **sizes)
    return Generator(network, spec, classes)


def build_encoder(
    config: CMelGANObjectiveConfig, model: CMelGANConfig, spec: FeatureSpec, classes: int
) -> PathEncoder | None:
    """The encoder that teaches the design `path`, where the objective wants one."""
    if model.design != "path" or not config.reconstruction_weight:
        return None
    path = model.path
    return PathEncoder(classes, spec.n_mels, path.width, path.style, path.step, path.stages)


def build_critic(
    config: CMelGANObjectiveConfig, model: CMelGANConfig, spec: FeatureSpec, classes: int
) -> PathCritic | MapCritic:
    """The critic that goes with the generator's design. Raises `ConfigError` where it has more layers than bands to halve."""
    if model.design == "path":
        if spec.n_mels < 2**config.critic.layers:
            raise ConfigError(
                f"cMelGAN's critic halves the bands {config.critic.layers} times, for which there must be {2**config.critic.layers}, but "
                f"the features have n_mels {spec.n_mels}; lower critic.layers"
            )
        return PathCritic(classes, spec.n_mels, config.critic.width, config.critic.layers)
    return MapCritic(classes, spec.n_mels, model.map.window, **config.map_critic.model_dump())
