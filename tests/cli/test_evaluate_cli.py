"""`synthkit evaluate` as a command: tables, JSON, exit codes, and where it goes on."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Cli = Callable[..., subprocess.CompletedProcess[str]]
SMALL = ("--data", "tones", "--set", "clips_per_label=3", "--count", "2", "--seconds", "0.3")
TWO = ("griffin-lim:iterations=0", "griffin-lim:iterations=4")


def test_tables_page_and_numbers(synthkit_cli: Cli, tmp_path: Path) -> None:
    done = synthkit_cli("evaluate", *TWO, *SMALL, "--metric", "mel-l1", "--metric", "level", "-o", "out")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["metric", "griffin-lim", "iterations=0", "griffin-lim", "iterations=4"]
    assert [line.split()[0] for line in lines[1:3]] == ["mel-l1", "level"]
    assert lines[1].count("±") == 2
    assert lines[4].startswith("difference")
    assert lines[5].count("±") == 1
    assert "2 clips of up to 0.3 s at 22050 Hz; ± is the 95% confidence interval" in done.stdout
    assert lines[-1] == "page: out/evaluation.html"
    content = json.loads((tmp_path / "out" / "evaluation.json").read_text(encoding="utf-8"))
    again = synthkit_cli("evaluate", *TWO, *SMALL, "--metric", "mel-l1", "--metric", "level", "-o", "out", "--json")
    assert again.returncode == 0, again.stderr
    printed = json.loads(again.stdout)
    for numbers in (content, printed):
        numbers.pop("environment")  # it has the time
    assert printed == content


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("griffin-lim", "--data", "tonnes"), "is no data set, folder or recipe"),
        (("griffin-lim", *SMALL, "--device", "toaster"), "cannot be used here"),
    ],
)
def test_mistakes_are_sentences_and_write_nothing(
    synthkit_cli: Cli, tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    done = synthkit_cli("evaluate", *arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "evaluation").exists()


JUDGED = """
recipe: 1
name: judged
data: {use: tones, clips_per_label: 12, seconds: 1.0, sample_rate: 8000}
features: {use: log-mel, sample_rate: 8000, n_fft: 256, win_length: 256, hop_length: 128, n_mels: 24, f_max: 4000}
model: {use: band-gaussian}
vocoder: {use: griffin-lim, iterations: 4}
train: {part: model, steps: 5, batch: 4, crop_seconds: 0.2}
generate: {count: 1, seconds: 0.3}
report: {embedding: {use: classifier, steps: 5, batch: 4}, evaluate: {count: 12, seconds: 0.5}}
"""


def test_a_model_is_judged_in_the_report_and_by_the_command(synthkit_cli: Cli, tmp_path: Path, root: Path) -> None:
    (tmp_path / "judged.yaml").write_text(JUDGED, encoding="utf-8")
    plugin = ("--plugin", root / "examples" / "band_gaussian.py")
    made = synthkit_cli(*plugin, "run", "judged.yaml", "--run-dir", "run")
    assert made.returncode == 0, made.stderr
    reported = json.loads((tmp_path / "run" / "report.json").read_text(encoding="utf-8"))["evaluation"]
    assert (reported["made"], reported["embedding"]) == (12, "classifier")
    assert reported["says"][0] in made.stdout + made.stderr
    assert 'id="model"' in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")

    arguments = ("evaluate", "run", "--count", "12", "--seconds", "0.5", "-o", "out")
    done = synthkit_cli(*plugin, *arguments, "--vocoder", "griffin-lim")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("figure")
    assert "new clips, griffin-lim" in done.stdout.splitlines()[0]
    assert done.stdout.splitlines()[-1] == "page: out/evaluation.html"
    again = synthkit_cli(*plugin, *arguments, "--json", "--vocoder", "griffin-lim")
    printed = json.loads(again.stdout)
    content = json.loads((tmp_path / "out" / "evaluation.json").read_text(encoding="utf-8"))
    assert printed["rows"] == content["rows"]
    assert [row["name"] for row in printed["rows"]][:2] == ["label-accuracy", "frechet"]
    assert {row["label"] for row in printed["labels"]} == {"bass", "bells", "chords", "melody", "noise", "percussion"}


CONVERTED = """
recipe: 1
name: converted
data: {use: tones, clips_per_label: 4, seconds: 1.2, sample_rate: 8000}
features: {use: log-mel, sample_rate: 8000, n_fft: 256, win_length: 256, hop_length: 128, n_mels: 32, f_max: 4000}
converter: {use: melgan-vc, source: melody, target: bells, channels: 4}
vocoder: {use: griffin-lim, iterations: 4}
train: {part: converter, steps: 1, batch: 2, crop_seconds: 1.152, device: cpu, evaluate_items: 2}
generate: {count: 1, seconds: 0.5, strength: 0.5}
report: {embedding: {use: classifier, steps: 5, batch: 4}, evaluate: {count: 2, seconds: 0.8}}
"""


def test_a_converter_is_judged_in_the_report_and_by_the_command(synthkit_cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "converted.yaml").write_text(CONVERTED, encoding="utf-8")
    made = synthkit_cli("run", "converted.yaml", "--run-dir", "run")
    assert made.returncode == 0, made.stderr
    reported = json.loads((tmp_path / "run" / "report.json").read_text(encoding="utf-8"))["evaluation"]
    assert (reported["converted"], reported["strength"]) == (2, 0.5)
    assert reported["says"][0] in made.stdout + made.stderr
    assert 'id="converter"' in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")

    arguments = ("evaluate", "run", "--count", "2", "--seconds", "0.8", "-o", "out")
    done = synthkit_cli(*arguments, "--vocoder", "griffin-lim")
    assert done.returncode == 0, done.stderr
    assert "converted, griffin-lim" in done.stdout.splitlines()[0]
    assert "random bells" in done.stdout.splitlines()[0]
    assert done.stdout.splitlines()[-1] == "page: out/evaluation.html"
    printed = json.loads(synthkit_cli(*arguments, "--json", "--strength", "0").stdout)
    assert [row["name"] for row in printed["rows"]] == ["style", "onsets", "pitch", "chroma", "identity", "seams"]
    assert printed["strength"] == 0
    for row in printed["rows"]:
        if row["name"] != "seams":  # those of the converted are of features, of the vocoded of sound
            alone, made_of = (row["values"][name] for name in ("source, GriffinLim", "converted, GriffinLim"))
            assert made_of == alone, row["name"]


def test_a_strength_is_for_a_converter(synthkit_cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "run" / "checkpoints" / "model" / "step-0000001"
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text("{}", encoding="utf-8")
    done = synthkit_cli("evaluate", "run/checkpoints/model/step-0000001", "--strength", "0.5")
    assert done.returncode == 2
    assert "a strength is for a converter, and 'run/checkpoints/model/step-0000001' has a model" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ("griffin-lim", *SMALL, "--strength", "0.5"),
            "--strength is for a model or converter, without --data",
        ),
        (
            ("griffin-lim",),
            "vocoders are evaluated on the clips of a data set: add --data; 'griffin-lim' is no run with a model or converter",
        ),
        (("a", "b"), "add --data, or name one run with a model or converter"),
        (("run", "--metric", "mcd"), "--metric is for vocoders, with --data"),
        (("griffin-lim", *SMALL, "--vocoder", "griffin-lim"), "--vocoder is for a model or converter, without --data"),
    ],
)
def test_what_belongs_to_the_other_kind_is_refused(
    synthkit_cli: Cli, tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    done = synthkit_cli("evaluate", *arguments)
    assert done.returncode == 2
    assert says in done.stderr
    assert not (tmp_path / "evaluation").exists()
