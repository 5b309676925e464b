"""The data set `fma`: the table's tracks of a subset that are there, with the splits, genres and licences of the table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from synthkit.errors import ClipReport, DatasetError
from synthkit.interfaces import Clip, Dataset, Progress, Split
from synthkit.remote import join
from synthkit_fma.config import FMAConfig
from synthkit_fma.index import Index, open_index
from synthkit_fma.layout import TABLE, find_audio, find_metadata
from synthkit_fma.selection import Selection, known_faults, select

_CLIP_SECONDS = 30
_CUT_SECONDS = 1.0
"""How much shorter or longer a clip is than its 30 s: whole MP3 frames were copied."""


class FMA(Dataset):
    """A subset of the Free Music Archive data set.

    A clip's id is the track's six digits, its licence that of the track, its label and its split those of the table.
    The splits are the official ones: no artist is on two sides.
    """

    licence = (
        "each track has the licence that its artist chose, most of them non-commercial (the column track/license of "
        "tracks.csv, carried along with each clip); metadata CC BY 4.0"
    )
    citation = (
        "Michaël Defferrard, Kirell Benzi, Pierre Vandergheynst, Xavier Bresson. FMA: A Dataset For Music Analysis. "
        "ISMIR 2017. arXiv:1612.01840"
    )

    def __init__(self, config: FMAConfig) -> None:
        self._config = config
        self._index: Index | None = None
        self._selection: Selection | None = None

    def index(self, progress: Progress | None = None) -> None:
        """Index the tables, where that was not done before, and list the files."""
        if self._selection is None:
            audio, metadata = find_audio(self._config), find_metadata(self._config)
            self._index = open_index(join(metadata, TABLE), progress)
            self._selection = select(self._config, self._index, metadata, audio)

    def labels(self) -> tuple[str, ...]:
        """The genres that tracks of the subset have in the table, sorted; whether their files are there does not matter."""
        return self._selected.labels

    def clips(self, split: Split | None = None) -> Sequence[Clip]:
        """The tracks sorted by id. Raises `DatasetError` where none of the subset is there."""
        return self._selected.clips[split]

    def left_out(self) -> Sequence[ClipReport]:
        """Tracks that are not used: a `known-fault`, `missing` (`absent` from a tree that is meant to be partial), without a
        label (`no-label`); and files that are no tracks of the table (`not-listed`) or of FMA (`not-audio`)."""
        return self._selected.left_out

    def expected_seconds(self, clip: Clip) -> tuple[float, float] | None:
        """About 30 s, or all of a shorter track; of `full` what the table says, which is wrong for the known faults."""
        seconds = self._seconds(int(clip.id))
        if self._config.subset != "full":
            whole = min(seconds, _CLIP_SECONDS)
            return max(0.0, whole - _CUT_SECONDS), whole + _CUT_SECONDS
        if int(clip.id) in known_faults():
            return None
        return max(0.0, 0.98 * seconds - 2), 1.02 * seconds + 2

    def fetch(self, progress: Progress | None = None, archive: Path | None = None) -> None:
        """Download the subset's archive and the tables, unless they are there, unpack them and check every file."""
        from synthkit_fma.fetching import fetch

        fetch(self._config, progress, archive)
        self._index = self._selection = None

    @property
    def _selected(self) -> Selection:
        self.index()
        assert self._selection is not None
        return self._selection

    def _seconds(self, id: int) -> int:
        self.index()
        assert self._index is not None
        row = self._index.row(id)
        if row is None:
            raise DatasetError(f"the table of FMA has no track {id:06d}")
        return int(self._index.seconds[row])
