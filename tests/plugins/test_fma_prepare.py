"""Hundreds of clips of FMA as it really is, cut from real mp3 files as its authors cut them, through prepare and verify."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from synthkit._catalog import Catalog
from synthkit._data.pool import Source
from synthkit._data.prepare import prepare
from synthkit._data.prepared import Prepared

pytestmark = pytest.mark.data

BIT_RATES = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
SAMPLE_RATES = (44100, 48000, 32000)


def frames(sound: bytes) -> Iterator[bytes]:
    """The frames of an MPEG-1 layer III file, 1,152 samples each."""
    place = 10 + sum(byte << shift for byte, shift in zip(sound[6:10], (21, 14, 7, 0), strict=True))
    place = place if sound.startswith(b"ID3") else 0
    while place + 4 <= len(sound) and sound[place] == 0xFF and sound[place + 1] & 0xFE == 0xFA:
        rates, padding = sound[place + 2], sound[place + 2] >> 1 & 1
        length = 144_000 * BIT_RATES[rates >> 4] // SAMPLE_RATES[rates >> 2 & 3] + padding
        yield sound[place : place + length]
        place += length


class Cutter:
    """Cuts pieces out of stereo mp3 files without decoding them, each at another place.

    As ffmpeg did it for FMA: whole frames are copied, behind a frame that holds no sound but the number of frames (Xing).
    """

    def __init__(self, shared: Path) -> None:
        sounds = [shared / f"audio/music/{name}.mp3" for name in ("back34", "lunar_joyride", "outfoxing")]
        self._sounds = cycle([list(frames(path.read_bytes())) for path in sounds])
        self._start = 0

    def piece(self, seconds: float) -> bytes:
        sound, count = next(self._sounds), round(seconds * 44100 / 1152)
        assert len(sound) > count
        self._start += 7
        start = self._start % (len(sound) - count)
        frame = sound[start]
        header = frame[:4] + bytes(32) + b"Xing" + (1).to_bytes(4, "big") + count.to_bytes(4, "big")
        return b"".join([header.ljust(len(frame), b"\0"), *sound[start : start + count]])


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTHKIT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def tracks(shared: Path) -> dict[int, str]:
    """The subset of each real track."""
    with (shared / "audio/fma_metadata/tracks.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(stream))
    return {int(row[0]): row[rows[1].index("subset")] for row in rows[3:]}


def write(root: Path, id: int, sound: bytes) -> Path:
    file = root / f"fma_large/fma_large/{id // 1000:03d}/{id:06d}.mp3"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(sound)
    return file


def source(root: Path, **settings: object) -> Source:
    catalog = Catalog.discover()
    offered, config = catalog.configure("dataset", "fma", {"root": root, **settings})
    return Source(catalog=catalog, offered=offered, config=config)


def prepared(source: Source, told: list[tuple[int, int]]) -> Prepared:
    return prepare(source, source.build(), 22050, workers=2, progress=lambda done, total: told.append((done, total)))


@pytest.mark.slow
def test_hundreds_of_clips_with_odd_ones_among_them(shared: Path, tmp_path: Path, tracks: dict[int, str]) -> None:
    root, cutter = tmp_path / "fma", Cutter(shared)
    shutil.copytree(shared / "audio/fma_metadata", root / "fma_metadata")
    for id in tracks:
        write(root, id, cutter.piece(1.0))
    odd = sorted((shared / "audio/odd").rglob("*.mp3"))
    replaced = dict(zip(list(tracks)[::15], odd, strict=False))
    for id, file in replaced.items():
        write(root, id, file.read_bytes())
    assert len(tracks) > 600
    assert len(replaced) > 25

    told: list[tuple[int, int]] = []
    all_of_it = source(root, subset="large")
    first = prepared(all_of_it, told)
    lost = {int(report.id): report for report in first.unreadable}
    assert set(lost) <= set(replaced)
    assert len(lost) > 5
    assert len(first.entries()) + len(lost) == len(tracks) == told[-1][1]
    whole = [entry for entry in first.entries() if int(entry.id) not in replaced]
    assert all(abs(entry.frames - 22050) < 1500 for entry in whole)  # the first frames lean on what was cut off

    told.clear()
    again = prepared(all_of_it, told)
    assert again.entries() == first.entries()
    assert {total for _, total in told} <= {len(lost)}
    id = next(id for id in tracks if id not in replaced)
    write(root, id, cutter.piece(2.0))
    told.clear()
    changed = {entry.id: entry for entry in prepared(all_of_it, told).entries()}
    assert told[-1][1] == len(lost) + 1
    assert changed[f"{id:06d}"].frames > 40_000

    medium = prepared(source(root, subset="medium"), [])
    ids = {int(entry.id) for entry in medium.entries()}
    assert ids == {id for id, subset in tracks.items() if subset != "large"} - set(lost)


def test_verify_knows_how_long_clips_are(
    synthkit_cli: Callable[..., CompletedProcess[str]], shared: Path, tmp_path: Path, tracks: dict[int, str]
) -> None:
    root, cutter = tmp_path / "fma", Cutter(shared)
    shutil.copytree(shared / "audio/fma_metadata", root / "fma_metadata")
    small = [id for id, subset in tracks.items() if subset == "small"][:6]
    files = [write(root, id, cutter.piece(30.0)) for id in small]
    arguments = ["data", "verify", "fma", "--set", f"root={root}", "--set", "partial=true"]
    done = synthkit_cli(*arguments)
    assert done.returncode == 0, done.stdout
    assert "6 clips decoded: 6 ok" in done.stdout

    files[0].write_bytes(cutter.piece(1.6))
    files[1].write_bytes(b"")
    done = synthkit_cli(*arguments, "--json", tmp_path / "found.json")
    assert done.returncode == 1
    codes = {row["id"]: row["code"] for row in json.loads((tmp_path / "found.json").read_text())["clips"]}
    assert codes == {
        **{f"{id:06d}": "ok" for id in small[2:]},
        f"{small[0]:06d}": "too-short",
        f"{small[1]:06d}": "empty",
    }
