"""`synthkit data fetch fma` as a user calls it, against a server on localhost, and what a run makes of the data."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import TYPE_CHECKING

import pytest
import soundfile

if TYPE_CHECKING:
    from tests.conftest import Web

pytestmark = pytest.mark.data

Cli = Callable[..., CompletedProcess[str]]


def sha1(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


def pack(folder: str, files: dict[str, bytes], path: Path) -> bytes:
    """A zip as the authors of FMA pack them: bzip2, everything in one folder, with a list of checksums."""
    checksums = "".join(f"{sha1(content)}  {name}\n" for name, content in files.items())
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive:
        for name, content in {"README.txt": b"Part of FMA.\n", "checksums": checksums.encode(), **files}.items():
            archive.writestr(f"{folder}/{name}", content)
    content = path.read_bytes()
    path.unlink()
    return content


@dataclass
class Mirror:
    """A server with the archives of a small FMA, and the settings that lead `synthkit data fetch` to it."""

    web: Web
    root: Path
    licences: dict[str, str]

    def settings(self, **more: str) -> list[str]:
        sums = ", ".join(f"{name}: {sha1(content)}" for name, content in self.web.files.items())
        sets = {
            "root": str(self.root),
            "mirrors": f"[{self.web.address}]",
            "archive_sha1": f"{{{sums}}}",
            **more,
        }
        return [word for name, value in sets.items() for word in ("--set", f"{name}={value}")]


@pytest.fixture
def mirror(web: Web, shared: Path, tmp_path: Path) -> Mirror:
    """Twelve tracks of small with their real rows; their sound is that of real mp3 files, each another one."""
    with (shared / "audio/fma_metadata/tracks.csv").open(encoding="utf-8", newline="") as stream:
        header, rows = [], []
        for number, row in enumerate(csv.reader(stream)):
            (header if number < 3 else rows).append(row)
    subset, split, licence = (header[1].index(name) for name in ("subset", "split", "license"))
    small = [row for row in rows if row[subset] == "small"]
    turns, turn = Counter[str](), dict[str, int]()
    for row in small:
        turn[row[0]] = turns[row[licence]]
        turns[row[licence]] += 1
    small.sort(key=lambda row: turn[row[0]])  # many licences first
    counts = {"training": 6, "validation": 3, "test": 3}
    chosen = [row for name, count in counts.items() for row in [row for row in small if row[split] == name][:count]]
    table = tmp_path / "tracks.csv"
    with table.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows([*header, *chosen])
    sounds = [shared / f"audio/music/{name}.mp3" for name in ("back34", "lunar_joyride", "outfoxing")]
    tracks = {}
    for number, row in enumerate(chosen):
        sound = sounds[number % 3].read_bytes()
        tracks[f"{int(row[0]):06d}"[:3] + f"/{int(row[0]):06d}.mp3"] = sound[: 100_000 + 5_000 * number]
    tables = {"tracks.csv": table.read_bytes(), "genres.csv": (shared / "audio/fma_metadata/genres.csv").read_bytes()}
    web.files["fma_small.zip"] = pack("fma_small", tracks, tmp_path / "zip")
    web.files["fma_metadata.zip"] = pack("fma_metadata", tables, tmp_path / "zip")
    return Mirror(web, tmp_path / "data/fma", {f"{int(row[0]):06d}": row[licence].strip() for row in chosen})


def test_it_brings_the_set_and_leaves_nothing_else(synthkit_cli: Cli, mirror: Mirror) -> None:
    """The connection breaks twice; what was there is not asked for again."""
    mirror.web.plan = [mirror.web.cut(300_000), mirror.web.cut(400_000)]
    done = synthkit_cli("data", "fetch", "fma", *mirror.settings())
    assert done.returncode == 0, done.stderr
    assert done.stdout == "fma is there: 12 clips\n"
    assert mirror.web.seen == [
        ("fma_small.zip", None),
        ("fma_small.zip", "bytes=300000-"),
        ("fma_small.zip", "bytes=700000-"),
        ("fma_metadata.zip", None),
    ]
    names = ["fma_metadata", "fma_metadata.checked.json", "fma_small", "fma_small.checked.json"]
    assert sorted(path.name for path in mirror.root.iterdir()) == names
    report = json.loads((mirror.root / "fma_small.checked.json").read_text())
    assert report == {"folder": "fma_small", "files": 12, "wrong": {}}


def test_a_second_call_only_checks(synthkit_cli: Cli, mirror: Mirror) -> None:
    assert synthkit_cli("data", "fetch", "fma", *mirror.settings()).returncode == 0
    mirror.web.seen.clear()
    assert synthkit_cli("data", "fetch", "fma", *mirror.settings()).returncode == 0
    assert mirror.web.seen == []
    track = next((mirror.root / "fma_small").rglob("*.mp3"))
    sound = bytearray(track.read_bytes())
    sound[50_000] ^= 1
    track.write_bytes(sound)
    done = synthkit_cli("data", "fetch", "fma", *mirror.settings())
    assert done.returncode == 2
    assert "1 of 12 files" in done.stderr
    assert track.name in done.stderr
    assert list(json.loads((mirror.root / "fma_small.checked.json").read_text())["wrong"]) == [f"000/{track.name}"]
    track.unlink()
    done = synthkit_cli("data", "fetch", "fma", *mirror.settings())
    assert done.returncode == 0, done.stderr
    assert mirror.web.seen == [("fma_small.zip", None)]


@pytest.mark.parametrize("nested", [False, True])
def test_a_tree_that_is_not_whole_is_completed_where_it_is(synthkit_cli: Cli, mirror: Mirror, nested: bool) -> None:
    assert synthkit_cli("data", "fetch", "fma", *mirror.settings()).returncode == 0
    folder = mirror.root / "fma_small"
    if nested:
        folder.rename(mirror.root / "outer")
        (mirror.root / "outer/fma_small").mkdir(parents=True)
        for path in list((mirror.root / "outer").iterdir()):
            if path.name != "fma_small":
                path.rename(mirror.root / "outer/fma_small" / path.name)
        (mirror.root / "outer").rename(folder)
        folder = folder / "fma_small"
    gone = sorted(folder.rglob("*.mp3"))[:3]
    for track in gone:
        track.unlink()
    done = synthkit_cli("data", "fetch", "fma", *mirror.settings())
    assert (done.returncode, done.stdout) == (0, "fma is there: 12 clips\n"), done.stderr
    assert all(track.is_file() for track in gone)


def test_wrong_bytes_never_become_files(synthkit_cli: Cli, mirror: Mirror) -> None:
    content = bytearray(mirror.web.files["fma_small.zip"])
    settings = mirror.settings()
    content[200_000] ^= 1
    mirror.web.files["fma_small.zip"] = bytes(content)
    done = synthkit_cli("data", "fetch", "fma", *settings)
    assert done.returncode == 2
    assert f"its SHA1 is {sha1(content)} instead of" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in mirror.root.iterdir() if not path.name.startswith(".")] == []


def test_mirrors_and_a_server_without_the_file(synthkit_cli: Cli, mirror: Mirror, start_web: Callable[[], Web]) -> None:
    empty = start_web()
    settings = mirror.settings(mirrors=f"[{empty.address}, {mirror.web.address}/]", keep_archives="true")
    done = synthkit_cli("data", "fetch", "fma", *settings)
    assert done.returncode == 0, done.stderr
    assert [name for name, _ in empty.seen] == ["fma_small.zip", "fma_metadata.zip"]
    assert (mirror.root / "fma_small.zip").read_bytes() == mirror.web.files["fma_small.zip"]
    shutil.rmtree(mirror.root)
    done = synthkit_cli("data", "fetch", "fma", *mirror.settings(mirrors=f"[{empty.address}]"))
    assert done.returncode == 2
    assert "the server says 404" in done.stderr


def test_no_room_is_said_before_anything_is_downloaded(synthkit_cli: Cli, mirror: Mirror) -> None:
    mirror.web.plan = [mirror.web.status(200, **{"Content-Length": str(10**17)})]
    done = synthkit_cli("data", "fetch", "fma", *mirror.settings())
    assert done.returncode == 2
    assert "no room to download and unpack 'fma_small.zip': it needs 210000000.0 GB" in done.stderr


class TestArchive:
    """`--archive`: a zip that the user has."""

    def test_it_is_recognised_by_its_content(self, synthkit_cli: Cli, mirror: Mirror, tmp_path: Path) -> None:
        for name in ("fma_metadata", "fma_small"):
            (tmp_path / f"my {name}").write_bytes(mirror.web.files[f"{name}.zip"])
        tables, sound = ["--archive", tmp_path / "my fma_metadata"], ["--archive", tmp_path / "my fma_small"]
        done = synthkit_cli("data", "fetch", "fma", *mirror.settings(), *tables)
        assert "there is no FMA small in" in done.stderr  # half of it is there
        done = synthkit_cli("data", "fetch", "fma", *mirror.settings(), *sound)
        assert (done.returncode, done.stdout) == (0, "fma is there: 12 clips\n"), done.stderr
        assert mirror.web.seen == []
        assert (tmp_path / "my fma_small").is_file()

    def test_another_file_is_refused(self, synthkit_cli: Cli, mirror: Mirror, tmp_path: Path) -> None:
        (tmp_path / "x.zip").write_bytes(mirror.web.files["fma_small.zip"][:-1])
        (tmp_path / "y.zip").write_bytes(mirror.web.files["fma_small.zip"])
        for file, more, said in (
            ("x.zip", {}, "is neither fma_small.zip nor fma_metadata.zip: its SHA-1 is"),
            ("y.zip", {"subset": "medium"}, "is neither fma_medium.zip nor fma_metadata.zip: it is fma_small.zip"),
            ("z.zip", {}, "cannot read"),
        ):
            done = synthkit_cli("data", "fetch", "fma", *mirror.settings(**more), "--archive", tmp_path / file)
            assert done.returncode == 2
            assert said in done.stderr
        assert not mirror.root.exists()


RECIPE = """\
recipe: 1
name: licences
description: Clips of FMA, made again.
data: {use: fma, root: ROOT}
features: {use: log-mel, preset: melgan}
vocoder: {use: griffin-lim, iterations: 2}
prepare: {workers: 1}
generate: {source: train, count: 4, seconds: 0.5}
"""


def test_the_licence_of_each_track_stands_in_what_is_made_of_it(
    synthkit_cli: Cli, mirror: Mirror, tmp_path: Path
) -> None:
    """From the row of the table to the index and the metadata of each resynthesised file."""
    assert synthkit_cli("data", "fetch", "fma", *mirror.settings()).returncode == 0
    (tmp_path / "licences.yaml").write_text(RECIPE.replace("ROOT", str(mirror.root)), encoding="utf-8")
    done = synthkit_cli("run", "licences.yaml", "--stage", "prepare..generate")
    assert done.returncode == 0, done.stderr
    run = tmp_path / "runs/licences"
    items = json.loads((run / "generated/index.json").read_text())["items"]
    assert len(items) == 4
    assert len({item["licence"] for item in items}) > 1
    for item in items:
        assert item["licence"] == mirror.licences[item["id"]] != ""
        for version in item["versions"]:
            with soundfile.SoundFile(run / version["file"]) as file:
                assert (file.title, file.copyright) == (item["id"], mirror.licences[item["id"]])
                assert file.artist == item["credit"]
                assert ": " in file.artist
