"""The strict YAML reader: values, positions, and everything that is refused."""

from __future__ import annotations

import math

import pytest
from ruamel.yaml import YAML

from synthkit._recipe.dump import dump_yaml
from synthkit._recipe.yaml import Items, Mark, Scalar, Table, from_python, plain, read_yaml


def tree(text: str) -> Table:
    node, problems = read_yaml(text, "r.yaml")
    assert problems == []
    assert isinstance(node, Table)
    return node


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1E-4", 1e-4),
        ("1.5e3", 1500.0),
        ("4e5", 400_000),
        ("400_000", 400_000),
        ("-12", -12),
        ("0o17", 15),
        ("0xff", 255),
        (".5", 0.5),
        ("-.inf", -math.inf),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("off", "off"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("'1'", "1"),
        ('"true"', "true"),
        ("12:30", "12:30"),
        ("2024-01-31", "2024-01-31"),
        ("1_2_3.5", 123.5),
        ("0.1.2", "0.1.2"),
        ("~/music", "~/music"),
        ("C:\\music", "C:\\music"),
    ],
)
def test_scalars_mean_what_yaml_1_2_says(text: str, value: object) -> None:
    found = tree(f"key: {text}").entries["key"].value
    assert isinstance(found, Scalar)
    assert found.value == value
    assert type(found.value) is type(value)


def test_floats_and_ints_agree_with_the_reference_reader() -> None:
    texts = ["1e-4", "1.", "+3", "-0.0", "1e10", "6.02e23", "0o7", "1_000", "+.inf", "00012", "1e+2", "1.e-3"]
    reference = YAML(typ="safe", pure=True)
    for text in texts:
        ours = plain(tree(f"k: {text}"))["k"]
        assert ours == reference.load(f"k: {text}")["k"], text


def test_nan_is_a_number() -> None:
    assert math.isnan(plain(tree("k: .nan"))["k"])


def test_every_key_and_value_knows_its_place() -> None:
    root = tree("a: 1\nlist:\n  - x\n  - {b: [2, 3]}\n\nlast:\n    deep: 'text'\n")
    assert root.entries["a"].key == Mark("r.yaml", 1, 1)
    assert root.entries["a"].value.mark == Mark("r.yaml", 1, 4)
    items = root.entries["list"].value
    assert isinstance(items, Items)
    assert [item.mark.line for item in items.items] == [3, 4]
    inner = items.items[1]
    assert isinstance(inner, Table)
    assert inner.entries["b"].key == Mark("r.yaml", 4, 6)
    pair = inner.entries["b"].value
    assert isinstance(pair, Items)
    assert pair.items[1].mark == Mark("r.yaml", 4, 13)
    last = root.entries["last"].value
    assert isinstance(last, Table)
    assert last.entries["deep"].value.mark == Mark("r.yaml", 7, 11)


@pytest.mark.parametrize(
    ("text", "line", "column", "says"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, 1, "written twice; the first one is in line 1"),
        ("a: {x: 1, x: 2}\n", 1, 11, "written twice"),
        ("a: &name 1\n", 1, 4, "anchor &name"),
        ("a: 1\nb: *name\n", 2, 4, "alias *name"),
        ("a: !!python/object:os.system x\n", 1, 4, "tag tag:yaml.org,2002:python/object:os.system"),
        ("a: !include other.yaml\n", 1, 4, "tag !include"),
        ("a: 1\n---\nb: 2\n", 2, 1, "second one starts here"),
        ("%YAML 1.1\n---\na: 1\n", 2, 1, "directives"),
        ("a:\n\tb: 1\n", 2, 1, "tab cannot indent"),
        ("a: 1\n  \tb: 1\n", 2, 3, "tab"),
        ("a: [1, 2\nb: 3\n", 2, 2, "not valid YAML"),
        ("a: 'open\n", 2, 1, "it begins in line 1"),
        ("a: 1\n b: 2\n", 2, 3, "not valid YAML"),
        ("a: b: c\n", 1, 5, "mapping values are not allowed here"),
        ("? [1, 2]\n: 3\n", 1, 3, "key must be one word"),
        ("a: \x07\n", 1, 4, "may not stand in YAML"),
        ('a: "\\ud800"\n', 1, 4, "half a character"),
        ("a: " + "[" * 60 + "]" * 60, 1, 27, "levels deep"),
    ],
)
def test_what_is_refused_is_refused_with_its_place(text: str, line: int, column: int, says: str) -> None:
    _, problems = read_yaml(text, "r.yaml")
    assert [(problem.file, problem.line, problem.column) for problem in problems][:1] == [("r.yaml", line, column)]
    assert says in str(problems[0])


def test_reading_goes_on_after_a_problem_of_form() -> None:
    text = "a: &x 1\nb: !t 2\nc: *x\na: 4\nd: 5\n"
    node, problems = read_yaml(text, "r.yaml")
    assert [problem.line for problem in problems] == [1, 2, 3, 4]
    assert isinstance(node, Table)
    assert plain(node) == {"a": 1, "b": 2, "c": 1, "d": 5}


@pytest.mark.parametrize(
    "value",
    [
        {"a": "yes", "b": True, "c": None, "d": 1e-05, "e": 3, "f": -0.5},
        {
            "text": "a: b # c",
            "quotes": "\"'\\",
            "lines": "one\ntwo\ttabs",
            "unicode": "Größe 音 \U0001f3b5",
            "space": " x ",
        },
        {"numbers as text": ["1", "1e5", "0x1f", ".5", "null", "~", "true", "1_000", ""]},
        {"deep": {"list": [{"use": "x", "n": [1, 2]}, "y"], "empty": {}, "none": []}},
        {"control": "\x00\x1b\x85\u2028\ufeff", "inf": [math.inf, -math.inf]},
        {"long": [f"a name of some length {number}" for number in range(9)]},
        {"- odd": 1, "key: with colon": 2, "": 3, "#": 4, "[": 5, "use": "a/b"},
    ],
)
def test_what_is_written_is_read_back_by_us_and_by_the_reference_reader(value: dict[str, object]) -> None:
    text = dump_yaml(value)
    assert plain(tree(text)) == value
    assert YAML(typ="safe", pure=True).load(text) == value


def test_python_values_become_a_tree() -> None:
    from pathlib import Path

    node = from_python({"a": (1, "x"), "p": Path("/data")}, Mark("call"))
    assert plain(node) == {"a": [1, "x"], "p": "/data"}
    with pytest.raises(TypeError, match="a set cannot stand in a recipe"):
        from_python({"a": {1}}, Mark("call"))
