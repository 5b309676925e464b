"""Samples of MelNet, tier by tier, frame by frame and element by element, in time that grows with the number of elements."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from synthkit.values import Progress
from synthkit_melnet.network import Given, Tier
from synthkit_melnet.state import Frames, GraphFrames, TorchFrames
from synthkit_melnet.text import Text
from synthkit_melnet.tiers import assemble, shape_of

Make = Callable[[Tier, int, Text | None, float], Frames]
"""How a tier's frames are made for a number of items, a text and a bias."""


def bias_of(temperature: float) -> float:
    """The bias of the mixtures (Graves 2013; `Mixture.biased`) that stands for a temperature: `1 / temperature - 1`.

    1 is the model as learned. The logits are divided by the temperature, as everywhere; the logs of the deviations fall by the
    same `b`. Near 0 only the mean of the likeliest component is left.

    >>> [bias_of(temperature) for temperature in (1.0, 0.5, 2.0)]
    [0.0, 1.0, -0.5]
    """
    return 1 / temperature - 1


def fastest(tier: Tier, items: int, text: Text | None, bias: float) -> Frames:
    """The fastest way on the device where the tier is."""
    device = tier.head.weight.device.type
    if device == "cpu":
        from synthkit_melnet.compiled import KernelFrames

        return KernelFrames(tier, items, text, bias)
    return (GraphFrames if device == "cuda" else TorchFrames)(tier, items, text, bias)


@torch.no_grad()
def sampled(
    tiers: Sequence[Tier],
    frames: int,
    generators: Sequence[torch.Generator],
    given: Given,
    prompt: Tensor | None = None,
    bias: float = 0.0,
    progress: Progress | None = None,
    make: Make = fastest,
) -> Tensor:
    """A spectrogram for each of B generators, `[B, M, N]` in physical units, without gradient.

    Args:
        tiers: the networks, tier 1 first.
        frames: N.
        generators: one for each item, on the CPU. Each tier of an item has its own numbers, frame after frame, so that tier 1
            of a longer clip begins as that of a shorter one.
        given: what the items are conditioned on, on the tiers' device.
        prompt: `[B, M, P]` in physical units: real frames, with which the items begin. The states run over them.
        bias: of the mixtures.
        progress: told of elements.
        make: how frames are made.
    """
    bands, device = len(tiers[0].scaling.shift), tiers[0].head.weight.device
    seeds = [torch.randint(2**62, (len(tiers),), generator=generator).tolist() for generator in generators]
    grids: list[Tensor] = []
    done = 0
    for tier, numbers in zip(tiers, zip(*seeds, strict=True), strict=True):
        rows, columns = shape_of(tier.tier, tier.count, frames, bands)
        own = torch.zeros(len(generators), rows, columns, device=device)
        first = 0
        if prompt is not None:
            primed = tier.scaled(prompt.transpose(1, 2))[1]
            first = primed.shape[1]
            own[:, :first] = primed
        if rows:
            below = tier.scaled_below(assemble(grids)) if grids else None
            more = _conditioning(tier, rows, len(generators), below, given)
            noise = [torch.Generator().manual_seed(number) for number in numbers]
            walk = make(tier, len(generators), given.text, bias)
            for row in _filled(walk, own, first, more, noise):
                if progress:
                    progress(done + (row + 1) * columns, frames * bands)
        done += rows * columns
        grids.append(tier.physical(own))
    whole = assemble(grids).transpose(1, 2).contiguous()
    if prompt is not None:
        whole[..., : prompt.shape[-1]] = prompt  # to the last bit
    return whole


def _filled(
    walk: Frames, own: Tensor, first: int, more: tuple[Tensor, Tensor], noise: Sequence[torch.Generator]
) -> Iterator[int]:
    """Draw the frames of `own` `[B, N', M']` from `first` on; yields each frame that the states have run over."""
    _, rows, bands = own.shape
    previous = torch.zeros_like(own[:, 0])
    for row in range(rows):
        of_time, of_frequency = (part[:, row if part.shape[1] > 1 else 0] for part in more)
        walk.advance(previous, of_time)
        if row >= first:
            uniform, normal = (
                torch.stack([numbers(bands, generator=generator) for generator in noise]).to(own.device)
                for numbers in (torch.rand, torch.randn)
            )
            own[:, row] = walk.draw(of_frequency, uniform, normal)
        previous = own[:, row]
        yield row


def _conditioning(tier: Tier, rows: int, items: int, below: Tensor | None, given: Given) -> tuple[Tensor, Tensor]:
    """`Tier.conditioning` of all items, one by one: a product of more rows is summed in another order, and an item would depend
    on its batch. So the memory that this takes does not grow with the batch either."""
    each = []
    for item in range(items):
        one = slice(item, item + 1)
        alone = Given(
            labels=None if given.labels is None else given.labels[one],
            conditions=None if given.conditions is None else given.conditions[one],
        )
        each.append(tier.conditioning(rows, None if below is None else below[one], alone))
    of_time, of_frequency = zip(*each, strict=True)
    return torch.cat(of_time), torch.cat(of_frequency)
