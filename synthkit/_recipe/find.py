"""Where recipes are: a path, or the name of one that is shipped."""

from __future__ import annotations

import os
from pathlib import Path

from synthkit.config import expand
from synthkit.errors import UnknownName, nearest

_PACKAGE = Path(__file__).resolve().parent


def shipped_folder() -> Path:
    """The folder of the shipped recipes: inside the installed package, or at the root of a checkout."""
    inside = _PACKAGE / "shipped"
    return inside if inside.is_dir() else _PACKAGE.parents[1] / "recipes"


def shipped_recipes() -> tuple[Path, ...]:
    """The files of all shipped recipes, by name."""
    return tuple(sorted(shipped_folder().glob("*.yaml")))


def find_recipe(name_or_path: str | Path) -> Path:
    """The file of a recipe: a path, or the name of a shipped one (with or without `.yaml`).

    Raises:
        UnknownName: there is neither; the message has the nearest shipped name.

    >>> find_recipe("quickstart").name
    'quickstart.yaml'
    """
    try:
        path = expand(Path(name_or_path)) if str(name_or_path).startswith("~") else Path(name_or_path)
    except ValueError as error:
        raise UnknownName(str(error)) from error
    if os.path.isfile(path):  # noqa: PTH113 - it never raises, whatever the name
        return path
    shipped = {file.stem: file for file in shipped_recipes()}
    text = str(name_or_path)
    name = text.removesuffix(".yaml").removesuffix(".yml")
    if name in shipped:
        return shipped[name]
    if os.path.isdir(path):  # noqa: PTH112
        inside = path / "recipe.yaml"
        hint = f"; it has a {str(inside)!r}" if inside.is_file() else ""
        raise UnknownName(f"{text!r} is a folder, not a recipe{hint}")
    raise UnknownName(f"there is no file {text!r} and no shipped recipe {name!r}; {nearest(name, shipped)}")
