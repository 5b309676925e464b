"""Laws of generative models."""

from __future__ import annotations

from collections.abc import Callable

import torch

from synthkit.errors import ConfigError
from synthkit.interfaces import GenerativeModel, Request
from synthkit.testing.check import (
    BrokenLaw,
    changed,
    copy_of,
    distance,
    expect,
    fresh,
    generator,
    transplant,
    untouched_randomness,
)
from synthkit.testing.sounds import CLOSE

Build = Callable[[], GenerativeModel]
FRAMES = 8


def request(model: GenerativeModel, count: int, seeds: tuple[int, ...] = ()) -> Request:
    """A request that any model can serve."""
    labels = tuple(model.labels[item % len(model.labels)] for item in range(count)) if model.labels else None
    return Request(frames=FRAMES, count=count, labels=labels, seeds=seeds)


def length(build: Build) -> None:
    """A request for `count` items of `frames` frames gives features `[count, n_mels, frames]`, finite float32 values."""
    model = fresh(build)
    for count in (1, 3):
        made = model.generate(request(model, count), random=generator())
        wanted = (count, model.spec.n_mels, FRAMES)
        expect(tuple(made.shape) == wanted, f"a request of {list(wanted)} gives {list(made.shape)}")
        expect(made.dtype == torch.float32, f"the features are {made.dtype}")
        expect(bool(made.isfinite().all()), "the features are not finite")
        expect(not made.requires_grad, "the features carry a gradient")


def determinism(build: Build) -> None:
    """The same request and the same state of the generator give the same features; global random states stay untouched."""
    model = fresh(build)
    with untouched_randomness("generate"):
        reference = model.generate(request(model, 2), random=generator())
    expect(torch.equal(reference, model.generate(request(model, 2), random=generator())), "a second call differs")


def own_seeds(build: Build) -> None:
    """With one seed per item, an item is the same alone and in company."""
    model = fresh(build)
    with untouched_randomness("generate with seeds"):
        both = model.generate(request(model, 2, seeds=(11, 12)))
    alone = model.generate(request(model, 1, seeds=(11,)))
    apart = distance(both[0], alone[0])
    expect(apart <= CLOSE, f"the item of seed 11 alone and beside another differs by {apart:.2g}")


def unknown_label(build: Build) -> None:
    """A label that the model does not know is a `ConfigError`."""
    model = fresh(build)
    try:
        model.generate(Request(frames=FRAMES, labels=("no such label",)), random=generator())
    except ConfigError:
        return
    except Exception as error:
        raise BrokenLaw(f"it is a {type(error).__name__}") from error
    raise BrokenLaw("it is served as if nothing were wrong")


def nothing_changed(build: Build) -> None:
    """Generating changes no parameter or buffer."""
    model = fresh(build)
    before = copy_of(model.networks)
    model.generate(request(model, 2), random=generator())
    names = changed(before, copy_of(model.networks))
    expect(not names, f"generate changes {', '.join(names[:3])}")


def saved_and_loaded(build: Build) -> None:
    """A model that is given the saved networks of another one makes the same features."""
    one, other = fresh(build, seed=1), fresh(build, seed=2)
    transplant(one.networks, other.networks)
    apart = distance(
        one.generate(request(one, 2), random=generator()), other.generate(request(other, 2), random=generator())
    )
    expect(apart <= CLOSE, f"they differ by {apart:.2g}: something that matters is in no network")


LAWS = (length, determinism, own_seeds, unknown_label, nothing_changed, saved_and_loaded)
