"""`synthkit data info | verify | fetch`, as a user calls them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest

from synthkit.audio import Audio

Cli = Callable[..., CompletedProcess[str]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, seconds in (("jazz/a [b].wav", 1.0), ("jazz/b.flac", 2.0), ("blues/c.wav", 3.0), ("blues/d.wav", 1.5)):
        samples = 0.5 * np.sin(np.arange(round(8000 * seconds)) * 0.1)
        Audio(np.stack([samples, samples]) if name.endswith("flac") else samples, 8000).write(tmp_path / "music" / name)
    return tmp_path / "music"


def cells(output: str, first: str) -> list[str]:
    """The words of the table row that begins with `first`."""
    return next(line.split() for line in output.splitlines() if line.split()[:1] == [first])


class TestInfo:
    def test_a_data_set_by_name(self, synthkit_cli: Cli) -> None:
        done = synthkit_cli(
            "data", "info", "tones", "--set", "clips_per_label=12", "--set", "seconds=1", "--sample", "6"
        )
        assert done.returncode == 0, done.stderr
        assert cells(done.stdout, "melody") == ["melody", "9", "2", "1"]
        assert cells(done.stdout, "all") == ["all", "54", "12", "6"]
        assert cells(done.stdout, "22050")[2:4] == ["1", "6"]
        assert "measured on 6 of 72 clips" in done.stdout
        assert "CC0" in done.stdout

    def test_a_folder(self, synthkit_cli: Cli, root: Path) -> None:
        (root / "x.m4a").write_bytes(b"x")
        done = synthkit_cli("data", "info", root, "--set", "labels=folders")
        assert done.returncode == 0, done.stderr
        assert sum(map(int, cells(done.stdout, "jazz")[1:])) == 2
        rows = [line.split() for line in done.stdout.splitlines() if line.split()[:2] == ["8000", "Hz"]]
        assert [row[2:6] for row in rows] == [["1", "3", "5.5", "s"], ["2", "1", "2.0", "s"]]
        assert (
            "left out: 1 unsupported; `synthkit data verify` lists them\n  unsupported: x.m4a: .m4a is a format"
            in done.stdout
        )

    def test_a_picture(self, synthkit_cli: Cli, root: Path, tmp_path: Path) -> None:
        from PIL import Image

        file = tmp_path / "out/music.png"
        done = synthkit_cli("data", "info", root, "--set", "labels=folders", "--picture", file)
        assert done.returncode == 0, done.stderr
        assert done.stdout.endswith(f"picture: {file}\n")
        with Image.open(file) as picture:
            assert picture.width == 1800
            colours = {colour for _, colour in picture.convert("RGB").getcolors(10**6) or ()}
        assert {(0x7B, 0x23, 0x82), (0xD9, 0x66, 0x7F), (0xF2, 0xB3, 0x87)} <= colours  # a bar of each split

    def test_a_picture_of_nothing_measured(self, synthkit_cli: Cli, tmp_path: Path) -> None:
        done = synthkit_cli("data", "info", "tones", "--sample", "0", "--picture", tmp_path / "a.svg")
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "a.svg").read_text().count("<!-- nothing was measured -->") == 3

    @pytest.mark.parametrize("name", ["a.jpeg", "a"])
    def test_another_kind_of_picture_is_refused_before_anything_is_decoded(
        self, synthkit_cli: Cli, tmp_path: Path, name: str
    ) -> None:
        done = synthkit_cli("data", "info", "tones", "--picture", tmp_path / name)
        assert (done.returncode, done.stdout) == (2, "")
        assert "the name of the picture must end in .png or .svg" in done.stderr

    def test_all_clips_are_measured_where_that_is_asked_for(self, synthkit_cli: Cli, root: Path) -> None:
        assert "measured on 2 of 4 clips" in synthkit_cli("data", "info", root, "--sample", "3").stdout
        assert "measured on 4 of 4 clips" in synthkit_cli("data", "info", root, "--sample", "3", "--all").stdout

    def test_a_recipe(self, synthkit_cli: Cli) -> None:
        done = synthkit_cli("data", "info", "quickstart", "--set", "data.clips_per_label=4", "--sample", "0")
        assert done.returncode == 0, done.stderr
        assert cells(done.stdout, "all") == ["all", "12", "6", "6"]

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["tonse"], "'tonse' is no data set, folder or recipe; did you mean 'tones'?"),
            (["folder"], "dataset 'folder': root: this setting is missing"),
            (["tones", "--set", "clip_per_label=4"], "did you mean 'clips_per_label'?"),
            (["tones", "--set", "seconds"], "an override is written path=value"),
        ],
    )
    def test_what_cannot_be_is_said_in_a_sentence(self, synthkit_cli: Cli, arguments: list[str], said: str) -> None:
        done = synthkit_cli("data", "info", *arguments)
        assert done.returncode == 2
        assert said in done.stderr
        assert "Traceback" not in done.stderr


class TestVerify:
    def test_all_well(self, synthkit_cli: Cli, root: Path) -> None:
        done = synthkit_cli("data", "verify", root)
        assert (done.returncode, done.stdout) == (0, "4 clips decoded: 4 ok\n")

    def test_what_is_wrong_is_listed_and_the_exit_code_says_so(
        self, synthkit_cli: Cli, root: Path, tmp_path: Path
    ) -> None:
        (root / "jazz/a [b].wav").write_bytes((root / "jazz/a [b].wav").read_bytes()[:2000])
        (root / "blues/e.mp3").write_bytes(b"nothing like an mp3")
        (root / "blues/f.bogus").write_bytes(b"?")
        done = synthkit_cli("data", "verify", root, "--json", tmp_path / "out/result.json")
        assert done.returncode == 1, done.stderr
        table = {line.strip().split("  ")[0]: line for line in done.stdout.splitlines()}
        assert "truncated" in table["jazz/a [b].wav"]
        assert "it ends early" in table["jazz/a [b].wav"]
        assert "unreadable" in table["blues/e.mp3"]
        assert "not-audio" in table["blues/f.bogus"]
        content = json.loads((tmp_path / "out/result.json").read_text())
        assert {row["id"]: row["code"] for row in content["clips"]} == {
            "blues/c.wav": "ok",
            "blues/d.wav": "ok",
            "blues/e.mp3": "unreadable",
            "jazz/a [b].wav": "truncated",
            "jazz/b.flac": "ok",
        }
        assert [row["id"] for row in content["left_out"]] == ["blues/f.bogus"]
        assert content["codes"] == {"ok": 3, "unreadable": 1, "truncated": 1, "not-audio": 1}
        assert content["settings"]["root"] == str(root)
        whole = next(row for row in content["clips"] if row["id"] == "blues/c.wav")
        assert (whole["seconds"], whole["sample_rate"], whole["channels"], whole["reason"]) == (3.0, 8000, 1, "")
        assert (whole["peak"], whole["rms"]) == pytest.approx((0.5, 0.5 / 2**0.5), rel=1e-3)
        assert whole["file"] == str(root / "blues/c.wav")
        assert done.stdout.endswith("5 clips decoded: 3 ok, 1 unreadable, 1 truncated\n1 left out: 1 not-audio\n")

    def test_a_file_that_was_never_sound_is_no_mistake(self, synthkit_cli: Cli, root: Path) -> None:
        (root / "blues/f.bogus").write_bytes(b"?")
        assert synthkit_cli("data", "verify", root).returncode == 0

    def test_a_result_that_cannot_be_written_is_said(self, synthkit_cli: Cli, root: Path, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        done = synthkit_cli("data", "verify", root, "--json", tmp_path / "file/result.json")
        assert done.returncode == 2
        assert "cannot write" in done.stderr
        assert "Traceback" not in done.stderr


def test_fetch(synthkit_cli: Cli, root: Path) -> None:
    done = synthkit_cli("data", "fetch", "tones")
    assert (done.returncode, done.stdout) == (0, "tones is there: 96 clips\n")
    done = synthkit_cli("data", "fetch", root)
    assert done.returncode == 2
    assert "nothing to fetch" in done.stderr


@pytest.mark.data
def test_the_odd_files(synthkit_cli: Cli, shared: Path) -> None:
    """No input, however broken, ends in a traceback, and decoders do not chatter."""
    done = synthkit_cli("data", "verify", shared / "audio/odd")
    assert done.returncode == 1
    assert done.stderr == ""
    with (shared / "audio/odd/manifest.csv").open(encoding="utf-8", newline="") as stream:
        broken = [row["file"] for row in csv.DictReader(stream) if row["soundfile_ok"] == "no"]
    repaired = ("flac-testbench/uncommon_01", "flac-testbench/uncommon_04")  # of unknown length, but whole
    hidden = "macos_junk/.DS_Store"
    assert len(broken) > 50
    assert [name for name in broken if name not in done.stdout and not name.startswith((*repaired, hidden))] == []
