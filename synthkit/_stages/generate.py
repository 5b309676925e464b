"""The generate stage: clips for the ear. A vocoder makes real clips again from their features, a converter turns them into others,
and a model makes new ones."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from synthkit import __version__
from synthkit._catalog import Catalog
from synthkit._data.prepared import Entry, Prepared
from synthkit._recipe.model import Block, Recipe
from synthkit._run.damage import Say, best_good
from synthkit._run.device import pick_device
from synthkit._run.folder import RunFolder
from synthkit._run.reporter import Reporter
from synthkit._run.seeds import derive_seed
from synthkit._stages.asking import Item, Real, Wish, new_items, require_label
from synthkit._stages.conversion import convert
from synthkit._stages.loading import fresh_part, load_for_use, load_vocoder, named_vocoder, part_from, require_ready
from synthkit._stages.synthesis import extract, resynthesise
from synthkit.audio import Audio
from synthkit.config import ConverterConfig
from synthkit.errors import ConfigError, RunError, nearest
from synthkit.interfaces import Component, Converter, FeatureExtractor, GenerativeModel, Split, Vocoder
from synthkit.specs import FeatureSpec, conversion
from synthkit.storage import write_json
from synthkit.training.engine import seeded


@dataclass(frozen=True, kw_only=True)
class Voice:
    """A vocoder with the name it has in the report, and its role there: `vocoder` or `compare`."""

    name: str
    role: str
    vocoder: Vocoder


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a clip was made, for its metadata."""

    recipe: str
    run: str
    model: str = ""
    """Name of the model or converter that made its features."""


def generate(recipe: Recipe, run: RunFolder, catalog: Catalog, reporter: Reporter) -> None:
    """Make the recipe's clips with every voice and write them with their index: new or converted ones first, then copies of real ones."""
    prepared = Prepared.open(run.data_file)
    device = pick_device(next((training.settings.device for training in recipe.train), "auto"))
    parts = Parts(recipe, run, catalog, prepared.labels, device, reporter)
    voices = _voices(parts)
    items = [] if recipe.model is None else list(_new_clips(parts, recipe.model, prepared))
    if recipe.converter is not None:
        items += _conversions(parts, recipe.converter, prepared)
    if recipe.copies:
        items += _copies(recipe, prepared, catalog, reporter)
    maker = recipe.model or recipe.converter
    source = Source(
        recipe=recipe.name, run=run.path.resolve().name, model="" if maker is None else maker.offered.offer.name
    )
    rows = []
    with reporter.task("generate", len(items) * max(1, len(voices))) as task:
        for number, item in enumerate(items):
            rows.append(_make(number, item, voices, run, source))
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
        part = block.part
        if any(training.settings.part == part for training in self.recipe.train):
            folder = best_good(self.run, part, self.reporter.warn)
            if folder is None:
                raise RunError(f"{str(self.run.path)!r} has no checkpoint of the {part}: run the train stage first")
            return load_for_use(folder, self.catalog, self.device, say=self.reporter.warn)[0]
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
    entries = _some(prepared, recipe.generate.source, recipe.copies, reporter)
    if len(entries) < recipe.copies:
        reporter.say(f"the {recipe.generate.source} split has {len(entries)} clips, {recipe.copies} were asked for")
    for number, entry in enumerate(entries):
        yield _copy(recipe, prepared, extractor, entry, derive_seed(recipe.seed, "generate", number))


def _copy(recipe: Recipe, prepared: Prepared, extractor: FeatureExtractor, entry: Entry, seed: int) -> Item:
    """The middle of a real clip, no longer than clips shall be."""
    wanted = round(recipe.generate.seconds * prepared.sample_rate)
    start = max(0, (entry.frames - wanted) // 2)
    audio = Audio(prepared.read(entry, start, min(wanted, entry.frames))[None], prepared.sample_rate)
    return Item(
        id=entry.id,
        label=entry.label,
        licence=entry.licence,
        credit=entry.credit,
        seed=seed,
        features=extract(extractor, audio),
        original=audio,
    )


def _conversions(parts: Parts, block: Block, prepared: Prepared) -> Iterator[Item]:
    """Clips of the label that the recipe's converter converts, with what it makes of them."""
    recipe, wanted = parts.recipe, parts.recipe.generate
    converter = parts.trained(block)
    assert isinstance(converter, Converter)
    extractor = parts.catalog.build(recipe.features.offered, recipe.features.config)
    entries = _some(prepared, wanted.source, wanted.count, parts.reporter, label=converter.source)
    for number, entry in enumerate(entries):
        seed = derive_seed(recipe.seed, "generate", number)
        item = _copy(recipe, prepared, extractor, entry, seed)
        random = torch.Generator(device=converter.device).manual_seed(seed)
        features = convert(converter, item.features, strength=wanted.strength, random=random)
        made = replace(item, label=converter.target, features=features, original=None, strength=wanted.strength)
        yield replace(item, converted=made)


def _some(
    prepared: Prepared, split: Split, count: int, reporter: Reporter, least: float = 0.0, label: str | None = None
) -> Sequence[Entry]:
    """At most `count` clips of at least so many seconds, spread evenly over the split: every label is likely to be heard.

    With a `label` only clips of it.
    """
    entries = tuple(entry for entry in prepared.entries(split) if label in (None, entry.label))
    if not entries:
        lacks = "is empty" if label is None else f"has no clip of the label {label!r}"
        reporter.warn(f"the {split} split {lacks}: clips of the train split are used")
        entries = tuple(entry for entry in prepared.entries("train") if label in (None, entry.label))
    if not entries and label is not None:
        raise ConfigError(f"there is no clip of the label {label!r} to convert")
    entries = tuple(entry for entry in entries if entry.frames >= least * prepared.sample_rate)
    if not entries:
        raise ConfigError(f"no clip of the {split} split lasts {least:g} s, as `generate.continue.seconds` asks")
    count = min(count, len(entries))
    return [entries[index * len(entries) // count] for index in range(count)]


def _new_clips(parts: Parts, block: Block, prepared: Prepared) -> Iterator[Item]:
    """What the recipe's model makes."""
    recipe, wanted = parts.recipe, parts.recipe.generate
    model = parts.trained(block)
    assert isinstance(model, GenerativeModel)
    goes_on = _real(parts, prepared, wanted.continues.source, wanted.continues.seconds) if wanted.continues else ()
    like = _real(parts, prepared, wanted.like.source) if wanted.like else ()
    own = tuple(real.label for real in goes_on or like if real.label in model.labels)  # a clip goes on as what it is
    labels = wanted.labels or (own if len(own) == len(goes_on or like) else ())
    ends = wanted.blend
    seeds = tuple(derive_seed(recipe.seed, "generate", number) for number in range(wanted.count))
    wish = Wish(
        seconds=wanted.seconds,
        seeds=seeds if ends is None or ends.seeds is None else (ends.seeds[0], *seeds[1:]),
        labels=labels if ends is None or ends.labels is None else ends.labels[:1],
        temperature=wanted.temperature,
        texts=wanted.texts or (),
        to_label=None if ends is None or ends.labels is None else ends.labels[1],
        to_seed=None if ends is None or ends.seeds is None else ends.seeds[1],
        goes_on=goes_on,
        keep_seconds=None if wanted.continues is None else wanted.continues.seconds,
        like=like,
        batch=wanted.batch,
    )
    yield from new_items(model, wish, str(prepared.dataset.get("licence", "")), parts.reporter)


def _real(parts: Parts, prepared: Prepared, split: Split, least: float = 0.0) -> tuple[Real, ...]:
    """Real clips for the model, each from its beginning and no longer than the new ones."""
    recipe = parts.recipe
    extractor = parts.catalog.build(recipe.features.offered, recipe.features.config)
    longest = round(recipe.generate.seconds * prepared.sample_rate)
    real = []
    for entry in _some(prepared, split, recipe.generate.count, parts.reporter, least):
        audio = Audio(prepared.read(entry, 0, min(longest, entry.frames))[None], prepared.sample_rate)
        real.append(
            Real(
                id=entry.id,
                features=extract(extractor, audio),
                audio=audio,
                licence=entry.licence,
                credit=entry.credit,
                label=entry.label,
            )
        )
    return tuple(real)


def require_labels(recipe: Recipe, known: Sequence[str]) -> None:
    """Raise `ConfigError` where the recipe asks for a label that the data, from which a model or converter is to learn, lacks."""
    wanted = recipe.generate.labels or (recipe.generate.blend and recipe.generate.blend.labels) or ()
    for label in wanted:
        require_label(label, known)
    if recipe.converter is not None and isinstance(recipe.converter.config, ConverterConfig):
        for label in (recipe.converter.config.source, recipe.converter.config.target):
            if label not in known:
                raise ConfigError(f"converter: the data has no label {label!r}; {nearest(label, known)}")


def _make(number: int, item: Item, voices: Sequence[Voice], run: RunFolder, source: Source) -> dict[str, Any]:
    versions = []
    plain = replace(source, model="") if item.original is not None else source
    for name, role, real in (("original", "reference", item.original), ("beginning", "beginning", item.beginning)):
        if real is not None:
            versions.append(_write(item, name, role, real, 0.0, run, number, plain))
    heard = [(item, voice, voice.name, voice.role) for voice in voices]
    if item.converted is not None:
        label = item.converted.label
        heard += [(item.converted, voice, f"{label} by {voice.name}", "converted") for voice in voices]
    for one, voice, name, role in heard:
        began = time.perf_counter()
        made = speak(voice.vocoder, one)
        elapsed, by = time.perf_counter() - began, plain if one.original is not None else source
        versions.append(_write(one, name, role, made, elapsed, run, number, by, voice.name))
    step = item.step
    return {
        "id": item.id,
        "title": item.title if item.original is not None else f"{item.title} {number + 1}",
        "label": item.label,
        "licence": item.licence,
        "credit": item.credit,
        "kind": "generated" if item.original is None else "copy" if item.converted is None else "converted",
        "seed": item.seed,
        "text": item.text,
        "continues": {"clip": item.goes_on, "seconds": item.kept_seconds} if item.goes_on else None,
        "like": item.like or None,
        "blend": None if step is None else asdict(step),
        "strength": None if item.converted is None else item.converted.strength,
        "versions": versions,
    }


def speak(vocoder: Vocoder, item: Item) -> Audio:
    """The item's sound, from its own seed."""
    return resynthesise(vocoder, item.features, random=torch.Generator(device=vocoder.device).manual_seed(item.seed))


def _write(
    item: Item,
    name: str,
    role: str,
    audio: Audio,
    elapsed: float,
    run: RunFolder,
    number: int,
    source: Source,
    voice: str = "",
) -> dict[str, Any]:
    file = run.generated / f"{number:02d}-{safe_name(name)}.wav"
    file.parent.mkdir(parents=True, exist_ok=True)
    clipped = audio.write(file, metadata=metadata(item, voice or name, source))
    relative = file.relative_to(run.path).as_posix()
    return {"name": name, "role": role, "file": relative, "elapsed": elapsed, "clipped": clipped}


def metadata(item: Item, voice: str, source: Source) -> Mapping[str, str]:
    """What a file says of itself: what made it, from what, with which seed, under which licence."""
    step = item.step
    facts = [
        " and ".join(filter(None, (source.model, voice))),
        f"label {item.label}" if item.label else "",
        f"converted with strength {item.strength:g}" if item.strength is not None else "",
        f"{step.share:.0%} of the way to {step.label or f'seed {step.seed}'}" if step else "",
        f"seed {item.seed}",
        f"continues {item.kept_seconds:.3g} s of {item.goes_on}" if item.goes_on else "",
        f"like {item.like}" if item.like else "",
        f"text {item.text}" if item.text else "",
        f"recipe {source.recipe}",
        f"run {source.run}",
    ]
    return {
        "title": item.id,
        "comment": ", ".join(filter(None, facts)),
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


def find_voices(
    wanted: Sequence[str], run: RunFolder, maker: GenerativeModel | Converter, catalog: Catalog, *, say: Say
) -> list[Voice]:
    """The vocoders that make heard what a model or converter makes, each for features that its own lead to exactly.

    Args:
        wanted: Runs, or names of vocoders that need no training; empty: the vocoder of `run`, or the first that needs no training.
        run: The run of the model or converter.
        maker: The model or converter.
        catalog: Where vocoders are found.
        say: Is told where a checkpoint is damaged and another is used.

    Raises:
        ConfigError: one has to be trained first, or two have the same name.
        UnknownName: it is neither a run nor a vocoder.
        RunError, CheckpointError: a folder that is no run, or has no vocoder.
        SpecMismatch: its features are others.
    """
    own = (str(run.path),) if run.best("vocoder") else (None,)
    giver = "the converter" if isinstance(maker, Converter) else "the model"
    voices: list[Voice] = []
    for one in wanted or own:
        if one is not None and Path(one).expanduser().is_dir():
            vocoder = load_vocoder(one, catalog, say=say)
            name = Path(one).expanduser().resolve().name
        else:
            vocoder = plain_vocoder(one, maker.spec, catalog)
            name = one or type(vocoder).__name__
        conversion(maker.spec, vocoder.spec, giver=giver, needer=f"the vocoder {one or name!r}")
        if any(voice.name == name for voice in voices):
            raise ConfigError(f"--vocoder: there are two of the name {name!r}")
        vocoder.to(maker.device)
        voices.append(Voice(name=name, role="vocoder", vocoder=vocoder))
    return voices


def safe_name(text: str) -> str:
    """A text as part of a file name.

    >>> safe_name("my/vocoder (compare)")
    'my-vocoder-compare'
    """
    words = "".join(character if character.isalnum() or character in "._" else " " for character in text).split()
    return "-".join(words)
