"""Laws of what a generative model says that it can: each holds for a model with that ability only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from synthkit.config import PartConfig
from synthkit.errors import ConfigError
from synthkit.interfaces import Blend, GenerativeModel, Request
from synthkit.testing.check import distance, expect, fresh, generator
from synthkit.testing.sounds import CLOSE, features

Build = Callable[[], GenerativeModel]
FRAMES = 8
_PROMPT = 3


def request(model: GenerativeModel, count: int, seeds: tuple[int, ...] = (), frames: int = FRAMES) -> Request:
    """A request that the model can serve, with labels, texts and conditions where it takes them."""
    labels = tuple(model.labels[item % len(model.labels)] for item in range(count)) if model.labels else None
    texts = tuple(("one two", "three")[item % 2] for item in range(count)) if "text" in model.abilities else None
    conditions = None
    if "conditions" in model.abilities:
        conditions = model.conditions_of(features(model.spec, frames, count).to(model.device))
    return Request(frames=frames, count=count, labels=labels, seeds=seeds, texts=texts, conditions=conditions)


def continuing(build: Build) -> None:
    """A model that can continue a clip gives the prompt back as the first frames, and what follows depends on the prompt."""
    model = fresh(build)
    if "continue" not in model.abilities:
        return
    quiet = torch.full((2, model.spec.n_mels, _PROMPT), model.spec.silence)
    made = []
    for prompt in (features(model.spec, _PROMPT, 2), quiet):
        asked = replace(request(model, 2, seeds=(11, 12)), prompt=prompt.to(model.device))
        made.append(_served(model, asked))
        apart = distance(made[-1][..., :_PROMPT], prompt)
        expect(apart <= CLOSE, f"the first {_PROMPT} frames differ from the prompt by {apart:.2g}")
    expect(distance(made[0][..., _PROMPT:], made[1][..., _PROMPT:]) > 0, "two prompts are continued alike")


def blending(build: Build) -> None:
    """On the way from one label or one seed to another, share 0 is the one clip and share 1 the other.

    A model need not know both ways: it raises `ConfigError` for the one that it does not know.
    """
    model = fresh(build)
    if "blend" not in model.abilities:
        return
    one, known = request(model, 1, seeds=(11,)), 0
    ways = [(replace(one, seeds=(12,)), Blend(share=(0.0, 0.5, 1.0), seeds=(12,) * 3))]
    if len(model.labels) > 1:
        label = model.labels[1]
        ways.append((replace(one, labels=(label,)), Blend(share=(0.0, 0.5, 1.0), labels=(label,) * 3)))
    for other, blend in ways:
        way = "labels" if blend.labels else "seeds"
        try:
            made = _served(model, replace(_repeated(one, 3), blend=blend))
        except ConfigError:
            continue
        known += 1
        for share, asked, clip in ((0, one, made[0]), (1, other, made[2])):
            apart = distance(clip[None], _served(model, asked))
            expect(apart <= CLOSE, f"share {share} between two {way} differs from that clip by {apart:.2g}")
    expect(known > 0, "it knows neither the way between two seeds nor that between two labels")


def temperature(build: Build) -> None:
    """Clips of different seeds differ no more from each other at a lower temperature."""
    model = fresh(build)
    if "temperature" not in model.abilities:
        return
    asked = request(model, 4, seeds=(11, 12, 13, 14))
    if asked.labels is not None:
        asked = replace(asked, labels=asked.labels[:1] * 4)
    wide, narrow = (float(_served(model, replace(asked, temperature=it)).std(0).mean()) for it in (1.0, 0.25))
    expect(narrow <= 1.01 * wide, f"they vary by {wide:.3g} at temperature 1 and by {narrow:.3g} at 0.25")


def conditions(build: Build) -> None:
    """A model that follows features says which: `conditions_of` gives `[B, C, N]` for `[B, M, N]`, finite, item by item."""
    model = fresh(build)
    if "conditions" not in model.abilities:
        return
    real = features(model.spec, FRAMES, 2).to(model.device)
    both = model.conditions_of(real)
    right = both.dim() == 3 and (both.shape[0], both.shape[2]) == (2, FRAMES) and both.shape[1] > 0
    expect(right, f"it gives {list(both.shape)} for {list(real.shape)}")
    expect(bool(both.isfinite().all()), "they are not finite")
    apart = distance(both[1:], model.conditions_of(real[1:]))
    expect(apart <= CLOSE, f"those of a clip alone and beside another differ by {apart:.2g}")


def promised_abilities(build: Build, config: PartConfig) -> None:
    """What the settings say that a model can, where they say it, is what the model says."""
    model, promised = fresh(build), config.abilities()
    if promised is not None:
        told = (sorted(promised), sorted(model.abilities))
        expect(promised == model.abilities, f"the settings say {told[0]} and the model {told[1]}")


def _served(model: GenerativeModel, asked: Request) -> Tensor:
    made = model.generate(asked, random=generator())
    expect(bool(made.isfinite().all()), "the features are not finite")
    return made


def _repeated(asked: Request, count: int) -> Request:
    return replace(
        asked,
        count=count,
        seeds=asked.seeds * count,
        labels=None if asked.labels is None else asked.labels * count,
        texts=None if asked.texts is None else asked.texts * count,
        conditions=None if asked.conditions is None else asked.conditions.expand(count, -1, -1),
    )


LAWS = (continuing, blending, temperature, conditions)
