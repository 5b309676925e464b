"""Every preset against an independent computation: the published systems' own calls, written out with librosa and torchaudio."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path

import librosa
import numpy as np
import pytest
import torch
import torchaudio
from pydantic import ValidationError
from safetensors.torch import load_file

from synthkit.audio import Audio, read
from synthkit.builtin.config import LogMelConfig
from synthkit.builtin.log_mel import LogMel
from synthkit.dsp import log_mel
from synthkit.errors import UnknownName
from synthkit.presets import PRESETS, find_preset
from synthkit.specs import FeatureSpec, conversion

MUSIC = ("sorohanro_-_solo-trumpet-06.hq.ogg", "Kevin_MacLeod_-_Vibe_Ace.hq.ogg", "back34.mp3")
Samples = np.ndarray


def _padded(y: Samples, each_side: int) -> Samples:
    return np.pad(y, each_side, mode="reflect")


def _magnitude(y: Samples, n_fft: int, hop: int, *, center: bool = True) -> Samples:
    return np.abs(librosa.stft(y, n_fft=n_fft, hop_length=hop, center=center, pad_mode="reflect"))


def _bank(
    rate: int, n_fft: int, bands: int, low: float = 0.0, high: float | None = None, *, htk: bool = False
) -> Samples:
    norm = None if htk else "slaney"
    return librosa.filters.mel(
        sr=rate, n_fft=n_fft, n_mels=bands, fmin=low, fmax=high, htk=htk, norm=norm, dtype=np.float64
    )


def _db(power: Samples) -> Samples:
    return librosa.power_to_db(power, ref=1.0, amin=1e-10, top_db=None)


def _melgan(y: Samples, bands: int = 80) -> Samples:
    mel = _bank(22050, 1024, bands) @ _magnitude(_padded(y, 384), 1024, 256, center=False)
    return np.log10(np.maximum(mel, 1e-5))


def _hifi_gan(y: Samples, high: float | None) -> Samples:
    magnitude = np.sqrt(_magnitude(_padded(y, 384), 1024, 256, center=False) ** 2 + 1e-9)
    return np.log(np.maximum(_bank(22050, 1024, 80, high=high) @ magnitude, 1e-5))


def _tacotron(y: Samples) -> Samples:
    return np.log(np.maximum(_bank(22050, 1024, 80, high=8000.0) @ _magnitude(y, 1024, 256), 1e-5))


def _parallel_wavegan(y: Samples) -> Samples:
    return np.log10(np.maximum(_bank(22050, 1024, 80, 80.0, 7600.0) @ _magnitude(y, 1024, 256), 1e-10))


def _spectrogram_gan(y: Samples) -> Samples:
    mel = librosa.feature.melspectrogram(S=_magnitude(y, 2048, 512), sr=22050, n_mels=128, dtype=np.float64)
    return librosa.amplitude_to_db(mel, ref=1.0, amin=1e-5, top_db=None)


def _linear(rate: int, n_fft: int, hop: int, bands: int) -> Callable[[Samples], Samples]:
    return lambda y: _bank(rate, n_fft, bands, htk=True) @ _magnitude(y, n_fft, hop) ** 2


def _melnet(rate: int, n_fft: int, hop: int, bands: int, **options: bool) -> Callable[[Samples], Samples]:
    htk = options.pop("htk", False)
    return lambda y: _db(_bank(rate, n_fft, bands, htk=htk) @ _magnitude(y, n_fft, hop, **options) ** 2)


def _melgan_vc(y: Samples) -> Samples:
    power = _magnitude(y, 1152, 192) ** 2 / np.sum(librosa.filters.get_window("hann", 1152) ** 2)
    return _db(_bank(16000, 1152, 192, htk=True) @ power)


def _24k_32band(y: Samples) -> Samples:
    mel = _bank(24000, 2048, 32, 300.0, 8000.0, htk=True) @ _magnitude(y, 2048, 1280)
    return np.log10(np.maximum(mel, 1e-4))


INDEPENDENT: dict[str, Callable[[Samples], Samples]] = {
    "melgan": _melgan,
    "hifi-gan": lambda y: _hifi_gan(y, 8000.0),
    "hifi-gan-loss": lambda y: _hifi_gan(y, None),
    "tacotron": _tacotron,
    "parallel-wavegan": _parallel_wavegan,
    "cmelgan": _linear(22050, 2048, 864, 256),
    "cmelgan-melnet": _linear(22050, 2048, 800, 180),
    "melnet-blizzard": _melnet(22050, 1536, 256, 256),
    "melnet-voxceleb": _melnet(16000, 1080, 180, 180),
    "melnet-jgarciapueyo": _melnet(22050, 1536, 256, 256, htk=True),
    "melnet-jaeyeun97": _melnet(22050, 2048, 256, 256, center=False),
    "melnet-24k-32band": _24k_32band,
    "melgan-vc": _melgan_vc,
    "spectrogram-gan": _spectrogram_gan,
    "dcgan-drums": _linear(16000, 1024, 512, 64),
    "style-transfer": lambda y: _melgan(y, 128),
}

_AMPLITUDE_TO_DB = torchaudio.transforms.AmplitudeToDB(stype="power")
TORCHAUDIO: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "cmelgan": torchaudio.transforms.MelSpectrogram(22050, 2048, hop_length=864, n_mels=256),
    "cmelgan-melnet": torchaudio.transforms.MelSpectrogram(22050, 2048, hop_length=800, n_mels=180),
    "dcgan-drums": torchaudio.transforms.MelSpectrogram(16000, 1024, hop_length=512, n_mels=64),
    "melgan-vc": torch.nn.Sequential(
        torchaudio.transforms.MelSpectrogram(16000, 1152, hop_length=192, n_mels=192, normalized=True), _AMPLITUDE_TO_DB
    ),
    "melnet-jgarciapueyo": torch.nn.Sequential(
        torchaudio.transforms.MelSpectrogram(22050, 1536, hop_length=256, n_mels=256), _AMPLITUDE_TO_DB
    ),
}
"""As the sources call it."""


def synthetic(rate: int) -> Samples:
    """A chord that glides, noise, a click and silence; 1.3 s, float64."""
    time = np.arange(int(1.3 * rate)) / rate
    tones = sum(np.sin(2 * np.pi * (f * time + 40 * time**2)) for f in (110.0, 440.0, 1760.0, 5000.0))
    sound = 0.2 * tones + 0.05 * np.random.default_rng(5).standard_normal(len(time))
    sound[len(time) // 2] = 1.0
    sound[-len(time) // 5 :] = 0.0
    return sound


@cache
def _music(path: Path, rate: int) -> Samples:
    whole = read(path).mono()
    start = min(whole.frames // 3, 10 * whole.sample_rate)
    return whole.crop(start, whole.sample_rate).resample(rate).samples[0].astype(np.float64)


def _assert_equal(spec: FeatureSpec, y: Samples, expected: Samples) -> None:
    made = log_mel(torch.from_numpy(y)[None], spec)[0].numpy()
    assert made.shape == expected.shape == (spec.n_mels, spec.frames(len(y)))
    scale = np.abs(expected).max() if spec.log == "none" else 1.0
    np.testing.assert_allclose(made / scale, expected / scale, rtol=1e-6, atol=1e-7)
    float32 = log_mel(torch.from_numpy(y.astype(np.float32))[None], spec)[0].numpy()
    # Quiet bands of single precision are rounding noise of the loud ones: 2^-24 of the loudest bin, some 3e-6 of its mel.
    loud = made > made.max() - 4.0 * (1.0 if spec.log == "log10" else 2.3 if spec.log == "ln" else 10.0 * spec.gain)
    np.testing.assert_allclose(float32[loud] / scale, made[loud] / scale, rtol=1e-3, atol=1e-3)


def test_every_preset_has_an_independent_computation() -> None:
    assert list(INDEPENDENT) == list(PRESETS)


@pytest.mark.parametrize("name", INDEPENDENT)
def test_preset_on_synthetic_sound(name: str) -> None:
    spec = PRESETS[name].spec
    y = synthetic(spec.sample_rate)
    _assert_equal(spec, y, INDEPENDENT[name](y))


@pytest.mark.data
@pytest.mark.parametrize("file", MUSIC)
@pytest.mark.parametrize("name", INDEPENDENT)
def test_preset_on_real_music(name: str, file: str, shared: Path) -> None:
    spec = PRESETS[name].spec
    y = _music(shared / "audio" / "music" / file, spec.sample_rate)
    assert np.abs(y).max() > 0.01
    _assert_equal(spec, y, INDEPENDENT[name](y))


@pytest.mark.parametrize("name", TORCHAUDIO)
def test_preset_is_what_torchaudio_gives_its_source(name: str) -> None:
    spec = PRESETS[name].spec
    y = torch.from_numpy(synthetic(spec.sample_rate)).float()
    made, expected = log_mel(y[None], spec)[0], TORCHAUDIO[name](y)
    assert made.shape == expected.shape
    if spec.log == "none":
        torch.testing.assert_close(made, expected, rtol=1e-3, atol=1e-5 * float(expected.max()))
    else:  # torchaudio's filters are single precision: a band that sees one FFT bin from its edge is off by more
        gap = (made - expected)[expected > -40].abs()
        assert gap.median() < 1e-4
        assert gap.max() < 0.1


@pytest.mark.data
def test_melgan_is_the_official_one(shared: Path) -> None:
    reference = load_file(shared / "reference" / "melgan_official.safetensors")
    made = LogMel(LogMelConfig(preset="melgan")).extract(reference["audio"][0])
    torch.testing.assert_close(made, reference["mel"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "scale", "source"),
    [
        (
            "melnet-blizzard",
            {"gain": 0.0125, "offset": 0.75, "floor": 1e-6},
            lambda db: np.clip((db - 20) / 80, -1, 0) + 1,
        ),
        (
            "melnet-voxceleb",
            {"gain": 0.0125, "offset": 0.75, "floor": 1e-6},
            lambda db: np.clip((db - 20) / 80, -1, 0) + 1,
        ),
        (
            "melnet-jgarciapueyo",
            {"gain": 0.01, "offset": 0.8, "floor": 1e-8},
            lambda db: np.clip((db + 80) / 100, 0, 1),
        ),
        ("melgan-vc", {"gain": 0.02, "offset": 0.6, "floor": 1e-8}, lambda db: np.clip((db + 80) / 100 * 2 - 1, -1, 1)),
    ],
)
def test_the_scales_named_in_differs_are_those_of_the_sources(
    name: str, scale: dict[str, float], source: Callable[[Samples], Samples]
) -> None:
    """They are reached from the preset by its overrides, and by exact conversion of its features; only the upper clip is not."""
    for field, value in scale.items():
        assert f"{field} {value:g}".replace("e-0", "e-") in PRESETS[name].differs, "the text names these settings"
    plain = PRESETS[name].spec
    scaled = LogMelConfig.model_validate({"preset": name, **scale}).spec()
    y = synthetic(plain.sample_rate)
    expected = source(INDEPENDENT[name](y))
    features = log_mel(torch.from_numpy(y)[None], plain)
    for made in (log_mel(torch.from_numpy(y)[None], scaled), conversion(plain, scaled)(features)):
        np.testing.assert_allclose(made[0].clip(max=1.0).numpy(), expected, atol=1e-6)


def test_facts_of_the_published_tables() -> None:
    """Frame counts and floors that the sources state."""
    spec = {name: preset.spec for name, preset in PRESETS.items()}
    assert spec["dcgan-drums"].frames(8000) == 16  # 64 x 16 pictures of 0.5 s
    assert spec["cmelgan"].frames(220_500) == 256  # 256 x 256 pictures of 10 s
    assert spec["melgan"].frames(8192) == 32
    assert spec["melgan"].silence == -5.0
    assert round(spec["tacotron"].silence, 4) == -11.5129
    assert spec["melgan-vc"].frames_per_second * 0.288 == pytest.approx(24)  # pieces of 24 frames are 0.288 s
    assert spec["melnet-blizzard"].frames(6 * 22050) == pytest.approx(516, abs=1)  # MAESTRO: 6 s, 256 x 516
    assert spec["melnet-voxceleb"].frames(6 * 16000) == pytest.approx(532, abs=2)  # VoxCeleb2: 6 s, 180 x 532


def test_preset_names_and_aliases_are_unique_and_found() -> None:
    names = [name for preset in PRESETS.values() for name in (preset.name, *preset.aliases)]
    assert len(set(names)) == len(names)
    for preset in PRESETS.values():
        assert all(find_preset(name) is preset for name in (preset.name, *preset.aliases))
        assert FeatureSpec.from_dict(preset.spec.to_dict()) == preset.spec
    with pytest.raises(UnknownName, match="did you mean 'hifi-gan'"):
        find_preset("hifigan")


def test_the_known_near_misses_are_refused() -> None:
    """MelGAN's log10 mel and HiFi-GAN's ln mel differ in their top edge, so no scale factor joins them; and so on."""
    for given, needed, fields in [
        ("melgan", "hifi-gan", {"f_max", "magnitude_eps"}),
        ("tacotron", "parallel-wavegan", {"f_min", "f_max", "floor"}),
        ("tacotron", "hifi-gan", {"framing", "magnitude_eps"}),
        ("cmelgan", "melgan", {"log"}),
    ]:
        with pytest.raises(Exception, match="do not fit") as caught:
            conversion(PRESETS[given].spec, PRESETS[needed].spec)
        assert fields <= set(caught.value.differences)  # type: ignore[attr-defined]


class TestConfig:
    def test_default_is_melgan(self) -> None:
        assert LogMelConfig().spec() == PRESETS["melgan"].spec

    @pytest.mark.parametrize("name", PRESETS)
    def test_every_preset_and_its_dump_give_its_spec(self, name: str) -> None:
        config = LogMelConfig(preset=name)
        assert config.spec() == PRESETS[name].spec
        assert LogMelConfig.model_validate(config.model_dump()).spec() == config.spec(), (
            "also with every default written"
        )

    def test_alias_is_stored_by_its_name(self) -> None:
        assert LogMelConfig(preset="seungwonpark").preset == "tacotron"

    def test_fields_override_and_dependent_ones_follow(self) -> None:
        spec = LogMelConfig(
            preset="melgan", sample_rate=48000, n_fft=2048, hop_length=512, norm="none", log="ln"
        ).spec()
        assert spec == dataclasses.replace(
            PRESETS["melgan"].spec,
            sample_rate=48000, n_fft=2048, win_length=2048, hop_length=512, f_max=24000.0, norm=None, log="ln",
        )  # fmt: skip
        assert LogMelConfig(preset="hifi-gan", sample_rate=48000).spec().f_max == 8000.0

    def test_without_a_preset(self) -> None:
        spec = LogMelConfig(preset=None, sample_rate=8000, n_fft=512, hop_length=128, n_mels=20).spec()
        assert spec == FeatureSpec(sample_rate=8000, n_fft=512, hop_length=128, n_mels=20)
        with pytest.raises(ValidationError, match="without a preset, n_fft, hop_length, n_mels must be given"):
            LogMelConfig(preset=None, sample_rate=8000)

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"preset": "melgna"}, "did you mean 'melgan'"),
            ({"hop_length": 2048}, "hop_length must lie in 1..win_length"),
            ({"f_max": 20000.0}, "half the sample rate"),
            ({"n_mel": 80}, "n_mel"),
            ({"log": "log2"}, "log"),
            ({"floor": 0.0}, "floor must be positive"),
        ],
    )
    def test_mistakes_are_sentences(self, fields: dict[str, object], message: str) -> None:
        with pytest.raises(ValidationError, match=message):
            LogMelConfig.model_validate(fields)


def _row(name: str) -> str:
    preset, spec = PRESETS[name], PRESETS[name].spec
    top = f"{spec.f_min:g}-{spec.band_top:g}"
    value = ("magnitude" if spec.power == 1 else "power") + (
        f", eps {spec.magnitude_eps:g}" if spec.magnitude_eps else ""
    )
    log = spec.log + (f" x {spec.gain:g}" if spec.gain != 1 else "") + (f", floor {spec.floor:g}" if spec.floor else "")
    names = ", ".join(f"`{each}`" for each in (name, *preset.aliases))
    cells = [
        names, spec.sample_rate, f"{spec.n_fft} / {spec.hop_length} / {spec.win_length}", spec.n_mels, top,
        f"{spec.mel_scale}, {spec.norm or 'none'}", value + (", window norm" if spec.window_norm else ""), log, spec.framing,
    ]  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |"


def test_the_page_lists_every_preset_as_it_is(root: Path) -> None:
    page = (root / "docs" / "features.md").read_text(encoding="utf-8")
    table = "\n".join(map(_row, PRESETS))
    assert table in page, f"docs/features.md must contain:\n{table}"
    differences = "\n".join(
        f"- **`{preset.name}`** ({preset.source}). {preset.differs or 'Nothing differs.'}"
        for preset in PRESETS.values()
    )
    assert differences in page, f"docs/features.md must contain:\n{differences}"


@pytest.mark.data
def test_log_bases_convert_exactly_on_real_features(shared: Path) -> None:
    y = torch.from_numpy(_music(shared / "audio" / "music" / MUSIC[0], 22050))[None]
    specs = [dataclasses.replace(PRESETS["melgan"].spec, log=log) for log in ("ln", "log10", "db")]
    specs.append(dataclasses.replace(specs[0], gain=-0.3, offset=2.0))
    for given in specs:
        for needed in specs:
            made = conversion(given, needed)(log_mel(y, given))
            torch.testing.assert_close(made, log_mel(y, needed), rtol=1e-9, atol=1e-9)
    raised = dataclasses.replace(specs[1], floor=1e-2)
    torch.testing.assert_close(conversion(specs[0], raised)(log_mel(y, specs[0])), log_mel(y, raised))
    assert math.isclose(float(log_mel(y, raised).min()), -2.0)


def test_an_audio_of_several_channels_goes_through_the_extractor_as_a_batch() -> None:
    audio = Audio(np.stack([synthetic(22050), 0.5 * synthetic(22050)]), 22050)
    features = LogMel(LogMelConfig()).extract(torch.from_numpy(audio.samples))
    assert features.shape == (2, 80, audio.frames // 256)
