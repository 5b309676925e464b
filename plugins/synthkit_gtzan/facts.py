"""What is known of the set: its published splits, its faults, the sums of its archives (`facts.json`)."""

from __future__ import annotations

import json
from collections.abc import Container, Iterator, Mapping
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any

from synthkit.interfaces import SPLITS, Split
from synthkit_gtzan.config import SplitName

GENRES = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")
"""The labels, which are also the names of the folders."""

SECONDS = (29.9, 30.7)
"""The shortest and the longest that a whole clip is."""


@cache
def facts() -> Mapping[str, Any]:
    """The content of `facts.json`."""
    content: Mapping[str, Any] = json.loads(files(__package__).joinpath("facts.json").read_text(encoding="utf-8"))
    return content


@cache
def split(name: SplitName) -> Mapping[str, Split]:
    """The split of every clip that a list has, by id, in the order of ids.

    >>> {part: list(split("fault-filtered").values()).count(part) for part in SPLITS}
    {'train': 443, 'validation': 197, 'test': 290}
    >>> split("artist-fold-2")["jazz.00054"]
    'test'
    """
    if name == "stratified":
        found = _stratified()
    elif name == "fault-filtered":
        found = {id: part for part in SPLITS for id in _ids(facts()["lists"][name][part])}
    else:
        found = _fold(int(name[-1]) - 1)
    return dict(sorted(found.items()))


def _stratified() -> dict[str, Split]:
    """Half of each genre to train on, a quarter each for the other parts, in the order of the ids' hashes."""
    found: dict[str, Split] = {}
    for genre in GENRES:
        ids = sorted((f"{genre}.{number:05}" for number in range(100)), key=lambda id: sha256(id.encode()).digest())
        shares: dict[Split, list[str]] = {"train": ids[:50], "validation": ids[50:75], "test": ids[75:]}
        found |= {id: part for part, share in shares.items() for id in share}
    return found


def _fold(number: int) -> dict[str, Split]:
    """A fold's test part, and its training part parted once more: the folds are published without a validation part.

    Validation are the clips that the fault-filtered split validates on, because that part of it shares no artist with its
    others. A clip that the fault-filtered split does not have might share one, so it is left out of training.
    """
    folds = [list(_ids(fold)) for fold in facts()["folds"]]
    filtered = split("fault-filtered")
    found: dict[str, Split] = {}
    for other in (fold for place, fold in enumerate(folds) if place != number):
        found |= {id: "validation" if filtered[id] == "validation" else "train" for id in other if id in filtered}
    return found | dict.fromkeys(folds[number], "test")


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
