"""The stage prepare hands every setting of its block on, and training crops what it left as the recipe says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from synthkit._catalog import Catalog
from synthkit._data import Prepared
from synthkit._recipe.load import load_text
from synthkit._recipe.model import Recipe
from synthkit._run.folder import RunFolder
from synthkit._run.processes import Processes
from synthkit._run.reporter import Reporter
from synthkit._stages.prepare import min_frames, prepare, require_visible
from synthkit._stages.train import PartTraining
from synthkit.audio import Audio
from synthkit.errors import DatasetError
from synthkit.specs import FeatureSpec

RATE = 22050
RECIPE = """
recipe: 1
name: small
data: {use: folder, root: %s, validation: 0, test: 0}
features: {use: log-mel, preset: melgan}
vocoder: melgan
train: {part: vocoder, steps: 1, batch: 4, crop_seconds: 0.5, gain: [1, 1], peak: null}
prepare: {%s}
"""

Load = Callable[[str], Recipe]


@pytest.fixture
def catalog(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Catalog:
    monkeypatch.setenv("SYNTHKIT_CACHE", str(tmp_path / "cache"))
    return Catalog.discover()


@pytest.fixture
def load(catalog: Catalog, tmp_path: Path) -> Load:
    """A recipe with these settings of `prepare`, for clips of 0.1, 0.3, 0.6 and 1 s."""
    for number, seconds in enumerate((0.1, 0.3, 0.6, 1.0)):
        samples = np.linspace(-0.5, 0.5, round(RATE * seconds))
        Audio(samples, RATE).write(tmp_path / "music" / f"{number}.wav")

    def read(settings: str) -> Recipe:
        limit = "" if "max_unreadable" in settings else ", max_unreadable: 0.9"
        return load_text(RECIPE % (tmp_path / "music", settings + limit), tmp_path / "recipe.yaml", catalog)

    return read


def run_stage(recipe: Recipe, catalog: Catalog, folder: Path) -> tuple[list[str], dict[str, str]]:
    """The clips that are used, and the reasons why others are not."""
    run = RunFolder(folder)
    run.path.mkdir(exist_ok=True)
    prepare(recipe, run, catalog, Reporter())
    quarantine = json.loads((run.path / "quarantine.json").read_text(encoding="utf-8"))
    used = sorted(entry.id for entry in Prepared.open(run.data_file).entries())
    return used, {row["id"]: f"{row['code']}: {row['reason']}" for row in quarantine["left_out"]}


@pytest.mark.parametrize(
    ("settings", "used"),
    [
        ("min_seconds: 0, short: pad", "0.wav 1.wav 2.wav 3.wav"),
        ("min_seconds: 0.2, short: pad", "1.wav 2.wav 3.wav"),
        ("min_seconds: 0.2, short: loop", "1.wav 2.wav 3.wav"),
        ("min_seconds: 0.2, short: skip", "2.wav 3.wav"),
        ("min_seconds: 0.8, short: skip", "3.wav"),
    ],
)
def test_short_clips_follow_the_recipe(settings: str, used: str, load: Load, catalog: Catalog, tmp_path: Path) -> None:
    found, left_out = run_stage(load(settings), catalog, tmp_path / "run")
    assert found == used.split()
    assert all(why.startswith(("too-short: ", "short: ")) for why in left_out.values())
    if settings == "min_seconds: 0.2, short: skip":
        assert "prepare.min_seconds: 0.2" in left_out["0.wav"]
        assert "shorter than a crop of 0.499 s, and prepare.short is skip" in left_out["1.wav"]


def test_what_is_skipped_as_asked_for_is_no_loss(load: Load, catalog: Catalog, tmp_path: Path) -> None:
    used, left_out = run_stage(load("min_seconds: 0, short: skip, max_unreadable: 0"), catalog, tmp_path / "run")
    assert used == ["2.wav", "3.wav"]
    assert all(why.startswith("short: it is ") for why in left_out.values()), left_out
    with pytest.raises(DatasetError, match=r"^2 of 4 clips of 'folder' cannot be used"):
        run_stage(load("min_seconds: 0.6, max_unreadable: 0"), catalog, tmp_path / "another")


def test_what_is_skipped_is_what_would_not_fill_the_longest_crop(load: Load) -> None:
    spec = FeatureSpec(sample_rate=RATE, n_fft=1024, hop_length=256, n_mels=80)
    assert min_frames(load("short: skip")) == spec.crop_samples(0.5) == 43 * 256
    assert min_frames(load("short: pad")) == min_frames(load("short: loop")) == 0


@pytest.mark.parametrize(("short", "repeats"), [("pad", False), ("loop", True)])
def test_training_crops_short_clips_as_the_recipe_says(
    short: str, repeats: bool, load: Load, catalog: Catalog, tmp_path: Path
) -> None:
    recipe = load(f"min_seconds: 0, short: {short}")
    run_stage(recipe, catalog, tmp_path / "run")
    prepared = Prepared.open(tmp_path / "run/data.json")
    (training,) = recipe.train
    assert recipe.vocoder is not None
    part = PartTraining(recipe, training, recipe.vocoder, prepared, Processes())
    batches = [part._crops("train", 4, (1.0, 1.0)).batch(step) for step in range(40)]
    ends = [
        crop[-100:] for batch in batches for clip, crop in zip(batch.clips, batch.audio, strict=True) if clip == "1.wav"
    ]
    assert ends
    assert all(bool(np.abs(end).max() > 0) == repeats for end in ends)


def test_entries_that_are_not_seen_here_are_an_error(load: Load, catalog: Catalog, tmp_path: Path) -> None:
    run_stage(load("min_seconds: 0"), catalog, tmp_path / "run")
    prepared = Prepared.open(tmp_path / "run/data.json")
    require_visible(prepared)
    (prepared.cache / prepared.entries()[0].file).unlink()
    with pytest.raises(
        DatasetError, match=r"1 of 4 clips were decoded but are not in the cache folder .*SYNTHKIT_CACHE"
    ):
        require_visible(prepared)
