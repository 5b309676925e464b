"""What docs/recipes.md says of the language is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from synthkit._catalog import Catalog
from synthkit._recipe.check import BLOCK_KEYS, Head
from synthkit._recipe.load import load_text
from synthkit._recipe.model import (
    BlendBlock,
    ContinueBlock,
    GenerateBlock,
    KeepBlock,
    LikeBlock,
    PrepareBlock,
    ReportBlock,
    TrainBlock,
)
from synthkit.errors import RecipeError


def page(root: Path) -> str:
    return (root / "docs" / "recipes.md").read_text(encoding="utf-8")


def test_the_table_has_every_key(root: Path) -> None:
    keys = re.findall(r"^\| `([a-z]+)` \|", page(root).split("## All keys")[1], flags=re.MULTILINE)
    assert sorted(keys) == sorted([*Head.model_fields, *BLOCK_KEYS])


def test_every_setting_of_the_core_is_mentioned(root: Path) -> None:
    text = page(root)
    for model in (
        PrepareBlock,
        GenerateBlock,
        ContinueBlock,
        LikeBlock,
        BlendBlock,
        ReportBlock,
        TrainBlock,
        KeepBlock,
    ):
        names = [field.alias or name for name, field in model.model_fields.items()]
        assert [name for name in names if not re.search(rf"\b{name}\b", text)] == [], model.__name__


def test_the_mistakes_shown_are_the_ones_told(root: Path) -> None:
    text = page(root)
    wrong = re.findall(r"printf '([^']+)'", text)[0].replace("\\n", "\n")
    shown = re.findall(r"^wrong\.yaml:\d.*$", text, flags=re.MULTILINE)
    try:
        load_text(wrong, Path("wrong.yaml"), Catalog.discover())
        told = []
    except RecipeError as error:
        told = str(error).splitlines()
    assert told == shown
