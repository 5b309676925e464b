"""What is said in clips, from the files of a folder to the batch that an objective sees."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from synthkit._catalog import Catalog
from synthkit._data.crops import Crops
from synthkit._data.pool import Source
from synthkit._data.prepare import prepare
from synthkit._data.prepared import Prepared
from synthkit._run.batches import to_batch
from synthkit.audio import Audio
from synthkit.builtin.config import FolderConfig, LogMelConfig
from synthkit.builtin.folder import Folder
from synthkit.builtin.log_mel import LogMel
from synthkit.errors import DatasetError

Write = Callable[[str, str], None]
RATE = 8000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three clips in two folders."""
    folder = tmp_path / "speech"
    for number, name in enumerate(("anna/one.wav", "anna/two.flac", "ben/one.wav")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        tone = 0.5 * np.sin(np.arange(RATE) / RATE * 2 * np.pi * 100 * (number + 1))
        Audio(tone, RATE).write(folder / name)
    return folder


def write(root: Path, **texts: str | bytes) -> None:
    for name, text in texts.items():
        content = text.encode() if isinstance(text, str) else text
        (root / name.replace("__", "/").replace("_dot_", ".")).write_bytes(content)


def read(root: Path, texts: str) -> tuple[dict[str, str], dict[str, str]]:
    """The text of each clip, and why others are left out."""
    dataset = Folder(FolderConfig.model_validate({"root": root, "texts": texts}))
    said = {clip.id: clip.text for clip in dataset.clips()}
    return said, {report.id: f"{report.code}: {report.reason}" for report in dataset.left_out()}


def test_none_unless_asked(root: Path) -> None:
    write(root, anna__one_dot_txt="Hello.")
    said, left_out = read(root, "none")
    assert (set(said.values()), left_out) == ({""}, {})


class TestBeside:
    def test_the_text_of_the_same_name_in_the_same_folder(self, root: Path) -> None:
        write(root, anna__one_dot_txt="\ufeffHello,\n  world.\n", anna__two_dot_txt="Zwölf", ben__one_dot_txt="Ben.")
        said, left_out = read(root, "beside")
        assert said == {"anna/one.wav": "Hello, world.", "anna/two.flac": "Zwölf", "ben/one.wav": "Ben."}
        assert left_out == {}

    def test_a_clip_without_one_is_named_and_left_out(self, root: Path) -> None:
        write(root, anna__one_dot_txt="Hello.", anna__two_dot_txt=" \n", ben__one_dot_txt=b"\xff\xfe\x00")
        said, left_out = read(root, "beside")
        assert list(said) == ["anna/one.wav"]
        assert left_out["anna/two.flac"] == "no-text: its text is empty (texts: beside)"
        assert left_out["ben/one.wav"].startswith("no-text: its text cannot be read: 'utf-8' codec")
        (root / "anna" / "two.txt").unlink()
        assert read(root, "beside")[1]["anna/two.flac"] == "no-text: there is no two.txt beside it (texts: beside)"

    def test_where_no_clip_has_one_that_is_the_error(self, root: Path) -> None:
        with pytest.raises(DatasetError, match=r"none of the 3 files .* there is no one.txt beside it"):
            read(root, "beside")


class TestMetadata:
    def test_ljspeech(self, root: Path) -> None:
        rows = "one|in 1455|in fourteen fifty-five\ntwo|Mr. Low|\n"
        write(root, anna__metadata_dot_csv=rows, ben__metadata_dot_csv="wavs/one.wav|only this")
        said, left_out = read(root, "metadata")
        assert said == {
            "anna/one.wav": "in fourteen fifty-five",
            "anna/two.flac": "Mr. Low",
            "ben/one.wav": "only this",
        }
        assert left_out == {}

    def test_the_nearest_table_counts(self, root: Path) -> None:
        write(root, metadata_dot_csv="one|far\ntwo|far", ben__metadata_dot_csv="one|near")
        assert read(root, "metadata")[0] == {"anna/one.wav": "far", "anna/two.flac": "far", "ben/one.wav": "near"}

    def test_what_no_table_names_is_left_out(self, root: Path) -> None:
        write(root, metadata_dot_csv="one|far\n\n")
        said, left_out = read(root, "metadata")
        assert (list(said), list(left_out)) == (["anna/one.wav", "ben/one.wav"], ["anna/two.flac"])
        assert left_out["anna/two.flac"] == "no-text: no metadata.csv has a text for it (texts: metadata)"

    def test_no_table_and_a_broken_one_are_errors(self, root: Path) -> None:
        with pytest.raises(DatasetError, match=r"there is no metadata\.csv in the folder or below it"):
            read(root, "metadata")
        write(root, metadata_dot_csv="one|far\ntwo,far\n")
        with pytest.raises(DatasetError, match=r"metadata.csv', line 2: expected `name\|text`"):
            read(root, "metadata")
        write(root, metadata_dot_csv=b"one|\xff")
        with pytest.raises(DatasetError, match=r"metadata.csv' cannot be read: 'utf-8' codec"):
            read(root, "metadata")


def test_texts_reach_the_batch_with_their_clips(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTHKIT_CACHE", str(tmp_path / "cache"))
    write(root, anna__one_dot_txt="anna one", anna__two_dot_txt="anna two", ben__one_dot_txt="ben one")
    catalog = Catalog.discover()
    offered, config = catalog.configure(
        "dataset", "folder", {"root": root, "texts": "beside", "validation": 0.0, "test": 0.0}
    )
    source = Source(catalog=catalog, offered=offered, config=config)
    prepare(source, source.build(), RATE, workers=1).save(tmp_path / "data.json")
    prepared = Prepared.open(tmp_path / "data.json")
    raw = Crops(prepared, "train", crop_samples=2048, batch=32, seed=1, at="start").batch(1)
    spec = {"preset": "melgan", "sample_rate": RATE, "n_fft": 256, "hop_length": 64, "n_mels": 20}
    batch = to_batch(raw, LogMel(LogMelConfig(**spec)), torch.device("cpu"))
    assert batch.texts is not None
    said = dict(zip(batch.clips, batch.texts, strict=True))
    assert said == {"anna/one.wav": "anna one", "anna/two.flac": "anna two", "ben/one.wav": "ben one"}
    assert batch.piece(3, 5).texts == batch.texts[3:5]
    firsts = {entry.id: prepared.read(entry, 0, 2048) for entry in prepared.entries()}
    for clip, samples in zip(batch.clips, batch.audio, strict=True):
        assert np.array_equal(samples.numpy(), firsts[clip])
