"""Sound in memory and in files: read whatever is there, mix, resample, write. numpy, soundfile and soxr; no torch.

A file is decoded block by block until the decoder has no more, whatever its header promises: as a whole (`read`) or in
constant memory (`stream`). What cannot be read is an `UnreadableClip` with one word for tables and a sentence for people.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import soundfile

from synthkit._decoding import AUDIO_SUFFIXES, UNSUPPORTED_SUFFIXES, Stream, decode, mix_down, resampled_frames
from synthkit.errors import AudioError, ClipReport, UnreadableClip
from synthkit.remote import Place, local_copy
from synthkit.storage import replacing

__all__ = [
    "AUDIO_SUFFIXES",
    "UNSUPPORTED_SUFFIXES",
    "WRITE_SUFFIXES",
    "Audio",
    "Stream",
    "check_clip",
    "check_stream",
    "encode_wav",
    "read",
    "resampled_frames",
    "stream",
    "to_int16",
    "write_blocks",
]

_STREAM_BLOCK = 2**15  # frames
_TOO_LOUD = 8.0  # what lossy decoders give above full scale stays below 2
_OGG_BLOCK = 4096  # libsndfile 1.2.2 crashes when a long sound goes into its Vorbis encoder in one call
_FORMATS = {
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".ogg": ("OGG", "VORBIS"),
    ".aiff": ("AIFF", "PCM_16"),
    ".aif": ("AIFF", "PCM_16"),
}
WRITE_SUFFIXES = tuple(_FORMATS)
"""Endings, in lower case, of the files that `Audio.write` writes."""

_TAGS = {
    "title": "title",
    "artist": "artist",
    "album": "album",
    "comment": "comment",
    "software": "software",
    "copyright": "copyright",
    "licence": "license",
    "date": "date",
    "genre": "genre",
}


@dataclass(frozen=True, eq=False)
class Audio:
    """Samples `[C, T]`, float32, nominally in -1..1, and their rate in Hz. Samples `[T]` become one channel.

    >>> tone = Audio(np.sin(np.arange(22050) * 0.1), 22050)
    >>> tone.channels, tone.frames, tone.seconds, tone.resample(16000).frames
    (1, 22050, 1.0, 16000)
    """

    samples: np.ndarray
    sample_rate: int
    note: str = ""
    """What was odd about the file it came from, although it could be read; empty where nothing was."""

    def __post_init__(self) -> None:
        samples = np.atleast_2d(np.asarray(self.samples, dtype=np.float32))
        if samples.ndim != 2 or not samples.shape[0]:
            raise AudioError(f"samples must be [T] or [C, T] with at least one channel, not of shape {samples.shape}")
        if int(self.sample_rate) != self.sample_rate or self.sample_rate <= 0:
            raise AudioError(f"sample_rate must be a positive whole number of Hz, not {self.sample_rate!r}")
        object.__setattr__(self, "samples", samples)
        object.__setattr__(self, "sample_rate", int(self.sample_rate))

    @property
    def channels(self) -> int:
        """Number of channels, C."""
        return int(self.samples.shape[0])

    @property
    def frames(self) -> int:
        """Samples per channel, T."""
        return int(self.samples.shape[1])

    @property
    def seconds(self) -> float:
        """Duration."""
        return self.frames / self.sample_rate

    @property
    def peak(self) -> float:
        """Largest magnitude of any sample; 0 without samples, not finite where a sample is not."""
        if not self.frames:
            return 0.0
        return float(max(self.samples.max(), -self.samples.min()))

    def mono(self) -> Audio:
        """The mean of the channels, `[1, T]`."""
        if self.channels == 1:
            return self
        return Audio(mix_down(self.samples.T), self.sample_rate, self.note)

    def resample(self, sample_rate: int) -> Audio:
        """The sound at another rate (soxr, high quality); `round(T * sample_rate / self.sample_rate)` samples long."""
        if sample_rate == self.sample_rate:
            return self
        import soxr

        length = resampled_frames(self.frames, self.sample_rate, sample_rate)
        out = np.zeros((self.channels, length), dtype=np.float32)
        for channel, made in zip(self.samples, out, strict=True):
            resampled = soxr.resample(np.ascontiguousarray(channel), self.sample_rate, sample_rate, quality="HQ")
            count = min(length, len(resampled))
            made[:count] = resampled[:count]
        return Audio(out, sample_rate, self.note)

    def crop(self, start: int, count: int) -> Audio:
        """`count` samples from `start`. Raises `AudioError` where the sound does not have them.

        >>> Audio(np.arange(5.0), 8000).crop(1, 3).samples.tolist()
        [[1.0, 2.0, 3.0]]
        """
        if start < 0 or count < 0 or start + count > self.frames:
            raise AudioError(f"samples {start} to {start + count} do not lie in a sound of {self.frames} samples")
        return Audio(self.samples[:, start : start + count], self.sample_rate, self.note)

    def stream(self) -> Stream:
        """The sound block by block, for what takes sound that may be longer than the memory."""
        starts = range(0, self.frames, _STREAM_BLOCK)
        blocks = (self.samples[:, start : start + _STREAM_BLOCK].T for start in starts)
        return Stream(self.sample_rate, self.channels, blocks, self.note)

    def write(self, path: str | Path, *, metadata: Mapping[str, str] | None = None) -> int:
        """Write a file, 16-bit WAV, FLAC or AIFF, or Ogg Vorbis, by the ending of its name. Missing folders are made.

        No half file is ever seen: it gets its name when it is complete.

        Args:
            path: Where; an existing file is replaced.
            metadata: Any of `title`, `artist`, `album`, `comment`, `software`, `copyright`, `licence`, `date`, `genre`.
                WAV and AIFF have no field for a licence: there it goes into `copyright`.

        Returns:
            How many samples lay outside -1..1 and were clipped.

        Raises:
            AudioError: for a name that ends in no known format, samples that are not finite, or a full disk.
        """
        path = Path(path)
        if path.suffix.lower() not in _FORMATS:
            raise AudioError(f"cannot write {path}: its name must end in one of {', '.join(WRITE_SUFFIXES)}")
        try:
            encoded = self._encode(path.suffix.lower(), metadata or {})
        except soundfile.LibsndfileError as error:
            raise AudioError(f"cannot write {path}: {error}") from error
        try:
            with replacing(path) as stream:
                stream.write(encoded)
        except OSError as error:
            raise AudioError(f"cannot write {path}: {error.strerror or error}") from error
        return int(np.count_nonzero(np.abs(self.samples) > 1.0)) if self.peak > 1.0 else 0

    def _encode(self, suffix: str, metadata: Mapping[str, str]) -> memoryview:
        """The whole file in memory: libsndfile drops the error of a full disk when it writes to a Python stream."""
        container, subtype = _FORMATS[suffix]
        if not math.isfinite(self.peak):
            raise AudioError("the sound has samples that are not finite numbers")
        encoded = to_int16(self.samples) if subtype == "PCM_16" else self.samples.clip(-1.0, 1.0)
        block = _OGG_BLOCK if container == "OGG" else max(1, self.frames)
        target = io.BytesIO()
        with soundfile.SoundFile(target, "w", self.sample_rate, self.channels, subtype, format=container) as file:
            for field, text in _tags(container, metadata).items():
                setattr(file, field, text)
            for start in range(0, self.frames, block):
                file.write(np.ascontiguousarray(encoded[:, start : start + block].T))
        return target.getbuffer()


def write_blocks(
    path: str | Path, sample_rate: int, blocks: Iterable[np.ndarray], *, metadata: Mapping[str, str] | None = None
) -> tuple[int, int]:
    """Write a file of blocks `[n, C]` as they come, as `Audio.write` does, in the memory of one block.

    Returns:
        How many samples per channel it has, and how many values lay outside -1..1 and were clipped.

    Raises:
        AudioError: as `Audio.write`, or where there is no block.
        Exception: what making a block raises; the file is then as it was before.
    """
    path = Path(path)
    if path.suffix.lower() not in _FORMATS:
        raise AudioError(f"cannot write {path}: its name must end in one of {', '.join(WRITE_SUFFIXES)}")
    container, subtype = _FORMATS[path.suffix.lower()]
    coming = iter(blocks)
    first = next(coming, None)
    if first is None:
        raise AudioError(f"cannot write {path}: there is no sound")
    frames = clipped = 0
    try:
        with (
            replacing(path) as stream,
            soundfile.SoundFile(
                stream.fileno(), "w", sample_rate, first.shape[1], subtype, format=container, closefd=False
            ) as file,
        ):
            for field, text in _tags(container, metadata or {}).items():
                setattr(file, field, text)
            for block in chain([first], coming):
                clipped += int(np.count_nonzero(np.abs(block) > 1.0))
                encoded = to_int16(block) if subtype == "PCM_16" else block.clip(-1.0, 1.0)
                for start in range(0, len(block), _OGG_BLOCK):
                    file.write(np.ascontiguousarray(encoded[start : start + _OGG_BLOCK]))
                frames += len(block)
    except soundfile.LibsndfileError as error:
        raise AudioError(f"cannot write {path}: {error}") from error
    except OSError as error:
        raise AudioError(f"cannot write {path}: {error.strerror or error}") from error
    return frames, clipped


def to_int16(samples: np.ndarray) -> np.ndarray:
    """Samples in -1..1 to 16-bit integers: full scale saturates, it never wraps.

    >>> to_int16(np.array([-2.0, -1.0, 0.0, 0.5, 1.0, 2.0])).tolist()
    [-32768, -32768, 0, 16384, 32767, 32767]
    """
    scaled: np.ndarray = np.multiply(samples, 32768.0, dtype=np.float32)
    np.rint(scaled, out=scaled)
    np.clip(scaled, -32768.0, 32767.0, out=scaled)
    return scaled.astype(np.int16)


def encode_wav(audio: Audio, *, metadata: Mapping[str, str] | None = None) -> bytes:
    """The bytes of the 16-bit WAV file that `Audio.write` would write.

    >>> encode_wav(Audio(np.zeros(10), 8000))[:4]
    b'RIFF'
    """
    return bytes(audio._encode(".wav", metadata or {}))


@contextmanager
def stream(path: Place) -> Iterator[Stream]:
    """Decode a file block by block, at its own rate and channels; a URL is downloaded first.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     clipped = Audio(np.zeros((2, 100)), 8000).write(f"{folder}/a.wav")
    ...     with stream(f"{folder}/a.wav") as sound:
    ...         [block.shape for block in sound], sound.sample_rate
    ([(100, 2)], 8000)

    Raises:
        UnreadableClip: as `read`, where it is opened or in the midst of its blocks, but for `not-finite`.
    """
    name = str(path)
    with ExitStack() as stack:
        try:
            file = stack.enter_context(local_copy(path))
        except FileNotFoundError as error:
            raise UnreadableClip(name, "missing", "there is no such file") from error
        except OSError as error:
            raise UnreadableClip(name, "unreadable", f"it cannot be downloaded: {error.strerror or error}") from error
        yield stack.enter_context(decode(file, name))


def read(path: Place) -> Audio:
    """Decode a file completely, at its own rate and channels; a URL is downloaded first.

    A file whose header promises more sound than it holds is read as far as it goes, and `Audio.note` says so.

    Raises:
        UnreadableClip: with the code `missing` (no such file), `empty` (no sound in it), `unreadable` (not sound, a
            format that is not supported, or an error on the way: the reason tells how much was good), `not-finite`.
    """
    with stream(path) as sound:
        blocks = [block.T.copy() for block in sound]
    audio = Audio(np.concatenate(blocks, axis=1), sound.sample_rate, sound.note)
    if not math.isfinite(audio.peak):
        bad = audio.samples.size - int(np.isfinite(audio.samples).sum())
        raise UnreadableClip(str(path), "not-finite", f"{bad} of its samples are not finite numbers")
    return audio


def check_clip(id: str, open: Callable[[], Audio]) -> ClipReport:
    """`check_stream` of a sound that is in memory.

    >>> check_clip("a", lambda: Audio(np.zeros(8000), 8000)).code
    'silent'
    """
    return check_stream(id, lambda: nullcontext(open().stream()))


def check_stream(
    id: str, open: Callable[[], AbstractContextManager[Stream]], expected: tuple[float, float] | None = None
) -> ClipReport:
    """Decode one clip with `open` to its end and report what it gave. An `AudioError` or `OSError` is the clip's fault.

    Codes beside those of `read`: `silent` (every sample is zero), `truncated` (usable, but shorter than promised),
    `too-short` and `too-long` (not as many seconds as `expected`), `too-loud` (far above full scale).
    """
    peak = energy = 0.0
    finite = True
    try:
        with open() as sound:
            for block in sound:
                loudest = float(max(block.max(), -block.min()))
                finite = finite and math.isfinite(loudest)
                peak = max(peak, loudest)
                energy += float(np.vdot(block, block)) if finite else 0.0
    except UnreadableClip as error:
        return ClipReport(id=id, code=error.code, reason=error.reason)
    except (AudioError, OSError) as error:
        return ClipReport(id=id, code="unreadable", reason=str(error))
    code, reason = _verdict(sound, peak if finite else math.nan, expected)
    return ClipReport(
        id=id,
        code=code,
        reason=reason,
        seconds=sound.seconds,
        sample_rate=sound.sample_rate,
        channels=sound.channels,
        peak=peak if finite else 0.0,
        rms=math.sqrt(energy / (sound.frames * sound.channels)) if finite and sound.frames else 0.0,
    )


def _verdict(sound: Stream, peak: float, expected: tuple[float, float] | None) -> tuple[str, str]:
    """The code of a clip that was decoded to its end, and the reason."""
    least, most = expected or (0.0, math.inf)
    if not sound.frames:
        return "empty", "it has no samples"
    if not math.isfinite(peak):
        return "not-finite", "some of its samples are not finite numbers"
    if peak == 0.0:
        return "silent", "every sample is zero"
    if sound.note:
        return "truncated", sound.note
    if sound.seconds < least:
        return "too-short", f"it lasts {sound.seconds:.2f} s, and should last at least {least:g} s"
    if sound.seconds > most:
        return "too-long", f"it lasts {sound.seconds:.2f} s, and should last at most {most:g} s"
    if peak > _TOO_LOUD:
        return "too-loud", f"its peak is {peak:.4g}, where full scale is 1: its samples are not scaled as sound is"
    return "ok", ""


def _tags(container: str, metadata: Mapping[str, str]) -> dict[str, str]:
    unknown = sorted(set(metadata) - set(_TAGS))
    if unknown:
        raise AudioError(f"unknown metadata {', '.join(unknown)}; there are: {', '.join(_TAGS)}")
    fields = {name: text for name, text in metadata.items() if text}
    if container in ("WAV", "AIFF") and "licence" in fields:
        fields["copyright"] = "; ".join(filter(None, (fields.get("copyright"), fields.pop("licence"))))
    return {_TAGS[name]: text for name, text in fields.items()}
