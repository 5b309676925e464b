"""Places: a folder of this machine, `file://` and `memory://` look alike, and what a store cannot do is one sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from synthkit import remote
from synthkit.errors import DatasetError
from synthkit.remote import Place

FILES = {"a.wav": b"a", "jazz/b.wav": b"bb", "jazz/c c.wav": b"bb", "Ä/d.wav": b"dddd"}
HIDDEN = {".DS_Store": b"x", "jazz/._b.wav": b"x", ".git/e.wav": b"x"}


@pytest.fixture(params=["path", "file", "memory"])
def tree(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """The files above, at a place of each kind."""
    monkeypatch.setenv("SYNTHKIT_CACHE", str(tmp_path / "cache"))
    root = "/remote-test" if request.param == "memory" else str(tmp_path / "tree")
    store = fsspec.filesystem("memory" if request.param == "memory" else "file", skip_instance_cache=True)
    for name, content in {**FILES, **HIDDEN}.items():
        store.makedirs(f"{root}/{name}".rpartition("/")[0], exist_ok=True)
        store.pipe_file(f"{root}/{name}", content)
    yield {"path": Path(root), "file": f"file://{root}", "memory": f"memory:/{root}"}[request.param]
    if request.param == "memory":
        store.rm(root, recursive=True)


class TestATree:
    def test_is_walked_in_order_without_what_is_hidden(self, tree: Place) -> None:
        found = list(remote.walk(tree))
        assert [(name, size) for name, _, size in found] == [(name, len(FILES[name])) for name in sorted(FILES)]
        for name, place, _ in found:
            assert place == remote.join(tree, name)
            with remote.local_copy(place) as copy:
                assert copy.read_bytes() == FILES[name]
                assert copy.name == name.rpartition("/")[2]

    def test_is_listed(self, tree: Place) -> None:
        assert remote.list_folder(tree) == [
            (".DS_Store", False),
            (".git", True),
            ("a.wav", False),
            ("jazz", True),
            ("Ä", True),
        ]
        assert remote.list_folder(remote.join(tree, "jazz")) == [
            ("._b.wav", False),
            ("b.wav", False),
            ("c c.wav", False),
        ]

    def test_knows_files_from_folders(self, tree: Place) -> None:
        asked = ["", "a.wav", "jazz", "jazz/b.wav", "nothing"]
        places = [remote.join(tree, name) if name else tree for name in asked]
        assert [remote.is_folder(place) for place in places] == [True, False, True, False, False]
        assert [remote.is_file(place) for place in places] == [False, True, False, True, False]

    def test_a_download_is_gone_afterwards_and_a_file_of_this_machine_is_not(self, tree: Place) -> None:
        with remote.local_copy(remote.join(tree, "a.wav")) as copy:
            assert copy.is_file()
        assert copy.exists() != remote.is_remote(tree)

    def test_a_file_that_is_not_there_is_an_os_error(self, tree: Place) -> None:
        if remote.is_remote(tree):
            with pytest.raises(FileNotFoundError), remote.local_copy(remote.join(tree, "nothing.wav")):
                pass
        with pytest.raises(OSError, match="nothing"):
            remote.list_folder(remote.join(tree, "nothing"))
        (key,) = remote.content_keys([remote.join(tree, "jazz/nothing.wav")])
        assert isinstance(key, FileNotFoundError)


class TestKeys:
    def test_stay_as_long_as_the_file_does(self, tree: Place) -> None:
        told: list[tuple[int, int]] = []
        places = [place for _, place, _ in remote.walk(tree)]
        keys = remote.content_keys(places, lambda done, total: told.append((done, total)))
        assert told[-1] == (4, 4)
        assert remote.content_keys(places) == keys
        assert {len(key) for key in keys if isinstance(key, str)} == {64}
        copies_are_one = not remote.is_remote(tree)
        assert len(set(keys)) == (3 if copies_are_one else 4)

    def test_of_a_changed_file_is_another(self, tree: Place) -> None:
        places = [place for _, place, _ in remote.walk(tree)]
        before = remote.content_keys(places)
        store, path = fsspec.core.url_to_fs(str(places[0]))
        store.pipe_file(path, b"z")
        if remote.is_remote(tree) and isinstance(store, fsspec.implementations.local.LocalFileSystem):
            os.utime(path, (1e9, 1e9))
        after = remote.content_keys(places)
        assert [old == new for old, new in zip(before, after, strict=True)] == [False, True, True, True]

    def test_are_told_without_a_download(self, tree: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        places = [place for _, place, _ in remote.walk(tree)]
        if not remote.is_remote(tree):
            pytest.skip("a file of this machine is read")
        store, _ = fsspec.core.url_to_fs(str(tree))
        for name in ("open", "cat_file", "get_file"):
            monkeypatch.setattr(store, name, pytest.fail)
        assert len(set(remote.content_keys(places))) == 4

    def test_prefer_the_checksum_of_the_store(self) -> None:
        """Uploading the same bytes again changes the time and nothing else."""
        first = {"size": 1, "ETag": '"abc"', "LastModified": 1}
        assert remote._key("s3://b/x", first) == remote._key("s3://b/x", {**first, "LastModified": 2})
        assert remote._key("s3://b/x", first) != remote._key("s3://b/x", {**first, "ETag": '"abd"'})
        assert remote._key("s3://b/x", first) != remote._key("s3://b/y", first)


class TestHere:
    def test_links_are_followed_but_no_folder_twice(self, tmp_path: Path) -> None:
        (tmp_path / "a").mkdir()
        (tmp_path / "a/x.wav").write_bytes(b"x")
        (tmp_path / "a/up").symlink_to(tmp_path)
        (tmp_path / "a/broken.wav").symlink_to(tmp_path / "nowhere")
        assert [(name, size) for name, _, size in remote.walk(tmp_path)] == [("a/broken.wav", 0), ("a/x.wav", 1)]

    def test_a_folder_that_cannot_be_entered_is_told(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "closed").mkdir()
        (tmp_path / "x.wav").write_bytes(b"x")
        scandir = os.scandir

        def refusing(path: str) -> object:
            if str(path).endswith("closed"):
                raise PermissionError(13, "Permission denied", str(path))
            return scandir(path)

        monkeypatch.setattr(os, "scandir", refusing)
        told: list[str] = []
        found = list(remote.walk(tmp_path, lambda name, error: told.append(f"{name}: {error.strerror}")))
        assert [name for name, _, _ in found] == ["x.wav"]
        assert told == ["closed: Permission denied"]
        with pytest.raises(PermissionError):
            list(remote.walk(tmp_path))


@pytest.mark.parametrize(("url", "extra"), [("s3://bucket/x", "s3"), ("gs://bucket/x", "gcs")])
def test_a_missing_package_names_the_extra(url: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(DatasetError) as raised:
        remote.is_folder(url)
    assert str(raised.value) == f"{url!r} needs a package that is not installed: pip install 'synthkit[{extra}]'"


def test_an_unknown_protocol_is_said() -> None:
    with pytest.raises(DatasetError, match="'sss://bucket' cannot be opened: Protocol not known: sss"):
        list(remote.walk("sss://bucket"))


def test_what_a_store_says_is_told_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    class NoCredentials(Exception):
        pass

    def refuse(*_: object, **__: object) -> None:
        raise NoCredentials("Unable to locate\ncredentials")

    store, _ = fsspec.core.url_to_fs("memory://x")
    for name in ("find", "ls", "isdir"):
        monkeypatch.setattr(store, name, refuse)
    for ask in (remote.is_folder, remote.list_folder, lambda place: list(remote.walk(place))):
        with pytest.raises(
            DatasetError, match="the store of 'memory://x' cannot be read: Unable to locate credentials"
        ):
            ask("memory://x")


def test_only_urls_import_fsspec(tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from synthkit import remote
root = Path({str(tmp_path)!r})
assert remote.is_folder(root) and not list(remote.walk(root)) and not remote.is_remote("x")
print([name for name in ("fsspec", "numpy", "torch") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
