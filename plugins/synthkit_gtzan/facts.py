"""What is known of the set: its published splits, its faults, the sums of its archives (`facts.json`)."""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from synthkit.interfaces import SPLITS, Split
from synthkit_gtzan.config import SplitName

GENRES = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")
"""The labels, which are also the names of the folders."""

SECONDS = (29.9, 30.7)
"""The shortest and the longest that a whole clip is."""

_HELD_OUT = 0.2


@cache
def facts() -> Mapping[str, Any]:
    """The content of `facts.json`."""
    content: Mapping[str, Any] = json.loads(files(__package__).joinpath("facts.json").read_text(encoding="utf-8"))
    return content


@cache
def split(name: SplitName) -> Mapping[str, Split]:
    """The split of every clip that a list has, by id, in the order of ids.

    The folds are published without a validation part: `held_out` takes it from their training part.

    >>> {part: list(split("fault-filtered").values()).count(part) for part in SPLITS}
    {'train': 443, 'validation': 197, 'test': 290}
    >>> split("artist-fold-2")["jazz.00054"]
    'test'
    """
    parts: dict[Split, Iterable[str]]
    if name in ("fault-filtered", "stratified"):
        parts = {part: _ids(facts()["lists"][name][part]) for part in SPLITS}
    else:
        folds = [set(_ids(fold)) for fold in facts()["folds"]]
        test = folds.pop(int(name[-1]) - 1)
        validation = held_out(set.union(*folds))
        parts = {"train": set.union(*folds) - validation, "validation": validation, "test": test}
    return dict(sorted((id, part) for part, ids in parts.items() for id in ids))


def held_out(train: set[str]) -> set[str]:
    """A fifth of each genre, at most, of a fold's training part, as whole artists, so that no artist is on both sides.

    The artists with the fewest clips are taken first: that leaves the most clips to train on for each artist that is
    held out. A genre always gives one artist, however many clips it has.
    """
    artist = artists()
    chosen: set[str] = set()
    for genre in GENRES:
        groups: dict[str, list[str]] = {}
        for id in sorted(train):
            if id.startswith(f"{genre}."):
                groups.setdefault(artist[id], []).append(id)
        quota, taken = _HELD_OUT * sum(map(len, groups.values())), 0
        for group in sorted(groups.values(), key=len):
            if taken and taken + len(group) > quota:
                break
            chosen.update(group)
            taken += len(group)
    return chosen


@cache
def artists() -> Mapping[str, str]:
    """The artist of each clip of the folds, as the id of the first clip that is theirs.

    >>> artists()["blues.00003"], artists()["disco.00078"]
    ('blues.00000', 'disco.00001')
    """
    found = {id: id for fold in facts()["folds"] for id in _ids(fold)}
    for genre, groups in facts()["artists"].items():
        for group in groups.split(";"):
            ids = list(_ids({genre: group}))
            found |= dict.fromkeys(ids, ids[0])
    return found


def fault(id: str, suffix: str, others: Container[str]) -> str:
    """Why a clip is better not used, empty where nothing is known against it.

    Of byte-identical clips one is kept: the one that the chosen list has, and of two that it has the one that the
    fault-filtered split keeps.

    Args:
        id: The clip.
        suffix: `.wav` or `.au`.
        others: All clips that would be used.
    """
    known = facts()
    if id in known["distorted"]:
        return "it is distorted almost beyond recognition (Sturm 2013)"
    if id in known["undecodable_wav"] and suffix == ".wav":
        return "its .wav is damaged in every distribution and does not decode; the .au of the first one is whole"
    original: str = dict(known["copies"]).get(id, "")
    if original in others:
        labels = "" if id.split(".")[0] == original.split(".")[0] else ", under another label"
        return f"it is byte for byte {original}{labels}"
    return ""


def _ids(numbers: Mapping[str, str]) -> Iterator[str]:
    """The clips of `{genre: "0-2 7"}`.

    >>> list(_ids({"jazz": "0-2 7"}))
    ['jazz.00000', 'jazz.00001', 'jazz.00002', 'jazz.00007']
    """
    for genre, ranges in numbers.items():
        for part in ranges.split():
            first, _, last = part.partition("-")
            yield from (f"{genre}.{number:05}" for number in range(int(first), int(last or first) + 1))
