"""`synthkit new-plugin` writes packages whose own tests pass, and that work together in a recipe."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

KINDS = ("vocoder", "features", "model", "converter", "dataset", "metric", "embedding", "tracker")
RECIPE = """
recipe: 1
name: all-my-own
data: {use: my-dataset, clips: 20}
features: {use: my-features}
model: {use: my-model}
vocoder: {use: my-vocoder}
train: {part: model, steps: 3, batch: 2, crop_seconds: 0.2}
generate: {count: 1, seconds: 0.5}
report: {metrics: [my-metric], embedding: my-embedding}
trackers: [json-lines, my-tracker]
"""
CONVERTING = """
recipe: 1
name: converting
data: {use: my-dataset, clips: 20}
features: {use: my-features}
converter: {use: my-converter, source: falls, target: rises}
vocoder: {use: my-vocoder}
train: {part: converter, steps: 3, batch: 4, crop_seconds: 0.2}
generate: {count: 1, seconds: 0.5}
"""

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one generated package of each kind."""
    folder = tmp_path_factory.mktemp("packages")
    for kind in KINDS:
        command = [sys.executable, "-m", "synthkit", "new-plugin", f"my-{kind}", "--kind", kind, "-o", str(folder)]
        subprocess.run(command, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def python(packages: Path, tmp_path_factory: pytest.TempPathFactory, make_environment: Callable[..., Path]) -> Path:
    """The Python of an environment in which all of them are installed."""
    return make_environment(tmp_path_factory.mktemp("mine") / "environment", *sorted(packages.iterdir()))


def call(python: Path, folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "SYNTHKIT_CACHE": str(folder / "cache"), "COLUMNS": "200", "NO_COLOR": "1"}
    command = [str(python), *map(str, arguments)]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def test_the_package_is_complete(packages: Path) -> None:
    folder = packages / "synthkit_my_model"
    assert {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()} == {
        "README.md",
        "pyproject.toml",
        "synthkit_my_model/__init__.py",
        "synthkit_my_model/config.py",
        "synthkit_my_model/model.py",
        "synthkit_my_model/network.py",
        "synthkit_my_model/objective.py",
        "synthkit_my_model/plugin.py",
        "tests/test_my_model.py",
    }
    project = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["name"] == "synthkit-my-model"
    assert project["entry-points"] == {"synthkit": {"my_model": "synthkit_my_model.plugin"}}
    assert not list(packages.glob(".*"))  # nothing temporary is left


def test_the_packages_are_tidy(packages: Path) -> None:
    ruff = [sys.executable, "-m", "ruff"]
    for arguments in (["check", "--select", "E,F,I,UP,B"], ["format", "--check"]):
        done = subprocess.run(
            [*ruff, *arguments, "--no-cache", str(packages)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout


def test_their_own_tests_pass(python: Path, packages: Path, tmp_path: Path) -> None:
    tests = [packages / f"synthkit_my_{kind}" / "tests" for kind in KINDS]
    done = call(python, tmp_path, "-m", "pytest", "-v", "-p", "no:cacheprovider", "--import-mode=importlib", *tests)
    assert done.returncode == 0, done.stdout + done.stderr
    for kind in KINDS:
        assert f"test_my_{kind}.py::test_laws[{kind}-" in done.stdout
    for kind in ("model", "converter"):
        assert f"test_my_{kind}.py::test_laws[objective-resumption]" in done.stdout


def test_they_make_sound_together(python: Path, tmp_path: Path) -> None:
    plugins = call(python, tmp_path, "-m", "synthkit", "plugins")
    assert plugins.returncode == 0, plugins.stdout
    assert plugins.stdout.count("synthkit-my-") == len(KINDS)
    (tmp_path / "mine.yaml").write_text(RECIPE, encoding="utf-8")
    done = call(python, tmp_path, "-m", "synthkit", "run", "mine.yaml", "--run-dir", "run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert list((tmp_path / "run" / "generated").glob("*.wav"))
    assert "model/train/nats" in (tmp_path / "run" / "my-tracker.csv").read_text("utf-8")
    meta = json.loads(next((tmp_path / "run" / "checkpoints" / "model").glob("*/meta.json")).read_text("utf-8"))
    assert (meta["component"], meta["plugin"], meta["distribution"]) == ("my-model", "my_model", "synthkit-my-model")
    assert meta["labels"] == ["falls", "rises"]


def test_a_converter_of_ones_own_converts_a_file(python: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(CONVERTING, encoding="utf-8")
    done = call(
        python, tmp_path, "-m", "synthkit", "run", "mine.yaml", "--run-dir", "run", "--stage", "prepare..generate"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (clip,) = (tmp_path / "run" / "generated").glob("00-original.wav")
    done = call(python, tmp_path, "-m", "synthkit", "convert", "run", clip, "out.wav", "--vocoder", "my-vocoder")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "out.wav: 0.50 s, 1 channel" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["Bad Name"], "'Bad Name' cannot be the name of a plugin: write lower-case letters"),
        (["3d"], "a letter first"),
        (["a--b"], "cannot be the name of a plugin"),
        (["melgan"], "'melgan' is the name of the plugin 'melgan' of synthkit already"),
        (["mel-l1", "--kind", "metric"], "'mel-l1' is the name of a metric of the plugin 'builtin' already"),
        (["mine", "--kind", "vocodr"], "there is no template for the kind 'vocodr'; did you mean 'vocoder'?"),
        (["mine", "--kind", "objective"], "write --kind model or --kind converter"),
    ],
)
def test_what_cannot_be_is_refused(arguments: list[str], message: str, synthkit_cli: Cli, tmp_path: Path) -> None:
    done = synthkit_cli("new-plugin", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_not_touched(synthkit_cli: Cli, tmp_path: Path) -> None:
    existing = tmp_path / "synthkit_mine"
    existing.mkdir()
    (existing / "precious.txt").write_text("keep", encoding="utf-8")
    done = synthkit_cli("new-plugin", "mine", cwd=tmp_path)
    assert done.returncode == 2
    assert "is there already and is not touched" in done.stderr
    assert [file.name for file in existing.iterdir()] == ["precious.txt"]
    assert [file.name for file in tmp_path.iterdir()] == ["synthkit_mine"]


@pytest.mark.parametrize("name", ["my_hum", "synthkit-my-hum", "synthkit_my_hum"])
def test_other_spellings_of_a_name(name: str, synthkit_cli: Cli, tmp_path: Path) -> None:
    done = synthkit_cli("new-plugin", name, "-o", "plugins/here", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "plugins" / "here" / "synthkit_my_hum" / "synthkit_my_hum" / "vocoder.py").is_file()
    assert "synthkit plugins my_hum" in done.stdout
