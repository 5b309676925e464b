"""What does not need torch or librosa does not import it (the time is measured in benchmarks/bench_startup.py)."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"torch", "torchaudio", "librosa", "scipy", "matplotlib", "numba"}


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
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "synthkit", *arguments],
        capture_output=True, text=True, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    imported = set(re.findall(r"\|\s+([\w.]+)$", done.stderr, flags=re.MULTILINE))
    assert "synthkit" in imported
    assert {name.split(".")[0] for name in imported} & HEAVY == set()
