"""`synthkit run` in several processes, as a user starts them: --devices, torchrun, srun; with a kill -9, a Ctrl-C, a wrong recipe."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

RECIPE = """\
recipe: 1
name: small
seed: 3
data: {use: tones, clips_per_label: 3, seconds: 1.0}
features: {use: log-mel, preset: melgan}
vocoder: {use: melgan, channels: 2}
train:
  part: vocoder
  steps: 40
  batch: 7
  crop_seconds: 0.1
  evaluate_every: 1000
  evaluate_items: 2
  save_every: 6
  log_every: 1
  objective: {use: melgan, mel_weight: 1.0, adversarial_weight: 0.0, feature_matching_weight: 0.0, learning_rate: 2e-5}
"""
STEPS = 40
LONG = ("--set", "train.steps=5000")


class Folder:
    """A working folder with a recipe in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run = path / "runs" / "small"
        (path / "small.yaml").write_text(RECIPE, encoding="utf-8")

    def start(
        self, *words: str, launcher: tuple[str, ...] = (), environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """`synthkit run small.yaml ...`, its training only."""
        mine = {"SYNTHKIT_CACHE": str(self.path / "cache"), "COLUMNS": "200", "NO_COLOR": "1", "OMP_NUM_THREADS": "1"}
        command = [*(launcher or (sys.executable,)), "-m", "synthkit", "run", "small.yaml", "--stage", "prepare..train"]
        return subprocess.Popen(
            [*command, *words],
            cwd=self.path,
            env={**os.environ, **mine, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def finish(self, *words: str, code: int = 0, launcher: tuple[str, ...] = ()) -> str:
        """The same until it ends, with this exit code; returns what it said."""
        return end(self.start(*words, launcher=launcher), code)

    def rows(self) -> list[dict[str, Any]]:
        """The rows of the metrics that belong to training steps."""
        file = self.run / "metrics.jsonl"
        lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
        rows = [json.loads(line) for line in lines if line.endswith("}")]
        return [row for row in rows if "vocoder/train/mel_l1" in row]

    def losses(self) -> dict[int, float]:
        """The loss of each step; one that was made twice after a kill counts as the second time."""
        return {row["step"]: row["vocoder/train/mel_l1"] for row in self.rows()}

    def weights(self) -> dict[str, np.ndarray]:
        """Those of the last step."""
        (file,) = (self.run / "checkpoints" / "vocoder" / f"step-{STEPS:07d}").glob("[!o]*.safetensors")
        return dict(load_file(file))

    def wait_for_step(self, step: int, process: subprocess.Popen[str]) -> None:
        """Until a row of the metrics has this step."""
        deadline = time.monotonic() + 240
        while not any(row["step"] >= step for row in self.rows()):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline, "the training did not get so far in four minutes"
            time.sleep(0.02)


def end(process: subprocess.Popen[str], code: int) -> str:
    said, _ = process.communicate(timeout=240)
    assert process.returncode == code, said
    assert "Traceback" not in said
    return said


def children(process: subprocess.Popen[str]) -> list[int]:
    """Its child processes, in the order in which they were started."""
    table = subprocess.run(["ps", "-A", "-o", "ppid=,pid="], capture_output=True, text=True, check=True).stdout
    pairs = [tuple(map(int, line.split())) for line in table.splitlines()]
    return sorted(pid for parent, pid in pairs if parent == process.pid)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """What one process makes of the recipe."""
    folder = Folder(tmp_path_factory.mktemp("straight"))
    folder.finish()
    return folder


def check_alike(folder: Folder, straight: Folder) -> None:
    """The same losses and weights as one process's, to float tolerance."""
    losses, expected = folder.losses(), straight.losses()
    assert list(expected) == list(range(1, STEPS + 1))
    assert losses == pytest.approx(expected, rel=1e-4)
    for name, value in straight.weights().items():
        assert np.linalg.norm(folder.weights()[name] - value) < 1e-3 * np.linalg.norm(value), name


def count_lines(said: str, word: str) -> int:
    return sum(word in line for line in said.splitlines())


@pytest.mark.slow
def test_a_killed_process_ends_all_and_one_process_goes_on(folder: Folder, straight: Folder) -> None:
    run = folder.start("--devices", "2")
    folder.wait_for_step(1, run)
    pids = children(run)
    assert len(pids) == 2
    folder.wait_for_step(8, run)
    os.kill(pids[1], signal.SIGKILL)
    said = end(run, 1)
    message = "process 2 of 2 ended with signal 9 (SIGKILL; a system that is short of memory ends processes so); "
    assert count_lines(said, message + "everything up to step ") == 1
    assert said.splitlines()[-1].endswith("is saved; go on with --resume, with any number of devices")
    assert not [pid for pid in pids if alive(pid)]

    assert "goes on from step" in folder.finish("--resume")
    check_alike(folder, straight)


@pytest.mark.slow
def test_ctrl_c_saves_once_and_another_number_of_processes_goes_on(folder: Folder, straight: Folder) -> None:
    run = folder.start("--devices", "2")
    folder.wait_for_step(3, run)
    pids = children(run)
    run.send_signal(signal.SIGINT)
    said = end(run, 130)
    reached = max(folder.losses())
    assert 3 <= reached < STEPS
    assert count_lines(said, f"stopped: vocoder is at step {reached} of {STEPS}") == 1
    assert count_lines(said, f"saved step-{reached:07d}") == 1
    assert not [pid for pid in pids if alive(pid)]

    said = folder.finish("--resume", "--devices", "3")
    assert count_lines(said, f"goes on from step {reached}") == 1
    check_alike(folder, straight)


@pytest.mark.slow
def test_torchrun(folder: Folder, straight: Folder) -> None:
    """It asks those that are left to end (SIGTERM) when it misses one, and then starts all of them again."""
    nodes = ("--standalone", "--nproc-per-node", "2", "--max-restarts", "1")
    run = folder.start("--resume", launcher=(sys.executable, "-m", "torch.distributed.run", *nodes))
    folder.wait_for_step(1, run)
    pids = children(run)
    folder.wait_for_step(8, run)
    os.kill(pids[1], signal.SIGKILL)
    said = end(run, 0)
    assert not [pid for pid in pids if alive(pid)]
    assert count_lines(said, "another process of this run has ended or cannot be reached") == 1
    assert count_lines(said, "; everything up to step ") == 1
    assert count_lines(said, "goes on from step") == count_lines(said, f"saved step-{STEPS:07d}") == 1
    check_alike(folder, straight)


@pytest.mark.slow
def test_srun_and_scancel(folder: Folder) -> None:
    """Two tasks as srun starts them; scancel is a SIGTERM to each. The main task alone speaks."""
    first, second = (folder.start(*LONG, environment=task) for task in tasks(2))
    folder.wait_for_step(2, first)
    for task in (second, first):
        task.send_signal(signal.SIGTERM)
    assert count_lines(end(first, 130), "stopped: vocoder is at step") == 1
    assert end(second, 130) == ""


def tasks(count: int) -> list[dict[str, str]]:
    """What srun puts into the environment of each of its tasks."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = {
        "SLURM_JOB_ID": "4711",
        "SLURM_STEP_NUM_TASKS": str(count),
        "SLURM_STEP_NODELIST": "localhost",
        "MASTER_PORT": str(port),
    }
    return [{**common, "SLURM_PROCID": str(index), "SLURM_LOCALID": str(index)} for index in range(count)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--set", "train.stepps=3"), "train.stepps: unknown key"),
        (("--set", "train.batch=2"), "a batch of 2 cannot be shared among 3 processes: set train.batch to 3 or more"),
    ],
)
def test_what_is_wrong_with_a_recipe_is_said_before_any_process_starts(
    folder: Folder, words: tuple[str, ...], message: str
) -> None:
    said = folder.finish("--devices", "3", *words, code=2)
    assert message in said
    assert len(said.splitlines()) == 1
    assert not folder.run.exists()


def test_devices_beside_torchrun_are_refused(folder: Folder) -> None:
    place = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    said = end(folder.start("--devices", "4", environment=place), 2)
    assert "--devices 4: 2 processes have been started already (by torchrun or srun); leave it out" in said
