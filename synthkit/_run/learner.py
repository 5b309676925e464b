"""`Learner`: everything of a training that changes while it learns, and so everything that a checkpoint has to hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from synthkit.interfaces import Component, Objective
from synthkit.training.average import Average
from synthkit.training.engine import Engine


@dataclass(kw_only=True)
class Learner:
    """One part of a recipe, learning."""

    component: Component
    objective: Objective
    engine: Engine
    average: Average | None = None
    """The running mean of the component's weights, where the recipe asks for one: what is evaluated and generates."""
    attempt: int = 0
    """How often the training has been rolled back: another attempt sees other crops."""
    watch: dict[str, Any] = field(default_factory=dict)
    """What the watch over the training remembers (running medians, patience): numbers, strings, tensors, plain containers."""
