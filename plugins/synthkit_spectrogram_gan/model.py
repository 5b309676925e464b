"""The spectrogram GAN as a model: maps in physical units, and clips of any length made of maps that fade into each other."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn

from synthkit import dsp
from synthkit.errors import ConfigError
from synthkit.interfaces import Ability, GenerativeModel, Progress, Request
from synthkit.sampling import evaluating, item_generators, label_indices, slerp
from synthkit.scaling import FeatureScaling
from synthkit.specs import FeatureSpec
from synthkit_spectrogram_gan.config import SpectrogramGANConfig
from synthkit_spectrogram_gan.network import Generator, one_hot

_AT_ONCE = 64
"""Maps that go through the network together: so memory does not grow with the length of a clip."""


class SpectrogramGAN(GenerativeModel):
    """A generator of maps `[M, N]`, a second or so each, behind features in physical units.

    A clip longer than a map is a row of maps, each fading into the next as sounds are mixed: their powers are added, with shares
    that add up to 1, so that the level stays. The noise of neighbouring maps is correlated (`steadiness`), and each is normal noise
    as the network knows it.

    >>> spec = FeatureSpec(sample_rate=22050, n_fft=1024, hop_length=256, n_mels=64)
    >>> model = SpectrogramGAN(SpectrogramGANConfig(width=0.1, conditional=True), spec, ("jazz", "rock"))
    >>> model.generate(Request(frames=150, count=2, labels=("rock", "jazz"), seeds=(1, 2))).shape
    torch.Size([2, 64, 150])
    """

    abilities: frozenset[Ability] = frozenset({"blend", "temperature"})

    def __init__(self, config: SpectrogramGANConfig, spec: FeatureSpec, labels: tuple[str, ...]) -> None:
        """Raises `ConfigError` where `config` does not fit `spec`, or wants labels and there are none."""
        config.check_spec(spec)
        self.config = config
        self.spec = spec
        self.architecture = config.architecture
        if self.architecture.conditional and not labels:
            raise ConfigError(
                f"{config.preset} learns what each label sounds like, but the clips have no labels; set conditional to false"
            )
        self.labels = labels if self.architecture.conditional else ()
        self.generator = Generator(self.architecture, len(self.labels))
        self.scaling = FeatureScaling(spec.n_mels)

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """The generator, and how its maps become features: the range of those it learned from."""
        return {"generator": self.generator, "scaling": self.scaling}

    def features(self, maps: Tensor) -> Tensor:
        """Maps of the network to features of `spec`; what is below the floor, where no sound is, is at the floor."""
        values: Tensor = self.scaling.inverse(maps.float())
        return dsp.compress(dsp.expand(values, self.spec), self.spec)

    def given(self, labels: Tensor | None) -> Tensor | None:
        """Label indices `[B]` as both networks are told them: one-hot `[B, L]`; None for a model that is not conditional.

        Raises `ConfigError` for a conditional model where there are none.
        """
        if not self.labels:
            return None
        if labels is None:
            raise ConfigError(
                f"{self.config.preset} is conditional, so every crop needs a label; set conditional to false"
            )
        return one_hot(labels, len(self.labels))

    @torch.no_grad()
    def generate(
        self, request: Request, *, random: torch.Generator | None = None, progress: Progress | None = None
    ) -> Tensor:
        """Features `[B, M, N]`; lower temperatures keep the noise nearer to 0, where maps are more alike.

        Raises `ConfigError` for a label that is not known.
        """
        count = self._maps_for(request.frames)
        noise, told = self._noise(request, count, random), self._told(request)
        rows = noise.transpose(0, 1).flatten(0, 1)
        told = None if told is None else told.repeat(count, 1)
        made: list[Tensor] = []
        with evaluating(self.generator):
            for start in range(0, len(rows), _AT_ONCE):
                some = slice(start, start + _AT_ONCE)
                made.append(self.features(self.generator(rows[some], None if told is None else told[some])))
                if progress:
                    progress(min(start + _AT_ONCE, len(rows)), len(rows))
        maps = torch.cat(made).view(count, request.count, self.spec.n_mels, -1)
        return crossfaded(list(maps), self.config.fade, self.spec)[..., : request.frames]

    def _maps_for(self, frames: int) -> int:
        size = self.architecture.size[1]
        return 1 + math.ceil(max(0, frames - size) / (size - self.config.fade))

    def _told(self, request: Request) -> Tensor | None:
        """One-hot labels `[B, L]`, or a mixture of the two that a blend lies between."""
        told, blend = self._one_hot(request.labels, request.count), request.blend
        if blend is None or blend.labels is None:
            return told
        other = self._one_hot(blend.labels, request.count)
        assert told is not None, "only a conditional model knows the labels of a blend"
        assert other is not None
        return torch.lerp(told, other, torch.tensor(blend.share, device=self.device)[:, None])

    def _one_hot(self, labels: tuple[str, ...] | None, count: int) -> Tensor | None:
        return self.given(label_indices(labels, self.labels, count, self.device))

    def _noise(self, request: Request, count: int, random: torch.Generator | None) -> Tensor:
        """Noise `[B, count, Z]` of so many maps, from the items' own seeds."""
        noise = self._path(item_generators(request, random), count)
        blend = request.blend
        if blend is not None and blend.seeds:
            other = self._path([torch.Generator().manual_seed(seed) for seed in blend.seeds], count)
            noise = slerp(noise, other, torch.tensor(blend.share)[:, None])
        return (request.temperature * noise).to(self.device)

    def _path(self, generators: list[torch.Generator], count: int) -> Tensor:
        """A walk of `count` steps for each item: each is normal noise, and as near to the one before as `steadiness` says.

        The first steps are the same however many follow.
        """
        steady, size = self.config.steadiness, self.architecture.latent
        fresh = [torch.stack([torch.randn(size, generator=one) for one in generators]) for _ in range(count)]
        walk = fresh[:1]
        for step in fresh[1:]:
            walk.append(steady * walk[-1] + math.sqrt(1 - steady**2) * step)
        return torch.stack(walk, dim=1)


def crossfaded(maps: list[Tensor], fade: int, spec: FeatureSpec) -> Tensor:
    """Features `[B, M, N]` each, one after the other, the last `fade` frames of one mixed with the first of the next.

    Mel values of power 2 are added as those of two sounds that have nothing in common, with shares cos^2 and sin^2: so are
    sounds faded into each other at equal power. `fade` is at most half of N.

    >>> spec = FeatureSpec(sample_rate=8000, n_fft=256, hop_length=64, n_mels=1)
    >>> made = crossfaded([torch.full((1, 1, 6), -1.0), torch.full((1, 1, 6), -1.0)], 3, spec)
    >>> made.shape, bool((made + 1).abs().max() < 1e-5)
    (torch.Size([1, 1, 9]), True)
    """
    if len(maps) == 1 or not fade:
        return torch.cat(maps, dim=-1)
    rising = torch.sin(torch.pi / 2 * (torch.arange(fade, device=maps[0].device) + 0.5) / fade).square()
    pieces = [maps[0][..., :-fade]]
    for before, after in pairwise(maps):
        powers = [dsp.expand(one, spec) ** (2 / spec.power) for one in (before[..., -fade:], after[..., :fade])]
        mixed = torch.lerp(powers[0], powers[1], rising) ** (spec.power / 2)
        pieces += [dsp.compress(mixed, spec), after[..., fade : after.shape[-1] - fade]]
    return torch.cat([*pieces, maps[-1][..., -fade:]], dim=-1)
