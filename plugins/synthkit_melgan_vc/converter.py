"""The MelGAN-VC converter: features of one label to features of another, of any length, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from synthkit import dsp
from synthkit.errors import ConfigError, nearest
from synthkit.interfaces import Converter, Progress
from synthkit.sampling import evaluating
from synthkit.scaling import FeatureScaling
from synthkit.specs import FeatureSpec
from synthkit_melgan_vc.config import MelGANVCConfig
from synthkit_melgan_vc.content import Content, Listener
from synthkit_melgan_vc.network import Generator
from synthkit_melgan_vc.pieces import AT_ONCE, Pieces
from synthkit_melgan_vc.unet import UNetGenerator

SILENT_WITHIN = 1.05
"""Mel values beside the floor up to which a band counts as silent: 0.2 dB of power, for rounding on the way here."""


class MelGANVC(Converter):
    """A generator of pieces behind features in physical units.

    >>> spec = FeatureSpec(sample_rate=22050, n_fft=1024, hop_length=256, n_mels=80)
    >>> config = MelGANVCConfig(source="jazz", target="classical", channels=16)
    >>> MelGANVC(config, spec, ("classical", "jazz")).convert(torch.zeros(2, 80, 101)).shape
    torch.Size([2, 80, 101])
    """

    def __init__(self, config: MelGANVCConfig, spec: FeatureSpec, labels: tuple[str, ...]) -> None:
        """Raises `ConfigError` where `config` does not fit `spec`, or the data have no such labels."""
        config.check_spec(spec)
        for label in (config.source, config.target):
            if label not in labels:
                raise ConfigError(
                    f"there is no label {label!r} in the data to convert between; {nearest(label, labels)}"
                )
        self.config = config
        self.spec = spec
        self.labels = labels
        self.source, self.target = config.source, config.target
        system = self.system = config.system
        self.generator: nn.Module = (
            Generator(spec.n_mels, system.channels, system.norm, system.residual, system.spectral)
            if system.family == "columns"
            else UNetGenerator(system.channels, system.norm, system.residual, system.spectral)
        )
        self.scaling = FeatureScaling(spec.n_mels)
        self.content = Content(spec)

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """The generator, and of the features that it learned from the range, and how high those of both labels lie."""
        return {"generator": self.generator, "scaling": self.scaling, "content": self.content}

    def convert(
        self,
        features: Tensor,
        *,
        strength: float = 1.0,
        random: torch.Generator | None = None,
        progress: Progress | None = None,
    ) -> Tensor:
        """Features `[B, M, N]` to converted ones of the same shape. Nothing is drawn from `random`.

        Between strength 0 and 1 the features are a mixture in their own log units.

        Raises:
            ConfigError: where the shape is not `[B, spec.n_mels, N]`, or the strength not between 0 and 1.
        """
        frames, done, made = features.shape[-1], 0, []
        block = max(1, AT_ONCE // max(1, len(features))) * self.system.piece_frames
        for piece in self.stream(torch.split(features.detach(), block, dim=-1), strength=strength):
            made.append(piece)
            done += piece.shape[-1]
            if progress:
                progress(done, frames)
        return torch.cat(made, dim=-1) if made else features.detach().clone()

    @property
    def latency_frames(self) -> int:
        """The rest of the piece that a frame begins."""
        return self.system.piece_frames - 1 - self.config.context

    def seams(self, frames: int) -> Sequence[int]:
        """Where each piece begins to be heard, and where the one before it is heard no longer."""
        overlap = self.config.overlap
        step = self.system.piece_frames - 2 * self.config.context - overlap
        found = {start + more for start in range(step, frames, step) for more in (0, overlap)}
        return sorted(seam for seam in found if seam < frames)

    def stream(
        self, frames: Iterable[Tensor], *, strength: float = 1.0, random: torch.Generator | None = None
    ) -> Iterator[Tensor]:
        """Converted features of `[B, M, n]` that come one after the other; what is kept is at most a piece.

        Raises:
            ConfigError: as `convert`.
        """
        if not 0 <= strength <= 1:
            raise ConfigError(f"the strength of a conversion lies between 0 and 1, not at {strength:g}")
        listener = Listener(self.content)
        pieces = Pieces(
            lambda cut: torch.lerp(cut, self._converted(cut, listener), strength),
            length=self.system.piece_frames,
            overlap=self.config.overlap,
            context=self.config.context,
        )
        for piece in frames:
            if piece.ndim != 3 or piece.shape[1] != self.spec.n_mels:
                raise ConfigError(f"MelGAN-VC needs features [B, {self.spec.n_mels}, N], not {list(piece.shape)}")
            yield from pieces.give(piece)
        yield from pieces.end()

    def given(self, cut: Tensor, evidence: Tensor) -> Tensor:
        """What the generator sees of pieces `[B, M, length]`: in its own units, and carried where the preset carries (`Content.carry`)."""
        seen: Tensor = self.scaling(self.content.carry(cut, evidence) if self.system.carries else cut)
        return seen

    @torch.no_grad()
    def _converted(self, cut: Tensor, listener: Listener) -> Tensor:
        """Pieces `[P, B, M, length]` converted; what is below the floor, where no sound is, is at the floor."""
        given = self.given(cut.flatten(0, 1), listener(cut).flatten())
        with evaluating(self.generator):
            values: Tensor = self.scaling.inverse(self.generator(given)).view(cut.shape)
        made = dsp.compress(dsp.expand(values, self.spec), self.spec)
        if not self.config.gate_silence:
            return made
        sounds = (dsp.expand(cut, self.spec) > self.spec.floor * SILENT_WITHIN).any(dim=2, keepdim=True)
        return torch.where(sounds, made, cut)
