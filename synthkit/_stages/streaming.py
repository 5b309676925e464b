"""From sound to features to sound while it comes: constant memory, samples as soon as they are certain.

What comes out is what `extract` and `resynthesise` make of the whole sound; only the order of the work is another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from synthkit._stages.synthesis import covering_frames
from synthkit.audio import Stream, resampled_frames
from synthkit.errors import AudioError
from synthkit.interfaces import FeatureExtractor, Vocoder

Through = Callable[[Iterable[Tensor]], Iterable[Tensor]]
"""Features as they come, `[B, M, n]` each, to others as soon as they are certain."""


class FrameStream:
    """Features of a sound that comes in blocks `[n, C]` at the extractor's rate. Iterate it once: pieces `[C, M, n]`.

    A frame is given once all samples under its window are there.
    """

    def __init__(self, extractor: FeatureExtractor, blocks: Iterable[np.ndarray], *, at_least: int = 1) -> None:
        """`at_least`: frames that a piece has, except the last one."""
        self.samples = 0
        """Samples that have come."""
        self.ended = False
        """Whether they are all."""
        self._extractor, self._blocks, self._at_least = extractor, blocks, at_least
        spec = extractor.spec
        padding = {"same": (spec.n_fft - spec.hop_length) // 2, "center": spec.n_fft // 2, "valid": 0}
        self._left = padding[spec.framing]

    def __iter__(self) -> Iterator[Tensor]:
        """Raises `AudioError` where no sample comes."""
        spec = self._extractor.spec
        held: Tensor | None = None
        dropped = given = 0  # frames
        for block in self._blocks:
            self.samples += len(block)
            piece = torch.from_numpy(np.ascontiguousarray(block.T))
            held = piece if held is None else torch.cat([held, piece], dim=-1)
            whole = (self.samples + self._left - spec.n_fft) // spec.hop_length + 1
            if whole - given < self._at_least:
                continue
            yield self._extract(held)[..., given - dropped : whole - dropped]
            given, before = whole, dropped
            dropped = max(0, given - -(-self._left // spec.hop_length))
            held = held[:, (dropped - before) * spec.hop_length :]
        self.ended = True
        if held is None or not self.samples:
            raise AudioError("a sound without samples has no features")
        frames = covering_frames(spec, self.samples)
        if frames > given:
            padded = torch.nn.functional.pad(held, (0, spec.samples(frames) - self.samples))
            yield self._extract(padded)[..., given - dropped :]

    def _extract(self, samples: Tensor) -> Tensor:
        with torch.no_grad():
            return self._extractor.extract(samples)


def resampled(stream: Stream, sample_rate: int) -> Iterator[np.ndarray]:
    """The blocks `[n, C]` of a sound at another rate (soxr, high quality), `resampled_frames` in all."""
    if stream.sample_rate == sample_rate:
        yield from stream
        return
    import soxr

    resampler = soxr.ResampleStream(stream.sample_rate, sample_rate, stream.channels, dtype="float32", quality="HQ")
    made = 0
    for block in stream:
        piece = _columns(resampler.resample_chunk(np.ascontiguousarray(block)))
        made += len(piece)
        yield piece
    left = max(0, resampled_frames(stream.frames, stream.sample_rate, sample_rate) - made)
    tail = np.zeros((left, stream.channels), dtype=np.float32)
    last = _columns(resampler.resample_chunk(np.empty((0, stream.channels), dtype=np.float32), last=True))[:left]
    tail[: len(last)] = last
    yield tail


def vocode_stream(
    vocoder: Vocoder,
    extractor: FeatureExtractor,
    sound: Stream,
    *,
    at_least: int = 1,
    random: torch.Generator | None = None,
    through: Through = iter,
) -> Iterator[np.ndarray]:
    """Blocks `[n, C]` at the vocoder's rate of what it makes of `sound`: as many samples as the sound has at that rate.

    Its features go `through` something on their way, on the vocoder's device: as many frames come out of it, and of the same rate.

    Raises:
        AudioError: where the sound has no samples, or the vocoder makes values that are not finite.
    """
    spec = vocoder.spec
    frames = FrameStream(extractor, resampled(sound, spec.sample_rate), at_least=at_least)
    made = 0
    for piece in vocoder.stream(through(piece.to(vocoder.device) for piece in frames), random=random):
        block = piece.float().cpu().numpy().T
        if frames.ended:
            block = block[: frames.samples - made]
        yield finite(block)
        made += len(block)


def frames_stream(
    vocoder: Vocoder, frames: Iterable[Tensor], *, random: torch.Generator | None = None
) -> Iterator[np.ndarray]:
    """Blocks `[n, B]` of what the vocoder makes of features `[B, M, n]` that come from elsewhere."""
    for piece in vocoder.stream(frames, random=random):
        yield finite(piece.float().cpu().numpy().T)


def finite(block: np.ndarray) -> np.ndarray:
    """The block itself. Raises `AudioError` where a sample is no finite number."""
    if not np.isfinite(block).all():
        raise AudioError("the vocoder made samples that are not finite: its weights or the features are damaged")
    return block


def _columns(block: np.ndarray) -> np.ndarray:
    return block[:, None] if block.ndim == 1 else block
