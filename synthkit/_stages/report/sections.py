"""The parts of the page below the listening: scores, learning, data, recipe, environment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from synthkit._recipe.model import PARTS
from synthkit._stages.report import scores
from synthkit._stages.report.curves import chart
from synthkit._stages.report.findings import Findings
from synthkit._stages.report.listening import axes
from synthkit._stages.report.markup import Markup, content, element
from synthkit._stages.report.scores import Result
from synthkit._stages.report.sources import GROUPS, History, Series
from synthkit._stages.report.words import change, duration, figure, measured, plural
from synthkit.interfaces import ClipReport

_FEW = 12
"""A list up to this long is shown open."""
BETTER = {"lower": "↓ lower is better", "higher": "↑ higher is better", "zero": "→ nearest to 0 is better"}
"""What a metric's `better` says, in words."""
_TERMS = {"mel_l1": "log-mel L1"}


def score_table(findings: Findings) -> Markup:
    """One row per metric, one column per version."""
    if not findings.recipe.metrics:
        return element("p", "The recipe asks for no metric.", class_="note")
    if not findings.results:
        reason = "no clip was generated" if not findings.items else "generated clips have no original to compare with"
        return element("p", f"There are no scores: {reason}.", class_="note")
    versions = list(dict.fromkeys(result.version for result in findings.results))
    compared = sum(1 for item in findings.items if item.reference)
    head = [element("th", "Metric", scope="col"), *(element("th", version, scope="col") for version in versions)]
    rows = [
        _score_row(block.offered.offer.name, block.offered.offer.summary, findings.results)
        for block in findings.recipe.metrics
    ]
    problems = [
        element("li", f"{result.metric} of {result.version}: {result.problem}")
        for result in findings.results
        if result.problem
    ]
    return content(
        element(
            "p",
            f"Each figure is over {plural(compared, 'clip')}, compared with the original. "
            "Ears decide: use the figures to find where to listen.",
        ),
        table("Scores", head, rows, class_="scores"),
        element("ul", *problems, class_="problems") if problems else None,
    )


def _score_row(metric: str, summary: str, results: Sequence[Result]) -> list[Markup]:
    mine = [result for result in results if result.metric == metric]
    score = next((result.score for result in mine if result.score), None)
    explained = [element("span", summary, class_="summary")]
    if score:
        unit = f" ({score.unit})" if score.unit and not score.unit.startswith("of ") else ""
        explained.append(element("span", BETTER[score.better], unit, class_="better"))
    best = scores.best(mine)
    cells = [element("th", element("code", metric), *explained, scope="row")]
    for result in mine:
        value = measured(result.score.value, result.score.unit)[0] if result.score else figure(None)
        if result.version == best:
            badge = element("span", "best", class_="badge")
            cells.append(element("td", badge, " ", element("strong", value), class_="best"))
        else:
            cells.append(element("td", value))
    return cells


def learning(findings: Findings) -> Markup:
    """Loss curves and what they say, part by part."""
    if not findings.history:
        learns = bool(findings.recipe.train)
        text = (
            "No training was logged in this run."
            if learns
            else "Nothing in this recipe learns, so there are no curves."
        )
        return element("p", text, class_="note")
    parts = [_part(findings, part, history) for part, history in findings.history.items()]
    legend = element(
        "p",
        element("span", "training (mean, in the band from lowest to highest)", class_="key train"),
        element("span", "validation", class_="key validation"),
        element("span", "validation at step 0", class_="key start"),
        class_="legend",
    )
    return content(legend, *parts)


def _part(findings: Findings, part: str, history: History) -> Markup:
    block = next((findings.recipe.part(known) for known in PARTS if known == part), None)
    name = f"{part}: {block.offered.offer.name}" if block else part
    charts = [_chart(term, history.train.get(term), history.validation.get(term)) for term in history.terms]
    numbers = [
        [element("th", element("code", f"{group}/{term}"), scope="row"), *_series_cells(series)]
        for group in GROUPS
        for term, series in getattr(history, group).items()
    ]
    noticed = dict.fromkeys(event.text for event in findings.events if event.part == part)
    head = heads("Term", "First", "Last", "Lowest", "Highest", "Values", "Not finite")
    return content(
        element("h3", name),
        *(
            element("p", sentence, class_="verdict" if number == 0 else None)
            for number, sentence in enumerate(_verdicts(history))
        ),
        element("ul", *(element("li", text) for text in noticed), class_="problems") if noticed else None,
        element("div", *charts, class_="charts"),
        element(
            "details", element("summary", "The numbers behind the curves"), table(f"Numbers of {name}", head, numbers)
        ),
    )


def _verdicts(history: History) -> list[str]:
    """How validation went, in words, and how fast the training was."""
    sentences = []
    main = history.validation.get("mel_l1")
    if main and len(main.values) > 1:
        text = change(_TERMS["mel_l1"], main.first, main.last)
        sentences.append(f"On the validation split, {text} between step {main.steps[0]:,} and step {main.steps[-1]:,}.")
    others = [
        change(term, series.first, series.last)
        for term, series in history.validation.items()
        if term != "mel_l1" and len(series.values) > 1
    ]
    if others:
        sentences.append(f"{'Also there' if sentences else 'On the validation split'}: {', '.join(others)}.")
    speed, wait = history.rate.get("steps_per_second"), history.rate.get("data_wait")
    if speed:
        text = f"It made {figure(_median(speed.values))} steps per second"
        sentences.append(
            text + (f" and spent {_median(wait.values):.0%} of the time waiting for data." if wait else ".")
        )
    return sentences


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


def _chart(term: str, train: Series | None, validation: Series | None) -> Markup:
    drawn = chart(_TERMS.get(term, term), train, validation)
    caption = [element("span", _TERMS.get(term, term), class_="name")]
    ends = validation or train
    if ends:
        which = "validation" if validation else "training"
        scale = ", log scale" if drawn.is_log else ""
        caption.append(element("span", f"{which} {figure(ends.first)} → {figure(ends.last)}{scale}", class_="role"))
    return element(
        "figure",
        element("figcaption", *caption),
        axes(drawn.svg, drawn.x_ticks, drawn.y_ticks, class_="curve"),
        class_="chart",
    )


def _series_cells(series: Series) -> list[Markup]:
    values = (series.first, series.last, min(series.values), max(series.values))
    return [element("td", text) for text in (*map(figure, values), f"{len(series.values):,}", f"{series.not_finite:,}")]


def data_section(findings: Findings) -> Markup:
    """The splits, what was left out and why, and the licences."""
    data = findings.data
    rows = [
        [
            element("th", split.name, scope="row"),
            element("td", f"{split.clips:,}"),
            element("td", duration(split.seconds)),
        ]
        for split in data.splits
    ]
    rows.append(
        [element("th", "all", scope="row"), element("td", f"{data.clips:,}"), element("td", duration(data.seconds))]
    )
    facts = {
        "Data set": data.name,
        "Sample rate": f"{data.sample_rate:,} Hz",
        "Labels": ", ".join(data.labels),
        "Licence": data.licence,
        "Please cite": data.citation,
    }
    return content(
        facts_list(facts),
        table("Splits", heads("Split", "Clips", "Duration"), rows, class_="narrow"),
        element("h3", "Left out"),
        _clip_reports("Clips that were left out", data.left_out, "could not be used")
        if data.left_out
        else element("p", "Every clip of the data set could be used."),
        *_remarks(data.remarks),
        element("h3", "Licences of the clips above"),
        _licences(findings),
    )


def _clip_reports(name: str, reports: Sequence[ClipReport], verdict: str) -> Markup:
    kinds = Counter(clip.code for clip in reports)
    counts = ", ".join(f"{count:,} {code}" for code, count in kinds.most_common())
    rows = [
        [
            element("th", clip.id, scope="row"),
            element("td", clip.code, class_="code"),
            element("td", clip.reason, class_="text"),
        ]
        for clip in reports
    ]
    return element(
        "details",
        element("summary", f"{plural(len(reports), 'clip')} {verdict}: {counts}"),
        table(name, heads("Clip", "What", "Why"), rows, class_="reports"),
        open=len(reports) <= _FEW,
    )


def _remarks(remarks: Sequence[ClipReport]) -> list[Markup]:
    if not remarks:
        return []
    verdict = "is used although something is odd" if len(remarks) == 1 else "are used although something is odd"
    return [element("h3", "Odd, but used"), _clip_reports("Clips with a remark", remarks, verdict)]


def _licences(findings: Findings) -> Markup:
    if not findings.items:
        return element("p", "There are no clips above.")
    covered: dict[str, list[str]] = {}
    for item in findings.items:
        covered.setdefault(item.licence or findings.data.licence or "not stated", []).append(item.title)
    rows = [
        [element("th", licence, scope="row"), element("td", ", ".join(titles), class_="text")]
        for licence, titles in covered.items()
    ]
    return table("Licences", heads("Licence", "Clips"), rows)


def recipe_section(findings: Findings) -> Markup:
    """The resolved recipe, which runs again as it is."""
    return content(
        element(
            "p",
            "Every default and override is filled in. Saved as a file, ",
            element("code", "synthkit run FILE"),
            " makes this run again.",
        ),
        element(
            "div",
            element("button", "Copy", type="button", class_="copy"),
            element(
                "pre",
                element("code", findings.recipe.resolved.strip()),
                tabindex="0",
                role="region",
                aria_label="The recipe",
            ),
            class_="recipe",
        ),
    )


def environment_section(findings: Findings) -> Markup:
    """With what, where, when, and how long each stage took."""
    stages = {f"stage {name}": duration(seconds) for name, seconds in findings.stage_seconds.items()}
    return facts_list({**findings.environment, **stages})


def facts_list(facts: Mapping[str, str]) -> Markup:
    """Names with their values; what has no value is left out."""
    rows = [element("div", element("dt", name), element("dd", value)) for name, value in facts.items() if value]
    return element("dl", *rows, class_="facts-list")


def table(name: str, head: Iterable[Markup], rows: Iterable[Iterable[Markup]], *, class_: str | None = None) -> Markup:
    """A table that scrolls in its own box where the page is narrower."""
    body = element("tbody", *(element("tr", *row) for row in rows))
    grid = element("table", element("thead", element("tr", *head)), body, class_=class_)
    return element("div", grid, class_="scroll", tabindex="0", role="region", aria_label=name)


def heads(*names: str) -> list[Markup]:
    """The head of a table's columns."""
    return [element("th", name, scope="col") for name in names]
