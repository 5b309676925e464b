"""The data set `gtzan`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path, PurePath

from synthkit import remote
from synthkit.archives import unpack
from synthkit.errors import ClipReport, DatasetError
from synthkit.interfaces import Clip, Dataset, Progress, Split
from synthkit.storage import stamp, text_hash
from synthkit_gtzan.config import GTZANConfig
from synthkit_gtzan.facts import GENRES, SECONDS, fault, split
from synthkit_gtzan.layout import Found, find
from synthkit_gtzan.sources import check_archive, where_to_get_it

LICENCE = "none is stated; excerpts of commercial recordings, collected for research"

_CITATION = (
    "G. Tzanetakis, P. Cook: Musical genre classification of audio signals. IEEE Transactions on Speech and Audio "
    "Processing 10(5), 2002. Faults: B. L. Sturm: The GTZAN dataset: its contents, its faults, their effects on "
    "evaluation, and its future use. arXiv:1306.1461, 2013."
)
_KERELIUK = (
    "Split: C. Kereliuk, B. L. Sturm, J. Larsen: Deep learning and music adversaries. IEEE Transactions on Multimedia "
    "17(11), 2015."
)
_FOLEISS = (
    "Folds: J. H. Foleiss, T. F. Tavares: Texture selection for automatic music genre classification. Applied Soft "
    "Computing 89, 2020."
)


class GTZAN(Dataset):
    """1,000 excerpts of 30 s, 22,050 Hz, mono, in ten genres, as .wav or .au, in any of the layouts that are about.

    The clips are those of a published split that are on the disk. `left_out` names all the others: those of the split
    that are `missing`, those with a `known-fault`, and those on the disk that the split does not list (`not-listed`).
    """

    def __init__(self, config: GTZANConfig) -> None:
        self._config = config
        self.licence = LICENCE
        self.citation = f"{_CITATION} {_FOLEISS if 'fold' in config.split else _KERELIUK}"
        self._split = split(config.split)
        self._clips: tuple[Clip, ...] | None = None

    def index(self, progress: Progress | None = None) -> None:
        if self._clips is None:
            self._clips = self._index(progress)

    def labels(self) -> tuple[str, ...]:
        return GENRES if self._config.labels == "genres" else ()

    def clips(self, split: Split | None = None) -> Sequence[Clip]:
        """The clips sorted by id. Raises `DatasetError` where none is found."""
        self.index()
        assert self._clips is not None
        return [clip for clip in self._clips if split is None or self._split[clip.id] == split]

    def expected_seconds(self, clip: Clip) -> tuple[float, float]:
        return SECONDS

    def left_out(self) -> Sequence[ClipReport]:
        """Clips of the split that are not there or not to be used, and sound files that are no clip of it."""
        faulty = [ClipReport(id=id, code="known-fault", reason=reason) for id, reason in self._faults.items()]
        return [*self._missing(), *faulty, *self._not_listed()]

    def fetch(self, progress: Progress | None = None, archive: Path | None = None) -> None:
        """Unpack an archive that the user has, if its checksum is the known one; nothing is downloaded."""
        root = self._config.root
        if not isinstance(root, Path):
            raise DatasetError(f"an archive is unpacked into a folder of this machine, not into {root!r}")
        if archive is None:
            if not find(root).files:
                raise DatasetError(where_to_get_it(root))
            return
        archive = archive.expanduser()
        check_archive(archive, progress)
        unpack(archive, root, progress=progress)

    @cached_property
    def _found(self) -> Found:
        found = find(self._config.root)
        if not found.files:
            raise DatasetError(found.nothing)
        return found

    @cached_property
    def _faults(self) -> dict[str, str]:
        """Clips of the split that are there, but better not used, and why."""
        if not self._config.skip_known_faults:
            return {}
        there = {id: place for id, place in self._found.files.items() if id in self._split}
        reasons = {id: fault(id, PurePath(place).suffix.lower(), there) for id, place in there.items()}
        return {id: reason for id, reason in reasons.items() if reason}

    def _index(self, progress: Progress | None) -> tuple[Clip, ...]:
        files = {id: place for id, place in self._found.files.items() if id in self._split and id not in self._faults}
        stamps = {id: stamp(place) if isinstance(place, Path) else "" for id, place in files.items()}
        keys = remote.content_keys(list(files.values()), progress)
        return tuple(
            Clip(
                id=id,
                key=key if isinstance(key, str) else text_hash(id),  # decoding will say why it cannot be read
                path=str(place),
                label=id.split(".")[0] if self._config.labels == "genres" else None,
                licence=LICENCE,
                stamp=stamps[id],
            )
            for (id, place), key in zip(files.items(), keys, strict=True)
        )

    def _missing(self) -> list[ClipReport]:
        code = "absent" if self._config.partial else "missing"
        return [
            ClipReport(
                id=id, code=code, reason=f"it is of the {part} part of {self._config.split}, but not in the set here"
            )
            for id, part in self._split.items()
            if id not in self._found.files
        ]

    def _not_listed(self) -> list[ClipReport]:
        reason = f"it is in no part of the split {self._config.split}"
        beside = {id: reason for id in self._found.files if id not in self._split} | self._found.strays
        return [ClipReport(id=id, code="not-listed", reason=reason) for id, reason in beside.items()]
