"""MelNet's published sizes, what `synthkit check` says of them, and settings that contradict each other."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from pydantic import ValidationError

from synthkit.errors import ConfigError
from synthkit.presets import find_preset
from synthkit.specs import FeatureSpec
from synthkit_melnet import sizes
from synthkit_melnet.config import PRESETS, MelNetConfig, MelNetObjectiveConfig, Preset
from synthkit_melnet.model import MelNet

Call = Callable[..., subprocess.CompletedProcess[str]]

PUBLISHED: list[tuple[Preset, str, int, int]] = [
    ("blizzard", "melnet-blizzard", 324_797_108, 141_856_286),
    ("maestro", "melnet-maestro", 349_965_944, 189_146_654),
    ("voxceleb2", "melnet-voxceleb", 384_653_462, 189_136_926),
    ("blizzard-tts", "melnet-blizzard", 282_284_754, 99_343_932),
    ("cmelgan", "cmelgan-melnet", 53_719_672, 22_108_702),
    ("32-band", "melnet-24k-32band", 39_770, 39_770),
]


def built(config: MelNetConfig, spec: FeatureSpec, labels: tuple[str, ...] = ()) -> list[int]:
    """Parameters of each tier of the real networks, which have no numbers in them."""
    spec = spec if spec.log != "none" else find_preset("melgan").spec
    with torch.device("meta"):
        tiers = MelNet(config, spec, labels).tiers
    return [sum(weight.numel() for weight in tier.parameters()) for tier in tiers]


class TestSizes:
    @pytest.mark.parametrize(("preset", "features", "parameters", "first"), PUBLISHED)
    def test_published_ones_build_with_the_parameters_they_state(
        self, preset: Preset, features: str, parameters: int, first: int
    ) -> None:
        spec = find_preset(features).spec
        if spec.log == "none":  # cMelGAN's authors learned raw power: here it has a log
            spec = FeatureSpec.from_dict(spec.to_dict() | {"log": "db", "floor": 1e-10})
        config = MelNetConfig(preset=preset)
        counts = built(config, spec)
        assert (sum(counts), counts[0]) == (parameters, first)
        assert config.parameters(spec) == parameters

    def test_every_preset_is_stated(self) -> None:
        assert {preset for preset, *_ in PUBLISHED} == set(PRESETS) - {"small", "tiny"}

    @pytest.mark.parametrize("cell", ["lstm", "gru"])
    @pytest.mark.parametrize("text", [None, {"alphabet": "abc", "logistics": 3}])
    @pytest.mark.parametrize("conditions", [(), ("loudness", "brightness")])
    def test_sizes_without_networks_are_those_of_the_networks(
        self, cell: str, text: dict[str, object] | None, conditions: tuple[str, ...]
    ) -> None:
        config = MelNetConfig.model_validate(
            {"hidden": 6, "layers": (3, 2, 1, 1), "cell": cell, "text": text, "conditions": conditions, "mixtures": 3}
        )
        spec = FeatureSpec(sample_rate=8000, n_fft=256, hop_length=64, n_mels=11)
        assert sizes.parameters(config, 11) == built(config, spec)
        by_label = built(config, spec, labels=("a", "b", "c"))
        assert [more - without for more, without in zip(by_label, built(config, spec), strict=True)] == [36] * 4


class TestMemory:
    @pytest.mark.parametrize(
        ("config", "checkpointing"),
        [
            ({"layers": (2,), "hidden": 128}, False),
            ({"layers": (1, 4), "hidden": 64, "cell": "gru"}, True),
        ],
        ids=["lstm", "gru, two tiers, checkpointing"],
    )
    @pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is read from /proc")
    def test_a_step_takes_about_as_much_as_is_stated(self, config: dict[str, object], checkpointing: bool) -> None:
        sizes_of_step = {"config": config, "bands": 32, "frames": 64, "batch": 4, "checkpointing": checkpointing}
        done = subprocess.run(
            [sys.executable, "-c", PEAK, json.dumps(sizes_of_step)], capture_output=True, text=True, check=True
        )
        stated = sizes.training_bytes(MelNetConfig.model_validate(config), 32, 4, 64, None, checkpointing)
        assert 0.5 < stated / int(done.stdout) < 1.8

    def test_it_follows_the_largest_grid_that_learns(self) -> None:
        spec, model = find_preset("melnet-blizzard").spec, MelNetConfig(preset="blizzard")
        every = MelNetObjectiveConfig().memory(model, spec, 1, 860)
        alone = [MelNetObjectiveConfig(tiers=(tier,)).memory(model, spec, 1, 860) for tier in range(1, 7)]
        anew = MelNetObjectiveConfig(checkpointing=True).memory(model, spec, 1, 860)
        assert every is not None
        assert anew is not None
        assert every > max(one for one in alone if one)
        assert anew < 0.6 * every
        # Deepest-Project/MelNet reports that tier 6 does not fit 16 GB at batch 1.
        assert (alone[5] or 0) > 16e9

    def test_check_says_it(self, synthkit_cli: Call) -> None:
        done = synthkit_cli("check", "melnet-blizzard", "--no-files", "--set", "train.accumulate=32")
        assert "  model     melnet, 324,797,108 parameters\n" in done.stdout
        stated = MelNetObjectiveConfig(checkpointing=True).memory(
            MelNetConfig(preset="blizzard"), find_preset("melnet-blizzard").spec, 1, 861
        )
        assert stated is not None
        assert f"  memory    about {stated / 1e9:.1f} GB for a step of the model\n" in done.stdout


class TestSettings:
    def test_what_is_written_stands_over_the_preset(self) -> None:
        config = MelNetConfig(preset="voxceleb2", hidden=128)
        assert (config.hidden, config.layers, config.mixtures) == (128, (16, 6, 5, 4, 3), 10)
        assert MelNetConfig.model_validate(config.model_dump()) == config
        assert MelNetConfig.model_validate_json(config.model_dump_json()) == config

    @pytest.mark.parametrize(
        ("settings", "said"),
        [
            ({"preset": "blizard"}, "preset"),
            ({"preset": 3}, "preset"),
            ({"layers": ()}, "layers"),
            ({"layers": (1,) * 7}, "layers"),
            ({"conditions": ("loudness", "loudness")}, "twice"),
            ({"text": {}, "centralised": False}, "centralised must be true"),
            ({"text": {}, "hidden": 33}, "must be even"),
            ({"text": {"alphabet": "aba"}}, "'a' is in the alphabet twice"),
        ],
    )
    def test_contradictions_are_said(self, settings: dict[str, object], said: str) -> None:
        with pytest.raises(ValidationError, match=said):
            MelNetConfig.model_validate(settings)

    @pytest.mark.parametrize("log", ["none", "ln"])
    def test_features_must_have_a_log_and_bands_for_every_tier(self, log: str) -> None:
        # A fault of a published one: raw power, over many orders of magnitude, is what it tried to learn.
        few = FeatureSpec(sample_rate=8000, n_fft=256, hop_length=64, n_mels=20 if log == "none" else 3, log=log)  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match=r"needs features with a log|there must be 4 or more"):
            MelNetConfig(layers=(1, 1, 1, 1)).check_spec(few)

    def test_conditions_and_texts_are_abilities(self) -> None:
        spec = FeatureSpec(sample_rate=8000, n_fft=256, hop_length=64, n_mels=8)
        plain = MelNet(MelNetConfig(preset="tiny"), spec)
        able = MelNet(MelNetConfig.model_validate({"preset": "tiny", "text": {}, "conditions": ["brightness"]}), spec)
        assert plain.abilities == {"continue", "temperature"}
        assert able.abilities == plain.abilities | {"conditions", "text"}


class TestConditions:
    spec = FeatureSpec(sample_rate=8000, n_fft=256, hop_length=64, n_mels=5, log="db", floor=1e-10)

    def curves(self, features: torch.Tensor) -> torch.Tensor:
        config = MelNetConfig(preset="tiny", conditions=("brightness", "loudness"))
        return MelNet(config, self.spec).conditions_of(features)

    def test_a_lone_band_is_as_bright_as_it_is_high(self) -> None:
        features = torch.full((1, 5, 5), self.spec.silence)
        features[0].fill_diagonal_(0.0)
        brightness, loudness = self.curves(features)[0]
        assert brightness.tolist() == pytest.approx([0, 0.25, 0.5, 0.75, 1], abs=1e-6)
        assert loudness.tolist() == pytest.approx([self.spec.silence * 4 / 5] * 5)

    def test_level_is_loudness_and_no_brightness(self) -> None:
        features = torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(0))
        quiet, loud = self.curves(features), self.curves(features + 20)
        assert torch.allclose(quiet[:, 0], loud[:, 0], atol=1e-5)
        assert torch.allclose(quiet[:, 1] + 20, loud[:, 1], atol=1e-4)


PEAK = """
import json, sys, torch
from synthkit.specs import FeatureSpec
from synthkit_melnet.config import MelNetConfig
from synthkit_melnet.model import MelNet

def resident(key):
    line = next(line for line in open("/proc/self/status") if line.startswith(key))
    return int(line.split()[1]) * 1024

asked = json.loads(sys.argv[1])
torch.set_num_threads(1)
spec = FeatureSpec(sample_rate=8000, n_fft=512, hop_length=128, n_mels=asked["bands"])
model = MelNet(MelNetConfig.model_validate(asked["config"]), spec)
adams = [torch.optim.Adam(tier.parameters()) for tier in model.tiers]

def step(batch, frames):
    for tier, adam in zip(model.tiers, adams):
        tier.checkpointing = asked["checkpointing"]
        below, own = tier.scaled(torch.randn(batch, frames, asked["bands"]))
        adam.zero_grad()
        (-tier(own, below).log_prob(own).mean()).backward()
        adam.step()

step(1, 4)
before = resident("VmRSS")
for _ in range(2):
    step(asked["batch"], asked["frames"])
print(resident("VmHWM") - before)
"""
"""Prints by how many bytes the steps raise the highest that the process has taken; the first step is what it takes anyway."""
