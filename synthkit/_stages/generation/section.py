"""The judgement of a model on a page: what is found in sentences, the figures, the labels, and clips beside real ones."""

from __future__ import annotations

from collections.abc import Sequence

from synthkit._stages.generation.judgement import Example, Judgement, LabelFinding, Row, sentences
from synthkit._stages.report.markup import Markup, content, element
from synthkit._stages.report.pictures import BANDS, data_uri, loudest, mel_db, png
from synthkit._stages.report.sections import table
from synthkit._stages.report.words import measured, plural
from synthkit.audio import Audio, encode_wav

BETTER = {"higher": "↑ higher is better", "lower": "↓ lower is better", "real": "→ nearest to real clips is best"}
"""What a row's `better` says, in words."""
FEW = 20
"""Figures over fewer points than this are rough."""


def section(judgement: Judgement) -> Markup:
    """Everything below the heading."""
    said = list(sentences(judgement))
    return content(
        *(element("p", text, class_="verdict" if number == 0 else None) for number, text in enumerate(said)),
        table(
            "Figures of the new clips",
            [
                element("th", "Figure", scope="col"),
                *(element("th", column.name, scope="col", class_=f"is-{column.role}") for column in judgement.columns),
            ],
            [_row(judgement, row) for row in judgement.rows],
            class_="scores judgement",
        ),
        element("p", how(judgement), class_="note"),
        _duplicates(judgement),
        _labels(judgement),
        element("h3", "New clips beside real ones"),
        element("div", *(_example(example) for example in judgement.examples), class_="gallery"),
    )


def how(judgement: Judgement) -> str:
    """What the figures are over."""
    first, all_ = judgement.searched
    text = (
        f"{plural(judgement.made, 'new clip')} of {judgement.seconds:.3g} s beside {plural(judgement.real, 'crop')} of real clips "
        f"that nothing here has learned from, as the embedding “{judgement.embedding}” hears them"
    )
    if judgement.compared:
        text += f". Distances are over {judgement.compared} points on each side"
        text += ": so few make them rough" if judgement.compared < FEW else ""
    else:
        text += ". There are too few real clips for distances: each label needs two in the validation and test splits"
    return f"{text}. {first:,} of {plural(all_, 'training clip')} searched for duplicates."


def _row(judgement: Judgement, row: Row) -> list[Markup]:
    explained = element("span", row.summary, class_="summary")
    better = element("span", BETTER[row.better], class_="better")
    cells = [element("th", element("code", row.name), explained, better, scope="row")]
    for column in judgement.columns:
        value = measured(row.values.get(column.name), row.unit)[0]
        cells.append(
            element("td", element("strong", value) if column.role == "made" else value, class_=f"is-{column.role}")
        )
    return cells


def _duplicates(judgement: Judgement) -> Markup | None:
    if not judgement.duplicates:
        return None
    rows = [
        [
            element("th", it.clip, scope="row"),
            element("td", it.of, class_="text"),
            element("td", f"{it.difference:.2f} dB"),
            element("td", f"{it.usual:.2f} dB"),
        ]
        for it in judgement.duplicates
    ]
    names = ("New clip", "Is a piece of", "Difference", "Smallest of a real clip")
    head = [element("th", name, scope="col") for name in names]
    return content(element("h3", "Pieces of training clips"), table("Pieces of training clips", head, rows))


def _labels(judgement: Judgement) -> Markup | None:
    if len(judgement.labels) < 2:
        return None
    names = ("Label", "Clips", "Different ones", "Taken for")
    rows = [
        [
            element("th", it.label, scope="row"),
            element("td", f"{it.made:,}", class_="code"),
            element(
                "td",
                f"{it.different:,} ",
                element("span", "collapsed", class_="warning") if it.collapsed else None,
                class_="code",
            ),
            element("td", taken_for(it), class_="text"),
        ]
        for it in judgement.labels
    ]
    head = [element("th", name, scope="col") for name in names]
    return content(element("h3", "Label by label"), table("The new clips label by label", head, rows))


def taken_for(label: LabelFinding) -> str:
    """What its clips are taken for, the most frequent first."""
    return ", ".join(f"{count} {name}" for name, count in label.taken_for.items()) or "–"


def _example(example: Example) -> Markup:
    rows = [("new", example.made), ("real", example.real)]
    return element(
        "figure",
        element("figcaption", example.label or "clips", class_="name"),
        *(_strip(kind, clips, example.label) for kind, clips in rows if clips),
        class_="kind",
    )


def _strip(kind: str, clips: Sequence[tuple[str, Audio]], label: str) -> Markup:
    return element(
        "div",
        element("span", kind, class_="role"),
        *(cell(kind, name, sound) for name, sound in clips),
        class_="strip",
    )


def cell(kind: str, name: str, sound: Audio) -> Markup:
    """A picture that plays its sound."""
    mel = mel_db(sound)
    picture = element(
        "img",
        src=data_uri("image/png", png(mel, loudest([mel]))),
        width=mel.shape[1],
        height=BANDS,
        alt=f"Play the {kind} clip",
    )
    sound_of = element("audio", preload="none", src=data_uri("audio/wav", encode_wav(sound)))
    button = element("button", picture, element("span", name), type="button", aria_pressed="false", class_="cell")
    return content(button, sound_of)
