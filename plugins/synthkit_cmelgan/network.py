"""cMelGAN's generator as it is saved: one of the two designs, between the scaling of its features and their floor."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from synthkit.errors import ConfigError
from synthkit.scaling import FeatureScaling
from synthkit.specs import FeatureSpec
from synthkit_cmelgan.config import CMelGANConfig, CMelGANObjectiveConfig
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

    def fit_scaling(self, features: Tensor) -> None:
        """Fit the scaling to real features: to a range of -1..1, what the design `path` can make, or to a variance of 1."""
        if isinstance(self.network, PathGenerator):
            self.scaling.fit_range([features])
        else:  # a band that hardly ever sounds is not blown up to the size of the others
            self.scaling.fit_standard([features], least=0.1 * float(features.std()))


def build_generator(config: CMelGANConfig, spec: FeatureSpec, classes: int) -> Generator:
    """The generator of the configured design and sizes."""
    network: PathGenerator | MapGenerator
    if config.design == "path":
        network = PathGenerator(classes, spec.n_mels, **config.path.model_dump())
    else:
        network = MapGenerator(classes, spec.n_mels // config.map.growth, **config.map.model_dump())
    return Generator(network, spec, classes)


def build_critic(
    config: CMelGANObjectiveConfig, model: CMelGANConfig, spec: FeatureSpec, classes: int
) -> PathCritic | MapCritic:
    """The critic that goes with the generator's design. Raises `ConfigError` where it has more layers than bands to halve."""
    if model.design == "map":
        return MapCritic(classes, spec.n_mels, model.map.window, **config.map_critic.model_dump())
    layers = len(config.critic.channels)
    if spec.n_mels < 2**layers:
        raise ConfigError(
            f"cMelGAN's critic halves the bands {layers} times, for which there must be {2**layers}, but the features have n_mels "
            f"{spec.n_mels}; take a number out of critic.channels"
        )
    return PathCritic(classes, spec.n_mels, **config.critic.model_dump())
