"""Clips that crash, hang, devour memory, change or vanish: each is named, and all others are prepared. Real processes."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from synthkit._catalog import Catalog
from synthkit._data import Prepared
from synthkit._data.cache import lookup
from synthkit._data.pool import Source, work_here
from synthkit._data.prepare import prepare, write_quarantine
from synthkit.audio import Audio
from synthkit.errors import DatasetError, PluginError
from synthkit.interfaces import Clip, Dataset
from synthkit.storage import stamp

RATE = 8000

PLUGIN = '''
"""A data set of short tones, some of which do to the process that opens them what `bad` says."""
import ctypes
import multiprocessing
import os
import signal
import time
import numpy as np
from synthkit.audio import Audio
from synthkit.config import Config
from synthkit.hookspecs import hookimpl
from synthkit.interfaces import Clip, Dataset, Offer

class HostileConfig(Config):
    count: int = 24
    bad: dict[int, str] = {}
    dead: bool = False

class Strange(Exception):
    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")

def devour():
    eaten = []
    while True:
        eaten.append(bytes(2**26))

BAD = {
    "segfault": lambda: ctypes.string_at(0),
    "abort": os.abort,
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "exit": lambda: os._exit(3),
    "sleep": lambda: time.sleep(3600),
    "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "loop": lambda: [None for _ in iter(int, 1)],
    "memory": devour,
    "huge": lambda: np.ones(2**45),
}

class Hostile(Dataset):
    def __init__(self, config):
        self.config = config
        if config.dead and multiprocessing.parent_process():
            os._exit(9)
    def clips(self, split=None):
        numbers = range(self.config.count) if split in (None, "train") else ()
        return [Clip(id=f"clip {n}", key=f"hostile {n}") for n in numbers]
    def open(self, clip):
        number = int(clip.id.split()[1])
        bad = self.config.bad.get(number)
        if bad == "strange":
            raise Strange("this", lambda: "that")
        if bad:
            BAD[bad]()
        return Audio(np.sin(np.arange(4000) * (0.01 + 0.001 * number)), 8000)

@hookimpl
def synthkit_components():
    return [Offer(kind="dataset", name="hostile", build=f"{__name__}:Hostile", config=f"{__name__}:HostileConfig", summary="Bites.")]
'''


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SYNTHKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    file = tmp_path / "hostile_plugin.py"
    file.write_text(PLUGIN)
    return file


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "music"
    folder.mkdir()
    for number in range(4):
        write_tone(folder / f"{number}.wav", 300 + number)
    return folder


def write_tone(path: Path, frequency: float) -> None:
    Audio(0.5 * np.sin(np.arange(RATE // 2) / RATE * 2 * np.pi * frequency), RATE).write(path)


def source(name: str, *files: Path, **settings: object) -> Source:
    catalog = Catalog.discover(files)
    offered, config = catalog.configure("dataset", name, settings)
    return Source(catalog=catalog, offered=offered, config=config)


def codes(made: Prepared) -> dict[str, str]:
    return {report.id: report.code for report in made.unreadable}


def test_what_kills_a_process_costs_its_clip_and_no_other(plugin: Path) -> None:
    bad = {2: "segfault", 3: "abort", 9: "kill", 14: "exit", 23: "segfault"}
    of = source("hostile", plugin, bad=bad)
    made = prepare(of, of.build(), RATE, workers=2)
    assert codes(made) == {f"clip {number}": "crashed" for number in bad}
    assert len(made.entries()) == 19
    reasons = {report.id: report.reason for report in made.unreadable}
    assert reasons["clip 2"] == "the process that decoded it died of it (Segmentation fault)"
    assert reasons["clip 3"] == "the process that decoded it died of it (Aborted)"
    assert "was killed, as the system does with one that takes too much memory" in reasons["clip 9"]
    assert "ended by itself (exit code 3)" in reasons["clip 14"]


def test_one_process_alone_is_as_safe(plugin: Path) -> None:
    of = source("hostile", plugin, count=4, bad={0: "segfault", 3: "sleep"})
    made = prepare(of, of.build(), RATE, workers=1, decode_seconds=0.5)
    assert codes(made) == {"clip 0": "crashed", "clip 3": "timed-out"}


def test_what_hangs_is_ended_at_the_limit(plugin: Path) -> None:
    bad = {0: "sleep", 5: "loop", 11: "stop"}
    of = source("hostile", plugin, bad=bad)
    made = prepare(of, of.build(), RATE, workers=2, decode_seconds=0.5)
    assert codes(made) == {f"clip {number}": "timed-out" for number in bad}
    assert len(made.entries()) == 21
    assert made.unreadable[0].reason == "decoding it took longer than 0.5 s (prepare.decode_seconds)"


def test_a_clip_that_waits_its_turn_is_not_overdue(plugin: Path) -> None:
    """Clips lie ready in a process while another one hangs there: their time begins when they are begun."""
    of = source("hostile", plugin, count=8, bad=dict.fromkeys((0, 1, 3), "sleep"))
    made = prepare(of, of.build(), RATE, workers=1, decode_seconds=0.4)
    assert codes(made) == {f"clip {number}": "timed-out" for number in (0, 1, 3)}


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_DATA, (2**30, resource.RLIM_INFINITY))
from pathlib import Path
from synthkit._catalog import Catalog
from synthkit._data.pool import Source
from synthkit._data.prepare import prepare
catalog = Catalog.discover([Path(sys.argv[1])])
offered, config = catalog.configure("dataset", "hostile", {"bad": {3: "memory", 7: "huge"}})
source = Source(catalog=catalog, offered=offered, config=config)
made = prepare(source, source.build(), 8000, workers=2)
print(len(made.entries()), [(report.id, report.code) for report in made.unreadable])
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a limit on memory that the system keeps")
def test_what_devours_memory_is_refused_more(plugin: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, plugin], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.strip() == "22 [('clip 3', 'out-of-memory'), ('clip 7', 'out-of-memory')]"


def test_processes_that_die_before_they_begin_are_an_error(plugin: Path) -> None:
    of = source("hostile", plugin, dead=True)
    with pytest.raises(DatasetError, match=r"ended by itself \(exit code 9\) before it had begun"):
        prepare(of, of.build(), RATE, workers=2)


def test_an_error_that_cannot_travel_arrives_as_its_words(plugin: Path) -> None:
    of = source("hostile", plugin, bad={6: "strange"})
    with pytest.raises(PluginError, match="Strange: this and <function"):
        prepare(of, of.build(), RATE, workers=2)


def changed_later(root: Path, change: Callable[[Path], object], *, workers: int) -> tuple[Prepared, list[Clip]]:
    """Prepared data of a folder of which one file, 1.wav, changes between being hashed and being decoded."""
    of = source("folder", root=root)
    dataset = of.build()
    clips = list(dataset.clips())
    change(root / "1.wav")
    return prepare(of, dataset, RATE, workers=workers), clips


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda path: write_tone(path, 999), "changed"),
        (lambda path: path.write_bytes(b"not a sound any more"), "changed"),
        (lambda path: os.utime(path, ns=(1, 1)), "changed"),
        (lambda path: path.unlink(), "missing"),
    ],
)
def test_a_file_that_changes_under_way_is_not_stored_as_what_it_was(
    root: Path, change: Callable[[Path], object], code: str
) -> None:
    made, clips = changed_later(root, change, workers=2)
    assert codes(made) == {"1.wav": code}
    assert len(made.entries()) == 3
    assert lookup(next(clip.key for clip in clips if clip.id == "1.wav"), RATE) is None
    of = source("folder", root=root)  # and the next time it is what it is now
    again = prepare(of, of.build(), RATE, workers=1)
    assert codes(again) == ({"1.wav": "unreadable"} if b"not" in _bytes(root / "1.wav") else {})


def _bytes(path: Path) -> bytes:
    return path.read_bytes()[:10] if path.exists() else b""


def test_a_file_that_changes_while_it_is_decoded_is_not_stored(root: Path) -> None:
    """The last block has been read when the file becomes another."""

    class Meddling(Dataset):
        def clips(self, split: object = None) -> list[Clip]:
            path = root / "1.wav"
            return [Clip(id="1", key="k", path=str(path), stamp=stamp(path))] if split == "train" else []

        def open(self, clip: Clip) -> Audio:
            audio = Dataset.open(self, clip)
            write_tone(root / "1.wav", 999)
            return audio

    made = prepare(source("folder", root=root), Meddling(), RATE, spread=work_here)
    assert codes(made) == {"1": "changed"}
    assert lookup("k", RATE) is None


def test_a_pipe_is_refused_and_not_waited_for(root: Path) -> None:
    os.mkfifo(root / "pipe.wav")
    of = source("folder", root=root)
    made = prepare(of, of.build(), RATE, workers=1, decode_seconds=60)
    assert codes(made) == {"pipe.wav": "not-audio"}

    class Piped(Dataset):  # whose index did not look
        def clips(self, split: object = None) -> list[Clip]:
            clip = Clip(id="p", key="p", path=str(root / "pipe.wav"))
            return [clip] if split == "train" else []

    made = prepare(of, Piped(), RATE, spread=work_here)
    assert made.unreadable[0].code == "unreadable"
    assert "not a regular file but a pipe" in made.unreadable[0].reason


def test_the_list_of_what_is_not_used_has_the_file_the_reason_and_numbers(root: Path, tmp_path: Path) -> None:
    Audio(np.full(100, 0.25), RATE).write(root / "short.wav")
    (root / "bad.wav").write_bytes(b"no sound")
    of = source("folder", root=root)
    made = prepare(of, of.build(), RATE, min_frames=2000, workers=1)
    write_quarantine(made, tmp_path / "quarantine.json")
    rows = {row["id"]: row for row in json.loads((tmp_path / "quarantine.json").read_text())["left_out"]}
    assert {id: (row["code"], row["file"]) for id, row in rows.items()} == {
        "short.wav": ("short", str(root / "short.wav")),
        "bad.wav": ("unreadable", str(root / "bad.wav")),
    }
    short = rows["short.wav"]
    assert (short["seconds"], short["sample_rate"], short["channels"], short["peak"]) == (0.0125, RATE, 1, 0.25)
    assert short["reason"] == "it is 0.0125 s long, shorter than a crop of 0.25 s, and prepare.short is skip"


def broken_files(folder: Path, chance: random.Random) -> None:
    """Real files of each format with some of their bytes changed, cut out or doubled."""
    at = np.arange(20000) / 22050
    sound = np.stack([np.sin(2000 * at), np.sin(3000 * at)], axis=1)
    for suffix in ("wav", "flac", "ogg", "mp3", "aiff", "au", "caf", "w64"):
        soundfile.write(folder / f"whole.{suffix}", sound, 22050)
        whole = (folder / f"whole.{suffix}").read_bytes()
        for number in range(12):
            content = bytearray(whole)
            for _ in range(chance.choice((1, 3, 40))):
                place = chance.randrange(min(len(content), chance.choice((64, len(content)))))
                content[place] = chance.randrange(256)
            if number % 3 == 1:
                del content[chance.randrange(len(content)) :]
            if number % 3 == 2:
                place = chance.randrange(len(content))
                content[place:place] = content[: chance.randrange(4000)]
            (folder / f"{number}.{suffix}").write_bytes(content)


@pytest.mark.data
def test_no_file_however_broken_ends_a_run(
    shared: Path, tmp_path: Path, synthkit_cli: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """By the command line: all odd files, broken ones of each format, a pipe, a socket's place, a broken link."""
    root = tmp_path / "all"
    shutil.copytree(shared / "audio/odd", root / "odd")
    (root / "broken").mkdir()
    broken_files(root / "broken", random.Random(1))
    os.mkfifo(root / "pipe.wav")
    (root / "link.wav").symlink_to("nowhere.wav")
    (root / "device.wav").symlink_to("/dev/zero")
    (tmp_path / "recipe.yaml").write_text(
        f"recipe: 1\nname: odd\ndata: {{use: folder, root: {root}}}\nfeatures: {{use: log-mel, preset: melgan}}\n"
        "vocoder: griffin-lim\nprepare: {workers: 2, max_unreadable: 0.9, decode_seconds: 60}\n"
    )
    done = synthkit_cli("run", "recipe.yaml", "--stage", "prepare")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    made = Prepared.open(tmp_path / "runs/odd/data.json")
    named, used = codes(made), {entry.id for entry in made.entries()}
    assert {f"broken/whole.{suffix}" for suffix in ("wav", "flac", "ogg", "mp3", "aiff", "au", "caf", "w64")} <= used
    assert {"pipe.wav", "link.wav", "device.wav"} <= set(named)
    assert all(report.reason for report in made.unreadable)
    files = {path.relative_to(root).as_posix() for path in (root / "broken").iterdir()}
    assert files <= used | set(named)
    for entry in made.entries():
        assert made.read(entry).shape == (entry.frames,)
        assert np.isfinite(made.read(entry)).all()
