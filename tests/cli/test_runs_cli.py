"""`synthkit runs` and `synthkit compare`: what they say of runs in each state, from folders made by hand and by real commands."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from synthkit._run.events import Event, read_events, record, recorded
from synthkit._run.folder import RunFolder, step_name
from synthkit._run.state import find_runs, is_running, state_of
from synthkit._stages.compare.gather import gather
from synthkit._stages.compare.page import render
from synthkit._stages.compare.tables import differences, scores, validation
from synthkit._stages.compare.text import as_tables
from synthkit.errors import RunError, TrainingError

RECIPE = """\
recipe: 1
name: {name}
seed: 7

data:
  use: tones

train:
  steps: 100
  gain: [0.3, 1.0]
  objective:
    learning_rate: {rate}
"""


def made(
    folder: Path, *, rate: float = 0.001, saved: tuple[int, ...] = (50,), values: tuple[float, ...] = (2.0, 1.0, 0.5)
) -> RunFolder:
    """A run of 100 steps that has been judged every 25 and has logged in between."""
    run = RunFolder(folder)
    run.path.mkdir(parents=True)
    run.recipe_file.write_text(RECIPE.format(name="hum", rate=rate), encoding="utf-8")
    training = {"component": {"use": "melgan/melgan"}, "settings": {"steps": 100, "keep": {"best": None}}}
    stages = {"train-began": {"inputs": {"parts": {"vocoder": training}}}}
    run.stages_file.write_text(json.dumps(stages), encoding="utf-8")
    rows: list[dict[str, Any]] = []
    for number, value in enumerate(values):
        rows.append({"step": 25 * number, "vocoder/validation/mel_l1": value})
        rows.append(
            {"step": 25 * number + 10, "vocoder/train/critic": 5.0, "vocoder/rate/steps_per_second": 10.0 / rate}
        )
    run.metrics_file.write_text("".join(f"{json.dumps(row)}\n" for row in rows) + '{"step": 99, "voc', encoding="utf-8")
    for step in saved:
        checkpoint = run.checkpoint_root("vocoder") / step_name(step)
        checkpoint.mkdir(parents=True)
        (checkpoint / "meta.json").write_text(json.dumps({"format": 1, "step": step, "files": {}}), encoding="utf-8")
    run.lock_file.touch()
    return run


def write_scores(run: RunFolder, value: float, better: str = "lower") -> None:
    row = {"version": "melgan", "name": "mel-l1", "value": value, "unit": "", "better": better}
    run.report_json.write_text(json.dumps({"scores": [row, {**row, "name": "gone", "value": None}]}), encoding="utf-8")


def synthkit(*arguments: str, folder: Path, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "synthkit", *arguments],
        cwd=folder,
        env={**os.environ, "SYNTHKIT_CACHE": str(folder / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


class TestState:
    def test_a_run_that_was_killed_is_stopped_at_its_newest_checkpoint(self, tmp_path: Path) -> None:
        run = made(tmp_path / "a", saved=(25, 50))
        record(run, Event(kind="began", stage="train"))
        state = state_of(run)
        assert (state.state, state.stage, state.recipe) == ("stopped", "train", "hum")
        assert "killed" in state.reason
        (part,) = state.parts
        assert (part.part, part.component, part.step, part.steps) == ("vocoder", "melgan/melgan", 50, 100)

    def test_while_somebody_holds_its_lock_it_runs_and_is_at_its_last_logged_step(self, tmp_path: Path) -> None:
        run = made(tmp_path / "a", saved=(25,))
        record(run, Event(kind="failed", stage="train", text="an old story"))
        record(run, Event(kind="began", stage="train"))
        with FileLock(run.lock_file):
            state = state_of(run)
        assert (state.state, state.reason, state.parts[0].step) == ("running", "", 60)
        assert not is_running(run)

    def test_what_a_stage_ends_with_is_its_state(self, tmp_path: Path) -> None:
        run = made(tmp_path / "a")
        with recorded(run, "train"):
            pass
        assert (state_of(run).state, state_of(run).stage) == ("finished", "train")
        with pytest.raises(TrainingError), recorded(run, "train"):
            raise TrainingError("step 7 of vocoder: the term 'critic' is nan")
        state = state_of(run)
        assert (state.state, state.reason) == ("failed", "step 7 of vocoder: the term 'critic' is nan")
        with pytest.raises(KeyboardInterrupt), recorded(run, "train"):
            raise KeyboardInterrupt
        assert state_of(run).state == "stopped"
        with pytest.raises(ZeroDivisionError), recorded(run, "generate"):
            _ = 1 / 0
        assert state_of(run).reason == "ZeroDivisionError: division by zero"

    def test_validation_is_judged_by_the_term_that_the_recipe_keeps_the_best_by(self, tmp_path: Path) -> None:
        judged = state_of(made(tmp_path / "a", values=(2.0, 0.4, 0.5))).parts[0].validation
        assert judged is not None
        assert (judged.term, judged.first, judged.last, judged.best, judged.best_step) == ("mel_l1", 2.0, 0.5, 0.4, 25)

    def test_runs_are_found_in_folders_of_folders_the_last_active_first(self, tmp_path: Path) -> None:
        old, new = made(tmp_path / "runs" / "old"), made(tmp_path / "runs" / "deep" / "new")
        (tmp_path / "runs" / "mine").mkdir()
        (tmp_path / "runs" / "mine" / "recipe.yaml").write_text("recipe: 1\n")
        for file in old.path.iterdir():
            os.utime(file, (1e9, 1e9))
        assert [run.path for run in find_runs(tmp_path / "runs")] == [new.path, old.path]
        assert [run.path for run in find_runs(old.path)] == [old.path]
        with pytest.raises(RunError, match="there is no folder"):
            find_runs(tmp_path / "none")

    def test_a_half_written_event_is_left_out(self, tmp_path: Path) -> None:
        run = made(tmp_path / "a")
        record(run, Event(kind="began", stage="train"))
        with run.events_file.open("a", encoding="utf-8") as stream:
            stream.write('{"kind": "fai')
        assert [event.kind for event in read_events(run)] == ["began"]


class TestRuns:
    def test_the_table_names_state_steps_validation_and_reasons(self, tmp_path: Path) -> None:
        run = made(tmp_path / "runs" / "first")
        record(run, Event(kind="began", stage="train"))
        record(run, Event(kind="finding", stage="train", part="vocoder", step=3, text="the critic has won"))
        record(run, Event(kind="failed", stage="train", text="the disk is full"))
        said = synthkit("runs", folder=tmp_path)
        row = next(line for line in said.splitlines() if line.startswith("first"))
        assert re.fullmatch(r"first \(hum\)\s+failed\s+50/100\s+mel_l1 0.5\s+now\s+[\d.]+ k?B", row)
        assert "first: failed in train: the disk is full" in said
        assert "first: something was wrong with the training once" in said

    def test_json_has_everything(self, tmp_path: Path) -> None:
        made(tmp_path / "runs" / "first", saved=(25, 75))
        (state,) = json.loads(synthkit("runs", "--json", folder=tmp_path))
        assert state["state"] == "new"
        assert state["parts"][0]["step"] == 75
        assert state["parts"][0]["validation"]["best"] == 0.5
        assert state["bytes"] > 100

    def test_a_folder_without_runs_says_so(self, tmp_path: Path) -> None:
        assert synthkit("runs", str(tmp_path), folder=tmp_path).strip() == f"there is no run in {str(tmp_path)!r}"
        assert "there is no folder 'runs'" in synthkit("runs", folder=tmp_path, code=2)

    @pytest.mark.slow
    def test_a_real_training_is_seen_running_stopped_and_killed(self, tmp_path: Path) -> None:
        run = RunFolder(tmp_path / "runs" / "real")
        said = train_until(tmp_path, signal.SIGINT)
        assert "stopped: vocoder is at step" in said
        (stopped,) = json.loads(synthkit("runs", "--json", folder=tmp_path))
        assert stopped["state"] == "stopped"
        assert re.match(r"vocoder is at step \d+ of 10000", stopped["reason"])
        train_until(tmp_path, signal.SIGKILL, "--resume")
        killed = state_of(run)
        assert (killed.state, killed.stage) == ("stopped", "train")
        assert "killed" in killed.reason
        assert killed.parts[0].step > stopped["parts"][0]["step"]

    @pytest.mark.slow
    def test_a_real_training_that_cannot_be_helped_ends_with_the_term_and_advice(self, tmp_path: Path) -> None:
        wild = (
            "train.0.steps=12",
            "train.0.log_every=1",
            "train.0.objective.learning_rate=1e37",
            "train.0.objective.adversarial_weight=1",
        )
        settings = [word for setting in wild for word in ("--set", setting)]
        said = synthkit("run", "quickstart", "--tiny", "--stage", "prepare..train", *settings, folder=tmp_path, code=2)
        assert (
            said.count("the term 'adversarial' is nan; back to step 0 with other crops and learning rates times 0.")
            == 2
        )
        assert "the term 'adversarial' is nan; rolled back 2 times, in vain; there is no good checkpoint. " in said
        assert "A smaller learning_rate" in said
        assert "Traceback" not in said
        (state,) = json.loads(synthkit("runs", "--json", folder=tmp_path))
        assert (state["state"], state["stage"], state["findings"]) == ("failed", "train", 2)
        assert state["reason"] in said


def train_until(folder: Path, number: signal.Signals, *options: str) -> str:
    """Train until a checkpoint is saved, look whether the run is seen to run, and send the signal; returns what was said."""
    command = [sys.executable, "-m", "synthkit", "run", "quickstart", "--tiny", "--stage", "prepare..train", *options]
    for setting in ("train.0.steps=10000", "train.0.save_every=1", "train.0.log_every=1"):
        command += ["--set", setting]
    environment = {**os.environ, "SYNTHKIT_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    said: list[str] = []
    with subprocess.Popen(
        [*command, "--run-dir", "runs/real"], cwd=folder, env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            said.append(line)
            if "saved step-" in line:
                assert state_of(RunFolder(folder / "runs" / "real")).state == "running"
                process.send_signal(number)
                break
        said.append(process.stderr.read())
    return "".join(said)


class TestCompare:
    def test_only_what_differs_is_listed(self, tmp_path: Path) -> None:
        runs = gather([made(tmp_path / "a").path, made(tmp_path / "b", rate=0.01).path])
        assert [(row.name, row.cells) for row in differences(runs)] == [
            ("train.objective.learning_rate", ("0.001", "0.01"))
        ]

    def test_the_best_of_each_row_is_marked_and_a_tie_is_not(self, tmp_path: Path) -> None:
        a, b, c = (made(tmp_path / name, values=(2.0, last)) for name, last in (("a", 0.7), ("b", 0.3), ("c", 0.3)))
        assert [row.best for row in validation(gather([a.path, b.path]))] == [1, 1]
        assert [row.best for row in validation(gather([b.path, c.path]))] == [None, None]

    @pytest.mark.parametrize(("better", "best"), [("lower", 1), ("higher", 0), ("zero", 1)])
    def test_scores_know_which_way_is_better(self, tmp_path: Path, better: str, best: int) -> None:
        a, b = made(tmp_path / "a"), made(tmp_path / "b")
        write_scores(a, 0.9, better)
        write_scores(b, 0.4, better)
        (row,) = scores(gather([a.path, b.path]))
        assert (row.name, row.cells, row.best) == ("mel-l1 of melgan", ("0.900", "0.400"), best)

    def test_runs_of_one_name_are_told_apart_by_their_paths(self, tmp_path: Path) -> None:
        a, b = made(tmp_path / "x" / "hum"), made(tmp_path / "y" / "hum")
        assert [run.name for run in gather([a.path, b.path])] == [str(a.path), str(b.path)]

    def test_curves_in_text_share_a_scale_and_end_where_the_run_does(self, tmp_path: Path) -> None:
        a = made(tmp_path / "a", values=(4.0, 3.0, 2.0, 1.0, 0.0))
        b = made(tmp_path / "b", values=(4.0, 4.0, 4.0))
        curves = next(rows for heading, _, rows in as_tables(gather([a.path, b.path])) if heading == "Curves")
        first, second = curves
        assert (first[1], first[2], first[4]) == ("a", "4.00", "0")
        assert first[3][0] == "█"
        assert first[3][-1] == "▁"
        assert second[3] == "█" * (len(first[3]) // 2)

    def test_the_page_holds_every_run_and_loads_nothing(self, tmp_path: Path) -> None:
        a, b = made(tmp_path / "a"), made(tmp_path / "<b>", rate=0.01)
        record(a, Event(kind="rollback", stage="train", part="vocoder", step=9, text="step 9 of vocoder: it is nan"))
        write_scores(a, 0.9)
        write_scores(b, 0.4)
        page = render(gather([a.path, b.path]))
        assert "<b>" not in page.split("<body>")[1].replace("<b></b>", "")
        for text in (
            "train.objective.learning_rate",
            "a: step 9 of vocoder: it is nan",
            "&lt;b&gt;",
            "mel-l1 of melgan",
        ):
            assert text in page
        assert page.count('class="run run-0"') == 2  # mel_l1 by validation, critic by training
        assert page.count('class="run run-1"') == 2
        assert not re.search(r'(?:src|href)="(?!#|data:)', page)
        assert "default-src &#x27;none&#x27;" in page or "default-src 'none'" in page

    def test_the_command_prints_tables_and_writes_the_page(self, tmp_path: Path) -> None:
        made(tmp_path / "runs" / "a")
        made(tmp_path / "runs" / "b", rate=0.01)
        said = synthkit("compare", "runs/a", "runs/b", "--html", "out/page.html", folder=tmp_path)
        for heading in ("Runs", "Settings that differ", "Validation", "Curves", "Speed"):
            assert f"\n{heading}\n" in f"\n{said}"
        assert "page: out/page.html" in said
        assert "</html>" in (tmp_path / "out" / "page.html").read_text(encoding="utf-8")

    def test_mistakes_are_sentences(self, tmp_path: Path) -> None:
        run = made(tmp_path / "runs" / "a")
        assert "needs two runs or more" in synthkit("compare", "runs/a", folder=tmp_path, code=2)
        assert "needs two runs or more" in synthkit("compare", "runs/a", "runs/a", folder=tmp_path, code=2)
        assert "there is no run folder" in synthkit("compare", "runs/a", "runs/b", folder=tmp_path, code=2)
        made(tmp_path / "runs" / "b")
        run.report_json.write_text("[]", encoding="utf-8")
        said = synthkit("compare", "runs/a", "runs/b", folder=tmp_path, code=2)
        assert "report.json' is damaged" in said
        assert "Traceback" not in said


@pytest.mark.parametrize("arguments", [["runs"], ["compare", "runs/a", "runs/b", "--html", "page.html"]], ids=" ".join)
def test_they_import_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    for name in ("a", "b"):
        made(tmp_path / "runs" / name)
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "synthkit", *arguments],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    imported = {name.split(".")[0] for name in re.findall(r"\|\s+([\w.]+)$", done.stderr, flags=re.MULTILINE)}
    assert imported & {"torch", "torchaudio", "librosa", "scipy", "matplotlib", "numba"} == set()
    assert arguments[0] == "compare" or "numpy" not in imported
