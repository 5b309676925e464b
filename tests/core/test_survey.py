"""Surveys: an objective looks at crops of the training split once, before the first step of a part that starts fresh."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from synthkit._catalog import Catalog
from synthkit._run.folder import RunFolder
from synthkit._stages.pipeline import run_recipe

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "band_gaussian.py"
PLUGIN = '''\
"""An objective for band-gaussian that writes down each survey it makes."""

import hashlib
import json
import os

import torch

from synthkit import Config, Objective, Offer, hookimpl


class SurveyingConfig(Config):
    """Settings."""


class Surveying(Objective):
    def __init__(self, config, component, engine):
        self.component, self.engine = component, engine
        self.bands = engine.prepare(component.bands)
        self.adam = torch.optim.Adam(component.bands.parameters())
        self.steps = 0

    @property
    def optimisers(self):
        return {"adam": self.adam}

    def survey(self, batches):
        found = list(batches)
        sound = b"".join(batch.audio.numpy().tobytes() for batch in found)
        row = {
            "steps": self.steps,
            "shapes": [list(batch.features.shape) for batch in found],
            "loudest": max(float(batch.audio.abs().max()) for batch in found),
            "clips": sorted({clip for batch in found for clip in batch.clips}),
            "sound": hashlib.sha256(sound).hexdigest(),
        }
        with open(os.environ["SURVEYS"], "a") as file:
            file.write(json.dumps(row) + "\\n")

    def step(self, batch):
        self.steps += 1
        return self.engine.learn(self.adam, self.engine.pieces(batch), self.told)

    def told(self, batch):
        mean, _ = self.bands(batch.labels)
        loss = (batch.features - mean).square().mean()
        return loss, {"error": loss}

    def evaluate(self, batch):
        return self.told(batch)[1]


@hookimpl
def synthkit_components():
    names = {"build": f"{__name__}:Surveying", "config": f"{__name__}:SurveyingConfig"}
    return [Offer(kind="objective", name="surveying", summary="Looks first.", **names)]
'''
RECIPE = """\
recipe: 1
name: surveyed
data: {use: tones, clips_per_label: 4, seconds: 0.5, sample_rate: 8000}
features: {use: log-mel, preset: melgan, sample_rate: 8000, n_fft: 256, hop_length: 64, n_mels: 20}
model: MODEL
vocoder: griffin-lim
prepare: {workers: 1}
train:
  {part: model, steps: 2, batch: 4, crop_seconds: 0.2, gain: [0.5, 0.5], evaluate_items: 2, device: cpu, objective: {use: surveying}}
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache of all these tests, whose clips are the same."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def surveys(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[dict[str, Any]]]:
    """What was written down, one row for each survey of each process."""
    file = tmp_path / "surveys.jsonl"
    monkeypatch.setenv("SURVEYS", str(file))
    monkeypatch.setenv("SYNTHKIT_CACHE", str(cache))
    return lambda: [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@pytest.fixture
def train(tmp_path: Path) -> Callable[..., RunFolder]:
    """Trains the recipe in the run folder of a name."""
    plugin = tmp_path / "surveying.py"
    plugin.write_text(PLUGIN)
    catalog = Catalog.discover([EXAMPLE, plugin])

    def start(run: str, *, model: str = "band-gaussian", resume: bool = False, **changes: Any) -> RunFolder:
        file = tmp_path / "surveyed.yaml"
        file.write_text(RECIPE.replace("MODEL", model))
        overrides = {name.replace("__", "."): value for name, value in changes.items()}
        where = tmp_path / run
        return run_recipe(file, catalog=catalog, run_dir=where, last="train", overrides=overrides, resume=resume)

    return start


def test_once_before_the_first_step_of_crops_like_those_of_the_training(
    train: Callable[..., RunFolder], surveys: Callable[[], list[dict[str, Any]]]
) -> None:
    train("run")
    (survey,) = surveys()
    assert survey["steps"] == 0
    assert survey["shapes"] == [[16, 20, 25]] * 16
    assert 0.3 < survey["loudest"] <= 0.95 * 0.5 + 1e-4  # the peak of the training, times its gain
    numbers = {clip.split("/")[1] for clip in survey["clips"]}
    assert numbers == {"0000", "0003"}  # 0001 is for validation, 0002 for the test


def test_not_where_a_run_goes_on_nor_where_weights_come_from_another(
    train: Callable[..., RunFolder], surveys: Callable[[], list[dict[str, Any]]]
) -> None:
    run = train("run")
    train("run", resume=True, train__steps=4)
    assert run.newest("model") == run.path / "checkpoints" / "model" / "step-0000004"
    train("tuned", model=f"{{from: {run.path}}}")
    assert len(surveys()) == 1


def test_the_same_crops_whatever_the_batch_other_ones_for_another_seed(
    train: Callable[..., RunFolder], surveys: Callable[[], list[dict[str, Any]]]
) -> None:
    train("one", train__batch=4)
    train("two", train__batch=2)
    train("three", seed=1)
    one, two, three = (survey["sound"] for survey in surveys())
    assert one == two != three


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="several processes need a POSIX system")
def test_every_process_sees_the_same(
    synthkit_cli: Callable[..., subprocess.CompletedProcess[str]],
    surveys: Callable[[], list[dict[str, Any]]],
    cache: Path,
    tmp_path: Path,
) -> None:
    (tmp_path / "surveying.py").write_text(PLUGIN)
    (tmp_path / "surveyed.yaml").write_text(RECIPE.replace("MODEL", "band-gaussian"))
    plugins = ("--plugin", EXAMPLE, "--plugin", tmp_path / "surveying.py")
    done = synthkit_cli(
        *plugins,
        "run",
        "surveyed.yaml",
        "--devices",
        "2",
        "--stage",
        "prepare..train",
        OMP_NUM_THREADS="1",
        SYNTHKIT_CACHE=str(cache),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    one, other = surveys()
    assert one == other
