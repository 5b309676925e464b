"""What passes between synthkit and other projects: checkpoints of theirs, and vocoders of ours as one network. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor, nn

    from synthkit.config import Config, PartConfig
    from synthkit.specs import FeatureSpec


@dataclass(frozen=True, kw_only=True)
class Foreign:
    """What a checkpoint of another project holds. It was read without running anything that stands in it."""

    file: Path
    """Where it was read; such projects keep settings and statistics in files beside it."""
    weights: Mapping[str, Tensor]
    """Its tensors by their path in nested containers, joined by dots: `model_g.generator.1.bias`."""
    notes: Mapping[str, object]
    """Its numbers and texts, named alike: `epoch`, `hp_str`."""
    beside: Callable[[str], Foreign | None]
    """Reads the file of that name in the same folder; None where there is none. Raises `CheckpointError`."""


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What an importer made of it. The core compares all weights with the networks, and writes the run."""

    lineage: str
    """Whose network it is, for people."""
    config: PartConfig
    """Settings of the component."""
    spec: FeatureSpec
    """The features that it hears."""
    networks: Mapping[str, Mapping[str, Tensor]]
    """State dicts of the component's networks."""
    labels: tuple[str, ...] = ()
    """What a model can be asked for."""
    objective: Config | None = None
    """Settings of the objective that the offer names, where `critics` has networks of it."""
    critics: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)
    """State dicts of the objective's networks, to be trained further with; empty where there are none."""
    step: int = 0
    """Steps that it has learned for, where that is known."""
    remarks: tuple[str, ...] = ()
    """What the user should know: what was assumed, what was left out and why."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """A file that its authors offer for download. A name without a hash is of use only to those who know one."""

    name: str
    url: str
    summary: str
    sha256: str | None = None
    git_blob: str | None = None
    """Its object name in a git repository: the SHA-1 of `blob <size>`, a zero byte, and the file."""


@dataclass(frozen=True, kw_only=True)
class Importer:
    """How a component takes checkpoints of other projects: what `Offer.imports` names. Its module imports no torch."""

    read: Callable[[Foreign], Imported]
    """Raises `CheckpointError` where the file is none of those that it knows, or cannot be expressed exactly; says which and why."""
    published: tuple[Published, ...] = ()
    """Files that `synthkit pull` knows by name."""


@runtime_checkable
class Portable(Protocol):
    """A vocoder that other programs can run: all that it does is one network."""

    def portable(self) -> nn.Module:
        """A network that maps features `[B, M, N]` of `spec` to what `vocode` makes of them, `[B, spec.samples(N)]`, for any B >= 1
        and N >= 2. It shares no memory with the vocoder, is in evaluation mode, and can be traced by `torch.export`."""
