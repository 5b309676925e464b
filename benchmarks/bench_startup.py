"""Start-up: what does not need torch takes at most 15 times the bare interpreter's start (median, measured in one run).

make benchmark ONLY=startup
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

RECIPE = Path(__file__).resolve().parents[1] / "recipes" / "quickstart.yaml"
ROUNDS = 15
BUDGET = 15
COMMANDS = {
    "bare": ["-c", "pass"],
    "--help": ["-m", "synthkit", "--help"],
    "list": ["-m", "synthkit", "list"],
    "plugins": ["-m", "synthkit", "plugins"],
    "check": ["-m", "synthkit", "check", str(RECIPE)],
}


def seconds(arguments: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True, env={**os.environ, "COLUMNS": "120"})
    return time.perf_counter() - began


@pytest.fixture(scope="module")
def medians() -> dict[str, float]:
    """Median seconds of each, the rounds interleaved so that a disturbance hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for arguments in COMMANDS.values():
        seconds(arguments)  # the first start reads from the disk
    for _ in range(ROUNDS):
        for name, arguments in COMMANDS.items():
            times[name].append(seconds(arguments))
    return {name: statistics.median(values) for name, values in times.items()}


@pytest.mark.parametrize("name", list(COMMANDS)[1:])
def test_start(name: str, medians: dict[str, float], record_property: pytest.RecordProperty) -> None:
    ratio = medians[name] / medians["bare"]
    record_property("ratio", round(ratio, 2))
    sys.stderr.write(f"synthkit {name}: {ratio:.1f} x bare interpreter ({medians['bare'] * 1000:.0f} ms)\n")
    assert ratio <= BUDGET
