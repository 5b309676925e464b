"""What every component's settings are made of: strict, frozen pydantic models whose attribute docstrings feed help, schema and docs.

Nothing here needs torch, so that a recipe is checked before anything heavy is imported.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from synthkit.errors import SynthkitError
from synthkit.remote import Place, is_folder, is_remote
from synthkit.specs import FeatureSpec

if TYPE_CHECKING:
    from pydantic import GetJsonSchemaHandler
    from pydantic_core import CoreSchema


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

    # pydantic could read the docstrings below fields itself (`use_attribute_docstrings`), but it parses the source of each
    # class as soon as it is defined, and few commands show them. Of the classes that a module defines few are used, too.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True, defer_build=True)

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The JSON schema, with what each field means."""
        schema = handler(core_schema)
        properties = handler.resolve_ref_schema(schema).get("properties", {})
        for name, text in field_docs(cls).items():
            properties[cls.model_fields[name].alias or name]["description"] = text
        return schema


class FeaturesConfig(Config):
    """Settings of a feature extractor. The spec follows from them alone, so that parts can be matched without torch."""

    @abstractmethod
    def spec(self) -> FeatureSpec:
        """What the extractor's tensors mean. Raises `ConfigError` for values that contradict each other."""


class PartConfig(Config):
    """Settings of a vocoder, a generative model or a converter."""

    def check_spec(self, spec: FeatureSpec) -> None:
        """Raise `ConfigError` with one sentence where this part cannot work with features of `spec`."""

    def abilities(self) -> frozenset[str] | None:
        """What a model of these settings can serve: its `GenerativeModel.abilities`, so that a recipe that asks for something
        else is a mistake before anything runs. None: the settings do not tell, and the model is asked when it is built.
        """
        return None

    def parameters(self, spec: FeatureSpec) -> int | None:
        """How many parameters the networks have for features of `spec`, without what depends on the labels; `synthkit check`
        says it. None: not known without building them.
        """
        return None


Label = Annotated[str, BeforeValidator(lambda name: str(name) if type(name) is int else name), Field(min_length=1)]
"""The name of a label; one that is a number, as a speaker's often is, may be written without quotes."""


class ConverterConfig(PartConfig):
    """Settings of a converter: every one turns clips of one label of the data into clips of another.

    >>> ConverterConfig(source="jazz", target="jazz")
    Traceback (most recent call last):
    pydantic_core._pydantic_core.ValidationError: 1 validation error for ConverterConfig
      Value error, source and target are both 'jazz': there is nothing to convert [type=value_error, ...
    >>> ConverterConfig(source=2609, target="1998").source
    '2609'
    """

    source: Label
    """The label of what it converts."""
    target: Label
    """The label of what it makes of it."""

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if self.source == self.target:
            raise ValueError(f"source and target are both {self.source!r}: there is nothing to convert")
        return self


class ObjectiveConfig(Config):
    """Settings of an objective that can say what it takes; any other objective's are a plain `Config`."""

    def memory(self, part: PartConfig, spec: FeatureSpec, batch: int, frames: int) -> int | None:
        """About how many bytes a step of the part takes on `batch` crops of `frames` frames in fp32, at its highest and beside
        what the process itself takes; `synthkit check` says it. None: not known.
        """
        return None


def field_docs(cls: type) -> dict[str, str]:
    """What the fields of a class mean: the `Field(description=...)` of each, else the docstring below it in the source.

    A field without either is left out, and so is every docstring where there is no source.

    >>> field_docs(FeatureSpec)["hop_length"]
    'Distance between frames, samples.'
    """
    docs: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        docs |= {} if base is BaseModel else _attribute_docstrings(base)
    if not issubclass(cls, BaseModel):
        return docs
    meanings = {name: field.description or docs.get(name, "") for name, field in cls.model_fields.items()}
    return {name: text for name, text in meanings.items() if text}


def _attribute_docstrings(cls: type) -> dict[str, str]:
    import ast
    import inspect
    from textwrap import dedent

    try:
        (tree,) = ast.parse(dedent(inspect.getsource(cls))).body
    except (OSError, TypeError, SyntaxError):  # built in, typed at a prompt, or not to be found in its file
        return {}
    assert isinstance(tree, ast.ClassDef)
    return {
        field.target.id: inspect.cleandoc(text.value.value)
        for field, text in pairwise(tree.body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }


def expand(path: Path) -> Path:
    """The absolute path that a user means: `~` is the home folder, a relative one starts at the working folder.

    Raises `ValueError` where `~name` names nobody.
    """
    try:
        return path.expanduser().absolute()
    except RuntimeError as error:
        raise ValueError(f"there is no home folder for {path.parts[0]!r}") from error


def _place(value: Any) -> Place:
    if isinstance(value, str) and is_remote(value):
        return value.rstrip("/")
    if not isinstance(value, str | Path):
        raise PydanticCustomError("path_type", "Input is not a valid path")
    return expand(Path(value))


def _existing_folder(place: Place, info: ValidationInfo) -> Place:
    if not (info.context or {}).get("check_files", True):
        return place
    try:
        exists = is_folder(place)
    except SynthkitError as error:
        raise ValueError(str(error)) from error
    if not exists:
        raise ValueError(f"the folder {str(place)!r} does not exist")
    return place


UserPath = Annotated[Place, PlainValidator(_place), WithJsonSchema({"type": "string", "format": "path"})]
"""A place as a user writes it: a URL, such as `s3://bucket/music`, stays a `str`; anything else becomes an absolute `Path`
(`~` is the home folder, a relative one starts at the working folder). `synthkit.remote` works with both."""

ExistingFolder = Annotated[UserPath, AfterValidator(_existing_folder)]
"""A `UserPath` that must be a folder (unless the validation context says `check_files=False`)."""


def under(presets: Mapping[Any, Mapping[str, Any]], written: Any) -> Any:
    """Settings as written with those of their preset under them, block by block; an unknown preset is left for pydantic to refuse.

    >>> under({"loud": {"level": 9, "tone": {"bass": 3}}}, {"preset": "loud", "tone": {"treble": 1}})
    {'level': 9, 'tone': {'bass': 3, 'treble': 1}, 'preset': 'loud'}
    """
    if not isinstance(written, Mapping) or not isinstance(written.get("preset"), str):
        return written
    return _merged(presets.get(written["preset"], {}), written)


def _merged(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**low, **high}
    for name in low.keys() & high.keys():
        if isinstance(low[name], Mapping) and isinstance(high[name], Mapping):
            merged[name] = _merged(low[name], high[name])
    return merged
