"""GTZAN in all its layouts, made of real music: what is a clip, in which split, and what is said of everything else."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from synthkit.audio import read
from synthkit.errors import ArchiveError, DatasetError
from synthkit.interfaces import SPLITS, Split
from synthkit.testing import battery, declaration
from synthkit_gtzan.config import GTZANConfig, SplitName
from synthkit_gtzan.dataset import GTZAN
from synthkit_gtzan.facts import GENRES, facts, split

EVERY_ID = [f"{genre}.{number:05}" for genre in GENRES for number in range(100)]
SPLIT_NAMES: tuple[SplitName, ...] = get_args(SplitName)
SIZES = {
    "fault-filtered": (443, 197, 290),
    "stratified": (500, 250, 250),
    "artist-fold-1": (462, 135, 315),
    "artist-fold-2": (446, 147, 316),
    "artist-fold-3": (480, 104, 317),
}
MINI = {genre: range(10) for genre in GENRES} | {"jazz": (0, 1, 2, 4, 5, 6, 7, 8, 11, 12)}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTHKIT_CACHE", str(tmp_path / "cache"))


def part_ids(name: SplitName, part: Split) -> set[str]:
    return {id for id, where in split(name).items() if where == part}


class TestSplits:
    @pytest.mark.parametrize("name", SPLIT_NAMES)
    def test_sizes(self, name: SplitName) -> None:
        counts = Counter(split(name).values())
        assert tuple(counts[part] for part in SPLITS) == SIZES[name]
        assert list(split(name)) == sorted(split(name))
        assert set(split(name)) <= set(EVERY_ID)

    def test_the_filtered_split_of_each_genre(self) -> None:
        counts = {part: Counter(id.split(".")[0] for id in part_ids("fault-filtered", part)) for part in SPLITS}
        assert [counts["train"][genre] for genre in GENRES] == [46, 48, 45, 42, 47, 43, 44, 41, 43, 44]
        assert [counts["validation"][genre] for genre in GENRES] == [23, 20, 23, 22, 18, 17, 20, 13, 17, 24]
        assert [counts["test"][genre] for genre in GENRES] == [31, 31, 30, 29, 27, 27, 27, 30, 26, 32]

    def test_the_stratified_split_of_each_genre(self) -> None:
        for part, share in zip(SPLITS, (50, 25, 25), strict=True):
            counts = Counter(id.split(".")[0] for id in part_ids("stratified", part))
            assert counts == dict.fromkeys(GENRES, share)

    def test_every_clip_of_the_folds_is_tested_once(self) -> None:
        tested = [part_ids(name, "test") for name in SPLIT_NAMES[2:]]
        assert len(set.union(*tested)) == sum(map(len, tested)) == 948
        for name, own in zip(SPLIT_NAMES[2:], tested, strict=True):
            others = set.union(*tested) - own
            assert part_ids(name, "train") | part_ids(name, "validation") == others & set(split("fault-filtered"))

    @pytest.mark.parametrize("name", SPLIT_NAMES[2:])
    def test_a_fold_validates_on_what_the_filtered_split_validates_on(self, name: SplitName) -> None:
        """Which shares no artist with that split's other parts (measured by those who know the artists)."""
        assert part_ids(name, "validation") <= part_ids("fault-filtered", "validation")
        assert not part_ids(name, "train") & part_ids("fault-filtered", "validation")
        unheard = set(GENRES) - {id.split(".")[0] for id in part_ids(name, "validation")}
        assert (
            unheard == {"artist-fold-1": set(), "artist-fold-2": {"jazz"}, "artist-fold-3": {"hiphop", "reggae"}}[name]
        )

    def test_all_copies_but_one_are_in_no_filtered_part(self) -> None:
        assert len(facts()["copies"]) == 14
        for pair in facts()["copies"]:
            assert [id in split("fault-filtered") for id in pair] == [False, True]
        assert not set(facts()["distorted"]) & set(split("fault-filtered"))

    @pytest.mark.data
    def test_they_are_the_published_ones(self, shared: Path) -> None:
        known = json.loads((shared / "facts/datasets.json").read_text(encoding="utf-8"))["gtzan"]
        filtered = known["split_fault_filtered_kereliuk2015"]
        for part, name in zip(SPLITS, ("train", "valid", "test"), strict=True):
            assert part_ids("fault-filtered", part) == set(filtered[name])
        for number in "123":
            fold = known["split_artist_3fold_foleiss2020"][f"fold{number}"]
            name: SplitName = f"artist-fold-{number}"  # type: ignore[assignment]
            assert part_ids(name, "test") == set(fold["test"])
            assert part_ids(name, "train") | part_ids(name, "validation") == set(fold["train"]) & set(
                split("fault-filtered")
            )
        assert facts()["copies"] == known["identical_md5_groups"]
        assert facts()["archives"][0]["sha256"] == known["archive"]["sha256"]
        assert facts()["archives"][0]["md5"] == known["archive"]["md5"]

    def test_every_process_has_the_same(self) -> None:
        code = f"from synthkit_gtzan.facts import *; print([list(split(n).items()) for n in {SPLIT_NAMES!r}])"
        seen = {
            subprocess.run(
                [sys.executable, "-c", code],
                env={**os.environ, "PYTHONHASHSEED": seed},
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            for seed in ("1", "2")
        }
        assert seen == {f"{[list(split(name).items()) for name in SPLIT_NAMES]}\n"}


@pytest.fixture(scope="session")
def pieces(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every clip of GTZAN as `ID.wav`: pieces of real music, 22,050 Hz, mono, 16 bit, no two alike but the 14 pairs."""
    import soundfile

    folder = tmp_path_factory.mktemp("gtzan")
    music = read(shared / "audio/music/Kevin_MacLeod_-_Vibe_Ace.hq.ogg").mono().resample(22050).samples[0]
    original = dict(facts()["copies"])
    for number, id in enumerate(EVERY_ID):
        start = 22050 + 1200 * EVERY_ID.index(original.get(id, id))
        if id == "jazz.00054":
            (folder / f"{id}.wav").write_bytes(bytes(700))
        else:
            soundfile.write(
                folder / f"{id}.wav", music[start : start + 1100 + number % 7 * (id not in original)], 22050
            )
    for copy, kept in facts()["copies"]:
        shutil.copyfile(folder / f"{kept}.wav", folder / f"{copy}.wav")
    return folder


Place = Callable[[str], str]
"""The path of a clip below the root, by its id."""


def in_genres(id: str) -> str:
    return f"{id.split('.')[0]}/{id}.wav"


def build(root: Path, pieces: Path, place: Place, ids: list[str] = EVERY_ID) -> None:
    for id in ids:
        target = root / place(id)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(pieces / f"{id}.wav", target)


LAYOUTS: dict[str, Place] = {
    "the tarball": lambda id: f"genres/{in_genres(id)}",
    "Kaggle": lambda id: f"Data/genres_original/{in_genres(id)}",
    "Kaggle, one folder down": lambda id: f"genres_original/{in_genres(id)}",
    "genre folders": in_genres,
    "mirdata": lambda id: f"gtzan_genre/genres/{in_genres(id)}",
    "flat": lambda id: f"{id.replace('.', '_')}.wav",
}
JUNK = ("genres/bextract_single.mf", "genres/ja.mf", "README.md", "Data/features_30_sec.csv", "gtzan_tempo_beat-main/beats/x.beats",
        "Data/images_original/jazz/jazz00001.png", ".DS_Store", "._jazz.00001.wav")  # fmt: skip


def add_junk(root: Path, layout: Place) -> None:
    genre_folder = (root / layout("jazz.00001")).parent
    for junk in (*(root / name for name in JUNK), genre_folder / ".DS_Store", genre_folder / "._jazz.00001.wav"):
        junk.parent.mkdir(parents=True, exist_ok=True)
        junk.write_bytes(b"\0\0\0\1Bud1")


def dataset(root: Path | str, **settings: object) -> GTZAN:
    return GTZAN(GTZANConfig.model_validate({"root": root, **settings}))


def codes(data: GTZAN) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for report in data.left_out():
        assert report.reason
        found.setdefault(report.code, []).append(report.id)
    return found


@pytest.mark.data
class TestLayouts:
    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_every_clip_is_found_and_nothing_else(self, tmp_path: Path, pieces: Path, layout: str) -> None:
        build(tmp_path, pieces, LAYOUTS[layout])
        add_junk(tmp_path, LAYOUTS[layout])
        data = dataset(tmp_path)
        assert [len(data.clips(part)) for part in SPLITS] == [442, 197, 290]  # without jazz.00054
        assert [clip.id for clip in data.clips()] == sorted(set(split("fault-filtered")) - {"jazz.00054"})
        assert all(clip.label == clip.id.split(".")[0] for clip in data.clips())
        assert codes(data).keys() == {"known-fault", "not-listed"}
        assert codes(data)["known-fault"] == ["jazz.00054"]
        assert set(codes(data)["not-listed"]) == set(EVERY_ID) - set(split("fault-filtered"))
        clip = data.clips("test")[0]
        assert clip.path is not None
        assert np.array_equal(data.open(clip).samples, read(pieces / f"{clip.id}.wav").samples)

    def test_the_au_files_of_the_first_tarball(self, tmp_path: Path, pieces: Path) -> None:
        """There jazz.00054 is whole."""
        import soundfile

        for id in ("jazz.00053", "jazz.00054", "rock.00001"):
            (tmp_path / "genres" / id[:4]).mkdir(parents=True, exist_ok=True)
            samples = read(pieces / "rock.00002.wav").samples[0]
            soundfile.write(tmp_path / f"genres/{id[:4]}/{id}.au", samples * int(id[-5:]) / 100, 22050, "PCM_16")
        data = dataset(tmp_path, partial=True)
        assert [clip.id for clip in data.clips()] == ["jazz.00053", "jazz.00054", "rock.00001"]
        assert "known-fault" not in codes(data)
        assert all(data.open(clip).sample_rate == 22050 for clip in data.clips())

    @pytest.mark.parametrize(
        "wrapping", ["gtzan_mini-main/genres", "gtzan_genre/gtzan_mini-main/genres", "genres", "."]
    )
    def test_the_mini_set_has_gaps(self, tmp_path: Path, pieces: Path, wrapping: str) -> None:
        ids = [f"{genre}.{number:05}" for genre in GENRES for number in MINI[genre]]
        build(tmp_path, pieces, lambda id: f"{wrapping}/{in_genres(id)}", ids)
        data = dataset(tmp_path, partial=True)
        assert {clip.id for clip in data.clips()} == set(ids) & set(split("fault-filtered"))
        assert all(data.clips(part) for part in SPLITS)
        assert codes(data).keys() == {"absent", "not-listed"}
        assert codes(dataset(tmp_path)).keys() == {"missing", "not-listed"}
        everything = dataset(tmp_path, partial=True, split="stratified", skip_known_faults=False)
        assert {clip.id for clip in everything.clips()} == set(ids)

    def test_the_first_place_with_a_clip_is_taken(self, tmp_path: Path, pieces: Path) -> None:
        build(tmp_path, pieces, LAYOUTS["Kaggle"], ["jazz.00001", "jazz.00002"])
        for genre in GENRES:
            (tmp_path / genre).mkdir()  # somebody's empty folders
        data = dataset(tmp_path, partial=True)
        assert len(data.clips()) == 2
        build(tmp_path, pieces, LAYOUTS["the tarball"], ["rock.00099"])
        assert [clip.id for clip in dataset(tmp_path, partial=True).clips()] == ["rock.00099"]

    def test_a_remote_store(self, pieces: Path) -> None:
        import fsspec

        store = fsspec.filesystem("memory")
        try:
            for id in ("jazz.00001", "jazz.00002", "rock.00099"):
                store.pipe(f"/music/genres/{in_genres(id)}", (pieces / f"{id}.wav").read_bytes())
            data = dataset("memory://music", partial=True)
            assert [clip.id for clip in data.clips()] == ["jazz.00001", "jazz.00002", "rock.00099"]
            assert data.open(data.clips()[0]).sample_rate == 22050
        finally:
            store.rm("/music", recursive=True)

    def test_other_sound_files_are_named(self, tmp_path: Path, pieces: Path) -> None:
        build(tmp_path, pieces, LAYOUTS["the tarball"])
        (tmp_path / "genres/jazz/blues.00001.wav").write_bytes(b"x")
        (tmp_path / "genres/jazz/jazz.00001.mp3").write_bytes(b"x")
        (tmp_path / "genres/jazz/jazz.1.wav").write_bytes(b"x")
        (tmp_path / "genres/jazz/jazz.00002.au").write_bytes(b"x")
        (tmp_path / "genres/jazz/jazz.00100.wav").mkdir()
        (tmp_path / "genres/jazz/notes.txt").write_bytes(b"x")
        os.mkfifo(tmp_path / "genres/jazz/jazz.00999.wav")
        (tmp_path / "genres/rock/rock.00005.wav").unlink()
        (tmp_path / "genres/rock/rock.00005.wav").symlink_to(tmp_path / "nowhere")
        data = dataset(tmp_path)
        strays = {report.id: report.reason for report in data.left_out() if report.id.endswith((".wav", ".mp3", ".au"))}
        assert strays == {
            "jazz/blues.00001.wav": "its name is not one of a clip, such as jazz.00000.wav",
            "jazz/jazz.00001.mp3": "its name is not one of a clip, such as jazz.00000.wav",
            "jazz/jazz.1.wav": "its name is not one of a clip, such as jazz.00000.wav",
            "jazz/jazz.00002.wav": "jazz.00002 is there twice, and the other file is used",
            "jazz/jazz.00999.wav": "it is not a regular file",
            "rock/rock.00005.wav": "it is not a regular file",
        }
        assert codes(data)["missing"] == ["rock.00005"]

    @pytest.mark.parametrize("broken", ["empty", "absent", "file", "renamed"])
    def test_no_clip_at_all(self, tmp_path: Path, broken: str) -> None:
        root = tmp_path / "set"
        if broken in ("empty", "renamed"):
            (root / "genres/jazz").mkdir(parents=True)
        if broken == "file":
            root.write_bytes(b"x")
        if broken == "renamed":
            (root / "genres/jazz/jazz.00001.mp3").write_bytes(b"x")
        with pytest.raises(DatasetError) as caught:
            dataset(root).clips()
        said = str(caught.value)
        assert f"no clip of GTZAN is in {str(root)!r}" in said
        assert "genres, genres_original, Data/genres_original, gtzan_genre/genres, gtzan_mini-main/genres" in said
        assert "synthkit data fetch gtzan" in said
        assert ("1 sound files have other names, such as 'jazz/jazz.00001.mp3'" in said) == (broken == "renamed")


@pytest.mark.data
class TestFaults:
    @pytest.fixture
    def root(self, tmp_path: Path, pieces: Path) -> Path:
        build(tmp_path, pieces, LAYOUTS["the tarball"])
        return tmp_path

    def test_of_two_copies_one_is_kept_and_the_reason_said(self, root: Path) -> None:
        data = dataset(root, split="stratified")
        reasons = {report.id: report.reason for report in data.left_out()}
        assert set(reasons) == {copy for copy, _ in facts()["copies"]} | {"pop.00037", "reggae.00086", "jazz.00054"}
        assert reasons["disco.00098"] == "it is byte for byte disco.00099"
        assert reasons["metal.00058"] == "it is byte for byte rock.00016, under another label"
        assert "distorted" in reasons["pop.00037"]
        assert "does not decode" in reasons["jazz.00054"]
        assert len({clip.key for clip in data.clips()}) == len(data.clips()) == 983

    def test_a_list_that_has_only_the_other_copy_keeps_that(self, root: Path) -> None:
        data = dataset(root, split="artist-fold-1")
        there = {clip.id for clip in data.clips()}
        assert {"metal.00034", "rock.00016"} <= there
        assert not {"metal.00094", "metal.00058"} & there
        assert codes(data)["known-fault"] == ["jazz.00054"]
        assert [len(data.clips(part)) for part in SPLITS] == [461, 135, 315]

    def test_a_copy_whose_other_is_not_there_is_no_copy(self, root: Path) -> None:
        (root / "genres/disco/disco.00099.wav").unlink()
        data = dataset(root, split="stratified")
        assert "disco.00098" in {clip.id for clip in data.clips()}
        assert codes(data)["missing"] == ["disco.00099"]

    def test_they_are_used_where_that_is_asked_for(self, root: Path) -> None:
        data = dataset(root, split="stratified", skip_known_faults=False)
        assert [len(data.clips(part)) for part in SPLITS] == [500, 250, 250]
        assert data.left_out() == []

    def test_without_labels(self, root: Path) -> None:
        data = dataset(root, labels="none")
        assert data.labels() == ()
        assert {clip.label for clip in data.clips()} == {None}

    @pytest.mark.parametrize("name", SPLIT_NAMES)
    def test_parts_are_disjoint_also_in_content(self, root: Path, name: SplitName) -> None:
        data = dataset(root, split=name)
        keys = [{clip.key for clip in data.clips(part)} for part in SPLITS]
        assert not any(one & other for one, other in combinations(keys, 2))
        said = {clip.id for clip in data.clips()} | {report.id for report in data.left_out()}
        assert said == set(EVERY_ID)  # whatever is on the disk is a clip, or stands somewhere with a reason

    def test_the_laws_of_data_sets(self, root: Path) -> None:
        for check in battery("dataset", lambda: dataset(root), config=GTZANConfig(root=root)):
            check()


@pytest.mark.parametrize("check", declaration("synthkit_gtzan.plugin"), ids=str)
def test_the_declaration(check: Callable[[], None]) -> None:
    check()


@pytest.mark.data
class TestFetch:
    def test_it_explains_and_downloads_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("socket.socket.connect", lambda *args: pytest.fail("it goes to the network"))
        with pytest.raises(DatasetError) as caught:
            dataset(tmp_path / "set").fetch()
        said = str(caught.value)
        for words in (
            "no licence",
            "dead since 2022",
            "marsyas/gtzan",
            "andradaolteanu",
            "--archive genres.tar.gz",
            str(tmp_path),
        ):
            assert words in said

    def test_an_archive_is_checked_and_unpacked(self, tmp_path: Path, archive: Path) -> None:
        told: list[tuple[int, int]] = []
        data = dataset(tmp_path / "set", partial=True)
        data.fetch(lambda done, total: told.append((done, total)), archive)
        assert [clip.id for clip in data.clips()] == ["jazz.00001", "jazz.00002", "rock.00099"]
        assert (archive.stat().st_size, archive.stat().st_size) in told
        data.fetch()  # it is there
        data.fetch(archive=archive)

    def test_another_archive_is_refused(self, tmp_path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with archive.open("ab") as file:
            file.write(b"x")
        monkeypatch.undo()
        with pytest.raises(DatasetError) as caught:
            dataset(tmp_path / "set").fetch(archive=archive)
        assert hashlib.sha256(archive.read_bytes()).hexdigest() in str(caught.value)
        assert facts()["archives"][0]["sha256"] in str(caught.value)
        assert not (tmp_path / "set").exists()

    def test_a_hostile_archive_is_refused_even_with_the_right_checksum(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import tarfile

        archive = tmp_path / "genres.tar.gz"
        with tarfile.open(archive, "w:gz") as opened:
            opened.addfile(tarfile.TarInfo("genres/../../evil"))
        know(archive, monkeypatch)
        with pytest.raises(ArchiveError, match=r"'genres/../../evil' leads out of the folder"):
            dataset(tmp_path / "set").fetch(archive=archive)

    def test_what_cannot_be(self, tmp_path: Path) -> None:
        with pytest.raises(DatasetError, match=r"cannot read the archive .*No such file"):
            dataset(tmp_path / "set").fetch(archive=tmp_path / "none.tar.gz")
        with pytest.raises(DatasetError, match="a folder of this machine, not into 's3://bucket/gtzan'"):
            dataset("s3://bucket/gtzan").fetch(archive=tmp_path / "none.tar.gz")

    @pytest.fixture
    def archive(self, tmp_path: Path, pieces: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        import tarfile

        path = tmp_path / "genres.tar.gz"
        with tarfile.open(path, "w:gz") as opened:
            for id in ("jazz.00001", "jazz.00002", "rock.00099"):
                opened.add(pieces / f"{id}.wav", f"genres/{in_genres(id)}")
        know(path, monkeypatch)
        return path


def know(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make an archive the one whose checksums are known."""
    data = archive.read_bytes()
    sums = {"sha256": hashlib.sha256(data).hexdigest(), "md5": hashlib.md5(data).hexdigest()}
    first, mini = facts()["archives"]
    changed = {**facts(), "archives": [{**first, **sums}, mini]}
    monkeypatch.setattr("synthkit_gtzan.sources.facts", lambda: changed)
