"""Published checkpoints: which there are, and how they come here, checked. Needs no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from synthkit._catalog import Catalog, Offered
from synthkit._plugins import reason_of
from synthkit.downloads import download
from synthkit.errors import DownloadError, PluginError
from synthkit.foreign import Importer, Published
from synthkit.interfaces import Progress
from synthkit.offers import import_target, noun


def importer_of(offered: Offered) -> Importer:
    """What `Offer.imports` names. Raises `PluginError` where it cannot be imported or is none."""
    what = f"the importer of {noun(offered.offer.kind)} {offered.offer.name!r} (plugin {offered.plugin!r})"
    assert offered.offer.imports is not None
    try:
        found = import_target(offered.offer.imports)
    except (Exception, SystemExit) as error:
        raise PluginError(f"{what} cannot be imported: {reason_of(error)}") from error
    if not isinstance(found, Importer):
        raise PluginError(f"{what} cannot be used: {offered.offer.imports!r} is not a synthkit.foreign.Importer")
    return found


def published(catalog: Catalog, warn: Callable[[str], None]) -> tuple[Published, ...]:
    """The files that the importers of all plugins know by name; an importer that cannot be used is warned of and left out."""
    found: list[Published] = []
    for offered in catalog.offers():
        if offered.offer.imports is not None:
            try:
                found += importer_of(offered).published
            except PluginError as error:
                warn(str(error))
    return tuple(found)


def pull(wanted: Published, target: Path, progress: Progress | None = None) -> None:
    """Download a file to `target`; one that is there and is the wanted one is kept.

    Raises:
        DownloadError: where no server gives it, or what comes is another file; then `target` is as it was.
    """
    if wanted.sha256 is not None:
        download([wanted.url], target, sha256=wanted.sha256, progress=progress)
        return
    assert wanted.git_blob is not None
    if target.is_file() and _git_blob(target) == wanted.git_blob:
        return
    unchecked = target.with_name(f"{target.name}.unchecked")
    download([wanted.url], unchecked, progress=progress)
    found = _git_blob(unchecked)
    if found != wanted.git_blob:
        unchecked.unlink()
        raise DownloadError(
            f"{wanted.url} gave another file, which was deleted: its git object is {found} instead of {wanted.git_blob}"
        )
    unchecked.replace(target)


def _git_blob(file: Path) -> str:
    """The name that git gives a file with this content."""
    digest = hashlib.sha1(b"blob %d\0" % file.stat().st_size)
    with file.open("rb") as stream:
        while chunk := stream.read(2**20):
            digest.update(chunk)
    return digest.hexdigest()
