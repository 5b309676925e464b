"""`--set a.b=c` and the `tiny:` block: values put into a recipe's tree before it is checked.

Within one layer the shorter path comes first, and `use`/`from` before the other settings of their block, so that the order
in which they are written does not matter. Naming another component (`data.use: tones`) replaces its block: the settings of
the component that stood there before belong to that one, not to the new one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from synthkit._recipe.yaml import Entry, Items, Mark, Node, Scalar, Table, from_python, is_null, plain, read_yaml
from synthkit.errors import Problem

_WHICH = ("use", "from")


class Override(NamedTuple):
    """One value and where in the recipe it goes."""

    path: tuple[str, ...]
    value: Node
    mark: Mark

    def problem(self, message: str, hint: str = "") -> Problem:
        """What is wrong with it."""
        return self.mark.problem(".".join(self.path), message, hint)


class OverrideError(Exception):
    """An override that cannot be applied (becomes a problem)."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def parse_sets(sets: Mapping[str, Any] | Sequence[str]) -> tuple[list[Override], list[Problem]]:
    """The overrides of a command line (`["train.steps=5"]`) or of Python (`{"train.steps": 5}`).

    >>> found, problems = parse_sets(["train.gain=[0.5, 1]", "name"])
    >>> found[0].path, plain(found[0].value)
    (('train', 'gain'), [0.5, 1])
    >>> print(*problems)
    --set name: an override is written path=value
    """
    overrides: list[Override] = []
    problems: list[Problem] = []
    for path, text, value in _pairs(sets):
        mark = Mark(f"--set {text}")
        if value is None and "=" not in text:
            problems.append(
                Problem(file=mark.file, line=0, column=0, path="", message="an override is written path=value")
            )
            continue
        steps = tuple(step.strip() for step in path.split("."))
        if not all(steps):
            problems.append(mark.problem("", f"{path!r} is not a path like train.steps"))
            continue
        node, wrong = _value(value, mark)
        problems.extend(mark.problem(path, problem.message, problem.hint) for problem in wrong)
        if node is not None and not wrong:
            overrides.append(Override(steps, node, mark))
    return overrides, problems


def _pairs(sets: Mapping[str, Any] | Sequence[str]) -> list[tuple[str, str, Any]]:
    """`(path, text for messages, value)`; the value of a command line is still a `_Text`."""
    if isinstance(sets, Mapping):
        return [(path, f"{path}={value}", value) for path, value in sets.items()]
    if isinstance(sets, str):
        sets = [sets]
    found: list[tuple[str, str, Any]] = []
    for text in sets:
        path, equals, value = text.partition("=")
        found.append((path, text, _Text(value) if equals else None))
    return found


class _Text(str):
    """A value as typed on a command line."""


def _value(value: Any, mark: Mark) -> tuple[Node | None, list[Problem]]:
    if isinstance(value, _Text):
        node, problems = read_yaml(str(value), mark.file)
        return from_python(None if node is None else plain(node), mark), problems
    try:
        return from_python(value, mark), []
    except TypeError as error:
        return None, [mark.problem("", str(error))]


def tiny_overrides(tiny: Node) -> tuple[list[Override], list[Problem]]:
    """The overrides that a recipe's `tiny:` block lists, each with its position there."""
    if not isinstance(tiny, Table):
        message, hint = "expected a mapping of paths to values", "write `train.steps: 4`"
        return [], [tiny.mark.problem("tiny", message, hint)]
    return [Override(tuple(path.split(".")), entry.value, entry.key) for path, entry in tiny.entries.items()], []


def apply(tree: Table, overrides: Sequence[Override]) -> tuple[Table, list[Problem]]:
    """The tree with one layer of overrides, and those that found no place."""
    problems: list[Problem] = []
    for override in sorted(overrides, key=lambda one: (len(one.path), one.path[-1] not in _WHICH)):
        try:
            node = _put(tree, override.path, (), override)
        except OverrideError as error:
            problems.append(override.problem(str(error), error.hint))
        else:
            assert isinstance(node, Table)
            tree = node
    return tree, problems


def _put(node: Node | None, steps: tuple[str, ...], above: tuple[str, ...], override: Override) -> Node:
    """`node`, which stands at the path `above`, with the override's value at `steps` below it."""
    if not steps:
        return override.value
    if above == ("tiny",) or (not above and steps[0] == "tiny"):
        raise OverrideError("the tiny: block cannot be overridden", "override the value itself")
    if above == ("train",):
        steps = _train_steps(node, steps)
    if isinstance(node, Items):
        return _put_item(node, steps, above, override)
    table = _as_table(node, above, override.mark)
    step = steps[0]
    if len(steps) == 1 and step in _WHICH and _is_block(above) and not _same(table.entries.get(step), override.value):
        return Table({step: Entry(override.mark, override.value)}, override.mark)
    entry = table.entries.get(step)
    value = _put(entry.value if entry else None, steps[1:], (*above, step), override)
    return table.with_entry(step, Entry(override.mark if entry is None or len(steps) == 1 else entry.key, value))


def _put_item(node: Items, steps: tuple[str, ...], above: tuple[str, ...], override: Override) -> Node:
    if not steps[0].isdecimal() or int(steps[0]) >= len(node.items):
        count = len(node.items)
        what = f"a list of {count}" if count != 1 else "a list of one"
        raise OverrideError(f"{'.'.join(above)} is {what}, {steps[0]!r} is not an index into it", "the first item is 0")
    index = int(steps[0])
    items = list(node.items)
    items[index] = _put(items[index], steps[1:], (*above, steps[0]), override)
    return Items(tuple(items), node.mark)


def _train_steps(node: Node | None, steps: tuple[str, ...]) -> tuple[str, ...]:
    """`train.steps` and `train.0.steps` mean the same where there is one block."""
    if isinstance(node, Items) and not steps[0].isdecimal():
        if len(node.items) != 1:
            raise OverrideError(f"train is a list of {len(node.items)}", f"write train.0.{'.'.join(steps)}")
        return ("0", *steps)
    if isinstance(node, Table) and steps[0] == "0" and len(steps) > 1:
        return steps[1:]
    return steps


def _as_table(node: Node | None, above: tuple[str, ...], mark: Mark) -> Table:
    if node is None or is_null(node):
        return Table({}, mark)
    if isinstance(node, Table):
        return node
    if isinstance(node, Scalar) and isinstance(node.value, str) and _is_block(above):
        return Table({"use": Entry(node.mark, node)}, node.mark)
    if isinstance(node, Scalar) and isinstance(node.value, str) and above[-1:] == ("from",) and _is_block(above[:-1]):
        return Table({"run": Entry(node.mark, node)}, node.mark)
    raise OverrideError(f"{'.'.join(above)} is a single value, nothing can be set inside it")


def _same(entry: Entry | None, value: Node) -> bool:
    return entry is not None and plain(entry.value) == plain(value)


def _is_block(path: tuple[str, ...]) -> bool:
    """Whether a component stands at this path."""
    names = tuple(step for step in path if not step.isdecimal())
    indexed = len(names) != len(path)
    if names in (("train", "objective"),):
        return True
    if names in (("generate", "compare"), ("report", "metrics"), ("trackers",)):
        return indexed
    parts = (("model",), ("converter",), ("vocoder",))
    return not indexed and names in (("data",), ("features",), *parts, ("report", "embedding"))
