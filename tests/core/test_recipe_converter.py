"""A converter in a recipe: its block, its training, what it does not go with, and the crops it learns from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile

import synthkit
from synthkit._catalog import Catalog
from synthkit._recipe.load import load_recipe
from synthkit._recipe.model import Recipe
from synthkit._run.checkpoint import load_component
from synthkit._run.folder import RunFolder, read_json, read_meta
from synthkit._stages.converted.findings import Conversion
from synthkit._stages.pipeline import run_recipe
from synthkit.audio import read
from synthkit.config import ConverterConfig
from synthkit.errors import ConfigError, RecipeError
from synthkit.interfaces import Converter

HEAD = """\
recipe: 1
name: bells-of-melody
data: {use: tones, clips_per_label: 6, seconds: 1.0}
features: {use: log-mel, preset: melgan}
vocoder: griffin-lim
"""
CONVERTER = "converter: {use: melgan-vc, source: melody, target: bells, channels: 4}\n"
TRAIN = "train: {part: converter, steps: 2, batch: 4, crop_seconds: 0.84, device: cpu, evaluate_items: 4}\n"

Load = Callable[[str], Recipe]


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.discover()


@pytest.fixture
def load(tmp_path: Path, catalog: Catalog) -> Load:
    def call(text: str) -> Recipe:
        file = tmp_path / "r.yaml"
        file.write_text(text, encoding="utf-8")
        return load_recipe(file, catalog)

    return call


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, catalog: Catalog) -> RunFolder:
    """A run that has trained a converter for two steps."""
    folder = tmp_path_factory.mktemp("converter")
    recipe = folder / "r.yaml"
    recipe.write_text(HEAD + CONVERTER + TRAIN, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SYNTHKIT_CACHE", str(folder / "cache"))
        return run_recipe(recipe, catalog=catalog, run_dir=folder / "run", last="train")


def test_it_is_a_part_like_the_others(load: Load) -> None:
    recipe = load(HEAD + CONVERTER + TRAIN)
    assert recipe.converter is not None
    assert isinstance(recipe.converter.config, ConverterConfig)
    assert (recipe.converter.config.source, recipe.converter.config.target) == ("melody", "bells")
    assert recipe.train[0].objective.offered.offer.name == "melgan-vc"
    again = load(recipe.resolved)
    assert again.converter == recipe.converter
    assert again.resolved == recipe.resolved


@pytest.mark.parametrize(("written", "balance"), [("", "labels"), (", balance: null", None)])
def test_it_learns_from_both_labels_alike_unless_told_otherwise(load: Load, written: str, balance: str | None) -> None:
    recipe = load(HEAD + CONVERTER + TRAIN.replace("}", written + "}"))
    assert recipe.train[0].settings.balance == balance
    assert load(recipe.resolved).train[0].settings.balance == balance


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (CONVERTER, "'melgan-vc' has to be trained, and no `train:` block does"),
        (TRAIN, "there is no converter in this recipe"),
        (
            CONVERTER.replace("bells", "melody") + TRAIN,
            "source and target are both 'melody': there is nothing to convert",
        ),
        (CONVERTER.replace(", target: bells", "") + TRAIN, "converter.target: a required key is missing"),
        (CONVERTER.replace("melgan-vc", "melgan-cv") + TRAIN, "melgan-vc"),
        (CONVERTER.replace("}", ", preset: travelgan}") + TRAIN, "n_mels"),
        (
            CONVERTER + TRAIN + "model: melnet\n",
            "a recipe makes new clips with a model or converts real ones, not both",
        ),
        (CONVERTER + TRAIN.replace("4", "4, balance: label", 1), "balance"),
        ("generate: {strength: 0.5}\n", "generate.strength: only a converter has a strength, and there is none"),
    ],
)
def test_what_is_wrong_is_said(load: Load, text: str, problem: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load(HEAD + text)
    assert problem in str(caught.value)


def test_labels_that_the_data_lacks_are_named_before_anything_is_trained(
    tmp_path: Path, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNTHKIT_CACHE", str(tmp_path / "cache"))
    recipe = tmp_path / "r.yaml"
    recipe.write_text(HEAD + CONVERTER.replace("bells", "bell") + TRAIN, encoding="utf-8")
    with pytest.raises(ConfigError, match="the data has no label 'bell'; did you mean 'bells'"):
        run_recipe(recipe, catalog=catalog, run_dir=tmp_path / "run")


def test_a_checkpoint_gives_it_back_with_its_labels(run: RunFolder, catalog: Catalog) -> None:
    assert run.parts() == ("converter",)
    newest = run.newest("converter")
    assert newest is not None
    component, meta = load_component(newest, catalog)
    assert isinstance(component, Converter)
    assert (component.source, component.target) == ("melody", "bells")
    assert set(meta["labels"]) > {"melody", "bells"}
    assert meta["kind"] == "converter"


def test_its_run_ends_in_a_page_to_hear_original_source_and_converted(
    run: RunFolder, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNTHKIT_CACHE", str(run.path.parent / "cache"))
    changes = {"generate.count": 1, "generate.seconds": 0.5, "generate.strength": 0.5, "report.metrics": ["mel-l1"]}
    run_recipe(run.path.parent / "r.yaml", catalog=catalog, run_dir=run.path, first="generate", overrides=changes)
    (item,) = read_json(run.generated_index)["items"]
    assert (item["kind"], item["label"], item["strength"]) == ("converted", "melody", 0.5)
    versions = {version["role"]: version for version in item["versions"]}
    assert {role: version["name"] for role, version in versions.items()} == {
        "reference": "original",
        "vocoder": "griffin-lim",
        "converted": "bells by griffin-lim",
    }
    lengths = {role: read(run.path / version["file"]).samples.shape for role, version in versions.items()}
    assert set(lengths.values()) == {(1, 11025)}
    with soundfile.SoundFile(run.path / versions["converted"]["file"]) as file:
        assert file.comment.startswith("melgan-vc and griffin-lim, label bells, converted with strength 0.5, seed ")
    with soundfile.SoundFile(run.path / versions["vocoder"]["file"]) as file:
        assert file.comment.startswith("griffin-lim, label melody, seed ")
    figures = read_json(run.report_json)
    assert figures["summary"] == (
        "1 clip of melody converted to bells by melgan-vc and turned into sound by griffin-lim; the converter was trained for "
        "2 steps."
    )
    assert [score["version"] for score in figures["scores"]] == ["griffin-lim"]  # a bell is no bad copy of a melody
    assert {"spectrum", "spread", "identity"} <= set(figures["validation"]["converter"])
    page = run.report_html.read_text(encoding="utf-8")
    assert "converter: melgan-vc" in page
    assert "bells by griffin-lim" in page


def test_another_recipe_takes_it_from_the_run(run: RunFolder, load: Load) -> None:
    recipe = load(
        f"recipe: 1\nname: again\ndata: tones\nconverter: {{from: {run.path}, gate_silence: false}}\nvocoder: griffin-lim\n"
        "features: {use: log-mel, preset: melgan}\n"
    )
    assert recipe.converter is not None
    assert isinstance(recipe.converter.config, ConverterConfig)
    assert recipe.converter.config.model_dump()["channels"] == 4
    assert recipe.converter.config.model_dump()["gate_silence"] is False
    assert recipe.converter.spec == recipe.spec
    with pytest.raises(RecipeError, match="has no checkpoint of a vocoder; it has one of a converter"):
        load(f"recipe: 1\nname: again\ndata: tones\nvocoder: {{from: {run.path}}}\n")


def test_its_training_goes_on_from_where_it_stands(
    run: RunFolder, catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNTHKIT_CACHE", str(run.path.parent / "cache"))
    straight = run_recipe(run.path.parent / "r.yaml", catalog=catalog, run_dir=tmp_path / "straight", last="train",
                          overrides={"train.steps": 3})  # fmt: skip
    resumed = run_recipe(run.path.parent / "r.yaml", catalog=catalog, run_dir=tmp_path / "resumed", last="train")
    run_recipe(run.path.parent / "r.yaml", catalog=catalog, run_dir=resumed.path, last="train", resume=True,
               overrides={"train.steps": 3})  # fmt: skip
    sums = []
    for one in (straight, resumed):
        newest = one.newest("converter")
        assert newest is not None
        sums.append(read_meta(newest)["files"]["generator.safetensors"])
    assert sums[0] == sums[1]


def test_it_is_judged_from_python(run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTHKIT_CACHE", str(run.path.parent / "cache"))
    found = synthkit.evaluate(run.path, output=tmp_path, count=1, seconds=0.4, strength=0.0).judgement
    assert isinstance(found, Conversion)
    assert found.value("onsets", "converted") == found.value("onsets", "vocoded")
    assert found.value("onsets", "source") == pytest.approx(1.0)
    assert (tmp_path / "evaluation.html").is_file()
    assert found.to_json()["rows"] == read_json(tmp_path / "evaluation.json")["rows"]
