"""cMelGAN: a label and a seed to log-mel features, of any length."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from synthkit.interfaces import GenerativeModel, Progress, Request
from synthkit.sampling import evaluating, item_generators, label_indices
from synthkit.specs import FeatureSpec
from synthkit_cmelgan.config import CMelGANConfig
from synthkit_cmelgan.network import build_generator
from synthkit_cmelgan.noise import Noise, draw

FRAMES_AT_ONCE = 16_384
"""Frames, of all items together, that go through the network at once."""


class CMelGAN(GenerativeModel):
    """A conditional convolutional GAN on spectrograms (Kaunismaa et al. 2022, arXiv 2205.07319).

    >>> spec = FeatureSpec(sample_rate=8000, n_fft=256, hop_length=64, n_mels=20)
    >>> model = CMelGAN(CMelGANConfig(), spec, labels=("jazz", "rock"))
    >>> model.generate(Request(frames=50, count=2, labels=("rock", "jazz"), seeds=(1, 2))).shape
    torch.Size([2, 20, 50])
    """

    abilities = frozenset({"blend", "temperature"})

    def __init__(self, config: CMelGANConfig, spec: FeatureSpec, labels: tuple[str, ...]) -> None:
        """Raises `ConfigError` where `config` does not fit `spec`."""
        config.check_spec(spec)
        self.config = config
        self.spec = spec
        self.labels = labels
        self.classes = max(1, len(labels))
        self.generator = build_generator(config, spec, self.classes)

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """The generator."""
        return {"generator": self.generator}

    def generate(
        self, request: Request, *, random: torch.Generator | None = None, progress: Progress | None = None
    ) -> Tensor:
        """Features `[B, M, N]`; an item follows from its label and seed alone, and a longer one begins like a shorter one.

        A blend goes from label to label along the line between them and from seed to seed along arcs of the noise; the
        temperature is a factor of the noise. In the design `map` the beginnings are alike only where both have the same windows.

        Raises:
            ConfigError: for a label that the model does not know.
        """
        labels, noise = self._labels(request), self._noise(request, random).to(self.device)
        made = []
        at_once = max(1, FRAMES_AT_ONCE // request.frames)
        with torch.no_grad(), evaluating(self.generator):
            for start in range(0, request.count, at_once):
                part = slice(start, start + at_once)
                scaled = self.generator(Noise(noise.style[part], noise.path[part]), labels[part], request.frames)
                made.append(self.generator.scaling.inverse(scaled).clamp(min=self.spec.silence))
                if progress:
                    progress(min(request.count, start + at_once), request.count)
        return torch.cat(made)

    def one_hot(self, labels: Tensor | None, count: int) -> Tensor:
        """Indices `[B]` as weights `[B, classes]`; without labels there is one class that all belong to."""
        if labels is None:
            return torch.ones(count, 1, device=self.device)
        return functional.one_hot(labels, self.classes).float()

    def _labels(self, request: Request) -> Tensor:
        indices = label_indices(request.labels, self.labels, request.count, self.device)
        weights, blend = self.one_hot(indices, request.count), request.blend
        if blend is None or blend.labels is None:
            return weights
        others = label_indices(blend.labels, self.labels, request.count, self.device)
        share = torch.tensor(blend.share, device=self.device)[:, None]
        return weights.lerp(self.one_hot(others, request.count), share)

    def _noise(self, request: Request, random: torch.Generator | None) -> Noise:
        network, blend = self.generator.network, request.blend
        noise = draw(item_generators(request, random), network, request.frames)
        if blend is not None and blend.seeds:
            generators = [torch.Generator().manual_seed(seed) for seed in blend.seeds]
            noise = noise.towards(draw(generators, network, request.frames), torch.tensor(blend.share))
        return noise.times(request.temperature)
