"""Where the set can be had, and whether an archive is the one it claims to be."""

from __future__ import annotations

import hashlib
from pathlib import Path

from synthkit.errors import DatasetError
from synthkit.interfaces import Progress
from synthkit_gtzan.facts import facts

_CHUNK = 2**20


def where_to_get_it(root: Path) -> str:
    """What to tell somebody who has not got the set."""
    first, mini = facts()["archives"]
    return (
        f"GTZAN states no licence, so it is not downloaded for you. Its own address, {first['url']}, has been dead since "
        f"2022. Copies of the same archive ({first['name']}, 1.2 GB) are at huggingface.co/datasets/marsyas/gtzan; the "
        "folders without the archive at kaggle.com/datasets/andradaolteanu/gtzan-dataset-music-genre-classification; "
        f"100 clips of it, the mini set, at {mini['url']}.\n"
        f"Check it and unpack it with `synthkit data fetch gtzan --set root={root} --archive {first['name']}`, or give "
        "the folder that you have as root."
    )


def check_archive(archive: Path, progress: Progress | None = None) -> None:
    """Raise `DatasetError` where the file is not one of the known archives, told by all their known checksums."""
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    try:
        size, done = archive.stat().st_size, 0
        with archive.open("rb") as file:
            while chunk := file.read(_CHUNK):
                sha256.update(chunk)
                md5.update(chunk)
                done += len(chunk)
                if progress:
                    progress(done, size)
    except OSError as error:
        raise DatasetError(f"cannot read the archive {str(archive)!r}: {error.strerror or error}") from error
    sums = {"sha256": sha256.hexdigest(), "md5": md5.hexdigest()}
    known = facts()["archives"]
    if not any(all(it.get(kind, found) == found for kind, found in sums.items()) for it in known):
        expected = known[0]
        raise DatasetError(
            f"{str(archive)!r} ({size:,} bytes) is not unpacked: it is not {expected['name']}, whose SHA-256 is "
            f"{expected['sha256']}, nor the mini set; its own is {sums['sha256']}. It is damaged, not complete, or packed "
            "anew by somebody else: if you trust it, unpack it yourself and give its folder as root"
        )
