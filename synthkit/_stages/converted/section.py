"""What is found of a converter on a page: in sentences, as figures with their references, and as clips to see and hear in rows."""

from __future__ import annotations

from synthkit._stages.converted.findings import Conversion, Example, Row, sentences, with_interval
from synthkit._stages.generation.section import cell
from synthkit._stages.report.markup import Markup, content, element
from synthkit._stages.report.sections import BETTER, heads, table
from synthkit._stages.report.words import plural


def section(conversion: Conversion) -> Markup:
    """Everything below the heading."""
    said = list(sentences(conversion))
    head = [
        *heads("Figure"),
        *(element("th", column.name, scope="col", class_=f"is-{column.role}") for column in conversion.columns),
    ]
    return content(
        *(element("p", text, class_="verdict" if number == 0 else None) for number, text in enumerate(said)),
        table(
            "Figures of the converted clips",
            head,
            [_row(conversion, row) for row in conversion.rows],
            class_="scores judgement conversion",
        ),
        element("p", how(conversion), class_="note"),
        element("h3", "Source, converted, target"),
        element("div", *(_example(conversion, example) for example in conversion.examples), class_="gallery rows"),
    )


def how(conversion: Conversion) -> str:
    """What the figures are over."""
    source, target = conversion.source, conversion.target
    strength = "" if conversion.strength == 1 else f" with strength {conversion.strength:g}"
    return (
        f"{plural(conversion.converted, 'crop')} of {conversion.seconds:.3g} s, of {plural(conversion.clips, 'clip')} of {source} that "
        f"nothing here has learned from, converted{strength}. Each figure has its 95% confidence interval over clips. What they are taken "
        f"for says the embedding “{conversion.embedding}”, which has learned to tell real {source} from real {target}. “source” alone is "
        f"the recording itself; “random {target}” is another clip, which has nothing to do with the source. In the row identity, each "
        f"column is over clips of {target} instead."
    )


def _row(conversion: Conversion, row: Row) -> list[Markup]:
    unit = f" ({row.unit})" if row.unit and not row.unit.startswith("of ") else ""
    explained = element("span", row.summary, class_="summary")
    cells = [
        element(
            "th",
            element("code", row.name),
            explained,
            element("span", BETTER[row.better], unit, class_="better"),
            scope="row",
        )
    ]
    for column in conversion.columns:
        value, interval = with_interval(row.values.get(column.name), row.unit)
        shown = element("strong", value) if column.role == "converted" else value
        beside = element("span", interval, class_="interval") if interval else None
        cells.append(element("td", shown, beside, class_=f"is-{column.role}"))
    return cells


def _example(conversion: Conversion, example: Example) -> Markup:
    return element(
        "figure",
        element("figcaption", example.name, class_="name"),
        element(
            "div",
            cell("source", f"source: {conversion.source}", example.source),
            cell("converted", f"converted to {conversion.target}", example.converted),
            cell("target", f"another clip of {conversion.target}", example.target),
            class_="strip",
        ),
        class_="kind",
    )
