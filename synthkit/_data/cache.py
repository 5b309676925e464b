"""The cache of decoded sound: one file per content and sample rate, mono, 16-bit, mapped into memory for reading.

An entry is a NumPy `.npy` file of int16 followed by a note in JSON: `numpy.load(file, mmap_mode="r")` reads it as it
is, and a sample is `integer * step`. It appears under its name only when it is whole, and is used only if its size
agrees with its header and its note.
"""

from __future__ import annotations

import io
import json
import math
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from synthkit._data.spool import Spool
from synthkit.audio import Stream
from synthkit.errors import UnreadableClip
from synthkit.storage import cache_root, disk_error, replacing, text_hash

FORMAT = 1
_TAIL = struct.Struct("<Q8s")
_MAGIC = b"synthkit"
_END = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """What the cache knows about one clip's sound."""

    frames: int
    """Samples, T, at the rate of the cache."""
    step: float
    """A sample is the stored integer times this."""
    peak: float
    """Largest magnitude of a sample; above 1 for some mp3 and ogg files."""
    seconds: float
    """Duration of the source."""
    sample_rate: int
    """Rate of the source, Hz."""
    channels: int
    """Channels of the source."""
    note: str = ""
    """What was odd about the source although it could be read."""


def entry_file(key: str, sample_rate: int) -> str:
    """Where the sound of content `key` at `sample_rate` lies, relative to the cache folder, with slashes.

    >>> entry_file("some content", 22050)
    'sound-1/22050/29/290f493c44f5d63d06b374d0a5abd292fae38b92cab2fae5efefe1b0e9347f56.npy'
    """
    name = text_hash(key)
    return f"sound-{FORMAT}/{sample_rate}/{name[:2]}/{name}.npy"


def lookup(key: str, sample_rate: int) -> Stored | None:
    """The entry of content `key` at `sample_rate`, or None where there is none that is whole."""
    try:
        with open(f"{cache_root()}/{entry_file(key, sample_rate)}", "rb", buffering=0) as stream:  # noqa: PTH123 - fast
            size = os.fstat(stream.fileno()).st_size
            stream.seek(max(0, size - _END))
            end = stream.read(_END)
            length, magic = _TAIL.unpack(end[-_TAIL.size :])
            stored = Stored(**json.loads(end[-_TAIL.size - length : -_TAIL.size]))
            header = _header(stored.frames)
            stream.seek(0)
            if magic != _MAGIC or stream.read(len(header)) != header:
                return None
    except (OSError, ValueError, TypeError, struct.error):
        return None
    return stored if size == len(header) + 2 * stored.frames + length + _TAIL.size else None


def store(key: str, sample_rate: int, sound: Stream) -> Stored:
    """Mix a sound down, resample it, round it to 16 bits and write its entry, in constant memory however long it is.

    Sound that is 16-bit at this rate is kept exactly. Other sound is scaled so that its peak is full scale: what lies
    beyond 1 is not clipped, and a sample is off by half a `step` at most.

    Raises:
        UnreadableClip: where decoding fails, there is nothing to store (`empty`, `too-short`) or a sample is not finite
            (`not-finite`).
        DatasetError: where the cache cannot be written.
    """
    return begin_to_store(key, sample_rate, sound)()


def begin_to_store(
    key: str, sample_rate: int, sound: Stream, check: Callable[[], None] = lambda: None
) -> Callable[[], Stored]:
    """`store` in two steps: the second, which is to call what this returns, forces the entry to the disk and names it.

    `check` is called when all is decoded and nothing is written yet; what it raises keeps it so.
    """
    file = cache_root() / entry_file(key, sample_rate)
    with Spool(unfinished()) as spool:
        spool.fill(sound, sample_rate)
        if not sound.frames:
            raise UnreadableClip(key, "empty", "it has no samples")
        if not spool.frames:
            reason = f"nothing is left at {sample_rate} Hz of its samples at {sound.sample_rate} Hz: {sound.frames}"
            raise UnreadableClip(key, "too-short", reason)
        if not math.isfinite(spool.peak):
            raise UnreadableClip(key, "not-finite", "some of its samples are not finite numbers")
        check()
        stored = Stored(
            frames=spool.frames,
            step=spool.step,
            peak=spool.peak,
            seconds=sound.seconds,
            sample_rate=sound.sample_rate,
            channels=sound.channels,
            note=sound.note,
        )
        with ExitStack() as opened, _errors_of(file):
            _write(opened.enter_context(replacing(file, within=unfinished())), stored, spool)
            whole = opened.pop_all()

    def finish() -> Stored:
        with _errors_of(file):
            whole.close()
        return stored

    return finish


def unfinished() -> Path:
    """The folder of what is being written; `storage.clear_unfinished` removes what killed processes left there."""
    return cache_root() / "unfinished"


def _write(stream: BinaryIO, stored: Stored, spool: Spool) -> None:
    note = json.dumps(asdict(stored)).encode("ascii")
    stream.write(_header(stored.frames))
    for integers in spool.integers():
        stream.write(integers.data)
    stream.write(note + _TAIL.pack(len(note), _MAGIC))


@contextmanager
def _errors_of(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise disk_error(file, error) from error


def _header(frames: int) -> bytes:
    """What a `.npy` file of so many samples begins with."""
    header = io.BytesIO()
    content = {"descr": "<i2", "fortran_order": False, "shape": (frames,)}
    np.lib.format.write_array_header_1_0(header, content)
    return header.getvalue()
