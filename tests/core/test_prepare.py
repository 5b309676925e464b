"""Preparing: every clip is used or named, what is known is not decoded again, and no clip, crash or Ctrl-C ends in a mess."""

from __future__ import annotations

import csv
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from synthkit._catalog import Catalog
from synthkit._data import Prepared
from synthkit._data.cache import entry_file, lookup, unfinished
from synthkit._data.pool import Source, Spread, work_here, work_on
from synthkit._data.prepare import check, prepare, write_quarantine
from synthkit._recipe.load import load_text
from synthkit._run.folder import RunFolder
from synthkit._run.reporter import Reporter
from synthkit._stages.prepare import prepare as prepare_stage
from synthkit.audio import Audio, encode_wav
from synthkit.errors import DatasetError

RATE = 8000

PLUGIN = '''
"""A data set of short tones whose clips can be told to misbehave: their number is in `bad`."""
import os
import numpy as np
from synthkit.audio import Audio
from synthkit.config import Config
from synthkit.errors import UnreadableClip
from synthkit.hookspecs import hookimpl
from synthkit.interfaces import Clip, Dataset, Offer

class TrickyConfig(Config):
    count: int = 12
    bad: dict[int, str] = {}
    marks: str = ""

class Tricky(Dataset):
    def __init__(self, config):
        self.config = config
    def clips(self, split=None):
        numbers = range(self.config.count) if split in (None, "train") else ()
        return [Clip(id=f"clip {n}", key=f"tricky {n} {self.config.bad.get(n)}") for n in numbers]
    def open(self, clip):
        number = int(clip.id.split()[1])
        bad = self.config.bad.get(number)
        if self.config.marks:
            with open(os.path.join(self.config.marks, f"{os.getpid()}"), "a") as stream:
                stream.write(f"{number}\\n")
        if bad == "crash":
            os.abort()
        if bad == "bug":
            raise ZeroDivisionError("a mistake in the plugin")
        if bad == "unreadable":
            raise UnreadableClip(clip.id, "unreadable", "it is told to be")
        if bad == "wait":
            open(os.path.join(self.config.marks, "pipe")).read()
        samples = np.sin(np.arange(4000) * (0.01 + 0.001 * number))
        if bad == "nan":
            samples[7] = np.nan
        if bad == "none":
            samples = samples[:0]
        return Audio(samples, 8000)

@hookimpl
def synthkit_components():
    return [Offer(kind="dataset", name="tricky", build=f"{__name__}:Tricky", config=f"{__name__}:TrickyConfig", summary="Misbehaves.")]
'''


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SYNTHKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    file = tmp_path / "tricky_plugin.py"
    file.write_text(PLUGIN)
    return file


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "music"
    folder.mkdir()
    return folder


def write_tone(path: Path, frequency: float, seconds: float = 0.5) -> None:
    Audio(0.5 * np.sin(np.arange(round(RATE * seconds)) / RATE * 2 * np.pi * frequency), RATE).write(path)


def source(name: str, files: Sequence[Path] = (), **settings: object) -> Source:
    catalog = Catalog.discover(files)
    offered, config = catalog.configure("dataset", name, settings)
    return Source(catalog=catalog, offered=offered, config=config)


def prepared(of: Source, *, rate: int = RATE, min_seconds: float = 0.05, workers: int = 1) -> tuple[Prepared, int]:
    """The prepared data, and how many clips were decoded for it; by one worker in this process."""
    spread: Spread = work_here if workers == 1 else work_on
    told: list[tuple[int, int]] = []
    made = prepare(
        of,
        of.build(),
        rate,
        min_seconds=min_seconds,
        workers=workers,
        progress=lambda done, total: told.append((done, total)),
        spread=spread,
    )
    assert [done for done, _ in told] == list(range(1, len(told) + 1))
    assert {total for _, total in told} <= {len(told)}
    return made, len(told)


def left_out(made: Prepared) -> dict[str, str]:
    return {report.id: report.code for report in made.unreadable}


class TestIncremental:
    def test_only_what_is_new_is_decoded(self, root: Path) -> None:
        for number in range(6):
            write_tone(root / f"{number}.wav", 300 + number)
        assert prepared(source("folder", root=root))[1] == 6
        assert prepared(source("folder", root=root))[1] == 0
        for number in range(6, 9):
            write_tone(root / f"{number}.wav", 300 + number)
        made, decoded = prepared(source("folder", root=root))
        assert (decoded, len(made.entries())) == (3, 9)
        assert prepared(source("folder", root=root), rate=16000)[1] == 9  # another rate is another entry

    def test_ten_more_than_a_thousand_are_ten_to_decode(self, root: Path) -> None:
        for number in range(1010):
            (root / f"{number}.wav").write_bytes(encode_wav(Audio(np.full(800, number / 1010), RATE)))
        later = [(root / f"{number}.wav").rename(root.parent / f"{number}") for number in range(0, 1000, 100)]
        assert prepared(source("folder", root=root))[1] == 1000
        for path in later:
            path.rename(root / f"{path.name}.wav")
        made, decoded = prepared(source("folder", root=root))
        assert (decoded, len(made.entries())) == (10, 1010)

    def test_copies_are_decoded_once_and_listed_each(self, root: Path) -> None:
        write_tone(root / "a.wav", 300)
        for name in ("b.wav", "c.wav"):
            shutil.copy(root / "a.wav", root / name)
        made, decoded = prepared(source("folder", root=root))
        assert decoded == 1
        assert [entry.id for entry in made.entries()] == ["a.wav", "b.wav", "c.wav"]
        assert len({entry.file for entry in made.entries()}) == 1

    def test_a_lost_or_damaged_entry_is_made_again(self, root: Path, cache: Path) -> None:
        for number in range(3):
            write_tone(root / f"{number}.wav", 300 + number)
        made, _ = prepared(source("folder", root=root))
        whole = {entry.file: (cache / entry.file).read_bytes() for entry in made.entries()}
        first, second, _ = whole
        (cache / first).unlink()
        (cache / second).write_bytes(whole[second][:-5])
        assert prepared(source("folder", root=root))[1] == 2
        assert {file: (cache / file).read_bytes() for file in whole} == whole

    def test_a_file_that_changed_is_decoded_again(self, root: Path) -> None:
        write_tone(root / "a.wav", 300)
        write_tone(root / "b.wav", 400)
        before, _ = prepared(source("folder", root=root))
        write_tone(root / "b.wav", 500)
        after, decoded = prepared(source("folder", root=root))
        assert decoded == 1
        files = [{entry.id: entry.file for entry in made.entries()} for made in (before, after)]
        assert files[0]["a.wav"] == files[1]["a.wav"]
        assert files[0]["b.wav"] != files[1]["b.wav"]


class TestProcesses:
    def test_several_give_the_same_entries_as_one(
        self, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for number in range(8):
            write_tone(root / f"{number}.wav", 300 + number)
        (root / "bad.wav").write_bytes(b"nothing")
        alone, _ = prepared(source("folder", root=root), workers=1)
        monkeypatch.setenv("SYNTHKIT_CACHE", str(tmp_path / "other"))
        together, decoded = prepared(source("folder", root=root), workers=2)
        assert decoded == 9
        assert together.entries() == alone.entries()
        assert together.unreadable == alone.unreadable
        for entry in alone.entries():
            assert (tmp_path / "cache" / entry.file).read_bytes() == (tmp_path / "other" / entry.file).read_bytes()

    def test_plugin_files_are_known_there(self, plugin: Path, tmp_path: Path) -> None:
        (tmp_path / "marks").mkdir()
        made, _ = prepared(source("tricky", [plugin], marks=str(tmp_path / "marks")), workers=2)
        assert len(made.entries()) == 12
        workers = {int(file.name) for file in (tmp_path / "marks").iterdir()}
        assert workers
        assert os.getpid() not in workers

    def test_a_clip_that_takes_its_process_down_is_named_and_the_others_are_kept(self, plugin: Path) -> None:
        made, decoded = prepared(source("tricky", [plugin], bad={3: "crash", 4: "unreadable", 9: "crash"}), workers=2)
        assert left_out(made) == {"clip 3": "crashed", "clip 4": "unreadable", "clip 9": "crashed"}
        assert (decoded, len(made.entries())) == (12, 9)
        assert "died" in made.unreadable[0].reason

    def test_a_mistake_in_a_plugin_is_no_clip_s_fault(self, plugin: Path) -> None:
        for workers in (1, 2):
            with pytest.raises(ZeroDivisionError, match="a mistake in the plugin"):
                prepared(source("tricky", [plugin], bad={5: "bug"}), workers=workers)

    def test_files_are_decoded_apart_even_if_few(self, root: Path) -> None:
        write_tone(root / "a.wav", 300)
        program = f"""
import sys
from synthkit._catalog import Catalog
from synthkit._data.pool import Source
from synthkit._data.prepare import prepare
catalog = Catalog.discover()
offered, config = catalog.configure("dataset", "folder", {{"root": {str(root)!r}}})
source = Source(catalog=catalog, offered=offered, config=config)
print(len(prepare(source, source.build(), 8000).entries()), "soxr" in sys.modules or "torch" in sys.modules)
"""
        # without `if __name__ == "__main__"`, which a process that imports its parent's script would need
        run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
        assert run.stdout.split() == ["1", "False"]
        script = root.parent / "script.py"
        script.write_text(program.replace("8000", "16000"))
        run = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120, check=True)
        assert run.stdout.split() == ["1", "False"]


WAITING = """
import sys
from pathlib import Path
from synthkit._catalog import Catalog
from synthkit._data.pool import Source
from synthkit._data.prepare import prepare
catalog = Catalog.discover([Path(sys.argv[1])])
settings = {"count": 40, "bad": {20: "wait"}, "marks": sys.argv[2]}
offered, config = catalog.configure("dataset", "tricky", settings)
source = Source(catalog=catalog, offered=offered, config=config)
try:
    prepare(source, source.build(), 8000, workers=2, progress=lambda done, total: print(done, flush=True))
except KeyboardInterrupt:
    print("stopped", flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
class TestStopped:
    """A process that hangs in clip 20, reading a pipe, until the test ends it."""

    def begin(self, plugin: Path, marks: Path) -> subprocess.Popen[str]:
        marks.mkdir()
        os.mkfifo(marks / "pipe")
        running = subprocess.Popen(
            [sys.executable, "-c", WAITING, str(plugin), str(marks)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert running.stdout is not None
        while int(running.stdout.readline()) < 20:
            pass
        return running

    def check_cache(self, cache: Path) -> None:
        """Every entry is whole. (What a killed process has not finished writing bears another name.)"""
        files = list((cache / "sound-1").rglob("*.npy"))
        known = {
            entry_file(f"tricky {number} {'wait' if number == 20 else None}", RATE): number for number in range(40)
        }
        assert len(files) >= 20
        for file in files:
            number = known[file.relative_to(cache).as_posix()]
            assert lookup(f"tricky {number} {'wait' if number == 20 else None}", RATE) is not None

    def test_ctrl_c_leaves_whole_entries_and_says_nothing_ugly(self, plugin: Path, tmp_path: Path, cache: Path) -> None:
        running = self.begin(plugin, tmp_path / "marks")
        os.killpg(running.pid, signal.SIGINT)  # as a terminal does: to the workers too, one of which hangs
        out, err = running.communicate(timeout=60)
        assert running.returncode == 0
        assert out.splitlines()[-1] == "stopped"
        assert err == ""
        self.check_cache(cache)
        assert not list(unfinished().iterdir())

    @pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs Linux")
    def test_no_process_outlives_a_killed_parent(self, plugin: Path, tmp_path: Path, cache: Path) -> None:
        running = self.begin(plugin, tmp_path / "marks")
        workers = [os.pidfd_open(int(file.name)) for file in (tmp_path / "marks").iterdir() if file.name.isdecimal()]
        running.kill()
        running.communicate(timeout=60)
        assert workers
        for worker in workers:
            ended, _, _ = select.select([worker], [], [], 30)
            assert ended
            os.close(worker)
        self.check_cache(cache)


class TestLeftOut:
    def test_each_with_its_reason(self, plugin: Path, root: Path) -> None:
        made, _ = prepared(source("tricky", [plugin], bad={0: "nan", 1: "none", 2: "unreadable"}))
        assert left_out(made) == {"clip 0": "not-finite", "clip 1": "empty", "clip 2": "unreadable"}
        write_tone(root / "a.wav", 300)
        write_tone(root / "short.wav", 300, seconds=0.02)
        Audio(np.zeros(4000), RATE).write(root / "silent.wav")
        (root / "empty.wav").touch()
        (root / "x.m4a").write_bytes(b"x")
        (root / "y.bogus").write_bytes(b"y")
        made, _ = prepared(source("folder", root=root))
        assert left_out(made) == {
            "short.wav": "too-short",
            "empty.wav": "empty",
            "x.m4a": "unsupported",
            "y.bogus": "not-audio",
        }
        assert sorted(entry.id for entry in made.entries()) == ["a.wav", "silent.wav"]
        assert [(report.id, report.code) for report in made.remarks] == [("silent.wav", "silent")]
        short = next(report for report in made.unreadable if report.id == "short.wav")
        assert (short.seconds, short.sample_rate, short.channels) == (0.02, RATE, 1)
        assert "0.02 s" in short.reason

    def test_the_shortest_length_holds_for_what_is_in_the_cache_too(self, root: Path) -> None:
        write_tone(root / "a.wav", 300, seconds=0.5)
        write_tone(root / "b.wav", 300, seconds=0.3)
        of = source("folder", root=root)
        assert left_out(prepared(of, min_seconds=0.1)[0]) == {}
        assert left_out(prepared(of, min_seconds=0.4)[0]) == {"b.wav": "too-short"}
        assert left_out(prepared(of, min_seconds=0.1)[0]) == {}

    def test_too_many_are_an_error_that_names_some_and_says_what_to_set(self, plugin: Path, tmp_path: Path) -> None:
        made, _ = prepared(source("tricky", [plugin], bad=dict.fromkeys(range(7), "unreadable")))
        check(made, 0.59, tmp_path / "list.json")
        with pytest.raises(DatasetError) as caught:
            check(made, 0.5, tmp_path / "list.json")
        text = str(caught.value)
        assert text.startswith(
            "7 of 12 clips of 'tricky' cannot be used, more than prepare.max_unreadable: 0.5 allows:"
        )
        assert "clip 0: it is told to be" in text
        assert "and 2 more" in text
        assert str(tmp_path / "list.json") in text
        assert text.endswith("prepare.max_unreadable: 0.59")

    def test_files_that_were_never_sound_do_not_count(self, root: Path, tmp_path: Path) -> None:
        write_tone(root / "a.wav", 300)
        for number in range(9):
            (root / f"{number}.bogus").write_bytes(b"x")
        check(prepared(source("folder", root=root))[0], 0.0, tmp_path / "list.json")
        (root / "x.m4a").write_bytes(b"x")
        with pytest.raises(DatasetError, match=r"1 of 2 clips"):
            check(prepared(source("folder", root=root))[0], 0.0, tmp_path / "list.json")

    def test_nothing_to_train_on_is_an_error_whatever_the_limit(self, plugin: Path, tmp_path: Path) -> None:
        made, _ = prepared(source("tricky", [plugin], count=2, bad={0: "none", 1: "nan"}))
        with pytest.raises(DatasetError, match="no clip of the train split of 'tricky' can be used"):
            check(made, 1.0, tmp_path / "list.json")

    def test_the_list_can_be_read_by_a_program(self, plugin: Path, tmp_path: Path) -> None:
        made, _ = prepared(source("tricky", [plugin], bad={2: "unreadable"}))
        write_quarantine(made, tmp_path / "list.json")
        content = json.loads((tmp_path / "list.json").read_text())
        assert [(row["id"], row["code"]) for row in content["left_out"]] == [("clip 2", "unreadable")]


class Listening(Reporter):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    warn = say


RECIPE = """
recipe: 1
name: prepared
data: {use: folder, root: %s}
features: {use: log-mel, preset: melgan}
vocoder: griffin-lim
prepare: {workers: %d, max_unreadable: %g}
"""


class TestStage:
    def run(self, root: Path, tmp_path: Path, max_unreadable: float, workers: int = 1) -> tuple[RunFolder, list[str]]:
        catalog = Catalog.discover()
        recipe = load_text(RECIPE % (root, workers, max_unreadable), tmp_path / "recipe.yaml", catalog)
        run, listening = RunFolder(tmp_path / "run"), Listening()
        run.path.mkdir(exist_ok=True)
        prepare_stage(recipe, run, catalog, listening)
        return run, listening.said

    def test_writes_what_there_is_and_says_it_in_a_sentence(self, root: Path, tmp_path: Path) -> None:
        for number in range(10):
            write_tone(root / f"{number}.wav", 300 + number, seconds=1.0)
        run, said = self.run(root, tmp_path, 0.0)
        made = Prepared.open(run.data_file)
        assert (len(made.entries()), made.sample_rate, made.dataset["name"]) == (10, 22050, "folder")
        assert made.seconds() == pytest.approx(10.0)
        assert len(said) == 1
        assert said[0].startswith("prepare: 10 clips, train ")
        assert said[0].endswith(" at 22050 Hz")

    def test_says_how_many_are_left_out_and_where_the_list_is(self, root: Path, tmp_path: Path) -> None:
        write_tone(root / "a.wav", 300)
        Audio(np.zeros(4000), RATE).write(root / "silent.wav")
        (root / "bad.wav").write_bytes(b"nothing")
        run, said = self.run(root, tmp_path, 0.5)
        assert said[0].startswith("prepare: 2 clips (1 silent), train ")
        assert "1 file is left out" in said[0]
        assert str(run.path / "quarantine.json") in said[0]

    def test_too_many_left_out_still_leave_the_list(self, root: Path, tmp_path: Path) -> None:
        write_tone(root / "a.wav", 300)
        (root / "bad.wav").write_bytes(b"nothing")
        with pytest.raises(DatasetError, match="1 of 2 clips"):
            self.run(root, tmp_path, 0.1)
        assert not (tmp_path / "run/data.json").exists()
        assert [row["id"] for row in json.loads((tmp_path / "run/quarantine.json").read_text())["left_out"]] == [
            "bad.wav"
        ]


@pytest.mark.data
def test_the_odd_files_go_through_and_no_good_one_is_lost(shared: Path) -> None:
    """Against the manifest: what decodes and is long enough is prepared; each other file is named with a reason."""
    with (shared / "audio/odd/manifest.csv").open(encoding="utf-8", newline="") as stream:
        rows = {row["file"]: row for row in csv.DictReader(stream)}
    made, _ = prepared(source("folder", root=shared / "audio/odd"), rate=22050, workers=2)
    used = {entry.id: entry for entry in made.entries()}
    named = left_out(made)
    lengths = {
        file: int(row["read_frames"]) / int(row["rate"]) for file, row in rows.items() if row["soundfile_ok"] == "yes"
    }
    good = {file for file, seconds in lengths.items() if seconds >= 0.05}
    assert len(good) >= 55
    assert good <= set(used)
    for file in good:
        assert used[file].frames == pytest.approx(lengths[file] * 22050, abs=1)
        assert used[file].peak > 0 or float(rows[file]["peak"]) == 0
    assert set(rows) - set(used) - set(named) == {"macos_junk/.DS_Store"}
    assert not set(used) & set(named)
    assert all(report.reason for report in made.unreadable)
    for file, row in rows.items():
        if row["soundfile_ok"] == "opens, 0 frames" or row["bytes"] == "0":
            assert named[file] == "empty", file
        elif row["soundfile_ok"] == "yes" and lengths[file] < 0.05:
            assert named[file] == "too-short", file
