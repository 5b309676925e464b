"""Entry points are those that `importlib.metadata` finds, wherever distributions come from."""

from __future__ import annotations

import sys
import zipfile
from importlib import metadata
from importlib.machinery import PathFinder
from pathlib import Path

import pytest

from synthkit import _entry_points
from synthkit._entry_points import entry_points


@pytest.fixture(autouse=True)
def no_hook_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests import packages that put finders of distributions of their own on `sys.meta_path`."""
    own = [finder for finder in sys.meta_path if finder is PathFinder or not hasattr(finder, "find_distributions")]
    monkeypatch.setattr(sys, "meta_path", own)
    # What the backport of `importlib.metadata` takes away from Python's own finder when it is imported.
    monkeypatch.setattr(PathFinder, "find_distributions", metadata.MetadataPathFinder.find_distributions, raising=False)


def install(folder: Path, info: str, text: str, name: str, headers: str = "METADATA") -> None:
    place = folder / info
    place.mkdir(parents=True)
    (place / headers).write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n\nName: of the text\n", "utf-8")
    (place / "entry_points.txt").write_text(text, "utf-8")


def found(group: str) -> list[tuple[str, str, str, str]]:
    return sorted((it.name, it.value, it.distribution, it.version) for it in entry_points(group))


def expected(group: str) -> list[tuple[str, str, str, str]]:
    return sorted((it.name, it.value, it.dist.name, it.dist.version) for it in metadata.entry_points(group=group))


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Two folders that come first on the path."""
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (second, first):
        folder.mkdir()
        monkeypatch.syspath_prepend(str(folder))
    return first, second


@pytest.mark.parametrize("group", ["synthkit", "console_scripts", "pytest11", "no-such-group"])
def test_of_what_is_installed_here(group: str) -> None:
    assert found(group) == expected(group)
    assert bool(found(group)) == (group != "no-such-group")


def test_form_of_the_file(folders: tuple[Path, Path]) -> None:
    text = "# of nobody\n[other]\na = a.b\n\n[ours]\n# c = c.d\n  e=e.f:G.h\ni = j.k [extra]\n[last]\nl = m\n"
    install(folders[0], "some_thing-1.5.dist-info", text, "Some.Thing")
    assert found("ours") == [("e", "e.f:G.h", "Some.Thing", "1.5"), ("i", "j.k", "Some.Thing", "1.5")]


def test_the_first_of_one_name_counts(folders: tuple[Path, Path]) -> None:
    first, second = folders
    install(first, "one_thing-2.0.dist-info", "[other]\na = b\n", "one-thing")
    install(second, "One.Thing-1.0.egg-info", "[ours]\na = b\n", "One.Thing", headers="PKG-INFO")
    install(second, "two-1.0.egg-info", "[ours]\nc = d\n", "two", headers="PKG-INFO")
    assert found("ours") == expected("ours") == [("c", "d", "two", "1.5")]


def test_damaged_metadata_hurt_nobody(folders: tuple[Path, Path]) -> None:
    first, _ = folders
    install(first, "good-1.0.dist-info", "[ours]\na = b\n", "good")
    install(first, "left_over-1.0.dist-info", "[ours]\nc = d\n", "left-over")
    (first / "left_over-1.0.dist-info" / "METADATA").unlink()
    (first / "bytes-1.0.dist-info").mkdir()
    (first / "bytes-1.0.dist-info" / "entry_points.txt").write_bytes(b"[ours\xff]\n\xfe")
    (first / "file.egg-info").write_text("Name: file\n", "utf-8")
    assert found("ours") == [("a", "b", "good", "1.5"), ("c", "d", "left_over", "")]


def test_of_a_zip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tmp_path / "all.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("zipped-1.0.dist-info/METADATA", "Name: zipped\nVersion: 1.0\n")
        file.writestr("zipped-1.0.dist-info/entry_points.txt", "[ours]\na = b\n")
    monkeypatch.syspath_prepend(str(archive))
    assert found("ours") == [("a", "b", "zipped", "1.0")]


def test_of_an_import_hook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "hooked-1.0.dist-info", "[ours]\na = b\n", "hooked")

    class Hook(metadata.DistributionFinder):
        def find_spec(self, *arguments: object) -> None:
            return None

        def find_distributions(self, context: object = None) -> list[metadata.Distribution]:
            return [metadata.PathDistribution(tmp_path / "hooked-1.0.dist-info")]

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Hook()])
    assert found("ours") == [("a", "b", "hooked", "1.5")]


def test_folders_are_read_without_importlib_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_entry_points, "_slowly", lambda group: pytest.fail("the slow way was taken"))
    assert found("synthkit")
