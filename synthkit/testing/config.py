"""Laws of settings."""

from __future__ import annotations

import json

from pydantic import ValidationError

from synthkit.config import Config, field_docs
from synthkit.testing.check import BrokenLaw, expect


def documented(config: Config) -> None:
    """The class of the settings has a docstring, and so has every field, nested ones too."""
    check_documented(type(config), type(config).__name__)


def through_json(config: Config) -> None:
    """Settings written as JSON and read again are equal: a checkpoint and a run folder hold them so."""
    try:
        text = json.dumps(config.model_dump(mode="json"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BrokenLaw(f"they cannot be written: {error}") from error
    try:
        again = type(config).model_validate(json.loads(text), context={"check_files": False})
    except ValidationError as error:
        raise BrokenLaw(f"{text} is refused: {error}") from error
    expect(again == config, f"{config!r} becomes {again!r}")


def strict(config: Config) -> None:
    """An unknown key is refused, and a value cannot be changed after the check."""
    for key, wanted in (("extra", "forbid"), ("frozen", True)):
        found = config.model_config.get(key)
        expect(found == wanted, f"model_config says {key}={found!r}, not {wanted!r}")


def check_documented(cls: type[Config], path: str) -> None:
    """Raise `BrokenLaw` naming the first class or field below `cls` without a docstring."""
    expect("__doc__" in vars(cls) and bool(cls.__doc__), f"{path} has no docstring")
    docs = field_docs(cls)
    for name, field in cls.model_fields.items():
        expect(name in docs, f"{path}.{name} has no docstring below it")
        if isinstance(field.annotation, type) and issubclass(field.annotation, Config):
            check_documented(field.annotation, f"{path}.{name}")


LAWS = (documented, through_json, strict)
