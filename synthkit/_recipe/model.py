"""What a checked recipe is: the blocks of the core with their settings, and the components it names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from synthkit._catalog import Offered
from synthkit.config import Config
from synthkit.interfaces import Kind, Split
from synthkit.specs import FeatureSpec

Part = Literal["vocoder", "model"]


class PrepareBlock(Config):
    """Decoding the data set into the cache."""

    workers: int = Field(default=0, ge=0)
    """Processes that decode; 0 means one per core."""
    min_seconds: float = Field(default=0.05, ge=0)
    """A clip shorter than this is listed as too short and left out."""
    max_unreadable: float = Field(default=0.1, ge=0, le=1)
    """Largest share of clips that may be left out before the run stops."""


class KeepBlock(Config):
    """Which checkpoints stay."""

    last: int = Field(default=2, ge=1)
    """The newest this many."""
    every: int | None = Field(default=None, ge=1)
    """Also each whose step is a multiple of this."""
    best: str | None = None
    """Also the one with the lowest value of this validation term (`mel_l1`), which later stages then use."""


class TrainBlock(Config):
    """One training: of the vocoder, or of the model."""

    part: Part
    """Which block of the recipe learns."""
    steps: int = Field(ge=1)
    """Optimisation steps in all."""
    batch: int = Field(default=16, ge=1)
    """Crops per step."""
    crop_seconds: float = Field(default=0.37, gt=0)
    """Length of a crop; rounded to whole frames. MelGAN's 8,192 samples are 0.37 s at 22,050 Hz."""
    peak: float | None = Field(default=0.95, gt=0, le=1)
    """Each clip is scaled to this peak (MelGAN: 0.95); null leaves its level."""
    gain: tuple[float, float] = (0.3, 1.0)
    """Each crop is scaled by a random gain from this range (MelGAN: 0.3 to 1)."""
    log_every: int = Field(default=10, ge=1)
    """Steps between two rows of metrics.jsonl."""
    evaluate_every: int = Field(default=1000, ge=1)
    """Steps between two evaluations on the validation split; there is one before the first step and one at the end."""
    evaluate_items: int = Field(default=16, ge=1)
    """Crops of the validation split that an evaluation hears; always the same."""
    save_every: int = Field(default=1000, ge=1)
    """Steps between two checkpoints; there is one at the end, and one when stopped with Ctrl-C."""
    keep: KeepBlock = KeepBlock()
    """Which checkpoints stay."""
    device: str = "auto"
    """`auto` (cuda if there is one, then mps, then cpu), or a torch device."""
    threads: int = Field(default=1, ge=1)
    """Threads that read crops ahead of the training."""


class GenerateBlock(Config):
    """Clips made at the end, for the ear and the metrics."""

    source: Split = "test"
    """Split whose clips the vocoder makes again from their features."""
    count: int = Field(default=4, ge=1)
    """Number of clips."""
    seconds: float = Field(default=5.0, gt=0)
    """Longest length of a clip."""
    temperature: float = Field(default=1.0, gt=0)
    """For a model: 1 samples as learned, lower is less varied."""


class ReportBlock(Config):
    """The page at the end."""

    title: str | None = None
    """Heading; the recipe's name if null."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """One component as a recipe names it."""

    kind: Kind
    offered: Offered
    config: Config
    from_run: Path | None = None
    """The run folder whose weights, config and spec it takes (`from:` instead of `use:`)."""
    spec: FeatureSpec | None = None
    """The spec of a part that comes from a run; None for one made here, which takes the recipe's."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """One `train:` block with its objective."""

    settings: TrainBlock
    objective: Block


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A checked recipe: everything that a run needs, nothing imported yet but settings."""

    name: str
    description: str
    seed: int
    data: Block
    features: Block
    spec: FeatureSpec
    model: Block | None
    vocoder: Block | None
    train: tuple[Training, ...]
    prepare: PrepareBlock
    generate: GenerateBlock
    compare: tuple[Block, ...]
    """Further vocoders that make the same clips, side by side (`generate: {compare: [griffin-lim]}`)."""
    report: ReportBlock
    metrics: tuple[Block, ...]
    """From `report: {metrics: [...]}`."""
    trackers: tuple[Block, ...]
    source: Path
    """The file it came from."""
    resolved: str
    """YAML of the recipe with every default, every override and absolute paths; runs again as it is."""

    def part(self, name: Part) -> Block | None:
        """The block that `train: {part: ...}` names."""
        return self.vocoder if name == "vocoder" else self.model
