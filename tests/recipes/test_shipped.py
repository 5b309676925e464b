"""Every shipped recipe: right, the same again when resolved, in the table, and the whole way through with --tiny."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from synthkit._catalog import Catalog
from synthkit._recipe.load import load_recipe, shipped_recipes
from synthkit._recipe.model import Recipe

RECIPES = shipped_recipes()
each = pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.discover()


def test_all_of_them_are_found(root: Path) -> None:
    assert len(RECIPES) == 26
    assert set(RECIPES) == set((root / "recipes").glob("*.y*ml"))


@each
def test_it_is_right_and_so_is_its_name(recipe: Path, catalog: Catalog) -> None:
    checked = load_recipe(recipe, catalog, check_files=False)
    assert checked.name == recipe.stem
    assert checked.description.endswith(".")
    assert recipe.read_text(encoding="utf-8").startswith("# yaml-language-server: $schema=recipe.schema.json\n")


@each
@pytest.mark.parametrize("tiny", [False, True], ids=["full", "tiny"])
def test_resolved_it_is_the_same_recipe_again(recipe: Path, tiny: bool, catalog: Catalog, tmp_path: Path) -> None:
    first = load_recipe(recipe, catalog, tiny=tiny, check_files=False)
    file = tmp_path / "resolved.yaml"
    file.write_text(first.resolved, encoding="utf-8")
    second = load_recipe(file, catalog, check_files=False)
    assert dataclasses.replace(first, source=file) == second
    assert second.resolved == first.resolved


@each
def test_every_number_of_the_file_reaches_the_recipe(recipe: Path, catalog: Catalog) -> None:
    """What is written after a key stands after the same key in the resolved recipe."""
    resolved = load_recipe(recipe, catalog, check_files=False).resolved
    text = recipe.read_text(encoding="utf-8").split("\ntiny:")[0]
    written = re.findall(r"^ +([a-z_]+): ([0-9][0-9_.e-]*)(?=[ \n#])", text, flags=re.MULTILINE)
    assert len(written) >= 3
    numbers = {
        (key, float(value)) for key, value in re.findall(r"^ +(?:- )?([a-z_0-9]+): ([0-9.e-]+)$", resolved, flags=re.M)
    }
    assert {(key, float(value.replace("_", ""))) for key, value in written} <= numbers


def roles(recipe: Recipe, item: Mapping[str, Any]) -> set[str]:
    """What a clip of the recipe has to be heard as."""
    return (
        ({"reference"} if item["kind"] != "generated" else set())
        | ({"converted"} if item["kind"] == "converted" else set())
        | ({"vocoder"} if recipe.vocoder is not None else set())
        | ({"compare"} if recipe.compare else set())
    )


@each
@pytest.mark.slow
def test_it_goes_the_whole_way_with_tiny(
    recipe: Path, catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from synthkit._stages.pipeline import run_recipe

    monkeypatch.setenv("SYNTHKIT_CACHE", str(tmp_path / "cache"))
    run = run_recipe(recipe, catalog=catalog, tiny=True, run_dir=tmp_path / "run")
    expected = load_recipe(recipe, catalog, tiny=True)
    assert run.report_html.stat().st_size > 10_000
    assert run.recipe_file.read_text(encoding="utf-8") == expected.resolved
    index = json.loads(run.generated_index.read_text(encoding="utf-8"))
    made = "generated" if expected.model is not None else "converted" if expected.converter is not None else None
    new = [made] * expected.generate.count if made else []
    assert [item["kind"] for item in index["items"]] == [*new, *["copy"] * expected.copies]
    assert index["items"]
    for item in index["items"]:
        assert {version["role"] for version in item["versions"]} >= roles(expected, item)
        for version in item["versions"]:
            assert (run.path / version["file"]).stat().st_size > 44
    for training in expected.train:
        assert run.newest(training.settings.part) is not None


def test_the_table_of_the_readme_has_each_of_them(root: Path) -> None:
    text = (root / "recipes" / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[([a-z0-9-]+)\]\(([a-z0-9-]+\.yaml)\) \|", text, flags=re.MULTILINE)
    assert sorted(rows) == [(path.stem, path.name) for path in RECIPES]
