"""Sound block by block: files decoded with libsndfile, mixed down and resampled (soxr) without ever being whole in memory.

Headers are not trusted: a file is decoded until the decoder has no more, so a header that promises 10^18 frames
allocates nothing and one that promises too few loses nothing.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import soundfile

from synthkit._mpeg import length_is_guessed, pipe_from
from synthkit.errors import UnreadableClip

AUDIO_SUFFIXES: frozenset[str] = frozenset(
    {".wav", ".wave", ".bwf", ".w64", ".rf64", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2"}
    | {".aiff", ".aif", ".aifc", ".caf", ".au", ".snd"}
)
"""File name endings, in lower case, that `read` is worth trying on."""

UNSUPPORTED_SUFFIXES: frozenset[str] = frozenset(
    {".m4a", ".aac", ".mp4", ".wma", ".webm", ".mka", ".ape", ".wv", ".alac", ".amr", ".dsf", ".ra", ".tta", ".mpc"}
)
"""Endings of sound formats that libsndfile cannot decode; `read` says so by name."""

_FRAMES, _VALUES = 2**14, 2**16  # at most these per read: they stay in the processor's cache, and a file whose decoding
# fails loses less of its good part
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


_UNKNOWN = 2**62  # frames; libsndfile says 2^63 - 1 where a header does not tell


class Stream:
    """A sound block by block: constant memory however long it is. Iterate it once, by blocks `[n, C]` or as `mono`.

    Blocks are float32 and valid until the next one. Iterating raises `UnreadableClip` where decoding fails.

    >>> stream = Stream(8000, 2, [np.ones((3, 2), np.float32), np.zeros((1, 2), np.float32)])
    >>> np.concatenate(list(stream.mono())).tolist(), stream.frames
    ([1.0, 1.0, 1.0, 0.0], 4)
    """

    def __init__(self, sample_rate: int, channels: int, blocks: Iterable[np.ndarray], note: str = "") -> None:
        self.sample_rate = sample_rate
        """Hz."""
        self.channels = channels
        """Number of channels, C."""
        self.frames = 0
        """Samples per channel that have been read so far."""
        self.note = note
        """What was odd about the file although it could be read; known when all is read."""
        self.expected: int | None = None
        """Samples per channel that the file says it has; None where it does not say."""
        self._blocks = blocks

    @property
    def seconds(self) -> float:
        """Duration of what has been read so far."""
        return self.frames / self.sample_rate

    def __iter__(self) -> Iterator[np.ndarray]:
        for block in self._blocks:
            self.frames += len(block)
            yield block

    def mono(self, sample_rate: int | None = None) -> Iterator[np.ndarray]:
        """The mean of the channels, blocks `[n]`, at another rate if one is given (soxr, high quality).

        It has `resampled_frames(T, self.sample_rate, sample_rate)` samples: those of `Audio.mono` and `Audio.resample`.
        """
        mixed = map(mix_down, self)
        if sample_rate is None or sample_rate == self.sample_rate:
            yield from mixed
            return
        import soxr

        resampler = soxr.ResampleStream(self.sample_rate, sample_rate, 1, dtype="float32", quality="HQ")
        made = 0
        for block in mixed:
            piece = resampler.resample_chunk(np.ascontiguousarray(block))
            made += len(piece)
            yield piece
        tail = np.zeros(max(0, resampled_frames(self.frames, self.sample_rate, sample_rate) - made), dtype=np.float32)
        last = resampler.resample_chunk(np.empty(0, dtype=np.float32), last=True)[: len(tail)]
        tail[: len(last)] = last
        yield tail


def mix_down(block: np.ndarray) -> np.ndarray:
    """The mean of the channels of a block `[n, C]`, `[n]`."""
    if block.shape[1] == 1:
        return block[:, 0]
    mixed: np.ndarray = block[:, 0] + block[:, 1]
    for channel in range(2, block.shape[1]):
        mixed += block[:, channel]
    mixed *= np.float32(1 / block.shape[1])  # four times as fast as numpy's mean over the channels
    return mixed


def resampled_frames(frames: int, old: int, new: int) -> int:
    """`frames * new / old`, rounded half up: how many samples resampling gives.

    >>> resampled_frames(44101, 44100, 22050)
    22051
    """
    return (2 * frames * new + old) // (2 * old)


@contextmanager
def decode(path: Path, name: str) -> Iterator[Stream]:
    """The sound of a file. Raises `UnreadableClip` (so do the stream's blocks), which calls the file `name`."""
    _check_file(path, name)
    try:
        guessed = path.suffix.lower() == ".mp3" and length_is_guessed(path)
        file = _Sequential(pipe_from(path) if guessed else _name_for_libsndfile(path))
    except (soundfile.LibsndfileError, RuntimeError, OSError) as error:
        raise UnreadableClip(name, "unreadable", _reason(path, error)) from error
    with closing(file):
        yield _FileStream(file, path, name)


class _Sequential(soundfile.SoundFile):  # type: ignore[misc]
    """A file that is read from start to end. soundfile seeks after every read of a seekable file, which is slow, and
    fails at the end of a FLAC of unknown length although all its sound was decoded."""

    def seekable(self) -> bool:
        return False


class _FileStream(Stream):
    def __init__(self, file: _Sequential, path: Path, name: str) -> None:
        super().__init__(file.samplerate, file.channels, _blocks(file))
        self._file, self._path, self._name = file, path, name
        self.expected = file.frames if 0 < file.frames < _UNKNOWN else None

    def __iter__(self) -> Iterator[np.ndarray]:
        try:
            yield from super().__iter__()
        except (soundfile.LibsndfileError, RuntimeError, OSError) as error:
            reason = _reason(self._path, error)
            if self.frames:
                reason += f"; {self.seconds:.2f} s were read before the error"
            raise UnreadableClip(self._name, "unreadable", reason) from error
        if not self.frames:
            raise UnreadableClip(self._name, "empty", "it has a valid header but no sound")
        self.note = _note(self._file, self.frames)


def _blocks(file: _Sequential) -> Iterator[np.ndarray]:
    """Blocks `[n, C]` to the end; each is overwritten by the next."""
    block = np.empty((min(_FRAMES, max(1, _VALUES // file.channels)), file.channels), dtype=np.float32)
    if file.subtype != "PCM_16" or file.format == "FLAC":  # whose frames may be of other bits than its header says
        while count := file.buffer_read_into(block.data, "float32"):
            yield block[:count]
        return
    integers = np.empty(block.shape, dtype=np.int16)  # the same numbers, faster than libsndfile turns them into floats
    while count := file.buffer_read_into(integers.data, "int16"):
        yield np.multiply(integers[:count], np.float32(2**-15), out=block[:count])


def _name_for_libsndfile(path: Path) -> str | bytes:
    """The bytes of the name where names are bytes: soundfile cannot encode one that is no UTF-8."""
    return str(path) if sys.platform == "win32" else os.fsencode(path)


def _check_file(path: Path, name: str) -> None:
    """Refuse what is no sound for a reason that libsndfile cannot tell, and what could not be read to an end."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise UnreadableClip(name, "unreadable", "it is a folder")
        if not stat.S_ISREG(mode):
            raise UnreadableClip(name, "unreadable", "it is not a regular file but a pipe, a socket or a device")
        with path.open("rb") as file:
            head = file.read(64)
    except FileNotFoundError as error:
        raise UnreadableClip(name, "missing", "there is no such file") from error
    except OSError as error:
        raise UnreadableClip(name, "unreadable", error.strerror or str(error)) from error
    if not head:
        raise UnreadableClip(name, "empty", "the file has 0 bytes")
    for offset, magic, meaning in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            raise UnreadableClip(name, "unreadable", f"it is {meaning}")


def _reason(path: Path, error: Exception) -> str:
    """Why decoding failed."""
    if path.suffix.lower() in UNSUPPORTED_SUFFIXES:
        return f"{path.suffix.lower()} is a format that is not supported"
    said = getattr(error, "error_string", str(error)).strip().rstrip(".")
    return next((sentence for sign, sentence in _DECODER_SAYS if sign in said), f"the decoder says: {said}")


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
