"""A run folder as the stages before the report leave it, made by hand: real wav files, rows of metrics, prepared data."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synthkit._catalog import Catalog
from synthkit._recipe.load import load_text
from synthkit._recipe.model import Recipe
from synthkit._run.folder import RunFolder
from synthkit._run.reporter import Reporter
from synthkit._stages.report.stage import report
from synthkit.audio import Audio

RATE = 22050
RECIPE = """\
recipe: 1
name: bench
description: A run made by hand.
seed: 7
data: tones
features: {use: log-mel, preset: melgan}
vocoder: melgan
train: {part: vocoder, steps: 40, batch: 2}
generate: {source: test, count: 2, seconds: 1, compare: [griffin-lim]}
report: {metrics: [mel-l1, real-time-factor, level, clipping]}
"""
FALL = {"first": 1.5, "last": 0.5}
"""The validation term `mel_l1` of the hand-made training at step 0 and at its end."""


def tone(seconds: float, frequency: float, *, gain: float = 0.5, noise: float = 0.0) -> Audio:
    """A decaying tone with overtones; `noise` is what a poor vocoder adds."""
    at = np.arange(round(seconds * RATE)) / RATE
    samples = sum(np.sin(2 * np.pi * frequency * part * at) / part for part in (1, 2, 3)) * np.exp(-2 * at) * gain / 2
    return Audio(samples + noise * np.random.default_rng(1).standard_normal(len(at)), RATE)


@dataclass(kw_only=True)
class ReportRun:
    """The run folder before its report; change what the test is about, then `report()`."""

    run: RunFolder
    catalog: Catalog
    recipe: Recipe
    items: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def add_item(self, name: str, *, seconds: float = 1.0, reference: bool = True, **fields: Any) -> dict[str, Any]:
        """A clip with its original, and what griffin-lim and melgan made of it."""
        number = len(self.items)
        pitch = 220.0 * (number + 1)
        sounds = {
            "original": ("reference", tone(seconds, pitch), 0.0),
            "griffin-lim": ("compare", tone(seconds, pitch, noise=0.05), 0.5),
            "melgan": ("vocoder", tone(seconds, pitch, noise=0.01), 0.05),
        }
        if not reference:
            del sounds["original"]
        versions = []
        for voice, (role, audio, elapsed) in sounds.items():
            file = f"generated/{number:02d}-{voice}.wav"
            clipped = audio.write(self.run.path / file)
            versions.append({"name": voice, "role": role, "file": file, "elapsed": elapsed, "clipped": clipped})
        kind = "copy" if reference else "generated"
        item = {"id": f"{name}.wav", "title": name, "label": "bell", "licence": "CC0-1.0", "kind": kind, "seed": number}
        self.items.append({**item, "versions": versions, **fields})
        return self.items[-1]

    def write_metrics(self, rows: Sequence[dict[str, float]]) -> None:
        """`metrics.jsonl`."""
        self.run.metrics_file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    def write_data(self, *, left_out: Sequence[dict[str, Any]] = (), remarks: Sequence[dict[str, Any]] = ()) -> None:
        """`data.json` of four clips of two seconds."""
        blank = {"reason": "", "seconds": 0.0, "sample_rate": 0, "channels": 0, "peak": 0.0}
        splits = ("train", "train", "validation", "test")
        entry = {"label": "bell", "licence": "", "frames": 2 * RATE, "peak": 0.9, "step": 2**-15, "file": "x.npy"}
        content = {
            "format": 1,
            "dataset": {"name": "tones", "licence": "CC0-1.0", "citation": "Nobody & Co. (2020)"},
            "sample_rate": RATE,
            "labels": ["bell", "drum"],
            "cache": str(self.run.path),
            "clips": [{"id": f"clip-{number}", "split": split, **entry} for number, split in enumerate(splits)],
            "unreadable": [{**blank, **clip} for clip in left_out],
            "remarks": [{**blank, **clip} for clip in remarks],
        }
        self.run.data_file.write_text(json.dumps(content), encoding="utf-8")

    def set_recipe(self, text: str) -> None:
        """Another recipe."""
        self.recipe = load_text(text, Path("bench.yaml"), self.catalog)

    def report(self) -> dict[str, Any]:
        """Write the index, make the report, and read its figures."""
        index = {"sample_rate": RATE, "spec": self.recipe.spec.to_dict(), "items": self.items}
        self.run.generated.mkdir(exist_ok=True)
        self.run.generated_index.write_text(json.dumps(index), encoding="utf-8")
        reporter = Reporter()
        reporter.warn = self.warnings.append  # type: ignore[method-assign]
        report(self.recipe, self.run, self.catalog, reporter)
        figures: dict[str, Any] = json.loads(
            self.run.report_json.read_text(encoding="utf-8"), parse_constant=pytest.fail
        )
        return figures

    @property
    def page(self) -> str:
        """The page's text."""
        return self.run.report_html.read_text(encoding="utf-8")


def training_rows() -> list[dict[str, float]]:
    """40 steps of a training whose validation `mel_l1` falls from 1.5 to 0.5."""
    rows: list[dict[str, float]] = []
    for step in range(0, 41, 2):
        level = FALL["last"] + (FALL["first"] - FALL["last"]) * (1 - step / 40) ** 2
        if step % 10 == 0:
            rows.append({"step": step, "vocoder/validation/mel_l1": level, "vocoder/validation/stft": 2 * level})
        if step:
            train = {"mel_l1": level + 0.05 * math.sin(step), "critic": 2 + math.sin(step), "generator": math.cos(step)}
            rates = {"steps_per_second": 4.0, "data_wait": 0.25}
            named = {f"vocoder/train/{name}": value for name, value in train.items()}
            rows.append({"step": step, **named, **{f"vocoder/rate/{name}": value for name, value in rates.items()}})
    return rows


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    """All installed plugins."""
    return Catalog.discover()


@pytest.fixture
def empty_report_run(tmp_path: Path, catalog: Catalog) -> ReportRun:
    """A run folder with prepared data and nothing generated yet."""
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    made = ReportRun(run=run, catalog=catalog, recipe=load_text(RECIPE, Path("bench.yaml"), catalog))
    made.write_data()
    return made


@pytest.fixture
def report_run(empty_report_run: ReportRun) -> ReportRun:
    """A run folder with two clips and a short training."""
    empty_report_run.add_item("low bell")
    empty_report_run.add_item("high bell", seconds=1.5)
    empty_report_run.write_metrics(training_rows())
    return empty_report_run


@pytest.fixture
def report_plugin(tmp_path: Path) -> Callable[[str], Catalog]:
    """A catalogue with a plugin file of the given source besides the installed plugins."""

    def discover(source: str) -> Catalog:
        file = tmp_path / "report_plugin.py"
        file.write_text(source, encoding="utf-8")
        return Catalog.discover([file])

    return discover


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A real browser without a window, with sound that nobody hears."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
    driver_program = shutil.which("chromedriver")
    if not (program and driver_program):
        pytest.skip("there is no Chromium with chromedriver (Debian: apt install chromium chromium-driver)")
    webdriver = pytest.importorskip("selenium.webdriver")
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in (
        "--headless=new",
        "--disable-gpu",
        "--disable-quic",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--autoplay-policy=no-user-gesture-required",
        "--mute-audio",
        f"--user-data-dir={tmp_path_factory.mktemp('profile')}",
    ):
        options.add_argument(argument)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # Chromium refuses to run as root with its sandbox
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(driver_program))
    driver.set_script_timeout(20)
    yield driver
    driver.quit()
