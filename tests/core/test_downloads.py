"""Downloads from a real server on localhost that does all that servers do."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from synthkit import downloads
from synthkit.errors import DownloadError

if TYPE_CHECKING:
    from tests.conftest import Web

CONTENT = random.Random(1).randbytes(3_000_000)
OTHER = random.Random(2).randbytes(3_000_000)
SHA1 = hashlib.sha1(CONTENT).hexdigest()
SHA256 = hashlib.sha256(CONTENT).hexdigest()
NAME = "set.zip"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "data" / NAME


@pytest.fixture(autouse=True)
def content(web: Web) -> None:
    web.files[NAME] = CONTENT


def get(web: Web, target: Path, **settings: Any) -> Path:
    return downloads.download([web.url(NAME)], target, **{"pause_seconds": 0, **settings})


def rest(target: Path) -> list[str]:
    """What lies beside the target."""
    return sorted(path.name for path in target.parent.iterdir() if path != target)


def ranges(web: Web) -> list[str | None]:
    return [wanted for _, wanted in web.seen]


class TestWhole:
    @pytest.mark.parametrize(
        "known",
        [{}, {"sha1": SHA1}, {"sha256": SHA256.upper()}, {"sha1": SHA1, "sha256": SHA256, "size": len(CONTENT)}],
    )
    def test_it_arrives_and_leaves_nothing_else(self, web: Web, target: Path, known: dict[str, Any]) -> None:
        assert get(web, target, **known) == target
        assert target.read_bytes() == CONTENT
        assert rest(target) == []
        assert ranges(web) == [None]

    def test_what_is_there_is_not_asked_for_again(self, web: Web, target: Path) -> None:
        get(web, target, sha1=SHA1)
        get(web, target, sha1=SHA1)
        get(web, target)
        assert len(web.seen) == 1

    def test_a_file_that_is_another_one_is_replaced(self, web: Web, target: Path) -> None:
        target.parent.mkdir()
        target.write_bytes(OTHER)
        get(web, target, sha1=SHA1)
        assert target.read_bytes() == CONTENT

    def test_progress_counts_bytes(self, web: Web, target: Path) -> None:
        told: list[tuple[int, int]] = []
        get(web, target, progress=lambda done, total: told.append((done, total)))
        assert told[-1] == (len(CONTENT), len(CONTENT))
        assert told == sorted(told)
        assert len(told) > 5

    def test_a_redirect_is_followed(self, web: Web, target: Path) -> None:
        web.files["elsewhere"] = CONTENT
        web.plan = [web.status(302, Location=web.url("elsewhere"))]
        get(web, target, sha1=SHA1)
        assert [name for name, _ in web.seen] == [NAME, "elsewhere"]
        assert target.read_bytes() == CONTENT

    def test_an_empty_file_is_a_file(self, web: Web, target: Path) -> None:
        web.files[NAME] = b""
        assert get(web, target, sha1=hashlib.sha1().hexdigest()).read_bytes() == b""

    def test_no_length_is_said(self, web: Web, target: Path) -> None:
        def without_length(request: BaseHTTPRequestHandler, content: bytes) -> None:
            request.send_response(200)
            request.end_headers()
            request.wfile.write(content)

        web.plan = [without_length]
        assert get(web, target, sha256=SHA256).read_bytes() == CONTENT


class TestBrokenConnections:
    def test_it_goes_on_where_it_broke(self, web: Web, target: Path) -> None:
        web.plan = [web.cut(1_000_000), web.cut(500_000)]
        get(web, target, sha1=SHA1)
        assert target.read_bytes() == CONTENT
        assert ranges(web) == [None, "bytes=1000000-", "bytes=1500000-"]
        assert rest(target) == []

    def test_without_a_checksum_the_server_vouches_for_the_version(self, web: Web, target: Path) -> None:
        web.plan = [web.cut(1_000_000)]
        assert get(web, target).read_bytes() == CONTENT
        assert ranges(web) == [None, "bytes=1000000-"]

    def test_a_later_call_goes_on_too(self, web: Web, target: Path) -> None:
        web.plan = [web.cut(1_000_000), web.cut(0), web.cut(0)]
        with pytest.raises(DownloadError, match=r"the connection broke after 1,000,000 of 3,000,000 bytes"):
            get(web, target, sha1=SHA1, attempts=3)
        assert not target.exists()
        assert rest(target) == [f"{NAME}.part", f"{NAME}.part.json"]
        web.seen.clear()
        get(web, target, sha1=SHA1)
        assert ranges(web) == ["bytes=1000000-"]
        assert target.read_bytes() == CONTENT
        assert rest(target) == []

    def test_another_process_goes_on_after_a_kill(self, web: Web, target: Path) -> None:
        """The first one is killed while the server is silent in the middle of the file."""
        silent, killed = threading.Event(), threading.Event()

        def stall(request: BaseHTTPRequestHandler, content: bytes) -> None:
            web.serve(request, content, cut=2_000_000)
            request.wfile.flush()
            silent.set()
            killed.wait(60)

        web.plan = [stall]
        code = f"from pathlib import Path; from synthkit.downloads import download; download([{web.url(NAME)!r}], Path({str(target)!r}))"
        process = subprocess.Popen([sys.executable, "-c", code])
        part = target.with_name(f"{NAME}.part")
        try:
            assert silent.wait(60)
            while not part.is_file() or not part.stat().st_size:
                assert process.poll() is None
        finally:
            process.kill()
            process.wait()
            killed.set()
        arrived = part.stat().st_size
        get(web, target)
        assert 0 < arrived <= 2_000_000
        assert ranges(web)[1:] == [f"bytes={arrived}-"]
        assert target.read_bytes() == CONTENT

    def test_headway_makes_patience_new(self, web: Web, target: Path) -> None:
        web.plan = [web.cut(0), web.cut(1_500_000), web.cut(0), web.cut(1_400_000)]
        assert get(web, target, sha1=SHA1, attempts=3).read_bytes() == CONTENT

    def test_a_server_that_ignores_ranges_gives_all_of_it_again(self, web: Web, target: Path) -> None:
        web.plan = [web.cut(1_000_000), lambda request, content: web.serve(request, content, ranges=False)]
        assert get(web, target, sha1=SHA1).read_bytes() == CONTENT
        assert ranges(web) == [None, "bytes=1000000-"]

    def test_a_file_that_changed_meanwhile_is_begun_anew(self, web: Web, target: Path) -> None:
        def change(request: BaseHTTPRequestHandler, content: bytes) -> None:
            web.serve(request, OTHER, cut=1_000_000)

        web.plan = [change]
        assert get(web, target).read_bytes() == CONTENT
        assert ranges(web) == [None, "bytes=1000000-"]

    def test_a_server_that_ignores_the_condition_is_found_out(self, web: Web, target: Path) -> None:
        """It changed the file, and continues the new one all the same."""

        def continue_another(request: BaseHTTPRequestHandler, content: bytes) -> None:
            del request.headers["If-Range"]
            web.serve(request, content)

        web.plan = [lambda request, _: web.serve(request, OTHER, cut=1_000_000), continue_another]
        assert get(web, target).read_bytes() == CONTENT
        assert ranges(web) == [None, "bytes=1000000-", None]

    def test_a_part_that_is_longer_than_the_file_is_dropped(self, web: Web, target: Path) -> None:
        web.plan = [lambda request, _: web.serve(request, 2 * OTHER, cut=4_000_000)]
        web.plan.append(web.status(416, **{"Content-Range": f"bytes */{len(CONTENT)}"}))
        assert get(web, target).read_bytes() == CONTENT
        assert ranges(web) == [None, "bytes=4000000-", None]

    def test_a_part_that_is_the_whole_file_is_taken(self, web: Web, target: Path) -> None:
        """It was stopped between the last byte and the rename."""
        target.parent.mkdir()
        target.with_name(f"{NAME}.part").write_bytes(CONTENT)
        note = {"url": web.url(NAME), "validator": f'"{SHA1}"', "size": len(CONTENT)}
        target.with_name(f"{NAME}.part.json").write_text(json.dumps(note))
        get(web, target, sha1=SHA1)
        assert target.read_bytes() == CONTENT
        assert ranges(web) == [f"bytes={len(CONTENT)}-"]

    def test_a_note_that_is_damaged_costs_only_the_part(self, web: Web, target: Path) -> None:
        target.parent.mkdir()
        target.with_name(f"{NAME}.part").write_bytes(OTHER[:1000])
        target.with_name(f"{NAME}.part.json").write_text("{")
        assert get(web, target).read_bytes() == CONTENT
        assert ranges(web) == [None]

    def test_silence_ends(self, web: Web, target: Path) -> None:
        released = threading.Event()
        web.plan = [lambda request, content: (web.serve(request, content, cut=10), released.wait(30))[0]] * 2
        with pytest.raises(DownloadError, match="does not answer in time"):
            get(web, target, attempts=2, timeout_seconds=0.2)
        released.set()


class TestRefusals:
    def test_wrong_bytes_are_named_and_deleted(self, web: Web, target: Path) -> None:
        web.files[NAME] = OTHER
        with pytest.raises(DownloadError) as caught:
            get(web, target, sha1=SHA1)
        assert f"its SHA1 is {hashlib.sha1(OTHER).hexdigest()} instead of {SHA1}" in str(caught.value)
        assert web.url(NAME) in str(caught.value)
        assert len(web.seen) == 1
        assert [name for name in rest(target) if "part" in name] == []
        assert not target.exists()

    def test_one_wrong_byte_in_a_part_means_once_again(self, web: Web, target: Path) -> None:
        bad = bytes([CONTENT[0] ^ 1]) + CONTENT[1:]

        def damage(request: BaseHTTPRequestHandler, content: bytes) -> None:
            request.send_response(200)
            request.send_header("ETag", f'"{SHA1}"')
            request.send_header("Content-Length", str(len(bad)))
            request.end_headers()
            request.wfile.write(bad[:1_000_000])

        web.plan = [damage]
        assert get(web, target, sha256=SHA256).read_bytes() == CONTENT
        assert ranges(web) == [None, "bytes=1000000-", None]

    @pytest.mark.parametrize(("code", "times"), [(404, 1), (403, 1), (410, 1), (500, 3), (503, 3), (429, 3)])
    def test_a_status_is_said(self, web: Web, target: Path, code: int, times: int) -> None:
        web.plan = [web.status(code)] * 3
        with pytest.raises(DownloadError, match=f"the server says {code}"):
            get(web, target, attempts=3)
        assert len(web.seen) == times

    def test_a_server_that_recovers(self, web: Web, target: Path) -> None:
        web.plan = [web.status(503), web.cut(0), web.status(500)]
        assert get(web, target).read_bytes() == CONTENT

    def test_too_many_bytes(self, web: Web, target: Path) -> None:
        def endless(request: BaseHTTPRequestHandler, content: bytes) -> None:
            request.send_response(200)
            request.end_headers()
            request.wfile.write(content + b"more")

        web.plan = [endless]
        with pytest.raises(DownloadError, match="it sends more than the 3,000,000 bytes"):
            get(web, target, size=len(CONTENT))
        assert not target.exists()

    def test_too_few_bytes_are_never_a_file(self, web: Web, target: Path) -> None:
        web.files[NAME] = CONTENT[:-1]
        with pytest.raises(DownloadError, match="its file has 2,999,999 bytes instead of 3,000,000"):
            get(web, target, size=len(CONTENT))
        assert not target.exists()

    @pytest.mark.parametrize(("room", "said"), [(1.0, "to download"), (2.0, "to download and unpack")])
    def test_no_room(self, web: Web, target: Path, room: float, said: str) -> None:
        def huge(request: BaseHTTPRequestHandler, content: bytes) -> None:
            request.send_response(200)
            request.send_header("Content-Length", str(10**18))
            request.end_headers()
            request.wfile.write(content)

        web.plan = [huge]
        with pytest.raises(
            DownloadError, match=rf"no room {said} 'set.zip': it needs {room * 1e9:.1f} GB, and .* are free"
        ):
            get(web, target, room=room)
        assert not target.exists()
        assert target.with_name(f"{NAME}.part").stat().st_size == 0

    def test_a_folder_that_cannot_be_written(self, web: Web, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(DownloadError, match="cannot write"):
            get(web, tmp_path / "file" / NAME)
        assert web.seen == []

    @pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://127.0.0.1/x", "set.zip"])
    def test_only_the_web(self, target: Path, url: str) -> None:
        with pytest.raises(DownloadError, match="no http or https address"):
            downloads.download([url], target)
        with pytest.raises(DownloadError, match="there is no address for it"):
            downloads.download([], target)

    def test_nobody_listens(self, target: Path) -> None:
        with pytest.raises(DownloadError, match=r"(?i)refused"):
            downloads.download(["http://127.0.0.1:9/x"], target, attempts=2, pause_seconds=0)


class TestMirrors:
    def test_they_are_tried_in_order(self, web: Web, start_web: Callable[[], Web], target: Path) -> None:
        absent, wrong = start_web(), start_web()
        wrong.files[NAME] = OTHER
        urls = [it.url(NAME) for it in (absent, wrong, web)]
        assert downloads.download(urls, target, sha1=SHA1, pause_seconds=0).read_bytes() == CONTENT
        assert [len(it.seen) for it in (absent, wrong, web)] == [1, 1, 1]

    def test_all_failures_are_said(self, web: Web, start_web: Callable[[], Web], target: Path) -> None:
        absent = start_web()
        web.files[NAME] = OTHER
        with pytest.raises(DownloadError) as caught:
            downloads.download([absent.url(NAME), web.url(NAME)], target, sha1=SHA1, pause_seconds=0)
        lines = str(caught.value).splitlines()
        assert lines[0] == "cannot download 'set.zip':"
        assert "404" in lines[1]
        assert "SHA1" in lines[2]

    def test_with_a_checksum_the_next_continues(self, web: Web, start_web: Callable[[], Web], target: Path) -> None:
        first = start_web()
        first.files[NAME] = CONTENT
        first.plan = [web.cut(1_200_000), web.status(404)]
        urls = [first.url(NAME), web.url(NAME)]
        assert downloads.download(urls, target, sha1=SHA1, pause_seconds=0).read_bytes() == CONTENT
        assert ranges(web) == ["bytes=1200000-"]

    def test_without_one_it_begins_anew(self, web: Web, start_web: Callable[[], Web], target: Path) -> None:
        first = start_web()
        first.files[NAME] = OTHER
        first.plan = [web.cut(1_200_000), web.status(404)]
        urls = [first.url(NAME), web.url(NAME)]
        assert downloads.download(urls, target, pause_seconds=0).read_bytes() == CONTENT
        assert ranges(web) == [None]


def test_of_several_processes_one_downloads(web: Web, target: Path) -> None:
    code = f"from pathlib import Path; from synthkit.downloads import download; download([{web.url(NAME)!r}], Path({str(target)!r}))"
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert len(web.seen) == 1
    assert target.read_bytes() == CONTENT
