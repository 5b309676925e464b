"""What settings tell of themselves."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import Field

from synthkit._catalog import Catalog
from synthkit.config import Config, field_docs
from synthkit.errors import PluginError
from synthkit.interfaces import Offer


class Inner(Config):
    """A part."""

    depth: int = 1
    """How deep."""


class Outer(Config):
    """The whole."""

    written: int = 1
    """Over
    two lines."""
    explicit: int = Field(default=1, description="From the field.")
    """From the docstring."""
    renamed: int = Field(default=1, alias="other")
    """Has an alias."""
    inner: Inner = Inner()
    """The part."""
    silent: int = 1


class Derived(Outer):
    """More of it."""

    written: int = 2
    added: int = 3
    """Added below."""


def test_docstrings_below_fields_are_their_meaning() -> None:
    assert field_docs(Outer) == {
        "written": "Over\ntwo lines.",
        "explicit": "From the field.",
        "renamed": "Has an alias.",
        "inner": "The part.",
    }
    assert field_docs(Derived) == field_docs(Outer) | {"added": "Added below."}


def test_the_json_schema_has_them() -> None:
    schema = Derived.model_json_schema()
    meanings = {name: field.get("description") for name, field in schema["properties"].items()}
    assert meanings == {
        "written": "Over\ntwo lines.",
        "explicit": "From the field.",
        "other": "Has an alias.",
        "inner": "The part.",
        "silent": None,
        "added": "Added below.",
    }
    assert schema["$defs"]["Inner"]["properties"]["depth"]["description"] == "How deep."


def test_without_source_there_are_none() -> None:
    space: dict[str, type] = {"Config": Config}  # type: ignore[dict-item]
    exec("class Typed(Config):\n    x: int = 1\n    'Unseen.'\n", space)
    assert field_docs(space["Typed"]) == {}


def test_settings_that_pydantic_cannot_check_are_a_broken_component(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "odd_settings.py").write_text(
        "from synthkit.config import PartConfig\n"
        "class Stranger: pass\nclass OddConfig(PartConfig):\n    stranger: Stranger\n",
        encoding="utf-8",
    )
    plugin = tmp_path / "odd.py"
    offer = Offer(kind="vocoder", name="odd", build="odd_settings:X", config="odd_settings:OddConfig", summary="Odd.")
    plugin.write_text(
        "from synthkit import Offer, hookimpl\n\n@hookimpl\ndef synthkit_components():\n    return ["
        + repr(offer)
        + "]\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    catalog = Catalog.discover([plugin])
    with pytest.raises(PluginError, match=r"the settings of vocoder 'odd' .*PydanticSchemaGenerationError.*Stranger"):
        catalog.config_class(catalog.find("vocoder", "odd"))
