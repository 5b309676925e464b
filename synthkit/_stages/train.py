"""The train stage: each `train:` block of a recipe, one after the other, from the prepared data to checkpoints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthkit._catalog import Catalog
from synthkit._data.crops import Crops, Loader, RawBatch
from synthkit._data.prepared import Prepared
from synthkit._recipe.model import Block, Origin, Recipe, TrainBlock, Training
from synthkit._run.batches import to_batch
from synthkit._run.checkpoint import Identity, restore
from synthkit._run.damage import last_good, set_back, tidy
from synthkit._run.finetune import Newcomer, Source, take_over
from synthkit._run.folder import RunFolder, read_meta, step_of
from synthkit._run.health import Limits
from synthkit._run.keeping import Keep
from synthkit._run.learner import Learner
from synthkit._run.loop import Loop, Settings
from synthkit._run.processes import Processes
from synthkit._run.reporter import Reporter
from synthkit._run.seeds import derive_seed
from synthkit._stages.generate import require_labels
from synthkit._stages.loading import find_checkpoint, fresh_part
from synthkit._stages.report.pictures import feature_image
from synthkit.config import ConverterConfig
from synthkit.errors import ConfigError
from synthkit.interfaces import Component, Objective, Split
from synthkit.offers import LABELLED
from synthkit.training.average import Average
from synthkit.training.engine import Numerics, seeded
from synthkit.training.schedules import Schedule

_SURVEYED, _SURVEYS = 16, 16
"""Crops of a batch that an objective may survey, and batches: enough that a band's extremes are seen."""


def train(recipe: Recipe, run: RunFolder, catalog: Catalog, reporter: Reporter, processes: Processes) -> None:
    """Train every part that the recipe trains; a part that already has a checkpoint goes on from its newest."""
    prepared = Prepared.open(run.data_file)
    if any(training.settings.part in LABELLED for training in recipe.train):
        require_labels(recipe, prepared.labels)  # before the hours, not after them
    for training in recipe.train:
        block = recipe.part(training.settings.part)
        assert block is not None, "a checked recipe trains only parts that it has"
        PartTraining(recipe, training, block, prepared, processes).run(run, catalog, reporter)


@dataclass(frozen=True)
class PartTraining:
    """One `train:` block on its way."""

    recipe: Recipe
    training: Training
    block: Block
    prepared: Prepared
    processes: Processes

    @property
    def settings(self) -> TrainBlock:
        """The block's numbers."""
        return self.training.settings

    def run(self, run: RunFolder, catalog: Catalog, reporter: Reporter) -> None:
        """Build the part, its objective and its data, and train from where the run stands."""
        settings, recipe, part = self.settings, self.recipe, self.settings.part
        newest = self._stands_at(run, reporter)
        start = 0 if newest is None else step_of(newest)
        if start >= settings.steps:
            reporter.say(f"{part}: already at step {start} of {settings.steps}")
            return
        learner = self._learner(newest, catalog, reporter)
        component, engine = learner.component, learner.engine
        reporter.say(
            f"{part}: {describe_size(component)} on {engine.device}, {settings.steps} steps of {settings.batch} crops"
        )
        tracked = recipe.trackers if self.processes.is_main else ()
        trackers = [catalog.build(block.offered, block.config, run.path) for block in tracked]
        loop = Loop(
            run_folder=run,
            part=part,
            identity=self._identity(),
            learner=learner,
            extractor=catalog.build(recipe.features.offered, recipe.features.config),
            settings=loop_settings(settings, recipe.seed),
            validation=self._validation(reporter),
            trackers=trackers,
            reporter=reporter,
            saved=lambda step, folder: _announce(catalog, run, part, step, folder),
            picture=feature_image,
            processes=self.processes,
            meta={
                "objective": {
                    "name": self.training.objective.offered.full_name,
                    "config": self.training.objective.config.model_dump(mode="json"),
                },
                "steps": settings.steps,
            },
        )
        try:
            loop.run(self._loader, start)
        finally:
            for tracker in trackers:
                tracker.close()

    def _stands_at(self, run: RunFolder, reporter: Reporter) -> Path | None:
        """The checkpoint to go on from, the same in all processes; what came after it is set aside."""
        part, newest = self.settings.part, None
        if self.processes.is_main:
            tidy(run.checkpoint_root(part))
            newest = last_good(run, part, reporter.warn)
            set_back(run, part, -1 if newest is None else step_of(newest))
        return self._shared(newest)

    def _shared(self, folder: Path | None) -> Path | None:
        """The main process's folder, in all of them."""
        shared = self.processes.share(None if folder is None else str(folder))
        return None if shared is None else Path(shared)

    def _learner(self, newest: Path | None, catalog: Catalog, reporter: Reporter) -> Learner:
        """Everything that learns, as it is at the checkpoint `newest`; None: at the beginning."""
        settings, recipe, block = self.settings, self.recipe, self.block
        engine = self.processes.engine(settings.device, numerics(settings), settings.batch)
        with seeded(derive_seed(recipe.seed, "weights", settings.part)):
            component = fresh_part(block, recipe.spec, self.prepared.labels, catalog)
            component.to(engine.device)
            objective = catalog.build(
                self.training.objective.offered, self.training.objective.config, component, engine
            )
        taught: frozenset[str] = frozenset()
        if newest is None and block.origin is not None:
            taught = self._take_over(block.origin, objective, reporter)
        elif newest is None:
            extractor = catalog.build(recipe.features.offered, recipe.features.config)
            objective.survey(to_batch(raw, extractor, engine.device) for raw in self._surveyed())
        average = None if settings.ema is None else Average(component.networks, settings.ema)
        learner = Learner(component=component, objective=objective, engine=engine, average=average, taught=taught)
        if newest is not None:
            step = restore(newest, learner)
            reporter.say(f"{settings.part}: goes on from step {step}")
            self._warn_of_longer_cosine(read_meta(newest), reporter)
        return learner

    def _take_over(self, origin: Origin, objective: Objective, reporter: Reporter) -> frozenset[str]:
        """Start with the weights of another run; returns which networks had learned there."""
        found, part = None, self.settings.part
        if self.processes.is_main:
            found = find_checkpoint(origin.path, part, reporter.warn, learning=True)
        checkpoint = self._shared(found)
        assert checkpoint is not None
        config = self.training.objective.config
        return take_over(
            Source(checkpoint=checkpoint, strict=origin.strict, optimisers=origin.optimisers),
            Newcomer(
                objective=objective,
                name=self.training.objective.offered.full_name,
                labels=self.prepared.labels if part == "model" else (),
                critic_warmup=getattr(config, "critic_warmup", None),
            ),
            lambda text: reporter.say(f"{part}: {text}"),
        )

    def _warn_of_longer_cosine(self, meta: Mapping[str, Any], reporter: Reporter) -> None:
        before, settings = meta.get("steps"), self.settings
        if settings.schedule.shape == "cosine" and before is not None and before != settings.steps:
            reporter.warn(
                f"{settings.part}: the cosine was laid out for {before} steps and now ends at {settings.steps}, so the learning rates "
                "change at once"
            )

    def _loader(self, start: int, attempt: int) -> Loader:
        settings = self.settings
        rows = self.processes.rows(settings.batch)
        crops = self._crops("train", settings.batch, settings.gain, rows, attempt)
        return Loader(crops, start=start, stop=settings.steps, threads=settings.threads)

    def _surveyed(self) -> Iterator[RawBatch]:
        """Crops of the training split like those that the part will learn from, as many in every process."""
        crops = self._crops("train", _SURVEYED, self.settings.gain, purpose="survey")
        return (crops.batch(number) for number in range(1, _SURVEYS + 1))

    def _identity(self) -> Identity:
        return Identity(
            offered=self.block.offered,
            config=self.block.config,
            spec=self.recipe.spec,
            labels=self.prepared.labels,
            licence=str(self.prepared.dataset.get("licence", "")),
        )

    def _crops(
        self,
        split: Split,
        batch: int,
        gain: tuple[float, float],
        rows: range | None = None,
        attempt: int = 0,
        purpose: str = "crops",
    ) -> Crops:
        return Crops(
            self.prepared,
            split,
            crop_samples=self.recipe.spec.crop_samples(self.settings.crop_seconds),
            batch=batch,
            seed=derive_seed(self.recipe.seed, purpose, self.settings.part, split, *([attempt] if attempt else [])),
            peak=self.settings.peak,
            gain=gain,
            rows=rows,
            short="loop" if self.recipe.prepare.short == "loop" else "pad",
            at=self.settings.crop_at,
            balance=self._balance(split),
        )

    def _balance(self, split: Split) -> tuple[str, ...]:
        """The labels that rows take in turn: those that the part names, else all that the split has."""
        if self.settings.balance is None:
            return ()
        if isinstance(self.block.config, ConverterConfig):
            return (self.block.config.source, self.block.config.target)
        found = {entry.label for entry in self.prepared.entries(split)}
        labels = tuple(label for label in self.prepared.labels if label in found)
        if not labels:
            name = self.prepared.dataset.get("name", "the data set")
            raise ConfigError(f"train.balance: the clips of {name!r} have no labels to take in turn; remove it")
        return labels

    def _validation(self, reporter: Reporter) -> list[RawBatch]:
        split: Split = "validation"
        found = {entry.label for entry in self.prepared.entries(split)}
        lacking = [label for label in self._balance("train") if label not in found]
        if not found or (lacking and isinstance(self.block.config, ConverterConfig)):
            has = f"has no clip of the label {lacking[0]!r}" if found else "is empty"
            reporter.warn(f"the validation split {has}: evaluations hear crops of the train split")
            split = "train"
        size = min(self.settings.batch, self.settings.evaluate_items)
        count = -(-self.settings.evaluate_items // size)
        crops = self._crops(split, size, (1.0, 1.0))
        return [crops.batch(number) for number in range(1, count + 1)]


def describe_size(component: Component) -> str:
    """Parameters in words.

    >>> class Nothing(Component): pass
    >>> describe_size(Nothing())
    '0 parameters'
    """
    count = sum(parameter.numel() for network in component.networks.values() for parameter in network.parameters())
    return f"{count:,} parameters"


def numerics(block: TrainBlock) -> Numerics:
    """How the engine of a `train:` block computes."""
    return Numerics(
        precision=block.precision,
        accumulate=block.accumulate,
        clip_norm=block.clip_norm,
        compile=block.compile,
        schedule=Schedule(**block.schedule.model_dump(), steps=block.steps),
    )


def loop_settings(block: TrainBlock, seed: int) -> Settings:
    """What the loop needs of a `train:` block."""
    return Settings(
        steps=block.steps,
        seed=seed,
        log_every=block.log_every,
        evaluate_every=block.evaluate_every,
        save_every=block.save_every,
        batch=block.batch,
        crop_seconds=block.crop_seconds,
        keep=Keep(**block.keep.model_dump()),
        watch=Limits(**block.watch.model_dump()),
    )


def _announce(catalog: Catalog, run: RunFolder, part: str, step: int, folder: Path) -> None:
    catalog.notify("synthkit_checkpoint_saved", run=run.path, part=part, step=step, folder=folder)
