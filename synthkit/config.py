"""What every component's settings are made of: strict, frozen pydantic models whose attribute docstrings feed help, schema and docs.

Nothing here needs torch, so that a recipe is checked before anything heavy is imported.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationInfo

from synthkit.specs import FeatureSpec


class Config(BaseModel):
    """Base of all settings: an unknown key is an error, a value is never changed after the check.

    Write a docstring under each field: it becomes the field's help everywhere.

    >>> class Echo(Config):
    ...     delay_seconds: float = 0.1
    >>> Echo(delay_second=0.2)
    Traceback (most recent call last):
    pydantic_core._pydantic_core.ValidationError: 1 validation error for Echo
    delay_second
      Extra inputs are not permitted ...
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True, validate_default=True
    )


class FeaturesConfig(Config):
    """Settings of a feature extractor. The spec follows from them alone, so that parts can be matched without torch."""

    @abstractmethod
    def spec(self) -> FeatureSpec:
        """What the extractor's tensors mean. Raises `ConfigError` for values that contradict each other."""


class PartConfig(Config):
    """Settings of a vocoder or a generative model."""

    def check_spec(self, spec: FeatureSpec) -> None:
        """Raise `ConfigError` with one sentence where this part cannot work with features of `spec`."""


def expand(path: Path) -> Path:
    """The absolute path that a user means: `~` is the home folder, a relative one starts at the working folder.

    Raises `ValueError` where `~name` names nobody.
    """
    try:
        return path.expanduser().absolute()
    except RuntimeError as error:
        raise ValueError(f"there is no home folder for {path.parts[0]!r}") from error


def _existing_folder(path: Path, info: ValidationInfo) -> Path:
    if (info.context or {}).get("check_files", True) and not os.path.isdir(path):  # noqa: PTH112 - it never raises
        raise ValueError(f"the folder {str(path)!r} does not exist")
    return path


UserPath = Annotated[Path, AfterValidator(expand)]
"""A path as a user writes it: `~` is the home folder, a relative one starts at the working folder; kept absolute."""

ExistingFolder = Annotated[Path, AfterValidator(expand), AfterValidator(_existing_folder)]
"""A `UserPath` that must be a folder (unless the validation context says `check_files=False`)."""
