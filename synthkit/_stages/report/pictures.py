"""Mel pictures: the log mel spectrogram of a sound as a small indexed PNG, and the ticks of its axes.

All versions of one clip share one colour scale, so that what is brighter in one of them is louder there. The bands are
those of the picture, not of the recipe: they go up to half the sample rate, so that what a vocoder adds above the
recipe's highest band is seen too.
"""

from __future__ import annotations

import base64
import math
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from synthkit.audio import Audio
from synthkit.specs import FeatureSpec

BANDS = 160
"""Rows of a picture."""
COLUMNS = 720
"""Most columns of a picture."""
RANGE_DB = 80.0
"""What is this much below the loudest point of a clip is the darkest colour."""
_FLOOR = 1e-12


@dataclass(frozen=True)
class Tick:
    """A labelled place on an axis: `place` is 0 at the start (left or top) and 1 at the end."""

    place: float
    label: str


def picture_spec(sample_rate: int, samples: int = 0) -> FeatureSpec:
    """The spec of the picture of a sound: a 46 ms window, power in dB, up to half the rate, at most `COLUMNS` frames
    where frames that overlap by half allow it.

    >>> spec = picture_spec(22050, samples=5 * 22050)
    >>> spec.win_length, spec.frames(5 * 22050), spec.f_max
    (1024, 716, 11025.0)
    """
    window = max(64, round(sample_rate * 0.046 / 32) * 32)
    hop = min(max(samples // (COLUMNS - 1) + 1, window // 16), window // 2)
    return FeatureSpec(
        sample_rate=sample_rate,
        n_fft=4 * window,
        win_length=window,
        hop_length=hop,
        n_mels=BANDS,
        mel_scale="htk",
        norm=None,
        power=2,
        log="db",
        floor=_FLOOR,
        framing="center",
    )


def mel_db(audio: Audio) -> np.ndarray:
    """The mean of the channels as log mel power in dB: `[BANDS, N]` with N at most `COLUMNS`, low bands first."""
    import torch

    from synthkit.dsp import log_mel

    samples = torch.from_numpy(np.ascontiguousarray(audio.mono().samples))
    values: np.ndarray = log_mel(samples, picture_spec(audio.sample_rate, audio.frames))[0].numpy()
    return _pool(values, COLUMNS)


def _pool(values: np.ndarray, columns: int) -> np.ndarray:
    """At most `columns` columns: the loudest of the columns that fall together, so that short sounds stay visible."""
    count = values.shape[1]
    if count <= columns:
        return values
    edges = np.arange(columns) * count // columns
    pooled: np.ndarray = np.maximum.reduceat(values, edges, axis=1)
    return pooled


def loudest(mels: Sequence[np.ndarray]) -> float:
    """The top of the colour scale of pictures that are shown together, dB."""
    return max((float(mel.max()) for mel in mels if mel.size), default=0.0)


def png(values: np.ndarray, top: float, range_db: float = RANGE_DB) -> bytes:
    """Values `[M, N]` as a PNG of N x M pixels, the first row at the bottom; `top` is the brightest colour.

    >>> png(np.zeros((2, 3)), top=0.0)[:8]
    b'\\x89PNG\\r\\n\\x1a\\n'
    """
    index = _index(values, top, range_db)[::-1]
    height, width = index.shape
    lines = np.zeros((height, width + 1), dtype=np.uint8)  # each line starts with the number of its filter: 0, none
    lines[:, 1:] = index
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    chunks = (
        (b"IHDR", header),
        (b"PLTE", palette().tobytes()),
        (b"IDAT", zlib.compress(lines.tobytes(), 9)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


def feature_image(features: np.ndarray, spec: FeatureSpec) -> np.ndarray:
    """Features `[M, N]` of any spec as a picture `[M, N, 3]`, uint8, for trackers; the lowest band at the bottom.

    The scale goes from the features' own loudest value 80 dB down (or to their lowest value where `spec.log` is `none`).
    """
    if not features.size:
        return np.zeros((max(1, features.shape[0]), 1, 3), dtype=np.uint8)
    values = (np.asarray(features, dtype=np.float64) - spec.offset) / spec.gain
    finite = values[np.isfinite(values)]
    top, bottom = (float(finite.max()), float(finite.min())) if finite.size else (0.0, 0.0)
    # 10 log10 of power, 20 log10 of magnitude
    per_db = {"ln": math.log(10) / 10, "log10": 0.1, "db": 1.0, "none": 0.0}[spec.log] * spec.power / 2
    span = RANGE_DB * per_db or top - bottom
    image: np.ndarray = palette()[_index(values, top, span or 1.0)[::-1]]
    return image


def _index(values: np.ndarray, top: float, span: float) -> np.ndarray:
    scaled = (np.nan_to_num(values, nan=-np.inf, posinf=top, neginf=-np.inf) - (top - span)) * (255.0 / span)
    index: np.ndarray = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
    return index


@lru_cache
def palette() -> np.ndarray:
    """`[256, 3]` uint8: magma, dark to bright in even steps for the eye."""
    from matplotlib import colormaps

    colours: np.ndarray = colormaps["magma"](np.arange(256), bytes=True)[:, :3]
    return np.ascontiguousarray(colours)


def scale_png() -> bytes:
    """The colour scale from dark to bright, one pixel high."""
    return png(np.arange(256.0)[None], top=255.0, range_db=255.0)


def data_uri(media_type: str, content: bytes) -> str:
    """Bytes as a `data:` address."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"


def frequency_ticks(sample_rate: int) -> list[Tick]:
    """Round frequencies with their place in a picture, 0 at the top.

    >>> [tick.label for tick in frequency_ticks(22050)]
    ['8 kHz', '4 kHz', '2 kHz', '1 kHz', '500 Hz', '200 Hz']
    """
    top = _mel(sample_rate / 2)
    ticks = []
    for frequency in (40_000, 16_000, 8_000, 4_000, 2_000, 1_000, 500, 200):
        row = _mel(frequency) / top * (BANDS + 1) - 0.5  # band i is centred at (i + 1) / (BANDS + 1) of the mel range
        place = 1.0 - row / BANDS
        if 0.03 < place < 0.97:
            label = f"{frequency // 1000} kHz" if frequency >= 1000 else f"{frequency} Hz"
            ticks.append(Tick(place, label))
    return ticks


def _mel(frequency: float) -> float:
    return 2595.0 * math.log10(1.0 + frequency / 700.0)


def time_ticks(seconds: float, most: int = 6) -> list[Tick]:
    """Round times from 0 on with their place in a picture.

    >>> [tick.label for tick in time_ticks(2.6)]
    ['0', '0.5', '1', '1.5', '2', '2.5 s']
    """
    if seconds <= 0:
        return []
    step = nice_step(seconds / most)
    count = int(seconds / step + 1e-9) + 1
    last = count - 1
    return [
        Tick(number * step / seconds, f"{number * step:.10g}" + (" s" if number == last else ""))
        for number in range(count)
    ]


def nice_step(least: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is not below `least`.

    >>> nice_step(0.3), nice_step(21), nice_step(1)
    (0.5, 50.0, 1.0)
    """
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least * (1 - 1e-9))
