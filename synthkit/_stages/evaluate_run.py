"""Judge the model or the converter of a run, outside of its recipe: a page and its figures in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthkit import __version__
from synthkit._catalog import Catalog
from synthkit._data.prepared import Prepared
from synthkit._recipe.check import DEFAULT_EMBEDDING
from synthkit._recipe.model import Block, EvaluateBlock, Part
from synthkit._run.device import pick_device
from synthkit._run.folder import RunFolder, write_text
from synthkit._run.reporter import Reporter
from synthkit._stages.converted.stage import ConverterCase, judge_converter
from synthkit._stages.generate import find_voices
from synthkit._stages.generation.stage import Case, judge
from synthkit._stages.judgements import AnyJudgement, maker, section
from synthkit._stages.loading import find_checkpoint, load_for_use
from synthkit._stages.report import environment
from synthkit._stages.report.markup import content, element
from synthkit._stages.report.page import document
from synthkit._stages.report.sections import facts_list
from synthkit.errors import ConfigError
from synthkit.interfaces import Converter, GenerativeModel
from synthkit.storage import write_json

COUNT, SECONDS = EvaluateBlock().count, EvaluateBlock().seconds
_JUDGED: tuple[Part, ...] = ("model", "converter")


@dataclass(frozen=True, kw_only=True)
class RunEvaluation:
    """A judgement, and where it lies."""

    folder: Path
    run: Path
    judgement: AnyJudgement
    """What is found: of a model a `Judgement`, of a converter a `Conversion`. Both have `columns`, `rows` and `to_json`."""
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


def judged_part(path: str | Path) -> Part | None:
    """What can be judged there, in a run or a checkpoint of one: its trained model or converter; None where there is neither."""
    folder = Path(path).expanduser()
    return next(
        (
            part
            for part in _JUDGED
            if RunFolder(folder).best(part) or (folder.parent.name == part and (folder / "meta.json").is_file())
        ),
        None,
    )


def evaluate_run(
    path: str | Path,
    catalog: Catalog,
    folder: Path,
    *,
    vocoders: Sequence[str] = (),
    embedding: str = DEFAULT_EMBEDDING,
    count: int = COUNT,
    seconds: float = SECONDS,
    strength: float | None = None,
    seed: int = 0,
    device: str = "auto",
    reporter: Reporter,
) -> RunEvaluation:
    """Judge the model or converter of a run by clips of the data that the run has prepared; write `evaluation.html` and
    `evaluation.json`.

    Args:
        path: The run, or one of its checkpoints of a model or converter.
        catalog: All components.
        folder: Where page and figures go.
        vocoders: Which make the clips heard, as `find_voices` takes them.
        embedding: The name of the embedding that compares.
        count: New or converted clips.
        seconds: Length of each.
        strength: For a converter; None: fully.
        seed: Another one is other clips of a model, and other random ones.
        device: Where the parts compute.
        reporter: Is told how far it is.

    Raises:
        ConfigError: the run has neither, or a strength is given for a model.
        SynthkitError: something named is not there or cannot be used, or the run's data is gone.
    """
    part = judged_part(path)
    if strength is not None and part == "model":
        raise ConfigError(f"a strength is for a converter, and {str(path)!r} has a model")
    checkpoint = find_checkpoint(path, part, reporter.warn)
    run = RunFolder(path) if checkpoint.parent != Path(path).expanduser().parent else RunFolder(checkpoint.parents[2])
    prepared = Prepared.open(run.data_file)
    made_by, meta = load_for_use(checkpoint, catalog, pick_device(device), say=reporter.warn)
    assert isinstance(made_by, GenerativeModel | Converter)
    found = find_voices(vocoders, run, made_by, catalog, say=reporter.warn)
    offered, config = catalog.configure("embedding", embedding, {})
    asked = {
        "name": str(meta["component"]),
        "voices": tuple((voice.name, voice.vocoder) for voice in found),
        "prepared": prepared,
        "embedding": Block(kind="embedding", offered=offered, config=config),
        "count": count,
        "seconds": seconds,
        "seed": seed,
    }
    judgement = _judge(made_by, asked, 1.0 if strength is None else strength, catalog, reporter)
    evaluation = RunEvaluation(
        folder=folder,
        run=run.path,
        judgement=judgement,
        environment=environment.describe(str(pick_device(device)), {}),
    )
    write_json(evaluation.file, evaluation.to_json())
    write_text(evaluation.page, _page(evaluation, str(prepared.dataset.get("name") or "")))
    return evaluation


def _judge(
    made_by: GenerativeModel | Converter, asked: dict[str, Any], strength: float, catalog: Catalog, reporter: Reporter
) -> AnyJudgement:
    if isinstance(made_by, Converter):
        return judge_converter(ConverterCase(converter=made_by, strength=strength, **asked), catalog, reporter)
    return judge(Case(model=made_by, **asked), catalog, reporter)


def _page(evaluation: RunEvaluation, data: str) -> str:
    anchor, heading, found = section(evaluation.judgement)
    name = f"{maker(evaluation.judgement)} of {evaluation.run.resolve().name}"
    lead = (
        f"New clips of the model beside real ones of the data set “{data}” and noise."
        if anchor == "model"
        else f"Clips of the data set “{data}” as they were, converted, and beside real ones of the target."
    )
    header = element(
        "header",
        element("p", "synthkit evaluation", class_="eyebrow"),
        element("h1", name),
        element("p", lead, class_="lead"),
    )
    about = content(facts_list({"Run": str(evaluation.run), "Data set": data, **evaluation.environment}))
    return document(
        f"{name} · synthkit evaluation",
        header,
        [(anchor, heading, found), ("environment", "Environment", about)],
    )
