"""Preparing on a Dask cluster: real schedulers and workers, some of which die on the way, and clips that kill."""

from __future__ import annotations

import importlib.metadata
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import fsspec
import numpy as np
import pytest

from synthkit._catalog import Catalog
from synthkit._data import Prepared
from synthkit._data import cluster as clusters
from synthkit._data.cluster import Cluster
from synthkit._data.pool import Source
from synthkit._data.prepare import prepare
from synthkit.audio import Audio
from synthkit.errors import DatasetError, RunError

pytest.importorskip("distributed")

Cli = Callable[..., subprocess.CompletedProcess[str]]
RATE = 8000

PLUGIN = '''
"""A data set of short tones whose clips can be told to misbehave: their number is in `bad`."""
import os
import signal
import time
import numpy as np
from synthkit.audio import Audio
from synthkit.config import Config
from synthkit.errors import UnreadableClip
from synthkit.hookspecs import hookimpl
from synthkit.interfaces import Clip, Dataset, Offer

class TrickyConfig(Config):
    count: int = 12
    bad: dict[int, str] = {}

class Tricky(Dataset):
    def __init__(self, config):
        self.config = config
    def clips(self, split=None):
        numbers = range(self.config.count) if split in (None, "train") else ()
        return [Clip(id=f"clip {n}", key=f"tricky {n}") for n in numbers]
    def open(self, clip):
        number = int(clip.id.split()[1])
        bad = self.config.bad.get(number)
        if bad == "crash":
            os.abort()
        if bad == "kill the worker":
            os.kill(os.getppid(), signal.SIGKILL)
            signal.pause()
        if bad == "hang":
            signal.pause()
        if bad == "bug":
            raise ZeroDivisionError("a mistake in the plugin")
        if bad == "unreadable":
            raise UnreadableClip(clip.id, "unreadable", "it is told to be")
        return Audio(np.sin(np.arange(4000) * (0.01 + 0.001 * number)), 8000)

@hookimpl
def synthkit_components():
    return [Offer(kind="dataset", name="tricky", build=f"{__name__}:Tricky", config=f"{__name__}:TrickyConfig", summary="Misbehaves.")]
'''


@dataclass
class Running:
    """A scheduler and workers, each a process (and its children) of its own."""

    address: str
    scheduler: subprocess.Popen[bytes]
    workers: list[subprocess.Popen[bytes]]

    def kill_a_worker(self) -> None:
        """As if its machine lost its power."""
        os.killpg(self.workers.pop().pid, signal.SIGKILL)


@contextmanager
def dask(folder: Path, workers: int, allowed_failures: int = 3) -> Iterator[Running]:
    """A scheduler, started by itself, and so many workers of one thread; by default a batch may kill three of them."""
    failures = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": str(allowed_failures)}
    environment = {**os.environ, **failures, "OMP_NUM_THREADS": "1"}
    with ExitStack() as stack:

        def start(name: str, *arguments: str) -> subprocess.Popen[bytes]:
            log = stack.enter_context((folder / f"{name}.log").open("wb"))
            process = subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.dask_{name.rstrip('0123456789')}", *arguments, "--no-dashboard"],
                env=environment, cwd=folder, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
            stack.callback(process.wait)
            stack.callback(_kill, process)
            return process

        file = folder / "scheduler.json"
        scheduler = start("scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file))
        _wait_for(lambda: file.is_file() and file.read_text().endswith("}"), scheduler)
        address = json.loads(file.read_text())["address"]
        started = [
            start(
                f"worker{number}", address, "--nthreads", "1", "--local-directory", str(folder), "--death-timeout", "60"
            )
            for number in range(workers)
        ]
        yield Running(address, scheduler, started)


def _kill(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:  # the test has killed it
        return


def _wait_for(happened: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while not happened():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A cluster for the tests that leave it as it is. A batch that kills a worker is suspected at once."""
    with dask(tmp_path_factory.mktemp("dask"), workers=2, allowed_failures=0) as cluster:
        yield cluster


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
    for number in range(24):
        samples = 0.5 * np.sin(np.arange(RATE // 2) / RATE * 2 * np.pi * (300 + number))
        Audio(samples, RATE).write(tmp_path / "music" / f"{number}.wav")
    (tmp_path / "music/bad.wav").write_bytes(b"nothing")
    return tmp_path / "music"


def source(name: str, files: Sequence[Path] = (), **settings: object) -> Source:
    catalog = Catalog.discover(files)
    offered, config = catalog.configure("dataset", name, settings)
    return Source(catalog=catalog, offered=offered, config=config)


def prepared(
    of: Source, scheduler: str | None, progress: Callable[[int, int], None] | None = None, seconds: float = 60.0
) -> Prepared:
    spread = {} if scheduler is None else {"spread": Cluster(scheduler)}
    return prepare(of, of.build(), RATE, decode_seconds=seconds, workers=2, progress=progress, **spread)  # type: ignore[arg-type]


def left_out(made: Prepared) -> dict[str, str]:
    return {report.id: report.code for report in made.unreadable}


def entries(cache: Path) -> dict[str, bytes]:
    return {file.relative_to(cache).as_posix(): file.read_bytes() for file in cache.rglob("*.npy")}


RECIPE = """
recipe: 1
name: small
data: {use: folder, root: music}
features: {use: log-mel, preset: melgan, sample_rate: 16000}
vocoder: griffin-lim
prepare: {workers: 2, max_unreadable: 0.5}
"""


def test_one_that_is_started_here_makes_what_processes_of_this_machine_make(
    synthkit_cli: Cli, root: Path, tmp_path: Path
) -> None:
    (tmp_path / "small.yaml").write_text(RECIPE)
    arguments = ["run", "small.yaml", "--stage", "prepare"]
    plain = synthkit_cli(*arguments, SYNTHKIT_CACHE=str(tmp_path / "plain"))
    data = (tmp_path / "runs/small/data.json").read_text().replace(str(tmp_path / "plain"), "")
    (tmp_path / "runs").rename(tmp_path / "before")
    spread = synthkit_cli(*arguments, "--scheduler", "local", SYNTHKIT_CACHE=str(tmp_path / "spread"))
    assert (plain.returncode, spread.returncode) == (0, 0), spread.stderr
    assert spread.stderr == plain.stderr  # Dask says nothing
    assert (tmp_path / "runs/small/data.json").read_text().replace(str(tmp_path / "spread"), "") == data
    assert entries(tmp_path / "spread") == entries(tmp_path / "plain")
    assert len(entries(tmp_path / "plain")) == 24
    assert not list((tmp_path / "spread").glob(".seen*"))


class TestSeparateScheduler:
    def test_clips_that_crash_or_hang_are_named_and_no_worker_dies_of_them(
        self, synthkit_cli: Cli, running: Running, plugin: Path, tmp_path: Path
    ) -> None:
        """Through the command line, with a plugin file."""
        bad = '{3: "crash", 5: "hang", 7: "unreadable"}'
        (tmp_path / "small.yaml").write_text(
            RECIPE.replace("use: folder, root: music", f"use: tricky, bad: {bad}").replace(
                "workers: 2", "decode_seconds: 2"
            )
        )
        done = synthkit_cli(
            "--plugin", plugin, "run", "small.yaml", "--stage", "prepare", "--scheduler", running.address
        )
        assert done.returncode == 0, done.stderr
        quarantine = json.loads((tmp_path / "runs/small/quarantine.json").read_text())
        assert {row["id"]: row["code"] for row in quarantine["left_out"]} == {
            "clip 3": "crashed",
            "clip 5": "timed-out",
            "clip 7": "unreadable",
        }
        assert len(entries(tmp_path / "cache")) == 9

    def test_a_clip_that_takes_workers_down_is_named_and_the_others_are_kept(
        self, running: Running, plugin: Path
    ) -> None:
        made = prepared(source("tricky", [plugin], bad={9: "kill the worker"}), running.address)
        assert left_out(made) == {"clip 9": "crashed"}
        assert "workers of the cluster that worked on it died" in made.unreadable[0].reason
        assert (len(made.entries()), made.missing()) == (11, ())

    def test_a_worker_that_dies_on_the_way_costs_no_clip(self, root: Path, cache: Path, tmp_path: Path) -> None:
        folder = tmp_path / "dask"
        folder.mkdir()
        with dask(folder, workers=2) as cluster:
            # What the dead worker was given goes to the other one without being suspected of anything.
            told: list[int] = []

            def progress(done: int, total: int) -> None:
                told.append(done)
                if done == 1:
                    cluster.kill_a_worker()

            made = prepared(source("folder", root=root), cluster.address, progress)
        assert told == list(range(1, 26))
        assert left_out(made) == {"bad.wav": "unreadable"}
        assert (len(made.entries()), made.missing()) == (24, ())

    def test_a_mistake_in_a_plugin_is_no_clip_s_fault(self, running: Running, plugin: Path) -> None:
        with pytest.raises(ZeroDivisionError, match="a mistake in the plugin"):
            prepared(source("tricky", [plugin], bad={5: "bug"}), running.address)

    def test_batches_on_their_way_are_few_however_many_clips_there_are(
        self, running: Running, plugin: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[tuple[int, int]] = []
        submit = clusters._Foreman._submit

        def watched(self: clusters._Foreman, batch: Sequence[object]) -> object:
            seen.append((len(self._running), len(batch)))
            return submit(self, batch)  # type: ignore[arg-type]

        monkeypatch.setattr(clusters._Foreman, "_submit", watched)
        monkeypatch.setattr(clusters, "_MOST_CLIPS", 8)
        made = prepared(source("tricky", [plugin], count=60), running.address)
        assert len(made.entries()) == 60
        assert sum(size for _, size in seen) == 60
        assert max(size for _, size in seen) == 8
        assert max(waiting for waiting, _ in seen) < 4  # two for each thread


class TestErrors:
    def test_a_scheduler_that_does_not_answer(self, synthkit_cli: Cli, root: Path, tmp_path: Path) -> None:
        (tmp_path / "small.yaml").write_text(RECIPE)
        done = synthkit_cli("run", "small.yaml", "--stage", "prepare", "--scheduler", "tcp://127.0.0.1:1")
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert line.startswith("no Dask scheduler answers at 'tcp://127.0.0.1:1' within 5 s")
        assert not (tmp_path / "runs").exists()

    def test_dask_is_not_installed(self, synthkit_cli: Cli, root: Path, tmp_path: Path) -> None:
        (tmp_path / "small.yaml").write_text(RECIPE)
        (tmp_path / "without").mkdir()
        (tmp_path / "without/distributed.py").write_text("raise ImportError('not here')")
        done = synthkit_cli(
            "run", "small.yaml", "--stage", "prepare", "--scheduler", "local", PYTHONPATH=str(tmp_path / "without")
        )
        assert done.returncode == 2
        assert done.stderr == "a cluster needs Dask, which is not installed: pip install 'synthkit[cluster]'\n"

    @pytest.mark.parametrize("address", ["here", "tcp://", "tcp://host", "host:port", ""])
    def test_an_address_that_is_none(self, address: str) -> None:
        with pytest.raises(RunError, match="'local' or an address such as tcp://host:8786"):
            Cluster(address)

    def test_a_worker_of_another_version(self, running: Running, plugin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(importlib.metadata, "version", lambda name: "99.1")
        with pytest.raises(
            DatasetError, match=r"the worker tcp://.* cannot work: it has synthkit .*, and this .* has 99\.1"
        ):
            prepared(source("tricky", [plugin]), running.address)

    def test_a_worker_without_the_plugin(self, running: Running, plugin: Path) -> None:
        known = source("tricky", [plugin])
        plugin.unlink()
        with pytest.raises(DatasetError, match=r"the worker tcp://.* cannot work: .*tricky_plugin.py"):
            prepared(known, running.address)

    def test_a_worker_that_does_not_share_the_cache_or_the_data(self, cache: Path, tmp_path: Path) -> None:
        token = clusters._Token(str(tmp_path / "music"))
        with pytest.raises(DatasetError, match=r"it does not see the cache folder .*SYNTHKIT_CACHE"):
            token.check()
        cache.mkdir()
        Path(token.file).touch()
        with pytest.raises(DatasetError, match=r"it does not see the folder .*music"):
            token.check()
        (tmp_path / "music").mkdir()
        token.check()

    def test_a_scheduler_without_workers(self, plugin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(clusters, "IDLE_SECONDS", 1.0)
        folder = tmp_path / "dask"
        folder.mkdir()
        with dask(folder, workers=0) as cluster, pytest.raises(DatasetError, match="has had no worker for 1 s"):
            prepared(source("tricky", [plugin]), cluster.address)

    def test_a_scheduler_that_dies_on_the_way(self, plugin: Path, tmp_path: Path) -> None:
        folder = tmp_path / "dask"
        folder.mkdir()
        of = source("tricky", [plugin], count=40)
        gone = r"the Dask scheduler at 'tcp://.*' is gone; start it and run again"
        with dask(folder, workers=1) as cluster, pytest.raises(DatasetError, match=gone):
            prepared(of, cluster.address, lambda done, total: _kill(cluster.scheduler))
        again: list[int] = []
        made = prepared(of, None, lambda done, total: again.append(total))
        assert len(made.entries()) == 40
        assert 0 < again[0] < 40

    def test_data_in_the_memory_of_this_process(self, root: Path) -> None:
        store = fsspec.filesystem("memory")
        store.put(f"{root}/", "/cluster-test", recursive=True)
        try:
            with pytest.raises(DatasetError, match="lies in the memory of this process"):
                prepared(source("folder", root="memory://cluster-test"), "tcp://127.0.0.1:1")
            assert len(prepared(source("folder", root="memory://cluster-test"), None).entries()) == 24
        finally:
            store.rm("/cluster-test", recursive=True)
