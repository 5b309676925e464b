"""Judge a model: make clips, gather real ones, measure both, and say what is found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from synthkit._catalog import Catalog
from synthkit._data.prepared import Prepared
from synthkit._recipe.model import Block
from synthkit._run.reporter import Reporter
from synthkit._run.seeds import derive_seed
from synthkit._stages.asking import BATCH, Item, Wish, new_items
from synthkit._stages.generation.judge import learned_embedding, points_of
from synthkit._stages.generation.judgement import Column, Duplicate, Example, Judgement, LabelFinding
from synthkit._stages.generation.measure import Measured, label_findings, measure
from synthkit._stages.generation.real import Crop, at_one_level, crops, evenly, levelled, noise, whole_clips
from synthkit._stages.generation.search import Listener, duplicates, stacked, usual_distances
from synthkit._stages.synthesis import SpecFeatures, extract, resynthesise
from synthkit.audio import Audio
from synthkit.errors import DatasetError
from synthkit.interfaces import Embedding, GenerativeModel, Vocoder

LEARNED = 512
"""Most crops of the training split that an embedding learns from."""
SEARCHED_SECONDS = 7200.0
"""Most seconds of training clips that are searched for pieces that a model repeats."""
_EXAMPLES = 3
_LABELS_SHOWN = 12
REAL, NOISE = "real clips (floor)", "noise (ceiling)"


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is to be judged, and by what."""

    name: str
    """Of the model."""
    model: GenerativeModel
    voices: tuple[tuple[str, Vocoder], ...]
    """Vocoders with their names; each makes all clips heard."""
    prepared: Prepared
    """The real clips."""
    embedding: Block
    count: int
    seconds: float
    seed: int = 0
    temperature: float = 1.0
    texts: tuple[str, ...] = ()
    """What a model that speaks is to say, in turn."""
    batch: int = BATCH

    def kinds(self, labels: Sequence[str | None]) -> list[str]:
        """The labels; for a model that knows none, all clips are of one kind."""
        return [label or "" for label in labels] if self.model.labels else [""] * len(labels)


def judge(case: Case, catalog: Catalog, reporter: Reporter) -> Judgement:
    """Make the clips and measure them.

    Raises:
        ConfigError: the model cannot make such clips, or there is nothing that an embedding could tell apart.
        DatasetError: there are no real clips, or their sound is gone.
        SpecMismatch: a vocoder cannot take the model's features.
        PluginError: the embedding breaks its word.
    """
    items = _new(case, reporter)
    samples = items[0].features.samples
    learned = at_one_level(crops(case.prepared, ["train"], samples, LEARNED))
    held = at_one_level(crops(case.prepared, ["validation", "test"], samples, 2 * case.count))
    if not learned or not held:
        raise DatasetError(
            "a model is judged by real clips: there must be some to learn from, and some in validation or test"
        )
    embedding = learned_embedding(case.embedding, case.model.spec, learned, catalog, reporter)
    sounds = _sounds(case, items, held, reporter)
    sets = [_measured(case, embedding, column, heard, items, held) for column, heard in sounds]
    rows, compared = measure(sets, case.seed)
    repeats = _Repeats(case, items, learned, held)
    return Judgement(
        model=case.name,
        embedding=case.embedding.offered.offer.name,
        seconds=samples / case.model.spec.sample_rate,
        made=len(items),
        real=len(held),
        compared=compared,
        searched=(len(repeats.entries), len(case.prepared.entries("train"))),
        columns=tuple(it.column for it in sets),
        rows=rows,
        labels=repeats.labels(sets[0].told),
        duplicates=repeats.duplicates(reporter),
        silent=repeats.silent,
        examples=_examples(case, items, sounds[0][1], held),
    )


class _Repeats:
    """Clips that are there already: in the training, or among the new ones themselves."""

    def __init__(self, case: Case, items: Sequence[Item], learned: Sequence[Crop], held: Sequence[Crop]) -> None:
        self._case, self._items, self._learned, self._held = case, items, learned, held
        self._listener = Listener(case.model.spec)
        self._new = [self._listener.of_features(item.features.values[0]) for item in items]
        self._names = [title(item, number) for number, item in enumerate(items, 1)]
        heard = self._listener.silent(
            [item.features.values[0] for item in items], [crop.sound.samples[0] for crop in held]
        )
        self.silent = tuple(name for name, nothing in zip(self._names, heard, strict=True) if nothing)
        self.entries = whole_clips(case.prepared, SEARCHED_SECONDS)

    def labels(self, told: Sequence[str] | None) -> tuple[LabelFinding, ...]:
        """How many different clips there are of each label."""
        learned = stacked([self._listener.of_sound(crop.sound.samples[0]) for crop in self._learned])
        names = [crop.clip for crop in self._learned]
        usual = usual_distances(names, self._case.kinds([crop.label for crop in self._learned]), learned)
        return tuple(label_findings(self._kinds, told, stacked(self._new), usual))

    def duplicates(self, reporter: Reporter) -> tuple[Duplicate, ...]:
        """New clips that are pieces of training clips."""
        pieces = stacked([*self._new, *(self._listener.of_sound(crop.sound.samples[0]) for crop in self._held)])
        found = self._listener.nearest(pieces, self._case.prepared, self.entries, reporter)
        split = len(self._items)
        real = self._case.kinds([crop.label for crop in self._held])
        named = duplicates(self._names, self._kinds, found.part(0, split), found.part(split, len(pieces)), real)
        return tuple(it for it in named if it.clip not in self.silent)

    @property
    def _kinds(self) -> list[str]:
        return self._case.kinds([item.label for item in self._items])


def _new(case: Case, reporter: Reporter) -> list[Item]:
    """The clips of the model; other ones than those of the generate stage."""
    seeds = tuple(derive_seed(case.seed, "evaluate", number) for number in range(case.count))
    wish = Wish(seconds=case.seconds, seeds=seeds, temperature=case.temperature, texts=case.texts, batch=case.batch)
    return new_items(case.model, wish, "", reporter)


def _sounds(
    case: Case, items: Sequence[Item], held: Sequence[Crop], reporter: Reporter
) -> list[tuple[Column, list[Audio]]]:
    """Every set of sounds, those that the model made first."""
    rate, samples = case.model.spec.sample_rate, items[0].features.samples
    extractor = SpecFeatures(case.model.spec)
    made: list[tuple[Column, list[Audio]]] = []
    copies: list[tuple[Column, list[Audio]]] = []
    with reporter.task("vocode", len(case.voices) * (len(items) + len(held))) as progress:
        done = 0
        for name, vocoder in case.voices:
            columns = (Column(name=f"new clips, {name}", role="made"), Column(name=f"real clips, {name}", role="copy"))
            features = ([item.features for item in items], [extract(extractor, crop.sound) for crop in held])
            for column, pieces, kept in zip(columns, features, (made, copies), strict=True):
                heard = []
                for number, piece in enumerate(pieces):
                    random = torch.Generator(device=vocoder.device).manual_seed(derive_seed(case.seed, name, number))
                    heard.append(levelled(resynthesise(vocoder, piece, random=random).resample(rate)))
                    done += 1
                    progress.update(done, column.name)
                kept.append((column, heard))
    real = (Column(name=REAL, role="real"), [crop.sound for crop in held])
    empty = (Column(name=NOISE, role="noise"), noise(len(held), samples, rate, case.seed))
    return [*made, *copies, real, empty]


def _measured(
    case: Case,
    embedding: Embedding,
    column: Column,
    sounds: Sequence[Audio],
    items: Sequence[Item],
    held: Sequence[Crop],
) -> Measured:
    is_new = column.role == "made"
    labels = [item.label for item in items] if is_new else [crop.label for crop in held]
    return Measured(
        column=column,
        points=points_of(embedding, sounds),
        labels=tuple(case.kinds(labels)),
        clips=tuple(item.id for item in items) if is_new else tuple(crop.clip for crop in held),
        told=embedding.classify(sounds) if case.model.labels else None,
    )


def title(item: Item, number: int) -> str:
    """What a new clip is called."""
    return f"{item.label or 'clip'} {number}"


def _examples(case: Case, items: Sequence[Item], heard: Sequence[Audio], held: Sequence[Crop]) -> tuple[Example, ...]:
    """A few clips of each label."""
    kinds, real_kinds = case.kinds([item.label for item in items]), case.kinds([crop.label for crop in held])
    named = [(title(item, number), sound) for number, (item, sound) in enumerate(zip(items, heard, strict=True), 1)]
    examples = []
    for label in evenly(list(dict.fromkeys(kinds)), _LABELS_SHOWN):
        made = [one for one, kind in zip(named, kinds, strict=True) if kind == label]
        real = [(crop.clip, crop.sound) for crop, kind in zip(held, real_kinds, strict=True) if kind == label]
        shown = (tuple(evenly(made, _EXAMPLES)), tuple(evenly(real, _EXAMPLES)))
        examples.append(Example(label=label, made=shown[0], real=shown[1]))
    return tuple(examples)
