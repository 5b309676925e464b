"""Sound in memory and in files: read whatever is there, mix, resample, write. numpy, soundfile and soxr; no torch.

Headers are not trusted: a file is decoded block by block until the decoder has no more, so a header that promises
10^18 frames allocates nothing and one that promises too few loses nothing. What cannot be read is an `UnreadableClip`
with one word for tables and a sentence for people.
"""

from __future__ import annotations

import io
import math
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from synthkit.errors import AudioError, ClipReport, UnreadableClip
from synthkit.storage import replacing

AUDIO_SUFFIXES: frozenset[str] = frozenset(
    {".wav", ".wave", ".bwf", ".w64", ".rf64", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2"}
    | {".aiff", ".aif", ".aifc", ".caf", ".au", ".snd"}
)
"""File name endings, in lower case, that `read` is worth trying on."""

UNSUPPORTED_SUFFIXES: frozenset[str] = frozenset(
    {".m4a", ".aac", ".mp4", ".wma", ".webm", ".mka", ".ape", ".wv", ".alac", ".amr", ".dsf", ".ra", ".tta", ".mpc"}
)
"""Endings of sound formats that libsndfile cannot decode; `read` says so by name."""

_BLOCK = 8192  # frames per read: what is lost of the good part of a file whose decoding fails is less than this
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

_MAGIC = (
    (
        0,
        b"version https://git-lfs.github.com/spec/",
        "a git-LFS pointer, not sound: run 'git lfs pull' where it came from",
    ),
    (0, b"\x1aE\xdf\xa3", "WebM or Matroska, a format that is not supported"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "WMA, a format that is not supported"),
    (4, b"ftyp", "MPEG-4 (m4a, aac), a format that is not supported"),
    (0, b"MAC ", "Monkey's Audio, a format that is not supported"),
    (0, b"wvpk", "WavPack, a format that is not supported"),
    (0, b"<!DOCTYPE", "a web page, not sound (a failed download?)"),
    (0, b"<html", "a web page, not sound (a failed download?)"),
    (0, b"PK\x03\x04", "a zip archive, not sound"),
    (0, b"\x00\x00\x00\x01Bud1", "a macOS Finder file, not sound"),
)
_DECODER_SAYS = (
    ("File does not exist", "the decoder finds no whole MP3 frame in it (damaged, cut short, or not sound)"),
    ("Format not recognised", "its content is not of a known sound format"),
    (
        "unimplemented format",
        "its sample format is not supported (for example 12-bit FLAC, or WAV of more than 32 bits)",
    ),
    ("No 'data' chunk", "it ends before its sound begins"),
    ("Unspecified internal error", "the decoder failed on its data (damaged)"),
    ("lost sync", "the FLAC decoder lost its place (damaged data)"),
)
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
        mixed = self.samples[0] + self.samples[1]
        for channel in self.samples[2:]:
            mixed += channel
        mixed *= np.float32(1 / self.channels)  # four times as fast as numpy's mean over the channels
        return Audio(mixed, self.sample_rate, self.note)

    def resample(self, sample_rate: int) -> Audio:
        """The sound at another rate (soxr, high quality); `round(T * sample_rate / self.sample_rate)` samples long."""
        if sample_rate == self.sample_rate:
            return self
        import soxr

        length = (2 * self.frames * sample_rate + self.sample_rate) // (2 * self.sample_rate)
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


def read(path: str | Path) -> Audio:
    """Decode a file completely, at its own rate and channels.

    A file whose header promises more sound than it holds is read as far as it goes, and `Audio.note` says so.

    Raises:
        UnreadableClip: with the code `missing` (no such file), `empty` (no sound in it), `unreadable` (not sound, a
            format that is not supported, or an error on the way: the reason tells how much was good), `not-finite`.
    """
    path = Path(path)
    name = str(path)
    _check_file(path)
    blocks: list[np.ndarray] = []
    rate = 0
    try:
        with _Sequential(_name_for_libsndfile(path)) as file:
            rate, channels = file.samplerate, file.channels
            for block in _blocks(file):
                blocks.append(block)
            note = _note(file, sum(map(len, blocks)))
    except (soundfile.LibsndfileError, RuntimeError, OSError) as error:
        raise UnreadableClip(name, "unreadable", _reason(path, error, sum(map(len, blocks)), rate)) from error
    frames = sum(map(len, blocks))
    if not frames:
        raise UnreadableClip(name, "empty", "it has a valid header but no sound")
    samples = np.empty((channels, frames), dtype=np.float32)
    start = 0
    for block in blocks:
        samples[:, start : start + len(block)] = block.T
        start += len(block)
    audio = Audio(samples, rate, note)
    if not math.isfinite(audio.peak):
        bad = frames * channels - int(np.isfinite(samples).sum())
        raise UnreadableClip(name, "not-finite", f"{bad} of its samples are not finite numbers")
    return audio


def check_clip(id: str, open: Callable[[], Audio]) -> ClipReport:
    """Decode one clip with `open` and report what it gave. An `AudioError` or `OSError` is the clip's fault.

    Codes beside those of `read`: `silent` (every sample is zero) and `truncated` (usable, but shorter than promised).

    >>> check_clip("a", lambda: Audio(np.zeros(8000), 8000)).code
    'silent'
    """
    try:
        audio = open()
    except UnreadableClip as error:
        return ClipReport(id=id, code=error.code, reason=error.reason)
    except (AudioError, OSError) as error:
        return ClipReport(id=id, code="unreadable", reason=str(error))
    peak = audio.peak
    if not audio.frames:
        code, reason = "empty", "it has no samples"
    elif not math.isfinite(peak):
        code, reason = "not-finite", "some of its samples are not finite numbers"
    elif peak == 0.0:
        code, reason = "silent", "every sample is zero"
    elif audio.note:
        code, reason = "truncated", audio.note
    else:
        code, reason = "ok", ""
    return ClipReport(
        id=id,
        code=code,
        reason=reason,
        seconds=audio.seconds,
        sample_rate=audio.sample_rate,
        channels=audio.channels,
        peak=peak,
    )


class _Sequential(soundfile.SoundFile):  # type: ignore[misc]
    """A file that is read from start to end. soundfile seeks after every read of a seekable file, which is slow, and
    fails at the end of a FLAC of unknown length although all its sound was decoded."""

    def seekable(self) -> bool:
        return False


def _name_for_libsndfile(path: Path) -> str | bytes:
    """The bytes of the name where names are bytes: soundfile cannot encode one that is no UTF-8."""
    return str(path) if sys.platform == "win32" else os.fsencode(path)


def _blocks(file: _Sequential) -> Iterator[np.ndarray]:
    while True:
        block = file.read(_BLOCK, dtype="float32", always_2d=True)
        if not len(block):
            return
        yield block


def _check_file(path: Path) -> None:
    """Refuse what is no sound for a reason that libsndfile cannot tell."""
    name = str(path)
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except FileNotFoundError as error:
        raise UnreadableClip(name, "missing", "there is no such file") from error
    except IsADirectoryError as error:
        raise UnreadableClip(name, "unreadable", "it is a folder") from error
    except OSError as error:
        raise UnreadableClip(name, "unreadable", error.strerror or str(error)) from error
    if not head:
        raise UnreadableClip(name, "empty", "the file has 0 bytes")
    for offset, magic, meaning in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            raise UnreadableClip(name, "unreadable", f"it is {meaning}")


def _reason(path: Path, error: Exception, frames: int, sample_rate: int) -> str:
    """Why decoding failed after `frames` good frames."""
    if path.suffix.lower() in UNSUPPORTED_SUFFIXES:
        return f"{path.suffix.lower()} is a format that is not supported"
    said = getattr(error, "error_string", str(error)).strip().rstrip(".")
    meaning = next((sentence for sign, sentence in _DECODER_SAYS if sign in said), f"the decoder says: {said}")
    return f"{meaning}; {frames / sample_rate:.2f} s were read before the error" if frames else meaning


def _note(file: _Sequential, frames: int) -> str:
    """A sentence where the header of a WAV, AIFF or FLAC promises more frames than there are.

    The counts in MP3 headers are estimates; 0xFFFFFFFF bytes and 2^63 - 1 frames are what is written for 'unknown'.
    """
    chunk = re.search(r"^ *(?:data|SSND) : (\d+) \(should be (\d+)\)", file.extra_info, flags=re.MULTILINE)
    promised = float(frames)
    if chunk and int(chunk[1]) < 0xFFFFFF00:
        promised = frames * int(chunk[1]) / max(1, int(chunk[2]))
    elif file.format == "FLAC" and file.frames < 2**62:
        promised = float(file.frames)
    if promised < frames + 1:
        return ""
    found, expected = frames / file.samplerate, promised / file.samplerate
    return f"it ends early: {found:.2f} s of the {expected:.2f} s that its header promises"


def _tags(container: str, metadata: Mapping[str, str]) -> dict[str, str]:
    unknown = sorted(set(metadata) - set(_TAGS))
    if unknown:
        raise AudioError(f"unknown metadata {', '.join(unknown)}; there are: {', '.join(_TAGS)}")
    fields = {name: text for name, text in metadata.items() if text}
    if container in ("WAV", "AIFF") and "licence" in fields:
        fields["copyright"] = "; ".join(filter(None, (fields.get("copyright"), fields.pop("licence"))))
    return {_TAGS[name]: text for name, text in fields.items()}
