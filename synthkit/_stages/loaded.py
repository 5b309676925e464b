"""Components that are ready for whole sounds: what `synthkit.load` and its kin give."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from synthkit._run.device import pick_device
from synthkit._run.reporter import Reporter
from synthkit._stages.asking import BATCH, Real, Wish, new_items, real_clip
from synthkit._stages.conversion import convert
from synthkit._stages.synthesis import Features, SpecFeatures, extract, resynthesise
from synthkit.audio import Audio
from synthkit.interfaces import Converter, FeatureExtractor, GenerativeModel, Progress, Vocoder
from synthkit.specs import FeatureSpec


class LoadedFeatures:
    """A feature extractor for whole sounds."""

    def __init__(self, component: FeatureExtractor) -> None:
        self.component = component

    @property
    def spec(self) -> FeatureSpec:
        """What its features mean."""
        return self.component.spec

    def extract(self, audio: Audio, *, device: str = "cpu") -> Features:
        """Features `[C, M, N]` of a sound of any rate; it is resampled to the spec's. Raises `AudioError`."""
        return extract(self.component, audio, device=pick_device(device))


class LoadedVocoder:
    """A vocoder for whole sounds."""

    def __init__(self, component: Vocoder) -> None:
        self.component = component

    @property
    def spec(self) -> FeatureSpec:
        """The features it needs."""
        return self.component.spec

    def vocode(self, features: Features, *, seed: int = 0, progress: Progress | None = None) -> Audio:
        """The sound of the features: as many channels, and exactly `features.samples` samples.

        Features that differ from `spec` by an exact formula (log base, gain, offset, a higher floor) are converted, which
        the logger `synthkit` tells. The same features, seed and device give the same samples.

        Raises:
            SpecMismatch: where the features differ in another way; lists each field.
        """
        random = torch.Generator(device=self.component.device).manual_seed(seed)
        return resynthesise(self.component, features, random=random, progress=progress)


class LoadedModel:
    """A generative model, and a vocoder that makes its features audible."""

    def __init__(self, component: GenerativeModel, vocoder: LoadedVocoder, licence: str = "") -> None:
        self.component, self.vocoder, self.licence = component, vocoder, licence

    @property
    def spec(self) -> FeatureSpec:
        """What the features that it makes mean."""
        return self.component.spec

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels it knows; empty for a model that was trained without."""
        return self.component.labels

    def generate(
        self,
        *,
        seconds: float = 5.0,
        count: int = 1,
        label: str | Sequence[str] | None = None,
        seed: int = 0,
        temperature: float = 1.0,
        to_label: str | None = None,
        to_seed: int | None = None,
        text: str | Sequence[str] | None = None,
        prompt: Audio | Features | None = None,
        like: Audio | Features | None = None,
        batch: int = BATCH,
    ) -> list[Features]:
        """New features, one mono item each.

        Args:
            seconds: Length of each item; rounded to whole frames.
            count: Number of items.
            label: One label for all, or several that are taken in turn; None takes all that the model knows in turn.
            seed: Item i is drawn from `seed + i`, whatever the other items are.
            temperature: 1 samples the model as learned; lower is less varied.
            to_label: The items stand evenly on the way from `label` to this one, all drawn from `seed`.
            to_seed: The items stand evenly on the way from `seed` to this one.
            text: What the items say; several are taken in turn.
            prompt: What every item goes on from: it begins with all of it (the first channel of features, sound as mono).
            like: What every item follows; items are no longer than it is.
            batch: Items that are made at once, as memory allows; they are the same whatever it is.

        Raises:
            ConfigError: for what the model cannot serve; `component.abilities` has what it can.
            SpecMismatch: for features that are not the model's and cannot be converted exactly.
        """
        wish = Wish(
            seconds=seconds,
            seeds=tuple(seed + number for number in range(count)),
            labels=_texts(label),
            temperature=temperature,
            texts=_texts(text),
            to_label=to_label,
            to_seed=to_seed,
            goes_on=self._real("prompt", prompt, seconds),
            like=self._real("like", like, seconds),
            batch=batch,
        )
        return [item.features for item in new_items(self.component, wish, self.licence, Reporter())]

    def _real(self, name: str, sound: Audio | Features | None, seconds: float) -> tuple[Real, ...]:
        return () if sound is None else (real_clip(name, sound, self.spec, seconds),)

    def vocode(self, features: Features, *, seed: int = 0, progress: Progress | None = None) -> Audio:
        """`vocoder.vocode`."""
        return self.vocoder.vocode(features, seed=seed, progress=progress)


class LoadedConverter:
    """A converter from one label to another, and a vocoder that makes its features audible."""

    def __init__(self, component: Converter, vocoder: LoadedVocoder) -> None:
        self.component, self.vocoder = component, vocoder

    @property
    def spec(self) -> FeatureSpec:
        """What the features that it takes and makes mean."""
        return self.component.spec

    @property
    def source(self) -> str:
        """The label of what it converts."""
        return self.component.source

    @property
    def target(self) -> str:
        """The label of what it makes of it."""
        return self.component.target

    def convert(
        self, sound: Audio | Features, *, strength: float = 1.0, seed: int = 0, progress: Progress | None = None
    ) -> Features:
        """The features of a sound converted: as many channels, frames and samples.

        With `strength` 0 they stay as they are, with 1 they are converted fully. The same features, seed and device give the same.

        Raises:
            ConfigError: a strength that is not between 0 and 1.
            SpecMismatch: for features that are not the converter's and cannot be converted exactly.
        """
        features = extract(SpecFeatures(self.spec), sound) if isinstance(sound, Audio) else sound
        random = torch.Generator(device=self.component.device).manual_seed(seed)
        return convert(self.component, features, strength=strength, random=random, progress=progress)

    def vocode(self, features: Features, *, seed: int = 0, progress: Progress | None = None) -> Audio:
        """`vocoder.vocode`."""
        return self.vocoder.vocode(features, seed=seed, progress=progress)


def _texts(one: str | Sequence[str] | None) -> tuple[str, ...]:
    return (one,) if isinstance(one, str) else tuple(one or ())
