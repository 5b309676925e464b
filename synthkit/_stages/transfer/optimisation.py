"""Transfer by optimisation (Gatys et al. 2015, arXiv 1508.06576), with a trained critic in the place of their image network.

Nothing learns: the clip itself is changed until the critic's layers see in it the content of one clip and the statistics of another.
It works on whatever the critic hears, samples `[1, T]` or features `[1, M, N]`, because all it knows of the critic is `hear`: from what
is heard to the outputs of its layers. So starting project 001's notebook did it, with MelGAN's critic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from synthkit.errors import ConfigError, nearest
from synthkit.interfaces import Progress

Hear = Callable[[Tensor], Sequence[Tensor]]
"""What is heard, `[1, ..., T]`, to the outputs of the layers, `[1, C, ...]` each; of any length."""
Statistics = Literal["gram", "moments"]
Start = Literal["content", "noise"]
_HISTORY = 20
"""Steps by which L-BFGS knows how steep the loss is: each keeps two copies of the clip."""


@dataclass(frozen=True, kw_only=True)
class TransferSettings:
    """What is wanted of a transfer. Raises `ConfigError` for what cannot be."""

    content_weight: float = 1.0
    """Weight of what each layer sees at each moment."""
    style_weight: float = 10.0
    """Weight of what each layer sees on the whole."""
    statistics: Statistics = "gram"
    """Of the style: `gram`, which channels of a layer are high together, or `moments`, the mean and deviation of each."""
    start: Start = "content"
    """What the clip is before the first step."""
    steps: int = 200
    """Most steps."""
    patience: int = 10
    """It stops where so many steps together ..."""
    tolerance: float = 1e-2
    """... have not taken this share off the loss."""

    def __post_init__(self) -> None:
        least = {"content_weight": 0, "style_weight": 0, "steps": 1, "patience": 1, "tolerance": 0}
        for name, bound in least.items():
            if not getattr(self, name) >= bound:
                raise ConfigError(f"{name} of a transfer must be at least {bound}, not {getattr(self, name)}")
        for name, known in (("statistics", Statistics), ("start", Start)):
            if getattr(self, name) not in get_args(known):
                raise ConfigError(f"{name} of a transfer: {nearest(getattr(self, name), get_args(known))}")


def transfer_settings(settings: Mapping[str, Any]) -> TransferSettings:
    """Settings by name. Raises `ConfigError` for one that there is not, and for what cannot be.

    >>> transfer_settings({"styl_weight": 3})
    Traceback (most recent call last):
    synthkit.errors.ConfigError: a transfer has no setting 'styl_weight'; did you mean 'style_weight'?
    """
    known = [field.name for field in fields(TransferSettings)]
    for name in settings:
        if name not in known:
            raise ConfigError(f"a transfer has no setting {name!r}; {nearest(name, known)}")
    return TransferSettings(**settings)


@dataclass(frozen=True)
class Transferred:
    """What came of a transfer."""

    made: Tensor
    """Of the shape of the content, without gradient."""
    losses: tuple[float, ...]
    """The weighted loss before each step, and the last one; it never rises."""
    settled: bool
    """Whether it stopped because nothing became better, before the most steps were made."""


def style_of(layers: Sequence[Tensor], statistics: Statistics) -> list[Tensor]:
    """What layers `[1, C, ...]` say of the style: which channels sound together, whenever they do.

    `gram`: `[C, C]`, the mean product of each two channels; `moments`: `[2, C]`, each one's mean and deviation.

    >>> [style_of([torch.ones(1, 3, 10)], statistics)[0].shape for statistics in ("gram", "moments")]
    [torch.Size([3, 3]), torch.Size([2, 3])]
    """
    flat = [layer[0].flatten(1) for layer in layers]
    if statistics == "gram":
        return [values @ values.T / values.shape[1] for values in flat]
    return [torch.stack([values.mean(1), (values.var(1, correction=0) + 1e-12).sqrt()]) for values in flat]


def transfer(
    content: Tensor,
    style: Sequence[Tensor],
    hear: Hear,
    settings: TransferSettings,
    *,
    random: torch.Generator | None = None,
    progress: Progress | None = None,
) -> Transferred:
    """A clip with the content of one and the style of another.

    Args:
        content: What happens: `[1, ..., T]`. The clip that is made begins as it, or as noise, and is as long.
        style: How it sounds: `style_of` what is heard of another clip, of any length.
        hear: The critic's layers.
        settings: Weights, steps, when to stop.
        random: Where the noise is drawn from.
        progress: Told of steps; the last one it is told of is the last that is made.

    Raises:
        ConfigError: where the style has another number of layers than the critic, or the content is not one item.
    """
    if len(content) != 1:
        raise ConfigError(f"clips are transferred one by one, not {len(content)} at once")
    with torch.no_grad():
        wanted = [layer.detach() for layer in hear(content)]
    if len(style) != len(wanted):
        raise ConfigError(f"the style is of {len(style)} layers, but the critic has {len(wanted)}")
    made = _first(content, settings, random).requires_grad_()
    optimiser = torch.optim.LBFGS(
        [made], max_iter=1, max_eval=_EVALUATIONS, history_size=_HISTORY, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        heard = hear(made)
        kept = _apart(heard, wanted)
        taken = _apart(style_of(heard, settings.statistics), style)
        return settings.content_weight * kept + settings.style_weight * taken

    def closure() -> float:
        made.grad = None
        value = loss()
        (made.grad,) = torch.autograd.grad(value, made)
        return value.item()

    losses: list[float] = []
    settled = False
    with torch.enable_grad():
        for step in range(settings.steps):
            losses.append(float(optimiser.step(closure)))  # type: ignore[no-untyped-call]
            settled = _settled(losses, settings)
            if progress:
                progress(step + 1, step + 1 if settled else settings.steps)
            if settled:
                break
        losses.append(loss().item())
    return Transferred(made.detach(), tuple(losses), settled)


_EVALUATIONS = 20
"""Of the loss, at most, to find how far one step goes."""


def _first(content: Tensor, settings: TransferSettings, random: torch.Generator | None) -> Tensor:
    """The content, or noise of its mean and deviation."""
    if settings.start == "content":
        return content.detach().clone()
    noise = torch.randn(content.shape, generator=random, device=random.device if random else "cpu")
    return noise.to(content) * content.std() + content.mean()


def _apart(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
    """Mean square of the difference beside that of what is wanted, mean over the layers: 1 says that nothing of it is there."""
    gaps = [
        (one - other).square().mean() / other.square().mean().clamp(min=1e-12)
        for one, other in zip(found, wanted, strict=True)
    ]
    return torch.stack(gaps).mean()


def _settled(losses: Sequence[float], settings: TransferSettings) -> bool:
    """Whether the last `patience` steps have taken less than the share `tolerance` off the loss."""
    if len(losses) <= settings.patience:
        return False
    before, now = losses[-1 - settings.patience], losses[-1]
    return before - now <= settings.tolerance * abs(before)
