"""All 106,574 tracks: the index is made and opened, and a prepare planned, in little memory.

The table is made of the real rows, over and over, with the ids that FMA could have: how many tracks each split of the real
one has can only be seen there, what takes how much memory can be seen here. Times are in benchmarks/bench_fma.py.
"""

from __future__ import annotations

import csv
import io
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from synthkit_fma.selection import known_faults

pytestmark = [pytest.mark.data, pytest.mark.slow]

TRACKS = 106_574
MEGABYTE = 2**20
MEASURED = """
import json, resource, sys
from pathlib import Path

def peak():
    status = Path("/proc/self/status")
    if status.exists():  # on Linux ru_maxrss begins with what the parent had
        return next(int(line.split()[1]) * 1024 for line in status.open() if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

def report(**found):
    print(json.dumps({**found, "peak": peak()}))

from synthkit_fma.config import FMAConfig
from synthkit_fma.dataset import FMA
from synthkit_fma.index import open_index

root = Path(sys.argv[1])
"""
MAKE = """
told = []
index = open_index(root / "fma_metadata/tracks.csv", lambda done, total: told.append(done))
report(tracks=len(index), told=len(told))
"""
PLAN = """
from synthkit._data.cache import lookup
from synthkit.interfaces import SPLITS

dataset = FMA(FMAConfig(root=root, subset=sys.argv[2], labels="genres", genre_level=1))
clips = {split: dataset.clips(split) for split in SPLITS}
prepared = sum(lookup(clip.key, 22050) is not None for some in clips.values() for clip in some)
one = [clip for clip in clips["train"] if clip.label == "Rock"]
report(
    splits={split: len(some) for split, some in clips.items()},
    keys=len({clip.key for some in clips.values() for clip in some}),
    prepared=prepared, rock=len(one), labels=len(dataset.labels()), left_out=len(dataset.left_out()),
    torch="torch" in sys.modules,
)
"""


def write_table(source: Path, target: Path, ids: list[int]) -> list[list[str]]:
    """The real table's rows, cycled under other ids and titles; returns the rows."""
    with source.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))
    texts = []
    for row in rows[3:]:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(row[1:-1])
        texts.append(text.getvalue().removesuffix("\n"))
    target.parent.mkdir(parents=True)
    with target.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows[:3])
        stream.writelines(f"{id},{texts[number % len(texts)]},Track {id}\n" for number, id in enumerate(ids))
    return rows[3:]


@pytest.fixture
def tree(tmp_path: Path, shared: Path) -> Iterator[tuple[Path, list[list[str]]]]:
    """The whole of FMA-large, each track a file, with its list of checksums."""
    root = tmp_path / "fma"
    ids = sorted(random.Random(1).sample(sorted({*range(2, 155_321)} - {*known_faults()}), TRACKS))
    rows = write_table(shared / "audio/fma_metadata/tracks.csv", root / "fma_metadata/tracks.csv", ids)
    shutil.copyfile(shared / "audio/fma_metadata/genres.csv", root / "fma_metadata/genres.csv")
    audio = root / "fma_large"
    for folder in sorted({id // 1000 for id in ids}):
        (audio / f"{folder:03d}").mkdir(parents=True)
    names = [f"{id // 1000:03d}/{id:06d}.mp3" for id in ids]
    for name in names:
        os.close(os.open(audio / name, os.O_CREAT | os.O_WRONLY))
    (audio / "checksums").write_text("".join(f"{number:040x}  {name}\n" for number, name in enumerate(names)))
    yield root, rows
    shutil.rmtree(root)


def measured(code: str, *arguments: str | Path) -> dict[str, Any]:
    """What a fresh process reports of itself."""
    command = [sys.executable, "-c", MEASURED + code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_all_of_it_in_little_memory(
    tree: tuple[Path, list[list[str]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNTHKIT_CACHE", str(tmp_path / "cache"))
    root, rows = tree
    assert (root / "fma_metadata/tracks.csv").stat().st_size > 150 * MEGABYTE
    made = measured(MAKE, root)
    assert made["tracks"] == TRACKS
    assert made["told"] > 100
    assert made["peak"] < 500 * MEGABYTE
    opened = measured(MAKE, root)
    assert (opened["tracks"], opened["told"]) == (TRACKS, 0)
    assert opened["peak"] < 150 * MEGABYTE
    (index,) = (tmp_path / "cache").glob("fma-*/*.npz")
    assert index.stat().st_size < 20 * MEGABYTE

    split, subset, genres = 31, 32, 41
    times = [TRACKS // len(rows) + (number < TRACKS % len(rows)) for number in range(len(rows))]
    for name, members in (("large", {"small", "medium", "large"}), ("medium", {"small", "medium"})):
        planned = measured(PLAN, root, name)
        expected = {
            mine: sum(
                count
                for row, count in zip(rows, times, strict=True)
                if (row[split], row[subset] in members) == (theirs, True)
            )
            for mine, theirs in (("train", "training"), ("validation", "validation"), ("test", "test"))
        }
        unlabelled = sum(
            count for row, count in zip(rows, times, strict=True) if row[subset] in members and row[genres] == "[]"
        )
        assert sum(planned["splits"].values()) == sum(expected.values()) - unlabelled
        assert planned["splits"]["test"] == expected["test"]
        assert planned["keys"] == sum(planned["splits"].values())
        assert planned["left_out"] == unlabelled
        assert (planned["prepared"], planned["torch"]) == (0, False)
        assert 0 < planned["rock"] < planned["splits"]["train"]
        assert planned["peak"] < 300 * MEGABYTE
