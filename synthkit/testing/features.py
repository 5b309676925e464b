"""Laws of feature extractors."""

from __future__ import annotations

from collections.abc import Callable

import torch

from synthkit.config import FeaturesConfig
from synthkit.interfaces import FeatureExtractor
from synthkit.testing.check import distance, expect, untouched_randomness
from synthkit.testing.sounds import CLOSE, sounds

Build = Callable[[], FeatureExtractor]


def length(build: Build) -> None:
    """Features of `[B, T]` samples have the shape `[B, n_mels, spec.frames(T)]`, whatever B and T."""
    extractor = build()
    spec = extractor.spec
    whole = max(spec.samples(8), spec.n_fft)
    for samples in (whole, whole + 1, whole + spec.hop_length - 1, 3 * whole + 7, spec.samples(2)):
        for count in (1, 3):
            made = extractor.extract(sounds(spec.sample_rate, samples, count))
            wanted = (count, spec.n_mels, spec.frames(samples))
            expect(
                tuple(made.shape) == wanted, f"[{count}, {samples}] samples give {list(made.shape)}, not {list(wanted)}"
            )


def values(build: Build) -> None:
    """Features are finite float32 values, also of silence, of a whisper and of full scale."""
    extractor = build()
    samples = extractor.spec.samples(16)
    sound = sounds(extractor.spec.sample_rate, samples, 1)
    for what, given in {
        "sound": sound,
        "silence": sound * 0,
        "a whisper": sound * 1e-6,
        "full scale": sound.sign(),
    }.items():
        made = extractor.extract(given)
        expect(made.dtype == torch.float32, f"features of {what} are {made.dtype}")
        expect(bool(made.isfinite().all()), f"features of {what} are not finite")


def independence(build: Build) -> None:
    """An item's features do not depend on its neighbours in the batch."""
    extractor = build()
    samples = extractor.spec.samples(16)
    some = sounds(extractor.spec.sample_rate, samples, 3)
    others = torch.cat([some[:1], 0.01 * sounds(extractor.spec.sample_rate, samples, 2, first=8)])
    reference = extractor.extract(some)[0]
    moved = distance(reference, extractor.extract(others)[0])
    expect(moved <= CLOSE, f"other neighbours move an item's features by {moved:.2g}")
    alone = distance(reference, extractor.extract(some[:1])[0])
    expect(alone <= CLOSE, f"an item alone and in a batch of 3 differ by {alone:.2g}")


def determinism(build: Build) -> None:
    """The same samples give the same features, and nobody else's random numbers are used up."""
    extractor, twin = build(), build()
    some = sounds(extractor.spec.sample_rate, extractor.spec.samples(16))
    with untouched_randomness("extract"):
        reference = extractor.extract(some)
    expect(torch.equal(reference, extractor.extract(some)), "a second call gives other features")
    expect(torch.equal(reference, twin.extract(some)), "another extractor of the same settings gives other features")


def input_kept(build: Build) -> None:
    """Extracting leaves the samples as they were."""
    extractor = build()
    some = sounds(extractor.spec.sample_rate, extractor.spec.samples(16))
    copy = some.clone()
    extractor.extract(some)
    expect(torch.equal(some, copy), "extract writes into the samples it is given")


def gradient(build: Build) -> None:
    """Features are differentiable: the gradient reaches the samples, finite and not all zero, also from silence."""
    extractor = build()
    some = sounds(extractor.spec.sample_rate, extractor.spec.samples(16))
    for what, given in {"sound": some, "silence": some * 0}.items():
        samples = given.clone().requires_grad_(True)
        made = extractor.extract(samples)
        expect(made.requires_grad, "the features carry no gradient")
        (slope,) = torch.autograd.grad(made.square().sum(), samples)
        expect(bool(slope.isfinite().all()), f"the gradient at {what} is not finite")
        expect(what == "silence" or bool(slope.any()), "the gradient is zero everywhere")


def silence(build: Build) -> None:
    """Silence stays silence: every value of it is `spec.silence`."""
    extractor = build()
    spec = extractor.spec
    made = extractor.extract(torch.zeros(1, spec.samples(16)))
    if spec.magnitude_eps:  # then the value differs between bands, but not between frames
        expect(distance(made, made[..., :1].expand_as(made)) <= CLOSE, "the frames of silence differ")
        return
    off = float((made - spec.silence).abs().max())
    tolerance = CLOSE * max(1.0, abs(spec.silence))
    expect(off <= tolerance, f"a value of silence is {off:.2g} away from spec.silence, {spec.silence:.6g}")


def promised_spec(build: Build, config: FeaturesConfig) -> None:
    """An extractor's spec is the one that its settings promise without torch."""
    differences = config.spec().differences(build().spec)
    expect(not differences, f"they differ (promised, built) in {differences}")


LAWS = (length, values, independence, determinism, input_kept, gradient, silence)
