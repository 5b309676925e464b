"""What a checked recipe is: the blocks of the core with their settings, and the components it names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self, get_args

from pydantic import ConfigDict, Field, model_validator

from synthkit._catalog import Offered
from synthkit.config import Config
from synthkit.interfaces import Kind, Split
from synthkit.specs import FeatureSpec

Precision = Literal["fp32", "bf16", "fp16"]
Shape = Literal["constant", "step", "exponential", "cosine"]
Part = Literal["vocoder", "model", "converter"]
PARTS: tuple[Part, ...] = get_args(Part)
CropAt = Literal["random", "start"]


class PrepareBlock(Config):
    """Decoding the data set into the cache."""

    workers: int = Field(default=0, ge=0)
    """Processes that decode; 0 means one per core."""
    min_seconds: float = Field(default=0.05, ge=0)
    """A clip shorter than this is listed as too short and left out."""
    short: Literal["skip", "pad", "loop"] = "pad"
    """A clip shorter than a crop is left out (`skip`), followed by silence (`pad`), or begins again (`loop`)."""
    max_unreadable: float = Field(default=0.05, ge=0, le=1)
    """Largest share of clips that may be left out before the run stops."""
    decode_seconds: float = Field(default=600.0, gt=0)
    """Longest time that decoding one clip may take; what takes longer is left out as `timed-out`."""


class KeepBlock(Config):
    """Which checkpoints stay."""

    last: int = Field(default=2, ge=1)
    """The newest this many."""
    every: int | None = Field(default=None, ge=1)
    """Also each whose step is a multiple of this."""
    best: str | None = None
    """Also the one with the lowest value of this validation term (`mel_l1`), which later stages then use."""


class ScheduleBlock(Config):
    """How learning rates change; each network's schedule counts the steps of its own optimiser."""

    shape: Shape = "constant"
    """`constant`, `step`, `exponential` or `cosine`."""
    warmup: int = Field(default=0, ge=0)
    """Steps in which the rate rises from nearly 0 to its full height."""
    every: int = Field(default=100_000, ge=1)
    """For `step` and `exponential`: after so many steps the rate has been multiplied by `factor` once."""
    factor: float = Field(default=0.5, gt=0, le=1)
    """For `step` and `exponential`."""
    final: float = Field(default=0.0, ge=0, le=1)
    """For `cosine`: what is left of the rate at the last step of the training; for the others: the least that is left."""


class WatchBlock(Config):
    """What is done about a training that goes wrong: a term that is not finite or explodes, a critic that wins or gives up."""

    rollbacks: int = Field(default=2, ge=0)
    """How often the training goes back to the last good checkpoint, with other crops, before it stops."""
    slow_down: float = Field(default=0.5, gt=0, le=1)
    """Learning rates are multiplied by this at each rollback."""
    explosion: float = Field(default=100.0, gt=1)
    """A term whose size is more than this many times its running median has exploded."""
    critic_margin: float = Field(default=0.02, ge=0, lt=1)
    """A critic has won while its loss, as a share of an undecided critic's, is below this, and given up while it is above 1 - this."""
    patience: int = Field(default=500, ge=1)
    """Steps for which a critic may win or give up before it is said."""


class TrainBlock(Config):
    """One training: of the vocoder, the model or the converter."""

    part: Part
    """Which block of the recipe learns."""
    steps: int = Field(ge=1)
    """Optimisation steps in all."""
    batch: int = Field(default=16, ge=1)
    """Crops per step."""
    crop_seconds: float = Field(default=0.37, gt=0)
    """Length of a crop; rounded to whole frames. MelGAN's 8,192 samples are 0.37 s at 22,050 Hz."""
    crop_at: CropAt = "random"
    """`random`: anywhere, evenly over all sound; `start`: the beginning of a clip, each as likely as another, as texts need."""
    balance: Literal["labels"] | None = None
    """`labels`: as many crops of one label as of another; null: of each as much as there is sound. A converter learns with
    `labels`, of its two."""
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
    precision: Precision = "fp32"
    """`fp32`, `bf16` or `fp16` (with loss scaling); weights, optimisers and spectral losses stay in fp32."""
    accumulate: int = Field(default=1, ge=1)
    """Pieces that a batch is learned in, one after the other, where memory is short; the result is that of the whole batch."""
    clip_norm: float | None = Field(default=None, gt=0)
    """Gradients of a network are scaled down to this norm; null: never."""
    ema: float | None = Field(default=None, gt=0, lt=1)
    """Decay of a running mean of the weights, which then is what is evaluated and generates (0.999); null: none."""
    compile: bool = False
    """Compile the networks with torch.compile: a slow first step, then faster ones on a GPU."""
    schedule: ScheduleBlock = ScheduleBlock()
    """How the learning rates change."""
    watch: WatchBlock = WatchBlock()
    """What is done about a training that goes wrong."""


class ContinueBlock(Config):
    """Real clips that a model goes on from."""

    source: Split = "test"
    """Split whose clips are gone on from."""
    seconds: float = Field(default=2.0, gt=0)
    """How much of the beginning of each is kept; the model makes the rest."""


class LikeBlock(Config):
    """Real clips whose course a model follows."""

    source: Split = "test"
    """Split whose clips are followed."""


class BlendBlock(Config):
    """The two ends of a way on which the clips of a model stand."""

    labels: tuple[str, str] | None = None
    """From one label to another."""
    seeds: tuple[int, int] | None = None
    """From one seed to another."""

    @model_validator(mode="after")
    def _leads_somewhere(self) -> Self:
        if self.labels is None and self.seeds is None:
            raise ValueError("write `labels: [one, other]`, `seeds: [one, other]`, or both")
        return self


class GenerateBlock(Config):
    """Clips made at the end, for the ear and the metrics: new ones by the model, and real ones that the vocoder makes again."""

    model_config = ConfigDict(serialize_by_alias=True)

    source: Split = "test"
    """Split whose clips the vocoder makes again from their features, and those that a converter converts."""
    count: int = Field(default=4, ge=1)
    """Number of clips that the model makes, or the converter converts; without either, of clips that are made again."""
    copies: int | None = Field(default=None, ge=0)
    """Number of clips that are made again; null: `count` without a model or converter, none beside one."""
    strength: float = Field(default=1.0, ge=0, le=1)
    """For a converter: 1 converts fully, 0 leaves a clip as it is."""
    seconds: float = Field(default=5.0, gt=0)
    """Longest length of a clip, with the beginning that it goes on from."""
    batch: int = Field(default=16, ge=1)
    """Clips that a model makes at once, as memory allows; they are the same whatever it is."""
    temperature: float = Field(default=1.0, gt=0)
    """For a model that can: 1 samples as learned, lower is less varied."""
    labels: tuple[str, ...] | None = Field(default=None, min_length=1)
    """For a model with labels: those of its clips, in turn; null: all that it knows in turn."""
    texts: tuple[str, ...] | None = Field(default=None, min_length=1)
    """For a model that can: what its clips say, in turn."""
    continues: ContinueBlock | None = Field(default=None, alias="continue")
    """For a model that can: its clips go on from the beginning of real ones."""
    like: LikeBlock | None = None
    """For a model that can: its clips follow real ones in what it was trained to follow."""
    blend: BlendBlock | None = None
    """For a model that can: its clips stand evenly on the way from one label or seed to another."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.continues is not None and self.continues.seconds >= self.seconds:
            raise ValueError(
                f"`continue` keeps {self.continues.seconds:g} s of a clip, and seconds: {self.seconds:g} leaves nothing to make"
            )
        if self.continues is not None and self.like is not None and self.continues.source != self.like.source:
            raise ValueError("`like` and `continue` take the same clips: name the same source in both")
        if self.blend is None:
            return self
        if self.continues is not None or self.like is not None:
            raise ValueError("`blend` stands alone: it cannot be made from real clips (`continue`, `like`)")
        if self.blend.labels is not None and self.labels is not None:
            raise ValueError("`blend` names the labels already: remove `labels`")
        if self.count < 2:
            raise ValueError("`blend` leads from one clip to another: `count` must be at least 2")
        return self


class EvaluateBlock(Config):
    """How many clips of a model or converter are made to judge it, beside those for the ear."""

    count: int = Field(default=48, ge=0)
    """New clips of a model, all labels in turn, or crops that a converter converts; 0: it is not judged. Figures of fewer than about
    20 say little."""
    seconds: float = Field(default=2.0, gt=0)
    """Length of a clip, and of the real ones that it is held against."""


class ReportBlock(Config):
    """The page at the end."""

    title: str | None = None
    """Heading; the recipe's name if null."""
    evaluate: EvaluateBlock = EvaluateBlock()
    """For a model or converter: the clips that it is judged by."""


class FromBlock(Config):
    """Where a part comes from: `from: runs/x`, or `from: {run: runs/x, strict: false}`."""

    run: str = Field(min_length=1)
    """Folder of a run whose weights, settings and spec are taken, or of one of its checkpoints."""
    strict: bool = True
    """Every weight must have its counterpart; false takes what fits, and the rest starts fresh. Only for a part that is trained."""
    optimisers: bool = False
    """Also take the state of the optimisers, and the weights that learning went on from. Only for a part that is trained."""


def as_part(kind: Kind) -> Part:
    """The part of a recipe that a component of this kind is.

    >>> as_part("vocoder")
    'vocoder'
    """
    return next(part for part in PARTS if part == kind)


@dataclass(frozen=True, kw_only=True)
class Origin:
    """A part's `from:`, checked."""

    path: Path
    """Folder of a run or of a checkpoint."""
    strict: bool = True
    optimisers: bool = False
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Settings that stand beside `from:`; all others are those of the run."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """One component as a recipe names it."""

    kind: Kind
    offered: Offered
    config: Config
    origin: Origin | None = None
    """The run whose weights, config and spec it takes (`from:` instead of `use:`)."""
    spec: FeatureSpec | None = None
    """The spec of a part that comes from a run; None for one made here, which takes the recipe's."""

    @property
    def part(self) -> Part:
        """The part of a recipe that it is: for a vocoder, a model or a converter."""
        return as_part(self.kind)

    @property
    def from_run(self) -> Path | None:
        """The folder of the run or checkpoint that it comes from."""
        return None if self.origin is None else self.origin.path


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
    converter: Block | None
    vocoder: Block | None
    train: tuple[Training, ...]
    prepare: PrepareBlock
    generate: GenerateBlock
    compare: tuple[Block, ...]
    """Further vocoders that make the same clips, side by side (`generate: {compare: [griffin-lim]}`)."""
    report: ReportBlock
    metrics: tuple[Block, ...]
    """From `report: {metrics: [...]}`."""
    embedding: Block
    """From `report: {embedding: ...}`: what clips of a model are compared by."""
    trackers: tuple[Block, ...]
    source: Path
    """The file it came from."""
    resolved: str
    """YAML of the recipe with every default, every override and absolute paths; runs again as it is."""

    @property
    def copies(self) -> int:
        """How many real clips the vocoder makes again."""
        if self.generate.copies is not None:
            return self.generate.copies
        return self.generate.count if self.model is None and self.converter is None else 0

    def part(self, name: Part) -> Block | None:
        """The block that `train: {part: ...}` names."""
        return {"vocoder": self.vocoder, "model": self.model, "converter": self.converter}[name]
