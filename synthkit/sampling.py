"""What models share when they serve a request: randomness that is each item's own, labels as indices, what they cannot do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from synthkit.errors import ConfigError, nearest
from synthkit.interfaces import GenerativeModel, Request
from synthkit.values import ABILITIES, Ability, can_serve


def item_generators(request: Request, random: torch.Generator | None = None) -> list[torch.Generator]:
    """One generator per item, on the CPU: an item depends on its seed alone, not on its batch, nor on the device.

    Without `request.seeds` the seeds are drawn from `random`, and from torch's global generator where there is none.

    >>> both, alone = item_generators(Request(frames=4, count=2, seeds=(7, 8))), item_generators(Request(frames=4, seeds=(8,)))
    >>> bool(torch.equal(torch.randn(3, generator=both[1]), torch.randn(3, generator=alone[0])))
    True
    """
    seeds = request.seeds
    if not seeds:
        device = "cpu" if random is None else random.device
        drawn = torch.randint(2**62, (request.count,), generator=random, device=device)
        seeds = tuple(drawn.tolist())
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def item_noise(generators: list[torch.Generator], *shape: int, device: torch.device | str = "cpu") -> Tensor:
    """Standard normal numbers `[B, *shape]`, item `b` drawn from `generators[b]`."""
    return torch.stack([torch.randn(shape, generator=generator) for generator in generators]).to(device)


def label_indices(
    labels: tuple[str, ...] | None, known: tuple[str, ...], count: int, device: torch.device | str = "cpu"
) -> Tensor | None:
    """`[B]` indices into `known`; None for a model that was trained without labels.

    Raises `ConfigError` for a label that is not known, for none where the model needs one, and for a number of labels
    other than `count`.

    >>> label_indices(("rock", "jazz"), ("blues", "jazz", "rock"), 2)
    tensor([2, 1])
    """
    if not known:
        if labels:
            raise ConfigError(f"the model was trained without labels, so {labels[0]!r} cannot be asked for")
        return None
    if labels is None:
        raise ConfigError(f"the model needs a label for each item; {nearest('', known)}")
    if len(labels) != count:
        raise ConfigError(f"there are {len(labels)} labels for {count} items")
    for label in labels:
        if label not in known:
            raise ConfigError(f"the model knows no label {label!r}; {nearest(label, known)}")
    return torch.tensor([known.index(label) for label in labels], device=device)


def require_able(model: GenerativeModel, request: Request) -> None:
    """Raise `ConfigError` where the request asks for something that is not among the model's `abilities`."""
    asked: dict[Ability, bool] = {
        "continue": request.prompt is not None,
        "blend": request.blend is not None,
        "text": request.texts is not None,
        "conditions": request.conditions is not None,
        "temperature": request.temperature != 1.0,
    }
    for ability, wanted in asked.items():
        if wanted and ability not in model.abilities:
            raise ConfigError(
                f"{type(model).__name__} cannot {ABILITIES[ability]}; it can serve: {can_serve(model.abilities)}"
            )


@contextmanager
def evaluating(*networks: nn.Module) -> Iterator[None]:
    """Within it, the networks and all their modules are in evaluation mode; afterwards each is in the mode it was in.

    >>> network = nn.Sequential(nn.Dropout())
    >>> with evaluating(network):
    ...     network[0].training
    False
    >>> network[0].training
    True
    """
    modes = [(module, module.training) for network in networks for module in network.modules()]
    for network in networks:
        network.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def slerp(one: Tensor, other: Tensor, share: Tensor) -> Tensor:
    """The way from `one` to `other` along a great circle, `share` of it gone: normal noise on both ends stays normal between.

    A straight line would pass nearer to 0 than any noise lies. The vectors are the last axis of `one` and `other`; `share` has
    their shape without it, or one that broadcasts to it. At 0 it is `one`, at 1 `other`.

    >>> slerp(torch.tensor([2.0, 0.0]), torch.tensor([0.0, 2.0]), torch.tensor(0.5))
    tensor([1.4142, 1.4142])
    """
    cosine = torch.cosine_similarity(one, other, dim=-1).clamp(-1, 1)
    angle = cosine.acos()
    share = share.expand_as(angle)
    straight = angle.sin() < 1e-4  # parallel, or opposite: no one circle leads from one to the other
    sine = torch.where(straight, torch.ones_like(angle), angle.sin())
    first = torch.where(straight, 1 - share, ((1 - share) * angle).sin() / sine)
    second = torch.where(straight, share, (share * angle).sin() / sine)
    return first[..., None] * one + second[..., None] * other
