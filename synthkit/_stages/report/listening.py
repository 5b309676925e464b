"""The listening part of the page: every clip in all its versions, with a player and a mel picture each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import PurePath
from typing import Protocol
from urllib.parse import quote

from synthkit._run.reporter import Reporter
from synthkit._stages.report.markup import Markup, content, element
from synthkit._stages.report.pictures import (
    BANDS,
    RANGE_DB,
    Tick,
    data_uri,
    frequency_ticks,
    loudest,
    mel_db,
    png,
    scale_png,
    time_ticks,
)
from synthkit._stages.report.scores import Result
from synthkit._stages.report.sources import Item, Version
from synthkit._stages.report.words import duration, measured, plural
from synthkit.audio import read

SOUND_BYTES = 64 * 2**20
"""Sound beyond this is left in its files: a page that is too heavy to open helps nobody."""
_EAGER = 24
"""Players that load with the page; browsers allow only so many at a time, later ones load when they are played."""


class Heard(Protocol):
    """What there is to hear."""

    @property
    def items(self) -> Sequence[Item]:
        """The clips, each in all its versions."""

    @property
    def results(self) -> Sequence[Result]:
        """What metrics say of them."""

    def role(self, version: Version) -> str:
        """A few words beside the name of a version."""


def listening(findings: Heard, reporter: Reporter) -> Markup:
    """All clips, or a sentence where there is none."""
    if not findings.items:
        return element("p", "The generate stage made no clip: the data has no clip that could be used.", class_="note")
    new, copies = list[Markup](), list[Markup]()
    players, sound = 0, 0
    with reporter.task("pictures", len(findings.items)) as task:
        for number, item in enumerate(findings.items, 1):
            sound += sum(version.file.stat().st_size for version in item.versions)
            article = _clip(findings, item, number, embed=sound <= SOUND_BYTES, eager=players < _EAGER)
            (copies if item.reference else new).append(article)
            players += len(item.versions)
            task.update(number, item.title)
    both = bool(new and copies)
    return content(
        _help(findings.items),
        *(_group("New clips", new, named=both) if new else ()),
        *(_group("Real clips made again", copies, named=both) if copies else ()),
    )


def _group(heading: str, articles: Sequence[Markup], *, named: bool) -> list[Markup]:
    clips = element("div", *articles, class_="clips")
    return [element("h3", heading), clips] if named else [clips]


def _help(items: Sequence[Item]) -> Markup:
    most = max(len(item.versions) for item in items)
    keys = element(
        "p",
        element("kbd", "Space"),
        " plays and pauses, ",
        *(
            [element("kbd", "1"), "–", element("kbd", str(most)), " switch the version at the same moment, "]
            if most > 1
            else []
        ),
        element("kbd", "N"),
        " and ",
        element("kbd", "P"),
        " go to the next and the previous clip.",
    )
    toggle = element("label", element("input", type="checkbox", id="shortcuts", checked=True), " Keyboard shortcuts")
    scale = element(
        "p",
        f"{RANGE_DB:.0f} dB below ",
        element("img", src=data_uri("image/png", scale_png()), alt="from dark to bright", class_="scale"),
        " the loudest point of the clip. All versions of a clip share this scale.",
        class_="scale-row",
    )
    return element("div", element("div", keys, toggle, class_="keys"), scale, class_="help")


def _clip(findings: Heard, item: Item, number: int, *, embed: bool, eager: bool) -> Markup:
    sounds = [read(version.file) for version in item.versions]
    mels = [mel_db(sound) for sound in sounds]
    top = loudest(mels)
    figures = []
    for version, sound, mel in zip(item.versions, sounds, mels, strict=True):
        alt = f"Mel picture of {item.title}, {version.name}: {duration(sound.seconds)}, up to {sound.sample_rate / 2000:.4g} kHz"
        picture = element("img", src=data_uri("image/png", png(mel, top)), width=mel.shape[1], height=BANDS, alt=alt)
        figures.append(
            element(
                "figure",
                element(
                    "figcaption",
                    element("span", version.name, class_="name"),
                    element("span", findings.role(version), class_="role"),
                ),
                axes(picture, time_ticks(sound.seconds), frequency_ticks(sound.sample_rate), class_="mel"),
                _player(item, version, embed=embed, eager=eager),
                _facts(findings, item, version),
                class_="version",
            )
        )
    heading = f"clip-{number}"
    return element(
        "article",
        element(
            "div",
            element(
                "div",
                element("h3", item.title, id=heading),
                element("p", *_chips(item, sounds[0].seconds if sounds else None), class_="chips"),
            ),
            _switch(item, number) if embed and len(item.versions) > 1 else None,
            class_="clip-head",
        ),
        element("div", *figures, class_="versions")
        if figures
        else element("p", "No vocoder, so no sound.", class_="note"),
        class_="clip",
        aria_labelledby=heading,
    )


def _chips(item: Item, seconds: float | None) -> list[Markup]:
    chips = [item.label, None if seconds is None else duration(seconds)]
    chips.append(None if item.reference else f"new, seed {item.seed}" if item.seed is not None else "new")
    chips.append(item.licence or None)
    chips += item.remarks
    if item.reference and item.title not in (item.id, PurePath(item.id).name, PurePath(item.id).stem):
        chips.append(item.id)
    return [element("span", chip) for chip in chips if chip]


def _switch(item: Item, number: int) -> Markup:
    buttons = [
        element("button", element("kbd", str(place)), " ", version.name, type="button", aria_pressed="false")
        for place, version in enumerate(item.versions, 1)
    ]
    return element(
        "div", *buttons, class_="switch", role="group", aria_label=f"Play clip {number} from the same moment as"
    )


def _player(item: Item, version: Version, *, embed: bool, eager: bool) -> Markup:
    if not embed:
        link = element("a", version.file.name, href=quote(f"{version.file.parent.name}/{version.file.name}"))
        return element("p", "Too much sound for one page; listen to ", link, ".", class_="facts")
    return element(
        "audio",
        controls=True,
        preload="metadata" if eager else "none",
        src=data_uri("audio/wav", version.file.read_bytes()),
        aria_label=f"{item.title}, {version.name}",
    )


def _facts(findings: Heard, item: Item, version: Version) -> Markup | None:
    """The clip's own figures, and what else a listener should know about this very sound."""
    facts: list[Markup | None] = []
    if not version.is_reference:
        for result in findings.results:
            value = result.item(item.id) if result.version == version.name else None
            if value is not None and math.isfinite(value) and result.score is not None:
                facts.append(_fact(result.metric, value, result.score.unit))
        if version.elapsed > 0:
            facts.append(element("span", "made in ", element("b", duration(version.elapsed))))
    if version.clipped:
        facts.append(element("span", f"{plural(version.clipped, 'sample')} clipped", class_="warning"))
    return element("p", *facts, class_="facts") if any(facts) else None


def _fact(metric: str, value: float, unit: str) -> Markup | None:
    """A clip's own figure; a longer unit stands in the table of scores, and a share of nothing is no news."""
    if unit.startswith("of ") and value == 0:
        return None
    number, unit = measured(value, unit)
    return element("span", f"{metric} ", element("b", number), f" {unit}" if 0 < len(unit) <= 3 else None)


def axes(drawing: Markup, x_ticks: Sequence[Tick], y_ticks: Sequence[Tick], *, class_: str) -> Markup:
    """A drawing with labels beside and below it. They say to the eye what the drawing's own text says to a screen reader."""
    y_labels = [element("span", tick.label, style=f"--at:{tick.place:.4f}") for tick in y_ticks]
    x_labels = [element("span", tick.label, style=f"--at:{tick.place:.4f}") for tick in x_ticks]
    return element(
        "div",
        element("div", *y_labels, class_="y-axis", aria_hidden="true"),
        element("div", drawing, class_="canvas"),
        element("div", *x_labels, class_="x-axis", aria_hidden="true"),
        class_=f"axes {class_}",
    )
