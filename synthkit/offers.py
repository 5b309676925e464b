"""What a plugin may declare: the rules for its offers and commands, and how a declared class is found and recognised.

Nothing here needs torch.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from synthkit import interfaces
from synthkit.errors import PluginError, nearest
from synthkit.interfaces import KINDS, Command, Kind, Offer

if TYPE_CHECKING:
    from synthkit.config import Config
    from synthkit.specs import FeatureSpec

COMPONENT_BASES: Mapping[Kind, type] = {
    "dataset": interfaces.Dataset,
    "features": interfaces.FeatureExtractor,
    "vocoder": interfaces.Vocoder,
    "model": interfaces.GenerativeModel,
    "converter": interfaces.Converter,
    "objective": interfaces.Objective,
    "metric": interfaces.Metric,
    "embedding": interfaces.Embedding,
    "tracker": interfaces.Tracker,
}
"""The base class of each kind's components."""

LEARNING: tuple[Kind, ...] = ("vocoder", "model", "converter")
"""The kinds whose components have networks: an objective teaches them, a checkpoint holds them."""

LABELLED: tuple[Kind, ...] = ("model", "converter")
"""Those of them that are built with the labels of the data."""

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_TARGET = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


def check_offers(offers: Iterable[Offer]) -> None:
    """Check what a plugin's `synthkit_components` returned, without importing any of it.

    Raises:
        PluginError: the first thing that is wrong.

    >>> check_offers([Offer(kind="vocoder", name="Hum", build="hum:Hum", config="hum:HumConfig", summary="Hums.")])
    Traceback (most recent call last):
    synthkit.errors.PluginError: the name of the vocoder 'Hum' must be lower-case letters and digits, words joined by hyphens
    """
    seen = set()
    for offer in offers:
        what = f"the {noun(offer.kind)} {offer.name!r}"
        if offer.kind not in KINDS:
            raise PluginError(
                f"{offer.name!r} is of the unknown kind {offer.kind!r}; {nearest(str(offer.kind), KINDS)}"
            )
        _check_name(what, offer.name)
        _check_targets(what, {"build": offer.build, "config": offer.config})
        _check_summary(what, offer.summary)
        if offer.objective is not None and offer.kind not in LEARNING:
            raise PluginError(f"{what} names an objective, but only a vocoder, a model or a converter learns")
        if offer.imports is not None:
            _check_targets(what, {"imports": offer.imports})
            if offer.kind not in LEARNING:
                raise PluginError(
                    f"{what} names an importer, but only a vocoder, a model or a converter has weights to take"
                )
        for text in (offer.objective, offer.extra):
            if text is not None and not isinstance(text, str):
                raise PluginError(f"the objective and the extra of {what} must be names or None, not {text!r:.80}")
        if (offer.kind, offer.name) in seen:
            raise PluginError(f"{what} is offered twice")
        seen.add((offer.kind, offer.name))


def check_commands(commands: Iterable[Command]) -> None:
    """Check what a plugin's `synthkit_commands` returned. Raises `PluginError` for the first thing that is wrong."""
    seen = set()
    for command in commands:
        what = f"the command {command.name!r}"
        _check_name(what, command.name)
        _check_targets(what, {"load": command.load})
        _check_summary(what, command.summary)
        if command.name in seen:
            raise PluginError(f"{what} is declared twice")
        seen.add(command.name)


def noun(kind: str) -> str:
    """What a component of this kind is called in a sentence.

    >>> noun("features"), noun("vocoder")
    ('feature extractor', 'vocoder')
    """
    return "feature extractor" if kind == "features" else kind


def part_arguments(kind: str, spec: FeatureSpec, labels: tuple[str, ...]) -> tuple[Any, ...]:
    """What a vocoder, a model or a converter is built with after its settings."""
    return (spec, labels) if kind in LABELLED else (spec,)


def config_base(kind: Kind) -> type[Config]:
    """The base class of the settings of a kind's components."""
    from synthkit.config import Config, ConverterConfig, FeaturesConfig, PartConfig

    if kind == "features":
        return FeaturesConfig
    if kind == "converter":
        return ConverterConfig
    return PartConfig if kind in LEARNING else Config


def import_target(target: str) -> object:
    """The thing that `"module:attribute"` names, or `"module"`.

    Whatever importing the module raises goes through. Raises `PluginError` where the module has no such attribute.
    """
    module, _, path = target.partition(":")
    found: object = importlib.import_module(module)
    for part in path.split(".") if path else ():
        try:
            found = getattr(found, part)
        except AttributeError:
            classes = [name for name, value in vars(found).items() if inspect.isclass(value)]
            raise PluginError(f"{target!r} is not there: no {part!r} in {module!r}; {nearest(part, classes)}") from None
    return found


def import_class(target: str, base: type) -> type:
    """The class that `"module:Class"` names. Raises `PluginError` where it is not a complete subclass of `base`.

    >>> import_class("synthkit.config:Config", base=interfaces.Vocoder)
    Traceback (most recent call last):
    synthkit.errors.PluginError: 'synthkit.config:Config' is not a subclass of synthkit.interfaces.Vocoder
    """
    found = import_target(target)
    if not (inspect.isclass(found) and issubclass(found, base)):
        raise PluginError(f"{target!r} is not a subclass of {base.__module__}.{base.__name__}")
    if inspect.isabstract(found):
        missing = ", ".join(sorted(getattr(found, "__abstractmethods__", ())))
        raise PluginError(f"{target!r} is incomplete: it does not define {missing}")
    return found


def _check_name(what: str, name: str) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise PluginError(f"the name of {what} must be lower-case letters and digits, words joined by hyphens")


def _check_targets(what: str, targets: Mapping[str, str]) -> None:
    for field, target in targets.items():
        if not isinstance(target, str) or not _TARGET.fullmatch(target):
            raise PluginError(f"{field} of {what} must be a string like 'package.module:Class', not {target!r:.80}")


def _check_summary(what: str, summary: str) -> None:
    if not isinstance(summary, str) or not summary.strip() or "\n" in summary:
        raise PluginError(f"the summary of {what} must be one line of text")
