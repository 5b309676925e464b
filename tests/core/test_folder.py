"""The data set `folder`: what becomes a clip, what is named as none, and splits that never move."""

from __future__ import annotations

import csv
import hashlib
import os
import random
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest

from synthkit import storage
from synthkit._catalog import Catalog
from synthkit.audio import Audio
from synthkit.builtin.config import FolderConfig
from synthkit.builtin.folder import Folder, split_by_content
from synthkit.errors import ConfigError, DatasetError, UnreadableClip
from synthkit.interfaces import SPLITS, Dataset


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SYNTHKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "music"
    folder.mkdir()
    return folder


def write_tone(path: Path, frequency: float, seconds: float = 0.2) -> None:
    Audio(0.5 * np.sin(np.arange(round(8000 * seconds)) / 8000 * 2 * np.pi * frequency), 8000).write(path)


def folder(root: Path | str, **settings: object) -> Folder:
    return Folder(FolderConfig.model_validate({"root": root, **settings}))


def ids(dataset: Dataset) -> list[str]:
    return [clip.id for clip in dataset.clips()]


def codes(dataset: Dataset) -> dict[str, str]:
    return {report.id: report.code for report in dataset.left_out()}


def hashes(count: int) -> list[str]:
    return [hashlib.sha256(str(number).encode()).hexdigest() for number in range(count)]


class TestSplits:
    def test_adding_clips_moves_no_other(self) -> None:
        keys = hashes(2000)
        everything = split_by_content(keys, validation=0.1, test=0.2)
        for seed in range(5):
            some = random.Random(seed).sample(keys, 400)
            assert split_by_content(some, validation=0.1, test=0.2) == {key: everything[key] for key in some}

    def test_shares_are_those_asked_for(self) -> None:
        counts = Counter(split_by_content(hashes(5000), validation=0.1, test=0.2).values())
        assert counts["test"] / 5000 == pytest.approx(0.2, abs=0.02)
        assert counts["validation"] / 5000 == pytest.approx(0.1, abs=0.02)

    @pytest.mark.parametrize("count", [3, 4, 5, 7, 12])
    def test_no_split_is_empty_while_there_are_clips_for_all(self, count: int) -> None:
        for start in range(30):
            counts = Counter(split_by_content(hashes(200)[start : start + count], validation=0.1, test=0.1).values())
            assert set(counts) == set(SPLITS)

    @pytest.mark.parametrize("shares", [(0.1, 0.1), (0.4, 0.5), (0.0, 0.9), (0.9, 0.0), (0.0, 0.0)])
    def test_something_is_always_left_to_train_on(self, shares: tuple[float, float]) -> None:
        for count in (1, 2, 3):
            for start in range(30):
                splits = split_by_content(hashes(60)[start : start + count], validation=shares[0], test=shares[1])
                assert "train" in splits.values()
                assert shares[0] or "validation" not in splits.values()
                assert shares[1] or "test" not in splits.values()

    def test_two_clips_can_train_and_validate(self) -> None:
        assert sorted(split_by_content(hashes(2), validation=0.1, test=0.1).values()) == ["train", "validation"]

    def test_copies_are_never_on_both_sides(self, root: Path) -> None:
        for number in range(12):
            write_tone(root / f"{number}.wav", 200 + 50 * number)
            shutil.copy(root / f"{number}.wav", root / f"a copy of {number}.wav")
        dataset = folder(root, validation=0.3, test=0.3)
        where = {clip.id: split for split in SPLITS for clip in dataset.clips(split)}
        keys = {clip.id: clip.key for clip in dataset.clips()}
        assert len(where) == 24
        for number in range(12):
            assert where[f"{number}.wav"] == where[f"a copy of {number}.wav"]
            assert keys[f"{number}.wav"] == keys[f"a copy of {number}.wav"]
        assert len(set(keys.values())) == 12

    def test_the_name_of_a_file_does_not_matter(self, root: Path) -> None:
        for number in range(20):
            write_tone(root / f"{number}.wav", 200 + 50 * number)
        before = {clip.key: split for split in SPLITS for clip in folder(root).clips(split)}
        for number in range(20):
            (root / "moved").mkdir(exist_ok=True)
            (root / f"{number}.wav").rename(root / "moved" / f"x{number}.wav")
        assert {clip.key: split for split in SPLITS for clip in folder(root).clips(split)} == before


class TestTree:
    def test_any_depth_any_case_any_name(self, root: Path) -> None:
        names = ["a.wav", "deep/er/b.FLAC", "two  spaces/c d.ogg", "ünïcode 音/e.Wav", "new\nline/f.wav"]
        for name in names:
            write_tone(root / name.lower(), 300)
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name.lower()).rename(root / name)
        dataset = folder(root)
        assert sorted(ids(dataset)) == sorted(names)
        assert [dataset.open(clip).frames for clip in dataset.clips() if clip.id != "two  spaces/c d.ogg"] == [1600] * 4
        assert not dataset.left_out()

    def test_order_is_that_of_the_ids_and_stable(self, root: Path) -> None:
        for name in ("b/2.wav", "a/9.wav", "c.wav", "a/1.wav"):
            write_tone(root / name, 300)
        assert ids(folder(root)) == ids(folder(root)) == ["a/1.wav", "a/9.wav", "b/2.wav", "c.wav"]

    def test_what_is_hidden_is_passed_over(self, root: Path) -> None:
        write_tone(root / "a.wav", 300)
        for name in (".DS_Store", "._a.wav", ".cache/b.wav", "sub/._b.wav"):
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).write_bytes(b"junk")
        dataset = folder(root)
        assert ids(dataset) == ["a.wav"]
        assert not dataset.left_out()

    def test_what_is_no_clip_is_named(self, root: Path) -> None:
        write_tone(root / "a.wav", 300)
        for name in ("song.M4A", "old.wma", "b.bogus", "no ending", "cover.jpg", "notes.txt"):
            (root / name).write_bytes(b"some bytes")
        assert codes(folder(root)) == {
            "song.M4A": "unsupported",
            "old.wma": "unsupported",
            "b.bogus": "not-audio",
            "no ending": "not-audio",
        }

    def test_a_file_that_is_no_sound_stays_in_the_index_and_says_why(self, root: Path) -> None:
        write_tone(root / "a.wav", 300)
        (root / "empty.wav").touch()
        (root / "pointer.wav").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
        dataset = folder(root)
        wrong = {}
        for clip in dataset.clips():
            try:
                dataset.open(clip)
            except UnreadableClip as error:
                wrong[clip.id] = (error.name, error.code, error.reason)
        assert set(wrong) == {"empty.wav", "pointer.wav"}
        assert wrong["empty.wav"][:2] == ("empty.wav", "empty")
        assert "git-LFS" in wrong["pointer.wav"][2]

    @pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
    def test_a_name_that_is_no_utf8_can_be_printed_and_opened(self, root: Path) -> None:
        write_tone(root / "a.wav", 300)
        (root / "a.wav").rename(root / os.fsdecode(b"caf\xe9.wav"))
        dataset = folder(root)
        (clip,) = dataset.clips()
        assert clip.id.encode("utf-8") == b"caf\\xe9.wav"
        assert dataset.open(clip).frames == 1600

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
    def test_links_that_loop_or_lead_nowhere_and_pipes_stop_nothing(self, root: Path) -> None:
        write_tone(root / "sub/a.wav", 300)
        (root / "sub/up").symlink_to(root)
        (root / "itself").symlink_to(root / "itself")
        (root / "gone.wav").symlink_to(root / "nothing.wav")
        os.mkfifo(root / "pipe.wav")
        dataset = folder(root)
        assert ids(dataset) == ["gone.wav", "sub/a.wav"]
        assert codes(dataset) == {"itself": "not-audio", "pipe.wav": "not-audio"}
        with pytest.raises(UnreadableClip, match="no such file"):
            dataset.open(dataset.clips()[0])

    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may enter every folder")
    def test_a_folder_that_cannot_be_entered_is_named(self, root: Path) -> None:
        write_tone(root / "a.wav", 300)
        write_tone(root / "locked/b.wav", 400)
        (root / "locked").chmod(0)
        try:
            dataset = folder(root)
            assert ids(dataset) == ["a.wav"]
            assert codes(dataset) == {"locked": "unreadable"}
        finally:
            (root / "locked").chmod(0o755)

    def test_linked_folders_are_searched(self, root: Path, tmp_path: Path) -> None:
        write_tone(tmp_path / "elsewhere/a.wav", 300)
        (root / "link").symlink_to(tmp_path / "elsewhere")
        assert ids(folder(root)) == ["link/a.wav"]

    def test_exclude(self, root: Path) -> None:
        for name in ("a.wav", "drafts/b.wav", "drafts/deep/c.wav", "d.flac"):
            write_tone(root / name, 300)
        assert ids(folder(root, exclude=["drafts/*", "*.flac"])) == ["a.wav"]

    def test_nothing_to_use_is_an_error_that_names_what_there_is(self, root: Path) -> None:
        with pytest.raises(DatasetError, match=r"no sound file lies below .*music.*\.flac"):
            folder(root).clips()
        (root / "song.m4a").write_bytes(b"x")
        with pytest.raises(DatasetError, match=r"song\.m4a: \.m4a is a format that is not supported"):
            folder(root).clips()

    def test_a_folder_that_vanished_is_an_error(self, root: Path) -> None:
        dataset = folder(root)
        root.rmdir()
        with pytest.raises(DatasetError, match="does not exist"):
            dataset.clips()


class TestLabels:
    def test_the_folder_below_the_root_is_the_label(self, root: Path) -> None:
        for name in ("jazz/a.wav", "blues/x/b.wav", "jazz/c.wav", "stray.wav"):
            write_tone(root / name, 300)
        dataset = folder(root, labels="folders")
        assert dataset.labels() == ("blues", "jazz")
        assert {clip.id: clip.label for clip in dataset.clips()} == {
            "blues/x/b.wav": "blues",
            "jazz/a.wav": "jazz",
            "jazz/c.wav": "jazz",
        }
        assert codes(dataset) == {"stray.wav": "unlabelled"}

    def test_none_unless_asked(self, root: Path) -> None:
        write_tone(root / "jazz/a.wav", 300)
        dataset = folder(root, licence="CC BY 4.0")
        assert dataset.labels() == ()
        assert [(clip.label, clip.licence) for clip in dataset.clips()] == [(None, "CC BY 4.0")]


class TestHashes:
    def test_are_of_the_content_and_remembered(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for number in range(3):
            write_tone(root / f"{number}.wav", 300 + number)
            os.utime(root / f"{number}.wav", (1e9, 1e9))
        first = [clip.key for clip in folder(root).clips()]
        assert first[0] == hashlib.sha256((root / "0.wav").read_bytes()).hexdigest()
        read: list[str] = []

        def counting(path: Path) -> str:
            read.append(path.name)
            return hashlib.sha256(path.read_bytes()).hexdigest()

        monkeypatch.setattr(storage, "file_hash", counting)
        assert [clip.key for clip in folder(root).clips()] == first
        assert read == []
        write_tone(root / "1.wav", 777)  # the same size, another time
        changed = [clip.key for clip in folder(root).clips()]
        assert read == ["1.wav"]
        assert [old == new for old, new in zip(first, changed, strict=True)] == [True, False, True]

    def test_a_file_just_written_is_not_remembered(self, root: Path) -> None:
        """Two writes within one tick of the clock look alike."""
        write_tone(root / "a.wav", 300)
        stamp = (root / "a.wav").stat().st_mtime_ns
        before = folder(root).clips()[0].key
        write_tone(root / "a.wav", 500)
        os.utime(root / "a.wav", ns=(stamp, stamp))
        assert folder(root).clips()[0].key != before

    def test_a_damaged_memory_only_costs_time(self, root: Path, cache: Path) -> None:
        write_tone(root / "a.wav", 300)
        before = ids(folder(root))
        (cache / "hashes.sqlite").write_bytes(b"not a database at all" * 100)
        assert ids(folder(root)) == before

    def test_progress_is_told(self, root: Path) -> None:
        for number in range(5):
            write_tone(root / f"{number}.wav", 300 + number)
        told: list[tuple[int, int]] = []
        folder(root).index(lambda done, total: told.append((done, total)))
        assert told[-1] == (5, 5)


@pytest.mark.data
def test_every_odd_file_is_a_clip_or_named(shared: Path) -> None:
    """All rows of the manifest but the Finder's file are accounted for, and no good one is left out."""
    odd = shared / "audio/odd"
    with (odd / "manifest.csv").open(encoding="utf-8", newline="") as stream:
        rows = {row["file"]: row for row in csv.DictReader(stream)}
    dataset = folder(odd)
    clips, named = set(ids(dataset)), codes(dataset)
    assert len(rows) > 140
    assert set(rows) - clips - set(named) == {"macos_junk/.DS_Store"}
    assert [file for file in named if rows[file]["soundfile_ok"] != "no"] == []
    unreadable = {report.id for report in dataset.verify().clips if report.code in ("unreadable", "empty")}
    good = {file for file, row in rows.items() if row["soundfile_ok"] == "yes" and int(row["read_frames"]) > 0}
    assert good <= clips - unreadable


class TestRemote:
    """The same tree on a store (here one in memory) is the same data set, but for its keys."""

    @pytest.fixture
    def url(self, root: Path) -> Iterator[str]:
        for number, name in enumerate(
            ("jazz/a.wav", "jazz/.hidden.wav", "blues/x/b.wav", "jazz/notes.txt", "x.bogus", "c.m4a")
        ):
            write_tone(root / "tone.wav", 300 + number)
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / "tone.wav").rename(root / name)
        store = fsspec.filesystem("memory")
        store.put(f"{root}/", "/remote-folder", recursive=True)
        yield "memory://remote-folder"
        store.rm("/remote-folder", recursive=True)

    def test_it_is_the_same_index(self, root: Path, url: str) -> None:
        here, there = folder(root, labels="folders"), folder(url, labels="folders")
        assert ids(there) == ids(here) == ["blues/x/b.wav", "jazz/a.wav"]
        assert codes(there) == codes(here) == {"x.bogus": "not-audio", "c.m4a": "unsupported"}
        assert there.labels() == here.labels()
        assert [clip.path for clip in there.clips()] == [f"{url}/{id}" for id in ids(there)]
        assert [clip.key for clip in folder(url, labels="folders").clips()] == [clip.key for clip in there.clips()]

    def test_a_folder_that_is_not_there_is_said_by_the_settings(self, url: str) -> None:
        with pytest.raises(ConfigError, match="root: the folder 'memory://nowhere' does not exist"):
            Catalog.discover().configure("dataset", "folder", {"root": "memory://nowhere"})
        _, config = Catalog.discover().configure("dataset", "folder", {"root": f"{url}/"})
        assert config.model_dump(mode="json")["root"] == url
