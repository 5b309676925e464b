"""The genre tree of FMA: 163 genres below 16 roots (`genres.csv`)."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from synthkit.errors import DatasetError
from synthkit.remote import Place, local_copy


@dataclass(frozen=True)
class Genre:
    """One genre: its title (which may have a slash) and the id of its parent, 0 for a root."""

    title: str
    parent: int


class GenreTree:
    """All genres by their id.

    >>> tree = GenreTree({12: Genre("Rock", 0), 25: Genre("Punk", 12), 89: Genre("Post-Punk", 25), 17: Genre("Folk", 0)})
    >>> tree.lineage(89)
    (12, 25, 89)
    >>> tree.label([17, 89]), tree.label([17, 89], level=2), tree.label([17], level=2), tree.label([])
    ('Post-Punk', 'Punk', 'Folk', None)
    """

    def __init__(self, genres: Mapping[int, Genre]) -> None:
        self.genres = dict(genres)

    @classmethod
    def read(cls, file: Place) -> GenreTree:
        """Read a `genres.csv`. Raises `DatasetError` where it is absent or none."""
        try:
            with local_copy(file) as path:
                text = path.read_text(encoding="utf-8")
            rows = csv.DictReader(io.StringIO(text, newline=""))
            tree = cls({int(row["genre_id"]): Genre(row["title"], int(row["parent"])) for row in rows})
        except OSError as error:
            raise DatasetError(f"cannot read {str(file)!r}: {error.strerror or error}") from error
        except (ValueError, KeyError, TypeError, csv.Error) as error:
            raise DatasetError(
                f"{str(file)!r} is not the genres.csv of FMA, with the columns genre_id, parent and title: {error!r}"
            ) from error
        tree._check(str(file))
        return tree

    def lineage(self, genre: int) -> tuple[int, ...]:
        """The genre with its ancestors, the root first. Raises `KeyError` for a genre that is not in the tree."""
        return self._lineages[genre]

    def label(self, genres: Sequence[int], level: int | None = None) -> str | None:
        """One title for a track of these genres: that of the deepest one, of equally deep ones of the first.

        With a `level` it is that of the deepest one's ancestor there (1: its root), or its own where it is not so deep.
        None without genres. Raises `KeyError` for a genre that is not in the tree.
        """
        if not genres:
            return None
        line = max((self.lineage(genre) for genre in genres), key=len)
        return self.genres[line[-1] if level is None else line[min(level, len(line)) - 1]].title

    @cached_property
    def _lineages(self) -> dict[int, tuple[int, ...]]:
        return {genre: tuple(reversed(list(self._upwards(genre)))) for genre in self.genres}

    def _upwards(self, genre: int) -> Sequence[int]:
        line: list[int] = []
        while genre:
            if genre in line or genre not in self.genres:
                raise ValueError(genre)
            line.append(genre)
            genre = self.genres[genre].parent
        return line

    def _check(self, file: str) -> None:
        if not self.genres:
            raise DatasetError(f"{file!r} holds no genre")
        for genre in self.genres:
            try:
                self._upwards(genre)
            except ValueError:
                raise DatasetError(f"{file!r}: the parents of genre {genre} lead to no root") from None
