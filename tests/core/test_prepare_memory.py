"""Preparing takes the memory that it takes, however long the clips and their list: real processes, as the system counts.

The same at full size, 2,000 clips and half an hour, is in `benchmarks/bench_data.py`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")

PREPARE = r"""
import multiprocessing, re, sys
from pathlib import Path
from synthkit._catalog import Catalog
from synthkit._data.pool import Source
from synthkit._data.prepare import prepare

def peak(process):
    return int(re.search(r"VmHWM:\s*(\d+)", Path(f"/proc/{process}/status").read_text())[1])

def look(done, total):
    if done == total:
        print(max(peak(child.pid) for child in multiprocessing.active_children()))

catalog = Catalog.discover()
offered, config = catalog.configure("dataset", "folder", {"root": sys.argv[1]})
source = Source(catalog=catalog, offered=offered, config=config)
made = prepare(source, source.build(), 22050, workers=1, progress=look)
print(peak("self"), len(made.entries()))
"""


def peaks(root: Path, clips: int) -> tuple[int, int]:
    """KiB of the process that decodes and of the one that prepares."""
    done = subprocess.run(
        [sys.executable, "-c", PREPARE, root],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "SYNTHKIT_CACHE": str(root.with_suffix(".cache"))},
    )
    worker, parent, entries = map(int, done.stdout.split())
    assert entries == clips
    return worker, parent


def test_of_many_clips(tmp_path: Path) -> None:
    found = []
    for count in (50, 800):
        root = tmp_path / str(count)
        root.mkdir()
        for number in range(count):
            soundfile.write(root / f"{number}.wav", np.random.default_rng(number).uniform(-0.5, 0.5, 4000), 44100)
        found.append(peaks(root, count))
    for less, more in zip(*found, strict=True):
        assert more <= 1.1 * less


@pytest.mark.parametrize("suffix", ["wav", "mp3"])
def test_of_a_long_clip(tmp_path: Path, suffix: str) -> None:
    second = np.random.default_rng(0).uniform(-0.3, 0.3, (44100, 2))
    found = []
    for seconds in (30, 120):
        root = tmp_path / str(seconds)
        root.mkdir()
        with soundfile.SoundFile(root / f"long.{suffix}", "w", 44100, 2) as file:
            for _ in range(seconds):
                file.write(second)
        found.append(peaks(root, 1))
    for less, more in zip(*found, strict=True):
        assert more <= 1.1 * less
