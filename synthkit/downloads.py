"""Files from the web: whole and checked, or not there at all; a download that broke off goes on where it was.

What has arrived stands in `NAME.part` beside the file, with a note `NAME.part.json` of which version on which server
it is the beginning, until all of it is there and has been checked. The standard library's HTTP; no torch.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import shutil
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from synthkit.errors import DownloadError
from synthkit.storage import alone, write_json

Progress = Callable[[int, int], None]

_CHUNK = 2**18
_HEADWAY = 2**20  # bytes after which a server is no longer counted as one that fails again and again
_LONGEST_PAUSE = 60.0
_TRY_AGAIN = frozenset((408, 425, 429, 500, 502, 503, 504))
_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")


def download(
    urls: Sequence[str],
    target: Path,
    *,
    sha1: str | None = None,
    sha256: str | None = None,
    size: int | None = None,
    room: float = 1.0,
    attempts: int = 5,
    pause_seconds: float = 1.0,
    timeout_seconds: float = 60.0,
    progress: Progress | None = None,
) -> Path:
    """The file `target`, downloaded unless it is there already, whole and as it should be.

    The addresses are tried in order. A connection that breaks is taken up again where it broke, also by a later call:
    by a range request that a changed file makes void. A server that knows no ranges, or gives wrong bytes after a range,
    is asked for the whole file. Wrong bytes of a whole file are deleted and the next address is tried. Of several
    processes that want one file, one downloads and the others wait.

    Args:
        urls: Addresses of the same file, http or https.
        target: Where it goes; missing folders are made. A file that is there is kept if it is the wanted one (without
            `sha1`, `sha256` and `size` any is), and else replaced once the new one is whole.
        sha1: What the SHA-1 of the file must be, hexadecimal.
        sha256: What its SHA-256 must be.
        size: What its size must be, bytes.
        room: Room that must be free on the disk before anything is downloaded, in multiples of the file's size: more than
            1 where it is to be unpacked afterwards.
        attempts: How many failures of one address in a row, without a megabyte between them, are endured.
        pause_seconds: Pause after the first failure; each further one doubles it, up to a minute.
        timeout_seconds: How long a server may be silent.
        progress: Told of the bytes that have arrived, and of all there are (0 where no server says).

    Raises:
        DownloadError: where no address gives the file (the message has the reason of each), or the disk has no room.
    """
    wanted = _Wanted(sha1=sha1 and sha1.lower(), sha256=sha256 and sha256.lower(), size=size)
    try:
        with alone(target.with_name(f".{target.name}.lock")):
            if not wanted.is_met_by(target):
                job = _Job(_Part(target), wanted, room, attempts, pause_seconds, timeout_seconds, progress)
                job.run(urls)
    except OSError as error:
        raise DownloadError(
            f"cannot write {str(target)!r}: {error.strerror or error}; what has arrived is kept for the next call"
        ) from error
    return target


class _TryAgain(Exception):
    """The server may do better at the next attempt."""


class _GiveUp(Exception):
    """This address will not give the file."""


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    """What is known of the file beforehand."""

    sha1: str | None
    sha256: str | None
    size: int | None

    @property
    def digests(self) -> dict[str, str]:
        named = {"sha1": self.sha1, "sha256": self.sha256}
        return {name: digest for name, digest in named.items() if digest}

    def is_met_by(self, file: Path) -> bool:
        """Whether `file` is there and is the wanted one. Raises `OSError`."""
        if not file.is_file() or self.size not in (None, file.stat().st_size):
            return False
        with file.open("rb") as stream:
            sums = {name: hashlib.file_digest(stream, name).hexdigest() for name in self.digests if not stream.seek(0)}
        return sums == self.digests


@dataclass(frozen=True, kw_only=True)
class _Origin:
    """Which version of the file, on which server, a part is the beginning of."""

    url: str
    validator: str
    """The strong ETag, else the time of the last change; empty where the server says neither."""
    size: int | None

    def continues(self, begun: _Origin | None) -> bool:
        """Whether nothing speaks against this being the version that was `begun`."""
        if begun is None or (None not in (self.size, begun.size) and self.size != begun.size):
            return False
        return self.url != begun.url or "" in (self.validator, begun.validator) or self.validator == begun.validator


class _Part:
    """The beginning of a file: its bytes, where they came from, and their digests so far."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.file = target.with_name(f"{target.name}.part")
        self._note = target.with_name(f"{target.name}.part.json")
        self._sums: dict[str, Any] | None = None

    @property
    def size(self) -> int:
        """Bytes that are there."""
        return self.file.stat().st_size if self.file.is_file() else 0

    @property
    def origin(self) -> _Origin | None:
        """Where they came from, if that is known."""
        try:
            return _Origin(**json.loads(self._note.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def begin(self, origin: _Origin) -> None:
        """Forget what there is: the file begins anew."""
        self.drop()
        write_json(self._note, asdict(origin))
        self.file.touch()
        self._sums = {}

    def drop(self) -> None:
        """Delete what there is."""
        self._sums = None
        self.file.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def append(self, chunks: Iterator[bytes], digests: Sequence[str], told: Callable[[int], None]) -> None:
        """Write `chunks` after what is there."""
        if self._sums is None or set(self._sums) != set(digests):
            self._sums = self._digested(digests, told)
        size = self.size
        with self.file.open("ab") as stream:
            for chunk in chunks:
                stream.write(chunk)
                for running in self._sums.values():
                    running.update(chunk)
                size += len(chunk)
                told(size)

    def sums(self, digests: Sequence[str], told: Callable[[int], None]) -> dict[str, str]:
        """The digests of the bytes that are there."""
        if self._sums is None or set(self._sums) != set(digests):
            self._sums = self._digested(digests, told)
        return {name: running.hexdigest() for name, running in self._sums.items()}

    def finish(self) -> None:
        """Give the file its name."""
        with self.file.open("rb") as stream:
            os.fsync(stream.fileno())
        self.file.replace(self.target)
        self._note.unlink(missing_ok=True)

    def _digested(self, digests: Sequence[str], told: Callable[[int], None]) -> dict[str, Any]:
        running = {name: hashlib.new(name) for name in digests}
        done = 0
        if running and self.file.is_file():
            with self.file.open("rb") as stream:
                while chunk := stream.read(_CHUNK):
                    for one in running.values():
                        one.update(chunk)
                    done += len(chunk)
                    told(done)
        return running


@dataclass(frozen=True)
class _Job:
    """One file, its addresses and how patient to be."""

    part: _Part
    wanted: _Wanted
    room: float
    attempts: int
    pause_seconds: float
    timeout_seconds: float
    progress: Progress | None

    def run(self, urls: Sequence[str]) -> None:
        """Download from the first address that gives the file."""
        name, failures = self.part.target.name, []
        for url in urls:
            if not re.match(r"https?://", url, flags=re.IGNORECASE):
                raise DownloadError(f"cannot download {name!r}: {url!r} is no http or https address")
            try:
                self._from(url)
                return
            except _GiveUp as failure:
                failures.append(f"  {url}: {failure}")
        raise DownloadError("\n".join([f"cannot download {name!r}:", *(failures or ["  there is no address for it"])]))

    def _from(self, url: str) -> None:
        failures, furthest = 0, self.part.size
        while True:
            pieced = self.part.size > 0
            try:
                self._take(url)
                self._check(pieced)
                self.part.finish()
                return
            except _TryAgain as failure:
                headway = self.part.size - furthest
                failures = 1 if headway >= _HEADWAY else failures + 1
                if failures >= self.attempts:
                    raise _GiveUp(str(failure)) from failure
                furthest += max(0, headway)
                time.sleep(min(_LONGEST_PAUSE, self.pause_seconds * 2 ** (failures - 1)))

    def _take(self, url: str) -> None:
        """One request, and all that it brings. Returns when the file is complete."""
        start, headers = self._range(url)
        with self._answer(url, headers) as answer:
            if answer is None:  # nothing lies beyond what is there
                return
            total = self._total(answer, start, url)
            size = self.part.size
            self._find_room(total, size)
            limit = self.wanted.size if self.wanted.size is not None else total
            self.part.append(self._chunks(answer, size, limit), list(self.wanted.digests), self._told(total))
        if limit is not None and self.part.size < limit:
            raise _TryAgain(f"the connection broke after {self.part.size:,} of {limit:,} bytes")

    def _range(self, url: str) -> tuple[int, dict[str, str]]:
        """From which byte to go on, and how to ask for that; from 0 where the part may belong to another file."""
        size, origin = self.part.size, self.part.origin
        if not size or origin is None:
            return 0, {}
        if origin.url == url and origin.validator:
            return size, {"Range": f"bytes={size}-", "If-Range": origin.validator}
        return (size, {"Range": f"bytes={size}-"}) if self.wanted.digests else (0, {})

    @contextmanager
    def _answer(self, url: str, headers: dict[str, str]) -> Iterator[http.client.HTTPResponse | None]:
        """The server's answer; None where it says that the part is the whole file."""
        request = urllib.request.Request(url, headers={"User-Agent": "synthkit", **headers})
        try:
            answer = urllib.request.urlopen(request, timeout=self.timeout_seconds)
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 416 and headers:
                    self._beyond(error.headers.get("Content-Range", ""))
                    yield None
                    return
            said = f"the server says {error.code} {error.reason}".rstrip()
            raise (_TryAgain if error.code in _TRY_AGAIN else _GiveUp)(said) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise _network(error) from error
        with closing(answer):
            yield answer

    def _beyond(self, content_range: str) -> None:
        """The server has no byte after the part: it is whole, or of another file."""
        found = _RANGE.fullmatch(content_range)
        if not found or found[2] != str(self.part.size):
            self.part.drop()
            raise _TryAgain("the server has a shorter file than before")

    def _total(self, answer: http.client.HTTPResponse, start: int, url: str) -> int | None:
        """The size of the whole file, if the server says it; the part then ends where the answer begins."""
        if answer.status not in (200, 206):
            raise _GiveUp(f"the server says {answer.status} {answer.reason}".rstrip())
        whole = answer.status == 200
        found = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        said = answer.headers.get("Content-Length", "") if whole else found[2] if found else ""
        total = int(said) if said.isdigit() else None
        new = _Origin(url=url, validator=_validator(answer), size=total)
        if not whole and not (found and found[1] == str(start) and new.continues(self.part.origin)):
            self.part.drop()
            raise _TryAgain("the server continues another file than the one that was begun")
        if total is not None and self.wanted.size not in (None, total):
            raise _GiveUp(f"its file has {total:,} bytes instead of {self.wanted.size:,}")
        if whole:
            self.part.begin(new)
        return total

    def _find_room(self, total: int | None, there: int) -> None:
        known = total if total is not None else self.wanted.size
        if known is None:
            return
        needed, free = round(known * self.room) - there, shutil.disk_usage(self.part.file.parent).free
        if needed > free:
            what = "to download and unpack" if self.room > 1 else "to download"
            raise DownloadError(
                f"there is no room {what} {self.part.target.name!r}: it needs {needed / 1e9:.1f} GB, and "
                f"{free / 1e9:.1f} GB are free in {str(self.part.file.parent)!r}"
            )

    def _chunks(self, answer: http.client.HTTPResponse, size: int, limit: int | None) -> Iterator[bytes]:
        while True:
            try:
                chunk = answer.read(_CHUNK)
            except (OSError, http.client.HTTPException) as error:
                raise _network(error) from error
            if not chunk:
                return
            size += len(chunk)
            if limit is not None and size > limit:
                self.part.drop()
                raise _GiveUp(f"it sends more than the {limit:,} bytes that the file should have")
            yield chunk

    def _told(self, total: int | None) -> Callable[[int], None]:
        known = total or self.wanted.size or 0
        return lambda done: self.progress(done, known) if self.progress else None

    def _check(self, pieced: bool) -> None:
        """Delete the part if it is not the wanted file. One `pieced` together may be of two versions, or two servers."""
        size, wanted = self.part.size, self.wanted.digests
        sums = self.part.sums(list(wanted), self._told(size))
        wrong = [name for name in wanted if sums[name] != wanted[name]]
        if wrong:
            self.part.drop()
            sentences = [f"its {name.upper()} is {sums[name]} instead of {wanted[name]}" for name in wrong]
            said = f"it gave the wrong {size:,} bytes, which were deleted: {', '.join(sentences)}"
            raise (_TryAgain if pieced else _GiveUp)(said)


def _validator(answer: http.client.HTTPResponse) -> str:
    """What `If-Range` takes: a weak ETag promises too little."""
    tag = str(answer.headers.get("ETag") or "")
    return tag if tag and not tag.startswith("W/") else str(answer.headers.get("Last-Modified") or "")


def _network(error: Exception) -> _TryAgain | _GiveUp:
    """What an error of the network means."""
    reason: object = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, http.client.IncompleteRead):
        return _TryAgain("the connection broke")
    if isinstance(reason, TimeoutError):
        return _TryAgain("the server does not answer in time")
    said = (reason.strerror if isinstance(reason, OSError) else None) or str(reason) or type(reason).__name__
    fatal = isinstance(reason, ssl.SSLCertVerificationError | ValueError)
    return _GiveUp(said) if fatal else _TryAgain(said)
