"""Finding the clips in whatever folder the set came in."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from synthkit import remote
from synthkit.audio import AUDIO_SUFFIXES, UNSUPPORTED_SUFFIXES
from synthkit.errors import DatasetError
from synthkit.remote import Place
from synthkit_gtzan.facts import GENRES

WRAPPINGS = (
    "",
    "genres",
    "genres_original",
    "Data/genres_original",
    "gtzan_genre/genres",
    "gtzan_mini-main/genres",
    "gtzan_genre/gtzan_mini-main/genres",
)
"""Where the clips are looked for below the root, in this order: the folder itself, the tarball, Kaggle, mirdata, the mini set."""

_CLIP = re.compile(rf"({'|'.join(GENRES)})[._](\d{{5}})\.(wav|au)", re.IGNORECASE)


@dataclass
class Found:
    """The files of the set."""

    files: dict[str, Place] = field(default_factory=dict)
    """By id, sorted."""
    strays: dict[str, str] = field(default_factory=dict)
    """Sound files that are no clips, and why."""
    nothing: str = ""
    """What to tell the user where there is no clip."""


def find(root: Place) -> Found:
    """The clips of the first place that has one: genre folders, or files of all genres side by side.

    Everything that is not named like a clip is passed over; where it is sound it stands in `strays`. Raises
    `DatasetError` for a folder that cannot be read.
    """
    strays: dict[str, str] = {}
    for wrapping in WRAPPINGS:
        found = _look_into(remote.join(root, wrapping) if wrapping else root)
        if found.files:
            return found
        strays |= found.strays
    places = ", ".join(wrapping for wrapping in WRAPPINGS if wrapping)
    also = f"; {len(strays)} sound files have other names, such as {next(iter(strays))!r}" if strays else ""
    nothing = (
        f"no clip of GTZAN is in {str(root)!r}: neither {GENRES[0]}/{GENRES[0]}.00000.wav (or .au, or "
        f"{GENRES[0]}_00000.wav) nor any other, there and in its folders {places}{also}; "
        "`synthkit data fetch gtzan --set root=DIR` says where to get it"
    )
    return Found(strays=strays, nothing=nothing)


def _look_into(folder: Place) -> Found:
    found = Found()
    for name, is_folder in _list(folder):
        if not is_folder:
            _take(found, remote.join(folder, name), name, genre=None)
        elif name in GENRES:
            for inner, inner_is_folder in _list(remote.join(folder, name)):
                if not inner_is_folder:
                    _take(found, remote.join(folder, name, inner), inner, genre=name)
    found.files = dict(sorted(found.files.items()))
    return found


def _list(folder: Place) -> list[tuple[str, bool]]:
    try:
        return remote.list_folder(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise DatasetError(f"the folder {str(folder)!r} cannot be read: {error.strerror or error}") from error


def _take(found: Found, place: Place, name: str, genre: str | None) -> None:
    """Sort one file in: a clip, or a stray, or nothing of interest."""
    match, shown = _CLIP.fullmatch(name), f"{genre}/{name}" if genre else name
    if match is None or genre not in (None, match[1].lower()):
        suffix = PurePosixPath(name).suffix.lower()
        if not name.startswith(".") and suffix in AUDIO_SUFFIXES | UNSUPPORTED_SUFFIXES:
            example = f"{genre or GENRES[0]}.00000.wav"
            found.strays[shown] = f"its name is not one of a clip, such as {example}"
        return
    id = f"{match[1].lower()}.{match[2]}"
    if isinstance(place, Path) and not place.is_file():
        found.strays[shown] = "it is not a regular file"
    elif id in found.files:
        found.strays[shown] = f"{id} is there twice, and the other file is used"
    else:
        found.files[id] = place
