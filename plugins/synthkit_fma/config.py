"""Settings of the data set."""

from __future__ import annotations

import re
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from synthkit.config import Config, UserPath
from synthkit.errors import nearest

Subset = Literal["small", "medium", "large", "full"]
SUBSETS: tuple[Subset, ...] = ("small", "medium", "large", "full")
Labels = Literal["genre_top", "genres", "none"]

ARCHIVE_SHA1 = {
    "fma_metadata.zip": "f0df49ffe5f2a6008d7dc83c6915b31835dfe733",
    "fma_small.zip": "ade154f733639d52e35e32f5593efe5be76c6d70",
    "fma_medium.zip": "c67b69ea232021025fca9231fc1c7c1a063ab50b",
    "fma_large.zip": "497109f4dd721066b5ce5e5f250ec604dc78939e",
    "fma_full.zip": "0f0ace23fbe9ba30ecb7e95f763e435ea802b8ab",
}
"""The official archives (README of github.com/mdeff/fma)."""


class FMAConfig(Config):
    """The Free Music Archive data set."""

    root: UserPath
    """The folder that holds `fma_small` (or `data/fma_small`, or one folder more of the same name), or is it; a URL, too."""
    subset: Subset = "small"
    """`small` (8,000 clips of 30 s), `medium` (25,000, with those of small), `large` (106,574) or `full` (untrimmed).
    A smaller subset is also found in the folder of a larger one: their clips are the same files."""
    metadata: UserPath | None = None
    """The folder with tracks.csv and genres.csv; null: `fma_metadata` in `root` or beside it."""
    labels: Labels | None = None
    """`genre_top`: the one root genre of a track; `genres`: a genre of the whole tree; `none`; null: `genre_top` for small
    and medium, `none` for large and full, where half of the tracks have several root genres."""
    genre_level: int | None = Field(default=None, ge=1)
    """With `labels: genres`: 1 labels with the 16 root genres, 2 with their children where a track has one, and so on; null:
    with the deepest genre that the track has."""
    skip_known_faults: bool = True
    """Leave out clips that are known to be cut short or empty (21 of medium, 6 of them in small; none of full), and copies of
    a track that lies in another split."""
    partial: bool = False
    """Only a part of the subset is meant to be there: tracks whose files are not are no loss."""
    mirrors: tuple[str, ...] = ("https://os.unil.cloud.switch.ch/fma/",)
    """Addresses that `data fetch` looks for the archives at, in this order."""
    archive_sha1: dict[str, str] = Field(default={})
    """SHA-1 of archives that a mirror has packed anew, by name (`{fma_small.zip: ...}`)."""
    keep_archives: bool = False
    """Whether `data fetch` keeps the zip files that it has unpacked."""

    @property
    def labelled(self) -> Labels:
        """What the clips' labels are."""
        return self.labels or ("genre_top" if self.subset in ("small", "medium") else "none")

    @field_validator("archive_sha1")
    @classmethod
    def _known_archives(cls, given: dict[str, str]) -> dict[str, str]:
        for name, digest in given.items():
            if name not in ARCHIVE_SHA1:
                raise ValueError(f"there is no archive {name!r}; {nearest(name, ARCHIVE_SHA1)}")
            if not re.fullmatch(r"[0-9a-fA-F]{40}", digest):
                raise ValueError(f"{digest!r} is no SHA-1, which is 40 hexadecimal digits")
        return given

    @field_validator("mirrors")
    @classmethod
    def _web_addresses(cls, mirrors: tuple[str, ...]) -> tuple[str, ...]:
        for mirror in mirrors:
            if not re.match(r"https?://", mirror):
                raise ValueError(f"{mirror!r} is no http or https address")
        return mirrors

    @model_validator(mode="after")
    def _level_of_the_tree(self) -> Self:
        if self.genre_level is not None and self.labels != "genres":
            raise ValueError("genre_level is a level of the genre tree: it needs labels: genres")
        return self
