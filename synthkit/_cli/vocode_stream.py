"""`synthkit vocode --stream`: a vocoder in a pipe. Sound or frames come from standard input, sound goes to standard output."""

from __future__ import annotations

import struct
import sys
import wave
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import numpy as np

from synthkit.audio import Stream, stream, to_int16
from synthkit.errors import AudioError, ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from synthkit.interfaces import Vocoder

Given = Literal["wav", "s16le", "f32le", "frames"]
Wanted = Literal["wav", "s16le", "f32le"]

PIPE = Path("-")
_READ = 2**14  # bytes at a time: 93 ms of 16-bit stereo at 44.1 kHz
_UNKNOWN = 2**32 - 1  # a length that a WAV header gives where nobody knows it yet, as ffmpeg and sox do
_WIDTHS = {1: "u1", 2: "<i2", 4: "<i4"}


@dataclass(frozen=True, kw_only=True)
class Format:
    """What comes in and what goes out."""

    given: Given
    wanted: Wanted
    sample_rate: int | None
    """Of raw samples that come in, Hz."""
    channels: int
    """Of raw samples that come in."""


def read_sound(source: Path, given: Format) -> AbstractContextManager[Stream]:
    """The sound of a file, or of standard input.

    Raises:
        ConfigError: raw samples without a rate.
        AudioError: standard input is no WAV file.
    """
    if source != PIPE:
        return stream(source)
    if given.given == "wav":
        return nullcontext(_read_wav(sys.stdin.buffer))
    if given.sample_rate is None:
        raise ConfigError(f"--input {given.given}: raw samples do not say their rate; give --sample-rate")
    kind = "<i2" if given.given == "s16le" else "<f4"
    blocks = _raw(sys.stdin.buffer, np.dtype(kind), given.channels)
    return nullcontext(Stream(given.sample_rate, given.channels, blocks))


def read_frames(source: Path, vocoder: Vocoder) -> Iterator[Tensor]:
    """Features `[1, M, n]` of raw float32 frames, all bands of a frame side by side."""
    import torch

    with nullcontext(sys.stdin.buffer) if source == PIPE else source.open("rb") as file:
        for block in _raw(file, np.dtype("<f4"), vocoder.spec.n_mels):
            yield torch.from_numpy(np.ascontiguousarray(block.T))[None].to(vocoder.device)


def write_sound(target: Path, wanted: Wanted, sample_rate: int, blocks: Iterable[np.ndarray]) -> tuple[int, int]:
    """Write blocks `[n, C]` as they come. Returns how many samples per channel there were, and how many values were clipped."""
    from synthkit.storage import replacing

    with nullcontext(sys.stdout.buffer) if target == PIPE else replacing(target) as file:
        frames = clipped = channels = 0
        for block in blocks:
            if wanted == "wav" and not frames and not channels:
                channels = block.shape[1]
                file.write(wav_header(sample_rate, channels, None))
            clipped += int(np.count_nonzero(np.abs(block) > 1.0))
            file.write((block.astype("<f4") if wanted == "f32le" else to_int16(block).astype("<i2")).tobytes())
            file.flush()
            frames += len(block)
        if wanted == "wav" and target != PIPE:
            file.seek(0)
            file.write(wav_header(sample_rate, channels, frames))
    return frames, clipped


def wav_header(sample_rate: int, channels: int, frames: int | None) -> bytes:
    """The 44 bytes before the samples of a 16-bit WAV file; None: of a length that is not known yet.

    >>> len(wav_header(22050, 1, 10)), wav_header(22050, 1, 10)[40:44]
    (44, b'\\x14\\x00\\x00\\x00')
    """
    size = _UNKNOWN if frames is None else min(frames * channels * 2, _UNKNOWN)
    whole = min(size + 36, _UNKNOWN)
    form = (16, 1, channels, sample_rate, sample_rate * channels * 2, channels * 2, 16)
    return (
        b"RIFF"
        + struct.pack("<I", whole)
        + b"WAVEfmt "
        + struct.pack("<IHHIIHH", *form)
        + b"data"
        + struct.pack("<I", size)
    )


def _read_wav(file: BinaryIO) -> Stream:
    try:
        header: Any = wave.open(file, "rb")  # noqa: SIM115 - standard input is closed by nobody
    except (wave.Error, EOFError) as error:
        why = str(error) or "it ends before its sound begins"
        raise AudioError(
            f"standard input is no WAV file of PCM samples ({why}); raw samples need --input s16le or f32le"
        ) from error
    width, channels = header.getsampwidth(), header.getnchannels()

    def blocks() -> Iterator[np.ndarray]:
        while data := header.readframes(_READ // (width * channels)):
            yield _floats(data[: len(data) - len(data) % (width * channels)], width).reshape(-1, channels)

    return Stream(header.getframerate(), channels, blocks())


def _floats(data: bytes, width: int) -> np.ndarray:
    """PCM samples of 1 to 4 bytes as float32 in -1..1."""
    if width == 3:
        padded = np.zeros((len(data) // 3, 4), dtype=np.uint8)
        padded[:, 1:] = np.frombuffer(data, dtype=np.uint8).reshape(-1, 3)
        data, width = padded.tobytes(), 4
    integers = np.frombuffer(data, dtype=_WIDTHS[width])
    if width == 1:
        return (integers.astype(np.float32) - 128) / 128
    return integers.astype(np.float32) / np.float32(2 ** (8 * width - 1))


def _raw(file: BinaryIO, kind: np.dtype[Any], columns: int) -> Iterator[np.ndarray]:
    """Rows of `columns` numbers as they come, float32; what is left of an incomplete last row is dropped."""
    row = kind.itemsize * columns
    left = b""
    while data := file.read1(max(row, _READ)) if hasattr(file, "read1") else file.read(max(row, _READ)):
        left += data
        whole = len(left) - len(left) % row
        if whole:
            numbers = np.frombuffer(left[:whole], dtype=kind).reshape(-1, columns)
            yield numbers.astype(np.float32) / np.float32(2**15) if kind.kind == "i" else numbers.astype(np.float32)
        left = left[whole:]
