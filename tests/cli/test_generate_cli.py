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


ABLE = Path(__file__).resolve().parents[1] / "core" / "able.py"
RECIPE = """\
recipe: 1
name: speaks
data: {use: tones, clips_per_label: 3, seconds: 0.5, sample_rate: 8000}
features: {use: log-mel, preset: melgan, sample_rate: 8000, n_fft: 256, hop_length: 64, n_mels: 20}
model: MODEL
vocoder: {use: melgan, channels: 2, ratios: [8, 8]}
prepare: {workers: 1}
train:
  - {part: model, steps: 1, batch: 2, crop_seconds: 0.2, evaluate_items: 2, device: cpu}
  - part: vocoder
    steps: 1
    batch: 2
    crop_seconds: 0.2
    evaluate_items: 2
    device: cpu
    objective: {critic: {channels: 4, max_channels: 8}}
"""


@pytest.mark.slow
def test_everything_that_can_be_asked_for_and_what_the_files_say(synthkit_cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "speaks.yaml").write_text(RECIPE.replace("MODEL", "able"))
    ok(synthkit_cli("--plugin", ABLE, "run", "speaks.yaml", "--stage", "prepare..train", OMP_NUM_THREADS="1"))
    run = Path("runs", "speaks")

    def generate(*options: str) -> dict[str, soundfile.SoundFile]:
        out = ok(synthkit_cli("--plugin", ABLE, "generate", run, "--seconds", "0.5", *options, OMP_NUM_THREADS="1"))
        return {Path(line).name: soundfile.SoundFile(tmp_path / line) for line in out.splitlines()}

    way = generate("--label", "bass", "--to-label", "noise", "--count", "3", "--seed", "4", "-o", "way", "--batch", "2")
    assert list(way) == [f"bass-4-{number}-of-3.wav" for number in (1, 2, 3)]
    assert way["bass-4-2-of-3.wav"].comment == (
        "able and speaks, label bass, 50% of the way to noise, seed 4, recipe speaks, run speaks"
    )
    song = tmp_path / "song.wav"
    soundfile.write(song, 0.3 * np.sin(np.arange(44100) / 44100 * 2 * np.pi * 440), 44100)
    asked = ("--continue", str(song), "--keep", "0.2", "--like", str(song), "--text", "hello", "--label", "bells")
    both = generate(*asked, "--vocoder", str(run), "--vocoder", "griffin-lim", "-o", "both")
    assert list(both) == ["bells-0-speaks.wav", "bells-0-griffin-lim.wav"]
    for name, file in both.items():
        said = f"able and {file.comment.split(',')[0].split()[-1]}, label bells, seed 0, continues 0.2 s of song.wav"
        assert file.comment == f"{said}, like song.wav, text hello, recipe speaks, run speaks", name
        assert file.copyright.startswith("CC0 1.0")
        assert file.frames == 62 * 64  # half a second in whole frames
    heard = soundfile.read(tmp_path / "both" / "bells-0-griffin-lim.wav")[0][:1600]
    peaks = np.abs(np.fft.rfft(heard * np.hanning(len(heard)))).argmax() * 8000 / len(heard)
    assert peaks == pytest.approx(440, abs=40)  # it begins with the song


@pytest.mark.slow
def test_what_cannot_be_made_is_said_before_anything_is_made(synthkit_cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "speaks.yaml").write_text(RECIPE.replace("MODEL", "{use: able, can: []}"))
    ok(synthkit_cli("--plugin", ABLE, "run", "speaks.yaml", "--stage", "prepare..train", OMP_NUM_THREADS="1"))
    run = Path("runs", "speaks")
    quick = ("--tiny", "--stage", "prepare..train", "--set", "train.steps=1")
    ok(synthkit_cli("run", "melgan-gtzan", *quick, "--run-dir", "other", OMP_NUM_THREADS="1"))
    for options, message in {
        ("--to-seed", "4", "--count", "2"): "Able cannot make clips between two labels or seeds; it can serve: nothing",
        ("--vocoder", "other"): "sample_rate",
        ("--vocoder", "melgan"): "the vocoder 'melgan' has to be trained: give the folder of a run that trained it",
        ("--vocoder", str(run), "--vocoder", str(run)): "--vocoder: there are two of the name 'speaks'",
        ("--continue", "nothing.wav"): "File 'nothing.wav' does not exist",
    }.items():
        done = synthkit_cli("--plugin", ABLE, "generate", run, *options, OMP_NUM_THREADS="1")
        assert (done.returncode, message in done.stderr) == (2, True), done.stderr
    assert not (tmp_path / "generated").exists()
