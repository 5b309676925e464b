"""The Python API: loaded on first use, typed, and every verb from sound to sound."""

from __future__ import annotations

import ast
import dataclasses
import logging
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import synthkit
from synthkit import Audio, FeatureSpec
from synthkit._stages.synthesis import SpecFeatures, covering_frames, extract, resynthesise, spec_at
from synthkit.presets import PRESETS

MELGAN = PRESETS["melgan"].spec


def sound(samples: int = 9000, sample_rate: int = 22050, channels: int = 2) -> Audio:
    time = np.arange(samples) / sample_rate
    return Audio(np.stack([0.4 * np.sin(2 * np.pi * 220 * (k + 1) * time) for k in range(channels)]), sample_rate)


def test_importing_it_imports_nothing_heavy() -> None:
    code = (
        "import sys, synthkit; assert not {'torch', 'numpy', 'pydantic', 'soundfile'} & set(sys.modules); "
        "synthkit.hookimpl, synthkit.FeatureSpec, synthkit.Offer, synthkit.RecipeError; assert 'torch' not in sys.modules; "
        "synthkit.Audio; assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_public_name_is_there_has_a_doc_and_a_type() -> None:
    for name in synthkit.__all__:
        assert name in dir(synthkit)
        value = getattr(synthkit, name)
        assert name in ("__version__", "hookimpl", "PRESETS", "UserPath", "ExistingFolder") or value.__doc__, name
    stub = ast.parse((Path(synthkit.__file__).parent / "__init__.pyi").read_text())
    typed = {alias.asname for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert typed | {"__version__"} == set(synthkit.__all__)
    assert (Path(synthkit.__file__).parent / "py.typed").is_file()
    with pytest.raises(AttributeError, match="no attribute 'vocode'"):
        _ = synthkit.vocode


@pytest.mark.parametrize("framing", ["same", "center", "valid"])
@pytest.mark.parametrize("samples", [1, 255, 256, 1023, 1024, 1025, 5000])
def test_covering_frames_are_the_fewest(framing: str, samples: int) -> None:
    spec = dataclasses.replace(MELGAN, framing=framing)
    frames = covering_frames(spec, samples)
    assert spec.samples(frames) >= samples
    assert frames == 1 or spec.samples(frames - 1) < samples
    assert spec.frames(spec.samples(frames)) == frames


@pytest.mark.parametrize("framing", ["same", "center", "valid"])
@pytest.mark.parametrize(("samples", "rate"), [(1, 22050), (700, 22050), (4001, 44100), (3000, 16000)])
def test_length_and_channels_are_kept(framing: str, samples: int, rate: int) -> None:
    spec = dataclasses.replace(MELGAN, framing=framing)
    given = sound(samples, rate, channels=3)
    features = extract(SpecFeatures(spec), given)
    made = synthkit.vocoder("griffin-lim", spec, iterations=1).vocode(features)
    assert made.samples.shape == given.resample(22050).samples.shape
    assert made.sample_rate == 22050
    assert features.samples == made.frames


@pytest.mark.parametrize("sample_rate", [8000, 11025, 16000, 22050, 32000, 44100, 48000, 96000])
def test_features_at_any_rate_are_like_those_of_melgan(sample_rate: int) -> None:
    spec = spec_at(sample_rate)
    assert spec.band_top == sample_rate / 2
    assert spec.hop_length / sample_rate == pytest.approx(256 / 22050, rel=0.08)
    assert spec.n_fft == 4 * spec.hop_length
    assert (spec.n_mels > 80) == (sample_rate > 22050)


def test_features_to_sound() -> None:
    mel = synthkit.features("log-mel", preset="melgan")
    assert mel.spec == MELGAN
    given = sound(22050)
    features = mel.extract(given)
    assert features.values.shape == (2, 80, 87)
    assert (features.frames, features.seconds) == (87, 1.0)
    vocoder = synthkit.vocoder("griffin-lim", mel.spec, iterations=20)
    made = vocoder.vocode(features)
    assert made.samples.shape == given.samples.shape
    assert np.array_equal(made.samples, vocoder.vocode(features, seed=0).samples)
    assert not np.array_equal(made.samples, vocoder.vocode(features, seed=1).samples)
    for was, now in zip(given.samples, made.samples, strict=True):
        spectra = [np.abs(np.fft.rfft(channel[2048:-2048] * np.hanning(len(channel) - 4096))) for channel in (was, now)]
        assert spectra[0].argmax() == pytest.approx(spectra[1].argmax(), abs=25)
    calls: list[tuple[int, int]] = []
    vocoder.vocode(features, progress=lambda *call: calls.append(call))
    assert calls[-1] == (40, 40)


def test_exact_conversions_are_made_and_said(caplog: pytest.LogCaptureFixture) -> None:
    natural = synthkit.features(log="ln").extract(sound())
    vocoder = synthkit.vocoder("griffin-lim", MELGAN, iterations=3)
    with caplog.at_level(logging.INFO, "synthkit"):
        made = vocoder.vocode(natural)
    assert "features converted exactly for the vocoder: log 'ln' -> 'log10'" in caplog.text
    direct = vocoder.vocode(synthkit.features().extract(sound()))
    assert np.abs(made.samples - direct.samples).max() < 1e-3
    assert torch.allclose(natural.convert(MELGAN).values, natural.values / math.log(10), atol=1e-6)
    assert natural.convert(natural.spec) is natural


def test_features_that_do_not_fit_are_refused_field_by_field() -> None:
    other = synthkit.features("log-mel", preset="hifi-gan").extract(sound())
    with pytest.raises(synthkit.SpecMismatch) as error:
        synthkit.vocoder("griffin-lim", MELGAN).vocode(other)
    assert set(error.value.differences) == {"f_max", "magnitude_eps"}
    assert "f_max: the input has 8000.0, the vocoder needs 11025.0" in str(error.value)


def test_features_check_themselves() -> None:
    with pytest.raises(synthkit.ConfigError, match=r"must be \[C, 80, N\] .* not of the shape \[80, 4\]"):
        synthkit.Features(torch.zeros(80, 4), MELGAN, 1000)
    with pytest.raises(synthkit.ConfigError, match=r"4 frames describe 1 to 1024 samples, not 1025"):
        synthkit.Features(torch.zeros(1, 80, 4), MELGAN, 1025)
    with pytest.raises(synthkit.AudioError, match="without samples"):
        synthkit.features().extract(Audio(np.zeros((1, 0)), 22050))


def test_samples_that_are_not_finite_are_an_error() -> None:
    class Broken(synthkit.Vocoder):
        spec = MELGAN

        def vocode(self, features: torch.Tensor, **_: object) -> torch.Tensor:
            return torch.full((features.shape[0], self.spec.samples(features.shape[2])), math.nan)

    with pytest.raises(synthkit.AudioError, match="not finite"):
        resynthesise(Broken(), synthkit.features().extract(sound()))


def test_wrong_names_and_settings_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(synthkit.UnknownName, match="did you mean 'griffin-lim'"):
        synthkit.vocoder("griffin-lmi", MELGAN)
    with pytest.raises(synthkit.ConfigError, match="did you mean 'iterations'"):
        synthkit.vocoder("griffin-lim", MELGAN, iteration=3)
    with pytest.raises(synthkit.ConfigError, match="overlap by a quarter"):
        synthkit.vocoder("griffin-lim", dataclasses.replace(MELGAN, hop_length=1000))
    with pytest.raises(synthkit.ConfigError, match="did you mean 'melgan'"):
        synthkit.features(preset="melgam")
    with pytest.raises(synthkit.RunError, match="there is no run folder"):
        synthkit.load(tmp_path / "nothing")
    with pytest.raises(synthkit.RunError, match="is not a run folder"):
        synthkit.load(tmp_path)


def test_data_sets_metrics_and_trackers(tmp_path: Path) -> None:
    tones = synthkit.dataset("tones", clips_per_label=3, seconds=0.5)
    clip = tones.clips("train")[0]
    assert clip.label in tones.labels()
    heard = tones.open(clip)
    metric = synthkit.metric("mel-l1", MELGAN)
    metric.update(synthkit.Comparison(made=heard, reference=heard))
    assert metric.score().value == 0
    tracker = synthkit.build("tracker", "json-lines", tmp_path)
    assert isinstance(tracker, synthkit.Tracker)


@pytest.fixture(scope="module")
def vocoder_run(tmp_path_factory: pytest.TempPathFactory) -> synthkit.RunFolder:
    folder = tmp_path_factory.mktemp("api") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SYNTHKIT_CACHE", str(folder.parent / "cache"))
        changes = {"train.steps": 1, "features.floor": 1e-3}
        return synthkit.run("melgan-gtzan", tiny=True, run_dir=folder, set=changes, stages="prepare..train")


def test_a_run_from_python(vocoder_run: synthkit.RunFolder) -> None:
    assert vocoder_run.newest("vocoder")
    assert not vocoder_run.report_html.exists()
    assert "steps: 1\n" in vocoder_run.recipe_file.read_text()
    with pytest.raises(synthkit.RunError, match=r"no stage 'trian'; did you mean 'train'"):
        synthkit.run("quickstart", tiny=True, run_dir=vocoder_run.path, stages="trian")


def test_a_trained_vocoder_is_loaded_from_its_run(vocoder_run: synthkit.RunFolder) -> None:
    vocoder = synthkit.load(vocoder_run.path, part="vocoder")
    given = sound(5000)
    made = vocoder.vocode(synthkit.features().extract(given))
    assert made.samples.shape == given.samples.shape
    assert vocoder.spec == dataclasses.replace(MELGAN, floor=1e-3)  # the features above were converted to it
    checkpoint = vocoder_run.newest("vocoder")
    assert checkpoint
    again = synthkit.load(checkpoint)
    assert isinstance(again, synthkit.LoadedVocoder)
    assert np.array_equal(again.vocode(synthkit.features().extract(given)).samples, made.samples)
    with pytest.raises(synthkit.CheckpointError, match="no checkpoint of a model: it has a vocoder"):
        synthkit.load(vocoder_run.path, part="model")
    with pytest.raises(synthkit.CheckpointError, match="is a checkpoint of a vocoder, not of a model"):
        synthkit.load(checkpoint, part="model")


def test_a_model_of_a_plugin_file_generates(root: Path, tmp_path: Path) -> None:
    synthkit.load_plugin(root / "examples" / "band_gaussian.py")
    spec = FeatureSpec(sample_rate=16000, n_fft=512, hop_length=128, n_mels=20)
    model = synthkit.model("band-gaussian", spec, ("low", "high"), initial_sigma=0.5)
    assert model.labels == ("low", "high")
    items = model.generate(seconds=0.4, count=3, seed=5)
    assert [item.values.shape for item in items] == [(1, 20, 50)] * 3
    assert torch.equal(items[1].values, model.generate(seconds=0.4, seed=6, label="high")[0].values)
    assert model.vocode(items[0]).samples.shape == (1, 6400)
    cold = model.generate(seconds=0.4, count=1, seed=5, temperature=1e-3)[0]
    assert float(cold.values.std()) < float(items[0].values.std())
    with pytest.raises(synthkit.ConfigError, match="no label 'hihg'; did you mean 'high'"):
        model.generate(label="hihg")


def test_a_broken_plugin_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sad.py").write_text("import nothing_of_that_name\n")
    with pytest.raises(synthkit.PluginError, match=r"sad\.py.* is broken: .*nothing_of_that_name"):
        synthkit.load_plugin(tmp_path / "sad.py")
    with pytest.raises(synthkit.PluginError):
        synthkit.load_plugin(tmp_path / "absent.py")
    assert synthkit.vocoder("griffin-lim", MELGAN).spec == MELGAN


def test_files_are_read_and_written(tmp_path: Path) -> None:
    assert sound(300).write(tmp_path / "a.wav") == 0
    assert synthkit.read(tmp_path / "a.wav").samples.shape == (2, 300)
