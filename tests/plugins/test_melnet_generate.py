"""MelNet as a model: requests, what it refuses, and the size of the paper's."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch

from synthkit.errors import ConfigError
from synthkit.interfaces import Request
from synthkit.specs import FeatureSpec
from synthkit.testing import battery
from synthkit.training.engine import seeded
from synthkit_melnet.config import MelNetConfig
from synthkit_melnet.model import MelNet

SPEC = FeatureSpec(sample_rate=8000, n_fft=256, hop_length=64, n_mels=9)


def built(labels: tuple[str, ...] = (), **settings: Any) -> MelNet:
    with seeded(1):
        model = MelNet(MelNetConfig(preset="tiny", **settings), SPEC, labels)
        model.fit([torch.randn(2, SPEC.n_mels, 40) - 6])
    return model


VARIANTS: dict[str, Callable[[], MelNet]] = {
    "by label": lambda: MelNet(MelNetConfig(preset="tiny"), SPEC, ("low", "high")),
    "three tiers, gru": lambda: MelNet(MelNetConfig(preset="tiny", layers=(1, 1, 1), cell="gru"), SPEC, ()),
    "by curve": lambda: MelNet(MelNetConfig(preset="tiny", conditions=("loudness", "brightness")), SPEC, ()),
}
CHECKS = [(name, check) for name, build in VARIANTS.items() for check in battery("model", build)]


@pytest.mark.parametrize("check", [check for _, check in CHECKS], ids=[f"{name}: {check}" for name, check in CHECKS])
def test_the_laws_of_models(check: Callable[[], None]) -> None:
    check()


def test_nothing_is_below_silence() -> None:
    model = built()
    for tier in model.tiers:
        tier.scaling.shift += SPEC.silence + 6  # the middle of what it draws is at the floor
    made = model.generate(Request(frames=6, seeds=(3,)))
    assert float(made.min()) == pytest.approx(SPEC.silence)
    assert float(made.max()) > SPEC.silence


def test_a_text_is_read_and_changes_what_is_made() -> None:
    model = built(text={"alphabet": "abc "})
    assert "text" in model.abilities

    def said(*texts: str) -> torch.Tensor:
        return model.generate(Request(frames=6, count=len(texts), texts=texts, seeds=(5, 6, 7)[: len(texts)]))

    three = said("abc", "a", "cab cab")
    assert torch.equal(three[:1], said("abc"))
    assert (three[:1] - said("cba")).abs().max() > 1e-4


def test_a_model_in_training_stays_so() -> None:
    model = built()
    model.tiers[0].train()
    model.tiers[1].eval()
    model.generate(Request(frames=2))
    assert [tier.training for tier in model.tiers] == [True, False]


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (Request(frames=0), "MelNet makes 1 or more clips of 1 or more frames, not 1 of 0"),
        (Request(frames=4, temperature=0.0), "a temperature is above 0 (1 is as learned), not 0.0"),
        (Request(frames=4, temperature=float("nan")), "a temperature is above 0 (1 is as learned), not nan"),
        (Request(frames=4, prompt=torch.zeros(1, 9, 5)), "a prompt of 5 frames cannot begin a clip of 4"),
        (Request(frames=4, prompt=torch.zeros(1, 8, 2)), "MelNet needs a prompt of shape [1, 9, 2], not [1, 8, 2]"),
        (Request(frames=4, count=2, prompt=torch.zeros(1, 9, 2)), "MelNet needs a prompt of shape [2, 9, 2], not [1, 9, 2]"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_cannot_be_served_is_refused_in_one_sentence(request_: Request, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        built().generate(request_)


def test_curves_and_texts_that_are_missing_or_do_not_fit_are_refused() -> None:
    follows, reads = built(conditions=("loudness",)), built(text={})
    with pytest.raises(
        ConfigError, match=re.escape("MelNet follows curves (loudness): give conditions of shape [1, 1, 4]")
    ):
        follows.generate(Request(frames=4))
    with pytest.raises(ConfigError, match=re.escape("MelNet needs conditions of shape [1, 1, 4], not [1, 1, 3]")):
        follows.generate(Request(frames=4, conditions=torch.zeros(1, 1, 3)))
    with pytest.raises(ConfigError, match="MelNet reads texts: give one for each of 2 items, not 1"):
        reads.generate(Request(frames=4, count=2, texts=("a",)))


PAPER = """
import resource
import torch
from synthkit.interfaces import Request
from synthkit.specs import FeatureSpec
from synthkit_melnet.config import MelNetConfig
from synthkit_melnet.model import MelNet

spec = FeatureSpec(sample_rate=22050, n_fft=1536, hop_length=256, n_mels=256)
model = MelNet(MelNetConfig(preset="blizzard"), spec)
made = model.generate(Request(frames=4, seeds=(1,)))
assert made.shape == (1, 256, 4) and made.isfinite().all()
print(sum(parameter.numel() for tier in model.tiers for parameter in tier.parameters()))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured as Linux counts it")
def test_the_papers_largest_model_samples_in_the_memory_of_its_weights_and_a_tiers_copy() -> None:
    done = subprocess.run([sys.executable, "-c", PAPER], capture_output=True, text=True, check=True)
    parameters, kilobytes = map(int, done.stdout.split())
    assert 320e6 < parameters < 330e6
    # Weights of 1.3 GB, a copy of the largest tier's of 0.6 GB, and what Python, torch and numba take.
    assert kilobytes * 1024 < 4 * (parameters + 145e6) + 0.9e9
