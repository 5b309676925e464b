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
    taught: frozenset[str] = frozenset()
    """Names of the component's networks that had learned before this training: in the run that its weights come from."""

    def learned(self) -> list[str]:
        """Names of the component's networks that have learned, here or before: those of which an optimiser holds a weight."""
        groups = (group for optimiser in self.objective.optimisers.values() for group in optimiser.param_groups)
        held = {id(parameter) for group in groups for parameter in group["params"]}
        return [
            name
            for name, network in self.component.networks.items()
            if name in self.taught or any(id(parameter) in held for parameter in network.parameters())
        ]
