"""Exact resume, promised for every objective: trainings that are killed (-9) at random moments, with checkpoints damaged in
between, end with the very bits of those that were not: weights, optimiser states, losses, and the sound they make.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "band_gaussian.py"

LEARNING = """\
  batch: 4
  crop_seconds: 0.1
  threads: 3
  accumulate: 2
  clip_norm: 2.0
  ema: 0.9
  schedule: {shape: cosine, warmup: 7, final: 0.1}
  log_every: 1
  evaluate_every: 6
  evaluate_items: 2
  save_every: 4
  device: cpu
"""
RECIPES = {
    "melgan": f"""\
recipe: 1
name: killed
seed: 11
data: {{use: tones, clips_per_label: 3, seconds: 1.0}}
features: {{use: log-mel, preset: melgan}}
vocoder: {{use: melgan, channels: 4}}
train:
  part: vocoder
  steps: 50
  keep: {{last: 2, every: 12, best: mel_l1}}
  objective: {{mel_weight: 5.0, multi_stft_weight: 1.0, critic: {{scales: 2, channels: 4, max_channels: 16}}}}
{LEARNING}
generate: {{count: 2, seconds: 0.3}}
""",
    "band-gaussian": f"""\
recipe: 1
name: killed
seed: 12
data: {{use: tones, clips_per_label: 3, seconds: 1.0}}
features: {{use: log-mel, preset: melgan}}
model: {{use: band-gaussian}}
vocoder: {{use: griffin-lim, iterations: 2}}
train:
  part: model
  steps: 80
  keep: {{last: 3}}
{LEARNING}
generate: {{count: 2, seconds: 0.3}}
""",
}
RECIPES["rolled back"] = (
    RECIPES["band-gaussian"].replace("train:\n", "train:\n  objective: {use: ill}\n  watch: {rollbacks: 2, slow_down: 0.5}\n")
)  # fmt: skip
PARTS = {"melgan": "vocoder", "band-gaussian": "model", "rolled back": "model"}
ILL = '''
"""An objective that is ill twice: at step 30 of the first attempt and at step 50 of the second."""

import torch

from synthkit import hookimpl
from synthkit.config import Config
from synthkit.interfaces import Objective, Offer


class Ill(Objective):
    """Pulls the means of all bands to the features."""

    def __init__(self, config, component, engine):
        self.component, self.engine, self.made = component, engine, 0
        self.adam = torch.optim.Adam(engine.prepare(component.networks["bands"]).parameters(), lr=0.05)

    @property
    def optimisers(self):
        return {"adam": self.adam}

    def step(self, batch):
        self.made += 1
        terms = self.engine.learn(self.adam, self.engine.pieces(batch), self.loss)
        ill = (self.made, self.engine.slow_down) in ((30, 1.0), (50, 0.5))
        return {"error": terms["error"] * float("nan")} if ill else terms

    def evaluate(self, batch):
        return self.loss(batch)[1]

    def loss(self, batch):
        mean, _ = self.component.networks["bands"](batch.labels)
        error = (batch.features - mean).abs().mean()
        return error, {"error": error}

    def state_dict(self):
        return {**super().state_dict(), "made": self.made}

    def load_state_dict(self, state):
        super().load_state_dict(state)
        self.made = state["made"]


@hookimpl
def synthkit_components():
    """The objective."""
    here = dict(build=f"{__name__}:Ill", config="synthkit.config:Config")
    return [Offer(kind="objective", name="ill", summary="Ill twice.", **here)]
'''


class Forks:
    """`synthkit` in a process of its own, without the seconds that imports take (see forked.py)."""

    def __init__(self, folder: Path) -> None:
        environment = {**os.environ, "SYNTHKIT_CACHE": str(folder / "cache"), "NO_COLOR": "1", "OMP_NUM_THREADS": "1"}
        self.output = folder / "output.txt"
        self._environment, self._folder = environment, folder
        self._server = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("forked.py")), str(self.output)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=folder,
        )  # fmt: skip

    def run(self, *arguments: str | Path) -> None:
        """A command that has to succeed."""
        self._start(arguments)
        assert self._code() == 0, self.output.read_text(encoding="utf-8")

    def kill(self, moment: Moment, *arguments: str | Path) -> None:
        """A command that is killed at a moment of its life. It must not have ended before."""
        pid = self._start(arguments)
        try:
            self._await(moment, lambda: Path(f"/proc/{pid}/stat").exists())
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert self._code() == -signal.SIGKILL, f"it had ended before: {self.output.read_text(encoding='utf-8')}"

    def kill_real(self, moment: Moment, *arguments: str | Path) -> None:
        """The same with `python -m synthkit`, imports and all."""
        with self.output.open("ab") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", "synthkit", *map(str, arguments)],
                stdout=stream, stderr=stream, env=self._environment, cwd=self._folder,
            )  # fmt: skip
        try:
            self._await(moment, lambda: process.poll() is None)
        finally:
            process.kill()
        assert process.wait() == -signal.SIGKILL, f"it had ended before: {self.output.read_text(encoding='utf-8')}"

    def close(self) -> None:
        """End the server and whatever it runs."""
        self._server.communicate(timeout=60)

    def _start(self, arguments: tuple[str | Path, ...]) -> int:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps([*map(str, arguments)]) + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())

    def _code(self) -> int:
        assert self._server.stdout is not None
        return int(self._server.stdout.readline())

    def _await(self, moment: Moment, alive: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 120
        while not moment() and alive():
            assert time.monotonic() < deadline, "the moment never came"
            time.sleep(0.001)


Moment = Callable[[], bool]


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    made = Forks(tmp_path_factory.mktemp("killed"))
    yield made
    made.close()


class Watched:
    """A run folder as one sees it from outside, while another process works in it."""

    def __init__(self, run: Path, part: str) -> None:
        self.run, self.part = run, part
        self.root = run / "checkpoints" / part

    def rows(self) -> list[dict[str, Any]]:
        """The whole rows of metrics.jsonl."""
        file = self.run / "metrics.jsonl"
        text = file.read_text(encoding="utf-8") if file.is_file() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def step(self) -> int:
        """The last step that was told: of the last whole row, which is all that is read."""
        file = self.run / "metrics.jsonl"
        if not file.is_file():
            return 0
        with file.open("rb") as stream:
            stream.seek(max(0, file.stat().st_size - 4096))
            lines = stream.read().splitlines(keepends=True)
        whole = [line for line in lines if line.startswith(b'{"step"') and line.endswith(b"\n")]
        return int(json.loads(whole[-1])["step"]) if whole else 0

    def saved(self) -> list[Path]:
        """The checkpoints, oldest first."""
        return sorted(self.root.glob("step-???????"))

    def writing(self, file: str) -> bool:
        """Whether a checkpoint is being written and has come to this file."""
        return any(self.root.glob(f".step-*.tmp/{file}"))

    def moment(self, kind: str, count: int, start: int) -> Moment:
        """The moment at which a run that goes on from step `start` shall be killed.

        What an earlier life has left behind has to be gone first, or it would be taken for what this one has done.
        """
        if kind == "early":
            said = self.said()
            return lambda: self.said() > said
        settled = False

        def has_come() -> bool:
            nonlocal settled
            settled = settled or (self.step() <= start and self.newest() == start and not self.writing("*"))
            if not settled:
                return False
            if kind == "step":
                return self.step() >= start + count
            if kind == "saved":
                return self.newest() > start
            return self.writing("training.pt" if count % 2 else "*") and (count < 5 or self.newest() > start)

        return has_come

    def newest(self) -> int:
        """The step of the newest checkpoint."""
        return int(self.saved()[-1].name[5:]) if self.saved() else 0

    def said(self) -> int:
        """How much the run has said."""
        file = self.run / "log.txt"
        return file.stat().st_size if file.exists() else 0


def damage(folder: Path, how: str) -> None:
    """What can become of a checkpoint on a disk."""
    file = folder / ("training.pt" if how != "missing" else "meta.json")
    if how == "missing":
        file.unlink()
        return
    content = bytearray(file.read_bytes())
    if how == "flipped":
        content[len(content) // 2] ^= 1
    else:
        del content[-100:]
    file.write_bytes(content)


def state(run: Path, part: str) -> dict[str, Any]:
    """Everything that has to be the same: the newest checkpoint's content, the losses, the sound."""
    newest = sorted((run / "checkpoints" / part).glob("step-???????"))[-1]
    rows = Watched(run, part).rows()
    losses = [{key: value for key, value in row.items() if "/train/" in key or "/validation/" in key} for row in rows]
    told = [(row["step"], terms) for row, terms in zip(rows, losses, strict=True) if terms]
    return {
        "checkpoint": newest.name,
        "weights": {file.name: file.read_bytes() for file in newest.glob("*.safetensors")},
        "training": torch.load(newest / "training.pt", weights_only=True),
        "losses": told,
        "sound": {file.name: file.read_bytes() for file in (run / "generated").glob("*.wav")},
        "kept": sorted(folder.name for folder in (run / "checkpoints" / part).glob("step-*")),
    }


def assert_same(one: Any, other: Any, where: str = "") -> None:
    """Equal, tensors bit for bit, with the place of the first difference."""
    assert type(one) is type(other), where
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_same(one[key], other[key], f"{where}/{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where
        for number, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_same(a, b, f"{where}/{number}")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    else:
        assert one == other, where


@pytest.mark.slow
@pytest.mark.parametrize(("name", "lives"), [("melgan", 15), ("band-gaussian", 7), ("rolled back", 7)])
def test_a_run_that_is_killed_again_and_again_ends_like_the_undisturbed_one(
    forks: Forks, tmp_path: Path, name: str, lives: int
) -> None:
    recipe, part = tmp_path / "killed.yaml", PARTS[name]
    recipe.write_text(RECIPES[name], encoding="utf-8")
    straight, killed = tmp_path / "straight" / "run", tmp_path / "killed" / "run"  # a sound names its run
    (tmp_path / "ill.py").write_text(ILL, encoding="utf-8")
    plugins = ["--plugin", EXAMPLE, "--plugin", tmp_path / "ill.py"]
    command = [*plugins, "run", recipe, "--stage", "prepare..generate", "--resume", "--run-dir"]
    forks.run(*command, straight)
    watched, chance = Watched(killed, part), random.Random(5)
    kinds = [("early", "step", "saved", "writing", "writing", "step", "saved")[life % 7] for life in range(lives)]
    harms = ["truncated", "flipped", "missing"][: lives // 4]
    torn = 0
    for life, kind in enumerate(kinds):
        start = watched.newest()
        if harms and life % 2 and len(watched.saved()) > 1:
            damage(watched.saved()[-1], harms.pop())
            start = int(watched.saved()[-2].name[5:])
        kill = forks.kill_real if life in (1, 4) else forks.kill
        kill(watched.moment(kind, chance.randint(2, 6), start), *command, killed)
        torn += watched.writing("*")
    assert not harms, "there was always a checkpoint to damage"
    assert torn, "a checkpoint was being written at least once"
    forks.run(*command, killed)
    assert (killed / "log.txt").read_text(encoding="utf-8").count("cannot be used") >= lives // 4
    assert not list(watched.root.glob(".*.tmp"))
    log = (straight / "log.txt").read_text(encoding="utf-8")
    assert log.count("with other crops and learning rates times") == (2 if name == "rolled back" else 0)
    expected = state(straight, part)
    assert expected["sound"]
    assert_same(state(killed, part), expected)
