"""Verification: what decoding decides, and that a stopped one goes on without decoding anything twice."""

from __future__ import annotations

import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from synthkit._catalog import Catalog
from synthkit._data import verify as verifying
from synthkit._data.pool import Source
from synthkit._data.verify import Verification
from synthkit.audio import Audio, check_stream, stream
from synthkit.errors import ClipReport, DatasetError
from synthkit.interfaces import Clip


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SYNTHKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def noise(seconds: float, rate: int = 8000, channels: int = 1) -> np.ndarray:
    values: np.ndarray = np.random.default_rng(1).uniform(-0.5, 0.5, (round(seconds * rate), channels))
    return values.astype(np.float32)


def report(path: Path, expected: tuple[float, float] | None = None) -> ClipReport:
    return check_stream(path.name, lambda: stream(path), expected)


class TestWhatDecodingShows:
    def test_numbers(self, tmp_path: Path) -> None:
        samples = noise(1.5, channels=2)
        soundfile.write(tmp_path / "a.wav", samples, 8000, subtype="FLOAT")
        found = report(tmp_path / "a.wav")
        assert (found.code, found.seconds, found.sample_rate, found.channels) == ("ok", 1.5, 8000, 2)
        assert found.peak == np.abs(samples).max()
        assert found.rms == pytest.approx(np.sqrt((samples.astype(np.float64) ** 2).mean()), rel=1e-6)

    @pytest.mark.parametrize(
        ("expected", "code", "says"),
        [
            ((1.0, 2.0), "ok", ""),
            ((1.5, 1.5), "ok", ""),
            ((2.0, 3.0), "too-short", "it lasts 1.50 s, and should last at least 2 s"),
            ((0.5, 1.0), "too-long", "it lasts 1.50 s, and should last at most 1 s"),
            ((1.0, math.inf), "ok", ""),
        ],
    )
    def test_lengths(self, tmp_path: Path, expected: tuple[float, float], code: str, says: str) -> None:
        soundfile.write(tmp_path / "a.wav", noise(1.5), 8000)
        found = report(tmp_path / "a.wav", expected)
        assert (found.code, found.reason, found.seconds) == (code, says, 1.5)

    def test_samples_that_are_no_sound(self, tmp_path: Path) -> None:
        bad = noise(1.0)
        bad[4000] = np.nan
        soundfile.write(tmp_path / "nan.wav", bad, 8000, subtype="FLOAT")
        soundfile.write(tmp_path / "zero.wav", np.zeros(8000), 8000)
        soundfile.write(tmp_path / "integers.wav", noise(1.0) * 32768, 8000, subtype="FLOAT")
        soundfile.write(tmp_path / "warm.wav", noise(1.0) * 2.2, 8000, subtype="FLOAT")
        soundfile.write(tmp_path / "none.wav", np.zeros(0), 8000)
        found = [report(tmp_path / f"{name}.wav") for name in ("nan", "zero", "integers", "warm", "none")]
        assert [one.code for one in found] == ["not-finite", "silent", "too-loud", "ok", "empty"]
        assert "full scale is 1" in found[2].reason
        assert found[3].peak == pytest.approx(1.1, abs=0.01)  # what a lossy decoder gives is no fault

    def test_a_truncated_file_is_named_so_and_not_too_short(self, tmp_path: Path) -> None:
        soundfile.write(tmp_path / "a.wav", noise(1.5), 8000)
        data = (tmp_path / "a.wav").read_bytes()
        (tmp_path / "a.wav").write_bytes(data[: len(data) // 2])
        assert report(tmp_path / "a.wav", (1.0, 2.0)).code == "truncated"

    def test_memory_does_not_grow_with_the_clip(self, tmp_path: Path) -> None:
        import tracemalloc

        peaks = []
        for minutes in (1, 20):
            Audio(np.resize(noise(1.0)[:, 0], 8000 * 60 * minutes), 8000).write(tmp_path / "a.wav")
            tracemalloc.start()
            assert report(tmp_path / "a.wav").seconds == 60 * minutes
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        assert peaks[1] < 1.1 * peaks[0]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number in range(24):
        samples = noise(0.2 + number / 100)
        (tmp_path / "music").mkdir(exist_ok=True)
        soundfile.write(tmp_path / f"music/{number:02}.wav", samples, 8000)
    (tmp_path / "music/05.wav").write_bytes(b"RIFF nonsense")
    return tmp_path / "music"


def source(root: Path) -> Source:
    catalog = Catalog.discover()
    offered, config = catalog.configure("dataset", "folder", {"root": str(root)})
    return Source(catalog=catalog, offered=offered, config=config)


def begin(root: Path) -> Verification:
    made = source(root)
    return Verification(made, made.build())


class Stop(Exception):
    pass


def stop_after(count: int, seen: list[int]) -> object:
    def progress(done: int, total: int) -> None:
        seen.append(done)
        assert total == 24
        if done == count:
            raise Stop

    return progress


class TestResuming:
    def test_nothing_is_decoded_twice(self, root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        straight = begin(root).run(workers=1)
        assert [one.code for one in straight].count("ok") == 23
        seen: list[int] = []
        for stop in (3, 11, 18):
            verification = begin(root)
            assert verification.known == len(seen)
            with pytest.raises(Stop):
                verification.run(workers=1, progress=stop_after(stop, seen))  # type: ignore[arg-type]
        asked: list[Sequence[Clip]] = []
        decode = verifying.decode
        monkeypatch.setattr(
            verifying, "decode", lambda source, dataset, clips, *more, **named: (
                asked.append(clips), decode(source, dataset, clips, *more, **named))[1],
        )  # fmt: skip
        assert begin(root).run(workers=2) == straight
        assert [len(clips) for clips in asked] == [24 - 18]
        assert seen == list(range(1, 19))
        assert list((cache / "verify").iterdir()) == []

    def test_a_file_that_changed_in_between_is_decoded_again(self, root: Path) -> None:
        with pytest.raises(Stop):
            begin(root).run(workers=1, progress=stop_after(20, []))  # type: ignore[arg-type]
        soundfile.write(root / "05.wav", noise(1.0), 8000)
        (root / "07.wav").unlink()
        verification = begin(root)
        assert verification.known == 18
        found = {one.id: one for one in verification.run(workers=1)}
        assert found["05.wav"].code == "ok"
        assert "07.wav" not in found

    def test_other_settings_and_a_fresh_start_know_nothing(self, root: Path) -> None:
        with pytest.raises(Stop):
            begin(root).run(workers=1, progress=stop_after(10, []))  # type: ignore[arg-type]
        made = source(root)
        other = Source(
            catalog=made.catalog, offered=made.offered, config=made.config.model_copy(update={"licence": "CC0"})
        )
        assert Verification(other, other.build()).known == 0
        verification = begin(root)
        assert verification.known == 10
        verification.forget()
        assert begin(root).known == 0

    def test_a_journal_that_was_cut_or_damaged_only_costs_time(self, root: Path, cache: Path) -> None:
        with pytest.raises(Stop):
            begin(root).run(workers=1, progress=stop_after(10, []))  # type: ignore[arg-type]
        (journal,) = (cache / "verify").iterdir()
        whole = journal.read_bytes()
        lines = whole.count(b"\n")
        assert lines == 10
        for cut in (len(whole) - 1, len(whole) - 40):
            journal.write_bytes(whole[:cut])
            assert begin(root).known == 9
        journal.write_bytes(b"\xff\0 nonsense\n[1]\n{}\n" + whole)
        assert begin(root).known == 10
        journal.write_bytes(whole[:-40])
        with pytest.raises(Stop):
            begin(root).run(workers=1, progress=stop_after(12, []))  # type: ignore[arg-type]
        assert begin(root).known == 12

    def test_a_cache_that_cannot_be_written_is_said(self, root: Path, cache: Path) -> None:
        cache.mkdir()
        (cache / "verify").write_bytes(b"")
        with pytest.raises(DatasetError, match=r"cannot write .*verify"):
            begin(root).run(workers=1)

    def test_killed_at_random_moments(self, root: Path, tmp_path: Path, cache: Path) -> None:
        """The whole command, with its children, again and again; in the end it says what an undisturbed one says."""
        for clip in set(range(24)) - {5}:  # enough sound for something to be interrupted
            soundfile.write(root / f"{clip:02}.wav", np.resize(noise(1.0), (48000 * 15, 2)), 48000)

        def verify(*options: str) -> subprocess.Popen[str]:
            command = [sys.executable, "-m", "synthkit", "data", "verify", str(root), "--workers", "2", *options]
            return subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
            )

        def known() -> int:
            return sum(path.read_bytes().count(b"\n") for path in (cache / "verify").glob("*"))

        result, dice, before = tmp_path / "result.json", random.Random(3), []
        for _ in range(4):
            before.append(known())
            wanted = before[-1] + dice.randrange(1, 4)
            process = verify("--json", str(result))
            while known() < wanted:
                assert process.poll() is None
                time.sleep(0.002)
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        assert before == sorted(before)
        assert not result.exists()
        left = known()
        process = verify("--json", str(result))
        _, said = process.communicate()
        assert (process.returncode, said) == (1, f"verify goes on: {left} clips were decoded before it was stopped\n")
        resumed = json.loads(result.read_text())
        process = verify("--json", str(result), "--fresh")
        assert process.communicate() == (None, "")
        assert json.loads(result.read_text()) == resumed
        assert resumed["codes"] == {"ok": 23, "unreadable": 1}
