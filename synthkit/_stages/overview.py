"""A data set at a glance: its labels and splits, durations, rates and levels in one picture."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from synthkit._run.reporter import duration
from synthkit.errors import ClipReport, DatasetError
from synthkit.interfaces import SPLITS, Dataset, Split
from synthkit.storage import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK, _MUTED, _LINE = "#1f1b24", "#5f5969", "#e3dfe6"
_COLOURS: Mapping[Split, str] = {"train": "#7b2382", "validation": "#d9667f", "test": "#f2b387"}
_SECOND = "#d9667f"
_FULL_SCALE = 0.999
_SILENCE_DB = -80.0
_MOST_LABELS = 24
_MOST_RATES = 6
_WIDTH, _HEAD, _GAP, _FOOT = 12.0, 1.75, 1.15, 0.65
"""Inches: of the picture, above its panels, between them, and below."""
_THICK = 0.66
_TIMES = (0.001, 0.01, 0.1, 1.0, 10.0, 60.0, 600.0, 3600.0, 36000.0)
_STYLE = {
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": _INK,
    "axes.labelcolor": _MUTED,
    "axes.edgecolor": _LINE,
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 27,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "grid.color": _LINE,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
}


@dataclass(frozen=True, kw_only=True)
class Overview:
    """What the picture shows."""

    name: str
    clips: Mapping[Split, Mapping[str | None, int]]
    """Clips of each split by label."""
    labels: tuple[str, ...]
    measured: tuple[ClipReport, ...]
    """What decoding showed of some of the clips, or of all."""

    @classmethod
    def of(cls, name: str, dataset: Dataset, measured: Sequence[ClipReport]) -> Overview:
        """The overview of a data set of which some clips were decoded."""
        clips = {split: Counter(clip.label for clip in dataset.clips(split)) for split in SPLITS}
        return cls(name=name, clips=clips, labels=dataset.labels(), measured=tuple(measured))

    @property
    def total(self) -> int:
        """Number of clips."""
        return sum(sum(counts.values()) for counts in self.clips.values())

    @property
    def sounding(self) -> list[ClipReport]:
        """The measured clips that have sound."""
        return [clip for clip in self.measured if clip.seconds and clip.peak]

    @property
    def seconds(self) -> float:
        """Sound in all, taken from the clips that were measured."""
        return sum(clip.seconds for clip in self.measured) * self.total / max(1, len(self.measured))


def check_name(file: Path) -> None:
    """Raise `DatasetError` for the name of a picture that does not end in .png or .svg."""
    if file.suffix.lower() not in (".png", ".svg"):
        raise DatasetError(f"cannot write {str(file)!r}: the name of the picture must end in .png or .svg")


def draw(overview: Overview, file: Path) -> None:
    """Write the picture. Raises `DatasetError` where it cannot be written."""
    import matplotlib

    check_name(file)

    with matplotlib.rc_context(_STYLE):
        figure = _figure(overview)
        try:
            with replacing(file) as stream:
                figure.savefig(stream, format=file.suffix[1:].lower(), dpi=150)
        except OSError as error:
            raise DatasetError(f"cannot write {str(file)!r}: {error.strerror or error}") from error


def _figure(overview: Overview) -> Figure:
    """Left the bars, as high as they are many; right the histograms."""
    from matplotlib.figure import Figure

    bars, groups = _label_rows(overview), _rate_rows(overview)
    pitch = min(0.45, max(0.24, 3.6 / (len(bars) + max(1, len(groups)))))
    upper, lower = pitch * max(2, len(bars)), pitch * max(1, len(groups))
    height = max(5.9, _HEAD + upper + _GAP + lower + _FOOT)
    figure = Figure(figsize=(_WIDTH, height), facecolor="white")

    def axes(left: float, top: float, wide: float, high: float) -> Axes:
        return figure.add_axes((left / _WIDTH, 1 - (top + high) / height, wide / _WIDTH, high / height))

    figure.text(0.35 / _WIDTH, 1 - 0.42 / height, overview.name, fontsize=17, fontweight="bold", va="center")
    figure.text(0.35 / _WIDTH, 1 - 0.76 / height, _subtitle(overview), color=_MUTED, va="center")
    _labels(axes(1.75, _HEAD, 3.7, upper), overview, bars)
    _rates(axes(1.75, height - _FOOT - lower, 3.7, lower), groups)
    half = (height - _HEAD - _GAP - _FOOT) / 2
    _durations(axes(6.75, _HEAD, 4.9, half), overview)
    _levels(axes(6.75, height - _FOOT - half, 4.9, half), overview)
    return figure


def _subtitle(overview: Overview) -> str:
    total, measured = overview.total, len(overview.measured)
    about = "" if measured == total else "about "
    parts = [f"{total:,} clips", f"{about}{duration(overview.seconds)} of sound" if measured else ""]
    parts.append(f"measured on {measured:,} of them" if 0 < measured < total else "")
    bad = Counter(clip.code for clip in overview.measured if clip.code != "ok")
    parts.append(", ".join(f"{count:,} {code}" for code, count in bad.most_common()))
    return "   ·   ".join(filter(None, parts))


def _label_rows(overview: Overview) -> list[tuple[str, list[int]]]:
    """A name and the clips of each split for each label, the rarest together; one row where there are no labels."""
    totals = Counter[str | None]()
    for counts in overview.clips.values():
        totals.update(counts)
    names: list[str | None] = [label for label in overview.labels if totals[label]]
    shown = names if len(names) <= _MOST_LABELS else [label for label, _ in totals.most_common(_MOST_LABELS)]
    rest = [label for label in totals if label not in shown]
    rows = [(str(label), [label]) for label in shown]
    if rest:
        rows.append((f"{len(rest)} other labels" if names else "all clips", rest))
    return [
        (name, [sum(overview.clips[split].get(label, 0) for label in labels) for split in SPLITS])
        for name, labels in rows
    ]


def _labels(axes: Axes, overview: Overview, rows: Sequence[tuple[str, Sequence[int]]]) -> None:
    axes.set_title("Clips by label and split" if overview.labels else "Clips by split")
    left = np.zeros(len(rows))
    for column, split in enumerate(SPLITS):
        widths = np.array([counts[column] for _, counts in rows], dtype=float)
        legend = f"{split}  {widths.sum():,.0f}"
        axes.barh(range(len(rows)), widths, left=left, height=_THICK, color=_COLOURS[split], label=legend)
        left += widths
    for row, width in enumerate(left):
        axes.text(width, row, f"  {width:,.0f}", va="center", fontsize=9, color=_MUTED)
    _name_bars(axes, [name for name, _ in rows], float(left.max()))
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=3, handlelength=0.9, handleheight=0.9,
                columnspacing=1.4, borderaxespad=0.2, fontsize=9)  # fmt: skip


def _rate_rows(overview: Overview) -> list[tuple[str, float, int]]:
    """A name, the share of the sound and the clips for each rate with its channels, the rarest together."""
    groups: dict[tuple[int, int], list[float]] = {}
    for clip in overview.measured:
        if clip.seconds:
            groups.setdefault((clip.sample_rate, clip.channels), []).append(clip.seconds)
    ordered = sorted(groups.items(), key=lambda item: -sum(item[1]))
    rows = [(f"{rate:,} Hz {_channels(channels)}", lengths) for (rate, channels), lengths in ordered]
    if len(rows) > _MOST_RATES:
        rest = [length for _, lengths in rows[_MOST_RATES:] for length in lengths]
        rows[_MOST_RATES:] = [(f"{len(rows) - _MOST_RATES} others", rest)]
    total = sum(sum(lengths) for _, lengths in rows)
    return [(name, 100 * sum(lengths) / total, len(lengths)) for name, lengths in rows]


def _rates(axes: Axes, rows: Sequence[tuple[str, float, int]]) -> None:
    axes.set_title("Rates and channels")
    if not rows:
        return _nothing(axes)
    axes.barh(range(len(rows)), [share for _, share, _ in rows], height=_THICK, color=_COLOURS["train"])
    for row, (_, share, clips) in enumerate(rows):
        inside = share > 60
        text = f" {share:.3g} %, {clips:,} {'clip' if clips == 1 else 'clips'} "
        axes.text(share, row, text, va="center", ha="right" if inside else "left", fontsize=9,
                  color="white" if inside else _MUTED)  # fmt: skip
    _aside(axes, "share of the sound")
    _name_bars(axes, [name for name, _, _ in rows], 100.0)
    return None


def _durations(axes: Axes, overview: Overview) -> None:
    axes.set_title("Durations")
    lengths = np.array([clip.seconds for clip in overview.measured if clip.seconds])
    if not len(lengths):
        return _nothing(axes)
    low, high, middle = float(lengths.min()), float(lengths.max()), float(np.median(lengths))
    if high > 12 * low:
        axes.hist(lengths, bins=np.geomspace(low * 0.95, high * 1.05, 49).tolist(), color=_COLOURS["train"])
        axes.set_xscale("log")
        shown = _times_between(low * 0.95, high * 1.05)
        axes.set_xticks(shown, [_time(tick) for tick in shown])
        axes.set_xticks([], minor=True)
    else:
        margin = max(0.05 * (high - low), 0.06 * middle - (high - low) / 2)
        axes.hist(lengths, bins=np.linspace(low - margin, high + margin, 50).tolist(), color=_COLOURS["train"])
        axes.set_xlabel("seconds")
    axes.axvline(middle, color=_INK, linewidth=1)
    _aside(axes, _time(low) if low == high else f"{_time(low)} to {_time(high)}, the middle one {_time(middle)}")
    _quiet(axes)
    return None


def _levels(axes: Axes, overview: Overview) -> None:
    axes.set_title("Levels")
    sounding = overview.sounding
    if not sounding:
        return _nothing(axes)
    peaks, levels = _decibels([clip.peak for clip in sounding]), _decibels([clip.rms for clip in sounding])
    bottom = 5 * math.floor(float(levels.min()) / 5)
    edges = np.arange(bottom, max(1.0, float(peaks.max())) + 1, 1.0).tolist()
    axes.hist(levels, bins=edges, color=_COLOURS["train"], label="average (RMS)")
    axes.hist(peaks, bins=edges, color=_SECOND, alpha=0.25)
    axes.hist(peaks, bins=edges, histtype="step", color=_SECOND, linewidth=1.6, label="peak")
    axes.axvline(0, color=_INK, linewidth=1)
    axes.set_xlim(bottom, edges[-1])
    axes.set_xlabel("dB, where full scale is 0")
    axes.legend(loc="upper left", fontsize=9, handlelength=1.2, borderaxespad=0.1)
    full = sum(clip.peak >= _FULL_SCALE for clip in sounding)
    _aside(axes, f"{full:,} of {len(sounding):,} reach full scale")
    _quiet(axes)
    return None


def _channels(count: int) -> str:
    return {1: "mono", 2: "stereo"}.get(count, f"{count} channels")


def _decibels(values: Sequence[float]) -> np.ndarray:
    levels: np.ndarray = 20 * np.log10(np.maximum(np.asarray(values, dtype=float), 10 ** (_SILENCE_DB / 20)))
    return levels


def _short(name: str, most: int = 18) -> str:
    """A name that fits beside a bar.

    >>> _short("Old-Time / Historic recordings of the Library")
    'Old-Time / Histor…'
    """
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _time(seconds: float) -> str:
    """A length of time, short.

    >>> _time(0.0204), _time(29.98), _time(150)
    ('20 ms', '30 s', '2 min 30 s')
    """
    if seconds < 1:
        return f"{1000 * seconds:.2g} ms" if seconds < 0.0995 else f"{1000 * seconds:.3g} ms"
    return f"{seconds:.3g} s" if seconds < 59.95 else duration(seconds).removesuffix(" 0 s").removesuffix(" 0 min")


def _times_between(low: float, high: float) -> list[float]:
    """Round times for an axis that goes up in equal factors, not so many that their names would touch."""
    shown: list[float] = []
    for tick in _TIMES:
        if low <= tick <= high and (not shown or tick / shown[-1] >= (high / low) ** (1 / 7)):
            shown.append(tick)
    return shown


def _name_bars(axes: Axes, names: Sequence[str], longest: float) -> None:
    axes.set_yticks(range(len(names)), [_short(name) for name in names], color=_INK)
    axes.set_ylim(max(len(names), 1) - 0.5, -0.5)
    axes.set_xlim(0, max(longest, 1) * 1.001)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines["bottom"].set_visible(False)


def _aside(axes: Axes, text: str) -> None:
    axes.annotate(text, (0, 1), (0, 9), "axes fraction", "offset points", va="bottom", fontsize=9, color=_MUTED)


def _nothing(axes: Axes) -> None:
    axes.text(0.5, 0.5, "nothing was measured", transform=axes.transAxes, ha="center", va="center", color=_MUTED)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _quiet(axes: Axes) -> None:
    """Few lines: a light grid along the counts, no ticks."""
    from matplotlib.ticker import MaxNLocator

    axes.grid(axis="y")
    axes.tick_params(which="both", length=0)
    axes.spines["left"].set_visible(False)
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
