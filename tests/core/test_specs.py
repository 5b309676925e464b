"""The joint between parts: equality, exact conversion, and errors that say what differs."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
from typing import Any

import pytest

from synthkit.errors import ConfigError, SpecMismatch
from synthkit.presets import PRESETS
from synthkit.specs import FeatureSpec, conversion

BASE = FeatureSpec(sample_rate=22050, n_fft=1024, hop_length=256, n_mels=80)
CHANGED: dict[str, Any] = {
    "sample_rate": 24000,
    "n_fft": 2048,
    "win_length": 800,
    "hop_length": 128,
    "n_mels": 64,
    "f_min": 20.0,
    "f_max": 8000.0,
    "mel_scale": "htk",
    "norm": None,
    "power": 2,
    "magnitude_eps": 1e-9,
    "window_norm": True,
    "log": "ln",
    "floor": 1e-4,
    "gain": 2.0,
    "offset": 1.0,
    "framing": "center",
}
EXACT = {"log", "floor", "gain", "offset"}


def test_every_field_is_covered_here() -> None:
    assert list(CHANGED) == [field.name for field in dataclasses.fields(FeatureSpec)]


@pytest.mark.parametrize("field", CHANGED)
def test_every_field_makes_another_spec(field: str) -> None:
    other = dataclasses.replace(BASE, **{field: CHANGED[field]})
    assert other != BASE
    assert other.fingerprint() != BASE.fingerprint()
    assert BASE.differences(other) == {field: (getattr(BASE, field), CHANGED[field])}


@pytest.mark.parametrize("field", sorted(set(CHANGED) - EXACT))
def test_what_has_no_exact_conversion_is_refused_and_named(field: str) -> None:
    other = dataclasses.replace(BASE, **{field: CHANGED[field]})
    with pytest.raises(SpecMismatch) as caught:
        conversion(BASE, other, giver="the mel", needer="vocoder 'melgan'")
    assert set(caught.value.differences) == {field}
    text = str(caught.value)
    assert f"{field}: the mel has {getattr(BASE, field)!r}, vocoder 'melgan' needs {CHANGED[field]!r}" in text
    assert ("Resample" if field == "sample_rate" else "Extract the features again") in text


def test_all_differences_are_listed_at_once() -> None:
    with pytest.raises(SpecMismatch) as caught:
        conversion(BASE, dataclasses.replace(BASE, f_max=8000.0, n_mels=64, framing="center", log="ln"))
    assert set(caught.value.differences) == {"f_max", "n_mels", "framing"}, "the log base alone would convert"


@pytest.mark.parametrize("log", ["ln", "log10", "db"])
@pytest.mark.parametrize(("gain", "offset"), [(1.0, 0.0), (0.2, 0.6), (-3.0, 1.0)])
def test_conversion_is_the_formula_there_and_back(log: Any, gain: float, offset: float) -> None:
    other = dataclasses.replace(BASE, log=log, gain=gain, offset=offset)
    there, back = conversion(BASE, other), conversion(other, BASE)
    for mel in (1e-5, 0.3, 1.0, 1234.5):
        value = {"ln": math.log(mel), "log10": math.log10(mel), "db": 10 * math.log10(mel)}[log] * gain + offset
        assert math.log10(mel) * there.multiply + there.add == pytest.approx(value, abs=1e-12)
        assert value * back.multiply + back.add == pytest.approx(math.log10(mel), abs=1e-12)
    assert there.is_identity == (other == BASE)


def test_a_floor_can_be_raised_but_not_lowered() -> None:
    import numpy as np

    raised = dataclasses.replace(BASE, floor=1e-3, log="db")
    assert conversion(BASE, raised)(np.array([-5.0, -3.5, 0.0])).tolist() == pytest.approx([-30.0, -30.0, 0.0])
    with pytest.raises(SpecMismatch, match=r"floor: the source has 0\.001, the target needs 1e-05"):
        conversion(raised, BASE)


def test_no_logarithm_and_a_logarithm_do_not_mix() -> None:
    linear = dataclasses.replace(BASE, log="none", floor=0.0)
    for pair in [(linear, BASE), (BASE, linear)]:
        with pytest.raises(SpecMismatch, match="log: "):
            conversion(*pair)
    scaled = dataclasses.replace(linear, gain=2.0, offset=1.0)
    assert conversion(linear, scaled)(3.0) == 7.0


@pytest.mark.parametrize("spec", [preset.spec for preset in PRESETS.values()], ids=list(PRESETS))
def test_frames_and_samples_invert(spec: FeatureSpec) -> None:
    assert spec.frames(0) == spec.samples(0) == 0
    previous = 0
    for samples in range(0, 6 * spec.n_fft, 97):
        assert spec.frames(samples) >= previous
        previous = spec.frames(samples)
    for frames in range(2, 50):
        samples = spec.samples(frames)
        assert spec.frames(samples) == frames
        assert spec.frames(samples - 1) == frames - 1, "samples() is the shortest sound with that many frames"


def test_spec_survives_json() -> None:
    for preset in PRESETS.values():
        again = FeatureSpec.from_dict(json.loads(json.dumps(preset.spec.to_dict())))
        assert again == preset.spec
        assert again.fingerprint() == preset.spec.fingerprint()
    with pytest.raises(ConfigError, match="unknown feature spec fields: hop"):
        FeatureSpec.from_dict({"hop": 256})
    with pytest.raises(ConfigError, match="incomplete"):
        FeatureSpec.from_dict({"sample_rate": 22050})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sample_rate": 0}, "sample_rate must be positive"),
        ({"n_fft": 1023}, "n_fft must be even"),
        ({"win_length": 1025}, r"win_length must lie in 1..n_fft \(1024\)"),
        ({"hop_length": 0}, "hop_length must lie in"),
        ({"n_mels": 0}, "n_mels must be positive"),
        ({"f_max": 12000.0}, "half the sample rate"),
        ({"f_min": 9000.0, "f_max": 8000.0}, "they are 9000 and 8000"),
        ({"power": 3}, "power must be 1"),
        ({"floor": 0.0}, "floor must be positive"),
        ({"gain": 0.0}, "gain must not be 0"),
        ({"mel_scale": "bark"}, "mel_scale must be"),
        ({"framing": "left"}, "framing must be"),
    ],
)
def test_contradictions_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(BASE, **fields)


def test_silence_is_the_floor_in_the_specs_own_units() -> None:
    assert BASE.silence == -5.0
    assert dataclasses.replace(BASE, log="db", gain=0.02, offset=0.6).silence == pytest.approx(-0.4)
    assert dataclasses.replace(BASE, log="none", floor=0.0).silence == 0.0
    with pytest.raises(ConfigError, match="magnitude_eps"):
        _ = PRESETS["hifi-gan"].spec.silence


def test_specs_and_presets_need_no_torch_and_no_numpy() -> None:
    code = (
        "import sys, synthkit.presets, synthkit.builtin.config as c; c.LogMelConfig(preset='hifi-gan').spec();"
        "assert not {'torch', 'numpy', 'soundfile', 'librosa'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
