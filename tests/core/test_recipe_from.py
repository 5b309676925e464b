"""`from:` a run: its component, settings and spec, and whether they fit."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from synthkit._catalog import Catalog
from synthkit._recipe.load import load_recipe
from synthkit._recipe.model import Origin, Recipe
from synthkit._run.folder import RunFolder, step_name
from synthkit.errors import RecipeError
from synthkit.presets import PRESETS
from synthkit.storage import write_json

TRAINED = """\
recipe: 1
name: trained
data: tones
features: {use: log-mel, preset: melgan}
vocoder: {use: melgan, channels: 6}
train: {part: vocoder, steps: 4}
"""
AGAIN = "recipe: 1\nname: again\ndata: tones\n"

Load = Callable[..., Recipe]


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.discover()


@pytest.fixture
def load(tmp_path: Path, catalog: Catalog) -> Load:
    def call(text: str, **options: Any) -> Recipe:
        file = tmp_path / "r.yaml"
        file.write_text(text, encoding="utf-8")
        return load_recipe(file, catalog, **options)

    return call


@pytest.fixture
def run(tmp_path: Path, load: Load) -> RunFolder:
    """A run as the train stage leaves it, as far as a recipe reads it."""
    return made_run(tmp_path / "runs" / "trained", load(TRAINED))


def made_run(folder: Path, recipe: Recipe, **changes: Any) -> RunFolder:
    run = RunFolder(folder)
    run.path.mkdir(parents=True)
    run.recipe_file.write_text(recipe.resolved, encoding="utf-8")
    assert recipe.vocoder is not None
    offered = recipe.vocoder.offered
    meta = {
        "format": 1,
        "kind": "vocoder",
        "component": offered.offer.name,
        "plugin": offered.plugin,
        "distribution": offered.distribution,
        "version": offered.version,
        "config": recipe.vocoder.config.model_dump(mode="json"),
        "spec": recipe.spec.to_dict(),
        "labels": [],
        "step": 4,
        "files": {},
    }
    write_json(run.checkpoint_root("vocoder") / step_name(4) / "meta.json", {**meta, **changes})
    return run


def test_component_settings_spec_and_features_come_from_the_run(load: Load, run: RunFolder) -> None:
    recipe = load(f"{AGAIN}vocoder: {{from: {run.path}}}\n")
    assert recipe.vocoder is not None
    assert recipe.vocoder.offered.offer.name == "melgan"
    assert recipe.vocoder.config.model_dump()["channels"] == 6
    assert recipe.vocoder.from_run == run.path
    assert recipe.vocoder.spec == recipe.spec == PRESETS["melgan"].spec
    assert recipe.features.offered.offer.name == "log-mel"
    again = load(recipe.resolved)
    assert dataclasses.replace(recipe, source=again.source) == again


def test_a_relative_run_starts_at_the_working_folder(
    load: Load, run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = load(f"{AGAIN}features: {{from: runs/trained}}\nvocoder: {{from: runs/trained}}\n")
    assert recipe.vocoder is not None
    assert recipe.vocoder.from_run == run.path


def test_features_that_differ_by_a_formula_fit_unless_it_is_trained_further(load: Load, run: RunFolder) -> None:
    text = f"{AGAIN}features: {{use: log-mel, preset: melgan, log: ln}}\nvocoder: {{from: {run.path}}}\n"
    recipe = load(text)
    assert recipe.vocoder is not None
    assert recipe.spec != recipe.vocoder.spec
    with pytest.raises(RecipeError, match=r"r.yaml:5:1: vocoder: .*log is 'ln' in features and 'log10' in the run"):
        load(f"{text}train: {{part: vocoder, steps: 8}}\n")
    assert load(f"{AGAIN}vocoder: {{from: {run.path}}}\ntrain: {{part: vocoder, steps: 8}}\n").train


def test_features_that_differ_otherwise_do_not_fit_and_the_fields_are_named(load: Load, run: RunFolder) -> None:
    text = (
        f"{AGAIN}features: {{use: log-mel, preset: melgan, f_max: 8000.0, n_mels: 64}}\nvocoder:\n  from: {run.path}\n"
    )
    with pytest.raises(RecipeError) as caught:
        load(text)
    (problem,) = caught.value.problems
    assert (problem.line, problem.column, problem.path) == (5, 1, "vocoder")
    assert "n_mels is 64 in features, 80 in its run" in problem.message
    assert "f_max is 8000.0 in features, 11025.0 in its run" in problem.message


def test_trained_vocoders_can_stand_beside_each_other(load: Load, run: RunFolder, tmp_path: Path) -> None:
    other = made_run(tmp_path / "runs" / "other", load(TRAINED.replace("6", "4")))
    text = f"{AGAIN}features: log-mel\nvocoder: {{from: {run.path}}}\n"
    recipe = load(f"{text}generate: {{compare: [griffin-lim, {{from: {other.path}}}]}}\n")
    assert [block.from_run for block in recipe.compare] == [None, other.path]
    assert load(recipe.resolved).compare == recipe.compare


def test_settings_beside_from_replace_those_of_the_run(load: Load, run: RunFolder) -> None:
    recipe = load(f"{AGAIN}vocoder: {{from: {run.path}, channels: 12}}\ntrain: {{part: vocoder, steps: 8}}\n")
    assert recipe.vocoder is not None
    assert recipe.vocoder.config.model_dump()["channels"] == 12
    saved = load(TRAINED).vocoder
    assert saved is not None
    assert recipe.vocoder.config == saved.config.model_copy(update={"channels": 12})
    again = load(recipe.resolved)
    assert (again.vocoder, again.resolved) == (recipe.vocoder, recipe.resolved)


def test_from_may_say_what_is_taken(load: Load, run: RunFolder) -> None:
    text = f"{AGAIN}vocoder: {{from: {{run: {run.path}, strict: false}}}}\ntrain: {{part: vocoder, steps: 8}}\n"
    recipe = load(text, overrides=["vocoder.from.optimisers=true"])
    assert recipe.vocoder is not None
    assert recipe.vocoder.origin == Origin(path=run.path, strict=False, optimisers=True)
    assert load(recipe.resolved).vocoder == recipe.vocoder
    short = load(text.replace(", strict: false", ""), overrides=["vocoder.from.strict=false"])
    assert short.vocoder is not None
    assert short.vocoder.origin == Origin(path=run.path, strict=False)


def test_one_checkpoint_may_be_named(load: Load, run: RunFolder) -> None:
    checkpoint = run.newest("vocoder")
    recipe = load(f"{AGAIN}vocoder: {{from: {checkpoint}}}\n")
    assert recipe.vocoder is not None
    assert (recipe.vocoder.from_run, recipe.spec) == (checkpoint, PRESETS["melgan"].spec)
    with pytest.raises(RecipeError, match=r"r.yaml:4:15: model.from: .* is a checkpoint of a vocoder, not of a model"):
        load(f"{AGAIN}model: {{from: {checkpoint}}}\nvocoder: griffin-lim\n")


def test_a_checkpoint_whose_description_is_damaged_is_passed_over(load: Load, run: RunFolder) -> None:
    newer = run.checkpoint_root("vocoder") / step_name(6)
    newer.mkdir()
    (newer / "meta.json").write_text('{"format"', encoding="utf-8")
    assert load(f"{AGAIN}vocoder: {{from: {run.path}}}\n").vocoder is not None
    with pytest.raises(RecipeError, match=r"vocoder.from: .*meta.json' is damaged"):
        load(f"{AGAIN}vocoder: {{from: {newer}}}\n")


@pytest.mark.parametrize(
    ("block", "says"),
    [
        ("{from: RUN, chanels: 3}", "vocoder.chanels: unknown key; did you mean 'channels'?"),
        ("{from: RUN, channels: no}", "vocoder.channels: expected a whole number, got 'no'"),
        ("{from: RUN, ratios: [2, 2]}", "vocoder: MelGAN's ratios 2 x 2 make 4 samples of a frame"),
        ("{from: {run: RUN, stric: false}}", "vocoder.from.stric: unknown key; did you mean 'strict'?"),
        ("{from: {strict: false}}", "r.yaml:4:11: vocoder.from.run: a required key is missing"),
        (
            "{from: {run: RUN, strict: false}}",
            "vocoder.from.strict: weights that the run does not have would stay random",
        ),
        ("{from: {run: RUN, optimisers: true}}", "vocoder.from.optimisers: it is not trained here"),
        ("{from: RUN/nowhere}", "r.yaml:4:17: vocoder.from: there is no run folder "),
        ("{from: 3}", "r.yaml:4:17: vocoder.from: expected the folder of a run, got 3"),
        ("{from: ''}", "r.yaml:4:17: vocoder.from: expected the folder of a run, got ''"),
        ("{from: ~nobody-of-that-name/x}", "r.yaml:4:17: vocoder.from: there is no home folder"),
        ("{from: RUN, use: melgan}", "vocoder.use: cannot stand beside `from:`"),
    ],
)
def test_mistakes_of_from_are_told(load: Load, run: RunFolder, block: str, says: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load(f"{AGAIN}vocoder: {block.replace('RUN', str(run.path))}\n")
    assert says in str(caught.value).replace(str(run.path.parents[1]) + "/", "")


def test_a_run_that_does_not_have_it_is_told(load: Load, run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"has no checkpoint of a model; it has one of a vocoder"):
        load(f"{AGAIN}model: {{from: {run.path}}}\nvocoder: griffin-lim\n")
    empty = RunFolder(tmp_path / "runs" / "empty")
    empty.path.mkdir()
    empty.recipe_file.write_text("recipe: 1\n", encoding="utf-8")
    with pytest.raises(RecipeError, match=r"has no checkpoint of a vocoder: it trained nothing yet"):
        load(f"{AGAIN}features: log-mel\nvocoder: {{from: {empty.path}}}\n")
    with pytest.raises(RecipeError, match=r"does not name the features of its run"):
        load(f"{AGAIN}features: {{from: {empty.path}}}\nvocoder: griffin-lim\n")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"format": 9}, "has format 9"),
        ({"config": None}, "does not say which component"),
        ({"spec": {"n_fft": 3}}, "incomplete feature spec"),
        ({"component": "melgon"}, "there is no vocoder 'melgan/melgon'; did you mean 'melgan/melgan'?"),
        ({"plugin": "gone"}, "there is no vocoder 'gone/melgan'"),
        ({"config": {"chanels": 6}}, "do not fit the installed 'melgan/melgan'"),
    ],
)
def test_a_checkpoint_that_cannot_be_used_is_told(
    load: Load, tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    run = made_run(tmp_path / "runs" / "odd", load(TRAINED), **changes)
    with pytest.raises(RecipeError) as caught:
        load(f"{AGAIN}features: log-mel\nvocoder: {{from: {run.path}}}\n")
    (problem,) = caught.value.problems
    assert (problem.line, says in str(problem)) == (5, True), str(problem)
