"""The Python API: the verbs of the command line as functions. `synthkit/__init__.py` lists what of it is public."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, overload

import torch

from synthkit._catalog import Catalog
from synthkit._data.cluster import spread_over
from synthkit._data.pool import Source
from synthkit._recipe.model import Part
from synthkit._run.device import pick_device
from synthkit._run.folder import RunFolder
from synthkit._run.processes import join
from synthkit._run.reporter import Reporter
from synthkit._stages.evaluate import evaluate as evaluate_vocoders
from synthkit._stages.evaluate_run import RunEvaluation, evaluate_run
from synthkit._stages.evaluation.measuring import Evaluation
from synthkit._stages.generate import plain_vocoder
from synthkit._stages.loaded import LoadedConverter, LoadedFeatures, LoadedModel, LoadedVocoder
from synthkit._stages.loading import find_checkpoint, load_for_use, load_vocoder, named_vocoder
from synthkit._stages.pipeline import STAGES, run_recipe
from synthkit._stages.transfer.of_run import load_ear, transfer_sound
from synthkit._stages.transfer.optimisation import transfer_settings
from synthkit.audio import Audio
from synthkit.errors import ConfigError, PluginError
from synthkit.interfaces import (
    Component,
    Converter,
    Dataset,
    FeatureExtractor,
    GenerativeModel,
    Kind,
    Metric,
    Progress,
    Split,
    Vocoder,
)
from synthkit.specs import FeatureSpec
from synthkit.training.engine import seeded

_logger = logging.getLogger("synthkit")
_plugin_files: list[Path] = []


def load_plugin(file: str | Path) -> None:
    """Also offer what a plugin file offers, in this process: the `--plugin` of the command line.

    Raises:
        PluginError: where there is no such file, or it is broken.
    """
    path = Path(file).expanduser().resolve()
    catalog = Catalog.discover([path])
    for row in catalog.broken:
        if not row.distribution and row.plugin == path.stem:
            raise PluginError(f"the plugin file {str(file)!r} is broken: {row.error}")
    if path not in _plugin_files:
        _plugin_files.append(path)


def build(kind: Kind, name: str, *arguments: Any, **settings: Any) -> Any:
    """Any component by kind and name: `Class(config, *arguments)`, where `synthkit.interfaces` says what `arguments` are.

    Raises:
        UnknownName: nobody offers it.
        ConfigError: the settings are wrong.
    """
    offered, config = _catalog().configure(kind, name, settings)
    with seeded(0):
        return _catalog().build(offered, config, *arguments)


def dataset(name: str, **settings: Any) -> Dataset:
    """A data set: `synthkit.dataset("folder", root="~/music")`. Raises as `build`."""
    made = build("dataset", name, **settings)
    assert isinstance(made, Dataset)
    return made


def metric(name: str, spec: FeatureSpec, **settings: Any) -> Metric:
    """A metric: `synthkit.metric("mel-l1", mel.spec)`. Raises as `build`."""
    made = build("metric", name, spec, **settings)
    assert isinstance(made, Metric)
    return made


def features(name: str = "log-mel", **settings: Any) -> LoadedFeatures:
    """A feature extractor: `synthkit.features("log-mel", preset="hifi-gan")`. Raises as `build`."""
    made = build("features", name, **settings)
    assert isinstance(made, FeatureExtractor)
    return LoadedFeatures(made)


def vocoder(name: str, spec: FeatureSpec, *, device: str = "cpu", seed: int = 0, **settings: Any) -> LoadedVocoder:
    """A vocoder by name. One that learns starts with random weights, drawn from `seed`; `load` gives trained ones.

    Raises:
        UnknownName: nobody offers it.
        ConfigError: wrong settings, or a spec that it cannot work with.
    """
    made = named_vocoder(name, spec, _catalog(), settings, seed=seed)
    made.to(pick_device(device))
    return LoadedVocoder(made)


def model(
    name: str, spec: FeatureSpec, labels: Sequence[str] = (), *, device: str = "cpu", seed: int = 0, **settings: Any
) -> LoadedModel:
    """A generative model by name, with random weights drawn from `seed`; `load` gives trained ones. Raises as `vocoder`."""
    offered, config = _catalog().configure("model", name, settings)
    with seeded(seed):
        made = _catalog().build(offered, config, spec, tuple(labels))
    assert isinstance(made, GenerativeModel)
    made.to(pick_device(device))
    return LoadedModel(made, LoadedVocoder(plain_vocoder(None, spec, _catalog())))


@overload
def load(path: str | Path, *, part: Literal["vocoder"], device: str = "cpu") -> LoadedVocoder: ...
@overload
def load(path: str | Path, *, part: Literal["model"], device: str = "cpu") -> LoadedModel: ...
@overload
def load(path: str | Path, *, part: Literal["converter"], device: str = "cpu") -> LoadedConverter: ...
@overload
def load(
    path: str | Path, *, part: None = None, device: str = "cpu"
) -> LoadedVocoder | LoadedModel | LoadedConverter: ...
def load(
    path: str | Path, *, part: Literal["vocoder", "model", "converter"] | None = None, device: str = "cpu"
) -> LoadedVocoder | LoadedModel | LoadedConverter:
    """What a run trained, from its checkpoint alone: its model or converter, or its vocoder where it has neither.

    Args:
        path: A run folder, or one checkpoint folder in it. Of a run the best checkpoint is taken, or the newest.
        part: Which part of a run that trained several.
        device: `cpu`, `cuda`, ... or `auto`.

    Raises:
        RunError: there is no such run.
        CheckpointError: that part was not trained, or its files are damaged or need a plugin that is not there.
    """
    where = pick_device(device)
    folder = find_checkpoint(path, part, _logger.warning)
    component, meta = load_for_use(folder, _catalog(), where, say=_logger.warning)
    if isinstance(component, GenerativeModel):
        return LoadedModel(component, _voice(path, component, where), str(meta.get("licence", "")))
    if isinstance(component, Converter):
        return LoadedConverter(component, _voice(path, component, where))
    assert isinstance(component, Vocoder)
    return LoadedVocoder(component)


def _voice(path: str | Path, component: Component, device: torch.device) -> LoadedVocoder:
    """The vocoder of the component's own run, or one that needs no training."""
    if RunFolder(path).best("vocoder"):
        return LoadedVocoder(load_vocoder(path, _catalog(), device, say=_logger.warning))
    plain = plain_vocoder(None, component.spec, _catalog())
    plain.to(device)
    return LoadedVocoder(plain)


def run(
    recipe: str | Path,
    *,
    set: Mapping[str, Any] | None = None,
    tiny: bool = False,
    run_dir: str | Path | None = None,
    stages: str | None = None,
    resume: bool = False,
    fresh: bool = False,
    scheduler: str | None = None,
) -> RunFolder:
    """Run a recipe's stages, as `synthkit run` does; what it would print goes to the logger `synthkit`.

    In a script under torchrun or srun its processes train together, and each returns when the run is done.

    Args:
        recipe: A file, or the name of a shipped recipe.
        set: Settings to change: `{"train.steps": 1000}`.
        tiny: Apply the recipe's `tiny:` block.
        run_dir: Folder of the run; `runs/NAME` of the working folder by default.
        stages: `"train"`, or `"prepare..generate"`; all by default.
        resume: Go on with a training that was stopped.
        fresh: Delete what the run folder holds and start again.
        scheduler: Prepare on the workers of this Dask scheduler (`tcp://host:8786`), or of one started here (`local`; your
            script then needs `if __name__ == "__main__":`, since its workers import it).

    Returns:
        The run's folder: `report_html`, `report_json`, `generated`, `metrics_file`, `checkpoints(part)` ...

    Raises:
        RecipeError: with every mistake, before anything runs.
        RunError: where the folder holds another or a stopped training.
        DatasetError: where the data cannot be prepared, or no scheduler answers.
    """
    first, dots, last = (stages or f"{STAGES[0]}..{STAGES[-1]}").partition("..")
    with join() as processes:
        return run_recipe(
            recipe,
            catalog=_catalog(),
            overrides=set or {},
            tiny=tiny,
            run_dir=None if run_dir is None else Path(run_dir),
            first=first or STAGES[0],
            last=(last or STAGES[-1]) if dots else first,
            resume=resume,
            fresh=fresh,
            reporter=_LogReporter(),
            spread=spread_over(scheduler),
            processes=processes,
        )


@overload
def evaluate(
    *vocoders: str | Path,
    data: str,
    output: str | Path,
    split: Split | None = "test",
    count: int | None = None,
    seconds: float | None = None,
    metrics: Sequence[str] = (),
    seed: int = 0,
    device: str = "auto",
    **settings: Any,
) -> Evaluation: ...
@overload
def evaluate(
    run: str | Path,
    /,
    *,
    output: str | Path,
    voices: Sequence[str | Path] = (),
    embedding: str = "classifier",
    count: int | None = None,
    seconds: float | None = None,
    strength: float | None = None,
    seed: int = 0,
    device: str = "auto",
) -> RunEvaluation: ...
def evaluate(
    *named: str | Path,
    data: str | None = None,
    output: str | Path,
    split: Split | None = "test",
    count: int | None = None,
    seconds: float | None = None,
    metrics: Sequence[str] = (),
    voices: Sequence[str | Path] = (),
    embedding: str = "classifier",
    strength: float | None = None,
    seed: int = 0,
    device: str = "auto",
    **settings: Any,
) -> Evaluation | RunEvaluation:
    """Judge vocoders on the clips of a data set, or without `data` the model or converter of one run; as `synthkit evaluate` does.

    `synthkit.evaluate("runs/a", "griffin-lim:iterations=32", data="folder", root="~/music", output="evaluation")` holds vocoders
    against each other on 20 clips of 5 s of the data set `data` with `settings`; `split=None` takes all clips.

    `synthkit.evaluate("runs/cmelgan-tones", output="evaluation")` makes 48 clips of 2 s with the model of that run, heard by
    `voices` (runs, or vocoders without training; by default the run's own), and holds them against real clips that it has not
    learned from: `.judgement` has every figure with its floor and its ceiling. Of a run with a converter, 48 crops of 2 s that it has
    not learned from are converted with `strength`, and `.judgement` says what they are taken for and what is kept of the source.

    Each writes sounds or pictures, `evaluation.html` and `evaluation.json` into `output` and returns what they say. Raises
    `SynthkitError` where something that is named is not there or cannot be used.
    """
    folder, reporter = Path(output).expanduser(), _LogReporter()
    length: dict[str, Any] = {"count": count, "seconds": seconds, "seed": seed, "device": device}
    given = {name: value for name, value in length.items() if value is not None}
    names = [str(one) for one in named]
    if data is None:
        if len(names) != 1 or settings:
            raise ConfigError(
                "without `data`, the model or converter of one run is judged; vocoders need the name of a data set as `data`"
            )
        heard = [str(voice) for voice in voices]
        return evaluate_run(
            names[0],
            _catalog(),
            folder,
            vocoders=heard,
            embedding=embedding,
            strength=strength,
            reporter=reporter,
            **given,
        )
    offered, config = _catalog().configure("dataset", data, settings)
    source = Source(catalog=_catalog(), offered=offered, config=config)
    return evaluate_vocoders(
        names, source, _catalog(), folder, split=split, metrics=metrics, reporter=reporter, **given
    )


def transfer(
    run: str | Path,
    content: Audio,
    style: Audio,
    *,
    part: Part | None = None,
    vocoder: str | Path | None = None,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress | None = None,
    **settings: Any,
) -> Audio:
    """The sound `content`, changed until the critic of a run hears the style of the sound `style` in it; as `synthkit transfer` does.

    Args:
        run: A run folder or a checkpoint folder whose part learned against a critic.
        content: What happens; the sound that comes back is as long and has as many channels.
        style: How it sounds.
        part: Whose critic, where several parts of the run learned.
        vocoder: A run, or a vocoder without training, that makes the sound, for a critic of features.
        seed: For `start="noise"` and vocoders that draw random numbers.
        device: `cpu`, `cuda`, ... or `auto`.
        progress: Told of steps.
        settings: `content_weight`, `style_weight`, `statistics`, `start`, `steps`, `patience`, `tolerance`, as the command has them.

    Raises:
        SynthkitError: where the run has no such critic, or something that is named is not there or cannot be used.
    """
    wanted = transfer_settings(settings)
    name = None if vocoder is None else str(vocoder)
    ear = load_ear(run, part, _catalog(), pick_device(device), vocoder=name, say=_logger.warning)
    return transfer_sound(ear, content, style, wanted, seed=seed, progress=progress).sound


class _LogReporter(Reporter):
    """Tells the logger, and so nobody who has not asked."""

    def say(self, text: str) -> None:
        _logger.info("%s", text)

    def warn(self, text: str) -> None:
        _logger.warning("%s", text)


def _catalog() -> Catalog:
    return _discovered(tuple(_plugin_files))


@lru_cache(maxsize=4)
def _discovered(files: tuple[Path, ...]) -> Catalog:
    return Catalog.discover(files)
