"""Judge a converter: convert clips that it has not learned from, and measure them beside what they were and what they should be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
import torch

from synthkit._catalog import Catalog
from synthkit._data.prepared import Prepared
from synthkit._recipe.model import Block
from synthkit._run.reporter import Reporter
from synthkit._run.seeds import derive_seed
from synthkit._stages.conversion import convert
from synthkit._stages.converted.findings import Column, Conversion, Example
from synthkit._stages.converted.measure import Heard, measure
from synthkit._stages.generation.judge import learned_embedding
from synthkit._stages.generation.real import Crop, at_one_level, crops, evenly, levelled
from synthkit._stages.generation.stage import LEARNED
from synthkit._stages.synthesis import Features, SpecFeatures, extract, resynthesise
from synthkit.audio import Audio
from synthkit.errors import DatasetError
from synthkit.interfaces import Converter, Vocoder

Spoken = Callable[[str], None]
"""Is told of each sound that a vocoder has made."""
_EXAMPLES = 6


@dataclass(frozen=True, kw_only=True)
class ConverterCase:
    """What is to be judged, and by what."""

    name: str
    """Of the converter."""
    converter: Converter
    voices: tuple[tuple[str, Vocoder], ...]
    """Vocoders with their names; each makes all clips heard."""
    prepared: Prepared
    """The real clips."""
    embedding: Block
    count: int
    """Crops that are converted, at most."""
    seconds: float
    """Length of a crop."""
    strength: float = 1.0
    seed: int = 0

    @property
    def samples(self) -> int:
        """Length of a crop at the converter's rate."""
        spec = self.converter.spec
        return spec.samples(max(1, round(self.seconds * spec.frames_per_second)))


def judge_converter(case: ConverterCase, catalog: Catalog, reporter: Reporter) -> Conversion:
    """Convert and measure.

    Raises:
        ConfigError: a strength that no converter has, or labels that the embedding cannot tell apart.
        DatasetError: there are no clips of one of the labels that could be used, or their sound is gone.
        SpecMismatch: a vocoder cannot take the converter's features.
    """
    converter, prepared = case.converter, case.prepared
    labels = (converter.source, converter.target)
    learned = crops(prepared, ["train"], case.samples, LEARNED, of=labels)
    source, target = (crops(prepared, ["validation", "test"], case.samples, case.count, of=(it,)) for it in labels)
    for name, held in zip(labels, (source, target), strict=True):
        if not held or not any(crop.label == name for crop in learned):
            raise DatasetError(
                f"clips of {name!r} are needed in the train split, to learn what they sound like, and in validation or test, to judge by"
            )
    embedding = learned_embedding(case.embedding, converter.spec, at_one_level(learned), catalog, reporter)
    with reporter.task("convert", len(case.voices) * 2 * (len(source) + len(target))) as task:
        done = count(1)
        sets = list(_sets(case, source, target, lambda name: task.update(next(done), name)))
    return Conversion(
        converter=case.name,
        source=converter.source,
        target=converter.target,
        embedding=case.embedding.offered.offer.name,
        seconds=case.samples / converter.spec.sample_rate,
        strength=case.strength,
        converted=len(source),
        clips=len({crop.clip for crop in source}),
        columns=tuple(it.column for it in sets),
        rows=measure(sets, source, target, converter, embedding),
        examples=_examples(source, sets),
    )


def _sets(case: ConverterCase, source: Sequence[Crop], target: Sequence[Crop], spoken: Spoken) -> Iterator[Heard]:
    """What is measured: converted by each vocoder, the vocoders alone, the source, and clips of the target."""
    extractor = SpecFeatures(case.converter.spec)
    given, own = ([extract(extractor, crop.sound) for crop in some] for some in (source, target))
    made, stayed = ([_converted(case, features, number) for number, features in enumerate(it)] for it in (given, own))
    for name, vocoder in case.voices:
        sounds, kept = (_spoken(case, name, vocoder, pieces, spoken) for pieces in (made, stayed))
        yield Heard(Column(name=f"converted, {name}", role="converted"), sounds, kept, made)
    for name, vocoder in case.voices:
        sounds, kept = (_spoken(case, name, vocoder, pieces, spoken) for pieces in (given, own))
        features = [extract(extractor, sound) for sound in sounds]
        yield Heard(Column(name=f"source, {name}", role="vocoded"), sounds, kept, features)
    yield Heard(
        Column(name="source", role="source"), [crop.sound for crop in source], [crop.sound for crop in target], given
    )
    yield _strangers(case, source, target, own)


def _strangers(case: ConverterCase, source: Sequence[Crop], target: Sequence[Crop], own: Sequence[Features]) -> Heard:
    """For each crop one of another clip of the target, which has nothing to do with it."""
    random = np.random.default_rng(case.seed)
    order = random.permutation(len(target))
    chosen = [int(order[number % len(order)]) for number in range(len(source))]
    apart = [[other.sound for other in target if other.clip != crop.clip] for crop in target]
    return Heard(
        Column(name=f"random {case.converter.target}", role="target"),
        [target[number].sound for number in chosen],
        [others[random.integers(len(others))] if others else None for others in apart],
        [own[number] for number in chosen],
    )


def _converted(case: ConverterCase, features: Features, number: int) -> Features:
    random = torch.Generator(device=case.converter.device).manual_seed(derive_seed(case.seed, "convert", number))
    return convert(case.converter, features, strength=case.strength, random=random)


def _spoken(
    case: ConverterCase, name: str, vocoder: Vocoder, pieces: Sequence[Features], spoken: Spoken
) -> list[Audio]:
    """The pieces as sounds at the converter's rate, each as long as a crop."""
    sounds = []
    for number, features in enumerate(pieces):
        random = torch.Generator(device=vocoder.device).manual_seed(derive_seed(case.seed, name, number))
        sound = resynthesise(vocoder, features, random=random).resample(case.converter.spec.sample_rate)
        samples = sound.samples[:, : case.samples]
        missing = case.samples - samples.shape[1]
        sounds.append(Audio(np.pad(samples, ((0, 0), (0, missing))), sound.sample_rate))
        spoken(name)
    return sounds


def _examples(source: Sequence[Crop], sets: Sequence[Heard]) -> tuple[Example, ...]:
    """A few clips as they were, converted by the first vocoder, and beside each a clip of the target; all equally loud."""
    made, target = sets[0], sets[-1]
    return tuple(
        Example(
            name=source[number].clip,
            source=levelled(source[number].sound),
            converted=levelled(made.sounds[number]),
            target=levelled(target.sounds[number]),
        )
        for number in evenly(range(len(source)), _EXAMPLES)
    )
