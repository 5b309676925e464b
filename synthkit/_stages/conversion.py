"""From features of one kind of sound to those of another: whole ones, and sound that comes block by block."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from synthkit._stages.joining import bounded
from synthkit._stages.streaming import vocode_stream
from synthkit._stages.synthesis import Features, SpecFeatures
from synthkit.audio import Stream
from synthkit.errors import ConfigError
from synthkit.interfaces import Converter, Progress, Vocoder
from synthkit.specs import conversion

AT_ONCE = 256
"""Frames that a sound of any length is converted by."""


def require_strength(strength: float) -> None:
    """Raise `ConfigError` where no converter has such a strength."""
    if not 0 <= strength <= 1:
        raise ConfigError(f"the strength of a conversion lies between 0 and 1, not at {strength:g}")


def convert(
    converter: Converter,
    features: Features,
    *,
    strength: float = 1.0,
    random: torch.Generator | None = None,
    progress: Progress | None = None,
) -> Features:
    """The features converted, in the converter's spec: as many channels, frames and samples.

    Raises:
        ConfigError: a strength that is not between 0 and 1.
        SpecMismatch: where no exact formula leads from the features to what the converter needs.
    """
    require_strength(strength)
    own = features.convert(converter.spec, needer="the converter")
    values = own.values.to(converter.device)
    made = converter.convert(values, strength=strength, random=random, progress=progress)
    return Features(made, converter.spec, own.samples)


def convert_stream(
    converter: Converter, vocoder: Vocoder, sound: Stream, *, strength: float = 1.0, seed: int = 0
) -> Iterator[np.ndarray]:
    """Blocks `[n, C]` of a converted sound at the vocoder's rate, as many samples as the sound has at that rate.

    It needs little memory however long the sound is, where the converter has a latency; one that has none waits for the end. A
    vocoder that has none hears windows of the sound, which are faded into each other. With strength 0 it is what the vocoder makes
    of the sound.

    Raises:
        ConfigError: a strength that is not between 0 and 1.
        SpecMismatch: where no exact formula leads from the converter's features to what the vocoder needs.
        AudioError: where the sound has no samples, or the vocoder makes values that are not finite.
    """
    require_strength(strength)
    change = conversion(converter.spec, vocoder.spec, giver="the converter", needer="the vocoder")
    random = torch.Generator(device=converter.device).manual_seed(seed)

    def through(frames: Iterable[Tensor]) -> Iterator[Tensor]:
        return map(change, converter.stream(frames, strength=strength, random=random))

    yield from vocode_stream(
        bounded(vocoder),
        SpecFeatures(converter.spec),
        sound,
        at_least=AT_ONCE,
        random=torch.Generator(device=vocoder.device).manual_seed(seed),
        through=through,
    )
