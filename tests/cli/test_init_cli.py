"""`synthkit init` on real recordings."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from synthkit._catalog import Catalog
from synthkit._recipe.load import load_recipe

Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.data
def test_a_folder_of_real_music(synthkit_cli: Call, shared: Path, tmp_path: Path) -> None:
    """17 files: ogg, mp3 and wav, mono and stereo, 22.05, 44.1 and 48 kHz, and a name with two spaces."""
    done = synthkit_cli("init", "--data", shared / "audio" / "music", "--name", "songs")
    assert done.returncode == 0, done.stderr
    assert "cannot be used" not in done.stdout
    rows = [line.split()[:4] for line in done.stdout.splitlines() if " Hz " in line]
    assert sorted((int(rate), int(channels), int(clips)) for rate, _, channels, clips in rows) == [
        (22050, 2, 1),
        (44100, 1, 2),
        (44100, 2, 13),
        (48000, 1, 1),
    ]
    recipe = load_recipe(tmp_path / "recipe.yaml", Catalog.discover())
    assert (recipe.name, recipe.spec.sample_rate, recipe.prepare.max_unreadable) == ("songs", 22050, 0.1)
    assert synthkit_cli("check", "recipe.yaml").returncode == 0
    written = (tmp_path / "recipe.yaml").read_text(encoding="utf-8")
    again = synthkit_cli("init", "--data", shared / "audio" / "music")
    assert again.returncode == 2
    assert "'recipe.yaml' is there already and is not replaced" in again.stderr
    assert (tmp_path / "recipe.yaml").read_text(encoding="utf-8") == written


@pytest.mark.data
@pytest.mark.slow
def test_a_folder_of_mostly_broken_files_goes_through_prepare(synthkit_cli: Call, shared: Path, tmp_path: Path) -> None:
    done = synthkit_cli("init", "--data", shared / "audio" / "odd", "-o", "odd.yaml")
    assert done.returncode == 0, done.stderr
    for file, why in (
        ("tinytag/empty_file.mp3", "the file has 0 bytes"),
        ("lfs_pointer/f10_script4_produced.wav", "git-LFS pointer"),
        ("pydub/test5.webm", "not supported"),
        ("openl3/short.wav", "less than 0.05 s"),
    ):
        (line,) = [line for line in done.stdout.splitlines() if line.startswith(f"{file} ")]
        assert why in line
    recipe = load_recipe(tmp_path / "odd.yaml", Catalog.discover())
    assert 0.5 < recipe.prepare.max_unreadable < 0.7
    prepared = synthkit_cli("run", "odd.yaml", "--stage", "prepare")
    assert prepared.returncode == 0, prepared.stderr


@pytest.mark.data
def test_short_speech_of_8_khz_gets_features_and_crops_that_fit(
    synthkit_cli: Call, shared: Path, tmp_path: Path
) -> None:
    done = synthkit_cli("init", "--data", shared / "audio" / "speech" / "fsdd_test", "-o", "digits.yaml")
    assert done.returncode == 0, done.stderr
    recipe = load_recipe(tmp_path / "digits.yaml", Catalog.discover())
    assert recipe.spec.sample_rate == 8000
    assert recipe.train[0].settings.crop_seconds < 0.37


def test_without_recordings_it_says_what_it_looked_for_and_writes_nothing(synthkit_cli: Call, tmp_path: Path) -> None:
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "a.pdf").write_bytes(b"%PDF")
    done = synthkit_cli("init", "--data", "papers")
    assert (done.returncode, done.stdout) == (2, "")
    assert ".flac" in done.stderr
    assert ".mp3" in done.stderr
    nowhere = synthkit_cli("init", "--data", "nowhere")
    assert nowhere.returncode == 2
    assert "does not exist" in nowhere.stderr
    assert not (tmp_path / "recipe.yaml").exists()
