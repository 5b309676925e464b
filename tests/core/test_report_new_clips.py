"""The report of what a model made: apart from real clips made again, with what a clip goes on from to be heard beside it."""

from __future__ import annotations

import re
from typing import Any

NEW = {
    "kind": "generated",
    "text": "Good morning.",
    "continues": {"clip": "bass/0002", "seconds": 0.5},
    "like": "bells/0002",
    "blend": None,
}


def test_new_clips_and_copies_stand_apart(report_run: Any) -> None:
    report_run.add_item("made up", reference=False, **NEW)
    report_run.items = [report_run.items[-1], *report_run.items[:-1]]
    report_run.report()
    headings = re.findall(r"<h3[^>]*>([^<]*)</h3>", report_run.page.split('id="scores"')[0])
    assert headings == ["New clips", "made up", "Real clips made again", "low bell", "high bell"]


def test_one_kind_alone_has_no_heading(report_run: Any) -> None:
    report_run.report()
    assert "Real clips made again" not in report_run.page


def test_a_beginning_is_heard_and_neither_compared_nor_counted_as_made(report_run: Any) -> None:
    item = report_run.add_item("made up", reference=False, **NEW)
    beginning = {**item["versions"][0], "name": "beginning", "role": "beginning"}
    item["versions"] = [beginning, *item["versions"]]
    figures = report_run.report()
    assert "the real beginning" in report_run.page
    assert "goes on from 0.5 s of bass/0002" in report_run.page
    assert {score["version"] for score in figures["scores"]} == {"griffin-lim", "melgan"}
    (clip,) = (clip for clip in figures["clips"] if clip["title"] == "made up")
    assert clip["remarks"] == ["goes on from 0.5 s of bass/0002", "like bells/0002", "“Good morning.”"]
