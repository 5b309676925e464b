"""The data set `fma` on the real rows of its tables and trees of real mp3 files in the layouts that people have."""

from __future__ import annotations

import csv
import itertools
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from synthkit.errors import DatasetError, UnreadableClip
from synthkit.interfaces import SPLITS, Clip
from synthkit.testing import battery, declaration
from synthkit_fma.config import FMAConfig
from synthkit_fma.dataset import FMA
from synthkit_fma.genres import GenreTree
from synthkit_fma.index import Index, open_index
from synthkit_fma.selection import known_faults
from synthkit_fma.tables import TABLE_SPLITS, TABLE_SUBSETS, read_tracks

pytestmark = pytest.mark.data

Rows = list[list[str]]
TRACKS = 682
SMALL, MEDIUM = 58, 58 + 136
"""How many of the real rows the subsets have."""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SYNTHKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def tables(shared: Path) -> Path:
    return shared / "audio/fma_metadata"


@pytest.fixture
def rows(tables: Path) -> Rows:
    """All rows of the real table, the three header lines included."""
    with (tables / "tracks.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.reader(stream))


@pytest.fixture
def mp3(shared: Path) -> Path:
    return shared / "audio/odd/audioread/test-2.mp3"


def write_table(rows: Iterable[list[str]], file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows)
    return file


def write_tracks(folder: Path, ids: Iterable[int], mp3: Path) -> Path:
    for id in ids:
        file = folder / f"{id:06d}"[:3] / f"{id:06d}.mp3"
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(mp3, file)
    return folder


def ids_of(rows: Rows, *subsets: str) -> list[int]:
    return [int(row[0]) for row in rows[3:] if row[rows[1].index("subset")] in subsets]


def fma(root: Path | str, **settings: object) -> FMA:
    return FMA(FMAConfig.model_validate({"root": root, **settings}))


def codes(dataset: FMA) -> dict[str, str]:
    return {report.id: report.code for report in dataset.left_out()}


def ids(clips: Iterable[Clip]) -> list[int]:
    return [int(clip.id) for clip in clips]


@pytest.fixture
def small(tmp_path: Path, rows: Rows, tables: Path, mp3: Path) -> Path:
    """A tree with the clips of small and the real tables."""
    root = tmp_path / "fma"
    write_tracks(root / "fma_small", ids_of(rows, "small"), mp3)
    shutil.copytree(tables, root / "fma_metadata")
    return root


@pytest.fixture
def large(tmp_path: Path, rows: Rows, tables: Path, mp3: Path) -> Path:
    """A tree with a clip for each real row."""
    root = tmp_path / "fma"
    write_tracks(root / "fma_large", ids_of(rows, *TABLE_SUBSETS), mp3)
    shutil.copytree(tables, root / "fma_metadata")
    return root


class TestTable:
    def test_every_field_is_that_of_the_real_table(self, tables: Path, rows: Rows) -> None:
        """Judged by the csv module on all of it at once, as the table's own notebook reads it."""
        expected = [dict(zip(zip(rows[0], rows[1], strict=True), row, strict=True)) for row in rows[3:]]
        tracks = list(read_tracks(tables / "tracks.csv"))
        assert len(tracks) == len(expected) == TRACKS
        assert any("\n" in field for row in rows for field in row)  # fields of several lines are among them
        for track, row, raw in zip(tracks, expected, rows[3:], strict=True):
            assert track.id == int(raw[0])
            assert TABLE_SPLITS[track.split] == row["set", "split"]
            assert TABLE_SUBSETS[track.subset] == row["set", "subset"]
            assert track.seconds == int(row["track", "duration"])
            assert list(track.genres) == json.loads(row["track", "genres"])
            assert track.licence == row["track", "license"].strip()
            assert (track.genre_top, track.title) == (row["track", "genre_top"], row["track", "title"])
            assert track.artist == row["artist", "name"]

    def test_the_index_says_the_same_as_the_table(self, tables: Path) -> None:
        made = open_index(tables / "tracks.csv")
        opened = open_index(tables / "tracks.csv")
        for index in (made, opened):
            for row, track in enumerate(read_tracks(tables / "tracks.csv")):
                texts = [
                    index.text(column[row]) for column in (index.genre_top, index.licence, index.title, index.artist)
                ]
                assert texts == [track.genre_top, track.licence, track.title, track.artist]
                assert index.genres_of(row) == track.genres
                assert (index.ids[row], index.seconds[row]) == (track.id, track.seconds)
                assert index.row(track.id) == row
        assert made.row(1) is None
        assert made.row(10**6) is None

    def test_the_table_is_read_once(self, tables: Path, cache: Path, tmp_path: Path, rows: Rows) -> None:
        table = tmp_path / "tracks.csv"
        shutil.copyfile(tables / "tracks.csv", table)
        told: list[tuple[int, int]] = []
        open_index(table, lambda done, total: told.append((done, total)))
        assert told[-1] == (table.stat().st_size, table.stat().st_size)
        assert told == sorted(told)
        assert len(told) >= 3
        told.clear()
        open_index(table, lambda done, total: told.append((done, total)))
        assert told == []
        write_table([*rows[:3], *rows[5:]], table)
        assert len(open_index(table, lambda done, total: told.append((done, total)))) == TRACKS - 2
        assert told

    def test_a_damaged_index_is_made_anew(self, tables: Path, cache: Path) -> None:
        open_index(tables / "tracks.csv")
        (file,) = cache.glob("fma-*/*.npz")
        for content in (b"", b"PK\x03\x04", file.read_bytes()[:-500], b"x" * 1000):
            file.write_bytes(content)
            assert len(open_index(tables / "tracks.csv")) == TRACKS
        assert Index.load(file) is not None

    def test_the_order_of_rows_does_not_matter(self, tmp_path: Path, rows: Rows, tables: Path) -> None:
        there = open_index(tables / "tracks.csv")
        back = open_index(write_table([*rows[:3], *reversed(rows[3:])], tmp_path / "tracks.csv"))
        for row in range(TRACKS):
            assert back.genres_of(row) == there.genres_of(row)
            assert back.text(back.title[row]) == there.text(there.title[row])
        assert np.array_equal(back.ids, there.ids)

    def test_a_field_of_a_megabyte(self, tmp_path: Path, rows: Rows) -> None:
        """The csv module refuses fields of more than 128 KiB, and the limit belongs to all."""
        before = csv.field_size_limit()
        rows[5][rows[1].index("bio")] = 'a "biography"\n' * 80_000
        assert len(list(read_tracks(write_table(rows, tmp_path / "tracks.csv")))) == TRACKS
        assert csv.field_size_limit() == before

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (lambda rows: rows[:0], "three header lines"),
            (lambda rows: [rows[0], rows[1], *rows[3:]], "three header lines"),
            (lambda rows: [[f"x{field}" for field in rows[0]], *rows[1:]], "it has no column set/split"),
            (lambda rows: [*rows[:9], rows[9][:20]], "20 fields, at least 53 are needed"),
            (lambda rows: [*rows[:4], [*rows[4][:31], "trainning", *rows[4][32:]]], "did you mean 'training'?"),
            (lambda rows: [*rows[:4], [*rows[4][:32], "tiny", *rows[4][33:]]], "the subset 'tiny' is not one of FMA"),
            (lambda rows: [*rows[:4], ["-2", *rows[4][1:]]], "the track_id '-2' is no whole number"),
            (lambda rows: [*rows[:4], ["9" * 30, *rows[4][1:]]], "is no whole number of 0 to 999,999"),
            (lambda rows: [*rows[:4], [*rows[4][:41], "__import__('os')", *rows[4][42:]]], "is no list of genres"),
            (lambda rows: [*rows[:4], [*rows[4][:41], "[" * 5000, *rows[4][42:]]], "is no list of genres"),
            (lambda rows: [*rows[:4], rows[3]], "has the track 2 twice"),
            (lambda rows: rows[:3], "has no row"),
        ],
    )
    def test_what_is_no_table_is_said_with_its_line(
        self, tmp_path: Path, rows: Rows, change: Callable[[Rows], Rows], said: str
    ) -> None:
        with pytest.raises(DatasetError) as caught:
            open_index(write_table(change(rows), tmp_path / "tracks.csv"))
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(
        "content", [b"\xff\xfe,\n", b"version https://git-lfs.github.com/spec/v1\n", b'"' * 9, b"\0"]
    )
    def test_files_of_other_kinds(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "tracks.csv").write_bytes(content)
        with pytest.raises(DatasetError, match=r"tracks\.csv' is no table of FMA tracks: line \d"):
            open_index(tmp_path / "tracks.csv")

    def test_a_table_cut_in_the_middle(self, tmp_path: Path, tables: Path) -> None:
        (tmp_path / "tracks.csv").write_bytes((tables / "tracks.csv").read_bytes()[:700_000])
        with pytest.raises(DatasetError, match="is the file cut short"):
            open_index(tmp_path / "tracks.csv")


class TestGenres:
    def test_the_real_tree(self, tables: Path) -> None:
        """DATASETS: 163 genres, 16 roots, and every top_level of the file is the root that the parents lead to."""
        tree = GenreTree.read(tables / "genres.csv")
        with (tables / "genres.csv").open(encoding="utf-8", newline="") as stream:
            top = {int(row["genre_id"]): int(row["top_level"]) for row in csv.DictReader(stream)}
        assert len(tree.genres) == 163
        assert len({tree.lineage(genre)[0] for genre in tree.genres}) == 16
        assert {genre: tree.lineage(genre)[0] for genre in tree.genres} == top

    def test_genre_top_is_the_root_of_all_its_genres(self, tables: Path) -> None:
        tree = GenreTree.read(tables / "genres.csv")
        for track in read_tracks(tables / "tracks.csv"):
            roots = {tree.genres[tree.lineage(genre)[0]].title for genre in track.genres}
            assert roots == {track.genre_top} if track.genre_top else len(roots) != 1

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("genre_id,parent\n1,0\n", "is not the genres.csv of FMA"),
            ("genre_id,parent,title\n", "holds no genre"),
            ("genre_id,parent,title\n1,2,A\n2,1,B\n", "the parents of genre 1 lead to no root"),
            ("genre_id,parent,title\n1,7,A\n", "the parents of genre 1 lead to no root"),
            ("genre_id,parent,title\n1,x,A\n", "is not the genres.csv of FMA"),
        ],
    )
    def test_what_is_no_tree_is_said(self, tmp_path: Path, text: str, said: str) -> None:
        (tmp_path / "genres.csv").write_text(text)
        with pytest.raises(DatasetError, match=said):
            GenreTree.read(tmp_path / "genres.csv")
        with pytest.raises(DatasetError, match="cannot read"):
            GenreTree.read(tmp_path / "nothing.csv")


class TestLayouts:
    @pytest.mark.parametrize(
        "folder",
        ["fma_small", "fma_small/fma_small", "data/fma_small", "data/fma_small/fma_small", "fma_medium", "."],
    )
    @pytest.mark.parametrize(
        "metadata", ["fma_metadata", "fma_metadata/fma_metadata", "data/fma_metadata", "../fma_metadata", "."]
    )
    def test_clips_and_tables_are_found(
        self, tmp_path: Path, tables: Path, rows: Rows, mp3: Path, folder: str, metadata: str
    ) -> None:
        root = tmp_path / "home/fma"
        write_tracks(root / folder, ids_of(rows, "small")[:3], mp3)
        (root / metadata).mkdir(parents=True, exist_ok=True)
        for name in ("tracks.csv", "genres.csv"):
            shutil.copyfile(tables / name, root / metadata / name)
        clips = fma(root).clips()
        assert ids(clips) == ids_of(rows, "small")[:3]
        assert [Path(str(clip.path)).resolve().is_file() for clip in clips] == [True] * 3

    def test_the_setting_metadata(self, tmp_path: Path, tables: Path, rows: Rows, mp3: Path) -> None:
        root = tmp_path / "a/b/c"
        write_tracks(root / "fma_small", ids_of(rows, "small"), mp3)
        with pytest.raises(DatasetError, match=r"there is no tracks\.csv of FMA.*synthkit data fetch fma"):
            fma(root).clips()
        assert len(fma(root, metadata=tables).clips()) == SMALL
        assert len(fma(root, metadata=tables.parent).clips()) == SMALL

    def test_the_subset_s_own_folder_comes_first(self, large: Path, rows: Rows, mp3: Path) -> None:
        write_tracks(large / "fma_medium", ids_of(rows, "small", "medium"), mp3)
        for subset, folder in (("small", "fma_medium"), ("medium", "fma_medium"), ("large", "fma_large")):
            assert Path(str(fma(large, subset=subset).clips()[0].path)).parents[1] == large / folder

    def test_untrimmed_tracks_are_no_clips(self, tmp_path: Path, tables: Path, rows: Rows, mp3: Path) -> None:
        root = write_tracks(tmp_path / "fma_full", ids_of(rows, "small"), mp3).parent
        assert len(fma(root, subset="full", metadata=tables).clips()) == SMALL
        for place, subset in ((root, "small"), (root / "fma_full", "large"), (root / "nothing", "full")):
            with pytest.raises(DatasetError, match=f"there is no FMA {subset} in"):
                fma(place, subset=subset, metadata=tables).clips()

    def test_a_tree_on_a_store(self, small: Path, tables: Path) -> None:
        import fsspec

        store = fsspec.filesystem("memory")
        store.put(str(small / "fma_small"), "/fma-test/fma_small", recursive=True)
        store.put(str(tables), "/fma-test/fma_metadata", recursive=True)
        try:
            here, there = fma(small), fma("memory://fma-test", labels="genres")
            assert ids(there.clips()) == ids(here.clips())
            assert there.open(there.clips()[0]).frames == here.open(here.clips()[0]).frames
            assert len({clip.key for clip in there.clips()}) == SMALL
            with pytest.raises(DatasetError, match="set root to a folder"):
                there.fetch()
        finally:
            store.rm("/fma-test", recursive=True)


class TestSubsets:
    def test_each_is_part_of_the_next(self, large: Path, rows: Rows) -> None:
        found = {subset: set(ids(fma(large, subset=subset).clips())) for subset in TABLE_SUBSETS}
        assert {subset: len(some) for subset, some in found.items()} == {
            "small": SMALL,
            "medium": MEDIUM,
            "large": TRACKS,
        }
        assert found["small"] < found["medium"] < found["large"]
        assert found["medium"] == set(ids_of(rows, "small", "medium"))

    def test_splits_are_those_of_the_table_and_disjoint_in_artists(self, large: Path, rows: Rows) -> None:
        dataset = fma(large, subset="large")
        split, artist = (
            rows[1].index("split"),
            next(i for i, pair in enumerate(zip(rows[0], rows[1], strict=True)) if pair == ("artist", "id")),
        )
        by_id = {int(row[0]): row for row in rows[3:]}
        artists = []
        for name, table_name in zip(SPLITS, TABLE_SPLITS, strict=True):
            clips = ids(dataset.clips(name))
            assert clips == sorted(id for id, row in by_id.items() if row[split] == table_name)
            artists.append({by_id[id][artist] for id in clips})
        assert not any(one & other for one, other in itertools.combinations(artists, 2))

    def test_what_is_not_there_is_said(self, small: Path, rows: Rows) -> None:
        gone = ids_of(rows, "small")[:5]
        for id in gone:
            (small / f"fma_small/000/{id:06d}.mp3").unlink()
        dataset = fma(small)
        assert len(dataset.clips()) == SMALL - 5
        assert codes(dataset) == {f"{id:06d}": "missing" for id in gone}
        assert codes(fma(small, partial=True)) == {f"{id:06d}": "absent" for id in gone}
        shutil.move(small / "fma_small", small / "fma_medium")
        assert Counter(codes(fma(small, subset="medium")).values()) == {"missing": 5 + MEDIUM - SMALL}


class TestFiles:
    def test_junk_is_named_or_passed_over(self, small: Path, mp3: Path, shared: Path) -> None:
        folder = small / "fma_small/000"
        for name in ("000002.wav", "2.mp3", "000001.mp3", "001002.mp3", "song.MP3"):
            shutil.copyfile(mp3, folder / name)
        for name in (".DS_Store", "._000002.mp3"):
            shutil.copyfile(shared / "audio/odd/macos_junk/.DS_Store", folder / name)
        (small / "fma_small/README.txt").touch()
        (small / "fma_small/notes").mkdir()
        dataset = fma(small)
        assert len(dataset.clips()) == SMALL
        assert codes(dataset) == {
            "000/000002.wav": "not-audio",
            "000/2.mp3": "not-audio",
            "000/001002.mp3": "not-audio",
            "000/song.MP3": "not-audio",
            "000001": "not-listed",
        }

    def test_what_cannot_be_entered_or_printed(self, small: Path, mp3: Path) -> None:
        track = small / "fma_small/000/000002.mp3"
        track.unlink()
        track.symlink_to("nothing")
        shutil.copyfile(mp3, os.fsencode(small / "fma_small/000") + b"/\xff.mp3")
        assert codes(fma(small)) == {"000002": "missing", "000/\\xff.mp3": "not-audio"}
        (small / "fma_small/001").symlink_to("001")  # a loop, which nobody may enter
        assert len(fma(small).clips()) == SMALL - 1

    def test_a_file_that_changes_has_another_key(self, small: Path) -> None:
        before = {clip.id: clip.key for clip in fma(small).clips()}
        assert before == {clip.id: clip.key for clip in fma(small).clips()}
        os.utime(small / "fma_small/000/000002.mp3", (1e9, 1e9))
        with (small / "fma_small/000/000005.mp3").open("ab") as stream:
            stream.write(b"x")
        after = {clip.id: clip.key for clip in fma(small).clips()}
        assert {id for id in before if before[id] != after[id]} == {"000002", "000005"}

    def test_the_odd_files_are_refused_one_by_one(self, small: Path, shared: Path) -> None:
        """Each broken mp3 in the place of a track is an `UnreadableClip` with the track's id, or sound."""
        dataset = fma(small)
        odd = sorted((shared / "audio/odd").rglob("*.mp3"))
        refused = list[tuple[str, str]]()
        for clip, file in zip(itertools.cycle(dataset.clips()), odd, strict=False):
            shutil.copyfile(file, str(clip.path))
            try:
                assert dataset.open(clip).frames > 0
            except UnreadableClip as error:
                refused.append((error.name, clip.id))
        assert len(refused) > 5
        assert all(named == id for named, id in refused)

    def test_expected_seconds(self, small: Path, rows: Rows, tables: Path) -> None:
        dataset = fma(small)
        assert dataset.expected_seconds(dataset.clips()[0]) == (29.0, 31.0)
        short = next(row for row in rows[3:] if int(row[rows[1].index("duration")]) < 20)
        seconds = int(short[rows[1].index("duration")])
        clip = Clip(id=f"{int(short[0]):06d}", key="x")
        assert dataset.expected_seconds(clip) == (seconds - 1, seconds + 1)
        shutil.move(small / "fma_small", small / "fma_full")
        untrimmed = fma(small, subset="full")
        assert untrimmed.expected_seconds(untrimmed.clips()[0]) == (0.98 * 168 - 2, 1.02 * 168 + 2)
        with pytest.raises(DatasetError, match="has no track 000001"):
            untrimmed.expected_seconds(Clip(id="000001", key="x"))

    def test_an_empty_folder_is_an_error(self, small: Path) -> None:
        shutil.rmtree(small / "fma_small")
        (small / "fma_small/000").mkdir(parents=True)
        with pytest.raises(DatasetError, match=r"none of the 58 tracks of FMA small .* 58 missing"):
            fma(small).clips()


def test_a_clip_knows_its_licence_and_whom_to_name(large: Path) -> None:
    clips = {int(clip.id): clip for clip in fma(large, subset="large").clips()}
    for track in read_tracks(large / "fma_metadata/tracks.csv"):
        assert clips[track.id].licence == track.licence != ""
        assert clips[track.id].credit == f"{track.artist.strip()}: {track.title.strip()}"
    assert clips[2].credit == "AWOL: Food"


class TestLabels:
    def test_genre_top(self, large: Path, rows: Rows) -> None:
        dataset = fma(large, subset="large", labels="genre_top")
        top = {int(row[0]): row[rows[1].index("genre_top")] for row in rows[3:]}
        assert {int(clip.id): clip.label for clip in dataset.clips()} == {
            id: title for id, title in top.items() if title
        }
        assert set(codes(dataset).values()) == {"no-label"}
        assert len(dataset.left_out()) == sum(not title for title in top.values())

    def test_without_a_choice_no_track_is_lost(self, large: Path) -> None:
        large_set = fma(large, subset="large")
        assert (large_set.labels(), large_set.left_out()) == ((), ())
        assert None not in {clip.label for clip in fma(large, subset="medium").clips()}

    def test_labels_are_those_of_the_table_whatever_is_there(self, small: Path) -> None:
        before = fma(small).labels()
        assert list(before) == sorted(before)
        for clip in fma(small).clips():
            if clip.label == "Folk":
                Path(str(clip.path)).unlink()
        assert fma(small).labels() == before

    def test_the_tree(self, large: Path) -> None:
        """Track 20 has the genres 76 (Experimental Pop, below Pop) and 103 (Singer-Songwriter, below Folk)."""
        labels = {}
        for level in (None, 1, 2, 9):
            dataset = fma(large, subset="large", labels="genres", genre_level=level)
            labels[level] = {clip.id: clip.label for clip in dataset.clips()}
            assert set(labels[level].values()) <= set(dataset.labels())
            assert codes(dataset) == {"000613": "no-label"}  # the one without any
        assert [labels[level]["000020"] for level in labels] == [
            "Experimental Pop",
            "Pop",
            "Experimental Pop",
            "Experimental Pop",
        ]
        assert labels[None] == labels[9]
        top = {clip.id: clip.label for clip in fma(large, subset="large", labels="genre_top").clips()}
        assert {id: labels[1][id] for id in top} == top

    def test_tables_that_do_not_belong_together(self, large: Path) -> None:
        file = large / "fma_metadata/genres.csv"
        lines = [line for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("21,")]
        file.write_text("\n".join(line for line in lines if ",21," not in line), encoding="utf-8")
        with pytest.raises(DatasetError, match="the track 2 has the genre 21"):
            fma(large, subset="large", labels="genres").clips()

    @pytest.mark.parametrize(
        ("settings", "said"),
        [
            ({"genre_level": 2}, "it needs labels: genres"),
            ({"subset": "tiny"}, "small"),
            ({"mirrors": ["ftp://x"]}, "no http or https address"),
            ({"archive_sha1": {"fma_smal.zip": "0" * 40}}, r"did you mean 'fma_small\.zip'"),
            ({"archive_sha1": {"fma_small.zip": "0"}}, "40 hexadecimal digits"),
        ],
    )
    def test_wrong_settings(self, settings: dict[str, object], said: str) -> None:
        with pytest.raises(ValidationError, match=said):
            FMAConfig.model_validate({"root": "x", **settings})


class TestKnownFaults:
    @pytest.fixture
    def with_faults(self, small: Path, rows: Rows, mp3: Path) -> Path:
        """The real rows under the ids of known faults, with clips as they are there: empty, cut, and whole."""
        six = [98565, 98567, 98569, 99134, 108925, 133297]
        model = next(row for row in rows[3:] if row[rows[1].index("subset")] == "small")
        write_table([*rows, *([str(id), *model[1:]] for id in six)], small / "fma_metadata/tracks.csv")
        write_tracks(small / "fma_small", six, mp3)
        return small

    def test_they_are_the_published_ones(self, shared: Path) -> None:
        facts = json.loads((shared / "facts/datasets.json").read_text())["fma"]
        assert known_faults() == {int(id): seconds for id, seconds in facts["bad_clip_seconds_medium"].items()}
        assert set(facts["bad_clips_small"]) < set(known_faults())

    def test_they_are_left_out_with_their_reason(self, with_faults: Path) -> None:
        dataset = fma(with_faults)
        assert len(dataset.clips()) == SMALL
        reasons = {report.id: report.reason for report in dataset.left_out() if report.code == "known-fault"}
        assert len(reasons) == 6
        assert reasons["098565"] == "its clip is known to be cut: 1.6 s of 30 s"

    def test_unless_they_are_wanted(self, with_faults: Path) -> None:
        dataset = fma(with_faults, skip_known_faults=False)
        assert len(dataset.clips()) == SMALL + 6
        assert dataset.left_out() == ()

    def test_the_untrimmed_tracks_have_none(self, with_faults: Path) -> None:
        shutil.move(with_faults / "fma_small", with_faults / "fma_full")
        dataset = fma(with_faults, subset="full", labels="genre_top")
        assert {98565, 133297} <= set(ids(dataset.clips()))
        assert dataset.expected_seconds(Clip(id="098565", key="x")) is None

    def test_copies_are_not_on_two_sides(self, small: Path, rows: Rows) -> None:
        """The list of checksums shows a track of the training split that is also in the test split."""
        split = rows[1].index("split")
        some = {row[split]: int(row[0]) for row in rows[3:] if int(row[0]) in ids_of(rows, "small")}
        digests = {id: f"{id:040x}" for id in ids_of(rows, "small")} | {some["training"]: f"{some['test']:040x}"}
        lines = [f"{digest}  000/{id:06d}.mp3" for id, digest in digests.items()]
        (small / "fma_small/checksums").write_text("\n".join(lines) + "\n")
        dataset = fma(small)
        (report,) = dataset.left_out()
        assert (report.id, report.code) == (f"{some['training']:06d}", "known-fault")
        assert f"{some['test']:06d} in the test split" in report.reason
        assert some["test"] in ids(dataset.clips("test"))
        assert len(fma(small, skip_known_faults=False).clips()) == SMALL

    def test_a_list_of_checksums_that_is_none(self, small: Path) -> None:
        (small / "fma_small/checksums").write_text("hello\n")
        with pytest.raises(DatasetError, match="is no list of checksums: line 1"):
            fma(small).clips()


@pytest.mark.parametrize("check", declaration("synthkit_fma.plugin"), ids=str)
def test_the_declaration(check: Callable[[], None]) -> None:
    check()


@pytest.mark.parametrize(
    "settings", [{}, {"subset": "large"}, {"subset": "large", "labels": "genres", "genre_level": 2}]
)
def test_the_laws_of_data_sets(large: Path, settings: dict[str, object]) -> None:
    config = FMAConfig.model_validate({"root": large, **settings})
    for check in battery("dataset", lambda: FMA(config), config=config):
        check()
