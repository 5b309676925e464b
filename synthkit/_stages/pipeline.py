"""A recipe's way through its stages. Each runs alone, is skipped when nothing it depends on changed, and resumes."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from synthkit._catalog import Catalog
from synthkit._data.pool import Spread, work_on
from synthkit._recipe.from_run import source_checkpoint
from synthkit._recipe.load import load_recipe
from synthkit._recipe.model import Block, Recipe, Training
from synthkit._run.events import recorded
from synthkit._run.folder import RunFolder, read_json, read_meta, step_of, write_text
from synthkit._run.processes import Processes
from synthkit._run.reporter import Logged, Reporter
from synthkit._stages.devices import check_shares, saved_so_far
from synthkit.errors import DatasetError, ProcessLost, RunError, nearest
from synthkit.interfaces import Dataset
from synthkit.storage import write_json

STAGES = ("prepare", "train", "generate", "report")

Stage = Callable[[Recipe, RunFolder, Catalog, Reporter], None]

_PACE = {
    *("steps", "log_every", "evaluate_every", "evaluate_items", "save_every", "keep", "watch"),
    *("device", "threads", "accumulate", "compile"),
}
"""Settings of a training that say how long it is, how closely watched, and on what it runs; with others it is another one."""

_SINCE = {"crop_at": "random", "balance": None}
"""Settings that earlier versions did not write, as their trainings had them: such a training can still be resumed."""


def run_recipe(
    source: str | Path,
    *,
    catalog: Catalog,
    overrides: Mapping[str, Any] | Sequence[str] = (),
    tiny: bool = False,
    run_dir: Path | None = None,
    first: str = STAGES[0],
    last: str = STAGES[-1],
    resume: bool = False,
    fresh: bool = False,
    reporter: Reporter | None = None,
    processes: Processes | None = None,
    spread: Spread = work_on,
) -> RunFolder:
    """Check a recipe and run its stages `first` to `last` in its run folder (`runs/NAME` of the working folder by default).

    Of several processes the main one does so, and the others learn with it. `spread` says how clips are prepared: in
    processes of this machine, or on a cluster.

    Raises:
        RecipeError: with every mistake, before anything runs.
        RunError: where the folder holds a stopped training and neither `resume` nor `fresh` is asked for, or another training.
    """
    processes = processes or Processes()
    if not processes.is_main:
        return _follow(processes, lambda: load_recipe(source, catalog, overrides=overrides, tiny=tiny), catalog)
    reporter = reporter or Reporter()
    wanted = stage_range(first, last)
    recipe = load_recipe(source, catalog, overrides=overrides, tiny=tiny)
    run = folder_of(recipe, run_dir, tiny=tiny)
    run.path.mkdir(parents=True, exist_ok=True)
    with _locked(run):
        pipeline = Pipeline(recipe, run, catalog, Logged(run.log_file, reporter), processes, spread)
        pipeline.go(wanted, resume=resume, fresh=fresh)
    processes.share({"run": str(run.path), "train": False})
    return run


def _follow(processes: Processes, load: Callable[[], Recipe], catalog: Catalog) -> RunFolder:
    """Learn with the main process when it trains; whatever else there is to do it does alone."""
    from synthkit._stages.train import train

    while (order := processes.share(None))["train"]:
        train(load(), RunFolder(order["run"]), catalog, Reporter(), processes)
    return RunFolder(order["run"])


def folder_of(recipe: Recipe, run_dir: Path | None, *, tiny: bool) -> RunFolder:
    """Where a recipe runs: `run_dir`, or `runs/NAME` of the working folder."""
    return RunFolder(run_dir or Path("runs") / (f"{recipe.name}-tiny" if tiny else recipe.name))


def stage_range(first: str, last: str) -> tuple[str, ...]:
    """The stages from `first` to `last`.

    >>> stage_range("train", "generate")
    ('train', 'generate')
    """
    for name in (first, last):
        if name not in STAGES:
            raise RunError(f"there is no stage {name!r}; {nearest(name, STAGES)}")
    begin, end = STAGES.index(first), STAGES.index(last)
    if begin > end:
        raise RunError(f"the stage {first!r} comes after {last!r}; the order is {', '.join(STAGES)}")
    return STAGES[begin : end + 1]


class Pipeline:
    """The stages of one recipe in one run folder."""

    def __init__(
        self,
        recipe: Recipe,
        run: RunFolder,
        catalog: Catalog,
        reporter: Reporter,
        processes: Processes,
        spread: Spread,
    ) -> None:
        self.recipe, self.run, self.catalog, self.reporter = recipe, run, catalog, reporter
        self.processes, self.spread = processes, spread

    def go(self, wanted: Sequence[str], *, resume: bool, fresh: bool) -> None:
        """Run the wanted stages, skipping those whose inputs are as they were and whose outputs are there."""
        if "train" in wanted:
            check_shares(self.recipe, self.processes.count)
        if fresh:
            self._clear()
        inputs = self._inputs()
        if "train" in wanted:
            self._check_training(inputs["train"], resume=resume)
        write_text(self.run.recipe_file, self.recipe.resolved)
        for name in wanted:
            self._require_earlier(name, wanted)
            done = self._done().get(name, {})
            if done.get("fingerprint") == _fingerprint(inputs[name]) and self._output(name):
                self.reporter.say(f"{name}: nothing it depends on has changed, skipped")
                continue
            self._stage(name, inputs[name])

    def _stage(self, name: str, inputs: Mapping[str, Any]) -> None:
        self.catalog.notify("synthkit_stage_started", run=self.run.path, stage=name)
        done = self._done()
        done.pop(name, None)
        write_json(self.run.stages_file, {**done, f"{name}-began": {"inputs": inputs}})
        began = time.perf_counter()
        with recorded(self.run, name):
            if name == "train":
                self._train()
            else:
                _stage_function(name, self.spread)(self.recipe, self.run, self.catalog, self.reporter)
        seconds = time.perf_counter() - began
        row = {
            "fingerprint": _fingerprint(inputs),
            "inputs": inputs,
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(seconds, 3),
        }
        done.pop(f"{name}-began", None)
        write_json(self.run.stages_file, {**done, name: row})
        self.catalog.notify("synthkit_stage_finished", run=self.run.path, stage=name, seconds=seconds)

    def _train(self) -> None:
        """The one stage of all processes."""
        from synthkit._stages.train import train

        self.processes.share({"run": str(self.run.path), "train": True})
        try:
            train(self.recipe, self.run, self.catalog, self.reporter, self.processes)
        except ProcessLost as error:
            raise ProcessLost(f"{error}; {saved_so_far(self.recipe, self.run)}") from error

    def _done(self) -> dict[str, Any]:
        file = self.run.stages_file
        try:
            return read_json(file) if file.is_file() else {}
        except ValueError:
            return {}  # it only saves work: without it every stage looks at its own outputs again

    def _inputs(self) -> dict[str, dict[str, Any]]:
        """What each stage depends on; a later stage depends on what the earlier ones depend on."""
        from synthkit._stages.prepare import index

        recipe = self.recipe
        dataset = self.catalog.build(recipe.data.offered, recipe.data.config)
        index(dataset, self.reporter)
        prepare = {
            "data": _describe(recipe.data),
            "clips": _clips_fingerprint(dataset),
            "sample_rate": recipe.spec.sample_rate,
            "prepare": recipe.prepare.model_dump(mode="json", exclude={"workers"}),
        }
        train = {
            "data": _fingerprint(prepare),
            "seed": recipe.seed,
            "features": recipe.spec.to_dict(),
            "parts": {training.settings.part: self._training(training) for training in recipe.train},
        }
        generate = {
            "train": _fingerprint(train),
            "parts": [
                _describe(block) for block in (recipe.model, recipe.converter, recipe.vocoder, *recipe.compare) if block
            ],
            "generate": recipe.generate.model_dump(mode="json", exclude={"batch"}),
        }
        report = {
            "generate": _fingerprint(generate),
            "report": recipe.report.model_dump(mode="json"),
            "metrics": [_describe(block) for block in recipe.metrics],
            "embedding": _describe(recipe.embedding),
            "recipe": recipe.resolved,
        }
        return {"prepare": prepare, "train": train, "generate": generate, "report": report}

    def _training(self, training: Training) -> dict[str, Any]:
        block = self.recipe.part(training.settings.part)
        assert block is not None
        return {
            "component": _describe(block),
            "objective": _describe(training.objective),
            "settings": training.settings.model_dump(mode="json"),
        }

    def _check_training(self, inputs: Mapping[str, Any], *, resume: bool) -> None:
        """Nothing that was learned is lost or mixed: another training, or a stopped one, needs a word from the user."""
        parts = [part for part in inputs["parts"] if self.run.newest(part)]
        if not parts:
            return
        done = self._done()
        before = (done.get("train") or done.get("train-began") or {}).get("inputs")
        changes = [] if before is None else _changes(_identity(before), _identity(inputs))
        if changes:
            raise RunError(
                f"{str(self.run.path)!r} holds a training with other settings ({'; '.join(changes[:4])}): "
                "give this one another --run-dir, or start again with --fresh, which deletes the old one"
            )
        for part in parts:
            newest = self.run.newest(part)
            step = 0 if newest is None else step_of(newest)
            steps = int(inputs["parts"][part]["settings"]["steps"])
            if step < steps and not resume:
                raise RunError(
                    f"{str(self.run.path)!r} holds a training of the {part} that is at step {step} of {steps}: "
                    "go on with --resume, or start again with --fresh, which deletes it"
                )

    def _require_earlier(self, name: str, wanted: Sequence[str]) -> None:
        needs = {"train": ["prepare"], "generate": ["prepare"], "report": ["generate"]}.get(name, [])
        if name == "generate" and self.recipe.train:
            needs = ["prepare", "train"]
        for earlier in needs:
            if earlier not in wanted and not self._output(earlier):
                raise RunError(f"the stage {name!r} needs {earlier!r} first: run with --stage {earlier}..{name}")

    def _output(self, name: str) -> bool:
        """Whether what a stage makes is there."""
        if name == "prepare":
            return _prepared(self.run)
        if name == "train":
            return all(self.run.newest(training.settings.part) for training in self.recipe.train)
        if name == "generate":
            return self.run.generated_index.is_file()
        return self.run.report_html.is_file() and self.run.report_json.is_file()

    def _clear(self) -> None:
        for folder in (
            self.run.path / "checkpoints",
            self.run.generated,
            self.run.path / "tensorboard",
            self.run.shards,
        ):
            shutil.rmtree(folder, ignore_errors=True)
        for file in (
            self.run.stages_file,
            self.run.metrics_file,
            self.run.events_file,
            self.run.data_file,
            self.run.report_html,
            self.run.report_json,
        ):
            file.unlink(missing_ok=True)


def _prepared(run: RunFolder) -> bool:
    """Whether the prepared data is whole, down to every cache entry."""
    from synthkit._data.prepared import Prepared

    try:
        return not Prepared.open(run.data_file).missing()
    except DatasetError:
        return False


@contextmanager
def _locked(run: RunFolder) -> Iterator[None]:
    lock = FileLock(run.lock_file, timeout=1)  # `synthkit runs` holds it for a moment, to see whether somebody does
    try:
        lock.acquire()
    except Timeout as error:
        raise RunError(
            f"{str(run.path)!r} is in use by another synthkit; wait for it or give another --run-dir"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _stage_function(name: str, spread: Spread) -> Stage:
    if name == "prepare":
        from synthkit._stages.prepare import prepare

        return partial(prepare, spread=spread)
    if name == "generate":
        from synthkit._stages.generate import generate

        return generate
    from synthkit._stages.report.stage import report

    return report


def _describe(block: Block) -> dict[str, Any]:
    """A block as far as results depend on it."""
    weights = None
    if block.origin is not None:
        folder = source_checkpoint(block.origin.path, block.part)
        weights = read_meta(folder)["files"]
    return {
        "use": f"{block.offered.plugin}/{block.offered.offer.name}",
        "version": block.offered.version,
        "settings": block.config.model_dump(mode="json"),
        "weights": weights,
        "optimisers": block.origin is not None and block.origin.optimisers,
    }


def _clips_fingerprint(dataset: Dataset) -> str:
    rows = [(clip.id, clip.key, clip.label, clip.text) for clip in dataset.clips()]
    return _fingerprint([row if row[3] else row[:3] for row in rows])  # as before there were texts


def _fingerprint(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _identity(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs of a training without its pace."""
    parts = {
        name: {**part, "settings": {key: value for key, value in settings.items() if key not in _PACE}}
        for name, part in inputs["parts"].items()
        for settings in [{**_SINCE, **part["settings"]}]
    }
    return {**inputs, "parts": parts}


def _changes(before: Any, after: Any, path: str = "") -> list[str]:
    """What differs between two nested values, in words.

    >>> _changes({"a": {"b": 1}}, {"a": {"b": 2}})
    ['a.b: 1 is now 2']
    """
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        return [
            change
            for key in sorted({*before, *after})
            for change in _changes(before.get(key), after.get(key), f"{path}.{key}" if path else str(key))
        ]
    return [] if before == after else [f"{path}: {before} is now {after}"]
