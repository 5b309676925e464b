"""Writes the resolved recipe: the same value gives the same text, and reading it gives the same value."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from synthkit._recipe.yaml import scalar_value

_PLAIN = re.compile(r"[A-Za-z~/.][A-Za-z0-9 _./~+-]*(?<! )\Z")
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_UNSAFE = re.compile('["\\\\\x00-\x1f\x7f-\xa0\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]')
_WIDTH = 110


def dump_yaml(value: Mapping[str, Any]) -> str:
    """A mapping of plain values as YAML, with an empty line between the top-level blocks that are mappings.

    >>> train = {"steps": 4, "gain": [0.3, 1.0], "peak": None}
    >>> print(dump_yaml({"name": "a: b", "train": train, "trackers": ["on", "x"]}), end="")
    name: "a: b"
    <BLANKLINE>
    train:
      steps: 4
      gain: [0.3, 1.0]
      peak: null
    <BLANKLINE>
    trackers: [on, x]
    """
    parts: list[str] = []
    for key, item in value.items():
        lines = _entry(key, item, 0)
        if parts and isinstance(item, Mapping | list | tuple):
            parts.append("")
        parts.extend(lines)
    return "\n".join(parts) + "\n"


def _entry(key: str, value: Any, depth: int) -> list[str]:
    head = "  " * depth + scalar_text(key) + ":"
    if isinstance(value, Mapping) and value:
        return [head, *(line for name, item in value.items() for line in _entry(name, item, depth + 1))]
    if isinstance(value, list | tuple) and value and not _fits(value, len(head)):
        return [head, *(line for item in value for line in _item(item, depth + 1))]
    return [f"{head} {_flow(value)}"]


def _item(value: Any, depth: int) -> list[str]:
    dash = "  " * depth + "- "
    if isinstance(value, Mapping) and value:
        lines = [line for name, item in value.items() for line in _entry(name, item, depth + 1)]
        return [dash + lines[0].lstrip(), *lines[1:]]
    return [dash + _flow(value)]


def _fits(values: Sequence[Any], used: int) -> bool:
    return not any(isinstance(item, Mapping) and item for item in values) and used + len(_flow(values)) < _WIDTH


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{scalar_text(name)}: {_flow(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return scalar_text(value)


def scalar_text(value: str | int | float | bool | None) -> str:
    """One scalar as YAML; a string is quoted wherever it could be read as something else.

    >>> [scalar_text(value) for value in (None, True, 1e-05, float("inf"), "no", "1e5", "null", "a  b", "é")]
    ['null', 'true', '1e-05', '.inf', 'no', '"1e5"', '"null"', 'a  b', '"é"']
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else (".inf" if value > 0 else "-.inf")
    if isinstance(value, int | float):
        return repr(value)
    if _PLAIN.match(value) and isinstance(scalar_value(value), str):
        return value
    return '"' + _UNSAFE.sub(lambda found: _ESCAPES.get(found[0]) or f"\\u{ord(found[0]):04x}", value) + '"'
