"""The train stage: each `train:` block of a recipe, one after the other, from the prepared data to checkpoints."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthkit._catalog import Catalog
from synthkit._data.crops import Crops, Loader, RawBatch
from synthkit._data.prepared import Prepared
from synthkit._recipe.model import Block, Part, Recipe, TrainBlock, Training
from synthkit._run.checkpoint import Identity, restore
from synthkit._run.folder import RunFolder, read_meta
from synthkit._run.health import Limits
from synthkit._run.keeping import Keep
from synthkit._run.learner import Learner
from synthkit._run.loop import Loop, Settings
from synthkit._run.processes import Processes
from synthkit._run.reporter import Reporter
from synthkit._run.seeds import derive_seed
from synthkit._run.weights import load_networks
from synthkit._stages.report.pictures import feature_image
from synthkit.errors import RunError
from synthkit.interfaces import Component, Split
from synthkit.specs import FeatureSpec
from synthkit.training.average import Average
from synthkit.training.engine import Numerics, seeded
from synthkit.training.schedules import Schedule


def train(recipe: Recipe, run: RunFolder, catalog: Catalog, reporter: Reporter, processes: Processes) -> None:
    """Train every part that the recipe trains; a part that already has a checkpoint goes on from its newest."""
    prepared = Prepared.open(run.data_file)
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
        newest = run.newest(part)
        start = 0 if newest is None else int(read_meta(newest)["step"])
        if start >= settings.steps:
            reporter.say(f"{part}: already at step {start} of {settings.steps}")
            return
        engine = self.processes.engine(settings.device, numerics(settings), settings.batch)
        with seeded(derive_seed(recipe.seed, "weights", part)):
            component = build_part(self.block, recipe.spec, self.prepared.labels, catalog)
            component.to(engine.device)
            objective = catalog.build(
                self.training.objective.offered, self.training.objective.config, component, engine
            )
        average = None if settings.ema is None else Average(component.networks, settings.ema)
        learner = Learner(component=component, objective=objective, engine=engine, average=average)
        if newest is not None:
            restore(newest, learner)
            reporter.say(f"{part}: goes on from step {start}")
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
                    "name": self.training.objective.offered.offer.name,
                    "config": self.training.objective.config.model_dump(mode="json"),
                }
            },
        )
        try:
            loop.run(self._loader, start)
        finally:
            for tracker in trackers:
                tracker.close()

    def _loader(self, start: int, attempt: int) -> Loader:
        settings = self.settings
        rows = self.processes.rows(settings.batch)
        crops = self._crops("train", settings.batch, settings.gain, rows, attempt)
        return Loader(crops, start=start, stop=settings.steps, threads=settings.threads)

    def _identity(self) -> Identity:
        return Identity(
            offered=self.block.offered,
            config=self.block.config,
            spec=self.recipe.spec,
            labels=self.prepared.labels,
            licence=str(self.prepared.dataset.get("licence", "")),
        )

    def _crops(
        self, split: Split, batch: int, gain: tuple[float, float], rows: range | None = None, attempt: int = 0
    ) -> Crops:
        spec = self.recipe.spec
        frames = max(1, round(self.settings.crop_seconds * spec.frames_per_second))
        return Crops(
            self.prepared,
            split,
            crop_samples=crop_samples(spec, frames),
            batch=batch,
            seed=derive_seed(self.recipe.seed, "crops", self.settings.part, split, *([attempt] if attempt else [])),
            peak=self.settings.peak,
            gain=gain,
            rows=rows,
        )

    def _validation(self, reporter: Reporter) -> list[RawBatch]:
        split: Split = "validation"
        if not self.prepared.entries(split):
            reporter.warn("the validation split is empty: evaluations hear crops of the train split")
            split = "train"
        size = min(self.settings.batch, self.settings.evaluate_items)
        count = -(-self.settings.evaluate_items // size)
        crops = self._crops(split, size, (1.0, 1.0))
        return [crops.batch(number) for number in range(1, count + 1)]


def crop_samples(spec: FeatureSpec, frames: int) -> int:
    """Samples of a crop that has about `frames` frames and whose features describe all of it: `spec.samples(n)` of some n.

    >>> crop_samples(FeatureSpec(sample_rate=22050, n_fft=1024, hop_length=256, n_mels=80), 32)
    8192
    """
    extra = 0 if spec.framing == "same" else 1
    return spec.samples(frames + extra)


def build_part(block: Block, spec: FeatureSpec, labels: tuple[str, ...], catalog: Catalog) -> Component:
    """A vocoder or a model, fresh; the caller seeds its weights. `from:` blocks get the spec and weights of their run."""
    spec = block.spec or spec
    arguments: tuple[Any, ...] = (spec, labels) if block.kind == "model" else (spec,)
    component = catalog.build(block.offered, block.config, *arguments)
    assert isinstance(component, Component)
    if block.from_run is not None:
        folder = checkpoint_of(block.from_run, part_of(block))
        load_networks(folder, read_meta(folder), component.networks)
    return component


def checkpoint_of(run: Path, part: Part) -> Path:
    """The best checkpoint of a part in another run. Raises `RunError` where there is none."""
    folder = RunFolder(run).require().best(part)
    if folder is None:
        raise RunError(f"{str(run)!r} has no checkpoint of a {part}")
    return folder


def part_of(block: Block) -> Part:
    """The part that a block is in a recipe."""
    return "model" if block.kind == "model" else "vocoder"


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
