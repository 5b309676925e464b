"""The sounds of an evaluation: crops of real clips, and what each vocoder makes of them, as wav files in one folder.

What is there already is not made again: a journal tells of each file from what it was made.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath

import torch

from synthkit import __version__
from synthkit._data.export import safe_names
from synthkit._data.pool import Crashed, Source, work_on
from synthkit._plugins import reason_of
from synthkit._run.reporter import Reporter
from synthkit._run.seeds import derive_seed
from synthkit._stages.evaluation.contenders import ORIGINAL, Contender
from synthkit._stages.evaluation.crops import middle
from synthkit._stages.report.sources import Item, Version
from synthkit._stages.synthesis import SpecFeatures, extract, resynthesise
from synthkit.audio import Audio, read
from synthkit.errors import ClipReport, SynthkitError
from synthkit.interfaces import Clip, Dataset
from synthkit.storage import text_hash

_JOURNAL = "made.jsonl"
_DECODE_SECONDS = 600.0
_WARM_UP_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A clip of which a vocoder made nothing."""

    clip: str
    vocoder: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Record:
    """One file that is done."""

    file: str
    """Relative to the folder, with slashes."""
    key: str
    """A hash of everything that it was made from."""
    elapsed: float = 0.0
    clipped: int = 0


@dataclass(frozen=True, kw_only=True)
class Made:
    """All sounds of an evaluation."""

    items: tuple[Item, ...]
    credits: Mapping[str, str]
    """Whom to name for each clip, by its id."""
    left_out: tuple[ClipReport, ...]
    failures: tuple[Failure, ...]
    new: int
    """Sounds that vocoders made now; the others were there."""


@dataclass
class Maker:
    """Makes what is missing in one folder."""

    source: Source
    dataset: Dataset
    contenders: Sequence[Contender]
    folder: Path
    seconds: float
    seed: int
    reporter: Reporter
    _failures: list[Failure] = field(default_factory=list)
    _new: int = 0

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._journal = self.folder / _JOURNAL
        self._known = {record.file: record for record in _read(self._journal)}
        self._folders = safe_names([ORIGINAL, *(contender.name for contender in self.contenders)])

    def make(self, clips: Sequence[Clip]) -> Made:
        """The crops of the clips and what every vocoder makes of them.

        A clip that cannot be read is left out; one that a vocoder fails at is there without that version. Both are told.

        Raises:
            DatasetError: where the processes that decode cannot be started.
            AudioError: where a file cannot be written.
        """
        files = safe_names(clip.id for clip in clips)
        left_out = self._read_originals(clips, files)
        unreadable = {report.id for report in left_out}
        usable = [clip for clip in clips if clip.id not in unreadable]
        if any(not self._is_done(*self._version(clip, one, files)) for clip in usable for one in self.contenders):
            self._warm_up()
        items = []
        with self.reporter.task("vocode", len(usable) * len(self.contenders)) as task:
            for number, clip in enumerate(usable):
                versions = [self._original(clip, files)]
                for place, contender in enumerate(self.contenders):
                    task.update(number * len(self.contenders) + place, f"{clip.id}, {contender.name}")
                    versions += self._vocode(clip, contender, files)
                items.append(self._item(clip, versions))
        return Made(
            items=tuple(items),
            credits={clip.id: clip.credit for clip in usable},
            left_out=tuple(left_out),
            failures=tuple(self._failures),
            new=self._new,
        )

    def _read_originals(self, clips: Sequence[Clip], files: Mapping[str, str]) -> list[ClipReport]:
        """Decode what is not there yet, in processes that may crash: this happens before anything is timed."""
        new = [clip for clip in clips if not self._is_done(self._file(ORIGINAL, clip, files), self._crop_key(clip))]
        left_out: list[ClipReport] = []
        if not new:
            return left_out
        with self.reporter.task("read", len(new)) as task:
            crop = partial(middle, self.seconds)
            with closing(work_on(self.source, self.dataset, new, crop, 0, _DECODE_SECONDS)) as results:
                for done, (clip, result) in enumerate(results, 1):
                    if isinstance(result, Audio):
                        file = self._file(ORIGINAL, clip, files)
                        self._store(Record(file=file, key=self._crop_key(clip)), result, clip, "the recording")
                    else:
                        left_out.append(result.report(clip) if isinstance(result, Crashed) else result)
                    task.update(done, clip.id)
        return left_out

    def _vocode(self, clip: Clip, contender: Contender, files: Mapping[str, str]) -> Iterator[Version]:
        file, key = self._version(clip, contender, files)
        if not self._is_done(file, key):
            try:
                made, elapsed = self._speak(contender, read(self.folder / self._file(ORIGINAL, clip, files)), clip.id)
            except Exception as error:  # noqa: BLE001 - a vocoder of a plugin may raise anything; it is told
                reason = str(error) if isinstance(error, SynthkitError) else reason_of(error)
                self._failures.append(Failure(clip=clip.id, vocoder=contender.name, reason=reason))
                return
            self._store(Record(file=file, key=key, elapsed=elapsed), made, clip, contender.name)
            self._new += 1
        record = self._known[file]
        yield Version(
            name=contender.name,
            role="compare",
            file=self.folder / file,
            elapsed=record.elapsed,
            clipped=record.clipped,
        )

    def _speak(self, contender: Contender, original: Audio, clip: str) -> tuple[Audio, float]:
        """The vocoder's sound of its own features of the original, and how long it took to make it of them."""
        features = extract(SpecFeatures(contender.spec), original, device=contender.vocoder.device)
        seed = derive_seed(self.seed, "evaluate", clip)
        random = torch.Generator(device=contender.vocoder.device).manual_seed(seed)
        began = time.perf_counter()
        made = resynthesise(contender.vocoder, features, random=random)  # it ends on the CPU, so nothing is under way
        return made, time.perf_counter() - began

    def _warm_up(self) -> None:
        """Have each vocoder do once what only its first call does (compiling, choosing kernels): no clip is charged for it."""
        for contender in self.contenders:
            rate = contender.spec.sample_rate
            noise = torch.rand(1, round(_WARM_UP_SECONDS * rate), generator=torch.Generator().manual_seed(0)) - 0.5
            with suppress(Exception):  # what fails here fails with a clip too, and is told there
                self._speak(contender, Audio(noise.numpy(), rate), "warm-up")

    def _original(self, clip: Clip, files: Mapping[str, str]) -> Version:
        record = self._known[self._file(ORIGINAL, clip, files)]
        return Version(
            name=ORIGINAL, role="reference", file=self.folder / record.file, elapsed=0.0, clipped=record.clipped
        )

    def _item(self, clip: Clip, versions: Sequence[Version]) -> Item:
        licence = clip.licence or self.dataset.licence
        seed = derive_seed(self.seed, "evaluate", clip.id)
        return Item(id=clip.id, title=clip.id, label=clip.label, licence=licence, seed=seed, versions=tuple(versions))

    def _metadata(self, clip: Clip, maker: str) -> Mapping[str, str]:
        return {
            "title": clip.id,
            "comment": f"{maker}, the middle {self.seconds:g} s, seed {self.seed}",
            "artist": clip.credit,
            "copyright": clip.licence or self.dataset.licence,
            "software": f"synthkit {__version__}",
        }

    def _file(self, version: str, clip: Clip, files: Mapping[str, str]) -> str:
        return str(PurePosixPath(self._folders[version], f"{files[clip.id]}.wav"))

    def _crop_key(self, clip: Clip) -> str:
        return text_hash(f"{clip.id}\n{clip.key}\n{self.seconds}")

    def _version(self, clip: Clip, contender: Contender, files: Mapping[str, str]) -> tuple[str, str]:
        """The file of what a vocoder makes of a clip, and its key."""
        made_of = (self._crop_key(clip), contender.identity, str(contender.vocoder.device), str(self.seed))
        return self._file(contender.name, clip, files), text_hash("\n".join(made_of))

    def _is_done(self, file: str, key: str) -> bool:
        record = self._known.get(file)
        return record is not None and record.key == key and (self.folder / file).is_file()

    def _store(self, record: Record, sound: Audio, clip: Clip, maker: str) -> None:
        """Write a file, then say so. One that it replaces is forgotten before, lest a kill in between mistakes it for that."""
        if record.file in self._known:
            self._note(Record(file=record.file, key=""))
        clipped = sound.write(self.folder / record.file, metadata=self._metadata(clip, maker))
        self._note(replace(record, clipped=clipped))

    def _note(self, record: Record) -> None:
        self._known[record.file] = record
        with self._journal.open("a", encoding="utf-8") as stream:
            stream.write(f"\n{json.dumps(asdict(record))}")  # on a line of its own, whatever a killed one left


def _read(journal: Path) -> Iterator[Record]:
    if journal.is_file():
        for line in journal.read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError, TypeError):  # the last line of a killed evaluation may be half a line
                yield Record(**json.loads(line))
