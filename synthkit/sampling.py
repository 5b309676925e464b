"""What models share when they serve a request: randomness that is each item's own, labels as indices, what they cannot do."""

from __future__ import annotations

import torch
from torch import Tensor

from synthkit.errors import ConfigError, nearest
from synthkit.interfaces import GenerativeModel, Request


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


_ASKED = {
    "continue": "continue a clip",
    "blend": "make clips between two labels or seeds",
    "text": "say a text",
    "conditions": "follow features",
    "temperature": "vary less or more than it learned (temperature 1)",
}


def require_able(model: GenerativeModel, request: Request) -> None:
    """Raise `ConfigError` where the request asks for something that is not among the model's `abilities`."""
    asked = {
        "continue": request.prompt is not None,
        "blend": request.blend is not None,
        "text": request.texts is not None,
        "conditions": request.conditions is not None,
        "temperature": request.temperature != 1.0,
    }
    for ability, wanted in asked.items():
        if wanted and ability not in model.abilities:
            can = ", ".join(sorted(model.abilities)) or "nothing beside labels and a length"
            raise ConfigError(f"{type(model).__name__} cannot {_ASKED[ability]}; it can serve: {can}")
