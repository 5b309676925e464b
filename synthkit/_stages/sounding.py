"""The way back from an export: a folder of spectrogram pictures, or of arrays, becomes a folder of sounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from synthkit import __version__
from synthkit._data.export import Scale, Stored, read_npz, read_png
from synthkit._run.folder import read_json
from synthkit._run.reporter import Reporter
from synthkit._stages.synthesis import Features, resynthesise
from synthkit.errors import SynthkitError
from synthkit.interfaces import Vocoder
from synthkit.specs import FeatureSpec


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A folder that `synthkit data export` wrote, or one whose pictures mean what its `spec.json` says."""

    folder: Path
    spec: FeatureSpec
    scale: Scale | None
    """What greys mean in pictures that do not say so themselves; None where arrays were exported."""
    files: tuple[Path, ...]
    """All pictures and arrays below the folder, sorted."""

    @classmethod
    def read(cls, folder: Path) -> Exported:
        """Look at a folder; no picture is opened.

        Raises:
            SynthkitError: where it has no `spec.json` of an export, or nothing else.
        """
        try:
            said = read_json(folder / "spec.json")
            spec = FeatureSpec.from_dict(said["features"]["spec"])
            png = said.get("png")
            scale = None if png is None else Scale(low=png["low"], high=png["high"], bits=png["bits"])
        except FileNotFoundError as error:
            raise SynthkitError(
                f"{str(folder)!r} has no spec.json, which says what pictures mean: name the folder that `synthkit data export` wrote"
            ) from error
        except (OSError, ValueError, KeyError, TypeError, SynthkitError) as error:
            raise SynthkitError(f"{str(folder / 'spec.json')!r} is not that of an export: {error}") from error
        files = tuple(sorted(file for file in folder.rglob("*") if file.suffix.lower() in _READERS))
        if not files:
            raise SynthkitError(f"{str(folder)!r} has neither pictures (.png) nor arrays (.npz)")
        return cls(folder=folder, spec=spec, scale=scale, files=files)

    def stored(self, file: Path) -> Stored:
        """What is in one of the files.

        Raises:
            SynthkitError: where it is damaged, or has not the bands of `spec`.
        """
        stored = _READERS[file.suffix.lower()](file, self.scale)
        shape, spec = stored.values.shape, self.spec
        if len(shape) != 2 or shape[0] != spec.n_mels or not spec.samples(shape[1]):
            size = " x ".join(map(str, shape))
            raise SynthkitError(f"{str(file)!r} is {size}, but spec.json says {spec.n_mels} bands, and some frames")
        if not np.isfinite(stored.values).all():
            raise SynthkitError(f"{str(file)!r} holds values that are not finite numbers")
        return stored


_READERS: Mapping[str, Callable[[Path, Scale | None], Stored]] = {
    ".png": read_png,
    ".npz": lambda file, _: read_npz(file),
}


def sound(
    exported: Exported, output: Path, vocoder: Vocoder, *, maker: str, seed: int = 0, reporter: Reporter | None = None
) -> Sequence[Path]:
    """Write a wav file for each picture and array, at the same place below `output`, and return them.

    Every file is read before the first sound is made, so that a damaged one leaves nothing half done. What a file says of its
    origin, licence and credit stands in the sound's metadata, too.

    Raises:
        SynthkitError: where a file is none of an export, or a sound cannot be written.
        SpecMismatch: where the vocoder needs other features.
    """
    reporter = reporter or Reporter()
    for file in exported.files:
        exported.stored(file)
    written: list[Path] = []
    with reporter.task("sound", len(exported.files)) as task:
        for number, file in enumerate(exported.files, 1):
            stored = exported.stored(file)
            frames = stored.values.shape[1]
            features = Features(torch.from_numpy(stored.values)[None], exported.spec, exported.spec.samples(frames))
            made = resynthesise(vocoder, features, random=torch.Generator(device=vocoder.device).manual_seed(seed))
            place = file.relative_to(exported.folder)
            written.append(output / place.with_suffix(".wav"))
            made.write(written[-1], metadata=_metadata(stored.about, place, maker))
            task.update(number, place.as_posix())
    return written


def _metadata(about: Mapping[str, Any], place: Path, maker: str) -> dict[str, str]:
    label = f", label {about['label']}" if about.get("label") else ""
    return {
        "title": str(about.get("clip", place.stem)),
        "comment": f"{maker}{label}, from the features in {place.as_posix()}",
        "artist": str(about.get("credit", "")),
        "copyright": str(about.get("licence", "")),
        "software": f"synthkit {__version__}",
    }
