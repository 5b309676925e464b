"""The battery for models: honest ones, able to do little or all, pass every law, and each law catches one that breaks it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from synthkit.config import PartConfig
from synthkit.errors import ConfigError
from synthkit.interfaces import GenerativeModel, Request
from synthkit.sampling import item_generators, item_noise, label_indices
from synthkit.specs import FeatureSpec
from synthkit.testing import battery

SPEC = FeatureSpec(sample_rate=16000, n_fft=256, hop_length=64, n_mels=12)


class Plain(GenerativeModel):
    """Noise around the mean of its label."""

    def __init__(self) -> None:
        self.spec, self.labels = SPEC, ("high", "low")
        self.mean = nn.Linear(2, SPEC.n_mels)

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        return {"mean": self.mean}

    @torch.no_grad()
    def generate(self, request: Request, *, random: torch.Generator | None = None, progress: Any = None) -> Tensor:
        drawn = item_noise(item_generators(request, random), SPEC.n_mels, request.frames)
        if progress:
            progress(request.count, request.count)
        return self.means(request)[..., None] + self.noise(request, drawn)

    def means(self, request: Request) -> Tensor:
        return self.mean(torch.eye(2)[label_indices(request.labels, self.labels, request.count)])

    def noise(self, request: Request, drawn: Tensor) -> Tensor:
        return drawn


class Able(Plain):
    """The same, able to do all: it follows the loudness of a clip, and goes on as loud as the clip ended."""

    abilities = frozenset({"continue", "blend", "text", "conditions", "temperature"})

    def means(self, request: Request) -> Tensor:
        means = super().means(request)
        if request.blend is None or request.blend.labels is None:
            return means
        share = torch.tensor(request.blend.share)[:, None]
        return torch.lerp(means, super().means(replace(request, labels=request.blend.labels)), share)

    def noise(self, request: Request, drawn: Tensor) -> Tensor:
        if request.blend is not None and request.blend.seeds:
            ends = item_generators(replace(request, seeds=request.blend.seeds))
            share = torch.tensor(request.blend.share)[:, None, None]
            drawn = torch.lerp(drawn, item_noise(ends, SPEC.n_mels, request.frames), share)
        loud = request.temperature * drawn
        loud = loud if request.conditions is None else loud + request.conditions
        return loud + torch.tensor([float(len(text)) for text in request.texts or [""] * request.count])[:, None, None]

    def generate(self, request: Request, *, random: torch.Generator | None = None, progress: Any = None) -> Tensor:
        made = super().generate(request, random=random, progress=progress)
        if request.prompt is None:
            return made
        new = made[..., request.prompt.shape[2] :] + request.prompt[..., -1:]
        return torch.cat([request.prompt, new], dim=2)

    def conditions_of(self, features: Tensor) -> Tensor:
        return features.mean(1, keepdim=True)


class Brief(Plain):
    def generate(self, request: Request, **rest: Any) -> Tensor:
        return super().generate(request, **rest)[..., 1:]


class OneWindow(Plain):
    def generate(self, request: Request, **rest: Any) -> Tensor:
        return super().generate(request, **rest)[..., :8]


class Global(Plain):
    def generate(self, request: Request, *, random: torch.Generator | None = None, progress: Any = None) -> Tensor:
        return super().generate(request, random=None)


class Deaf(Plain):
    """Ignores the items' own seeds."""

    def generate(self, request: Request, **rest: Any) -> Tensor:
        first = sum(request.seeds)
        seeds = tuple(range(first, first + request.count))
        return super().generate(replace(request, seeds=seeds), **rest)


class Lenient(Plain):
    def means(self, request: Request) -> Tensor:
        return torch.zeros(request.count, SPEC.n_mels)


class Crashing(Plain):
    def means(self, request: Request) -> Tensor:
        return self.mean(torch.eye(2)[[self.labels.index(label) for label in request.labels or ()]])


class Drifting(Plain):
    def means(self, request: Request) -> Tensor:
        self.mean.bias += 1
        return super().means(request)


class Secret(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.shift = torch.rand(1)

    def means(self, request: Request) -> Tensor:
        return super().means(request) + self.shift


class Falling(Plain):
    """Drops out while it generates, unless somebody has thought of the mode."""

    def means(self, request: Request) -> Tensor:
        return super().means(request) * (0.5 if self.mean.training else 1.0)


class Settling(Plain):
    def means(self, request: Request) -> Tensor:
        self.mean.eval()
        return super().means(request)


class Stopping(Plain):
    """Says half of what it did."""

    def generate(self, request: Request, *, random: torch.Generator | None = None, progress: Any = None) -> Tensor:
        if progress:
            progress(1, 2)
        return super().generate(request, random=random)


class Swallowing(Able):
    def generate(self, request: Request, *, random: torch.Generator | None = None, progress: Any = None) -> Tensor:
        return Plain.generate(self, request, random=random, progress=progress)


class Forgetting(Able):
    """Gives the prompt back, and goes on as if there were none."""

    def generate(self, request: Request, *, random: torch.Generator | None = None, progress: Any = None) -> Tensor:
        made = Plain.generate(self, request, random=random, progress=progress)
        return (
            made if request.prompt is None else torch.cat([request.prompt, made[..., request.prompt.shape[2] :]], dim=2)
        )


class Backwards(Able):
    def means(self, request: Request) -> Tensor:
        if request.blend is not None:
            blend = replace(request.blend, share=tuple(1 - share for share in request.blend.share))
            request = replace(request, blend=blend)
        return super().means(request)


class Boasting(Able):
    def generate(self, request: Request, **rest: Any) -> Tensor:
        if request.blend is not None:
            raise ConfigError("it knows no way at all")
        return super().generate(request, **rest)


class Feverish(Able):
    def noise(self, request: Request, drawn: Tensor) -> Tensor:
        return drawn / request.temperature


class Flat(Able):
    def conditions_of(self, features: Tensor) -> Tensor:
        return features.mean((1, 2))[:, None, None]

    def noise(self, request: Request, drawn: Tensor) -> Tensor:
        return drawn


VIOLATORS: list[tuple[str, Callable[[], GenerativeModel], str]] = [
    ("length", Brief, "gives [1, 12, 7]"),
    ("any-length", OneWindow, "gives [1, 12, 8]"),
    ("determinism", Global, "changes torch's global random state"),
    ("own-seeds", Deaf, "seed 11"),
    ("unknown-label", Lenient, "served as if nothing were wrong"),
    ("unknown-label", Crashing, "a ValueError"),
    ("nothing-changed", Drifting, "mean.bias"),
    ("saved-and-loaded", Secret, "in no network"),
    ("modes", Falling, "features that differ by"),
    ("modes", Settling, "leaves mean in evaluation mode"),
    ("progress", Stopping, "progress is told [(1, 2)]"),
    ("continuing", Swallowing, "differ from the prompt"),
    ("continuing", Forgetting, "two prompts are continued alike"),
    ("blending", Backwards, "share 0 between two labels"),
    ("blending", Boasting, "neither the way between two seeds nor"),
    ("temperature", Feverish, "at temperature 1"),
    ("conditions", Flat, "it gives [2, 1, 1]"),
]


class Shy(PartConfig):
    """Settings that promise less than the model can."""

    def abilities(self) -> frozenset[str]:
        return frozenset({"blend"})


class Exact(Shy):
    """Settings that promise what it can."""

    def abilities(self) -> frozenset[str]:
        return Able.abilities


@pytest.mark.parametrize("build", [Plain, Able])
def test_honest_models_pass(build: Callable[[], GenerativeModel]) -> None:
    for check in battery("model", build, config=Exact() if build is Able else None):
        check()


@pytest.mark.parametrize(("law", "build", "how"), VIOLATORS, ids=[f"{law}-{it.__name__}" for law, it, _ in VIOLATORS])
def test_each_law_catches_its_violator(law: str, build: Callable[[], GenerativeModel], how: str) -> None:
    check = next(check for check in battery("model", build) if check.name == f"model-{law}")
    with pytest.raises(AssertionError) as caught:
        check()
    assert str(caught.value).startswith(f"{check.law} Here ")
    assert how in str(caught.value)


def test_every_law_has_a_violator() -> None:
    assert {check.name for check in battery("model", Plain)} == {f"model-{law}" for law, _, _ in VIOLATORS}


def test_settings_promise_what_the_model_can() -> None:
    check = next(check for check in battery("model", Able, config=Shy()) if check.name == "model-promised-abilities")
    with pytest.raises(AssertionError, match=r"the settings say \['blend'\] and the model \['blend', 'cond"):
        check()
