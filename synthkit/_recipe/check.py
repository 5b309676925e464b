"""From a recipe's tree to a checked `Recipe`: every block, and whether the parts fit each other."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from synthkit._catalog import Catalog, Offered
from synthkit._recipe.blocks import Checker
from synthkit._recipe.explain import ModelT
from synthkit._recipe.model import (
    PARTS,
    Block,
    GenerateBlock,
    Origin,
    Part,
    PrepareBlock,
    Recipe,
    ReportBlock,
    TrainBlock,
    Training,
)
from synthkit._recipe.resolve import with_resolved
from synthkit._recipe.yaml import Entry, Items, Mark, Node, Scalar, Table, is_null
from synthkit.config import Config, PartConfig
from synthkit.errors import Problem, UnknownName
from synthkit.interfaces import Kind
from synthkit.specs import FeatureSpec
from synthkit.values import ABILITIES, Ability, can_serve

BLOCK_KEYS = (
    *("data", "features", "model", "converter", "vocoder", "train"),
    *("prepare", "generate", "report", "trackers", "tiny"),
)
"""Top-level keys beside those of `Head`, in the order of a recipe."""

CRITIC_WARMUP = 1_000
"""Steps (at most a tenth of all) in which a fresh critic learns alone beside a part that has learned already."""

_MAKERS_FIRST: tuple[Part, ...] = ("model", "converter", "vocoder")
"""The parts in the order in which features go through them."""

_ASKS: Mapping[str, Ability | None] = {
    "temperature": "temperature",
    "labels": None,
    "texts": "text",
    "continue": "continue",
    "like": "conditions",
    "blend": "blend",
}
"""Keys of `generate` that only a model serves, and the ability that each needs beside labels."""

DEFAULT_METRICS = ("mel-l1", "multi-stft", "mcd", "real-time-factor", "level", "clipping", "silence")
DEFAULT_EMBEDDING = "classifier"
DEFAULT_TRACKERS = ("json-lines",)


class Head(Config):
    """What a recipe says of itself."""

    recipe: Literal[1]
    """Version of the recipe language; always 1."""
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)
    """Name of the run folder: letters, digits, dots, hyphens and underscores."""
    description: str = ""
    """What the recipe is for, in a sentence."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Everything random follows from it: splits of tones, crops, initial weights, what is generated."""


def check_recipe(
    tree: Table, catalog: Catalog, source: Path, *, check_files: bool
) -> tuple[Recipe | None, list[Problem]]:
    """The recipe in `tree`, or every problem it has."""
    check = _Check(tree, catalog, check_files)
    recipe = check.recipe(source)
    problems = check.checker.problems
    return (None, problems) if problems else (recipe, [])


class _Check:
    def __init__(self, tree: Table, catalog: Catalog, check_files: bool) -> None:
        self.checker = Checker(catalog, check_files)
        self.catalog = catalog
        self.start = tree.mark
        known = {*Head.model_fields, *BLOCK_KEYS}
        self.written: dict[str, Entry] = {
            key: entry for key, entry in tree.entries.items() if key not in known or not is_null(entry.value)
        }
        self.tree = Table(self.written, tree.mark)
        self.parts: dict[Part, Block | None] = {}

    def recipe(self, source: Path) -> Recipe | None:
        """Everything, block by block; None where something essential is wrong."""
        head = self.checker.settings(Head, self.tree, self.start, "", BLOCK_KEYS)
        data = self._required("dataset", "data", "a recipe needs a data set")
        self.parts = {part: self._part(part) for part in PARTS}
        vocoder, model = self.parts["vocoder"], self.parts["model"]
        features = self._features()
        where = self._key("features")
        spec = None if features is None else self.checker.spec(features, self.tree.get("features"), where)
        compare = self._blocks("vocoder", "generate", "compare", (), may_be_from=True)
        training = self._training()
        metrics = self._blocks("metric", "report", "metrics", DEFAULT_METRICS)
        trackers = self._listed("tracker", self.tree.get("trackers"), "trackers", DEFAULT_TRACKERS, False)
        prepare = self._core(PrepareBlock, "prepare")
        generate = self._core(GenerateBlock, "generate", "compare")
        report = self._core(ReportBlock, "report", "metrics", "embedding")
        embedding = self._embedding()
        self._something_sounds()
        self._one_source()
        if generate is not None:
            self._can_be_made(generate, model)
        if spec is not None:
            self._fit(spec, compare)
            self._trainable(spec, training)
        self._all_have_weights(training, compare)
        if head is None or data is None or features is None or spec is None:
            return None
        if prepare is None or generate is None or report is None or embedding is None:
            return None
        recipe = Recipe(
            name=head.name,
            description=head.description,
            seed=head.seed,
            data=data,
            features=features,
            spec=spec,
            model=model,
            converter=self.parts["converter"],
            vocoder=vocoder,
            train=tuple(training),
            prepare=prepare,
            generate=generate,
            compare=tuple(block for _, block in compare),
            report=report,
            metrics=tuple(block for _, block in metrics),
            embedding=embedding,
            trackers=tuple(block for _, block in trackers),
            source=source,
            resolved="",
        )
        return recipe if self.checker.problems else with_resolved(recipe, self.catalog)

    def _key(self, name: str) -> Mark:
        entry = self.written.get(name)
        return entry.key if entry else self.start

    def _inner(self, name: str, inner: str) -> Mark:
        """Where a key of a block is written, or the block."""
        node = self.tree.get(name)
        return node.entries[inner].key if isinstance(node, Table) and inner in node.entries else self._key(name)

    def _core(self, model: type[ModelT], key: str, *inner: str) -> ModelT | None:
        return self.checker.settings(model, self.tree.get(key), self._key(key), key, inner)

    def _required(self, kind: Kind, key: str, why: str) -> Block | None:
        node = self.tree.get(key)
        if node is None:
            self.checker.report(self.start, key, f"a required key is missing: {why}", self.checker.names(kind))
            return None
        return self.checker.component(kind, node, self._key(key), key)

    def _part(self, part: Part) -> Block | None:
        node = self.tree.get(part)
        return None if node is None else self.checker.component(part, node, self._key(part), part, may_be_from=True)

    def _features(self) -> Block | None:
        node = self.tree.get("features")
        if node is not None:
            return self.checker.component("features", node, self._key("features"), "features", may_be_from=True)
        written = [part for part in PARTS if self.tree.get(part) is not None]
        blocks = [block for part in _MAKERS_FIRST if (block := self.parts[part]) is not None]
        runs = [block.from_run for block in blocks if block.from_run is not None]
        if runs and len(runs) == len(written):
            return self.checker.features_of_run(runs[0], self._key(written[-1]))
        if len(runs) < len(blocks) or not written:
            why = "a required key is missing: it may be left out only where every part comes `from:` a run"
            self.checker.report(self.start, "features", why, self.checker.names("features"))
        return None

    def _blocks(
        self, kind: Kind, key: str, inner: str, default: Sequence[str], may_be_from: bool = False
    ) -> list[tuple[Mark, Block]]:
        """The list of components that the block `key` has under `inner`."""
        outer = self.tree.get(key)
        node = outer.entries[inner].value if isinstance(outer, Table) and inner in outer.entries else None
        return self._listed(kind, node, f"{key}.{inner}", default, may_be_from)

    def _embedding(self) -> Block | None:
        report = self.tree.get("report")
        entry = report.entries.get("embedding") if isinstance(report, Table) else None
        if entry is None or is_null(entry.value):
            entry = Entry(self._key("report"), Scalar(DEFAULT_EMBEDDING, self._key("report")))
        return self.checker.component(
            "embedding", entry.value, entry.key, "report.embedding", default=DEFAULT_EMBEDDING
        )

    def _listed(
        self, kind: Kind, node: Node | None, path: str, default: Sequence[str], may_be_from: bool
    ) -> list[tuple[Mark, Block]]:
        if node is None or is_null(node):
            node = Items(tuple(Scalar(name, self.start) for name in default), self.start)
        found: list[tuple[Mark, Block]] = []
        for index, item in enumerate(self.checker.items(node, path)):
            block = self.checker.component(kind, item, item.mark, f"{path}.{index}", may_be_from=may_be_from)
            if block is None:
                continue
            if any(block == other for _, other in found):
                self.checker.report(item.mark, f"{path}.{index}", "stands in the list twice", "remove one of the two")
            found.append((item.mark, block))
        return found

    def _training(self) -> list[Training]:
        trainings: list[Training] = []
        for item, where, path in self._train_blocks():
            training = self._one_training(item, where, path)
            if training is None:
                continue
            part = training.settings.part
            if any(other.settings.part == part for other in trainings):
                hint = "write one block for it, with all its steps"
                self.checker.report(where, path, f"the {part} is trained twice", hint)
            trainings.append(training)
        return trainings

    def _train_blocks(self) -> list[tuple[Node, Mark, str]]:
        """Each training with its position and path."""
        node = self.tree.get("train")
        if isinstance(node, Items):
            return [(item, item.mark, f"train.{index}") for index, item in enumerate(node.items)]
        return [] if node is None else [(node, self._key("train"), "train")]

    def _one_training(self, item: Node, where: Mark, path: str) -> Training | None:
        settings = self.checker.settings(TrainBlock, item, where, path, ("objective",))
        named = item.get("objective") if isinstance(item, Table) else None
        part = item.get("part") if isinstance(item, Table) else None
        learner = None
        name = next((it for it in PARTS if isinstance(part, Scalar) and part.value == it), None)
        if name is not None and part is not None:
            learner = self._named(name)
            if self.tree.get(name) is None:
                hint = f"add a `{name}:` block"
                self.checker.report(part.mark, f"{path}.part", f"there is no {name} in this recipe", hint)
            elif learner is not None and learner.offer.objective is None:
                message = f"the {name} {learner.offer.name!r} learns nothing"
                self.checker.report(part.mark, f"{path}.part", message, "remove its `train:` block")
                return None
        objective = self._objective(named, learner, item, where, f"{path}.objective")
        if settings is None or objective is None:
            return None
        if settings.part == "converter" and "balance" not in settings.model_fields_set:
            settings = settings.model_copy(update={"balance": "labels"})  # it learns from both its labels in each step
        return Training(settings=settings, objective=self._warmed(objective, settings))

    def _warmed(self, objective: Block, settings: TrainBlock) -> Block:
        """The objective with a warm-up for its critic, where the run that the part comes from has none to take along.

        A fresh critic would undo what the part has learned. Only where the recipe does not say `critic_warmup` itself.
        """
        part, config = self.parts[settings.part], objective.config
        if part is None or part.origin is None or "critic_warmup" not in type(config).model_fields:
            return objective
        from synthkit._recipe.from_run import has_critic

        if "critic_warmup" in config.model_fields_set:
            return objective
        if has_critic(part.origin.path, settings.part, objective.offered.full_name):
            return objective
        warmup = {"critic_warmup": min(CRITIC_WARMUP, settings.steps // 10)}
        try:
            config = type(config).model_validate({**config.model_dump(), **warmup}, context={"check_files": False})
        except ValidationError:  # with its other settings this objective has no critic
            return objective
        return dataclasses.replace(objective, config=config)

    def _named(self, part: Part) -> Offered | None:
        """The component of a part, also where its settings are wrong."""
        block, node = self.parts[part], self.tree.get(part)
        if block is not None:
            return block.offered
        name = node.get("use") if isinstance(node, Table) else node
        try:
            return self.catalog.find(part, str(name.value)) if isinstance(name, Scalar) else None
        except UnknownName:  # noted where the part was checked
            return None

    def _objective(
        self, named: Node | None, learner: Offered | None, item: Node, where: Mark, path: str
    ) -> Block | None:
        default = None if learner is None else f"{learner.plugin}/{learner.offer.objective}"
        names_one = isinstance(named, Scalar) or (isinstance(named, Table) and "use" in named.entries)
        if default is None and not names_one:
            return None  # which one it would be depends on the part, whose own problem is already noted
        if named is None:
            named = Scalar(default, where)
        elif isinstance(item, Table):
            where = item.entries["objective"].key
        return self.checker.component("objective", named, where, path, default=default)

    def _something_sounds(self) -> None:
        generate = self.tree.get("generate")
        compares = isinstance(generate, Table) and "compare" in generate.entries
        if self.tree.get("vocoder") is None and not compares:
            plain = [it.offer.name for it in self.catalog.offers("vocoder") if it.offer.objective is None]
            hint = f"`vocoder: {plain[0]}` needs no training" if plain else ""
            self.checker.report(
                self.start, "vocoder", "a required key is missing: nothing turns features into sound", hint
            )

    def _one_source(self) -> None:
        """Features come from a model or from a converter."""
        if self.tree.get("model") is not None and self.tree.get("converter") is not None:
            message = "a recipe makes new clips with a model or converts real ones, not both"
            self.checker.report(self._key("converter"), "converter", message, "write two recipes")

    def _can_be_made(self, generate: GenerateBlock, model: Block | None) -> None:
        """New clips need a model, and one that can make them so, as far as its settings tell; a strength needs a converter."""
        if _is_asked(generate, "strength") and self.tree.get("converter") is None:
            hint = "add a `converter:` block, or remove it"
            message = "only a converter has a strength, and there is none"
            self.checker.report(self._inner("generate", "strength"), "generate.strength", message, hint)
        asked = {key: ability for key, ability in _ASKS.items() if _is_asked(generate, key)}
        for key, ability in asked.items():
            mark = self._inner("generate", key)
            if self.tree.get("model") is None:
                hint = "add a `model:` block, or remove it"
                self.checker.report(mark, f"generate.{key}", "only a model makes new clips, and there is none", hint)
                continue
            able = model.config.abilities() if model is not None and isinstance(model.config, PartConfig) else None
            if model is not None and ability is not None and able is not None and ability not in able:
                message = f"the model {model.offered.offer.name!r} with these settings cannot {ABILITIES[ability]}"
                self.checker.report(mark, f"generate.{key}", message, f"it can serve: {can_serve(able)}")

    def _fit(self, spec: FeatureSpec, compare: Sequence[tuple[Mark, Block]]) -> None:
        features, source = spec, "features"
        for part in _MAKERS_FIRST:
            block = self.parts[part]
            if block is None:
                continue
            self.checker.fits(block, features, self.tree.get(part), self._key(part), part, given=source)
            if block.spec is not None and part != "vocoder":
                features, source = block.spec, f"{part} (from the run)"
        for index, (mark, block) in enumerate(compare):
            self.checker.fits(block, features, None, mark, f"generate.compare.{index}", given=source)

    def _trainable(self, spec: FeatureSpec, trainings: Sequence[Training]) -> None:
        """What only training asks: the very spec of the run it goes on from, and crops of at least a frame."""
        for training in trainings:
            part = training.settings.part
            block = self.parts[part]
            if block is not None and block.spec is not None and block.spec != spec:
                fields = ", ".join(
                    f"{name} is {mine!r} in features and {theirs!r} in the run"
                    for name, (mine, theirs) in spec.differences(block.spec).items()
                )
                hint = "to train it further, use the run's own features: leave `features:` out"
                self.checker.report(
                    self._key(part), part, f"it is trained here, on features it was not made for: {fields}", hint
                )
        for item, _, path in self._train_blocks():
            crop = item.get("crop_seconds") if isinstance(item, Table) else None
            if isinstance(crop, Scalar) and isinstance(crop.value, int | float) and 0 < crop.value < math.inf:
                self._holds_a_frame(crop.value, spec, crop.mark, f"{path}.crop_seconds")

    def _holds_a_frame(self, seconds: float, spec: FeatureSpec, mark: Mark, path: str) -> None:
        if round(seconds * spec.frames_per_second) < 1:
            hint = f"a frame of these features is {1 / spec.frames_per_second:.4g} s"
            self.checker.report(mark, path, f"a crop of {seconds:g} s is shorter than one frame", hint)

    def _all_have_weights(self, trainings: Sequence[Training], compare: Sequence[tuple[Mark, Block]]) -> None:
        """A part that learns is trained here or comes from a run; anything else would make noise."""
        all_known = len(trainings) == len(self._train_blocks())
        trained = {training.settings.part for training in trainings}
        for part, block in self.parts.items():
            if block is None or part in trained or not all_known:
                continue
            if block.origin is not None:
                self._only_for_training(block.origin, self._key(part), part)
            elif block.offered.offer.objective is not None:
                message = f"{block.offered.offer.name!r} has to be trained, and no `train:` block does"
                hint = f"add `train: {{part: {part}, steps: ...}}`, or take it `from:` a run"
                self.checker.report(self._key(part), part, message, hint)
        for index, (mark, block) in enumerate(compare):
            path = f"generate.compare.{index}"
            if block.origin is not None:
                self._only_for_training(block.origin, mark, path)
            elif block.offered.offer.objective is not None:
                message = f"{block.offered.offer.name!r} has to be trained before it can be compared"
                self.checker.report(mark, path, message, "write `{from: RUN}`")

    def _only_for_training(self, origin: Origin, mark: Mark, path: str) -> None:
        if not origin.strict:
            message = "weights that the run does not have would stay random, since this part is not trained here"
            self.checker.report(mark, f"{path}.from.strict", message, "remove `strict: false`, or train it")
        if origin.optimisers:
            message = "it is not trained here, so no optimiser needs a state"
            self.checker.report(mark, f"{path}.from.optimisers", message, "remove `optimisers: true`, or train it")


def _is_asked(generate: GenerateBlock, key: str) -> bool:
    """Whether a key of the block says something else than its default."""
    name, field = next(
        (name, field) for name, field in GenerateBlock.model_fields.items() if key in (name, field.alias)
    )
    return bool(getattr(generate, name) != field.default)
