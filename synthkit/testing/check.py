"""What a check is, and what the laws have in common: fresh components, a guard on global randomness, saved networks."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from synthkit.training.engine import seeded

Thing = TypeVar("Thing")


@dataclass(frozen=True)
class Check:
    """One law, ready to be tried on one component. Calling it raises `AssertionError` where the law is broken."""

    name: str
    """Kind and law, short: the id of the test."""
    law: str
    """The law as a sentence."""
    attempt: Callable[[], None] = field(repr=False, compare=False)

    def __call__(self) -> None:
        """Try the law."""
        try:
            self.attempt()
        except BrokenLaw as broken:
            raise AssertionError(f"{self.law} Here {broken}.") from None

    def __str__(self) -> str:
        return self.name


class BrokenLaw(Exception):
    """How a law is broken: the end of a sentence that begins with "Here"."""


def expect(holds: bool, how: str) -> None:
    """Raise `BrokenLaw` where something does not hold."""
    if not holds:
        raise BrokenLaw(how)


def checks(kind: str, laws: Iterable[Callable[..., None]], *args: Any, **options: Any) -> list[Check]:
    """A check for each law, a function whose docstring's first paragraph is the law."""
    return [
        Check(
            name=f"{kind}-{law.__name__.replace('_', '-')}",
            law=" ".join((inspect.getdoc(law) or "").split("\n\n")[0].split()),
            attempt=partial(law, *args, **options),
        )
        for law in laws
    ]


def run(battery: Sequence[Check]) -> None:
    """Try all checks. Raises one `AssertionError` that names every law that is broken."""
    broken = []
    for check in battery:
        try:
            check()
        except AssertionError as error:
            broken.append(f"{check.name}: {error}")
    if broken:
        raise AssertionError("\n".join(broken))


def fresh(build: Callable[[], Thing], seed: int = 1) -> Thing:
    """A new component, its initial weights drawn from `seed`, its networks ready to be used rather than trained."""
    with seeded(seed):
        thing = build()
    for network in getattr(thing, "networks", {}).values():
        network.eval()
    return thing


def generator(seed: int = 7) -> torch.Generator:
    """A source of randomness of its own."""
    return torch.Generator().manual_seed(seed)


@contextmanager
def untouched_randomness(what: str) -> Iterator[None]:
    """Raise `BrokenLaw` where the block draws from, or seeds, the global generators of torch, numpy or Python."""
    before = _random_states()
    yield
    for name, old, new in zip(("torch", "numpy", "Python"), before, _random_states(), strict=True):
        expect(old == new, f"{what} changes {name}'s global random state")


def _random_states() -> tuple[object, object, object]:
    state = np.random.get_state(legacy=False)
    inner = state["state"]
    return bytes(torch.random.get_rng_state().numpy()), (bytes(inner["key"]), inner["pos"]), random.getstate()


def copy_of(networks: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Every parameter and buffer by name, copied."""
    return {
        f"{name}.{key}": value.detach().clone()
        for name, network in networks.items()
        for key, value in network.state_dict().items()
    }


def changed(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> list[str]:
    """Names of the tensors that differ."""
    return [name for name in before if name not in after or not torch.equal(before[name], after[name])]


def transplant(source: Mapping[str, nn.Module], target: Mapping[str, nn.Module]) -> None:
    """Save every network of `source` as safetensors and load it into the network of the same name in `target`."""
    expect(
        set(source) == set(target),
        f"two components of the same settings have the networks {set(source)} and {set(target)}",
    )
    for name, network in source.items():
        tensors = {key: value.detach().contiguous() for key, value in network.state_dict().items()}
        try:
            saved = safetensors.torch.save(tensors)
        except RuntimeError as error:
            raise BrokenLaw(f"the network {name!r} cannot be saved as safetensors: {error}") from error
        target[name].load_state_dict(safetensors.torch.load(saved))


def distance(a: Tensor, b: Tensor) -> float:
    """The largest difference of two tensors; infinite where their shapes differ or a value is not finite."""
    if a.shape != b.shape or not (a.isfinite().all() and b.isfinite().all()):
        return float("inf")
    return float((a.double() - b.double()).abs().max()) if a.numel() else 0.0
