"""The laws that synthkit asks of every vocoder, and what a bank of sines promises beyond them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from synthkit.dsp import expand, log_mel
from synthkit.presets import PRESETS
from synthkit.testing import Check, battery, declaration
from synthkit_hello.config import SineBankConfig
from synthkit_hello.vocoder import SineBank

CONFIG = SineBankConfig(sines_per_band=2)
SPECS = {name: PRESETS[name].spec for name in ("melgan", "tacotron", "melgan-vc", "cmelgan")}


def batteries() -> list[Check]:
    found = declaration("synthkit_hello.plugin")
    for spec in SPECS.values():
        found += battery("vocoder", lambda spec=spec: SineBank(CONFIG, spec), config=CONFIG)
    return found


@pytest.mark.parametrize("check", batteries(), ids=str)
def test_laws(check: Check) -> None:
    check()


@pytest.fixture(params=SPECS, name="bank")
def every_bank(request: pytest.FixtureRequest) -> SineBank:
    return SineBank(SineBankConfig(), SPECS[request.param])


def tone(bank: SineBank, frequency: float, level: float = 0.25, seconds: float = 1.0) -> Tensor:
    rate = bank.spec.sample_rate
    count = bank.spec.samples(bank.spec.frames(int(seconds * rate)))
    return level * torch.sin(2 * math.pi * frequency * torch.arange(count) / rate)[None]


def test_a_tone_keeps_its_band_and_its_level(bank: SineBank) -> None:
    given = log_mel(tone(bank, 1000.0), bank.spec)
    heard = log_mel(bank.vocode(given), bank.spec)
    middle = given.shape[2] // 2
    assert abs(int(heard[0, :, middle].argmax()) - int(given[0, :, middle].argmax())) <= 1
    ratio = bank.vocode(given).std() / tone(bank, 1000.0).std()
    assert abs(20 * math.log10(ratio)) < 4


def test_noise_keeps_its_level_in_every_band(bank: SineBank) -> None:
    noise = 0.05 * torch.randn(1, 2 * bank.spec.sample_rate, generator=torch.Generator().manual_seed(1))
    given = log_mel(noise, bank.spec)
    heard = log_mel(bank.vocode(given), bank.spec)
    levels = [expand(values[..., 8:-8], bank.spec).mean((0, 2)) for values in (given, heard)]
    apart = 20 / bank.spec.power * (levels[1] / levels[0]).log10()  # dB
    assert float(apart.abs().median()) < 3


def test_what_falls_silent_is_silent(bank: SineBank) -> None:
    sound = tone(bank, 600.0, seconds=2.0)
    quarter = sound.shape[1] // 4
    sound[:, :quarter] = 0
    sound[:, 2 * quarter :] = 0
    made = bank.vocode(log_mel(sound, bank.spec))
    margin = bank.spec.n_fft + bank.spec.hop_length  # a frame hears what is near
    assert made[:, quarter + margin : 2 * quarter - margin].std() > 0.1
    assert not made[:, : quarter - margin].any()
    assert not made[:, 2 * quarter + margin :].any()


def test_there_is_no_click(bank: SineBank) -> None:
    """The steepest step of a made tone is not much steeper than a sine's of its band's highest frequency."""
    made = bank.vocode(log_mel(tone(bank, 500.0), bank.spec))[0]
    inside = made[len(made) // 4 : 3 * len(made) // 4]
    steepest = (inside[1:] - inside[:-1]).abs().max()
    assert steepest < 6 * 2 * math.pi * 500.0 / bank.spec.sample_rate * inside.abs().max()


def test_the_level_can_be_set() -> None:
    spec = SPECS["melgan"]
    given = log_mel(tone(SineBank(CONFIG, spec), 1000.0, level=0.1), spec)
    loud, quiet = (SineBank(SineBankConfig(level_db=level), spec).vocode(given) for level in (0.0, -20.0))
    assert torch.allclose(loud, 10 * quiet, atol=1e-5)
