"""`synthkit generate`, with the model of a one-file plugin: train, then new sound by label and seed."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

Cli = Callable[..., subprocess.CompletedProcess[str]]
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PLUGIN = EXAMPLES / "band_gaussian.py"


def ok(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_model_is_trained_and_generates_by_label_and_seed(synthkit_cli: Cli, tmp_path: Path) -> None:
    ok(synthkit_cli("--plugin", PLUGIN, "run", EXAMPLES / "band_gaussian.yaml", "--tiny"))
    run = tmp_path / "runs" / "band-gaussian-tiny"
    assert (run / "report.html").is_file()
    assert len(list((run / "generated").glob("*.wav"))) == 2

    def generate(*options: str | Path) -> list[Path]:
        out = ok(synthkit_cli("--plugin", PLUGIN, "generate", run, "--label", "chords", "--seconds", "0.5", *options))
        return [Path(line) for line in out.splitlines()]

    first, second = (tmp_path / path for path in generate("--seed", "5", "--count", "2", "-o", tmp_path / "both"))
    (alone,) = (tmp_path / path for path in generate("--seed", "6", "-o", tmp_path / "alone"))
    assert first.name == "chords-5.wav"
    assert second.read_bytes() != first.read_bytes()
    assert np.array_equal(soundfile.read(second)[0], soundfile.read(alone)[0])  # an item does not depend on its batch
    sound = soundfile.SoundFile(first)
    assert abs(sound.frames / sound.samplerate - 0.5) < 0.02
    assert "label chords, seed 5" in sound.comment

    wrong = synthkit_cli("--plugin", PLUGIN, "generate", run, "--label", "chord")
    assert wrong.returncode == 2
    assert "did you mean 'chords'?" in wrong.stderr
    without = synthkit_cli("generate", run)
    assert without.returncode == 2
    assert "needs the model 'band-gaussian' of plugin" in without.stderr


def test_a_folder_that_is_no_run_is_said(synthkit_cli: Cli, tmp_path: Path) -> None:
    done = synthkit_cli("generate", tmp_path / "nothing")
    assert (done.returncode, "there is no run folder" in done.stderr) == (2, True), done.stderr
