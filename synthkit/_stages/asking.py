"""What a model is asked for and what it makes: one way for the recipe, the command line and Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from synthkit._run.reporter import Reporter
from synthkit._stages.synthesis import Features, SpecFeatures, extract
from synthkit.audio import Audio
from synthkit.errors import ConfigError, nearest
from synthkit.interfaces import Blend, GenerativeModel, Request
from synthkit.sampling import require_able
from synthkit.specs import FeatureSpec

BATCH = 16
"""Clips that are made at once where nobody says."""


@dataclass(frozen=True, kw_only=True)
class Real:
    """A real clip that new ones go on from, or follow."""

    id: str
    features: Features
    """One channel, in the units of any spec that leads exactly to the model's."""
    audio: Audio | None = None
    """Its sound, where it is to be heard."""
    licence: str = ""
    credit: str = ""
    label: str | None = None


def real_clip(id: str, sound: Audio | Features, spec: FeatureSpec, seconds: float) -> Real:
    """The first seconds of a sound, or features, for a model that works on features of `spec`; channels are mixed to one."""
    if isinstance(sound, Features):
        return Real(id=id, features=sound)
    audio = sound.mono().crop(0, min(sound.frames, round(seconds * sound.sample_rate)))
    return Real(id=id, features=extract(SpecFeatures(spec), audio), audio=audio)


@dataclass(frozen=True, kw_only=True)
class Wish:
    """New clips as a user asks for them."""

    seconds: float
    """Length of each, with the beginning that it goes on from; rounded to whole frames."""
    seeds: tuple[int, ...]
    """One for each clip."""
    labels: tuple[str, ...] = ()
    """Taken in turn; empty: all that the model knows."""
    temperature: float = 1.0
    texts: tuple[str, ...] = ()
    """Taken in turn."""
    to_label: str | None = None
    """The clips stand evenly on the way from the first label to this one, all with the first seed."""
    to_seed: int | None = None
    """The clips stand evenly on the way from the first seed to this one, all with the first label."""
    goes_on: tuple[Real, ...] = ()
    """Clips to go on from, taken in turn."""
    keep_seconds: float | None = None
    """How much of the beginning of each of them is kept; None: all."""
    like: tuple[Real, ...] = ()
    """Clips to follow, taken in turn; where one is shorter than `seconds`, so are the new ones."""
    batch: int = BATCH
    """Clips that are made at once."""

    @property
    def count(self) -> int:
        """Number of clips."""
        return len(self.seeds)

    @property
    def leads(self) -> bool:
        """Whether the clips stand on a way from one to another."""
        return self.to_label is not None or self.to_seed is not None


@dataclass(frozen=True, kw_only=True)
class Step:
    """Where a clip stands on the way from its label or seed to another."""

    share: float
    """0: at the beginning, 1: at the end."""
    label: str | None
    """The other label; None: the same."""
    seed: int | None
    """The other seed; None: the same."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """One clip to make heard: its features, and where they come from."""

    id: str
    label: str | None
    licence: str
    seed: int
    features: Features
    credit: str = ""
    original: Audio | None = None
    """What it is a copy of."""
    text: str = ""
    """What a model was to say."""
    goes_on: str = ""
    """Id of the clip that a new one goes on from."""
    beginning: Audio | None = None
    """What is kept of that clip."""
    kept_seconds: float = 0.0
    """How much of it is kept."""
    like: str = ""
    """Id of the clip that a new one follows."""
    step: Step | None = None
    """Where a new one stands between two others."""
    converted: Item | None = None
    """What a converter made of it."""
    strength: float | None = None
    """How far it was converted, 0 to 1; None: it was not."""

    @property
    def title(self) -> str:
        """What it is, for people; several may have the same."""
        if self.original is not None:
            return Path(self.id).stem
        if self.goes_on:
            return f"{Path(self.goes_on).stem} continued"
        if self.step is not None:
            other = self.step.label or (
                f"seed {self.step.seed}" if self.label is None else f"{self.label} of another seed"
            )
            return f"{self.label or f'seed {self.seed}'} to {other}, {self.step.share:.0%}"
        return f"{self.label or 'clip'} like {Path(self.like).stem}" if self.like else self.label or "clip"


def new_items(model: GenerativeModel, wish: Wish, licence: str, reporter: Reporter) -> list[Item]:
    """What the model makes of a wish: one item for each seed, the same whatever the batch.

    Raises `ConfigError` for what the model cannot serve, and `SpecMismatch` for real clips of features that are not its own.
    """
    request = request_of(model, wish)
    require_able(model, request)
    values = make(model, request, wish.batch, reporter)
    kept = 0 if request.prompt is None else int(request.prompt.shape[2])
    items = []
    for number, seed in enumerate(request.seeds):
        goes_on, like = _turn(wish.goes_on, number), _turn(wish.like, number)
        real = [it for it in (goes_on, like) if it is not None]
        item = Item(
            id=f"seed-{seed}",
            label=None if request.labels is None else request.labels[number],
            licence=_all([licence, *(it.licence for it in real)]),
            credit=_all([it.credit for it in real]),
            seed=seed,
            text="" if request.texts is None else request.texts[number],
            features=Features(values[number : number + 1], model.spec, model.spec.samples(request.frames)),
            like="" if like is None else like.id,
        )
        if goes_on is not None:
            seconds = kept / model.spec.frames_per_second
            item = replace(item, goes_on=goes_on.id, kept_seconds=seconds, beginning=_first(goes_on.audio, seconds))
        if request.blend is not None:
            item = _on_the_way(item, request.blend, number)
        items.append(item)
    return items


def request_of(model: GenerativeModel, wish: Wish) -> Request:
    """The wish in the model's terms. Raises as `new_items`."""
    frames = max(1, round(wish.seconds * model.spec.frames_per_second))
    like = [_own(model, real) for real in wish.like]
    frames = min([frames, *(values.shape[2] for values in like)])
    request = Request(
        frames=frames,
        count=wish.count,
        labels=choose_labels(model, wish.labels, wish.count),
        temperature=wish.temperature,
        seeds=wish.seeds,
        texts=tuple(wish.texts[number % len(wish.texts)] for number in range(wish.count)) if wish.texts else None,
        prompt=_prompt(model, wish, frames),
    )
    if like:
        values = torch.cat([like[number % len(like)][..., :frames] for number in range(wish.count)])
        request = replace(request, conditions=model.conditions_of(values.to(model.device)))
    return _led(model, wish, request) if wish.leads else request


def make(model: GenerativeModel, request: Request, batch: int, reporter: Reporter) -> Tensor:
    """Features `[B, M, N]` on the CPU, `batch` items at a time. Raises `ConfigError` for features of another shape."""
    made = []
    with reporter.task("model", request.count) as task:
        for start in range(0, request.count, batch):
            piece = request.piece(start, start + batch)

            def told(done: int, total: int, start: int = start, piece: Request = piece) -> None:
                task.update(start + done * piece.count // max(1, total))

            random = torch.Generator(device=model.device).manual_seed(piece.seeds[0])
            values = model.generate(piece, random=random, progress=told).cpu()
            wanted = [piece.count, model.spec.n_mels, request.frames]
            if list(values.shape) != wanted:
                raise ConfigError(f"the model gave features of shape {list(values.shape)} instead of {wanted}")
            made.append(values)
            task.update(start + piece.count)
    return torch.cat(made)


def choose_labels(model: GenerativeModel, wanted: Sequence[str], count: int) -> tuple[str, ...] | None:
    """The labels of `count` items: the wanted ones in turn, or all that the model knows; None for one without labels.

    Raises `ConfigError` for a label that the model does not know.
    """
    for label in wanted:
        require_label(label, model.labels)
    choice = tuple(wanted) or model.labels
    return tuple(choice[number % len(choice)] for number in range(count)) if choice else None


def require_label(label: str, known: Sequence[str]) -> None:
    """Raise `ConfigError` for a label that a model with the labels `known` cannot make."""
    if not known:
        raise ConfigError(f"the model was trained without labels, so {label!r} cannot be asked for")
    if label not in known:
        raise ConfigError(f"the model knows no label {label!r}; {nearest(label, known)}")


def _own(model: GenerativeModel, real: Real) -> Tensor:
    """Features `[1, M, N]` of a real clip in the model's units."""
    return real.features.convert(model.spec, needer="the model").values[:1]


def _prompt(model: GenerativeModel, wish: Wish, frames: int) -> Tensor | None:
    """The kept beginnings `[B, M, P]`, as long as the shortest of them."""
    if not wish.goes_on:
        return None
    whole = [_own(model, real) for real in wish.goes_on]
    kept = min(values.shape[2] for values in whole)
    if wish.keep_seconds is not None:
        kept = min(kept, max(1, round(wish.keep_seconds * model.spec.frames_per_second)))
    if kept >= frames:
        seconds = [count / model.spec.frames_per_second for count in (kept, frames)]
        raise ConfigError(
            f"the beginning that is kept lasts {seconds[0]:.3g} s, so clips of {seconds[1]:.3g} s would have nothing new: "
            "ask for more seconds, or keep less"
        )
    return torch.cat([whole[number % len(whole)][..., :kept] for number in range(wish.count)]).to(model.device)


def _led(model: GenerativeModel, wish: Wish, request: Request) -> Request:
    """All items as the first one, on the way to another label or seed."""
    if wish.count < 2:
        raise ConfigError("a way from one clip to another needs at least two clips: raise their count")
    if wish.to_label is not None:
        require_label(wish.to_label, model.labels)
        if not wish.labels:
            raise ConfigError(f"a way to the label {wish.to_label!r} begins at another: say at which")
    count = wish.count
    blend = Blend(
        share=tuple(number / (count - 1) for number in range(count)),
        labels=None if wish.to_label is None else (wish.to_label,) * count,
        seeds=() if wish.to_seed is None else (wish.to_seed,) * count,
    )
    labels = None if request.labels is None else request.labels[:1] * count
    return replace(request, labels=labels, seeds=wish.seeds[:1] * count, blend=blend)


def _on_the_way(item: Item, blend: Blend, number: int) -> Item:
    step = Step(
        share=blend.share[number],
        label=None if blend.labels is None else blend.labels[number],
        seed=blend.seeds[number] if blend.seeds else None,
    )
    return replace(item, id=f"{item.id}-{number + 1}-of-{len(blend.share)}", step=step)


def _first(audio: Audio | None, seconds: float) -> Audio | None:
    return None if audio is None else audio.crop(0, min(audio.frames, round(seconds * audio.sample_rate)))


def _turn(real: Sequence[Real], number: int) -> Real | None:
    return real[number % len(real)] if real else None


def _all(texts: Sequence[str]) -> str:
    """Each text once.

    >>> _all(["CC0", "", "CC BY 4.0", "CC0"])
    'CC0; CC BY 4.0'
    """
    return "; ".join(dict.fromkeys(filter(None, texts)))
