"""The kinds of component and what each promises. Plugins implement these; the core knows nothing else about them.

A component is a plain object built from its config (a `synthkit.config.Config`) by the class its offer names:

| kind        | base class         | built as                                     |
|-------------|--------------------|----------------------------------------------|
| `dataset`   | `Dataset`          | `Class(config)`                              |
| `features`  | `FeatureExtractor` | `Class(config)`, config is a `FeaturesConfig` |
| `vocoder`   | `Vocoder`          | `Class(config, spec)`                        |
| `model`     | `GenerativeModel`  | `Class(config, spec, labels)`                |
| `converter` | `Converter`        | `Class(config, spec, labels)`                |
| `objective` | `Objective`        | `Class(config, component, engine)`           |
| `metric`    | `Metric`           | `Class(config, spec)`                        |
| `embedding` | `Embedding`        | `Class(config, spec, labels)`                |
| `tracker`   | `Tracker`          | `Class(config, folder)`                      |

Letters in shapes: `B` batch, `T` samples, `C` channels, `M` mel bands, `N` frames. Importing this file imports no torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from synthkit.datasets import Dataset
from synthkit.errors import ClipReport, ConfigError
from synthkit.specs import FeatureSpec
from synthkit.values import (
    ABILITIES,
    SPLITS,
    Ability,
    Batch,
    Blend,
    Clip,
    Comparison,
    Progress,
    Request,
    Score,
    Split,
    VerifyReport,
    can_serve,
)

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import Tensor, nn

    from synthkit.audio import Audio

Kind = Literal["dataset", "features", "vocoder", "model", "converter", "objective", "metric", "embedding", "tracker"]
KINDS: tuple[Kind, ...] = (
    *("dataset", "features", "vocoder", "model", "converter"),
    *("objective", "metric", "embedding", "tracker"),
)


class FeatureExtractor(ABC):
    """Sound to features. An item never depends on its neighbours in the batch."""

    spec: FeatureSpec

    @abstractmethod
    def extract(self, samples: Tensor) -> Tensor:
        """`[B, T]` samples in -1..1 at `spec.sample_rate` to features `[B, M, spec.frames(T)]`, differentiable, on the same device."""


class Component(ABC):
    """A vocoder, a model or a converter: a plain object whose networks are its parts.

    `networks` is all the core needs to move, save, load, count and freeze; it is empty for a component that learns nothing.
    Building one draws initial weights from torch's global generator: the core builds it under `synthkit.training.seeded`.
    """

    spec: FeatureSpec

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """The networks by name; saved as `<name>.safetensors`."""
        return {}

    @property
    def device(self) -> torch.device:
        """Where its parameters are (the CPU for a component without any)."""
        import torch

        for network in self.networks.values():
            for parameter in network.parameters():
                return parameter.device
        return torch.device("cpu")

    def to(self, device: torch.device | str) -> None:
        """Move all networks to `device`."""
        for network in self.networks.values():
            network.to(device)


class Vocoder(Component):
    """Features to sound."""

    precisions: tuple[str, ...] = ("fp32",)
    """What it can compute in when it vocodes; `bf16` is quicker and less exact."""
    precision: str = "fp32"
    """What it does compute in, one of `precisions`: a choice of whoever vocodes, not part of what was learned."""

    @abstractmethod
    def vocode(
        self, features: Tensor, *, random: torch.Generator | None = None, progress: Progress | None = None
    ) -> Tensor:
        """Features `[B, M, N]` of `self.spec` to samples `[B, spec.samples(N)]`, nominally in -1..1, without gradient.

        The same features and the same state of `random` give the same samples; an item does not depend on its neighbours.
        """

    def vocode_each(self, features: Sequence[Tensor], *, random: torch.Generator | None = None) -> list[Tensor]:
        """Items of any lengths, `[M, N]` each, to samples `[spec.samples(N)]` each: what `vocode` makes of each alone."""
        made, state = [], None if random is None else random.get_state()
        for item in features:
            if random is not None and state is not None:  # as each would find it alone
                random.set_state(state)
            made.append(self.vocode(item[None], random=random)[0])
        return made

    @property
    def latency_frames(self) -> int | None:
        """How many frames have to follow a frame before `stream` gives its samples; None: all there are."""
        return None

    def stream(self, frames: Iterable[Tensor], *, random: torch.Generator | None = None) -> Iterator[Tensor]:
        """Features as they come, `[B, M, n]` each, to samples `[B, t]` as soon as they are certain.

        All that it yields, one after the other, is what `vocode` makes of all the frames. Here it waits for the last one, as a
        vocoder must that hears the whole; one with a `latency_frames` overrides both.
        """
        import torch

        pieces = list(frames)
        if pieces:
            yield self.vocode(torch.cat(pieces, dim=-1), random=random)


class GenerativeModel(Component):
    """Nothing, a label or a prompt to features."""

    labels: tuple[str, ...] = ()
    abilities: frozenset[Ability] = frozenset()
    """What it can serve beside labels and a length. The core refuses a request for anything else before it reaches the model."""

    @abstractmethod
    def generate(
        self, request: Request, *, random: torch.Generator | None = None, progress: Progress | None = None
    ) -> Tensor:
        """Features `[B, M, N]` of `self.spec`, in physical units, without gradient.

        Raises `ConfigError` for a label, prompt or length that the model cannot serve.
        """

    def conditions_of(self, features: Tensor) -> Tensor:
        """What a new clip follows so as to be like the real ones `[B, M, N]`: `Request.conditions`, `[B, C, N]`.

        For a model with the ability `conditions`. Raises `ConfigError` for one without.
        """
        raise ConfigError(
            f"{type(self).__name__} cannot {ABILITIES['conditions']}; it can serve: {can_serve(self.abilities)}"
        )


class Converter(Component):
    """Features of one kind of sound to features of another, with what happens in it kept."""

    source: str
    """The label of what it converts."""
    target: str
    """The label of what it makes of it."""

    @abstractmethod
    def convert(
        self,
        features: Tensor,
        *,
        strength: float = 1.0,
        random: torch.Generator | None = None,
        progress: Progress | None = None,
    ) -> Tensor:
        """Features `[B, M, N]` of `self.spec` to features of the same shape and spec, without gradient, whatever N.

        With `strength` 0 they stay as they are, with 1 they are converted fully. The same features and the same state of `random`
        give the same; an item does not depend on its neighbours.
        """

    @property
    def latency_frames(self) -> int | None:
        """How many frames have to follow a frame before `stream` gives what it becomes; None: all there are."""
        return None

    def seams(self, frames: int) -> Sequence[int]:
        """At which frames a clip of so many goes over from one piece that was converted apart into the next: the first of each piece,
        and those over which it is faded in; in order. Empty for a converter that makes every clip in one piece.
        """
        return ()

    def stream(
        self, frames: Iterable[Tensor], *, strength: float = 1.0, random: torch.Generator | None = None
    ) -> Iterator[Tensor]:
        """Features as they come, `[B, M, n]` each, to converted ones `[B, M, n']` as soon as they are certain.

        All that it yields, one after the other, is what `convert` makes of all the frames. Here it waits for the last one; a
        converter with a `latency_frames` overrides both, so that a sound of any length needs little memory.
        """
        import torch

        pieces = list(frames)
        if pieces:
            yield self.convert(torch.cat(pieces, dim=-1), strength=strength, random=random)


class Objective(ABC):
    """How a component learns. Owns what only training needs: critics, optimisers, schedules.

    It is built on a component whose networks are already on `engine.device`; it hands every network it trains to
    `engine.prepare` once, and uses what comes back in its forward. The core's loop calls `step` once per step and
    `evaluate` now and then, and saves `networks` (safetensors) and `state_dict()` (tensors, numbers, strings and plain
    containers only: it is loaded with `weights_only=True`).
    """

    component: Component
    hears: Literal["samples", "features"] | None = None
    """What its critic hears, for `hear`; None for an objective without one."""

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """Networks that only training needs (critics)."""
        return {}

    @property
    @abstractmethod
    def optimisers(self) -> Mapping[str, torch.optim.Optimizer]:
        """The optimisers by name."""

    def survey(self, batches: Iterable[Batch]) -> None:  # noqa: B027 - not every network keeps statistics
        """Look at crops of the training split before the first step of a part that starts fresh.

        For what a network keeps as buffers, like the range of its features (`synthkit.scaling`). Every process of a training
        sees the same crops. It is not called where a run goes on or weights come from another run: they bring their buffers.
        """

    @abstractmethod
    def step(self, batch: Batch) -> dict[str, Tensor]:
        """Learn from one batch. Returns the terms: `{name: scalar, detached}`."""

    @abstractmethod
    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        """The same forward as `step`, without learning: `{name: scalar}`; lower is better for each."""

    def undecided(self) -> Mapping[str, float]:
        """For each critic, by the name of its term: its loss while it cannot tell the made from the real.

        By it the core sees a critic that wins (its loss stays near 0) or gives up (it stays here).
        """
        return {}

    def hear(self, heard: Tensor) -> list[Tensor]:
        """What the critic's layers make of a sound, all but its scores: `[B, C, ...]` each, with gradient. A sound can be changed by it.

        `heard` is what `hears` says, samples `[B, T]` or features `[B, M, N]` of the component's spec in physical units, of any length
        that the critic can see. Raises `ConfigError` for an objective without a critic.
        """
        raise ConfigError(f"{type(self).__name__} has no critic that hears a sound")

    def state_dict(self) -> dict[str, Any]:
        """All state beside the networks; by default that of every optimiser."""
        return {"optimisers": {name: optimiser.state_dict() for name, optimiser in self.optimisers.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        for name, optimiser in self.optimisers.items():
            optimiser.load_state_dict(state["optimisers"][name])


class Metric(ABC):
    """A figure that says how good generated sound is."""

    @abstractmethod
    def update(self, item: Comparison) -> None:
        """Take one clip into account."""

    @abstractmethod
    def score(self) -> Score:
        """The figure over all clips so far. Raises `ConfigError` where there was none."""


class Embedding(Component):
    """Sounds to points, so that what sounds alike lies close together: what is measured of a model's clips is measured on these.

    One that learns from the run's own clips does so in `fit`, and keeps what it learned in `networks`: the core stores them and,
    for the same clips, loads them instead of fitting again. Sounds are mono, at `spec.sample_rate`, of any length and level.
    """

    labels: tuple[str, ...] = ()
    """What it was built to tell apart: the labels of the data set, or its clips where it has no labels."""

    def fit(self, sounds: Sequence[Audio], labels: Sequence[str], *, progress: Progress | None = None) -> None:
        """Learn from crops of the training split, each with one of `self.labels`; one that knows enough already does nothing.

        Random numbers come from torch's global generator, which the core has seeded.
        """

    @abstractmethod
    def embed(self, sounds: Sequence[Audio]) -> np.ndarray:
        """Points `[n, D]`, finite float32. That of a sound does not depend on the other sounds."""

    def classify(self, sounds: Sequence[Audio]) -> tuple[str, ...] | None:
        """Which of `self.labels` each sound is taken for; None for an embedding that tells none."""
        return None


class Tracker(ABC):
    """Where numbers, sounds and pictures of a run are written while it goes."""

    @abstractmethod
    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Named numbers of one step."""

    def audio(self, step: int, name: str, audio: Audio) -> None:  # noqa: B027 - not every tracker takes sound
        """A sound."""

    def image(self, step: int, name: str, image: np.ndarray) -> None:  # noqa: B027 - nor pictures
        """A picture `[height, width, 3]`, uint8."""

    def close(self) -> None:  # noqa: B027 - nor has something to close
        """Write what is left."""


@dataclass(frozen=True, kw_only=True)
class Offer:
    """A plugin's declaration of one component. Pure data: nothing is imported until a recipe names it.

    >>> Offer(kind="vocoder", name="hum", build="synthkit_hum.vocoder:Hum", config="synthkit_hum.config:HumConfig",
    ...       summary="Hums the loudest band.").name
    'hum'
    """

    kind: Kind
    name: str
    """What recipes write after `use:`; lower case, words joined by hyphens."""
    build: str
    """`"module:Class"` of the component."""
    config: str
    """`"module:Class"` of its settings, a torch-free module."""
    summary: str
    """One line for tables."""
    objective: str | None = None
    """For a vocoder, model or converter that learns: the name of the objective used where a recipe names none."""
    extra: str | None = None
    """The pip extra it needs, where it needs one."""
    imports: str | None = None
    """For a vocoder, model or converter that takes checkpoints of other projects: `"module:NAME"` of a `synthkit.foreign.Importer`."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """A plugin's declaration of one sub-command of `synthkit`."""

    name: str
    load: str
    """`"module:attribute"` of a `click.Command`."""
    summary: str


__all__ = [
    "KINDS",
    "SPLITS",
    "Ability",
    "Batch",
    "Blend",
    "Clip",
    "ClipReport",
    "Command",
    "Comparison",
    "Component",
    "Converter",
    "Dataset",
    "Embedding",
    "FeatureExtractor",
    "GenerativeModel",
    "Kind",
    "Metric",
    "Objective",
    "Offer",
    "Progress",
    "Request",
    "Score",
    "Split",
    "Tracker",
    "VerifyReport",
    "Vocoder",
]
