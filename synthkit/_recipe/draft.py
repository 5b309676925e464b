"""Writes a recipe for a measured folder. Its comments say what was measured and why a number was chosen.

The text names shipped components as the files in `recipes/` do; the command checks it against the catalogue like any other.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from synthkit._recipe.dump import scalar_text
from synthkit._recipe.measure import MIN_SECONDS, Measured
from synthkit._run.reporter import duration

_CROP_FRAMES = 32
_LEAST_FRAMES = 16


@dataclass(frozen=True, kw_only=True)
class _Features:
    """Features for sound of one rate, and the upsampling of a vocoder that fits them."""

    sample_rate: int
    n_fft: int
    hop_length: int
    ratios: tuple[int, ...] | None
    """None where the vocoder's defaults fit."""


def draft_recipe(measured: Measured, name: str | None = None) -> str:
    """The text of a recipe that trains a vocoder on the folder."""
    features = _features(measured)
    lines = [
        *_head(measured, name or recipe_name(measured.root.name)),
        *_data(measured),
        *_feature_lines(measured, features),
        *_vocoder_lines(features),
        *_train(measured, features),
        *_prepare(measured),
        *_rest(measured),
    ]
    return "\n".join(lines) + "\n"


def recipe_name(text: str) -> str:
    """A name that a recipe may have.

    >>> recipe_name("My  recordings (2024)"), recipe_name("...")
    ('My-recordings-2024', 'my-audio')
    """
    return "-".join(re.findall(r"[A-Za-z0-9][A-Za-z0-9._]*", text))[:100] or "my-audio"


def _features(measured: Measured) -> _Features:
    """22,050 Hz where most of the sound reaches it, else 16,000, else the rate that most of the sound has."""
    for features in (
        _Features(sample_rate=22050, n_fft=1024, hop_length=256, ratios=None),
        _Features(sample_rate=16000, n_fft=800, hop_length=200, ratios=(5, 5, 4, 2)),
    ):
        if measured.reaching(features.sample_rate) >= 0.5:
            return features
    own = next(iter(measured.by("sample_rate")))[0]
    return _Features(sample_rate=own, n_fft=512, hop_length=128, ratios=(8, 4, 2, 2))


def _head(measured: Measured, name: str) -> list[str]:
    clips = measured.usable
    rates = [f"{len(group.clips)} at {rate} Hz" for (rate,), group in measured.by("sample_rate").items()]
    words = {1: "mono", 2: "stereo"}
    layouts = [
        f"{len(group.clips)} {words.get(number, f'with {number} channels')}"
        for (number,), group in measured.by("channels").items()
    ]
    shortest, middle, longest = (duration(clips.quantile(share)) for share in (0, 0.5, 1))
    comment = [
        "# Written by `synthkit init` from what it measured:",
        f"# - {len(clips.clips)} clips can be used, {duration(clips.seconds)} of sound",
        f"# - {_some(rates)}; {_some(layouts)}",
        f"# - they last {shortest} to {longest}, the middle one {middle}",
    ]
    if measured.lost:
        comment.append(f"# - {len(measured.lost)} cannot be used; the run's quarantine.json will say why of each")
    return [*comment, "recipe: 1", f"name: {scalar_text(name)}", "seed: 1234", ""]


def _data(measured: Measured) -> list[str]:
    lines = ["data:", "  use: folder", f"  root: {scalar_text(str(measured.root))}"]
    if measured.labels:
        lines.append(f"  labels: folders  # {len(measured.labels)} sub-folders, each with several clips")
    return [*lines, '  licence: ""  # carried into whatever is made; please fill in', ""]


def _feature_lines(measured: Measured, features: _Features) -> list[str]:
    rate = features.sample_rate
    found = [found for (found,) in measured.by("sample_rate")]
    lines = ["features:", "  use: log-mel", "  preset: melgan"]
    if features.ratios is not None:
        lines += [f"  sample_rate: {rate}", f"  n_fft: {features.n_fft}", f"  hop_length: {features.hop_length}"]
    if any(other > rate for other in found):
        lines.append(f"  # Recordings of a higher rate are brought down to {rate} Hz, which keeps what lies below")
        lines.append(f"  # {rate // 2} Hz. The published vocoders do the same.")
    if any(other < rate for other in found):
        lines.append("  # Recordings of a lower rate are brought up to it; they stay as dull as they are.")
    return [*lines, ""]


def _vocoder_lines(features: _Features) -> list[str]:
    lines = ["vocoder:", "  use: melgan"]
    if features.ratios:
        lines.append(f"  ratios: [{', '.join(map(str, features.ratios))}]  # their product is hop_length")
    return [*lines, ""]


def _train(measured: Measured, features: _Features) -> list[str]:
    per_second = features.sample_rate / features.hop_length
    frames = max(_LEAST_FRAMES, min(_CROP_FRAMES, math.floor(measured.usable.quantile(0.1) * per_second)))
    why = "as MelGAN's" if frames == _CROP_FRAMES else "because many clips are short"
    return [
        "train:",
        "  part: vocoder",
        "  steps: 400_000     # days on a GPU; begin with --set train.steps=1000",
        "  batch: 16",
        f"  crop_seconds: {frames / per_second:.4f}  # {frames} frames, {why}",
        "  evaluate_every: 1_000",
        "  save_every: 1_000",
        "  threads: 2",
        "  keep: {last: 2, every: 100_000, best: mel_l1}",
        "",
    ]


def _prepare(measured: Measured) -> list[str]:
    share = len(measured.lost) / measured.total
    allowed = min(1.0, max(0.1, math.ceil(100 * share + 1) / 100))
    return [
        "prepare:",
        f"  min_seconds: {MIN_SECONDS:g}",
        f"  max_unreadable: {allowed:g}  # share that may be lost; it was {len(measured.lost)} of {measured.total} clips",
        "",
    ]


def _rest(measured: Measured) -> list[str]:
    longest = max(0.5, min(5.0, round(measured.usable.quantile(0.9), 1)))
    return [
        "generate:",
        "  count: 4",
        f"  seconds: {longest:g}",
        "  compare: [griffin-lim]",
        "",
        "# `--tiny` tries the whole way in seconds, on made-up music instead of the folder.",
        "tiny:",
        "  data.use: tones",
        "  data.clips_per_label: 3",
        "  data.seconds: 1.0",
        "  vocoder.channels: 2",
        "  train.steps: 2",
        "  train.batch: 2",
        "  train.objective.critic: {channels: 4, max_channels: 16}",
        "  generate.count: 1",
        "  generate.seconds: 0.5",
    ]


def _some(parts: Sequence[str], most: int = 4) -> str:
    """The first few of a list, and how many more there are.

    >>> _some(["8 mono", "2 stereo"]), _some(list("abcdef"))
    ('8 mono, 2 stereo', 'a, b, c and 3 more')
    """
    if len(parts) <= most:
        return ", ".join(parts)
    return f"{', '.join(parts[: most - 1])} and {len(parts) - most + 1} more"
