"""Judge the model of a run, outside of its recipe: a page and its figures in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthkit import __version__
from synthkit._catalog import Catalog
from synthkit._data.prepared import Prepared
from synthkit._recipe.check import DEFAULT_EMBEDDING
from synthkit._recipe.model import Block, EvaluateBlock
from synthkit._run.device import pick_device
from synthkit._run.folder import RunFolder, write_text
from synthkit._run.reporter import Reporter
from synthkit._stages.generate import find_voices
from synthkit._stages.generation.judgement import Judgement
from synthkit._stages.generation.section import section
from synthkit._stages.generation.stage import Case, judge
from synthkit._stages.loading import find_checkpoint, load_for_use
from synthkit._stages.report import environment
from synthkit._stages.report.markup import Markup, content, element
from synthkit._stages.report.page import document
from synthkit._stages.report.sections import facts_list
from synthkit.interfaces import GenerativeModel
from synthkit.storage import write_json

COUNT, SECONDS = EvaluateBlock().count, EvaluateBlock().seconds


@dataclass(frozen=True, kw_only=True)
class ModelEvaluation:
    """A judgement, and where it lies."""

    folder: Path
    run: Path
    judgement: Judgement
    environment: dict[str, str]

    @property
    def page(self) -> Path:
        """The page to look at and listen to."""
        return self.folder / "evaluation.html"

    @property
    def file(self) -> Path:
        """The figures."""
        return self.folder / "evaluation.json"

    def to_json(self) -> dict[str, Any]:
        """The content of `evaluation.json`."""
        return {
            "format": 1,
            "synthkit": __version__,
            "run": str(self.run),
            **self.judgement.to_json(),
            "environment": self.environment,
        }


def has_model(path: str | Path) -> bool:
    """Whether a model can be judged there: a run, or a checkpoint in a run, with a trained model."""
    folder = Path(path).expanduser()
    return bool(RunFolder(folder).best("model")) or (folder.parent.name == "model" and (folder / "meta.json").is_file())


def evaluate_model(
    path: str | Path,
    catalog: Catalog,
    folder: Path,
    *,
    vocoders: Sequence[str] = (),
    embedding: str = DEFAULT_EMBEDDING,
    count: int = COUNT,
    seconds: float = SECONDS,
    seed: int = 0,
    device: str = "auto",
    reporter: Reporter,
) -> ModelEvaluation:
    """Judge the model of a run by clips of the data that the run has prepared; write `evaluation.html` and `evaluation.json`.

    Args:
        path: The run, or one of its checkpoints of a model.
        catalog: All components.
        folder: Where page and figures go.
        vocoders: Which make the clips heard, as `find_voices` takes them.
        embedding: The name of the embedding that compares.
        count: New clips.
        seconds: Length of each.
        seed: Another one is other clips.
        device: Where model and vocoders compute.
        reporter: Is told how far it is.

    Raises:
        SynthkitError: something named is not there or cannot be used, or the run's data is gone.
    """
    checkpoint = find_checkpoint(path, "model", reporter.warn)
    run = RunFolder(path) if checkpoint.parent != Path(path).expanduser().parent else RunFolder(checkpoint.parents[2])
    prepared = Prepared.open(run.data_file)
    model, meta = load_for_use(checkpoint, catalog, pick_device(device), say=reporter.warn)
    assert isinstance(model, GenerativeModel)
    voices = find_voices(vocoders, run, model, catalog, say=reporter.warn)
    offered, config = catalog.configure("embedding", embedding, {})
    case = Case(
        name=str(meta["component"]),
        model=model,
        voices=tuple((voice.name, voice.vocoder) for voice in voices),
        prepared=prepared,
        embedding=Block(kind="embedding", offered=offered, config=config),
        count=count,
        seconds=seconds,
        seed=seed,
    )
    evaluation = ModelEvaluation(
        folder=folder,
        run=run.path,
        judgement=judge(case, catalog, reporter),
        environment=environment.describe(str(pick_device(device)), {}),
    )
    write_json(evaluation.file, evaluation.to_json())
    write_text(evaluation.page, _page(evaluation, str(prepared.dataset.get("name") or "")))
    return evaluation


def _page(evaluation: ModelEvaluation, data: str) -> str:
    judgement = evaluation.judgement
    name = f"{judgement.model} of {evaluation.run.resolve().name}"
    header = element(
        "header",
        element("p", "synthkit evaluation", class_="eyebrow"),
        element("h1", name),
        element("p", f"New clips of the model beside real ones of the data set “{data}” and noise.", class_="lead"),
    )
    about: Markup = content(facts_list({"Run": str(evaluation.run), "Data set": data, **evaluation.environment}))
    parts = [("model", "Model", section(judgement)), ("environment", "Environment", about)]
    return document(f"{name} · synthkit evaluation", header, parts)
