"""The official code's numbers, through this plugin's own step: see the README beside the reference files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from synthkit import dsp
from synthkit.interfaces import Batch
from synthkit.presets import PRESETS
from synthkit.training.engine import Engine
from synthkit.training.losses import mel_l1
from synthkit_melgan.config import MelGANConfig, MelGANObjectiveConfig
from synthkit_melgan.objective import MelGANObjective
from synthkit_melgan.vocoder import MelGAN

pytestmark = pytest.mark.data


def official_name(name: str) -> str:
    """The official state-dict key of one of ours."""
    new_style = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    for ours, official in new_style.items():
        name = name.replace(ours, official)
    return name


def formula_weights(network: nn.Module) -> dict[str, Tensor]:
    """The weights that the reference prescribes, under our keys."""
    state = network.state_dict()
    weights = {}
    for place, name in enumerate(sorted(state, key=official_name), 1):
        k = np.arange(state[name].numel(), dtype=np.float64)
        v = np.sin(0.7310 * place + 1.6180339887 * k + 0.001 * k**2)
        official = official_name(name)
        if official.endswith("weight_g"):
            v = 1.0 + 0.25 * v
        elif official.endswith("bias"):
            v = 0.05 * v
        weights[name] = torch.from_numpy(v.astype(np.float32).reshape(state[name].shape))
    return weights


class Reference:
    """The reference tensors and numbers, and our networks with the same weights before and after one step."""

    def __init__(self, folder: Path) -> None:
        self.tensors = load_file(folder / "melgan_official.safetensors")
        self.numbers: dict[str, Any] = json.loads((folder / "melgan_official.json").read_text())
        self.vocoder = MelGAN(MelGANConfig(), PRESETS["melgan"].spec)
        self.objective = MelGANObjective(MelGANObjectiveConfig(), self.vocoder, Engine())
        self.generator, self.critic = self.vocoder.generator, self.objective.networks["critic"]
        self.generator.load_state_dict(formula_weights(self.generator))
        self.critic.load_state_dict(formula_weights(self.critic))
        self.real, self.mel = self.tensors["audio"][..., :8192], self.tensors["mel"][..., :32]
        with torch.no_grad():
            self.made = self.generator(self.mel)
            self.judged = {"real": self.critic(self.real), "fake": self.critic(self.made)}
        self.terms = self.objective.step(Batch(audio=self.real[0], features=self.mel))

    def gradient_norms(self, network: nn.Module) -> Mapping[str, float]:
        return {
            official_name(name): float(p.grad.norm()) for name, p in network.named_parameters() if p.grad is not None
        }


@pytest.fixture(scope="module")
def reference(shared: Path) -> Iterator[Reference]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as many as the reference had, so that sums are rounded alike
    yield Reference(shared / "reference")
    torch.set_num_threads(threads)


def agree(made: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    assert made.shape == expected.shape
    assert float((made - expected).abs().max() / expected.abs().max()) < tolerance


def test_official_keys_and_shapes_map_by_a_pure_rename(reference: Reference) -> None:
    for network, name in ((reference.generator, "shapes_generator"), (reference.critic, "shapes_discriminator")):
        shapes = {official_name(key): list(value.shape) for key, value in network.state_dict().items()}
        assert shapes == reference.numbers[name]


def test_features(reference: Reference) -> None:
    agree(dsp.log_mel(reference.tensors["audio"][0], PRESETS["melgan"].spec), reference.tensors["mel"])


def test_forward(reference: Reference) -> None:
    agree(reference.made, reference.tensors["generated"])


def test_scores_and_features_of_the_critic(reference: Reference) -> None:
    for sound, judged in reference.judged.items():
        for scale, layers in enumerate(judged):
            agree(layers[-1], reference.tensors[f"score_{sound}_{scale}"])
            for place, layer in enumerate(layers[:-1]):
                expected = reference.numbers["features"][f"scale {scale} layer {place}"]
                assert list(layer.shape) == expected["shape"]
                assert float(layer.abs().mean()) == pytest.approx(expected[f"{sound}_mean_abs"], rel=1e-5)


def test_losses_of_the_step(reference: Reference) -> None:
    expected, terms = reference.numbers["scalars"], reference.terms
    assert float(terms["critic"]) == pytest.approx(expected["loss_D"], rel=1e-5)
    assert float(terms["adversarial"]) == pytest.approx(expected["loss_G_adversarial"], rel=1e-5)
    matching = expected["loss_feature_matching_before_weight_10"]
    assert float(terms["feature_matching"]) == pytest.approx(matching, rel=1e-5)
    assert float(terms["generator"]) == pytest.approx(expected["loss_G_adversarial"] + 10 * matching, rel=1e-5)
    assert float(terms["mel_l1"]) == pytest.approx(expected["mel_l1_log10"], rel=1e-5)
    same = mel_l1(reference.made[:, 0], reference.mel, PRESETS["melgan"].spec)
    assert float(same) == pytest.approx(expected["mel_l1_log10"], rel=1e-5)


def test_gradients_of_the_step(reference: Reference) -> None:
    for network, name in ((reference.generator, "grad_norm_generator"), (reference.critic, "grad_norm_discriminator")):
        norms, expected = reference.gradient_norms(network), reference.numbers[name]
        assert norms.keys() == expected.keys()
        for key, norm in norms.items():
            assert norm == pytest.approx(expected[key], rel=1e-3, abs=1e-9), key


def test_networks_after_the_step(reference: Reference) -> None:
    with torch.no_grad():
        # Adam's first step divides each gradient by itself: one that rounding decides moves its weight a full step either
        # way. The reference itself, done in float64, is 1.7e-5 away here.
        agree(reference.generator(reference.mel), reference.tensors["generated_after_one_step"], tolerance=5e-5)
        for scale, layers in enumerate(reference.critic(reference.real)):
            agree(layers[-1], reference.tensors[f"score_real_after_one_step_{scale}"])
