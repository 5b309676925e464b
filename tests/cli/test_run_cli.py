"""`synthkit run` as a user types it: real processes, a real Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
from safetensors.numpy import load_file

Cli = Callable[..., subprocess.CompletedProcess[str]]

RECIPE = """\
recipe: 1
name: small
seed: 3
data: {use: tones}
features: {use: log-mel, preset: melgan}
vocoder: {use: melgan, channels: 8}
train: {part: vocoder, steps: 6, batch: 2, crop_seconds: 0.1, evaluate_every: 3, save_every: 2, log_every: 1}
generate: {count: 2, seconds: 0.5, compare: [griffin-lim]}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    file = tmp_path / "small.yaml"
    file.write_text(RECIPE, encoding="utf-8")
    return file


def ok(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def weights(run: Path, step: int) -> dict[str, bytes]:
    folder = run / "checkpoints" / "vocoder" / f"step-{step:07d}"
    return {
        f"{file.name}:{name}": array.tobytes()
        for file in sorted(folder.glob("*.safetensors"))
        for name, array in load_file(file).items()
    }


@pytest.mark.slow
def test_a_run_from_recipe_to_report(synthkit_cli: Cli, recipe: Path, tmp_path: Path) -> None:
    out = ok(synthkit_cli("run", recipe))
    run = tmp_path / "runs" / "small"
    assert f"report: {run / 'report.html'}" in out
    index = json.loads((run / "generated" / "index.json").read_text(encoding="utf-8"))
    assert [version["name"] for version in index["items"][0]["versions"]] == ["original", "griffin-lim", "melgan"]
    for item in index["items"]:
        lengths = {soundfile.info(run / version["file"]).frames for version in item["versions"]}
        assert lengths == {11025}
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["step"] for row in rows if "vocoder/validation/mel_l1" in row] == [0, 3, 6]
    report = json.loads((run / "report.json").read_text(encoding="utf-8"))
    assert {score["version"] for score in report["scores"]} == {"griffin-lim", "melgan"}

    again = ok(synthkit_cli("run", recipe))
    assert again.count("nothing it depends on has changed, skipped") == 4

    changed = ok(synthkit_cli("run", recipe, "--set", "generate.count=1"))
    assert changed.count("skipped") == 2  # prepare and train
    assert len(json.loads((run / "generated" / "index.json").read_text(encoding="utf-8"))["items"]) == 1

    resolved = ok(synthkit_cli("run", run / "recipe.yaml", "--run-dir", run))
    assert resolved.count("skipped") == 4

    other = synthkit_cli("run", recipe, "--set", "vocoder.channels=4")
    assert other.returncode == 2
    assert "channels: 8 is now 4" in other.stderr
    assert "--fresh" in other.stderr
    assert weights(run, 6)

    longer = synthkit_cli("run", recipe, "--set", "train.steps=8", "--stage", "train")
    assert longer.returncode == 2
    assert "at step 6 of 8" in longer.stderr
    assert "goes on from step 6" in ok(
        synthkit_cli("run", recipe, "--set", "train.steps=8", "--stage", "train", "--resume")
    )
    assert weights(run, 8)


@pytest.mark.slow
def test_ctrl_c_saves_and_resume_ends_bit_identical(synthkit_cli: Cli, recipe: Path, tmp_path: Path) -> None:
    numbers = ["train.steps=40", "train.save_every=1000", "train.evaluate_every=1000"]
    settings = [word for number in numbers for word in ("--set", number)] + ["--stage", "prepare..train"]
    ok(synthkit_cli("run", recipe, *settings, "--run-dir", tmp_path / "straight"))
    stopped = tmp_path / "stopped"
    environment = {**os.environ, "SYNTHKIT_CACHE": str(tmp_path / "cache")}
    process = subprocess.Popen(
        [sys.executable, "-m", "synthkit", "run", str(recipe), *settings, "--run-dir", str(stopped)],
        env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_for(lambda: trained_steps(stopped) >= 3, process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert "go on with --resume" in errors
    reached = trained_steps(stopped)
    assert 3 <= reached < 40

    refused = synthkit_cli("run", recipe, *settings, "--run-dir", stopped)
    assert refused.returncode == 2
    assert f"is at step {reached} of 40: go on with --resume" in refused.stderr

    ok(synthkit_cli("run", recipe, *settings, "--run-dir", stopped, "--resume"))
    straight = weights(tmp_path / "straight", 40)
    assert straight
    assert weights(stopped, 40) == straight


def trained_steps(run: Path) -> int:
    file = run / "metrics.jsonl"
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.is_file() else []
    return max((row["step"] for row in rows), default=0)


def wait_for(happened: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not happened():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "nothing was trained within two minutes"
        time.sleep(0.05)


def test_a_stage_needs_the_ones_before(synthkit_cli: Cli, recipe: Path) -> None:
    done = synthkit_cli("run", recipe, "--stage", "generate")
    assert done.returncode == 2
    assert "the stage 'generate' needs 'prepare' first: run with --stage prepare..generate" in done.stderr


@pytest.mark.parametrize(
    ("stage", "message"),
    [("trian", "there is no stage 'trian'; did you mean 'train'?"), ("report..train", "comes after 'train'")],
)
def test_wrong_stages_are_said(synthkit_cli: Cli, recipe: Path, stage: str, message: str) -> None:
    done = synthkit_cli("run", recipe, "--stage", stage)
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr


def test_a_run_folder_is_used_by_one_process_at_a_time(synthkit_cli: Cli, recipe: Path, tmp_path: Path) -> None:
    from filelock import FileLock

    run = tmp_path / "busy"
    run.mkdir()
    with FileLock(run / ".lock"):
        done = synthkit_cli("run", recipe, "--run-dir", run)
    assert done.returncode == 2
    assert "is in use by another synthkit" in done.stderr
    assert not (run / "recipe.yaml").exists()


def test_a_wrong_recipe_runs_nothing(synthkit_cli: Cli, recipe: Path, tmp_path: Path) -> None:
    recipe.write_text(RECIPE.replace("steps: 6", "stepps: 6"), encoding="utf-8")
    done = synthkit_cli("run", recipe)
    assert done.returncode == 2
    assert "small.yaml:7:" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_place_that_cannot_be_written_to_is_said(synthkit_cli: Cli, recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")
    done = synthkit_cli("run", recipe, "--run-dir", tmp_path / "file" / "run")
    assert done.returncode == 2
    assert "file/run': Not a directory" in done.stderr
    assert "Traceback" not in done.stderr
