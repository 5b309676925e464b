"""`synthkit data` on a GTZAN of real music with the odd files mixed in, as a user calls it."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
import soundfile

from synthkit.audio import read
from synthkit_gtzan.facts import GENRES, split

Cli = Callable[..., CompletedProcess[str]]

ODD = {
    "jazz.00054": "corrupt",
    "disco.00001": "silent",
    "hiphop.00003": "too-short",
    "pop.00007": "too-long",
    "rock.00012": "truncated",
    "metal.00005": "empty",
    "reggae.00009": "unreadable",
    "country.00003": "not-finite",
    "blues.00029": "too-loud",
}


@pytest.fixture(scope="module")
def root(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Kaggle's layout: 30 s pieces of real music for twelve clips of each genre, nine of them spoilt."""
    folder = tmp_path_factory.mktemp("set")
    music = read(shared / "audio/music/sunshine.ogg").mono().resample(22050).samples[0]
    for number, genre in enumerate(GENRES):
        (folder / f"Data/genres_original/{genre}").mkdir(parents=True)
        for clip in {0, 1, 3, 5, 7, 9, 12, 29, 54, 69, 98, 99}:
            start = 19000 * (number + clip)
            piece = music[start : start + 661_794]
            write(folder / f"Data/genres_original/{genre}/{genre}.{clip:05}.wav", piece)
    for id, fault in ODD.items():
        spoil(folder / f"Data/genres_original/{id.split('.')[0]}/{id}.wav", fault, music)
    (folder / "Data/features_30_sec.csv").write_text("filename,length\n")
    (folder / "Data/genres_original/jazz/.DS_Store").write_bytes(b"\0\0\0\1Bud1")
    copy = folder / "Data/genres_original/disco/disco.00098.wav"
    shutil.copyfile(folder / "Data/genres_original/disco/disco.00099.wav", copy)
    return folder


def write(path: Path, samples: np.ndarray, subtype: str = "PCM_16") -> None:
    soundfile.write(path, samples, 22050, subtype)


def spoil(path: Path, fault: str, music: np.ndarray) -> None:
    piece = read(path).samples[0]
    if fault == "silent":
        write(path, np.zeros(661_794))
    elif fault == "too-short":
        write(path, piece[: 12 * 22050])
    elif fault == "too-long":
        write(path, music[: 31 * 22050])
    elif fault == "truncated":
        path.write_bytes(path.read_bytes()[:700_000])
    elif fault == "empty":
        path.write_bytes(b"")
    elif fault == "not-finite":
        piece[1000] = np.inf
        write(path, piece, "FLOAT")
    elif fault == "too-loud":
        write(path, piece * 32768, "FLOAT")
    else:
        path.write_bytes(b"\0" * 1000 + path.read_bytes()[1000:2000])


@pytest.mark.data
class TestVerify:
    def test_decoding_decides_for_every_clip(self, synthkit_cli: Cli, root: Path, tmp_path: Path) -> None:
        settings = ("--set", f"root={root}", "--set", "split=stratified", "--set", "partial=true")
        done = synthkit_cli("data", "verify", "gtzan", *settings, "--json", tmp_path / "result.json")
        assert done.returncode == 1, done.stderr
        result = json.loads((tmp_path / "result.json").read_text())
        codes = {clip["id"]: clip["code"] for clip in result["clips"]}
        assert len(codes) == 120 - 2
        assert {id: code for id, code in codes.items() if code != "ok"} == {
            id: fault for id, fault in ODD.items() if fault != "corrupt"
        }
        assert Counter(one["code"] for one in result["left_out"]) == {"absent": 880, "known-fault": 2}
        rows = {line.split()[0]: line for line in done.stdout.splitlines()}
        assert "12.00 s" in rows["hiphop.00003"]
        assert "it lasts 12.00 s, and should last at least 29.9 s" in rows["hiphop.00003"]
        assert "it lasts 31.00 s, and should last at most 30.7 s" in rows["pop.00007"]
        assert "it ends early: 15.87 s of the 30.01 s" in rows["rock.00012"]
        assert "it is byte for byte disco.00099" in rows["disco.00098"]
        assert done.stdout.splitlines()[-2].startswith("118 clips decoded: 110 ok, ")
        assert done.stdout.splitlines()[-1] == "882 left out: 880 absent, 2 known-fault"

    def test_known_faults_are_tried_where_that_is_asked_for(self, synthkit_cli: Cli, root: Path) -> None:
        settings = ("--set", f"root={root}", "--set", "split=stratified", "--set", "partial=true")
        done = synthkit_cli("data", "verify", "gtzan", *settings, "--set", "skip_known_faults=false")
        rows = {line.split()[0]: line for line in done.stdout.splitlines()}
        assert "unreadable" in rows["jazz.00054"]
        assert "disco.00098" not in rows

    def test_missing_clips_are_wrong(self, synthkit_cli: Cli, root: Path, tmp_path: Path) -> None:
        shutil.copytree(root / "Data", tmp_path / "set/Data")
        for id in ODD:
            (tmp_path / f"set/Data/genres_original/{id.split('.')[0]}/{id}.wav").unlink()
        settings = ("--set", f"root={tmp_path / 'set'}")
        assert synthkit_cli("data", "verify", "gtzan", *settings, "--set", "partial=true").returncode == 0
        done = synthkit_cli("data", "verify", "gtzan", *settings)
        assert done.returncode == 1
        assert " missing, " in done.stdout.splitlines()[-1]


@pytest.mark.data
class TestInfo:
    def test_the_difference_between_list_and_disk_is_said(self, synthkit_cli: Cli, root: Path, tmp_path: Path) -> None:
        picture = tmp_path / "gtzan.png"
        done = synthkit_cli("data", "info", "gtzan", "--set", f"root={root}", "--picture", picture)
        assert done.returncode == 0, done.stderr
        assert picture.read_bytes().startswith(b"\x89PNG")
        there = {path.stem for path in root.rglob("*.wav")}
        listed = there & set(split("fault-filtered")) - {"jazz.00054"}
        counts = Counter(split("fault-filtered")[id] for id in listed)
        row = next(line.split() for line in done.stdout.splitlines() if line.startswith("all "))
        assert list(map(int, row[1:])) == [counts["train"], counts["validation"], counts["test"]]
        missing, beside = 930 - len(listed) - 1, len(there - set(split("fault-filtered")))
        assert f"left out: {missing} missing, {beside} not-listed, 1 known-fault" in done.stdout
        assert (
            "missing: blues.00002: it is of the validation part of fault-filtered, but not in the set here"
            in done.stdout
        )
        assert "Tzanetakis" in done.stdout

    def test_a_run_prepares_what_is_whole(self, synthkit_cli: Cli, root: Path, tmp_path: Path) -> None:
        changes = [f"data.root={root}", "data.split=stratified", "data.partial=true", "prepare.max_unreadable=0.1"]
        sets = [word for change in changes for word in ("--set", change)]
        done = synthkit_cli("run", "melgan-gtzan", "--stage", "prepare", *sets)
        assert done.returncode == 0, done.stderr
        quarantine = json.loads((tmp_path / "runs/melgan-gtzan/quarantine.json").read_text())
        left_out = {one["id"]: one["code"] for one in quarantine["left_out"]}
        assert left_out["disco.00098"] == left_out["jazz.00054"] == "known-fault"
        assert left_out["reggae.00009"] == "unreadable"
        assert Counter(left_out.values())["absent"] == 880


def test_fetch_says_where_it_is(synthkit_cli: Cli, tmp_path: Path) -> None:
    done = synthkit_cli("data", "fetch", "gtzan", "--set", "root=somewhere")
    assert done.returncode == 2
    assert "dead since 2022" in done.stderr
    (tmp_path / "genres.tar.gz").write_bytes(b"x")
    done = synthkit_cli("data", "fetch", "gtzan", "--set", "root=somewhere", "--archive", "genres.tar.gz")
    assert done.returncode == 2
    assert "whose SHA-256 is 24347e02" in done.stderr
    assert not (tmp_path / "somewhere").exists()
