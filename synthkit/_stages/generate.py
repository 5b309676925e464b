"""The generate stage: clips for the ear. A vocoder makes real clips again from their features; a model makes new ones."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from synthkit import __version__
from synthkit._catalog import Catalog
from synthkit._data.prepared import Entry, Prepared
from synthkit._recipe.model import Block, Recipe
from synthkit._run.checkpoint import load_component
from synthkit._run.damage import best_good
from synthkit._run.device import pick_device
from synthkit._run.folder import RunFolder
from synthkit._run.reporter import Reporter
from synthkit._run.seeds import derive_seed
from synthkit._stages.loading import fresh_part, named_vocoder, part_from, part_of, require_ready
from synthkit._stages.synthesis import Features, extract, resynthesise
from synthkit.audio import Audio
from synthkit.errors import ConfigError, RunError, nearest
from synthkit.interfaces import Component, GenerativeModel, Request, Split, Vocoder
from synthkit.specs import FeatureSpec
from synthkit.storage import write_json
from synthkit.training.engine import seeded


@dataclass(frozen=True, kw_only=True)
class Voice:
    """A vocoder with the name it has in the report, and its role there: `vocoder` or `compare`."""

    name: str
    role: str
    vocoder: Vocoder


@dataclass(frozen=True, kw_only=True)
class Item:
    """One clip to make: features, and the original where they came from one."""

    id: str
    label: str | None
    licence: str
    seed: int
    features: Features
    original: Audio | None = None
    credit: str = ""


def generate(recipe: Recipe, run: RunFolder, catalog: Catalog, reporter: Reporter) -> None:
    """Make the recipe's clips with every voice and write them with their index."""
    prepared = Prepared.open(run.data_file)
    device = pick_device(next((training.settings.device for training in recipe.train), "auto"))
    parts = Parts(recipe, run, catalog, prepared.labels, device, reporter)
    voices = _voices(parts)
    model = None if recipe.model is None else parts.trained(recipe.model)
    if model is None:
        items = list(_copies(recipe, prepared, catalog, reporter))
    else:
        assert isinstance(model, GenerativeModel)
        items = list(_new_clips(recipe, model, str(prepared.dataset.get("licence", "")), reporter))
    rows = []
    with reporter.task("generate", len(items) * max(1, len(voices))) as task:
        for number, item in enumerate(items):
            rows.append(_make(number, item, voices, run, recipe.name))
            task.update((number + 1) * max(1, len(voices)), item.id)
    write_json(
        run.generated_index, {"sample_rate": recipe.spec.sample_rate, "spec": recipe.spec.to_dict(), "items": rows}
    )
    reporter.say(f"generate: {len(rows)} clips in {str(run.generated)!r}")


@dataclass(frozen=True)
class Parts:
    """The parts of a recipe, ready to use."""

    recipe: Recipe
    run: RunFolder
    catalog: Catalog
    labels: tuple[str, ...]
    device: torch.device
    reporter: Reporter

    def trained(self, block: Block) -> Component:
        """A part with the run's own weights, those of its `from:` run, or as it is where it learns nothing."""
        part = part_of(block)
        if any(training.settings.part == part for training in self.recipe.train):
            folder = best_good(self.run, part, self.reporter.warn)
            if folder is None:
                raise RunError(f"{str(self.run.path)!r} has no checkpoint of the {part}: run the train stage first")
            return load_component(folder, self.catalog, self.device)[0]
        return self.beside(block, derive_seed(self.recipe.seed, "weights", part))

    def beside(self, block: Block, seed: int = 0) -> Component:
        """A part that is not trained here; what it draws at first follows from `seed`."""
        if block.origin is not None:
            return part_from(block, block.origin, self.catalog, self.device, say=self.reporter.warn)
        if block.offered.offer.objective is not None:
            raise RunError(
                f"{block.offered.offer.name!r} has no weights: add a `train:` block for it, or take it `from:` a run"
            )
        with seeded(seed):
            component = fresh_part(block, self.recipe.spec, self.labels, self.catalog)
        component.to(self.device)
        return component


def _voices(parts: Parts) -> list[Voice]:
    blocks = [(block, "compare") for block in parts.recipe.compare]
    if parts.recipe.vocoder is not None:
        blocks.append((parts.recipe.vocoder, "vocoder"))
    voices: list[Voice] = []
    for block, role in blocks:
        part = parts.trained(block) if role == "vocoder" else parts.beside(block)
        assert isinstance(part, Vocoder)
        name = block.offered.offer.name
        same = sum(voice.name.partition(" ")[0] == name for voice in voices)
        voices.append(Voice(name=f"{name} {same + 1}" if same else name, role=role, vocoder=part))
    return voices


def _copies(recipe: Recipe, prepared: Prepared, catalog: Catalog, reporter: Reporter) -> Iterator[Item]:
    extractor = catalog.build(recipe.features.offered, recipe.features.config)
    entries = _some(prepared, recipe.generate.source, recipe.generate.count, reporter)
    for number, entry in enumerate(entries):
        wanted = round(recipe.generate.seconds * prepared.sample_rate)
        start = max(0, (entry.frames - wanted) // 2)
        audio = Audio(prepared.read(entry, start, min(wanted, entry.frames))[None], prepared.sample_rate)
        yield Item(
            id=entry.id,
            label=entry.label,
            licence=entry.licence,
            credit=entry.credit,
            seed=derive_seed(recipe.seed, "generate", number),
            features=extract(extractor, audio),
            original=audio,
        )


def _some(prepared: Prepared, split: Split, count: int, reporter: Reporter) -> Sequence[Entry]:
    """Clips spread evenly over the split, so that every label is likely to be heard."""
    entries = prepared.entries(split)
    if not entries:
        reporter.warn(f"the {split} split is empty: clips of the train split are used")
        entries = prepared.entries("train")
    if count > len(entries):
        reporter.say(f"the {split} split has {len(entries)} clips, {count} were asked for")
        count = len(entries)
    return [entries[index * len(entries) // count] for index in range(count)]


def _new_clips(recipe: Recipe, model: GenerativeModel, licence: str, reporter: Reporter) -> Iterator[Item]:
    wanted = recipe.generate
    labels = choose_labels(model, (), wanted.count)
    seeds = tuple(derive_seed(recipe.seed, "generate", number) for number in range(wanted.count))
    yield from new_items(model, labels, seeds, wanted.seconds, wanted.temperature, licence, reporter)


def new_items(
    model: GenerativeModel,
    labels: tuple[str, ...] | None,
    seeds: tuple[int, ...],
    seconds: float,
    temperature: float,
    licence: str,
    reporter: Reporter,
) -> list[Item]:
    """New features from a model, one item per seed."""
    frames = max(1, round(seconds * model.spec.frames_per_second))
    request = Request(frames=frames, count=len(seeds), labels=labels, temperature=temperature, seeds=seeds)
    with reporter.task("model", len(seeds)) as task:
        values = model.generate(
            request,
            random=torch.Generator(device=model.device).manual_seed(seeds[0]),
            progress=lambda done, total: task.update(done * len(seeds) // max(1, total)),
        ).cpu()
    if tuple(values.shape) != (len(seeds), model.spec.n_mels, frames):
        raise ConfigError(
            f"the model gave features of shape {list(values.shape)} instead of {[len(seeds), model.spec.n_mels, frames]}"
        )
    return [
        Item(
            id=f"seed-{seed}",
            label=None if labels is None else labels[number],
            licence=licence,
            seed=seed,
            features=Features(values[number : number + 1], model.spec, model.spec.samples(frames)),
        )
        for number, seed in enumerate(seeds)
    ]


def _make(number: int, item: Item, voices: Sequence[Voice], run: RunFolder, recipe: str) -> dict[str, Any]:
    versions = []
    if item.original is not None:
        versions.append(_write(item, "original", "reference", item.original, 0.0, run, number, recipe))
    for voice in voices:
        began = time.perf_counter()
        made = speak(voice.vocoder, item)
        versions.append(_write(item, voice.name, voice.role, made, time.perf_counter() - began, run, number, recipe))
    return {
        "id": item.id,
        "title": Path(item.id).stem if item.original is not None else f"{item.label or 'clip'} {number + 1}",
        "label": item.label,
        "licence": item.licence,
        "credit": item.credit,
        "kind": "generated" if item.original is None else "copy",
        "seed": item.seed,
        "versions": versions,
    }


def speak(vocoder: Vocoder, item: Item) -> Audio:
    """The item's sound, from its own seed."""
    return resynthesise(vocoder, item.features, random=torch.Generator(device=vocoder.device).manual_seed(item.seed))


def _write(
    item: Item, name: str, role: str, audio: Audio, elapsed: float, run: RunFolder, number: int, recipe: str
) -> dict[str, Any]:
    file = run.generated / f"{number:02d}-{safe_name(name)}.wav"
    file.parent.mkdir(parents=True, exist_ok=True)
    clipped = audio.write(file, metadata=metadata(item, name, recipe))
    relative = file.relative_to(run.path).as_posix()
    return {"name": name, "role": role, "file": relative, "elapsed": elapsed, "clipped": clipped}


def metadata(item: Item, maker: str, recipe: str) -> Mapping[str, str]:
    """What a file says of itself: what made it, from what, with which seed, under which licence."""
    label = f", label {item.label}" if item.label else ""
    return {
        "title": item.id,
        "comment": f"{maker}{label}, seed {item.seed}, recipe {recipe}",
        "artist": item.credit,
        "copyright": item.licence,
        "software": f"synthkit {__version__}",
    }


def plain_vocoder(name: str | None, spec: FeatureSpec, catalog: Catalog) -> Vocoder:
    """A vocoder that needs no training, by name or the first there is, for features of `spec`.

    Raises `ConfigError` for one that has to be trained or cannot take such features, `UnknownName` for a name nobody offers.
    """
    if name is None:
        plain = [offered for offered in catalog.offers("vocoder") if offered.offer.objective is None]
        if not plain:
            raise ConfigError("no installed vocoder works without training: name a run that trained one with --vocoder")
        name = plain[0].full_name
    require_ready(name, catalog)
    return named_vocoder(name, spec, catalog)


def choose_labels(model: GenerativeModel, wanted: Sequence[str], count: int) -> tuple[str, ...] | None:
    """The labels of `count` items: the wanted ones in turn, or all that the model knows; None for one without labels.

    Raises `ConfigError` for a label that the model does not know.
    """
    if not model.labels:
        if wanted:
            raise ConfigError(f"the model was trained without labels, so {wanted[0]!r} cannot be asked for")
        return None
    for label in wanted:
        if label not in model.labels:
            raise ConfigError(f"the model knows no label {label!r}; {nearest(label, model.labels)}")
    choice = tuple(wanted) or model.labels
    return tuple(choice[number % len(choice)] for number in range(count))


def safe_name(text: str) -> str:
    """A text as part of a file name.

    >>> safe_name("my/vocoder (compare)")
    'my-vocoder-compare'
    """
    words = "".join(character if character.isalnum() or character in "._" else " " for character in text).split()
    return "-".join(words)
