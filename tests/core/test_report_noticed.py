"""What was found wrong with a training is in its report: once, under the part, and in the figures."""

from __future__ import annotations

from typing import Any

from synthkit._run.events import Event, record

LOST = "step 40 of vocoder: the critic has given up: its loss 'critic' has stayed at that of one that cannot tell <made> from real"


def test_findings_and_rollbacks_are_listed_once(report_run: Any) -> None:
    for event in (
        Event(kind="began", stage="train"),
        Event(kind="finding", stage="train", part="vocoder", step=40, text=LOST),
        Event(kind="finding", stage="train", part="vocoder", step=40, text=LOST),  # learned again after a resume
        Event(kind="rollback", stage="train", part="vocoder", step=50, text="step 50 of vocoder: it went back"),
        Event(kind="finished", stage="train"),
    ):
        record(report_run.run, event)
    figures = report_run.report()
    assert [(event["kind"], event["step"]) for event in figures["noticed"]] == [
        ("finding", 40),
        ("finding", 40),
        ("rollback", 50),
    ]
    page = report_run.page
    assert page.count("the critic has given up") == 1
    assert "cannot tell &lt;made&gt; from real" in page
    assert page.index("the critic has given up") < page.index("it went back")


def test_a_run_without_trouble_says_nothing_of_it(report_run: Any) -> None:
    assert report_run.report()["noticed"] == []
    learning = report_run.page.split('id="learning"')[1].split("<section")[0]
    assert 'class="problems"' not in learning
