"""MPEG layer III files whose length libsndfile guesses wrong, and a way to read them to their end.

A file of variable bit rate usually begins with a frame that holds an index (`Xing`, `VBRI`). Where a cut removed it, libsndfile
takes the length from the first frames' bit rate and stops there, without an error, though sound follows. From a pipe, whose length
nobody can guess, it reads on to the end.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

_KBITS = {  # by version 1 or not, of layer III (ISO 11172-3, 2.4.2.3; ISO 13818-3, 2.4.2.3); 0: free or forbidden
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0),
}
_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # Hz, by the version's two bits
_LAYER_III = 1
_INDEX_WITHIN = 64  # bytes of a frame in which an index announces itself


def length_is_guessed(path: Path) -> bool:
    """Whether a file is layer III of variable bit rate and has no index. Raises `OSError`."""
    with path.open("rb", buffering=2**16) as file:  # never as a whole: it may be hours long
        place = _first_frame(file.read(10))
        file.seek(place)
        frame = file.read(_INDEX_WITHIN)
        if any(name in frame for name in (b"Xing", b"Info", b"VBRI")):
            return False
        first = 0
        while header := _header(frame, 0):
            kbits, size = header
            first = first or kbits
            if kbits != first:
                return True
            place += size
            file.seek(place)
            frame = file.read(4)
    return False


def _first_frame(content: bytes) -> int:
    """Where the sound begins: behind an ID3v2 tag, whose length is in four times seven bits of its ten bytes."""
    if content[:3] != b"ID3" or len(content) < 10:
        return 0
    size = 0
    for part in content[6:10]:
        size = size << 7 | part & 0x7F
    return 10 + size


def _header(content: bytes, place: int) -> tuple[int, int] | None:
    """Bit rate in kbit/s and bytes of the frame at `place`; None where there is none.

    >>> _header(bytes([0xFF, 0xFB, 0x90, 0x64]), 0)
    (128, 417)
    """
    if len(content) < place + 4 or content[place] != 0xFF or content[place + 1] & 0xE0 != 0xE0:
        return None
    version, layer = content[place + 1] >> 3 & 3, content[place + 1] >> 1 & 3
    kbits, rate = _KBITS[version == 3][content[place + 2] >> 4], content[place + 2] >> 2 & 3
    if layer != _LAYER_III or version not in _RATES or rate == 3 or not kbits:
        return None
    factor = 144 if version == 3 else 72
    return kbits, factor * 1000 * kbits // _RATES[version][rate] + (content[place + 2] >> 1 & 1)


def pipe_from(path: Path) -> int:
    """A file descriptor from which a file's bytes can be read once, and nothing else be known of them."""
    reader, writer = os.pipe()

    def write() -> None:
        try:
            with path.open("rb") as source, os.fdopen(writer, "wb", buffering=0) as target:
                while block := source.read(2**16):
                    target.write(block)
        except BrokenPipeError:
            pass  # whoever reads has read enough

    threading.Thread(target=write, name="synthkit-pipe", daemon=True).start()
    return reader
