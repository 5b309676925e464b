"""The page: one HTML file with everything in it. It loads nothing, and its own policy forbids that it ever does."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from string import Template

from synthkit import __version__
from synthkit._run.reporter import Reporter
from synthkit._stages.judgements import section
from synthkit._stages.report.findings import Findings, sentence
from synthkit._stages.report.listening import listening
from synthkit._stages.report.markup import Markup, content, element
from synthkit._stages.report.pictures import data_uri
from synthkit._stages.report.sections import data_section, environment_section, learning, recipe_section, score_table
from synthkit._stages.report.words import duration, figure, plural

_ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="16" rx="3" fill="#3b0f70"/>'
    '<path d="M3 7v2M6 4v8M9 6v4M12 3v10" stroke="#fe9f6d" stroke-width="2" stroke-linecap="round"/></svg>'
)


def render(findings: Findings, reporter: Reporter) -> str:
    """The page as text."""
    sections = [
        ("listen", "Listen", listening(findings, reporter)),
        *_judged(findings),
        ("scores", "Scores", score_table(findings)),
        ("learning", "Learning", learning(findings)),
        ("data", "Data", data_section(findings)),
        ("recipe", "Recipe", recipe_section(findings)),
        ("environment", "Environment", environment_section(findings)),
    ]
    return document(f"{findings.title} · synthkit report", _header(findings), sections)


def _judged(findings: Findings) -> list[tuple[str, str, Markup]]:
    """The part about the model or converter, where there is one that was to be judged."""
    if findings.judgement is not None:
        return [section(findings.judgement)]
    if findings.not_judged:
        part = "model" if findings.recipe.converter is None else "converter"
        text = f"The {part} is not judged: {findings.not_judged}."
        return [(part, part.capitalize(), element("p", text, class_="note"))]
    return []


def document(
    title: str, header: Markup, sections: Sequence[tuple[str, str, Markup]], style: str = "", script: str = ""
) -> str:
    """A whole page that needs nothing else.

    Args:
        title: Of the window.
        header: What stands above everything.
        sections: Anchor, heading and content of each.
        style: CSS beside that of all pages.
        script: JavaScript beside that of all pages.
    """
    links = [element("li", element("a", heading, href=f"#{anchor}")) for anchor, heading, _ in sections]
    body = content(
        header,
        element("nav", element("ul", *links), aria_label="Parts of this page"),
        element(
            "main",
            *(
                element(
                    "section",
                    element("h2", heading, id=f"{anchor}-heading"),
                    body,
                    id=anchor,
                    aria_labelledby=f"{anchor}-heading",
                )
                for anchor, heading, body in sections
            ),
        ),
        element(
            "footer",
            element(
                "p", f"Made by synthkit {__version__}. This file holds everything it shows: it can be moved and sent."
            ),
        ),
    )
    style, script = _resource("style.css") + style, _resource("script.js") + script
    return Template(_resource("template.html")).substitute(
        policy=_policy(style, script),
        version=content(__version__),
        title=content(title),
        icon=data_uri("image/svg+xml", _ICON.encode()),
        style=style,
        script=script,
        body=body,
    )


def _resource(name: str) -> str:
    return files("synthkit._stages.report").joinpath(name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """Only the page's own script and style run, pictures and sounds are in the page, and nothing is fetched or sent."""
    rules = {
        "default-src": "'none'",
        "img-src": "data:",
        "media-src": "data:",
        "script-src": _digest(script),
        "style-src": _digest(style),
        "style-src-attr": "'unsafe-inline'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _header(findings: Findings) -> Markup:
    description = findings.recipe.description.strip()
    return element(
        "header",
        element("p", "synthkit report", class_="eyebrow"),
        element("h1", findings.title),
        element("p", sentence(findings), class_="lead"),
        element("p", description, class_="description") if description else None,
        element("dl", *(tile(*values) for values in _tiles(findings)), class_="tiles"),
    )


def tile(value: str, meaning: str) -> Markup:
    """One of the few numbers to see first."""
    return element("div", element("dt", meaning), element("dd", value))


def _tiles(findings: Findings) -> list[tuple[str, str]]:
    """The few numbers to see first."""
    tiles = []
    for part, history in findings.history.items():
        series = history.validation.get("mel_l1")
        if series and len(series.values) > 1 and series.first > 0:
            ends = f"{figure(series.first)}\N{NO-BREAK SPACE}→\N{NO-BREAK SPACE}{figure(series.last)}"
            tiles.append((f"{series.last / series.first:.2f} ×", f"of its start: the {part}'s log-mel L1, {ends}"))
    for result in findings.results:
        if result.metric == "real-time-factor" and result.version in findings.own_versions and result.score:
            tiles.append((f"{figure(result.score.value)} ×", f"real time: how fast {result.version} makes sound"))
    data = findings.data
    tiles.append((duration(data.seconds), f"of sound in {plural(data.clips, 'clip')}"))
    tiles.append((f"{len(data.left_out):,}", "clip left out" if len(data.left_out) == 1 else "clips left out"))
    return tiles
