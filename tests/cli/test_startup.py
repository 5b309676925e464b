"""What does not need torch or librosa does not import it (the time is measured in benchmarks/bench_startup.py)."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"torch", "torchaudio", "librosa", "scipy", "matplotlib", "numba"}
NOT_FOR_TABLES = {"pydantic", "ruamel", "rich", "logging", "importlib.metadata", "email", "sqlite3"}
"""What help and the (piped) tables of components do without."""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["run", "--help"],
        ["list"],
        ["list", "vocoder"],
        ["describe", "melgan"],
        ["plugins"],
        ["check", "quickstart"],
        ["show", "quickstart"],
        ["schema"],
        ["doctor"],
    ],
    ids=" ".join,
)
def test_light_commands_import_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    assert {name.split(".")[0] for name in imported_by(arguments, tmp_path)} & HEAVY == set()


@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["plugins"]], ids=" ".join)
def test_help_and_tables_start_at_once(arguments: list[str], tmp_path: Path) -> None:
    assert imported_by(arguments, tmp_path) & NOT_FOR_TABLES == set()


def imported_by(arguments: list[str], folder: Path) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "synthkit", *arguments],
        capture_output=True, text=True, cwd=folder, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    imported = set(re.findall(r"\|\s+([\w.]+)$", done.stderr, flags=re.MULTILINE))
    assert "synthkit" in imported
    return imported
