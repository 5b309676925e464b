"""Exporting: the features of a data set as files, one clip at a time in each of several processes."""

from __future__ import annotations

import json
import multiprocessing
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
import torch

from synthkit import dsp
from synthkit._catalog import Catalog, Offered
from synthkit._data.export import FORMAT, Index, Journal, Scale, safe_name, safe_names, write_npz, write_png
from synthkit._data.pool import Crashed, Source, work_on
from synthkit._run.folder import read_json
from synthkit._run.reporter import Reporter
from synthkit._stages.prepare import index, showing
from synthkit._stages.synthesis import extract
from synthkit.audio import AUDIO_SUFFIXES, Audio
from synthkit.config import FeaturesConfig
from synthkit.errors import AudioError, ClipReport, ConfigError, SynthkitError, UnreadableClip
from synthkit.interfaces import SPLITS, Clip, Dataset, FeatureExtractor, Split
from synthkit.specs import FeatureSpec
from synthkit.storage import text_hash, write_json

Format = Literal["npz", "png"]

_CLIP_SECONDS = 600.0  # what takes longer hangs


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is made of each clip. It goes to other processes, which build their extractor from it."""

    plugin_files: tuple[Path, ...]
    features: str
    """`plugin/name` of the feature extractor."""
    settings: str
    """Its settings in JSON."""
    spec: FeatureSpec
    seconds: float | None
    """Length of the windows that a clip is cut into; None: one file for each clip."""
    scale: Scale | None
    """How values become grey; None: arrays are written."""
    folder: Path

    @property
    def ending(self) -> str:
        """`png` or `npz`."""
        return "npz" if self.scale is None else "png"

    @property
    def window(self) -> int | None:
        """Frames of a window."""
        return None if self.seconds is None else max(1, round(self.seconds * self.spec.frames_per_second))

    def describe(self) -> dict[str, Any]:
        """What `spec.json` says: all that somebody needs who reads the files without synthkit."""
        described: dict[str, Any] = {
            "format": FORMAT,
            "features": {"use": self.features, "settings": json.loads(self.settings), "spec": self.spec.to_dict()},
            "value": "gain * log(max(mel, floor)) + offset, with the fields of spec",
            "window": None if self.window is None else {"seconds": self.seconds, "frames": self.window},
        }
        if self.scale is None:
            return {**described, "npz": {"features": "float32 [n_mels, frames], band 0 is the lowest"}}
        rows = "row 0, the top, is the highest band; the last row is band 0, the lowest"
        way_back = f"low + pixel / {self.scale.white} * (high - low)"
        return {**described, "png": {**asdict(self.scale), "rows": rows, "value": way_back}}


@dataclass(frozen=True, kw_only=True, slots=True)
class Placed(Clip):
    """A clip that knows where its files go."""

    split: Split
    place: str
    """`SPLIT/LABEL/NAME`, without ending."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """The files of one clip."""

    files: tuple[str, ...]
    """Relative to the folder, with slashes."""
    beyond: int
    """Values that were cut off because they lie outside of the scale."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What `export` did."""

    clips: int
    files: int
    new: int
    """Clips that were not there before."""
    beyond: int
    left_out: int


def make_plan(
    catalog: Catalog,
    offered: Offered,
    config: FeaturesConfig,
    folder: Path,
    *,
    format: Format,
    seconds: float | None = None,
    bits: int = 8,
    limits: tuple[float, float] | None = None,
) -> Plan:
    """What to export: the features that `offered` makes with the settings `config`.

    Args:
        catalog: Where the extractor is.
        offered: The extractor.
        config: Its settings.
        folder: Where the files go.
        format: `npz` or `png`.
        seconds: Cut each clip into windows of this length.
        bits: Of a pixel.
        limits: The values that are black and white; None: what the quietest and the loudest sound in -1..1 can give.

    Raises:
        ConfigError: for limits that are none.
    """
    spec = config.spec()
    if seconds is not None and not seconds > 0:
        raise ConfigError(f"a window must be longer than {seconds:g} s")
    scale = None
    if format == "png":
        low, high = limits or value_range(spec)
        if not low < high:
            raise ConfigError(f"the value that is black must be below the one that is white, not {low:g} and {high:g}")
        scale = Scale(low=low, high=high, bits=bits)
    return Plan(
        plugin_files=catalog.files,
        features=offered.full_name,
        settings=config.model_dump_json(exclude_defaults=True),
        spec=spec,
        seconds=seconds,
        scale=scale,
        folder=folder.expanduser().absolute(),
    )


def value_range(spec: FeatureSpec) -> tuple[float, float]:
    """The smallest value of a spec, and one that no sound in -1..1 exceeds.

    A bin of the STFT is at most the sum of the window, and a band at most its weights times that.

    >>> low, high = value_range(FeatureSpec(sample_rate=22050, n_fft=1024, hop_length=256, n_mels=80))
    >>> low, 1.3 < high < 1.5
    (-5.0, True)
    """
    loudest = dsp.stft_magnitude(torch.ones(spec.n_fft), replace(spec, framing="valid")).max()
    mel = torch.stack([torch.tensor(0.0), dsp.mel_filterbank(spec).sum(dim=1).max() * loudest**spec.power])
    low, high = sorted(dsp.compress(mel, spec).tolist())  # as features are computed, so that none is below by rounding
    return low, high


def export(
    source: Source, plan: Plan, *, splits: Sequence[Split] = SPLITS, workers: int = 0, reporter: Reporter | None = None
) -> Exported:
    """Write the features of every clip, `spec.json` that says what they mean, and `export.json` that lists them.

    The files of a clip are `SPLIT/LABEL/NAME.png`, with numbers where it is cut into windows. What is there already is
    kept if the clip is as it was; stopped at any moment, it goes on from there. A clip that cannot be used stands in
    `export.json` with the reason. Files of clips that are no more, or are another split's now, are removed.

    Raises:
        SynthkitError: the folder holds another export, or cannot be written.
    """
    reporter = reporter or Reporter()
    dataset = source.build()
    index(dataset, reporter)
    clips = _placed(dataset, splits)
    with _writing(plan.folder):
        _claim(plan)
        before = Index.read(plan.folder)
        records = {clip.id: record for clip in clips if (record := _still(before.clips.get(clip.id), clip, plan))}
        new = [clip for clip in clips if clip.id not in records]
        left_out = [{"split": None, **asdict(report)} for report in dataset.left_out()]
        with (
            Journal(plan.folder) as journal,
            closing(work_on(source, dataset, new, partial(export_clip, plan), workers, _CLIP_SECONDS)) as results,
            showing(reporter, "export") as progress,
        ):
            for count, (clip, result) in enumerate(results, 1):
                assert isinstance(clip, Placed)
                if isinstance(result, Made):
                    records[clip.id] = _record(clip, result)
                    journal.add(records[clip.id])
                else:
                    report = result.report(clip) if isinstance(result, Crashed) else result
                    left_out.append({"split": clip.split, **asdict(report)})
                progress(count, len(new))
        others = [record for record in before.clips.values() if record["split"] not in splits]
        now = Index(
            {
                record["clip"]: record
                for record in [*others, *(records[clip.id] for clip in clips if clip.id in records)]
            },
            [*left_out, *(row for row in before.left_out if row["split"] not in (None, *splits))],
        )
        now.write(plan.folder, source.offered.full_name, before)
    mine = [now.clips[clip.id] for clip in clips if clip.id in records]
    return Exported(
        clips=len(mine),
        files=sum(len(record["files"]) for record in mine),
        new=sum(clip.id in records for clip in new),
        beyond=sum(record["beyond"] for record in mine),
        left_out=len(left_out),
    )


def export_clip(plan: Plan, dataset: Dataset, clip: Clip) -> Made | ClipReport:
    """Write the files of one clip. What is wrong with the clip is returned, what is wrong with the folder is raised."""
    assert isinstance(clip, Placed)
    made: list[str] = []
    beyond = 0
    try:
        sound = dataset.open(clip).mono().resample(plan.spec.sample_rate)
        for number, piece in enumerate(_pieces(sound, plan)):
            values = extract(_extractor(plan.plugin_files, plan.features, plan.settings), piece).values[0].numpy()
            if not np.isfinite(values).all():
                raise UnreadableClip(clip.id, "not-finite", "its features are not finite numbers")
            name = f"{clip.place}{'' if plan.window is None else f'-{number:04d}'}.{plan.ending}"
            about = {"clip": clip.id, "label": clip.label or "", **_rights(clip), "piece": number}
            with _writing(plan.folder):
                if plan.scale is None:
                    write_npz(plan.folder / name, values, about)
                else:
                    write_png(plan.folder / name, values, plan.scale, about)
                    beyond += plan.scale.beyond(values)
            made.append(name)
    except UnreadableClip as error:
        return ClipReport(id=clip.id, code=error.code, reason=error.reason)
    except MemoryError:
        return ClipReport(id=clip.id, code="unreadable", reason="it does not fit into memory")
    except (AudioError, OSError) as error:
        return ClipReport(id=clip.id, code="unreadable", reason=str(error))
    if not made:
        reason = f"it is {sound.seconds:.3g} s long, less than a window of {plan.seconds:g} s"
        return ClipReport(id=clip.id, code="too-short", reason=reason, seconds=sound.seconds)
    return Made(files=tuple(made), beyond=beyond)


def _pieces(sound: Audio, plan: Plan) -> Iterator[Audio]:
    """The sound, or its windows one after the other; what is left at the end is no window."""
    if plan.window is None:
        yield sound
        return
    length = plan.spec.samples(plan.window)
    for start in range(0, sound.frames - length + 1, length):
        yield sound.crop(start, length)


@lru_cache(maxsize=1)
def _extractor(plugin_files: tuple[Path, ...], name: str, settings: str) -> FeatureExtractor:
    """The extractor of a process, built once."""
    if multiprocessing.parent_process() is not None:
        torch.set_num_threads(1)  # there is a process for each core
    catalog = Catalog.discover(plugin_files)
    offered = catalog.find("features", name)
    extractor = catalog.build(offered, catalog.config_class(offered).model_validate_json(settings))
    assert isinstance(extractor, FeatureExtractor)
    return extractor


def _placed(dataset: Dataset, splits: Sequence[Split]) -> list[Placed]:
    """The clips and their places; where two would have the same, the later one's name gets a number of its own."""
    clips = [(split, clip) for split in SPLITS if split in splits for clip in dataset.clips(split)]
    folders = safe_names(clip.label for _, clip in clips if clip.label is not None)
    wanted = {}
    for split, clip in clips:
        stem = clip.id.removeprefix(f"{clip.label}/") if clip.label else clip.id
        stem = stem[: -len(suffix)] if (suffix := PurePosixPath(stem).suffix).lower() in AUDIO_SUFFIXES else stem
        folder = f"{split}/{folders[clip.label]}" if clip.label is not None else split
        wanted[clip.id] = f"{folder}/{safe_name(stem)}"
    counts = Counter(place.casefold() for place in wanted.values())
    unique = {
        id: f"{place}-{text_hash(id)[:8]}" if counts[place.casefold()] > 1 else place for id, place in wanted.items()
    }
    names = [field.name for field in fields(Clip)]
    return [
        Placed(**{name: getattr(clip, name) for name in names}, split=split, place=unique[clip.id])
        for split, clip in clips
    ]


def _claim(plan: Plan) -> None:
    """Write `spec.json`, or see that the one that is there says the same."""
    file, described = plan.folder / "spec.json", json.loads(json.dumps(plan.describe()))
    if not file.is_file():
        write_json(file, described)
        return
    try:
        there = read_json(file)
    except ValueError:
        there = {}
    if there != described:
        names = [name for name in described if there.get(name) != described[name]]
        raise SynthkitError(
            f"{str(plan.folder)!r} holds another export (spec.json differs in {', '.join(names) or 'its fields'}): "
            "name another folder with -o, or delete it first"
        )


def _still(record: Mapping[str, Any] | None, clip: Placed, plan: Plan) -> dict[str, Any] | None:
    """The record of a clip whose files are there and of this content."""
    if record is None or (record["key"], record["place"]) != (clip.key, clip.place):
        return None
    return dict(record) if all((plan.folder / file).is_file() for file in record["files"]) else None


def _record(clip: Placed, made: Made) -> dict[str, Any]:
    return {
        "clip": clip.id,
        "split": clip.split,
        "label": clip.label,
        **_rights(clip),
        "files": list(made.files),
        "beyond": made.beyond,
        "key": clip.key,
        "place": clip.place,
    }


def _rights(clip: Clip) -> dict[str, str]:
    return {"licence": clip.licence, "credit": clip.credit}


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SynthkitError(
            f"cannot write {error.filename or str(folder)!r}: {error.strerror or error}; make room or name another "
            "folder with -o, and run again: what is there already stays"
        ) from error
