"""The cache of decoded sound: one file per content and sample rate, mono, 16-bit, mapped into memory for reading.

An entry is a NumPy `.npy` file of int16 followed by a note in JSON: `numpy.load(file, mmap_mode="r")` reads it as it
is, and a sample is `integer * step`. It appears under its name only when it is whole, and is used only if its size
agrees with its header and its note.
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from synthkit.audio import Audio
from synthkit.errors import UnreadableClip
from synthkit.storage import cache_root, disk_error, replacing, text_hash

FORMAT = 1
_STEP_16_BIT = 2.0**-15
_BLOCK = 2**15
_TAIL = struct.Struct("<Q8s")
_MAGIC = b"synthkit"


@dataclass(frozen=True, kw_only=True)
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


def entry_file(key: str, sample_rate: int) -> Path:
    """Where the sound of content `key` at `sample_rate` lies, relative to the cache folder.

    >>> entry_file("some content", 22050).as_posix()
    'sound-1/22050/29/290f493c44f5d63d06b374d0a5abd292fae38b92cab2fae5efefe1b0e9347f56.npy'
    """
    name = text_hash(key)
    return Path(f"sound-{FORMAT}", str(sample_rate), name[:2], f"{name}.npy")


def lookup(key: str, sample_rate: int) -> Stored | None:
    """The entry of content `key` at `sample_rate`, or None where there is none that is whole."""
    file = cache_root() / entry_file(key, sample_rate)
    try:
        with file.open("rb") as stream:
            np.lib.format.read_magic(stream)
            shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
            data_end = stream.tell() + shape[0] * dtype.itemsize
            size = stream.seek(0, 2)
            stream.seek(size - _TAIL.size)
            length, magic = _TAIL.unpack(stream.read())
            if magic != _MAGIC or data_end + length + _TAIL.size != size or dtype != np.int16 or len(shape) != 1:
                return None
            stream.seek(data_end)
            stored = Stored(**json.loads(stream.read(length)))
    except (OSError, ValueError, TypeError, struct.error):
        return None
    return stored if (stored.frames,) == shape else None


def store(key: str, sample_rate: int, audio: Audio) -> Stored:
    """Mix `audio` down, resample it, round it to 16 bits and write its entry.

    Sound that is 16-bit at this rate is kept exactly. Other sound is scaled so that its peak is full scale: what lies
    beyond 1 is not clipped, and a sample is off by half a `step` at most.

    Raises:
        UnreadableClip: where nothing is left to store (`empty`) or samples are not finite (`not-finite`).
        DatasetError: where the cache cannot be written.
    """
    sound = audio.mono().resample(sample_rate)
    if not sound.frames:
        raise UnreadableClip(key, "empty", "it has no samples")
    peak = sound.peak
    if not math.isfinite(peak):
        raise UnreadableClip(key, "not-finite", "some of its samples are not finite numbers")
    integers, step = quantise(sound.samples[0])
    stored = Stored(
        frames=sound.frames,
        step=step,
        peak=step * max(int(integers.max()), -int(integers.min())),
        seconds=audio.seconds,
        sample_rate=audio.sample_rate,
        channels=audio.channels,
        note=audio.note,
    )
    file = cache_root() / entry_file(key, sample_rate)
    note = json.dumps(asdict(stored)).encode("ascii")
    try:
        with replacing(file) as stream:
            np.lib.format.write_array(stream, integers, version=(1, 0), allow_pickle=False)
            stream.write(note + _TAIL.pack(len(note), _MAGIC))
    except OSError as error:
        raise disk_error(file, error) from error
    return stored


def quantise(samples: np.ndarray) -> tuple[np.ndarray, float]:
    """Samples `[T]` as int16 and the step that one integer stands for.

    >>> quantise(np.array([0.5, -1.0], dtype=np.float32))
    (array([ 16384, -32768], dtype=int16), 3.0517578125e-05)
    >>> integers, step = quantise(np.array([0.0, 1.3], dtype=np.float32))
    >>> integers.tolist(), round(step * 32767, 6)
    ([0, 32767], 1.3)
    """
    if _is_16_bit(samples):
        return (samples * np.float32(1 / _STEP_16_BIT)).astype(np.int16), _STEP_16_BIT
    step = float(max(samples.max(), -samples.min())) / 32767
    integers = np.empty(len(samples), dtype=np.int16)
    for start in range(0, len(samples), _BLOCK):  # in float64, for which a long clip leaves no room
        piece = np.multiply(samples[start : start + _BLOCK], 1 / step, dtype=np.float64)
        integers[start : start + _BLOCK] = np.rint(piece, out=piece)
    return integers, step


def _is_16_bit(samples: np.ndarray) -> bool:
    scaled = samples * np.float32(1 / _STEP_16_BIT)
    return bool(scaled.max() <= 32767 and scaled.min() >= -32768 and np.array_equal(scaled, np.rint(scaled)))
