"""What is said in the clips of a folder: a text file beside each, or a table as LJSpeech has it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import PurePosixPath

from synthkit import remote
from synthkit.audio import AUDIO_SUFFIXES
from synthkit.errors import ClipReport, DatasetError

TABLE = "metadata.csv"


def is_text(id: str) -> bool:
    """Whether a file below the root may say what is said in clips.

    >>> is_text("wavs/one.TXT"), is_text("metadata.csv"), is_text("other.csv")
    (True, True, False)
    """
    path = PurePosixPath(id)
    return path.suffix.lower() == ".txt" or path.name == TABLE


def texts_beside(
    ids: Collection[str], written: Mapping[str, remote.Place]
) -> tuple[dict[str, str], tuple[ClipReport, ...]]:
    """The text of each clip from the `.txt` file with its name in its folder, and the clips that have none.

    Args:
        ids: The clips.
        written: The files that `is_text` finds, by the path below the root.
    """
    places = {_stem(id): place for id, place in written.items() if PurePosixPath(id).name != TABLE}
    texts, left_out = dict[str, str](), list[ClipReport]()
    for id in ids:
        try:
            found = _read(places[_stem(id)]) if _stem(id) in places else ""
            reason = (
                "its text is empty" if _stem(id) in places else f"there is no {PurePosixPath(id).stem}.txt beside it"
            )
        except (OSError, UnicodeDecodeError) as error:
            found, reason = "", f"its text cannot be read: {error}"
        if text := _plain(found):
            texts[id] = text
        else:
            left_out.append(ClipReport(id=id, code="no-text", reason=f"{reason} (texts: beside)"))
    return texts, tuple(left_out)


def texts_of_tables(
    ids: Collection[str], written: Mapping[str, remote.Place]
) -> tuple[dict[str, str], tuple[ClipReport, ...]]:
    """The text of each clip from the nearest `metadata.csv` in its folder or above, and the clips that none names.

    Its lines are `name|text` or, as in LJSpeech, `name|text|text in words`, of which the words are taken; `name` is that of a file
    below, with or without folders and ending. Raises `DatasetError` where there is no table, or a line is none of it.
    """
    tables = {PurePosixPath(id).parent: place for id, place in written.items() if PurePosixPath(id).name == TABLE}
    if not tables:
        raise DatasetError(f"texts: metadata is set, and there is no {TABLE} in the folder or below it")
    said = {(folder, name): text for folder, place in tables.items() for name, text in _rows(place)}
    texts, left_out = dict[str, str](), list[ClipReport]()
    for id in ids:
        path = PurePosixPath(id)
        found = next((said[folder, path.stem] for folder in path.parents if (folder, path.stem) in said), "")
        if found:
            texts[id] = found
        else:
            left_out.append(ClipReport(id=id, code="no-text", reason=f"no {TABLE} has a text for it (texts: metadata)"))
    return texts, tuple(left_out)


def _rows(place: remote.Place) -> Iterator[tuple[str, str]]:
    try:
        lines = _read(place).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{str(place)!r} cannot be read: {error}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        name, *said = line.split("|")
        if not said:
            raise DatasetError(f"{str(place)!r}, line {number}: expected `name|text` or `name|text|text in words`")
        file = PurePosixPath(name.strip())
        in_words = _plain(said[1]) if len(said) > 1 else ""
        yield file.stem if file.suffix.lower() in AUDIO_SUFFIXES else file.name, in_words or _plain(said[0])


def _read(place: remote.Place) -> str:
    with remote.local_copy(place) as file:
        return file.read_text(encoding="utf-8-sig")


def _plain(text: str) -> str:
    return " ".join(text.split())


def _stem(id: str) -> str:
    return str(PurePosixPath(id).with_suffix(""))
