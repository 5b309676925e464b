"""The comparison as a page that needs nothing else, in the dress of the report."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

from synthkit._stages.compare import tables
from synthkit._stages.compare.curves import COLOURS, chart, series_of
from synthkit._stages.compare.gather import Compared
from synthkit._stages.compare.tables import NOTHING, Row
from synthkit._stages.report.listening import axes
from synthkit._stages.report.markup import Markup, content, element
from synthkit._stages.report.page import document, tile
from synthkit._stages.report.sections import heads, table
from synthkit._stages.report.words import figure, listing, plural


def render(runs: Sequence[Compared]) -> str:
    """The page as text."""
    names = [run.name for run in runs]
    changed = tables.differences(runs)
    sections = [
        ("runs", "Runs", content(_table("Runs", runs, tables.overview(runs)), _noticed(runs))),
        ("settings", "Settings that differ", _table("Settings that differ", runs, changed, code=True)),
        ("curves", "Curves", _curves(runs)),
        ("scores", "Scores", _table("Scores", runs, tables.scores(runs))),
        ("speed", "Speed", _table("Speed", runs, tables.speed(runs))),
    ]
    style = files("synthkit._stages.compare").joinpath("style.css").read_text(encoding="utf-8")
    header = element(
        "header",
        element("p", "synthkit compare", class_="eyebrow"),
        element("h1", " beside ".join(names)),
        element("p", _sentence(runs, changed), class_="lead"),
        element("dl", *(tile(*values) for values in _tiles(runs)), class_="tiles"),
    )
    return document(f"{' beside '.join(names)} · synthkit", header, sections, style)


def _sentence(runs: Sequence[Compared], changed: Sequence[Row]) -> str:
    recipes = dict.fromkeys(run.state.recipe for run in runs)
    of = f"the recipe {next(iter(recipes))}" if len(recipes) == 1 else f"the recipes {listing(list(recipes))}"
    if not changed:
        return f"{plural(len(runs), 'run')} of {of} with the same settings."
    few = f": {listing([row.name for row in changed])}" if len(changed) <= 4 else ""
    return f"{plural(len(runs), 'run')} of {of} that differ in {plural(len(changed), 'setting')}{few}."


def _tiles(runs: Sequence[Compared]) -> list[tuple[str, str]]:
    """For the first validation term, the lowest value of each run."""
    found = next(iter(tables.terms(runs, "validation")), None)
    if found is None:
        return []
    part, term = found
    lines = series_of(runs, part, "validation", term)
    return [
        (figure(min(line.values)), f"{run.name}: lowest {part} {term}")
        for run, line in zip(runs, lines, strict=True)
        if line
    ]


def _table(name: str, runs: Sequence[Compared], rows: Sequence[Row], *, code: bool = False) -> Markup:
    if not rows:
        return element("p", _EMPTY[name], class_="note")
    head = [*heads(""), *(element("th", _swatch(number), run.name, scope="col") for number, run in enumerate(runs))]
    return table(name, head, [_row(row, code=code) for row in rows], class_="scores beside")


_EMPTY = {
    "Runs": "Nothing is known of these runs.",
    "Settings that differ": "Every setting is the same.",
    "Scores": "None of these runs has a report with scores.",
    "Speed": "None of these runs has logged a step.",
}


def _row(row: Row, *, code: bool) -> list[Markup]:
    name = element("code", row.name) if code else row.name
    remark = element("span", row.remark, class_="summary") if row.remark else None
    cells = [element("th", name, remark, scope="row")]
    for number, cell in enumerate(row.cells):
        if number == row.best:
            badge = element("span", "best", class_="badge")
            cells.append(element("td", badge, " ", element("strong", cell), class_="best"))
        else:
            cells.append(element("td", cell, class_="none" if cell == NOTHING else None))
    return cells


def _swatch(number: int) -> Markup:
    return element("span", class_=f"swatch run-{number % COLOURS}", aria_hidden="true")


def _noticed(runs: Sequence[Compared]) -> Markup | None:
    """What was found wrong with each training."""
    said = [(run.name, text) for run in runs for text in dict.fromkeys(event.text for event in run.events)]
    return (
        element("ul", *(element("li", f"{name}: {text}") for name, text in said), class_="problems") if said else None
    )


def _curves(runs: Sequence[Compared]) -> Markup:
    names = [run.name for run in runs]
    legend = [element("span", _swatch(number), name) for number, name in enumerate(names)]
    groups = []
    for group, heading in (("validation", "Validation"), ("train", "Training"), ("balance", "Balance of the critics")):
        drawn = []
        for part, term in tables.terms(runs, group):
            lines = series_of(runs, part, group, term)
            drawing = chart(f"{part} {term}", names, lines, dots=group == "validation")
            role = f"{part}{', log scale' if drawing.is_log else ''}"
            caption = element("figcaption", element("span", term, class_="name"), element("span", role, class_="role"))
            curve = axes(drawing.svg, drawing.x_ticks, drawing.y_ticks, class_="curve")
            drawn.append(element("figure", caption, curve, class_="chart"))
        if drawn:
            groups.append(content(element("h3", heading), element("div", *drawn, class_="charts")))
    if not groups:
        return element("p", "None of these runs has logged a step.", class_="note")
    rows = tables.validation(runs)
    numbers = content(element("h3", "Validation in numbers"), _table("Validation", runs, rows)) if rows else None
    return content(element("p", *legend, class_="legend sticky"), *groups, numbers)
