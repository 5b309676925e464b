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
