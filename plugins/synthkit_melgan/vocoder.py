"""The MelGAN vocoder: features of any log-mel spec of the right hop to sound, of any length, in bounded memory."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from synthkit.errors import ConfigError
from synthkit.interfaces import Progress, Vocoder
from synthkit.specs import FeatureSpec, conversion
from synthkit_melgan.config import MelGANConfig
from synthkit_melgan.folded import FoldedGenerator
from synthkit_melgan.network import Generator
from synthkit_melgan.portable import Portable

CHUNK_FRAMES = 344
"""Frames, of all items together, that go through the network at once. Larger pieces are slower: the C allocator gives the
memory of such activations back to the system after every layer."""
SILENT_WITHIN = 0.01
"""How far above the floor, in log10 units, a band still counts as silent: 0.2 dB, for rounding on the way here."""
_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_LEVEL = 0.8  # shortest item of a batch of unequal ones, against its longest


class MelGAN(Vocoder):
    """MelGAN's generator behind features in physical units.

    >>> spec = FeatureSpec(sample_rate=8000, n_fft=256, hop_length=64, n_mels=20)
    >>> vocoder = MelGAN(MelGANConfig(channels=4, ratios=(8, 4, 2)), spec)
    >>> vocoder.vocode(torch.zeros(2, 20, 10)).shape
    torch.Size([2, 640])
    """

    precisions = tuple(_TYPES)

    def __init__(self, config: MelGANConfig, spec: FeatureSpec) -> None:
        """Raises `ConfigError` where `config` does not fit `spec`."""
        config.check_spec(spec)
        self.config = config
        self.spec = spec
        self.generator = Generator(spec.n_mels, config.channels, config.ratios, config.residual_layers)
        self._network: FoldedGenerator | None = None
        self._state: tuple[object, ...] = ()
        self._to_log10 = conversion(spec, dataclasses.replace(spec, log="log10", gain=1.0, offset=0.0))
        # Where frame 0's samples begin in the sound: a frame stands for the hop around the middle of its window.
        leads = {"same": 0, "center": -(spec.hop_length // 2), "valid": (spec.n_fft - spec.hop_length) // 2}
        self._lead = leads[spec.framing]

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """The generator."""
        return {"generator": self.generator}

    def hear(self, features: Tensor) -> Tensor:
        """Features of `spec` as the network hears them: log10 magnitudes, as in the official one, whatever the log and power."""
        heard: Tensor = self._to_log10(features)
        return heard / self.spec.power

    def place(self, made: Tensor, audio: Tensor) -> Tensor:
        """The network's output `[B, 1, N * hop]` at its place in a sound as long as `audio` `[B, T]`: `[B, 1, T]`.

        Where no frame stands for the samples (after the last whole hop; at both ends where the framing is `valid`) they are
        those of `audio`.
        """
        made = made[..., max(0, -self._lead) :]
        start = max(0, self._lead)
        stop = min(start + made.shape[-1], audio.shape[-1])
        return torch.cat([audio[:, None, :start], made[..., : stop - start], audio[:, None, stop:]], dim=-1)

    def vocode(
        self, features: Tensor, *, random: torch.Generator | None = None, progress: Progress | None = None
    ) -> Tensor:
        """Features `[B, M, N]` to samples `[B, spec.samples(N)]` in -1..1, float32. Nothing is drawn from `random`.

        Raises:
            ConfigError: where the shape is not `[B, spec.n_mels, N]`.
        """
        self._check(features)
        hop, samples = self.spec.hop_length, self.spec.samples(features.shape[2])
        out = torch.zeros(features.shape[0], samples, device=features.device)
        first, last = self._first_block, math.ceil((samples - self._lead) / hop)
        step = max(1, CHUNK_FRAMES // max(1, len(features)))
        with torch.inference_mode():
            network = self._folded()
            for start in range(first, last if samples else first, step):
                stop = min(start + step, last)
                block = self._blocks(network, features, start, stop)
                at = start * hop + self._lead
                skip, end = max(0, -at), min(at + block.shape[-1], samples)
                out[:, at + skip : end] = block[:, skip : end - at]
                if progress:
                    progress(stop - first, last - first)
        return out

    def vocode_each(self, features: Sequence[Tensor], *, random: torch.Generator | None = None) -> list[Tensor]:
        """Items of any lengths, `[M, N]` each, in batches of similar ones.

        Beyond its end an item's last frame goes on, as `vocode` hears it: what fills a batch up changes nothing.
        """
        order = sorted(range(len(features)), key=lambda place: features[place].shape[-1], reverse=True)
        made: dict[int, Tensor] = {}
        while order:
            longest = features[order[0]].shape[-1]
            batch = [place for place in order if features[place].shape[-1] >= _LEVEL * longest]
            order = order[len(batch) :]
            filled = torch.stack([_frames(features[place], 0, longest) for place in batch])
            for place, samples in zip(batch, self.vocode(filled, random=random), strict=True):
                made[place] = samples[: self.spec.samples(features[place].shape[-1])]
        return [made[place] for place in range(len(features))]

    def portable(self) -> Portable:
        """All that `vocode` does as one network, for `synthkit export`."""
        return Portable(
            self.generator,
            self.hear,
            self._gate if self.config.gate_silence else None,
            hop_length=self.spec.hop_length,
            lead=self._lead,
            overhang=self.spec.samples(2) - 2 * self.spec.hop_length,
        )

    @property
    def latency_frames(self) -> int:
        """How far the network looks ahead."""
        return self.generator.context

    def stream(self, frames: Iterable[Tensor], *, random: torch.Generator | None = None) -> Iterator[Tensor]:
        """Samples `[B, t]` of features `[B, M, n]` that come one after the other; what is kept is the network's context.

        Raises:
            ConfigError: where a shape is not `[B, spec.n_mels, n]`.
        """
        context, hop = self.generator.context, self.spec.hop_length
        held: Tensor | None = None
        dropped, arrived, start, made = 0, 0, self._first_block, 0
        for piece in frames:
            self._check(piece)
            held = piece if held is None else torch.cat([held, piece], dim=-1)
            arrived += piece.shape[-1]
            stop = arrived - context
            if stop <= start:
                continue
            samples = self._made(held, dropped, start, stop)
            made += samples.shape[-1]
            start = stop
            keep = max(0, start - context)
            held, dropped = held[..., keep - dropped :], keep
            yield samples
        total = self.spec.samples(arrived)
        if held is not None and total > made:
            samples = self._made(held, dropped, start, math.ceil((total - self._lead) / hop))
            yield samples[:, : total - made]

    def _made(self, held: Tensor, dropped: int, start: int, stop: int) -> Tensor:
        """Samples of the blocks `start..stop`, from frames of which the first `dropped` are gone, in bounded memory."""
        step = max(1, CHUNK_FRAMES // max(1, len(held)))
        with torch.inference_mode():
            network = self._folded()
            blocks = [
                self._blocks(network, held, at - dropped, min(at + step, stop) - dropped)
                for at in range(start, stop, step)
            ]
            before = max(0, -(start * self.spec.hop_length + self._lead))
            return torch.cat(blocks, dim=-1)[:, before:]

    @property
    def _first_block(self) -> int:
        """The block of `hop_length` samples that holds sample 0."""
        return -math.ceil(self._lead / self.spec.hop_length)

    def _check(self, features: Tensor) -> None:
        if features.ndim != 3 or features.shape[1] != self.spec.n_mels:
            raise ConfigError(f"MelGAN needs features [B, {self.spec.n_mels}, N], not {list(features.shape)}")

    def _folded(self) -> FoldedGenerator:
        """The generator's weights of this moment; folded anew only when one of them has changed."""
        state = (self.precision, *((weight.data_ptr(), weight._version) for weight in self.generator.parameters()))
        if self._network is None or state != self._state:
            self._network, self._state = FoldedGenerator(self.generator, _TYPES[self.precision]), state
        return self._network

    def _blocks(self, network: FoldedGenerator, features: Tensor, start: int, stop: int) -> Tensor:
        """Samples `[B, (stop - start) * hop]` of the frames `start..stop`, with the context they depend on."""
        context = self.generator.context
        heard = self.hear(_frames(features, start - context, stop + context))
        inner = slice(context * self.spec.hop_length, (context + stop - start) * self.spec.hop_length)
        made = network(heard)[:, 0, inner]
        if self.config.gate_silence:
            made = made * self._gate(heard[..., context - 1 : context + stop - start + 1])
        return made

    def _gate(self, heard: Tensor) -> Tensor:
        """`[B, M, n + 2]` to the gain `[B, n * hop]` of the inner frames: 1 where something sounds, 0 where all is silent.

        A frame at the floor says that its whole window is silent, which reaches beyond the frame's own samples on both sides.
        So a fade over half a frame, next to one that sounds, touches nothing that should be heard.
        """
        floor = math.log10(self.spec.floor) / self.spec.power
        sounds = (heard > floor + SILENT_WITHIN).any(1).to(heard.dtype)[..., None]
        hop = self.spec.hop_length
        phase = (torch.arange(hop, device=heard.device) + 0.5) / hop * 2
        fade = torch.cos(torch.pi / 2 * phase.clamp(max=1)).square()
        before, here, after = sounds[:, :-2], sounds[:, 1:-1], sounds[:, 2:]
        return (here + (1 - here) * (before * fade + after * fade.flip(0))).flatten(1)


def _frames(features: Tensor, start: int, stop: int) -> Tensor:
    """Frames `start..stop` of `[B, M, N]`; beyond the ends the first or last frame goes on."""
    count = features.shape[-1]
    inner = features[..., max(0, start) : min(stop, count)]
    return functional.pad(inner, (max(0, -start), max(0, stop - count)), mode="replicate")
