"""Preparing that is killed, doubled, or runs out of disk: real processes and real errors of the system."""

from __future__ import annotations

import os
import random
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from synthkit._data import Prepared
from synthkit.audio import Audio
from synthkit.storage import clear_unfinished, replacing

RATE = 22050

PREPARE = """
import sys
from pathlib import Path
from synthkit._catalog import Catalog
from synthkit._data.pool import Source
from synthkit._data.prepare import prepare
from synthkit.errors import SynthkitError
catalog = Catalog.discover()
offered, config = catalog.configure("dataset", "folder", {"root": sys.argv[1]})
source = Source(catalog=catalog, offered=offered, config=config)

def run():
    done = []
    tell = lambda count, total: (done.append(count), print(count, flush=True))
    made = prepare(source, source.build(), 22050, workers=2, progress=tell)
    made.save(Path(sys.argv[2]))
    return len(done)
"""


def write_music(root: Path, count: int, seconds: float = 3.0) -> None:
    """Files of several formats, all different."""
    root.mkdir()
    at = np.arange(round(seconds * 44100)) / 44100
    for number in range(count):
        noise = 0.01 * np.random.default_rng(number).standard_normal((2, len(at)))
        sound = 0.4 * np.sin(2 * np.pi * (200 + 20 * number) * at) + noise
        suffix = ("wav", "flac", "mp3", "wav")[number % 4]
        soundfile.write(root / f"{number}.{suffix}", sound.T, 44100)


def start(root: Path, cache: Path, code: str = "run()") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PREPARE + code, root, cache.with_suffix(".json")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "SYNTHKIT_CACHE": str(cache)},
        start_new_session=True,
    )


def finish(running: subprocess.Popen[str]) -> str:
    out, err = running.communicate(timeout=120)
    assert running.returncode == 0, err
    return out


def content(cache: Path) -> dict[str, bytes]:
    """Every file of the cache but the table of hashes."""
    files = {path.relative_to(cache).as_posix(): path for path in cache.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if not name.startswith("hashes.sqlite")}


def test_twenty_kills_leave_the_cache_of_a_run_that_nobody_disturbed(tmp_path: Path) -> None:
    root, killed, whole = tmp_path / "music", tmp_path / "killed", tmp_path / "whole"
    write_music(root, 120)
    finish(start(root, whole))
    chance = random.Random(3)
    counts = []
    for turn in range(20):
        running = start(root, killed)
        assert running.stdout is not None
        for _ in range(
            turn % 4
        ):  # of 120 clips there are always some left: 0 + 1 + 2 + 3 five times and a few in flight
            running.stdout.readline()
        select.select([running.stdout], [], [], chance.uniform(0, 0.02 if turn % 4 else 1.0))
        kill = os.kill if turn % 2 else os.killpg  # the parent alone, whose workers then end by themselves, or all
        kill(running.pid, signal.SIGKILL)
        running.communicate(timeout=60)
        counts.append(len(list(killed.rglob("*.npy"))))
    assert 20 < counts[-1] < 120
    assert counts == sorted(counts)
    finish(start(root, killed))
    assert content(killed) == content(whole)
    assert len(content(whole)) == 120
    assert Prepared.open(killed.with_suffix(".json")).entries() == Prepared.open(whole.with_suffix(".json")).entries()


def test_two_that_prepare_the_same_at_once_make_the_same(tmp_path: Path) -> None:
    root, shared, whole = tmp_path / "music", tmp_path / "shared", tmp_path / "whole"
    write_music(root, 24, seconds=1.0)
    finish(start(root, whole))
    both = [start(root, shared), start(root, shared)]
    for running in both:
        finish(running)
    assert content(shared) == content(whole)


WRITE = """
import sys
from pathlib import Path
from synthkit.storage import replacing
with replacing(Path(sys.argv[1]), within=Path(sys.argv[2])) as stream:
    stream.write(b"half")
    stream.flush()
    print("written", flush=True)
    sys.stdin.readline()
    stream.write(b" and half")
"""


def test_what_a_dead_writer_left_is_cleared_up_and_a_living_one_is_let_be(tmp_path: Path) -> None:
    folder = tmp_path / "unfinished"
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITE, tmp_path / name, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("dead", "living")
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "written\n"
    writers[0].kill()
    writers[0].communicate(timeout=60)
    assert len(list(folder.iterdir())) == 2
    clear_unfinished(folder)
    assert len(list(folder.iterdir())) == 1
    writers[1].communicate("go on\n", timeout=60)
    assert writers[1].returncode == 0
    assert not list(folder.iterdir())
    assert not (tmp_path / "dead").exists()
    assert (tmp_path / "living").read_bytes() == b"half and half"


def test_a_file_whose_name_was_taken_away_before_it_was_locked_gets_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The moment between a file's creation and its lock, in which another process may take it for a dead one's."""
    import fcntl

    lock, stolen = fcntl.flock, []

    def flock(stream: object, how: int) -> None:
        if not stolen:
            stolen.append(1)
            (unfinished,) = tmp_path.glob(".*.tmp")
            unfinished.unlink()
        lock(stream, how)  # type: ignore[arg-type]

    monkeypatch.setattr(fcntl, "flock", flock)
    with replacing(tmp_path / "a") as stream:
        stream.write(b"whole")
    assert stolen
    assert (tmp_path / "a").read_bytes() == b"whole"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


FULL = """
import os, subprocess
try:
    run()
except SynthkitError as error:
    print(type(error).__name__, error)
    print("entries", len(list(Path(os.environ["SYNTHKIT_CACHE"]).rglob("*.npy"))))
    print("unfinished", len(list(Path(os.environ["SYNTHKIT_CACHE"], "unfinished").iterdir())))
make_room()
print("decoded", run())
"""


def check_full(out: str, said: str, count: int) -> None:
    """An error in a sentence, whole entries, no rubbish, and afterwards only the rest is decoded."""
    lines = [line for line in out.splitlines() if not line.isdecimal()]
    assert lines[0].startswith("DatasetError cannot write ")
    assert said in lines[0]
    assert "make room, or set SYNTHKIT_CACHE" in lines[0]
    entries = int(lines[1].removeprefix("entries "))
    assert 0 < entries < count
    assert lines[2] == "unfinished 0"
    assert lines[3] == f"decoded {count - entries}"


def test_a_full_disk_is_an_error_and_with_room_it_goes_on(tmp_path: Path) -> None:
    """A real small disk, in a name space of its own, which goes when its process goes."""
    root, cache, whole = tmp_path / "music", tmp_path / "cache", tmp_path / "whole"
    write_music(root, 12)
    cache.mkdir()
    own = ["unshare", "--user", "--map-root-user", "--mount"]
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", cache]
    if not shutil.which("unshare") or subprocess.run([*own, *mount], capture_output=True, check=False).returncode:
        pytest.skip("this system lets nobody mount a disk in a name space")
    room = 'make_room = lambda: subprocess.run(["mount", "-o", "remount,size=50m", os.environ["SYNTHKIT_CACHE"]])\n'
    copy = '\nsubprocess.run(["cp", "-r", os.environ["SYNTHKIT_CACHE"], os.environ["SYNTHKIT_CACHE"] + ".copy"])'
    inside = f'{" ".join(map(str, mount))} && exec "$0" "$@"'
    program = [sys.executable, "-c", PREPARE + room + FULL + copy, root, cache.with_suffix(".json")]
    done = subprocess.run(
        [*own, "sh", "-c", inside, *program],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "SYNTHKIT_CACHE": str(cache)},
    )
    assert done.returncode == 0, done.stderr
    check_full(done.stdout, "No space left on device", 12)
    finish(start(root, whole))
    assert content(tmp_path / "cache.copy") == content(whole)


LIMIT = """
import resource
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), hard))
make_room = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
"""


@pytest.mark.parametrize(
    ("seconds", "limit"), [(8, 300_000), (120, 500_000)], ids=["writing an entry", "spooling a long sound"]
)
def test_no_room_for_a_long_clip(tmp_path: Path, seconds: int, limit: int) -> None:
    root, cache = tmp_path / "music", tmp_path / "cache"
    write_music(root, 6)
    long = np.random.default_rng(0).uniform(-0.5, 0.5, 16000 * seconds)
    Audio(long, 16000).write(root / "long.wav")
    program = [sys.executable, "-c", PREPARE + LIMIT + FULL, root, cache.with_suffix(".json"), str(limit)]
    done = subprocess.run(
        program,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "SYNTHKIT_CACHE": str(cache)},
    )
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if not line.isdecimal()]
    assert "File too large; make room" in lines[0]
    assert lines[2] == "unfinished 0"
    assert int(lines[1].split()[1]) + int(lines[3].split()[1]) == 7
    assert len(content(cache)) == 7
