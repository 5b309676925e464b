"""Reads a recipe: file, `tiny:`, overrides, checks. All mistakes come at once, before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from synthkit._catalog import Catalog
from synthkit._recipe.check import check_recipe
from synthkit._recipe.find import find_recipe, shipped_folder, shipped_recipes
from synthkit._recipe.model import Recipe
from synthkit._recipe.overrides import Override, apply, parse_sets, tiny_overrides
from synthkit._recipe.yaml import Mark, Node, Table, read_yaml
from synthkit.errors import Problem, RecipeError


def load_recipe(
    source: str | Path,
    catalog: Catalog,
    *,
    overrides: Mapping[str, Any] | Sequence[str] = (),
    tiny: bool = False,
    check_files: bool = True,
) -> Recipe:
    """The checked recipe of a file, or of a shipped name.

    Args:
        overrides: `{"train.steps": 5}`, or as typed after `--set`: `["train.steps=5"]`.
        tiny: whether to apply the recipe's `tiny:` block (before the overrides).
        check_files: whether folders of data must exist.

    Raises:
        UnknownName: there is no such recipe.
        RecipeError: with every problem, in the order of the file; those of overrides come last.
    """
    path = find_recipe(source)
    return load_text(read_text(path), path, catalog, overrides=overrides, tiny=tiny, check_files=check_files)


def load_text(
    text: str,
    path: Path,
    catalog: Catalog,
    *,
    overrides: Mapping[str, Any] | Sequence[str] = (),
    tiny: bool = False,
    check_files: bool = True,
) -> Recipe:
    """The checked recipe in `text`, which was read from `path`; otherwise as `load_recipe`."""
    file = str(path)
    root, problems = read_yaml(text, file)
    sets, set_problems = parse_sets(overrides)
    problems += set_problems
    if not isinstance(root, Table):
        raise _error(problems or [_not_a_recipe(root, file)])
    tree = root.without("tiny")
    small, tiny_problems = _tiny(root, tiny, file)
    problems += tiny_problems
    recipe, found = _checked(tree, [small if tiny else [], sets], catalog, path, check_files)
    problems += found
    if small and not tiny:  # the block is checked even where it is not used, so that it is right when it is
        _, found = _checked(tree, [small], catalog, path, check_files)
        within = {one.mark for one in small}
        problems += [problem for problem in found if _stands_in(problem, root, within)]
    if problems or recipe is None:
        raise _error(problems)
    return recipe


def read_text(path: Path) -> str:
    """The text of a recipe file. Raises `RecipeError` where it cannot be read."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RecipeError([Mark(str(path)).problem("", f"cannot be read: {error.strerror}")]) from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        raise RecipeError([Mark(str(path), line, column).problem("", "not UTF-8 text")]) from error


def _checked(
    tree: Table, layers: Sequence[Sequence[Override]], catalog: Catalog, path: Path, check_files: bool
) -> tuple[Recipe | None, list[Problem]]:
    problems: list[Problem] = []
    for layer in layers:
        tree, found = apply(tree, layer)
        problems += found
    recipe, found = check_recipe(tree, catalog, path, check_files=check_files)
    return recipe, problems + found


def _tiny(root: Table, wanted: bool, file: str) -> tuple[list[Override], list[Problem]]:
    node = root.get("tiny")
    if node is not None:
        return tiny_overrides(node)
    if not wanted:
        return [], []
    message, hint = "this recipe has no tiny: block, which --tiny needs", "add `tiny: {train.steps: 4}`"
    return [], [Mark(file, 1, 1).problem("tiny", message, hint)]


def _stands_in(problem: Problem, root: Table, marks: set[Mark]) -> bool:
    """Whether a problem stands inside the `tiny:` block (from its first entry to the next top-level key)."""
    begin = min((mark.line, mark.column) for mark in marks)
    later = [(entry.key.line, entry.key.column) for entry in root.entries.values()]
    end = min((place for place in later if place > begin), default=(10**9, 0))
    return begin <= (problem.line, problem.column) < end


def _not_a_recipe(root: Node | None, file: str) -> Problem:
    mark = root.mark if root is not None else Mark(file, 1, 1)
    message = "this file is empty" if root is None else "a recipe is a mapping of keys to values"
    return mark.problem("", message, "begin with `recipe: 1`")


def _error(problems: Sequence[Problem]) -> RecipeError:
    unique = dict.fromkeys(problems)
    return RecipeError(sorted(unique, key=lambda problem: (problem.line == 0, problem.line, problem.column)))


__all__ = ["find_recipe", "load_recipe", "load_text", "read_text", "shipped_folder", "shipped_recipes"]
