"""Start-up: what does not need torch takes at most 15 times the bare interpreter's start (median, measured in one run).

Measured is the installed script, as typed, with bytecode cached (in a folder of the benchmark's own), as it is from the
second start on. The time on the clock counts; the time of the processor is printed beside it, because it hardly changes
when the machine is busy.

make benchmark ONLY=startup
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import sysconfig
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

RECIPE = Path(__file__).resolve().parents[1] / "recipes" / "quickstart.yaml"
ROUNDS = 15
BUDGET = 15
SCRIPT = [sys.executable, str(Path(sysconfig.get_path("scripts")) / "synthkit")]
COMMANDS = {
    "bare": [sys.executable, "-c", "pass"],
    "--help": [*SCRIPT, "--help"],
    "list": [*SCRIPT, "list"],
    "plugins": [*SCRIPT, "plugins"],
    "check": [*SCRIPT, "check", str(RECIPE)],
}


def start(command: list[str], environment: Mapping[str, str]) -> tuple[float, float]:
    """Seconds on the clock and of the processor."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return time.perf_counter() - began, usage.ru_utime + usage.ru_stime


@pytest.fixture(scope="module")
def medians(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[float, float]]:
    """Medians of both times of each, the rounds interleaved so that a disturbance hits all alike."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(tmp_path_factory.mktemp("bytecode"))}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    for command in COMMANDS.values():
        start(command, environment)
    for _ in range(ROUNDS):
        for name, command in COMMANDS.items():
            times[name].append(start(command, environment))
    return {name: tuple(map(statistics.median, zip(*values, strict=True))) for name, values in times.items()}


@pytest.mark.parametrize("name", list(COMMANDS)[1:])
def test_start(name: str, medians: dict[str, tuple[float, float]], record_property: pytest.RecordProperty) -> None:
    clock, processor = (mine / bare for mine, bare in zip(medians[name], medians["bare"], strict=True))
    record_property("ratio", round(clock, 2))
    text = f"synthkit {name}: {clock:.1f} x bare interpreter ({medians['bare'][0] * 1000:.0f} ms), "
    sys.stderr.write(f"{text}{processor:.1f} x its processor time\n")
    assert clock <= BUDGET
