"""All 106,574 tracks of FMA-large: making and opening the index of its table, choosing clips, planning a prepare.

make benchmark ONLY=fma

The table is made of the real rows, over and over (some 200 MB; the real one has 260), and every track is an empty file, with
the list of checksums that comes with the archive. Beside it, turn by turn, what reading the table with the csv module takes
that does nothing else, and what asking the disk for every file takes.
"""

from __future__ import annotations

import csv
import io
import os
import random
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from synthkit._data.cache import lookup
from synthkit.interfaces import SPLITS
from synthkit_fma.config import FMAConfig
from synthkit_fma.dataset import FMA
from synthkit_fma.index import open_index

TRACKS, ROUNDS = 106_574, 3
METADATA = Path(__file__).resolve().parents[2] / "shared/audio/fma_metadata"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    if not METADATA.is_dir():
        pytest.skip("the developers' shared folder with real tables is not beside this checkout")
    root = tmp_path_factory.mktemp("fma")
    ids = sorted(random.Random(1).sample(range(2, 155_321), TRACKS))
    write_table(root / "fma_metadata", ids)
    names = [f"{id // 1000:03d}/{id:06d}.mp3" for id in ids]
    for folder in sorted({name[:3] for name in names}):
        (root / "fma_large" / folder).mkdir(parents=True)
    for name in names:
        os.close(os.open(root / "fma_large" / name, os.O_CREAT | os.O_WRONLY))
    lines = (f"{number:040x}  {name}\n" for number, name in enumerate(names))
    (root / "fma_large/checksums").write_text("".join(lines))
    yield root
    shutil.rmtree(root)


def write_table(folder: Path, ids: list[int]) -> None:
    shutil.copytree(METADATA, folder)
    with (METADATA / "tracks.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))
    texts = []
    for row in rows[3:]:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(row[1:-1])
        texts.append(text.getvalue().removesuffix("\n"))
    (folder / "tracks.csv").unlink()
    with (folder / "tracks.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows[:3])
        stream.writelines(f"{id},{texts[number % len(texts)]},Track {id}\n" for number, id in enumerate(ids))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTHKIT_CACHE", str(tmp_path / "cache"))


def by_turns(candidates: dict[str, Callable[[int], object]], rounds: int = ROUNDS) -> dict[str, float]:
    """Median seconds of each; a disturbance of the machine hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(rounds):
        for name, run in candidates.items():
            began = time.perf_counter()
            run(turn)
            times[name].append(time.perf_counter() - began)
    return {name: statistics.median(some) for name, some in times.items()}


def show(title: str, seconds: dict[str, float]) -> None:
    print(f"\n{title}")
    for name, some in seconds.items():
        print(f"  {name:34} {some:7.3f} s")


def test_index(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = root / "fma_metadata/tracks.csv"

    def read_only(turn: int) -> None:
        with table.open(encoding="utf-8", newline="") as stream:
            assert sum(1 for _ in csv.reader(stream)) == TRACKS + 3

    def make(turn: int) -> None:
        monkeypatch.setenv("SYNTHKIT_CACHE", str(tmp_path / f"cache {turn}"))
        assert len(open_index(table)) == TRACKS

    def reopen(turn: int) -> None:
        assert len(open_index(table)) == TRACKS

    seconds = by_turns({"the csv module alone": read_only, "making the index": make, "opening it": reopen})
    show(f"tracks.csv of {TRACKS:,} rows, {table.stat().st_size / 1e6:.0f} MB:", seconds)
    assert seconds["opening it"] < 1.0
    assert seconds["making the index"] < 4 * seconds["the csv module alone"]


def test_clips(root: Path) -> None:
    open_index(root / "fma_metadata/tracks.csv")
    files = list((root / "fma_large").rglob("*.mp3"))

    def choose(**settings: object) -> Callable[[int], object]:
        return lambda _: FMA(FMAConfig.model_validate({"root": root, **settings})).clips("train")

    def plan(turn: int) -> None:
        dataset = FMA(FMAConfig.model_validate({"root": root, "subset": "large"}))
        missing = [clip for split in SPLITS for clip in dataset.clips(split) if lookup(clip.key, 22050) is None]
        assert len(missing) > 0.99 * TRACKS

    seconds = by_turns(
        {
            "asking the disk for every file": lambda _: [path.stat() for path in files],
            "small": choose(subset="small"),
            "large": choose(subset="large"),
            "large, labels of the genre tree": choose(subset="large", labels="genres"),
            "large, and what the cache holds": plan,
        }
    )
    show("the clips of the training split, from a new object on:", seconds)
    assert seconds["large, and what the cache holds"] < 10.0
