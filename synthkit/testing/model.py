"""Laws of generative models."""

from __future__ import annotations

from itertools import pairwise

import torch

from synthkit.errors import ConfigError
from synthkit.interfaces import Request
from synthkit.testing import abilities
from synthkit.testing.abilities import FRAMES, Build, request
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


def any_length(build: Build) -> None:
    """A longer and a shorter request are served as well: a model is no window of one size."""
    model = fresh(build)
    for frames in (1, 3 * FRAMES + 1):
        made = model.generate(request(model, 1, seeds=(11,), frames=frames))
        wanted = (1, model.spec.n_mels, frames)
        expect(tuple(made.shape) == wanted, f"a request of {list(wanted)} gives {list(made.shape)}")
        expect(bool(made.isfinite().all()), f"{frames} frames are not finite")


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


def modes(build: Build) -> None:
    """With its networks in training mode a model makes what it makes in evaluation mode, and they stay in training mode."""
    model = fresh(build)
    reference = model.generate(request(model, 2, seeds=(11, 12)))
    for network in model.networks.values():
        network.train()
    apart = distance(reference, model.generate(request(model, 2, seeds=(11, 12))))
    expect(apart <= CLOSE, f"it makes features that differ by {apart:.2g}")
    left = [name for name, network in model.networks.items() for it in network.modules() if not it.training]
    expect(not left, f"generate leaves {', '.join(left[:1])} in evaluation mode")


def progress(build: Build) -> None:
    """Progress is told as `done, total`, never falls, and ends with all that there is to do."""
    model = fresh(build)
    told: list[tuple[int, int]] = []
    model.generate(request(model, 2), random=generator(), progress=lambda *pair: told.append(pair))
    wrong = [pair for pair in told if not 0 <= pair[0] <= pair[1]]
    wrong += [after for before, after in pairwise(told) if after[0] < before[0]]
    wrong += [pair for pair in told[-1:] if pair[0] != pair[1]]
    expect(not wrong, f"progress is told {wrong[:1]}")


LAWS = (
    length,
    any_length,
    determinism,
    own_seeds,
    unknown_label,
    nothing_changed,
    saved_and_loaded,
    modes,
    progress,
    *abilities.LAWS,
)
