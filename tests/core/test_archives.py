"""Archives: what is whole arrives byte for byte; what is hostile or damaged is named, and nothing is written."""

from __future__ import annotations

import io
import os
import random
import shutil
import stat
import subprocess
import sys
import tarfile
import textwrap
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from synthkit.archives import Limits, Member, members, unpack
from synthkit.errors import ArchiveError

Content = dict[str, bytes]
CONTENT: Content = {
    "genres/jazz/jazz.00000.wav": random.Random(1).randbytes(70_000),
    "genres/jazz/jazz.00001.wav": random.Random(2).randbytes(1_500_000),
    "genres/README.md": b"hello\n" * 100,
    "genres/empty.txt": b"",
    "genres/blues/größe.wav": bytes(5000),
}


def make_tar(file: Path, content: Content = CONTENT, mode: str = "w") -> Path:
    with tarfile.open(file, mode) as archive:  # type: ignore[call-overload]
        archive.addfile(member("genres/", type=tarfile.DIRTYPE, mode=0o755))
        for name, data in content.items():
            archive.addfile(member(name, size=len(data)), io.BytesIO(data))
    return file


def make_zip(file: Path, content: Content = CONTENT, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.mkdir("genres")
        for name, data in content.items():
            archive.writestr(name, data)
    return file


def member(name: str, **fields: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def tar_of(file: Path, *infos: tarfile.TarInfo) -> Path:
    with tarfile.open(file, "w") as archive:
        for info in infos:
            archive.addfile(info, io.BytesIO(bytes(info.size)) if info.size else None)
    return file


def zip_of(file: Path, *names: str | zipfile.ZipInfo) -> Path:
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return file


def found(folder: Path) -> Content:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def refused(archive: Path, *says: str) -> None:
    """It is refused with these words, and nothing but the archive is there afterwards."""
    before = sorted(archive.parent.rglob("*"))
    for call in (lambda: members(archive), lambda: unpack(archive, archive.parent / "out")):
        with pytest.raises(ArchiveError) as caught:
            call()
        assert all(words in str(caught.value) for words in (*says, archive.name)), caught.value
    assert sorted(archive.parent.rglob("*")) == before


KINDS: dict[str, Callable[[Path], Path]] = {
    "tar": make_tar,
    "tar.gz": lambda file: make_tar(file, mode="w:gz"),
    "tar.bz2": lambda file: make_tar(file, mode="w:bz2"),
    "tar.xz": lambda file: make_tar(file, mode="w:xz"),
    "zip": make_zip,
    "bzip2.zip": lambda file: make_zip(file, method=zipfile.ZIP_BZIP2),
    "lzma.zip": lambda file: make_zip(file, method=zipfile.ZIP_LZMA),
    "stored.zip": lambda file: make_zip(file, method=zipfile.ZIP_STORED),
}


@pytest.fixture(scope="session", params=KINDS, ids=str)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return KINDS[request.param](tmp_path_factory.mktemp("archives") / "made")


@pytest.fixture
def archive(made: Path, tmp_path: Path) -> Path:
    return shutil.copyfile(made, tmp_path / "the.archive")  # its name tells nothing


class TestWhole:
    def test_every_file_arrives_byte_for_byte(self, archive: Path, tmp_path: Path) -> None:
        told: list[tuple[int, int]] = []
        paths = unpack(archive, tmp_path / "new/out", progress=lambda done, total: told.append((done, total)))
        assert found(tmp_path / "new/out") == CONTENT
        assert paths == [tmp_path / "new/out" / name for name in CONTENT]
        total = sum(map(len, CONTENT.values()))
        assert told[-1] == (total, total)
        assert [done for done, _ in told] == sorted(done for done, _ in told)
        assert [path.name for path in (tmp_path / "new").iterdir()] == ["out"]

    def test_members(self, archive: Path) -> None:
        assert members(archive) == [Member(name=name, size=len(data)) for name, data in CONTENT.items()]

    def test_a_second_call_writes_nothing(self, archive: Path, tmp_path: Path) -> None:
        unpack(archive, tmp_path / "out")
        times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
        unpack(archive, tmp_path / "out", progress=lambda done, total: pytest.fail("something was written"))
        assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == times

    def test_into_a_folder_with_other_files(self, archive: Path, tmp_path: Path) -> None:
        (tmp_path / "out/genres").mkdir(parents=True)
        (tmp_path / "out/genres/mine.txt").write_bytes(b"mine")
        unpack(archive, tmp_path / "out")
        assert found(tmp_path / "out") == {**CONTENT, "genres/mine.txt": b"mine"}

    def test_a_file_of_another_size_is_not_replaced(self, archive: Path, tmp_path: Path) -> None:
        (tmp_path / "out/genres").mkdir(parents=True)
        (tmp_path / "out/genres/README.md").write_bytes(b"mine")
        with pytest.raises(ArchiveError, match=r"'genres/README.md' of 600 bytes would replace what is there already"):
            unpack(archive, tmp_path / "out")
        assert found(tmp_path / "out") == {"genres/README.md": b"mine"}

    def test_modes_and_owners_are_not_taken_over(self, tmp_path: Path) -> None:
        archive = tar_of(tmp_path / "a.tar", member("tool", size=4, mode=0o6777, uid=0))
        (path,) = unpack(archive, tmp_path / "out")
        assert stat.S_IMODE(path.stat().st_mode) & 0o7111 == 0


class TestCutShort:
    """Wherever an archive ends too early, it is said in one sentence, and nothing is left."""

    @pytest.mark.parametrize("share", [0.0, 0.001, 0.2, 0.6, 0.99])
    def test_anywhere(self, archive: Path, share: float) -> None:
        data = archive.read_bytes()
        archive.write_bytes(data[: int(len(data) * share)])
        refused(archive)

    def test_between_two_members(self, tmp_path: Path) -> None:
        """tarfile itself takes this for a whole archive."""
        archive = tar_of(tmp_path / "a.tar", member("a", size=512), member("b", size=512))
        archive.write_bytes(archive.read_bytes()[:1024])
        with tarfile.open(archive) as opened:
            assert opened.getnames() == ["a"]
        refused(archive, "cut short")

    def test_a_header_in_the_middle_that_is_none(self, tmp_path: Path) -> None:
        archive = tar_of(tmp_path / "a.tar", member("a", size=512), member("b", size=512))
        data = bytearray(archive.read_bytes())
        data[1024 + 148 : 1024 + 156] = b"7777777\0"  # its checksum
        archive.write_bytes(data)
        refused(archive, "damaged")

    def test_gzip_checks_the_last_byte(self, tmp_path: Path) -> None:
        archive = make_tar(tmp_path / "a.tgz", mode="w:gz")
        data = bytearray(archive.read_bytes())
        data[-8] ^= 1  # of the CRC of everything
        archive.write_bytes(data)
        refused(archive, "CRC check failed")

    def test_a_wrong_byte_inside_a_zip(self, tmp_path: Path) -> None:
        """Only its checksum tells; what came before it is kept for the next try, under no name that counts."""
        archive = make_zip(tmp_path / "a.zip", method=zipfile.ZIP_STORED)
        data = bytearray(archive.read_bytes())
        data[data.index(CONTENT["genres/jazz/jazz.00001.wav"]) + 1_499_999] ^= 1
        archive.write_bytes(data)
        for _ in range(2):
            with pytest.raises(ArchiveError, match=r"damaged.*Bad CRC-32 for file 'genres/jazz/jazz.00001.wav'"):
                unpack(archive, tmp_path / "out")
            assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize(
        "text", [b"", b"<html>404</html>", b"PK", b"PK\3\4 and nothing", b"\x1f\x8b", b"BZh9", bytes(5000)]
    )
    def test_what_is_no_archive(self, tmp_path: Path, text: bytes) -> None:
        (tmp_path / "a.zip").write_bytes(text)
        refused(tmp_path / "a.zip", "no zip or tar archive")

    def test_what_is_not_there(self, tmp_path: Path) -> None:
        refused(tmp_path / "a.zip", "No such file")
        (tmp_path / "b.zip").mkdir()
        refused(tmp_path / "b.zip", "directory")


@pytest.mark.parametrize("kind", ["tar.gz", "tar", "bzip2.zip", "zip"])
def test_no_damage_ends_in_anything_but_a_sentence(tmp_path: Path, kind: str) -> None:
    small: Content = {f"genres/{i}.wav": random.Random(i).randbytes(200) for i in range(4)}
    archive = tmp_path / "a"
    if kind.startswith("tar"):
        make_tar(archive, small, mode="w:gz" if kind.endswith("gz") else "w")
    else:
        make_zip(archive, small, zipfile.ZIP_BZIP2 if "bzip2" in kind else zipfile.ZIP_DEFLATED)
    whole, dice = archive.read_bytes(), random.Random(7)
    outcomes = set()
    for trial in range(400):
        data = bytearray(whole)
        for _ in range(dice.choice((1, 1, 3, 20))):
            data[dice.randrange(len(data))] = dice.randrange(256)
        archive.write_bytes(data)
        out = tmp_path / f"out{trial}"
        try:
            unpack(archive, out)
            outcomes.add("whole")
        except ArchiveError:
            outcomes.add("refused")
            assert not out.exists()
        for path in tmp_path.iterdir():
            if path != archive:
                shutil.rmtree(path)
    assert "refused" in outcomes


class TestHostile:
    @pytest.mark.parametrize(
        ("name", "says"),
        [
            ("/etc/passwd", "absolute"),
            ("//server/share", "absolute"),
            ("C:/boot.ini", "absolute"),
            ("c:boot.ini", "absolute"),
            ("../evil", "leads out"),
            ("genres/../../evil", "leads out"),
            ("genres/..", "leads out"),
            ("..\\evil", "backslash"),
            ("genres\\jazz\\a.wav", "backslash"),
            ("a\nb", "control character"),
            ("a\x1b[2Jb", "control character"),
            ("x" * 256, "too long"),
            ("ä" * 128, "too long"),
            ("/".join(["deep"] * 300), "too long"),
        ],
    )
    def test_names(self, tmp_path: Path, name: str, says: str) -> None:
        shown = repr(name[:100])[1:-1]
        refused(tar_of(tmp_path / "a.tar", member("good", size=3), member(name, size=3)), shown, says)
        refused(zip_of(tmp_path / "a.zip", "good", name), shown, says)

    def test_a_name_behind_a_zero_byte(self, tmp_path: Path) -> None:
        """zipfile shows the first half of such a name."""
        archive = zip_of(tmp_path / "a.zip", "good.wavQ/../../evil")
        archive.write_bytes(archive.read_bytes().replace(b"good.wavQ", b"good.wav\0"))
        with zipfile.ZipFile(archive) as opened:
            assert opened.namelist() == ["good.wav"]
        refused(archive, "'good.wav\\x00/../../evil'")

    @pytest.mark.parametrize(
        ("type", "says"),
        [
            (tarfile.SYMTYPE, "is a symbolic link"),
            (tarfile.LNKTYPE, "is a hard link"),
            (tarfile.CHRTYPE, "is a device"),
            (tarfile.BLKTYPE, "is a device"),
            (tarfile.FIFOTYPE, "is a pipe"),
        ],
    )
    def test_kinds_of_a_tar(self, tmp_path: Path, type: bytes, says: str) -> None:
        info = member("genres/jazz", type=type, linkname="/etc")
        refused(tar_of(tmp_path / "a.tar", info, member("genres/jazz/passwd", size=3)), "'genres/jazz'", says)

    @pytest.mark.parametrize(
        ("mode", "says"),
        [
            (stat.S_IFLNK | 0o777, "is a symbolic link"),
            (stat.S_IFIFO, "is a pipe"),
            (stat.S_IFCHR, "is a device"),
            (stat.S_IFSOCK, "is a special file"),
        ],
    )
    def test_kinds_of_a_zip(self, tmp_path: Path, mode: int, says: str) -> None:
        info = zipfile.ZipInfo("genres/jazz")
        info.external_attr = mode << 16
        refused(zip_of(tmp_path / "a.zip", "good", info), "'genres/jazz'", says)

    @pytest.mark.parametrize(
        ("names", "says"),
        [
            (("a/b", "c", "a/b"), "'a/b' is there twice"),
            (("a/b", "./a//b"), "'./a//b' is there twice"),
            (("a/b", "a"), "'a' is there twice"),
            (("a", "a/b"), "'a/b' lies in 'a', which is a file"),
            (("jazz/a.wav", "jazz/A.wav"), "'jazz/A.wav' differs from 'jazz/a.wav' only by upper and lower case"),
            (("jazz/a.wav", "Jazz/b.wav"), "'Jazz/b.wav' differs from 'jazz' only by"),
            (("e\u0301.wav", "\u00e9.wav"), "only by"),  # two spellings of one name on a Mac
            (("a", "."), "'.' has no name"),
        ],
    )
    @pytest.mark.filterwarnings("ignore:Duplicate name")
    def test_two_members_for_one_file(self, tmp_path: Path, names: tuple[str, ...], says: str) -> None:
        refused(tar_of(tmp_path / "a.tar", *(member(name, size=1) for name in names)), says)
        refused(zip_of(tmp_path / "a.zip", *names), says)

    def test_folders_may_be_named_again_and_again(self, tmp_path: Path) -> None:
        archive = zip_of(tmp_path / "a.zip", "a/b/c", "a/d")
        with zipfile.ZipFile(archive, "a") as opened:
            for folder in ("a", "a/b", "a/b/e"):
                opened.mkdir(folder)
        assert [file.name for file in members(archive)] == ["a/b/c", "a/d"]

    def test_encrypted(self, tmp_path: Path) -> None:
        archive = zip_of(tmp_path / "a.zip", "good", "secret")
        data = bytearray(archive.read_bytes())
        data[data.rindex(b"PK\1\2") + 8] |= 1
        archive.write_bytes(data)
        refused(archive, "'secret' is encrypted")

    def test_a_method_that_nobody_knows(self, tmp_path: Path) -> None:
        archive = zip_of(tmp_path / "a.zip", "good", "odd")
        data = bytearray(archive.read_bytes())
        data[data.rindex(b"PK\1\2") + 10] = 99
        archive.write_bytes(data)
        refused(archive, "'odd' is compressed with method 99")


class TestTooMuch:
    def test_a_bomb_is_told_by_its_ratio(self, tmp_path: Path) -> None:
        zeros = {"good": b"x", "bomb": bytes(70_000_000)}
        assert make_zip(tmp_path / "a.zip", zeros).stat().st_size < 100_000
        refused(tmp_path / "a.zip", "'bomb' would bring it to 70,000,001 bytes", "bomb in an archive of its size")
        refused(make_tar(tmp_path / "a.tgz", zeros, "w:gz"), "'bomb' would bring it to")

    def test_a_bomb_that_is_announced_is_not_decompressed(self, tmp_path: Path) -> None:
        """A header of 512 bytes that promises 2^60 is enough to refuse; nothing of it is read."""
        (tmp_path / "a.tar").write_bytes(member("bomb", size=2**60).tobuf(tarfile.GNU_FORMAT))
        refused(tmp_path / "a.tar", "'bomb' would bring it to 1,152,921,504,606,846,976 bytes")

    def test_many_small_ones_are_a_bomb_too(self, tmp_path: Path) -> None:
        archive = make_zip(tmp_path / "a.zip", {f"{i}": bytes(700_000) for i in range(100)})
        refused(archive, "would bring it to")

    def test_a_size_that_lies(self, tmp_path: Path) -> None:
        """A member that says it is small gives no more than it says, and its checksum tells."""
        archive = make_zip(tmp_path / "a.zip", {"liar": bytes(10_000_000)})
        data = archive.read_bytes()
        archive.write_bytes(data.replace((10_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little")))
        with pytest.raises(ArchiveError, match="damaged"):
            unpack(archive, tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_a_header_that_would_fill_the_memory(self, tmp_path: Path) -> None:
        info = member("././@PaxHeader", type=tarfile.XHDTYPE, size=2**33 - 1)
        (tmp_path / "a.tar").write_bytes(info.tobuf(tarfile.USTAR_FORMAT) + bytes(1024))
        refused(tmp_path / "a.tar", "one of its headers is too large")

    def test_what_comes_behind_the_end(self, tmp_path: Path) -> None:
        archive = make_tar(tmp_path / "a.tar")
        with archive.open("ab") as file:
            file.truncate(archive.stat().st_size + 2**25)
        refused(archive, "goes on behind its end")

    def test_limits_can_be_set(self, tmp_path: Path) -> None:
        archive = make_zip(tmp_path / "a.zip")
        for limits, says in (
            (Limits(members=3), "'genres/README.md' is one of more than 3"),
            (Limits(total_bytes=80_000), "'genres/jazz/jazz.00001.wav' would bring it to 1,570,000 bytes"),
        ):
            with pytest.raises(ArchiveError, match=says):
                unpack(archive, tmp_path / "out", limits=limits)

    def test_no_room_is_said_before_anything_is_written(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        archive = make_zip(tmp_path / "a.zip")
        usage = shutil.disk_usage(tmp_path)._replace(free=10_000_000)
        monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
        with pytest.raises(ArchiveError, match=r"no room to unpack .*: it needs 0.0 GB, and 0.0 GB are free in"):
            unpack(archive, tmp_path / "out")
        assert found(tmp_path).keys() == {"a.zip"}


class TestStopped:
    def test_it_goes_on_with_what_is_missing(self, archive: Path, tmp_path: Path) -> None:
        """A full disk in the middle of the second file: the first is kept, and is not written again."""

        def progress(done: int, total: int) -> None:
            if done > 1_000_000:
                raise OSError(28, "No space left on device")

        with pytest.raises(ArchiveError, match="No space left on device; what is unpacked so far is kept"):
            unpack(archive, tmp_path / "out", progress=progress)
        assert not (tmp_path / "out").exists()
        told: list[tuple[int, int]] = []
        unpack(archive, tmp_path / "out", progress=lambda done, total: told.append((done, total)))
        assert told[-1][1] == sum(map(len, CONTENT.values())) - 70_000
        assert found(tmp_path / "out") == CONTENT
        assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "the.archive"]

    def test_killed_at_any_moment(self, tmp_path: Path) -> None:
        content = {f"{i:03}": random.Random(i).randbytes(100_000) for i in range(200)}
        archive = make_zip(tmp_path / "a.zip", content, zipfile.ZIP_STORED)
        code = textwrap.dedent(f"""
            from pathlib import Path
            from synthkit.archives import unpack
            told = lambda done, total: print(done, flush=True)
            unpack(Path({str(archive)!r}), Path({str(tmp_path / "out")!r}), progress=told)
        """)
        kills = 0
        for after in (1, 40, 5, 90):
            process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
            assert process.stdout is not None
            for _ in range(after):
                process.stdout.readline()
            process.kill()
            kills += process.wait() != 0
            process.stdout.close()
        assert kills >= 3
        unpack(archive, tmp_path / "out")
        assert found(tmp_path / "out") == content
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "out"]

    def test_two_at_once(self, tmp_path: Path) -> None:
        archive = make_tar(tmp_path / "a.tgz", mode="w:gz")
        code = "import sys; from pathlib import Path; from synthkit.archives import unpack; unpack(*map(Path, sys.argv[1:]))"
        both = [subprocess.Popen([sys.executable, "-c", code, archive, tmp_path / "out"]) for _ in range(2)]
        assert [process.wait(60) for process in both] == [0, 0]
        assert found(tmp_path / "out") == CONTENT
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tgz", "out"]

    @pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="for a user who may not write everywhere")
    def test_a_folder_that_may_not_be_written(self, tmp_path: Path) -> None:
        archive = make_tar(tmp_path / "a.tar")
        (tmp_path / "locked").mkdir(mode=0o500)
        with pytest.raises(ArchiveError, match=r"cannot unpack into .*Permission denied"):
            unpack(archive, tmp_path / "locked/out")
