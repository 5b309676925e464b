"""Features as files for others: arrays in `.npz`, or pictures in `.png` that can be read back. numpy and Pillow; no torch."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any
from zipfile import BadZipFile

import numpy as np

from synthkit.errors import SynthkitError
from synthkit.storage import replacing, text_hash, write_json

FORMAT = 1
_JOURNAL = ".export.jsonl"
_LONGEST = 120  # bytes of a name: with a number and an ending it stays below the 255 of every file system
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*\ufffd\ud800-\udfff]+')
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)  # names of devices under Windows


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How values become the grey of a picture, one rule for all pictures of an export, so that they can be compared.

    >>> scale = Scale(low=-5.0, high=0.0, bits=8)
    >>> scale.pixels(np.array([[-5.0, 0.0], [-4.0, 7.0]])).tolist()  # band 0, the lowest, is the last row
    [[51, 255], [0, 255]]
    """

    low: float
    """The value that is black."""
    high: float
    """The value that is white; what lies beyond either is cut off there."""
    bits: int
    """8 or 16 bits of grey."""

    @property
    def white(self) -> int:
        """The largest pixel."""
        return (1 << self.bits) - 1

    def pixels(self, values: np.ndarray) -> np.ndarray:
        """Values `[M, N]` as a picture `[M, N]` whose top row is the highest band."""
        grey = (np.asarray(values, dtype=np.float64)[::-1] - self.low) / (self.high - self.low)
        pixels: np.ndarray = np.rint(grey.clip(0.0, 1.0) * self.white)
        return pixels.astype(np.uint8 if self.bits == 8 else np.uint16)

    def values(self, pixels: np.ndarray) -> np.ndarray:
        """The values `[M, N]`, float32, of a picture: `low + pixel / white * (high - low)`, half a grey off at most."""
        values = self.low + pixels[::-1].astype(np.float64) / self.white * (self.high - self.low)
        return np.asarray(values, dtype=np.float32)

    def beyond(self, values: np.ndarray) -> int:
        """How many values are cut off."""
        return int(np.count_nonzero((values < self.low) | (values > self.high)))


def write_png(file: Path, values: np.ndarray, scale: Scale, about: Mapping[str, Any]) -> None:
    """Write values `[M, N]` as a grey picture that carries its scale and what it is about. Raises `OSError`."""
    from PIL import Image, PngImagePlugin

    text = PngImagePlugin.PngInfo()
    text.add_text("synthkit", json.dumps({"scale": asdict(scale), **about}))
    with replacing(file) as stream:
        Image.fromarray(scale.pixels(values)).save(stream, format="PNG", pnginfo=text)


@dataclass(frozen=True)
class Stored:
    """What a file of an export holds."""

    values: np.ndarray
    """Features `[M, N]`, float32."""
    about: Mapping[str, Any]
    """The `clip`, `label`, `licence` and `credit` that it came from; empty for a picture that another program wrote."""


def read_png(file: Path, scale: Scale | None = None) -> Stored:
    """What is in a picture, each value off by half a grey at most.

    Args:
        file: A picture that `write_png` wrote, or another program.
        scale: What the greys of a picture mean that carries no scale of its own.

    Raises:
        SynthkitError: for a file that is no picture, or one without a scale where none is given.
    """
    from PIL import Image

    try:
        with Image.open(file) as picture:
            said = json.loads(picture.info.get("synthkit", "{}"))
            own = Scale(**said.pop("scale")) if "scale" in said else scale
            if own is None:
                raise ValueError("it carries no scale")
            deep = picture.mode.startswith("I")  # 16 bits of grey; any other picture is read as 8
            pixels = np.asarray(picture if deep else picture.convert("L"))
            return Stored(replace(own, bits=16 if deep else 8).values(pixels), said)
    except (OSError, ValueError, KeyError, TypeError, Image.DecompressionBombError) as error:
        raise SynthkitError(f"{str(file)!r} is not a picture that synthkit exported: {error}") from error


def write_npz(file: Path, values: np.ndarray, about: Mapping[str, Any]) -> None:
    """Write values `[M, N]` as the array `features`, and what they are about as arrays of their own. Raises `OSError`."""
    arrays: dict[str, Any] = {name: np.array(value) for name, value in about.items()}
    with replacing(file) as stream:
        np.savez(stream, features=values.astype(np.float32), **arrays)


def read_npz(file: Path) -> Stored:
    """What is in a file that `write_npz` wrote. Raises `SynthkitError` for any other."""
    try:
        with np.load(file, allow_pickle=False) as arrays:
            about = {name: arrays[name].item() for name in arrays.files if name != "features"}
            return Stored(np.asarray(arrays["features"], dtype=np.float32), about)
    except (OSError, ValueError, KeyError, TypeError, BadZipFile) as error:
        raise SynthkitError(f"{str(file)!r} is not an array that synthkit exported: {error}") from error


def safe_name(title: str) -> str:
    """A title as a name of a file or folder on any system.

    >>> safe_name("Old-Time / Historic"), safe_name("R&B: live?"), safe_name("con"), safe_name(" .. ")
    ('Old-Time - Historic', 'R&B- live-', '_con', 'unnamed')
    """
    name = _FORBIDDEN.sub("-", title).strip(" .")
    if _RESERVED.match(name):
        name = f"_{name}"
    if len(name.encode()) > _LONGEST:
        name = f"{name.encode()[: _LONGEST - 9].decode(errors='ignore')}-{text_hash(title)[:8]}"
    return name or "unnamed"


def safe_names(titles: Iterable[str]) -> dict[str, str]:
    """A name for each title, unlike any other even where case does not count.

    >>> safe_names(["A/B", "a:b", "c"])
    {'A/B': 'A-B', 'a:b': 'a-b-6783a31e', 'c': 'c'}
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    for title in titles:
        if title not in names:
            name = safe_name(title)
            if name.casefold() in taken:
                name = f"{name}-{text_hash(title)[:8]}"
            taken.add(name.casefold())
            names[title] = name
    return names


@dataclass(frozen=True)
class Index:
    """What `export.json` lists."""

    clips: dict[str, dict[str, Any]]
    """A record for each clip, by its id."""
    left_out: list[dict[str, Any]]
    """What could not be exported, with the reason."""

    @classmethod
    def read(cls, folder: Path) -> Index:
        """What is there, that of an export that was stopped included. What is damaged is only made again."""
        try:
            content = json.loads((folder / "export.json").read_text(encoding="utf-8"))
            index = cls({record["clip"]: record for record in content["clips"]}, content["left_out"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            index = cls({}, [])
        if (folder / _JOURNAL).is_file():
            for line in (folder / _JOURNAL).read_text(encoding="utf-8", errors="replace").splitlines():
                with suppress(ValueError, KeyError, TypeError):  # the last line of a killed export may be half a line
                    record = json.loads(line)
                    index.clips[record["clip"]] = record
        return index

    def write(self, folder: Path, dataset: str, before: Index) -> None:
        """Write `export.json`, and remove the files that only the index `before` lists. Raises `OSError`."""
        content = {"format": FORMAT, "dataset": dataset, "clips": list(self.clips.values()), "left_out": self.left_out}
        write_json(folder / "export.json", content)
        for file in before.files() - self.files():
            if ".." not in PurePosixPath(file).parts:  # somebody else's index removes nothing outside of the folder
                (folder / file.lstrip("/")).unlink(missing_ok=True)
        (folder / _JOURNAL).unlink(missing_ok=True)

    def files(self) -> set[str]:
        """All files of all clips, relative to the folder."""
        return {file for record in self.clips.values() for file in record["files"]}


class Journal:
    """The records of an export on its way, a line for each: after a kill it goes on from there."""

    def __init__(self, folder: Path) -> None:
        self._stream = (folder / _JOURNAL).open("a", encoding="utf-8")

    def add(self, record: Mapping[str, Any]) -> None:
        """One more clip is done. Raises `OSError`."""
        self._stream.write(f"\n{json.dumps(record)}")  # on a line of its own, whatever a killed export left
        self._stream.flush()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()
