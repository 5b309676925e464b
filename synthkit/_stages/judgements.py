"""What is found of what a run makes, of its model or of its converter, in the ways that it is told."""

from __future__ import annotations

from collections.abc import Iterator

from synthkit._stages.converted import findings as converted
from synthkit._stages.converted import section as converted_section
from synthkit._stages.converted import text as converted_text
from synthkit._stages.generation import judgement as generation
from synthkit._stages.generation import section as generation_section
from synthkit._stages.generation import text as generation_text
from synthkit._stages.report.markup import Markup

AnyJudgement = generation.Judgement | converted.Conversion
Table = tuple[list[str], list[list[str]]]
"""Columns and rows."""


def maker(judgement: AnyJudgement) -> str:
    """The name of the model or converter."""
    return judgement.model if isinstance(judgement, generation.Judgement) else judgement.converter


def section(judgement: AnyJudgement) -> tuple[str, str, Markup]:
    """Anchor, heading and content of its part of a page."""
    if isinstance(judgement, generation.Judgement):
        return "model", "Model", generation_section.section(judgement)
    return "converter", "Converter", converted_section.section(judgement)


def as_tables(judgement: AnyJudgement) -> Iterator[Table]:
    """Columns and rows for the terminal."""
    if isinstance(judgement, generation.Judgement):
        return generation_text.as_tables(judgement)
    return converted_text.as_tables(judgement)


def notes(judgement: AnyJudgement) -> Iterator[str]:
    """What the figures say, and what they are over."""
    if isinstance(judgement, generation.Judgement):
        return generation_text.notes(judgement)
    return converted_text.notes(judgement)
