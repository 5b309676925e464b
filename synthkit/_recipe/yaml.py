"""Strict YAML: a tree in which every key and every value knows its line and column, and nothing is ever executed.

YAML 1.2 core scalars: `1e-4` is a float, `400_000` an int, `yes` and `off` are strings. Duplicate keys, anchors, aliases,
tags, directives and further documents are problems with a position. The reader goes on after each of them, so that all are
found at once; only a syntax error ends it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from synthkit.errors import Problem

MAX_DEPTH = 24


class Mark(NamedTuple):
    """A position; lines and columns count from 1, and line 0 means that `file` is not a file (`--set a.b=c`)."""

    file: str
    line: int = 0
    column: int = 0

    def problem(self, path: str, message: str, hint: str = "") -> Problem:
        """A problem at this position."""
        return Problem(file=self.file, line=self.line, column=self.column, path=path, message=message, hint=hint)


class Scalar(NamedTuple):
    """One value."""

    value: str | int | float | bool | None
    mark: Mark


class Entry(NamedTuple):
    """A value in a table, and where its key stands."""

    key: Mark
    value: Node


class Items(NamedTuple):
    """A list."""

    items: tuple[Node, ...]
    mark: Mark


class Table(NamedTuple):
    """A mapping, in the order of the file."""

    entries: Mapping[str, Entry]
    mark: Mark

    def get(self, key: str) -> Node | None:
        """The value of `key`; None where it is not written or has nothing after it."""
        entry = self.entries.get(key)
        return None if entry is None or is_null(entry.value) else entry.value

    def without(self, *keys: str) -> Table:
        """The same table with some keys left out."""
        return Table({key: entry for key, entry in self.entries.items() if key not in keys}, self.mark)

    def with_entry(self, key: str, entry: Entry) -> Table:
        """The same table with one entry added or replaced."""
        return Table({**self.entries, key: entry}, self.mark)


Node = Scalar | Items | Table


def is_null(node: Node) -> bool:
    """Whether nothing is written there."""
    return isinstance(node, Scalar) and node.value is None


def plain(node: Node) -> Any:
    """The tree as dicts, lists and scalars."""
    if isinstance(node, Table):
        return {key: plain(entry.value) for key, entry in node.entries.items()}
    if isinstance(node, Items):
        return [plain(item) for item in node.items]
    return node.value


def from_python(value: Any, mark: Mark) -> Node:
    """A tree of Python values, each at `mark`. Raises `TypeError` for what YAML cannot hold."""
    if isinstance(value, Mapping):
        return Table({str(key): Entry(mark, from_python(item, mark)) for key, item in value.items()}, mark)
    if isinstance(value, list | tuple):
        return Items(tuple(from_python(item, mark) for item in value), mark)
    if isinstance(value, PurePath):
        value = str(value)
    if isinstance(value, str) and _SURROGATE.search(value):
        raise TypeError("text with bytes that are not UTF-8 cannot stand in a recipe")
    if value is None or isinstance(value, str | int | float | bool):
        return Scalar(value, mark)
    raise TypeError(f"a {type(value).__name__} cannot stand in a recipe")


_SURROGATE = re.compile("[\ud800-\udfff]")
_NULL = re.compile(r"(?:~|null|Null|NULL)?\Z")
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9][0-9_]*\Z")
_BASED = re.compile(r"0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")
_ROUND = re.compile(r"([-+]?[0-9][0-9_]*)[eE]\+?([0-9]{1,2})\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9][0-9_]*|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_SPECIAL = re.compile(r"([-+]?)\.(?:inf|Inf|INF)\Z|\.(?:nan|NaN|NAN)\Z")
_LARGEST_ROUND = 18
_MOST_DIGITS = 64


def scalar_value(text: str) -> str | int | float | bool | None:
    """What a plain (unquoted) scalar means.

    >>> [scalar_value(text) for text in ("1e-4", "400_000", "2e5", "yes", "true", "~", "0x10", "1.2.3", "2020-01-01")]
    [0.0001, 400000, 200000, 'yes', True, None, 16, '1.2.3', '2020-01-01']
    """
    if _NULL.match(text):
        return None
    if text in _BOOL:
        return _BOOL[text]
    if len(text) > _MOST_DIGITS:
        return text
    if _INT.match(text):
        return int(text.replace("_", ""))
    if _BASED.match(text):
        return int(text, 0)
    rounded = _ROUND.match(text)
    if rounded and int(rounded[2]) <= _LARGEST_ROUND:
        return int(f"{rounded[1].replace('_', '')}{'0' * int(rounded[2])}")
    if _FLOAT.match(text):
        return float(text.replace("_", ""))
    special = _SPECIAL.match(text)
    if special:
        return float(text.replace(".", "", 1))
    return text


def read_yaml(text: str, file: str) -> tuple[Node | None, list[Problem]]:
    """The tree of the one document in `text`, and every problem of its form.

    The tree is None where there is no document, or a syntax error left none.
    """
    reader = _Reader(file)
    unprintable = _UNPRINTABLE.search(text)
    if unprintable:
        line = text.count("\n", 0, unprintable.start()) + 1
        column = unprintable.start() - (text.rfind("\n", 0, unprintable.start()) + 1) + 1
        reader.report(Mark(file, line, column), f"the character {unprintable[0]!r} may not stand in YAML")
        return None, reader.problems
    try:
        for event in _events(text):
            if not reader.take(event):
                return reader.root, reader.problems
    except MarkedYAMLError as error:
        reader.report(*_syntax(error, text, file, reader.last))
        return None, reader.problems
    except (YAMLError, ValueError, OverflowError) as error:
        reader.report(reader.last, f"not valid YAML: {error}")
        return None, reader.problems
    return reader.root, reader.problems


# What YAML 1.2 leaves out of its `c-printable`; a class of all it lets in would take `re` longer to compile than a recipe.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")


def _events(text: str) -> Iterator[Event]:
    events: Iterator[Event] = YAML(typ="safe", pure=True).parse(text)
    return events


def _syntax(error: MarkedYAMLError, text: str, file: str, last: Mark) -> tuple[Mark, str, str]:
    where = error.problem_mark or error.context_mark
    mark = Mark(file, where.line + 1, where.column + 1) if where else last
    lines = text.splitlines()
    line = lines[mark.line - 1] if 0 < mark.line <= len(lines) else ""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return Mark(file, mark.line, line.index("\t") + 1), "a tab cannot indent in YAML", "use spaces"
    if line[mark.column - 1 : mark.column] == "\t":
        return mark, "a tab cannot stand here in YAML", "use spaces"
    parts = [part for part in (error.context, error.problem) if part]
    opened = error.context_mark.line + 1 if error.context_mark else mark.line
    since = f" (it begins in line {opened})" if opened != mark.line else ""
    return mark, f"not valid YAML: {', '.join(parts) or 'syntax error'}{since}", ""


@dataclass
class _Open:
    """A table or list that is being read."""

    mark: Mark
    is_table: bool
    anchor: str | None
    entries: dict[str, Entry] = field(default_factory=dict)
    items: list[Node] = field(default_factory=list)
    key: str | None = None
    key_mark: Mark | None = None
    key_is_spare: bool = False


class _Reader:
    """Builds the tree from parser events."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self.root: Node | None = None
        self.last = Mark(file, 1, 1)
        self._documents = 0
        self._stack: list[_Open] = []
        self._anchors: dict[str, Node] = {}

    def report(self, mark: Mark, message: str, hint: str = "") -> None:
        """Note one problem of form."""
        self.problems.append(mark.problem(self._path(), message, hint))

    def take(self, event: Event) -> bool:
        """Use one event; False where reading ends."""
        mark = self.last = Mark(self.file, event.start_mark.line + 1, event.start_mark.column + 1)
        if isinstance(event, DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                self.report(mark, "a recipe is one document; a second one starts here")
                return False
            if event.version or event.tags:
                self.report(mark, "YAML directives are not used in recipes", "remove the line that starts with %")
        elif isinstance(event, AliasEvent):
            self.report(mark, f"the alias *{event.anchor} is not allowed", "write the value out")
            self._put(self._anchors.get(str(event.anchor), Scalar(None, mark)))
        elif isinstance(event, ScalarEvent):
            anchor = self._forbid(event, mark)
            value = scalar_value(event.value) if event.style is None else event.value
            if not event.value.isprintable() and _SURROGATE.search(event.value):
                self.report(mark, "this text has half a character (a lone surrogate) in it")
                value = None
            open_table = self._stack[-1] if self._stack and self._stack[-1].is_table else None
            if open_table is not None and open_table.key is None:
                self._set_key(open_table, event.value, mark)
            else:
                self._put(Scalar(value, mark), anchor)
        elif isinstance(event, MappingStartEvent | SequenceStartEvent):
            if len(self._stack) >= MAX_DEPTH:
                self.report(mark, f"nested more than {MAX_DEPTH} levels deep")
                return False
            anchor = self._forbid(event, mark)
            self._stack.append(_Open(mark, isinstance(event, MappingStartEvent), anchor))
        elif isinstance(event, MappingEndEvent | SequenceEndEvent):
            done = self._stack.pop()
            node = Table(done.entries, done.mark) if done.is_table else Items(tuple(done.items), done.mark)
            self._put(node, done.anchor)
        return True

    def _forbid(self, event: Any, mark: Mark) -> str | None:
        if event.tag is not None:
            self.report(mark, f"the tag {event.tag} is not allowed", "a recipe holds plain values only")
        if event.anchor is not None:
            self.report(mark, f"the anchor &{event.anchor} is not allowed", "write the value out where it is needed")
            return str(event.anchor)
        return None

    def _set_key(self, table: _Open, key: str, mark: Mark) -> None:
        table.key, table.key_mark = key, mark
        earlier = table.entries.get(key)
        table.key_is_spare = earlier is not None
        if earlier is not None:
            self.report(mark, "this key is written twice", f"the first one is in line {earlier.key.line}")

    def _put(self, node: Node, anchor: str | None = None) -> None:
        if anchor is not None:
            self._anchors[anchor] = node
        if not self._stack:
            self.root = node
            return
        parent = self._stack[-1]
        if not parent.is_table:
            parent.items.append(node)
        elif parent.key is None:
            self.report(node.mark, "a key must be one word", "write `key: value`")
            parent.key, parent.key_mark, parent.key_is_spare = "", node.mark, True
        else:
            if not parent.key_is_spare and parent.key_mark is not None:
                parent.entries[parent.key] = Entry(parent.key_mark, node)
            parent.key = None

    def _path(self) -> str:
        steps = []
        for place in self._stack:
            if place.is_table and place.key is not None:
                steps.append(place.key)
            elif not place.is_table:
                steps.append(str(len(place.items)))
        return ".".join(steps)
