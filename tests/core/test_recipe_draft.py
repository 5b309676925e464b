"""The recipe that `init` writes follows from what was measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from synthkit._catalog import Catalog
from synthkit._recipe.draft import draft_recipe, recipe_name
from synthkit._recipe.load import load_text
from synthkit._recipe.measure import Group, Measured, measure_folder
from synthkit._recipe.model import Recipe
from synthkit.audio import Audio
from synthkit.errors import ClipReport, ConfigError, DatasetError


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.discover()


def clip(seconds: float, sample_rate: int = 44100, id: str = "a.wav", channels: int = 2) -> ClipReport:
    return ClipReport(id=id, code="ok", seconds=seconds, sample_rate=sample_rate, channels=channels, peak=0.5)


def lost(count: int) -> tuple[ClipReport, ...]:
    return tuple(ClipReport(id=f"{number}.mp3", code="unreadable", reason="damaged") for number in range(count))


def drafted(
    catalog: Catalog, root: Path, clips: list[ClipReport], bad: int = 0, labels: tuple[str, ...] = ()
) -> Recipe:
    measured = Measured(root=root, usable=Group(tuple(clips)), lost=lost(bad), beside=(), labels=labels)
    text = draft_recipe(measured)
    recipe = load_text(text, root / "recipe.yaml", catalog)
    assert load_text(text, root / "recipe.yaml", catalog, tiny=True).data.offered.offer.name == "tones"
    return recipe


@pytest.mark.parametrize(
    ("rates", "sample_rate", "hop_length"),
    [
        ([44100, 44100, 8000], 22050, 256),
        ([48000], 22050, 256),
        ([22050, 16000], 22050, 256),
        ([16000, 16000, 44100], 16000, 200),
        ([8000, 8000, 16000], 8000, 128),
        ([11025], 11025, 128),
    ],
)
def test_the_rate_is_one_that_most_of_the_sound_has(
    catalog: Catalog, tmp_path: Path, rates: list[int], sample_rate: int, hop_length: int
) -> None:
    recipe = drafted(catalog, tmp_path, [clip(10.0, rate) for rate in rates])
    assert (recipe.spec.sample_rate, recipe.spec.hop_length) == (sample_rate, hop_length)
    assert recipe.vocoder is not None
    assert np.prod(recipe.vocoder.config.model_dump()["ratios"]) == hop_length


@pytest.mark.parametrize(("seconds", "frames"), [(60.0, 32), (0.3, 25), (0.2, 17), (0.06, 16)])
def test_crops_are_no_longer_than_most_clips(catalog: Catalog, tmp_path: Path, seconds: float, frames: int) -> None:
    recipe = drafted(catalog, tmp_path, [clip(seconds)] * 10)
    assert round(recipe.train[0].settings.crop_seconds * recipe.spec.frames_per_second) == frames


@pytest.mark.parametrize(("good", "bad"), [(10, 0), (95, 5), (60, 85), (1, 99), (3, 1)])
def test_what_was_lost_when_measured_may_be_lost_again(catalog: Catalog, tmp_path: Path, good: int, bad: int) -> None:
    allowed = drafted(catalog, tmp_path, [clip(3.0)] * good, bad).prepare.max_unreadable
    share = bad / (good + bad)
    assert max(share, 0.1) <= allowed <= max(0.1, share + 0.021)


def test_labels_and_odd_folder_names_reach_the_recipe(catalog: Catalog, tmp_path: Path) -> None:
    root = tmp_path / 'my: "music" #1 é'
    root.mkdir()
    recipe = drafted(catalog, root, [clip(3.0)], labels=("a", "b"))
    settings = recipe.data.config.model_dump()
    assert (settings["root"], settings["labels"]) == (root, "folders")
    assert recipe.name == "my-music-1"
    assert recipe_name("\u97f3\u697d") == "my-audio"


def test_real_files_are_measured_and_the_broken_ones_named(catalog: Catalog, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for label in ("drums", "voice"):
        for number in range(3):
            Audio(rng.normal(size=(1 + number % 2, 8000)) * 0.1, 16000).write(tmp_path / label / f"{number}.wav")
    Audio(np.zeros(200), 16000).write(tmp_path / "voice" / "blip.flac")
    (tmp_path / "drums" / "empty.mp3").write_bytes(b"")
    (tmp_path / "drums" / "page.wav").write_text("<!DOCTYPE html>", encoding="utf-8")
    (tmp_path / "drums" / "notes.txt").write_text("beside", encoding="utf-8")
    told: list[tuple[int, int]] = []
    measured = measure_folder(tmp_path, catalog, decoded=lambda done, total: told.append((done, total)))
    assert measured.labels == ("drums", "voice")
    assert {report.id: report.code for report in measured.lost} == {
        "drums/empty.mp3": "empty",
        "drums/page.wav": "unreadable",
        "voice/blip.flac": "too-short",
    }
    assert all(report.reason for report in measured.lost)
    assert {key: len(group.clips) for key, group in measured.by("sample_rate", "channels").items()} == {
        (16000, 1): 4,
        (16000, 2): 2,
    }
    assert measured.usable.seconds == pytest.approx(3.0)
    assert (measured.usable.quantile(0), measured.usable.quantile(1)) == (0.5, 0.5)
    assert told[-1] == (9, 9)
    assert len(told) == 9


@pytest.mark.parametrize(
    ("ids", "labels"),
    [
        (["a/1.wav", "a/2.wav", "b/1.wav", "b/deep/2.wav"], ("a", "b")),
        (["a/1.wav", "a/2.wav", "b/1.wav"], ()),
        (["a/1.wav", "a/2.wav", "b/1.wav", "b/2.wav", "loose.wav"], ()),
        (["wavs/1.wav", "wavs/2.wav"], ()),
        (["train/1.wav", "train/2.wav", "test/1.wav", "test/2.wav"], ()),
        (["1.wav", "2.wav"], ()),
    ],
)
def test_sub_folders_are_labels_only_where_they_look_like_classes(ids: list[str], labels: tuple[str, ...]) -> None:
    from synthkit._recipe.measure import classes

    assert classes([clip(1.0, id=id) for id in ids]) == labels


def test_a_folder_without_sound_is_told_what_was_looked_for(catalog: Catalog, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        measure_folder(tmp_path / "nowhere", catalog)
    with pytest.raises(DatasetError, match=r"no sound file lies below .*\.flac, .*\.mp3.*\.wav"):
        measure_folder(tmp_path, catalog)
    (tmp_path / "film.mp4").write_bytes(b"x")
    with pytest.raises(DatasetError, match=r"film.mp4: .mp4 is a format that is not supported.*\.flac, .*\.mp3.*\.wav"):
        measure_folder(tmp_path, catalog)
