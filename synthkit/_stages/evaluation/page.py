"""The page of an evaluation, in the dress of the report: figures, players, and a blind test."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files

import numpy as np

from synthkit._run.reporter import Reporter
from synthkit._stages.evaluation.contenders import ORIGINAL
from synthkit._stages.evaluation.measuring import Evaluation, Measured, Row
from synthkit._stages.evaluation.text import mean_text, plus_minus
from synthkit._stages.report.listening import listening
from synthkit._stages.report.markup import Markup, content, element
from synthkit._stages.report.page import document, tile
from synthkit._stages.report.sections import BETTER, facts_list, heads, table
from synthkit._stages.report.words import figure, listing, plural
from synthkit.audio import Audio, read
from synthkit.specs import FeatureSpec

_QUIETEST = 1e-5
_SPEED = "real-time-factor"


def render(evaluation: Evaluation, reporter: Reporter) -> str:
    """The page as text."""
    several = len(evaluation.contenders) > 1
    sections = [
        ("scores", "Scores", _scores(evaluation)),
        ("listen", "Listen", listening(evaluation, reporter)),
        ("blind", "Blind test", _blind(evaluation)),
        ("vocoders", "Vocoders" if several else "Vocoder", _vocoders(evaluation)),
        ("clips", "Clips", _clips(evaluation)),
        ("environment", "Environment", facts_list(evaluation.environment)),
    ]
    header = element(
        "header",
        element("p", "synthkit evaluate", class_="eyebrow"),
        element("h1", evaluation.title),
        element("p", _sentence(evaluation), class_="lead"),
        element("dl", *(tile(*values) for values in _tiles(evaluation)), class_="tiles"),
    )
    return document(f"{evaluation.title} · synthkit", header, sections, _resource("style.css"), _resource("blind.js"))


def _resource(name: str) -> str:
    return files("synthkit._stages.evaluation").joinpath(name).read_text(encoding="utf-8")


def _sentence(evaluation: Evaluation) -> str:
    names = listing([it.name for it in evaluation.contenders])
    return (
        f"{plural(len(evaluation.items), 'clip')} of {evaluation.data['name']}, taken apart into features and turned back "
        f"into sound by {names}; compared at {evaluation.spec.sample_rate:,} Hz."
    )


def _tiles(evaluation: Evaluation) -> list[tuple[str, str]]:
    """The first metric and the speed of each vocoder."""
    first = [evaluation.rows[0]] if evaluation.rows and evaluation.rows[0].metric != _SPEED else []
    rows = [*first, *(row for row in evaluation.rows if row.metric == _SPEED)]
    return [
        (figure(it.mean.mean) + (" ×" if row.metric == _SPEED else ""), f"{it.vocoder}: {row.metric}")
        for row in rows
        for it in row.measured
        if it.mean is not None
    ]


def _scores(evaluation: Evaluation) -> Markup:
    first, *others = [it.name for it in evaluation.contenders]
    rate = evaluation.spec.sample_rate
    explained = (
        f"Means over {plural(len(evaluation.items), 'clip')}, each sound and its original at {rate:,} Hz; ± is the 95% "
        "confidence interval of the mean over clips (Student’s t), for other clips of this kind."
    )
    differences = (
        f"The second line is the difference to {first}, clip by clip, with an interval of its own; it is named better or "
        "worse (or different, where a figure has no good direction) where 0 lies outside of it. Of figures that do not differ, "
        "one in twenty is marked by chance."
    )
    problems = [
        element("li", f"{row.metric} of {it.vocoder}: {it.problem}")
        for row in evaluation.rows
        for it in row.measured
        if it.problem
    ]
    return content(
        element("p", explained),
        element("p", differences) if others else None,
        table("Scores", heads("Metric", first, *others), map(_row, evaluation.rows), class_="scores intervals"),
        element("ul", *problems, class_="problems") if problems else None,
    )


def _row(row: Row) -> list[Markup]:
    unit = f" ({row.unit})" if row.unit and not row.unit.startswith("of ") else ""
    explained = [
        element("span", row.summary, class_="summary"),
        element("span", BETTER[row.better], unit, class_="better"),
    ]
    cells = [element("td", element("strong", mean_text(row, it)), _difference(row, it)) for it in row.measured]
    return [element("th", element("code", row.metric), *explained, scope="row"), *cells]


def _difference(row: Row, measured: Measured) -> Markup | None:
    if measured.difference is None:
        return None
    verdict = measured.verdict
    badge = element("span", verdict, class_=f"verdict-{verdict}") if verdict else None
    return element("span", plus_minus(measured.difference, row.unit, signed=True), " ", badge, class_="difference")


def _blind(evaluation: Evaluation) -> Markup:
    several = len(evaluation.contenders) > 1
    explained = (
        "Two versions of a clip, A and B, in random order and without their names: which is nearer to the original? Both are "
        "played equally loud. Answers stay in this page until you save them, and names are shown at the end."
    )
    levels = {
        item.id: {version.name: _level(read(version.file)) for version in item.versions} for item in evaluation.items
    }
    hidden = element("input", type="checkbox", id="blind-hidden", checked=not several, disabled=not several)
    return content(
        element("p", explained),
        element(
            "p",
            element("button", "Start the blind test", type="button", id="blind-start", class_="main"),
            element("label", hidden, " the original, hidden, is one of the versions too"),
            class_="blind-start",
        ),
        element("div", id="blind-outcome"),
        element(
            "dialog",
            id="blind-dialog",
            tabindex="-1",
            aria_label="Blind test",
            data_original=ORIGINAL,
            data_title=evaluation.title,
            data_ids=json.dumps([item.id for item in evaluation.items]),
            data_levels=json.dumps(levels),
        ),
    )


def _level(sound: Audio) -> float:
    """RMS, dB of full scale."""
    rms = float(np.sqrt(np.mean(np.square(sound.samples, dtype=np.float64))))
    return round(20 * float(np.log10(max(rms, _QUIETEST))), 3)


def _vocoders(evaluation: Evaluation) -> Markup:
    rows = [
        [
            element("th", it.name, scope="row"),
            element("td", it.origin, class_="text"),
            element("td", _features(it.spec), class_="text"),
        ]
        for it in evaluation.contenders
    ]
    specs = {it.spec for it in evaluation.contenders}
    compared = (
        "All work on the same features, and are compared in these."
        if len(specs) == 1
        else f"They work on different features, each on its own at its own rate. All are compared at the lowest of the rates: "
        f"{_features(evaluation.spec)}."
    )
    rates = (
        "The players have each sound at its own rate. An original of a lower rate than that of the comparison is empty above "
        "its own half, and what a vocoder adds there counts."
    )
    return content(
        table("Vocoders", heads("Vocoder", "From", "Features"), rows), element("p", compared), element("p", rates)
    )


def _features(spec: FeatureSpec) -> str:
    top = f"{spec.f_min:g} to {spec.band_top:g} Hz"
    return f"{spec.sample_rate:,} Hz, {spec.n_mels} bands from {top}, hop {spec.hop_length}, window {spec.win_length}"


def _clips(evaluation: Evaluation) -> Markup:
    data, made = evaluation.data, evaluation.made
    facts = {
        "Data set": f"{data['name']} ({data['use']})",
        "Split": str(data["split"]),
        "Crop": f"up to {evaluation.seconds:g} s from the middle, channels mixed to one",
        "Seed": str(evaluation.seed),
        "Licence": str(data["licence"]),
        "Please cite": str(data["citation"]),
    }
    covered: dict[tuple[str, str], list[str]] = {}
    for item in evaluation.items:
        covered.setdefault((item.licence or "not stated", made.credits[item.id]), []).append(item.title)
    licences = [
        [
            element("th", licence, scope="row"),
            element("td", credit, class_="text"),
            element("td", ", ".join(titles), class_="text"),
        ]
        for (licence, credit), titles in covered.items()
    ]
    return content(
        facts_list(facts),
        element("h3", "Licences and credits"),
        table("Licences", heads("Licence", "Credit", "Clips"), licences),
        element("h3", "Left out"),
        _list(
            "Clips that were left out", ("Clip", "What", "Why"), [(it.id, it.code, it.reason) for it in made.left_out]
        )
        or element("p", "Every clip could be read."),
        element("h3", "Failures"),
        _list("Failures", ("Clip", "Vocoder", "Why"), [(it.clip, it.vocoder, it.reason) for it in made.failures])
        or element("p", "Every vocoder made every clip."),
    )


def _list(name: str, columns: tuple[str, str, str], rows: Sequence[tuple[str, str, str]]) -> Markup | None:
    if not rows:
        return None
    cells = [
        [
            element("th", first, scope="row"),
            element("td", second, class_="code"),
            element("td", reason, class_="text"),
        ]
        for first, second, reason in rows
    ]
    return table(name, heads(*columns), cells, class_="reports")
