"""Turns pydantic's errors into problems with a position in the recipe and a sentence in plain words."""

from __future__ import annotations

import json
import re
import typing
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from synthkit._recipe.dump import scalar_text
from synthkit._recipe.yaml import Items, Mark, Node, Scalar, Table, plain
from synthkit.errors import Problem, nearest

_EXPECTED = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "path_type": "a path",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "frozen_set_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "none_required": "null",
    "finite_number": "a finite number",
}
"""What was wanted, by pydantic's error type."""

_BOUNDS = {
    "greater_than": ("gt", "must be greater than"),
    "greater_than_equal": ("ge", "must be at least"),
    "less_than": ("lt", "must be less than"),
    "less_than_equal": ("le", "must be at most"),
    "multiple_of": ("multiple_of", "must be a multiple of"),
}


def shown(node: Node) -> str:
    """A value as a message quotes it.

    >>> shown(Scalar("on", Mark("r"))), shown(Scalar(None, Mark("r"))), shown(Items((), Mark("r")))
    ("'on'", 'null', 'a list')
    """
    if isinstance(node, Scalar):
        return repr(node.value) if isinstance(node.value, str) else scalar_text(node.value)
    return "a list" if isinstance(node, Items) else "a mapping"


ModelT = TypeVar("ModelT", bound=BaseModel)


def validated(
    model: type[ModelT],
    table: Table,
    where: Mark,
    path: str,
    *,
    context: Mapping[str, Any],
    extra_names: Iterable[str] = (),
) -> tuple[ModelT | None, list[Problem]]:
    """The settings in `table` as a `model`, or what is wrong with them.

    What is written is checked strictly (`"5"` and `true` are not numbers), in pydantic's JSON mode, where a list stands for
    a tuple and text for a path. Defaults are Python values that this mode may refuse, so what it says of keys that are
    not written does not count; the object itself is then made in the ordinary mode.
    """
    values = plain(table)
    try:
        model.model_validate_json(json.dumps(values), strict=True, context=dict(context))
    except ValidationError as error:
        written = [details for details in error.errors(include_url=False) if _is_written(details, table)]
        if written:
            return None, explain(written, table, where, path, model, extra_names)
    try:
        return model.model_validate(values, context=dict(context)), []
    except ValidationError as error:
        return None, explain(error.errors(include_url=False), table, where, path, model, extra_names)


def _is_written(details: ErrorDetails, table: Table) -> bool:
    loc = details["loc"]
    if details["type"] == "tuple_type" and isinstance(details["input"], list):
        return False  # a `before` validator has turned JSON into Python values, of which a strict tuple refuses lists
    return details["type"] == "missing" or not loc or str(loc[0]) in table.entries


def explain(
    errors: Iterable[ErrorDetails],
    node: Node,
    where: Mark,
    path: str,
    model: type[BaseModel],
    extra_names: Iterable[str] = (),
) -> list[Problem]:
    """The problems behind one failed validation of `node`.

    Args:
        where: the position of the block, for what is missing from it.
        path: the block's path in the recipe.
        extra_names: keys that the block takes beside the model's fields, for hints.
    """
    found: dict[tuple[Mark, str], list[_Finding]] = {}
    for details in errors:
        place = _place(details, node, where)
        finding = _finding(details, place, model, tuple(extra_names))
        found.setdefault((place.mark, ".".join([path, *place.steps]) if path else ".".join(place.steps)), []).append(
            finding
        )
    return [_problem(mark, full_path, findings) for (mark, full_path), findings in found.items()]


def block_mark(text: str, table: Node, where: Mark) -> Mark:
    """Where a sentence about a whole block belongs: at the first of its keys that it names, else at the block."""
    if isinstance(table, Table):
        for key, entry in table.without("use", "from").entries.items():
            if re.search(rf"(?<![\w-]){re.escape(key)}(?![\w-])", text):
                return entry.value.mark
    return where


class _Place(NamedTuple):
    mark: Mark
    node: Node
    steps: tuple[str, ...]


class _Finding(NamedTuple):
    """Either an expectation (several of one value are joined by "or") or a whole message."""

    expected: str = ""
    message: str = ""
    hint: str = ""
    got: str = ""


def _problem(mark: Mark, path: str, findings: Sequence[_Finding]) -> Problem:
    expected = list(dict.fromkeys(finding.expected for finding in findings if finding.expected))
    messages = [finding for finding in findings if finding.message]
    if messages:  # a value of the right type that breaks a rule says more than the other members of a union
        text, hint = messages[0].message, messages[0].hint
    else:
        text = f"expected {' or '.join(expected)}, got {findings[0].got}"
        hint = next((finding.hint for finding in findings if finding.hint), "")
    return mark.problem(path, text, hint)


def _place(details: ErrorDetails, node: Node, where: Mark) -> _Place:
    """Follow the error's location through the tree; steps that name members of a union are not in it."""
    mark = where
    steps: list[str] = []
    for depth, step in enumerate(details["loc"]):
        last = depth == len(details["loc"]) - 1
        if isinstance(node, Table) and str(step) in node.entries:
            entry = node.entries[str(step)]
            node, steps = entry.value, [*steps, str(step)]
            mark = entry.key if last and details["type"] == "extra_forbidden" else entry.value.mark
        elif isinstance(node, Items) and isinstance(step, int) and step < len(node.items):
            node, steps = node.items[step], [*steps, str(step)]
            mark = node.mark
        elif last and not isinstance(node, Scalar):  # not written: missing, or a default that breaks a rule of its own
            return _Place(mark, Scalar(str(details["input"]), mark), (*steps, str(step)))
    if not details["loc"]:
        mark = block_mark(details["msg"], node, where)
    return _Place(mark, node, tuple(steps))


def _finding(details: ErrorDetails, place: _Place, model: type[BaseModel], extra_names: tuple[str, ...]) -> _Finding:
    kind, context = details["type"], details.get("ctx", {})
    got = shown(place.node)
    if kind == "extra_forbidden":
        name = str(details["loc"][-1])
        owner = _model_at(model, details["loc"][:-1])
        fields = owner.model_fields.items() if owner else ()
        names = [*(field.alias or key for key, field in fields), *(extra_names if len(details["loc"]) == 1 else ())]
        return _Finding(message="unknown key", hint=nearest(name, names))
    if kind in ("missing", "missing_argument"):
        return _Finding(
            message="a required key is missing" if isinstance(details["loc"][-1], str) else "an item is missing"
        )
    if kind in ("literal_error", "enum"):
        options = re.findall(r"'([^']*)'", str(context.get("expected", "")))
        hint = nearest(str(place.node.value), options) if isinstance(place.node, Scalar) else ""
        expected = str(context.get("expected"))
        return _Finding(expected=_one_of(expected), got=got, hint=hint if hint.startswith("did you mean") else "")
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        return _Finding(message=f"{words} {context[name]}, is {got}")
    if kind in _EXPECTED:
        return _Finding(expected=_EXPECTED[kind], got=got)
    if kind in ("value_error", "assertion_error"):
        return _Finding(message=str(context.get("error") or details["msg"]))
    if kind in ("too_short", "too_long") and isinstance(place.node, Items):
        word, bound = ("least", context["min_length"]) if kind == "too_short" else ("most", context["max_length"])
        plural = "" if bound == 1 else "s"
        return _Finding(message=f"must have at {word} {bound} item{plural}, has {len(place.node.items)}")
    if not details["loc"]:
        return _Finding(message=_sentence(details["msg"]))
    return _Finding(message=f"{_sentence(details['msg'])}, got {got}")


def _one_of(expected: str) -> str:
    return f"one of {expected}" if "," in expected or " or " in expected else expected


def _sentence(text: str) -> str:
    return text[:1].lower() + text[1:]


def _model_at(model: type[BaseModel], loc: Sequence[int | str]) -> type[BaseModel] | None:
    """The model whose key is at `loc` below `model`."""
    current: type[BaseModel] | None = model
    for step in loc:
        fields = {} if current is None else {field.alias or name: field for name, field in current.model_fields.items()}
        if not isinstance(step, str) or step not in fields:
            continue
        current = _nested(fields[step].annotation)
    return current


def _nested(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for part in typing.get_args(annotation):
        found = _nested(part)
        if found is not None:
            return found
    return None
