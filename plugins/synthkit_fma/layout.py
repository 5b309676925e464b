"""Where the parts of FMA lie below the folder that a user names: the archives were unpacked in many ways."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from synthkit.errors import DatasetError
from synthkit.remote import Place, is_file, is_folder, is_remote, join, list_folder
from synthkit_fma.config import SUBSETS, FMAConfig

TABLE = "tracks.csv"
_TRACK_FOLDER = re.compile(r"\d{3}")


def find_audio(config: FMAConfig) -> Place:
    """The folder with the folders `000` to `155`. Raises `DatasetError` where there is none."""
    for place in _audio_places(config):
        if is_folder(place) and any(folders_of_tracks(place)):
            return place
    raise DatasetError(
        f"there is no FMA {config.subset} in {str(config.root)!r}: no fma_{config.subset} with folders 000, 001, ... in it; "
        f"{_how_to_fetch(config)}"
    )


def find_metadata(config: FMAConfig) -> Place:
    """The folder with the tables. Raises `DatasetError` where there is none."""
    for place in _metadata_places(config):
        if is_file(join(place, TABLE)):
            return place
    where = config.metadata if config.metadata is not None else config.root
    raise DatasetError(
        f"there is no {TABLE} of FMA in {str(where)!r}, nor in a folder fma_metadata in or beside it; name its folder with "
        f"the setting metadata, or {_how_to_fetch(config)}"
    )


def folders_of_tracks(place: Place) -> Iterator[str]:
    """Names of the folders that hold tracks, sorted. Raises `DatasetError` where `place` cannot be entered."""
    try:
        names = list_folder(place)
    except OSError as error:
        raise DatasetError(f"the folder {str(place)!r} cannot be read: {error.strerror or error}") from error
    return (name for name, folder in names if folder and _TRACK_FOLDER.fullmatch(name))


def name_of(place: Place) -> str:
    """The last part of a place's name."""
    return str(place).replace("\\", "/").rstrip("/").rpartition("/")[2]


def _audio_places(config: FMAConfig) -> Iterator[Place]:
    """The subset's own folder first, then those of larger subsets, which hold its clips, too."""
    full = config.subset == "full"
    own_or_larger = SUBSETS[SUBSETS.index(config.subset) :]
    names = [f"fma_{subset}" for subset in own_or_larger if full or subset != "full"]
    for name in names:
        for base in (config.root, join(config.root, "data")):
            yield join(base, name, name)
            yield join(base, name)
    if (name_of(config.root) == "fma_full") == full or not name_of(config.root).startswith("fma_"):
        yield config.root


def _metadata_places(config: FMAConfig) -> Iterator[Place]:
    if config.metadata is not None:
        yield config.metadata
        yield join(config.metadata, "fma_metadata")
        return
    for base in (config.root, join(config.root, "data"), _parent(config.root), _parent(_parent(config.root))):
        yield join(base, "fma_metadata", "fma_metadata")
        yield join(base, "fma_metadata")
    yield config.root


def _parent(place: Place) -> Place:
    if not is_remote(place):
        return Path(place).parent
    above = str(place).rstrip("/").rpartition("/")[0]
    return above if is_remote(above) and not above.endswith("//") else place


def _how_to_fetch(config: FMAConfig) -> str:
    return f"`synthkit data fetch fma --set subset={config.subset} --set root={config.root}` downloads it"
