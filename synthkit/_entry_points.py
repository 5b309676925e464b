"""The entry points of a group, of every installed distribution: what `importlib.metadata.entry_points` finds, sooner.

Every command needs them, even `--help`, and importing `importlib.metadata` alone (with `email`, `csv`, `zipfile`) takes
four times as long as the bare interpreter takes to start. So the folders on `sys.path`, where nearly everything is
installed, are read here. Where something else brings distributions (a zip, an egg, an import hook), `importlib.metadata`
is asked.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder
from typing import NamedTuple


class EntryPoint(NamedTuple):
    """One line of an `entry_points.txt`, and whose it is."""

    name: str
    value: str
    """`package.module`, or `package.module:object`."""
    distribution: str
    version: str


def entry_points(group: str) -> list[EntryPoint]:
    """The entry points of `group`. Of two distributions of one name, the first on `sys.path` counts."""
    if not _only_folders():
        return _slowly(group)
    found: list[EntryPoint] = []
    seen: set[str] = set()
    for folder in sys.path:
        for info in _metadata_folders(folder or "."):
            name = re.sub(r"[-_.]+", "_", _name_of(info)).lower()
            if name not in seen:
                seen.add(name)
                found += _read(info, group)
    return found


def _only_folders() -> bool:
    """Whether `importlib.metadata` would look into nothing but folders."""
    hooks = [finder for finder in sys.meta_path if hasattr(finder, "find_distributions")]
    return hooks == [PathFinder] and not any(path.endswith(".egg") or os.path.isfile(path) for path in sys.path)  # noqa: PTH113


def _slowly(group: str) -> list[EntryPoint]:
    from importlib import metadata

    return [
        EntryPoint(
            name=point.name,
            value=point.value,
            distribution=point.dist.name if point.dist else "",
            version=point.dist.version if point.dist else "",
        )
        for point in metadata.entry_points(group=group)
    ]


def _metadata_folders(folder: str) -> list[str]:
    try:
        names = os.listdir(folder)  # noqa: PTH208 - as `importlib.metadata` does, and for its order
    except OSError:
        return []
    return [f"{folder}/{name}" for name in names if name.lower().endswith((".dist-info", ".egg-info"))]


def _name_of(info: str) -> str:
    return info.rpartition("/")[2].rpartition(".")[0].partition("-")[0]


def _read(info: str, group: str) -> list[EntryPoint]:
    pairs = list(_pairs(_text(f"{info}/entry_points.txt"), group))
    if not pairs:
        return []
    head = (_text(f"{info}/METADATA") or _text(f"{info}/PKG-INFO")).partition("\n\n")[0]
    fields = {key: value.strip() for key, _, value in (line.partition(":") for line in head.splitlines())}
    owner, version = fields.get("Name", _name_of(info)), fields.get("Version", "")
    return [EntryPoint(name=name, value=value, distribution=owner, version=version) for name, value in pairs]


def _text(file: str) -> str:
    try:
        with open(file, encoding="utf-8", errors="replace") as stream:  # noqa: PTH123 - hundreds of these, most of them absent
            return stream.read()
    except OSError:
        return ""


def _pairs(text: str, group: str) -> Iterator[tuple[str, str]]:
    """The lines `name = value` of one section.

    >>> list(_pairs("[console_scripts]\\na = b\\n[synthkit]\\n# mine\\nhum = hum.plugin\\n", "synthkit"))
    [('hum', 'hum.plugin')]
    """
    inside = False
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            inside = line == f"[{group}]"
        elif inside and "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            yield name.strip(), value.partition("[")[0].strip()  # what follows a bracket are extras, long out of use
