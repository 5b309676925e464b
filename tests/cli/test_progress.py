"""The live panel, on a real pseudo terminal of 80 columns, and what is printed where there is no terminal."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.console import Console

from synthkit._cli.progress import Panel, RichReporter
from synthkit._run.live import LINE_SECONDS, Live, Reading
from synthkit._run.reporter import Logged, Reporter

READING = Reading(
    terms={"critic": 5.931, "adversarial": 0.0213, "feature_matching": 0.31, "mel_l1": 0.4321, "generator": 12.1},
    balance={"critic": 0.988},
    norms={"generator": 101.5, "critic": 0.33},
    learning_rates={"generator": 1e-4, "critic": 2e-4},
    speed={"steps_per_second": 4.2, "items_per_second": 67.1, "audio_seconds_per_second": 24.9, "data_wait": 0.013},
    memory={"memory_mib": 812.4, "cuda_memory_mib": 2100.0},
)
WORDS = [
    *("critic 5.93", "adversarial 0.0213", "feature_matching 0.31", "mel_l1 0.432", "generator 12.1"),
    *("critic 0.99 of undecided", "generator 102", "generator 0.0001", "critic 0.0002"),
    *("steps 4.2/s", "crops 67.1/s", "sound 24.9 s/s", "waiting for data 1%", "memory 812 MiB", "GPU memory 2,100 MiB"),
]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def live(reporter: Reporter, clock: Clock) -> Iterator[Live]:
    with reporter.task("train vocoder", 400_000) as task:
        yield Live(part="vocoder", start=0, steps=400_000, reporter=reporter, task=task, clock=clock)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo terminals")
def test_on_a_terminal_the_panel_shows_every_value_within_80_columns() -> None:
    main, terminal = os.openpty()
    with os.fdopen(terminal, "w") as stream:
        reporter = RichReporter(Console(file=stream, width=80, highlight=False))
        assert reporter.console.is_terminal
        with live(reporter, Clock()) as shown:
            shown.reading(1200, READING)
            shown.evaluated(1200, {"mel_l1": 0.4567})
        stream.flush()
        drawn = read_all(main)
    os.close(main)
    frames = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line).rstrip() for line in re.split(r"\r|\n", drawn)]
    assert all(len(line) <= 80 for line in frames if not line.startswith("vocoder step"))
    text = "\n".join(frames)
    for word in (*WORDS, "phase          training", "step 1,200   mel_l1 0.4567"):
        assert word in text
    assert "1200/400000" in text
    assert "vocoder step 1200: validation mel_l1 0.4567" in text  # said above the bar, and stays
    assert "vocoder step 1200/400000: " not in text  # the account is for those who see no panel


def read_all(terminal: int) -> str:
    os.set_blocking(terminal, False)
    parts = []
    try:
        while part := os.read(terminal, 65536):
            parts.append(part)
    except BlockingIOError:
        pass
    return b"".join(parts).decode()


@pytest.mark.parametrize("width", [50, 60, 80, 200])
def test_a_value_is_never_torn_from_its_name(width: int) -> None:
    lines = ["".join(line) for line in Panel(READING.rows()).lines(width)]
    assert all(len(line) <= width for line in lines)
    for word in WORDS:
        assert any(word in line for line in lines)


def test_without_a_terminal_there_are_plain_lines_and_no_bar() -> None:
    written = io.StringIO()
    clock = Clock()
    with live(RichReporter(Console(file=written, width=80)), clock) as shown:
        for step in range(10, 310, 10):
            clock.now += 1.0
            shown.step(step)
            shown.reading(step, READING)
    lines = written.getvalue().splitlines()
    assert len(lines) == 30 / LINE_SECONDS
    assert lines[0].startswith("vocoder step 100/400000: losses critic 5.93  adversarial 0.0213  ")
    for word in WORDS:
        assert word in lines[0]
    assert lines[0].endswith("| time left 11 h 6 min")


def test_the_log_keeps_every_line_whatever_the_terminal_shows(tmp_path: Path) -> None:
    file = tmp_path / "log.txt"
    with live(Logged(file, Reporter()), Clock()) as shown:
        shown.reading(10, READING)
        shown.evaluated(10, {"mel_l1": 0.5})
    account, validation = file.read_text(encoding="utf-8").splitlines()
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00 vocoder step 10/400000: losses critic 5.93 ", account)
    assert validation.endswith("vocoder step 10: validation mel_l1 0.5")
