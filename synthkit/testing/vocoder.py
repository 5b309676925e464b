"""Laws of vocoders."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from synthkit.interfaces import Vocoder
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

Build = Callable[[], Vocoder]
FRAMES = 12


def length(build: Build) -> None:
    """Features `[B, n_mels, N]` give samples of the shape `[B, spec.samples(N)]`, whatever B and N."""
    vocoder = fresh(build)
    for frames in (1, 2, 5, 33):
        wanted = vocoder.spec.samples(frames)
        if not wanted:
            continue
        whole = features(vocoder.spec, 33, 3)
        for count in (1, 3):
            given = whole[:count, :, :frames].contiguous()
            made = vocoder.vocode(given, random=generator())
            expect(
                tuple(made.shape) == (count, wanted),
                f"{list(given.shape)} features give {list(made.shape)} samples, not {[count, wanted]}",
            )


def values(build: Build) -> None:
    """Samples are finite float32 values without gradient, also of silence and of very loud features; those of ordinary
    sound lie in -1..1. (What goes beyond is clipped, and counted, when it is written.)"""
    vocoder = fresh(build)
    some = features(vocoder.spec, FRAMES)
    quiet, loud = float(some.min()), float(some.max())
    for what, given in {"sound": some, "the quietest": some * 0 + quiet, "the loudest": some * 0 + loud}.items():
        made = vocoder.vocode(given, random=generator())
        expect(made.dtype == torch.float32, f"samples of {what} features are {made.dtype}")
        expect(bool(made.isfinite().all()), f"samples of {what} features are not finite")
        expect(not made.requires_grad, "the samples carry a gradient")
        peak = float(made.abs().max())
        expect(peak <= 1.0 or what == "the loudest", f"samples of {what} features reach {peak:.3g}")


def independence(build: Build) -> None:
    """An item's samples do not depend on its neighbours in the batch."""
    vocoder = fresh(build)
    some = features(vocoder.spec, FRAMES, 3)
    others = torch.cat([some[:1], features(vocoder.spec, FRAMES, 2, first=8)])
    reference = vocoder.vocode(some, random=generator())[0]
    moved = distance(reference, vocoder.vocode(others, random=generator())[0])
    expect(moved <= CLOSE, f"other neighbours move an item's samples by {moved:.2g}")


def determinism(build: Build) -> None:
    """The same features and the same state of the generator give the same samples; global random states stay untouched."""
    vocoder = fresh(build)
    some = features(vocoder.spec, FRAMES)
    with untouched_randomness("vocode"):
        reference = vocoder.vocode(some, random=generator())
    expect(torch.equal(reference, vocoder.vocode(some, random=generator())), "a second call gives other samples")


def nothing_changed(build: Build) -> None:
    """Vocoding changes neither the features nor any parameter or buffer."""
    vocoder = fresh(build)
    some = features(vocoder.spec, FRAMES)
    copy, before = some.clone(), copy_of(vocoder.networks)
    vocoder.vocode(some, random=generator())
    expect(torch.equal(some, copy), "vocode writes into the features it is given")
    names = changed(before, copy_of(vocoder.networks))
    expect(not names, f"vocode changes {', '.join(names[:3])}")


def saved_and_loaded(build: Build) -> None:
    """A vocoder that is given the saved networks of another one makes the same sound."""
    one, other = fresh(build, seed=1), fresh(build, seed=2)
    transplant(one.networks, other.networks)
    some = features(one.spec, FRAMES)
    apart = distance(one.vocode(some, random=generator()), other.vocode(some, random=generator()))
    expect(apart <= CLOSE, f"they differ by {apart:.2g}: something that matters is in no network")


def progress(build: Build) -> None:
    """Progress is told as `done, total` with 0 <= done <= total."""
    vocoder = fresh(build)
    told: list[tuple[int, int]] = []
    vocoder.vocode(features(vocoder.spec, FRAMES), random=generator(), progress=lambda *pair: told.append(pair))
    wrong = [pair for pair in told if not 0 <= pair[0] <= pair[1]]
    expect(not wrong, f"progress is told {wrong[:1]}")


def streaming(build: Build) -> None:
    """`stream` gives the samples of `vocode`, whatever the pieces that frames come in, and no later than `latency_frames` says."""
    vocoder = fresh(build)
    whole = features(vocoder.spec, 33)
    same_in_pieces(
        lambda pieces: vocoder.stream(pieces, random=generator()),
        whole,
        vocoder.vocode(whole, random=generator()),
        (1, 5, 33),
        latency_frames=vocoder.latency_frames,
        unit="samples",
        units_per_frame=vocoder.spec.hop_length,
    )


def unequal_lengths(build: Build) -> None:
    """`vocode_each` gives of items of unequal lengths what `vocode` gives of each alone."""
    vocoder = fresh(build)
    items = [item[:, :count] for item, count in zip(features(vocoder.spec, 33, 4), (33, 5, 31, 12), strict=True)]
    made = vocoder.vocode_each(items, random=generator())
    expect(len(made) == len(items), f"{len(items)} items give {len(made)}")
    for item, samples in zip(items, made, strict=True):
        alone = vocoder.vocode(item[None], random=generator())[0]
        expect(samples.shape == alone.shape, f"{item.shape[-1]} frames give {list(samples.shape)} samples")
        apart = distance(alone, samples)
        expect(apart <= CLOSE, f"the item of {item.shape[-1]} frames differs by {apart:.2g}")


def silence(build: Build) -> None:
    """Silence stays silence: what a vocoder without networks makes of it lies 60 dB below full scale.

    A vocoder that learns is loud before it has learned, so it is not asked.
    """
    vocoder = fresh(build)
    if vocoder.networks or vocoder.spec.magnitude_eps:
        return
    still: Tensor = torch.full((1, vocoder.spec.n_mels, FRAMES), vocoder.spec.silence)
    level = float(vocoder.vocode(still, random=generator()).square().mean().sqrt())
    expect(level <= 1e-3, f"silent features give a level of {level:.2g}")


LAWS = (
    length,
    values,
    independence,
    determinism,
    nothing_changed,
    saved_and_loaded,
    progress,
    streaming,
    unequal_lengths,
    silence,
)
