"""Shards: real processes side by side make what one process makes, byte for byte, and nobody is left out unnoticed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from synthkit._data.shards import Done, Shard
from synthkit.audio import Audio
from synthkit.errors import RunError
from synthkit.interfaces import Clip

Cli = Callable[..., subprocess.CompletedProcess[str]]
RATE = 8000


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """Forty tones in a folder, two of which are equal, one too short, and two that cannot be read."""
    for number in range(40):
        seconds = 0.02 if number == 7 else 0.4
        frequency = 300 + (number if number != 9 else 8)
        samples = 0.5 * np.sin(np.arange(round(RATE * seconds)) / RATE * 2 * np.pi * frequency)
        Audio(samples, RATE).write(tmp_path / "music" / f"{number:02d}.wav")
    for number in (3, 11):
        (tmp_path / "music" / f"bad{number}.wav").write_bytes(b"no sound at all %d" % number)
    file = tmp_path / "small.yaml"
    file.write_text(
        "recipe: 1\nname: small\ndata: {use: folder, root: music}\n"
        "features: {use: log-mel, preset: melgan, sample_rate: 16000}\nvocoder: griffin-lim\n"
        "prepare: {workers: 1, max_unreadable: 0.2}\n",
        encoding="utf-8",
    )
    return file


def entries(cache: Path) -> dict[str, bytes]:
    return {file.relative_to(cache).as_posix(): file.read_bytes() for file in cache.rglob("*.npy")}


def listed(run: Path) -> dict[str, object]:
    content: dict[str, object] = json.loads((run / "data.json").read_text(encoding="utf-8"))
    del content["cache"]
    return content


def test_every_clip_is_of_one_shard_by_its_key_alone_and_shards_are_balanced() -> None:
    clips = [Clip(id=str(number), key=f"content {number}") for number in range(4000)]
    for of in (1, 2, 8):
        counts = Counter(number for clip in clips for number in range(1, of + 1) if Shard(number, of).holds(clip))
        assert sum(counts.values()) == len(clips)
        assert set(counts) == set(range(1, of + 1))
        assert max(counts.values()) < 1.15 * len(clips) / of
    assert [Shard(number, 3).holds(Clip(id="x", key="content 5")) for number in (1, 2, 3)].count(True) == 1


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "a/b", "1/0", "-1/3", "1/3/5", ""])
def test_what_is_no_shard_is_said(text: str) -> None:
    with pytest.raises(RunError, match="a shard is written I/N"):
        Shard.parse(text)


def test_three_at_once_are_the_undivided_prepare(synthkit_cli: Cli, recipe: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    arguments = ["run", recipe, "--stage", "prepare"]
    undivided = synthkit_cli(*arguments, "--run-dir", whole, SYNTHKIT_CACHE=str(tmp_path / "one"))
    assert undivided.returncode == 0, undivided.stderr

    environment = {**os.environ, "SYNTHKIT_CACHE": str(tmp_path / "three")}
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "synthkit", *map(str, arguments), "--run-dir", str(parts), "--shard", f"{number}/3"],
            cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for number in (1, 2, 3)
    ]  # fmt: skip
    for process in running:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    done = Done.read_all(parts / "shards")
    assert [str(one.shard) for one in done] == ["1/3", "2/3", "3/3"]
    assert (sum(one.clips for one in done), sum(one.decoded for one in done)) == (42, 41)  # two clips are equal
    left_out = Counter(report.code for one in done for report in one.left_out.values())
    assert left_out == {"unreadable": 2, "too-short": 1}
    assert not (parts / "data.json").exists()

    merged = synthkit_cli("data", "merge", recipe, "--run-dir", parts, SYNTHKIT_CACHE=str(tmp_path / "three"))
    assert merged.returncode == 0, merged.stderr
    assert "3 shards are together" in merged.stdout
    assert entries(tmp_path / "three") == entries(tmp_path / "one")
    assert len(entries(tmp_path / "one")) == 39
    assert listed(parts) == listed(whole)
    assert (parts / "quarantine.json").read_bytes() == (whole / "quarantine.json").read_bytes()


class TestMerge:
    def test_names_what_is_missing_and_what_is_out_of_date(
        self, synthkit_cli: Cli, recipe: Path, tmp_path: Path
    ) -> None:
        run = ["run", recipe, "--stage", "prepare", "--shard"]
        nothing = synthkit_cli("data", "merge", recipe)
        assert (nothing.returncode, "no shard has been prepared" in nothing.stdout) == (1, True), nothing
        assert synthkit_cli(*run, "3/3").returncode == 0
        missing = synthkit_cli("data", "merge", recipe)
        assert missing.returncode == 1
        assert missing.stdout == "not prepared yet: shards 1/3, 2/3\n"
        assert not (tmp_path / "runs/small/data.json").exists()
        for shard in ("1/3", "2/3"):
            assert synthkit_cli(*run, shard).returncode == 0

        samples = np.random.default_rng(0).uniform(-0.5, 0.5, 4000)
        Audio(samples, RATE).write(tmp_path / "music/new.wav")
        changed = synthkit_cli("data", "merge", recipe)
        assert changed.returncode == 1
        assert changed.stdout.startswith(
            "prepared from other files or with other settings, and to be run again: shard "
        )
        shard = changed.stdout.split()[-1]
        again = synthkit_cli(*run, shard)
        assert ", 1 decoded," in again.stderr
        assert synthkit_cli("data", "merge", recipe).returncode == 0

    def test_shards_that_have_another_cache_are_noticed(self, synthkit_cli: Cli, recipe: Path, tmp_path: Path) -> None:
        done = synthkit_cli("run", recipe, "--stage", "prepare", "--shard", "1/1", SYNTHKIT_CACHE=str(tmp_path / "far"))
        assert done.returncode == 0
        merged = synthkit_cli("data", "merge", recipe)
        assert merged.returncode == 2
        assert "39 clips of the shards 1/1 are not in the cache folder" in merged.stderr
        assert len(merged.stderr.splitlines()) == 1

    def test_is_not_needed_by_a_run_which_decodes_what_is_missing(
        self, synthkit_cli: Cli, recipe: Path, tmp_path: Path
    ) -> None:
        assert synthkit_cli("run", recipe, "--stage", "prepare", "--shard", "2/3").returncode == 0
        there = entries(tmp_path / "cache")
        assert 0 < len(there) < 39
        done = synthkit_cli("run", recipe, "--stage", "prepare")
        assert done.returncode == 0, done.stderr
        assert len(entries(tmp_path / "cache")) == 39
        assert len(json.loads((tmp_path / "runs/small/data.json").read_text())["clips"]) == 39


def test_a_repeated_shard_does_nothing(synthkit_cli: Cli, recipe: Path, tmp_path: Path) -> None:
    """Neither is a clip decoded that is there, nor one that was tried in vain."""
    file = tmp_path / "marking.py"
    file.write_text(
        "from pathlib import Path\n"
        "from synthkit.builtin.config import FolderConfig\n"
        "from synthkit.builtin.folder import Folder\n"
        "from synthkit.hookspecs import hookimpl\n"
        "from synthkit.interfaces import Offer\n"
        "class Marking(Folder):\n"
        '    """Leaves a mark for each clip that is opened."""\n'
        "    def stream(self, clip):\n"
        f"        Path({str(tmp_path)!r}, 'marks', clip.id).touch()\n"
        "        return super().stream(clip)\n"
        "@hookimpl\n"
        "def synthkit_components():\n"
        "    return [Offer(kind='dataset', name='marking', build=f'{__name__}:Marking',\n"
        "                  config='synthkit.builtin.config:FolderConfig', summary='Marks.')]\n",
        encoding="utf-8",
    )
    (tmp_path / "marks").mkdir()
    arguments = ["--plugin", file, "run", recipe, "--set", "data={use: marking, root: music}", "--stage", "prepare"]
    first = synthkit_cli(*arguments, "--shard", "1/1")
    assert "42 clips, 41 decoded, 3 cannot be used" in first.stderr, first.stderr
    assert len(list((tmp_path / "marks").iterdir())) == 41
    result = (tmp_path / "runs/small/shards/1-of-1.json").read_bytes()
    for mark in (tmp_path / "marks").iterdir():
        mark.unlink()
    again = synthkit_cli(*arguments, "--shard", "1/1")
    assert "shard 1/1: nothing it depends on has changed, skipped" in again.stderr
    assert (tmp_path / "runs/small/shards/1-of-1.json").read_bytes() == result
    whole = synthkit_cli(*arguments)
    assert whole.returncode == 0, whole.stderr
    assert list((tmp_path / "marks").iterdir()) == []


def test_a_running_shard_does_not_lock_the_run(synthkit_cli: Cli, recipe: Path, tmp_path: Path) -> None:
    from filelock import FileLock

    (tmp_path / "runs/small").mkdir(parents=True)
    with FileLock(tmp_path / "runs/small/.lock"):
        assert synthkit_cli("run", recipe, "--stage", "prepare", "--shard", "1/2").returncode == 0


def test_other_stages_have_no_shards(synthkit_cli: Cli, recipe: Path) -> None:
    done = synthkit_cli("run", recipe, "--shard", "1/2")
    assert (done.returncode, "it goes with --stage prepare" in done.stderr) == (2, True)
