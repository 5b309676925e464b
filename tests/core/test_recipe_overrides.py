"""`--set` and `tiny:`: where a value goes, in which order, and what it takes away."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from synthkit._catalog import Catalog
from synthkit._recipe.load import load_recipe
from synthkit._recipe.model import Recipe
from synthkit._recipe.overrides import apply, parse_sets
from synthkit._recipe.yaml import Table, plain, read_yaml
from synthkit.errors import RecipeError

RECIPE = """\
recipe: 1
name: base
data: {use: tones, clips_per_label: 4, seconds: 2.0}
features: log-mel
vocoder: {use: melgan, channels: 8}
train: {part: vocoder, steps: 10}
generate: {compare: [griffin-lim]}
tiny:
  vocoder: {use: griffin-lim, iterations: 3}
  train:
"""


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.discover()


def changed(text: str, *sets: str) -> object:
    node, problems = read_yaml(text, "r.yaml")
    assert isinstance(node, Table)
    overrides, more = parse_sets(sets)
    tree, wrong = apply(node, overrides)
    assert [*problems, *more, *wrong] == []
    return plain(tree)


@pytest.mark.parametrize(
    ("before", "sets", "after"),
    [
        ("a: {b: 1}", ["a.b=2"], {"a": {"b": 2}}),
        ("a: {b: 1}", ["a.c.d=x"], {"a": {"b": 1, "c": {"d": "x"}}}),
        ("a: 1", ["b=1e-4"], {"a": 1, "b": 1e-4}),
        ("a: 1", ["b=[1, {c: yes}]"], {"a": 1, "b": [1, {"c": "yes"}]}),
        ("a: 1", ["a=~/music and more"], {"a": "~/music and more"}),
        ("a: 1", ["a=x=y"], {"a": "x=y"}),
        ("a: 1", ["a="], {"a": None}),
        ("a: null", ["a.b=1"], {"a": {"b": 1}}),
        ("train: {steps: 1}", ["train.0.steps=2"], {"train": {"steps": 2}}),
        ("train: [{steps: 1}]", ["train.steps=2"], {"train": [{"steps": 2}]}),
        ("train: [{steps: 1}, {steps: 3}]", ["train.1.steps=2"], {"train": [{"steps": 1}, {"steps": 2}]}),
        ("vocoder: melgan", ["vocoder.channels=2"], {"vocoder": {"use": "melgan", "channels": 2}}),
        ("vocoder: {use: melgan, channels: 2}", ["vocoder.use=melgan"], {"vocoder": {"use": "melgan", "channels": 2}}),
        ("vocoder: {use: melgan, channels: 2}", ["vocoder.use=griffin-lim"], {"vocoder": {"use": "griffin-lim"}}),
        ("vocoder: {use: melgan, channels: 2}", ["vocoder.from=runs/x"], {"vocoder": {"from": "runs/x"}}),
        ("vocoder: {from: runs/x}", ["vocoder.use=melgan"], {"vocoder": {"use": "melgan"}}),
        ("generate: {compare: [a, b]}", ["generate.compare.1.n=2"], {"generate": {"compare": ["a", {"use": "b", "n": 2}]}}),
        ("train: {objective: a}", ["train.objective.rate=2"], {"train": {"objective": {"use": "a", "rate": 2}}}),
        ("train: {objective: {use: a, rate: 1}}", ["train.objective.use=b"], {"train": {"objective": {"use": "b"}}}),
    ],
)  # fmt: skip
def test_a_value_goes_where_its_path_leads(before: str, sets: list[str], after: object) -> None:
    assert changed(before, *sets) == after


def test_the_order_of_overrides_does_not_matter() -> None:
    sets = ["data.use=folder", "data.root=/x", "data={use: tones, seconds: 1.0}", "train.steps=3", "train.batch=2"]
    before = "data: {use: other, n: 1}\ntrain: {steps: 1}"
    found = [changed(before, *order) for order in itertools.permutations(sets)]
    assert all(one == found[0] for one in found)
    assert found[0] == {"data": {"use": "folder", "root": "/x"}, "train": {"steps": 3, "batch": 2}}


def test_of_two_values_for_one_path_the_later_holds() -> None:
    assert changed("a: 1", "a=2", "a=3") == {"a": 3}


def load(text: str, tmp_path: Path, catalog: Catalog, **options: object) -> Recipe:
    file = tmp_path / "r.yaml"
    file.write_text(text, encoding="utf-8")
    return load_recipe(file, catalog, **options)  # type: ignore[arg-type]


def test_python_and_the_command_line_say_the_same(tmp_path: Path, catalog: Catalog) -> None:
    typed = load(RECIPE, tmp_path, catalog, overrides=["train.steps=3", "train.gain=[0.5, 1]", "data.seconds=1e0"])
    called = load(RECIPE, tmp_path, catalog, overrides={"train.steps": 3, "train.gain": (0.5, 1), "data.seconds": 1})
    assert typed == called


def test_tiny_comes_before_set(tmp_path: Path, catalog: Catalog) -> None:
    tiny = load(RECIPE, tmp_path, catalog, tiny=True)
    assert tiny.vocoder is not None
    assert (tiny.vocoder.offered.offer.name, tiny.train) == ("griffin-lim", ())
    both = load(RECIPE, tmp_path, catalog, tiny=True, overrides=["vocoder.iterations=5"])
    assert both.vocoder is not None
    assert both.vocoder.config.model_dump()["iterations"] == 5


def test_without_a_tiny_block_tiny_is_a_mistake(tmp_path: Path, catalog: Catalog) -> None:
    with pytest.raises(RecipeError, match=r"r.yaml:1:1: tiny: this recipe has no tiny: block"):
        load(RECIPE.split("tiny:")[0], tmp_path, catalog, tiny=True)


def test_another_data_set_does_not_keep_the_settings_of_the_first(tmp_path: Path, catalog: Catalog) -> None:
    text = RECIPE.replace(
        "{use: tones, clips_per_label: 4, seconds: 2.0}", "{use: folder, root: /not/there, labels: folders}"
    )
    recipe = load(text, tmp_path, catalog, overrides=["data.use=tones"])
    assert recipe.data.config.model_dump()["clips_per_label"] == 16
    with pytest.raises(RecipeError, match=r"--set data.labels=none: data.labels: unknown key") as caught:
        load(text, tmp_path, catalog, overrides=["data.labels=none", "data.use=tones"])
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("train.stps=1", "--set train.stps=1: train.stps: unknown key; did you mean 'steps'?"),
        ("train.steps=many", "--set train.steps=many: train.steps: expected a whole number, got 'many'"),
        ("tran.steps=1", "--set tran.steps=1: tran: unknown key; did you mean 'train'?"),
        ("vocoder.use=melgn", "--set vocoder.use=melgn: vocoder.use: there is no vocoder 'melgn'; did you mean 'melgan'?"),
        ("train.steps", "--set train.steps: an override is written path=value"),
        ("=1", "--set =1: '' is not a path like train.steps"),
        ("train..steps=1", "--set train..steps=1: 'train..steps' is not a path like train.steps"),
        ("train.gain=[1", "--set train.gain=[1: train.gain: not valid YAML"),
        ("train.gain=&a 1", "--set train.gain=&a 1: train.gain: the anchor &a is not allowed"),
        ("name.x=1", "--set name.x=1: name.x: name is a single value, nothing can be set inside it"),
        ("generate.compare.1.n=1", "generate.compare is a list of one, '1' is not an index into it"),
        ("tiny.train.steps=1", "the tiny: block cannot be overridden; override the value itself"),
        ("train=[{part: vocoder, steps: 1}, {part: vocoder, steps: 1}]", "train.1: the vocoder is trained twice"),
    ],
)  # fmt: skip
def test_mistakes_of_overrides_name_the_override(tmp_path: Path, catalog: Catalog, override: str, says: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load(RECIPE, tmp_path, catalog, overrides=[override])
    assert says in str(caught.value)
    assert all(problem.line == 0 and problem.file.startswith("--set ") for problem in caught.value.problems)


def test_which_block_of_several_must_be_said(tmp_path: Path, catalog: Catalog) -> None:
    text = RECIPE.replace(
        "train: {part: vocoder, steps: 10}", "train: [{part: vocoder, steps: 1}, {part: model, steps: 1}]"
    )
    with pytest.raises(
        RecipeError, match=r"--set train.steps=1: train.steps: train is a list of 2; write train.0.steps"
    ):
        load(text, tmp_path, catalog, overrides=["train.steps=1"])


def test_values_that_no_recipe_can_hold_are_told(tmp_path: Path, catalog: Catalog) -> None:
    with pytest.raises(RecipeError, match="a set cannot stand in a recipe"):
        load(RECIPE, tmp_path, catalog, overrides={"train.gain": {1}})
    with pytest.raises(RecipeError, match="not UTF-8"):
        load(RECIPE, tmp_path, catalog, overrides={"data.use": "a\udcff"})
