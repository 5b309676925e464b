"""Laws of converters."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from synthkit.interfaces import Converter
from synthkit.testing.check import (
    changed,
    copy_of,
    distance,
    expect,
    fresh,
    generator,
    transplant,
    untouched_randomness,
)
from synthkit.testing.sounds import CLOSE, features
from synthkit.testing.streams import same_in_pieces

Build = Callable[[], Converter]
FRAMES = 40
LONG = 257


def names(build: Build) -> None:
    """`source` and `target` are two labels, not the same one twice."""
    converter = fresh(build)
    for what, name in {"source": converter.source, "target": converter.target}.items():
        expect(isinstance(name, str) and bool(name), f"{what} is {name!r}")
    expect(converter.source != converter.target, f"both are {converter.source!r}")


def length(build: Build) -> None:
    """Features `[B, n_mels, N]` give features of the same shape, whatever B and N: one frame, an odd number, very many."""
    converter = fresh(build)
    whole = features(converter.spec, LONG, 2)
    for frames in (1, 2, 37, LONG):
        for count in (1, 2):
            given = whole[:count, :, :frames].contiguous()
            made = converter.convert(given, random=generator())
            expect(made.shape == given.shape, f"{list(given.shape)} features give {list(made.shape)}")


def values(build: Build) -> None:
    """What comes back are finite float32 values without gradient, of the quietest and the loudest features too."""
    converter = fresh(build)
    some = features(converter.spec, FRAMES)
    quiet, loud = float(some.min()), float(some.max())
    for what, given in {"ordinary": some, "the quietest": some * 0 + quiet, "the loudest": some * 0 + loud}.items():
        made = converter.convert(given.requires_grad_(), random=generator())
        expect(made.dtype == torch.float32, f"{what} features become {made.dtype}")
        expect(bool(made.isfinite().all()), f"{what} features become something that is not finite")
        expect(not made.requires_grad, "what comes back carries a gradient")


def strength(build: Build) -> None:
    """With strength 0 the features stay as they are, and with 1, which is the default, they do not."""
    converter = fresh(build)
    some = features(converter.spec, FRAMES)
    kept = converter.convert(some, strength=0.0, random=generator())
    expect(torch.equal(kept, some), f"strength 0 moves them by {distance(kept, some):.2g}")
    full = converter.convert(some, random=generator())
    expect(not torch.equal(full, some), "nothing is converted")
    same = converter.convert(some, strength=1.0, random=generator())
    expect(torch.equal(full, same), "strength 1 is not the default")


def independence(build: Build) -> None:
    """What an item becomes does not depend on its neighbours in the batch."""
    converter = fresh(build)
    some = features(converter.spec, FRAMES, 3)
    others = torch.cat([some[:1], features(converter.spec, FRAMES, 2, first=8)])
    reference = converter.convert(some, random=generator())[0]
    for what, batch in {"other neighbours": others, "to be alone": some[:1]}.items():
        moved = distance(reference, converter.convert(batch, random=generator())[0])
        expect(moved <= CLOSE, f"{what} moves what an item becomes by {moved:.2g}")


def determinism(build: Build) -> None:
    """The same features and the same state of the generator give the same; global random states stay untouched."""
    converter = fresh(build)
    some = features(converter.spec, FRAMES)
    with untouched_randomness("convert"):
        reference = converter.convert(some, random=generator())
    expect(torch.equal(reference, converter.convert(some, random=generator())), "a second call gives something else")


def nothing_changed(build: Build) -> None:
    """Converting changes neither the features, nor any parameter or buffer, nor the mode that a network is in.

    In training mode it gives what it gives in evaluation mode: a listening test in the middle of a training says what the
    training has reached, and does not end it.
    """
    converter = fresh(build)
    some = features(converter.spec, FRAMES)
    reference, copy = converter.convert(some, random=generator()), some.clone()
    for network in converter.networks.values():
        network.train()
    before = copy_of(converter.networks)
    again = converter.convert(some, random=generator())
    expect(torch.equal(some, copy), "convert writes into the features it is given")
    moved = changed(before, copy_of(converter.networks))
    expect(not moved, f"convert changes {', '.join(moved[:3])}")
    still = [name for name, network in converter.networks.items() if not all(it.training for it in network.modules())]
    expect(not still, f"convert leaves {', '.join(still)} in evaluation mode")
    apart = distance(reference, again)
    expect(apart <= CLOSE, f"in training mode it gives something that differs by {apart:.2g}")


def saved_and_loaded(build: Build) -> None:
    """A converter that is given the saved networks of another one converts alike."""
    one, other = fresh(build, seed=1), fresh(build, seed=2)
    transplant(one.networks, other.networks)
    some = features(one.spec, FRAMES)
    apart = distance(one.convert(some, random=generator()), other.convert(some, random=generator()))
    expect(apart <= CLOSE, f"they differ by {apart:.2g}: something that matters is in no network")


def progress(build: Build) -> None:
    """Progress is told as `done, total` with 0 <= done <= total."""
    converter = fresh(build)
    told: list[tuple[int, int]] = []
    converter.convert(features(converter.spec, FRAMES), random=generator(), progress=lambda *pair: told.append(pair))
    wrong = [pair for pair in told if not 0 <= pair[0] <= pair[1]]
    expect(not wrong, f"progress is told {wrong[:1]}")


def streaming(build: Build) -> None:
    """`stream` gives what `convert` gives, whatever the pieces that frames come in, and no later than `latency_frames` says."""
    converter = fresh(build)
    whole = features(converter.spec, LONG)
    for share in (1.0, 0.5):

        def stream(pieces: Iterator[Tensor], share: float = share) -> Iterator[Tensor]:
            return converter.stream(pieces, strength=share, random=generator())

        same_in_pieces(
            stream,
            whole,
            converter.convert(whole, strength=share, random=generator()),
            (1, 37, LONG),
            latency_frames=converter.latency_frames,
            unit="frames",
        )


def seams(build: Build) -> None:
    """`seams` are frames of the clip but the first, each once and in order; a single frame has none."""
    converter = fresh(build)
    for frames in (1, 37, LONG):
        found = list(converter.seams(frames))
        inside = all(0 < seam < frames for seam in found)
        expect(inside and found == sorted(set(found)), f"those of {frames} frames are {found[:3]} ... {found[-3:]}")


LAWS = (
    names,
    length,
    values,
    strength,
    independence,
    determinism,
    nothing_changed,
    saved_and_loaded,
    progress,
    streaming,
    seams,
)
