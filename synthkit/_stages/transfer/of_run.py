"""Transfer with the critic of a run: from two sounds to one, in windows, so that any length needs the memory of a few seconds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from synthkit import dsp
from synthkit._catalog import Catalog
from synthkit._recipe.model import PARTS, Part
from synthkit._run.checkpoint import load_objective
from synthkit._run.damage import Say
from synthkit._run.folder import RunFolder
from synthkit._stages.generate import find_voices
from synthkit._stages.joining import Windows, bounded, joined
from synthkit._stages.loading import find_checkpoint
from synthkit._stages.synthesis import Features, SpecFeatures, extract, resynthesise
from synthkit._stages.transfer.optimisation import Statistics, Transferred, TransferSettings, style_of, transfer
from synthkit.audio import Audio
from synthkit.errors import AudioError, CheckpointError, ConfigError
from synthkit.interfaces import Converter, GenerativeModel, Objective, Progress, Vocoder
from synthkit.specs import FeatureSpec

SECONDS, OVERLAP_SECONDS, LEAST_SECONDS = 10.0, 0.5, 1.0
"""A window, how far it reaches into the next, and what a critic is given at least."""


@dataclass(frozen=True, kw_only=True)
class Ear:
    """A run's trained critic, and how what it hears becomes sound."""

    objective: Objective
    name: str
    """Of the component that learned against the critic."""
    vocoder: Vocoder | None
    """For a critic of features."""
    voice: str = ""
    """The vocoder's name."""

    @property
    def spec(self) -> FeatureSpec:
        """The features that the component knows, and the sample rate of the sound."""
        return self.objective.component.spec

    @property
    def windows(self) -> Windows:
        """How what the critic hears is cut."""
        return Windows(length=self._values(SECONDS), overlap=self._values(OVERLAP_SECONDS))

    def _values(self, seconds: float) -> int:
        hop = 1 if self.vocoder is None else self.spec.hop_length
        return round(seconds * self.spec.sample_rate / hop)

    def heard(self, sound: Audio) -> Tensor:
        """The sound as the critic hears it: samples `[C, T]`, or features `[C, M, N]`. Raises `AudioError` where it has no samples."""
        if not sound.frames:
            raise AudioError("a sound without samples has neither content nor style")
        if self.vocoder is not None:
            return extract(SpecFeatures(self.spec), sound).values
        return torch.from_numpy(sound.resample(self.spec.sample_rate).samples)

    def layers(self, heard: Tensor) -> list[Tensor]:
        """What the critic's layers make of a window; a very short one goes on as it ends."""
        lacks = max(0, self._values(LEAST_SECONDS) - heard.shape[-1])
        return self.objective.hear(functional.pad(heard, (0, lacks), mode="replicate"))

    def sound(self, made: Tensor, samples: int, random: torch.Generator) -> Audio:
        """What was heard, as sound of so many samples."""
        if self.vocoder is None:
            return Audio(made.numpy(), self.spec.sample_rate)
        within = dsp.compress(dsp.expand(made, self.spec), self.spec)  # nothing below the floor
        return resynthesise(bounded(self.vocoder), Features(within, self.spec, samples), random=random)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a transfer."""

    sound: Audio
    before: float
    """The loss before the first step, mean over all windows."""
    after: float
    steps: int
    """Of all windows together."""
    settled: bool
    """Whether each of them stopped because nothing became better."""


def load_ear(
    run: str | Path, part: Part | None, catalog: Catalog, device: torch.device, *, vocoder: str | None, say: Say
) -> Ear:
    """The critic that a part of a run learned against, and the vocoder that makes its features heard.

    Where no part is named, it is the first one's whose critic hears whole sounds.

    Raises:
        RunError, CheckpointError: there is no such run or part, or it learned without a critic that hears.
        ConfigError: a vocoder for a critic that hears samples.
        SpecMismatch: the vocoder's features are others.
    """
    deaf: list[str] = []
    trained = [one for one in reversed(PARTS) if RunFolder(run).newest(one)]  # what makes features first, as everywhere
    for one in [part] if part or not trained else trained:
        objective, meta = load_objective(find_checkpoint(run, one, say, learning=True), catalog, device)
        if objective.hears is not None:
            break
        deaf.append(repr(meta["component"]))
    else:
        raise CheckpointError(f"{' and '.join(deaf)} of {str(run)!r} learned without a critic that hears whole sounds")
    component, name = objective.component, str(meta["component"])
    if objective.hears == "samples":
        if vocoder is not None:
            raise ConfigError(f"the critic of {name!r} hears sound itself, so there is nothing for a vocoder to make")
        return Ear(objective=objective, name=name, vocoder=None)
    if isinstance(component, Vocoder):
        return Ear(objective=objective, name=name, vocoder=component, voice=name)
    assert isinstance(component, GenerativeModel | Converter)
    voice = find_voices([vocoder] if vocoder else [], RunFolder(run), component, catalog, say=say)[0]
    return Ear(objective=objective, name=name, vocoder=voice.vocoder, voice=voice.name)


def transfer_sound(
    ear: Ear,
    content: Audio,
    style: Audio,
    settings: TransferSettings,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> Outcome:
    """A sound as long as `content` and of as many channels, in which the critic hears its content and the style of `style`.

    Channels are changed one by one; those of `style` are heard together. `progress` is told of steps.

    Raises:
        AudioError: for a sound without samples, and where the vocoder makes values that are not finite.
    """
    heard, windows = ear.heard(content), ear.windows
    device = ear.objective.component.device
    random = torch.Generator(device=device).manual_seed(seed)
    wanted = _style(ear, ear.heard(style.mono()), settings.statistics)
    channels: list[Tensor] = []
    done: list[Transferred] = []
    total = len(heard) * windows.count(heard.shape[-1]) * settings.steps

    def tell(step: int, _: int) -> None:
        if progress:
            progress(len(done) * settings.steps + step, total)

    for number in range(len(heard)):
        first = len(done)
        for window in windows.cut([heard[number : number + 1]]):
            done.append(transfer(window.to(device), wanted, ear.layers, settings, random=random, progress=tell))
        made = (one.made.cpu() for one in done[first:])
        channels.append(torch.cat(list(joined(made, windows.overlap, alike=True)), dim=-1))
    if progress:
        progress(total, total)
    samples = content.resample(ear.spec.sample_rate).frames
    return Outcome(
        sound=ear.sound(torch.cat(channels), samples, random),
        before=sum(one.losses[0] for one in done) / len(done),
        after=sum(one.losses[-1] for one in done) / len(done),
        steps=sum(len(one.losses) - 1 for one in done),
        settled=all(one.settled for one in done),
    )


@torch.no_grad()
def _style(ear: Ear, heard: Tensor, statistics: Statistics) -> list[Tensor]:
    """What the critic's layers say of the style of a mono sound, mean over its windows."""
    device = ear.objective.component.device
    found = [style_of(ear.layers(window.to(device)), statistics) for window in ear.windows.cut([heard])]
    return [torch.stack(layer).mean(dim=0) for layer in zip(*found, strict=True)]
