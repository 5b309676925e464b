"""The vocoders that are held against each other: runs, or vocoders by name that need no training."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from synthkit._catalog import Catalog
from synthkit._recipe.overrides import parse_sets
from synthkit._recipe.yaml import plain
from synthkit._run.checkpoint import load_component
from synthkit._run.damage import Say
from synthkit._stages.loading import find_checkpoint, named_vocoder, require_ready
from synthkit.errors import ConfigError, UnknownName
from synthkit.interfaces import Vocoder
from synthkit.presets import find_preset
from synthkit.specs import FeatureSpec
from synthkit.storage import file_hash, text_hash

ORIGINAL = "original"
"""The name of the recording among the versions of a clip."""
_PRESET = "melgan"
"""The features of a vocoder by name where no run says others."""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One of the vocoders."""

    name: str
    """Unlike that of any other."""
    vocoder: Vocoder
    origin: str
    """The checkpoint folder, or name and settings."""
    identity: str
    """Another one wherever the same features could give other sound: a hash of the weights and settings."""

    @property
    def spec(self) -> FeatureSpec:
        """The features that it works on."""
        return self.vocoder.spec


def load_contenders(
    wanted: Sequence[str], catalog: Catalog, device: torch.device, *, say: Say
) -> tuple[Contender, ...]:
    """The vocoders that a user names.

    Args:
        wanted: Each the folder of a run or checkpoint, or `NAME`, or `NAME:setting=value,setting=value`; of the settings
            `preset` names the features, which else are those of the first run, or `melgan`'s.
        catalog: Where they are found.
        device: Where they compute.
        say: Is told where a checkpoint is damaged and another is used.

    Raises:
        ConfigError: nothing or one vocoder twice is wanted, a wrong setting, or one that has to be trained first.
        UnknownName: it is neither a run nor a vocoder.
        RunError: a folder that is no run.
        CheckpointError: a run without a vocoder, or whose files are damaged.
    """
    if not wanted:
        raise ConfigError(
            "an evaluation needs a vocoder: the folder of a run, or the name of one that needs no training"
        )
    runs = {one: _run(Path(one), catalog, device, say) for one in wanted if _is_folder(one)}
    spec = next((run.spec for run in runs.values()), find_preset(_PRESET).spec)
    loaded = [runs.get(one) or _named(one, spec, catalog, device) for one in wanted]
    twice = [one for one, count in Counter(it.identity for it in loaded).items() if count > 1]
    if twice:
        same = [one for one, it in zip(wanted, loaded, strict=True) if it.identity == twice[0]]
        raise ConfigError(
            f"{' and '.join(map(repr, same))} are the same vocoder: leave one out, or change its settings"
        )
    count = Counter([ORIGINAL, *(it.name for it in loaded)])
    return tuple(it if count[it.name] == 1 else replace(it, name=it.origin) for it in loaded)


def _is_folder(wanted: str) -> bool:
    return Path(wanted).expanduser().is_dir()


def _run(path: Path, catalog: Catalog, device: torch.device, say: Say) -> Contender:
    folder = find_checkpoint(path, "vocoder", say)
    component, meta = load_component(folder, catalog, device)
    assert isinstance(component, Vocoder)
    weights = {name: file_hash(folder / f"{name}.safetensors") for name in component.networks}
    made_of = [weights, meta["config"], meta["spec"]]
    return Contender(
        name=path.expanduser().resolve().name,
        vocoder=component,
        origin=str(folder),
        identity=text_hash(json.dumps(made_of, sort_keys=True)),
    )


def _named(text: str, spec: FeatureSpec, catalog: Catalog, device: torch.device) -> Contender:
    name, _, settings = text.partition(":")
    try:
        require_ready(name, catalog)
    except UnknownName as error:
        raise UnknownName(f"{text!r} is neither the folder of a run nor a vocoder: {error}") from error
    parts = re.split(r",(?=\s*[\w.]+\s*=)", settings) if settings else []
    overrides, problems = parse_sets(parts)
    if problems or not all("=" in part for part in parts):
        raise ConfigError(f"{text!r}: settings are written {name}:name=value,name=value")
    values = {".".join(override.path): plain(override.value) for override in overrides}
    if "preset" in values:
        spec = find_preset(str(values.pop("preset"))).spec
    vocoder = named_vocoder(name, spec, catalog, values)
    vocoder.to(device)
    offered, config = catalog.configure("vocoder", name, values)
    made_of = [offered.full_name, offered.version, config.model_dump(mode="json"), spec.to_dict()]
    return Contender(
        name=" ".join(filter(None, (name, settings))),
        vocoder=vocoder,
        origin=f"{offered.full_name} {offered.version}, {settings or 'with its defaults'}",
        identity=text_hash(json.dumps(made_of, sort_keys=True)),
    )
