"""The battery for objectives: honest ones pass every law, and each law catches one that breaks it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import Tensor, nn

from synthkit.interfaces import (
    Batch,
    Kind,
    Objective,
    Vocoder,
)
from synthkit.specs import FeatureSpec
from synthkit.testing import battery
from synthkit.training.engine import Engine

SPEC = FeatureSpec(sample_rate=16000, n_fft=256, hop_length=64, n_mels=12)


class Voice(Vocoder):
    """A linear map from each frame to its samples."""

    def __init__(self) -> None:
        self.spec = SPEC
        self.map = nn.Linear(SPEC.n_mels, SPEC.hop_length)

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        return {"map": self.map}

    def waves(self, features: Tensor) -> Tensor:
        return self.map(features.transpose(1, 2)).flatten(1).tanh()

    @torch.no_grad()
    def vocode(self, features: Tensor, *, random: torch.Generator | None = None, progress: Any = None) -> Tensor:
        if progress:
            progress(1, 1)
        return self.waves(features)


class Learning(Objective):
    """The mean absolute error, beside a critic that learns to predict it; takes the batch whole."""

    def __init__(self, engine: Engine) -> None:
        self.voice = Voice()
        self.component = self.voice
        self.engine = engine
        self.critic = nn.Linear(SPEC.hop_length, 1)
        self.adam = torch.optim.Adam([*self.voice.map.parameters(), *self.critic.parameters()], lr=0.01)

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        return {"critic": self.critic}

    @property
    def optimisers(self) -> Mapping[str, torch.optim.Optimizer]:
        return {"adam": self.adam}

    def loss(self, batch: Batch) -> Tensor:
        made = self.voice.waves(batch.features)
        told = self.critic(made.unflatten(1, (-1, SPEC.hop_length))).square().mean()
        return (made - batch.audio).abs().mean() + 0.1 * told

    def step(self, batch: Batch) -> dict[str, Tensor]:
        loss = self.loss(batch)
        self.engine.backward(loss, self.adam)
        self.engine.update(self.adam)
        return {"l1": loss.detach()}

    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        return {"l1": self.loss(batch).detach()}


class InPieces(Learning):
    """The same in pieces, with noise of each row's own beside the features."""

    def loss(self, batch: Batch) -> Tensor:
        noise = 0.01 * self.engine.randn(batch, *batch.features.shape[1:])
        return super().loss(dataclasses.replace(batch, features=batch.features + noise))

    def step(self, batch: Batch) -> dict[str, Tensor]:
        return self.engine.learn(self.adam, self.engine.pieces(batch), self.told)

    def told(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        loss = self.loss(batch)
        return loss, {"l1": loss}


class Hearing(InPieces):
    """It says what its critic hears."""

    hears: Literal["samples", "features"] | None = "samples"

    def hear(self, heard: Tensor) -> list[Tensor]:
        return [self.critic(heard.unflatten(1, (-1, SPEC.hop_length))).transpose(1, 2)]


HONEST: dict[str, tuple[Callable[..., Any], ...]] = {
    "objective": (Learning, InPieces, Hearing),
}


class Attached(Learning):
    def step(self, batch: Batch) -> dict[str, Tensor]:
        super().step(batch)
        return {"l1": self.loss(batch)}


class Dropping(Learning):
    """Draws at random without saying from where: two evaluations differ."""

    source = torch.Generator().manual_seed(0)

    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        return {"l1": self.loss(batch).detach() + torch.rand((), generator=self.source)}


class Hidden(Learning):
    """Trains a network that no checkpoint would hold."""

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        return {}


class Lazy(Learning):
    """Forgets to update."""

    def step(self, batch: Batch) -> dict[str, Tensor]:
        loss = self.loss(batch)
        self.engine.backward(loss, self.adam)
        return {"l1": loss.detach()}


class Leaking(Learning):
    """Changes a parameter that no optimiser holds."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.adam = torch.optim.Adam(self.voice.map.parameters(), lr=0.01)

    def step(self, batch: Batch) -> dict[str, Tensor]:
        with torch.no_grad():
            self.critic.bias += 1
        return super().step(batch)


class Freezing(Learning):
    def step(self, batch: Batch) -> dict[str, Tensor]:
        terms = super().step(batch)
        self.critic.requires_grad_(False)
        return terms


class Scribbling(Learning):
    def step(self, batch: Batch) -> dict[str, Tensor]:
        batch.audio *= 0.5
        return super().step(batch)


class LearningFromTheTest(Learning):
    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        with torch.enable_grad():
            self.step(batch)
        return super().evaluate(batch)


class EvaluatingForGood(Learning):
    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        self.voice.map.eval()
        return super().evaluate(batch)


class Unrepeatable(Learning):
    source = torch.Generator().manual_seed(0)

    def loss(self, batch: Batch) -> Tensor:
        return super().loss(batch) * (1 + torch.rand((), generator=self.source))


class Forgetful(Learning):
    """Loses its optimiser's moments."""

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


class Pickled(Learning):
    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "path": Path("x")}


class Summing(InPieces):
    """A sum over the items instead of their mean."""

    def loss(self, batch: Batch) -> Tensor:
        return super().loss(batch) * len(batch)


class TellingTheLast(InPieces):
    """Learns from all pieces and tells the loss of the last."""

    def step(self, batch: Batch) -> dict[str, Tensor]:
        super().step(batch)
        with torch.no_grad():
            return {"l1": self.loss(self.engine.pieces(batch)[-1])}


class Drawing(InPieces):
    """Draws noise of the size of what it sees from the global generator."""

    def loss(self, batch: Batch) -> Tensor:
        noise = torch.randn(batch.features.shape)
        return Learning.loss(self, dataclasses.replace(batch, features=batch.features + noise))


class Normalising(Learning):
    """Divides by the loudest item of the batch it sees."""

    def loss(self, batch: Batch) -> Tensor:
        return super().loss(batch) / batch.audio.abs().max()


class Waiting(Learning):
    """Updates only where its own share of the batch is loud."""

    def step(self, batch: Batch) -> dict[str, Tensor]:
        if batch.audio.abs().max() < 0.4:
            return {"l1": self.loss(batch).detach()}
        return super().step(batch)


class Rounding(Learning):
    """Divides by what half precision takes for nothing."""

    def loss(self, batch: Batch) -> Tensor:
        sure = self.critic(torch.ones(1, SPEC.hop_length)).square() + 1
        return super().loss(batch) / ((sure + 1e-3) - sure).mean()


class Halved(Learning):
    """Keeps its weights themselves in half precision."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        if engine.numerics.precision == "bf16":
            self.voice.map.bfloat16()


class HearingInSecret(Hearing):
    """Hears, and says that it does not."""

    hears = None

    def hear(self, heard: Tensor) -> list[Tensor]:
        return [heard]


class HearingAll(Hearing):
    """Compares an item with the others."""

    def hear(self, heard: Tensor) -> list[Tensor]:
        return [layer - layer.mean(0) for layer in super().hear(heard)]


class HearingTheScore(Hearing):
    """Gives one number."""

    def hear(self, heard: Tensor) -> list[Tensor]:
        return [layer.mean(dim=2) for layer in super().hear(heard)]


class HearingADetail(Hearing):
    """Hears the first item's sound as numbers."""

    def hear(self, heard: Tensor) -> list[Tensor]:
        return super().hear(torch.cat([heard[:1].detach(), heard[1:]]))


VIOLATORS: list[tuple[Kind, str, Callable[..., Any], str]] = [
    ("objective", "terms-of-a-step", Attached, "carries a gradient"),
    ("objective", "terms-of-an-evaluation", Dropping, "and then"),
    ("objective", "everything-is-saved", Hidden, "2 of 4 parameters belong to none"),
    ("objective", "a-step-changes", Lazy, "map.weight does not change"),
    ("objective", "a-step-changes", Leaking, "objective.critic.bias changes, which no optimiser holds"),
    ("objective", "a-step-leaves", Freezing, "requires_grad"),
    ("objective", "a-step-leaves", Scribbling, "the batch's audio"),
    ("objective", "an-evaluation-changes-nothing", LearningFromTheTest, "it changes map."),
    ("objective", "an-evaluation-changes-nothing", EvaluatingForGood, "the mode of a network"),
    ("objective", "repeatability", Unrepeatable, "after two steps"),
    ("objective", "resumption", Forgetful, "after resuming at step 2"),
    ("objective", "resumption", Pickled, "more than tensors"),
    ("objective", "a-batch-in-pieces", Summing, "a gradient of update 1 differs"),
    ("objective", "a-batch-in-pieces", TellingTheLast, "'l1' is"),
    ("objective", "a-batch-shared", Summing, "a gradient of update 1 differs"),
    ("objective", "a-batch-shared", Drawing, "a gradient of update 1 differs"),
    ("objective", "a-batch-shared", Normalising, "a gradient of update 1 differs"),
    ("objective", "a-batch-shared", Waiting, "the two do not make the same updates"),
    ("objective", "half-precision", Rounding, "is inf"),
    ("objective", "half-precision", Halved, "a gradient is torch.bfloat16"),
    ("objective", "hearing", HearingInSecret, "it hears, but"),
    ("objective", "hearing", HearingAll, "its neighbours move what layer 0"),
    ("objective", "hearing", HearingTheScore, "layer 0 is of the shape [2, 1]"),
    ("objective", "hearing", HearingADetail, "no gradient reaches the sound"),
]


@pytest.mark.parametrize("kind", HONEST)
def test_honest_components_pass(kind: Any) -> None:
    for build in HONEST[kind]:
        for check in battery(kind, build):
            check()


@pytest.mark.parametrize(
    ("kind", "law", "build", "how"), VIOLATORS, ids=[f"{kind}-{law}-{it.__name__}" for kind, law, it, _ in VIOLATORS]
)
def test_each_law_catches_its_violator(kind: Kind, law: str, build: Callable[..., Any], how: str) -> None:
    check = next(check for check in battery(kind, build) if check.name == f"{kind}-{law}")
    with pytest.raises(AssertionError) as caught:
        check()
    assert str(caught.value).startswith(f"{check.law} Here ")
    assert how in str(caught.value)


def test_every_law_has_a_violator() -> None:
    laws = {check.name for kind, (build, *_) in HONEST.items() for check in battery(kind, build)}  # type: ignore[arg-type]
    assert laws == {f"{kind}-{law}" for kind, law, _, _ in VIOLATORS}


def test_what_the_first_step_leaves_alone_can_be_said() -> None:
    class Late(Learning):
        def loss(self, batch: Batch) -> Tensor:
            return (self.voice.waves(batch.features) - batch.audio).abs().mean()

    def check(**options: Any) -> None:
        found = battery("objective", Late, **options)
        next(check for check in found if check.name == "objective-a-step-changes")()

    with pytest.raises(AssertionError, match=r"objective\.critic\.weight does not change"):
        check()
    check(still=["objective.critic.*"])
