"""`synthkit convert`: any file in, as long and with as many channels out, in the memory that a block takes."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import pytest
import soundfile

import synthkit
from synthkit._catalog import Catalog
from synthkit._cli.main import cli
from synthkit._stages.pipeline import run_recipe
from synthkit.audio import Audio, read, resampled_frames

Cli = Callable[..., subprocess.CompletedProcess[str]]
RECIPE = """\
recipe: 1
name: both
data: {use: tones, clips_per_label: 4, seconds: 1.0}
features: {use: log-mel, preset: melgan}
converter: {use: melgan-vc, source: melody, target: bells, channels: 4}
vocoder: {use: melgan, channels: 4}
train:
  - {part: converter, steps: 1, batch: 4, crop_seconds: 0.84, device: cpu, evaluate_items: 2}
  - {part: vocoder, steps: 1, batch: 2, device: cpu, evaluate_items: 2}
"""
MEASURED = """
import resource, sys
from synthkit._cli.main import cli
cli.main(sys.argv[1:], standalone_mode=False)
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has trained a converter and a vocoder for a step each."""
    folder = tmp_path_factory.mktemp("both")
    (folder / "r.yaml").write_text(RECIPE, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SYNTHKIT_CACHE", str(folder / "cache"))
        return run_recipe(folder / "r.yaml", catalog=Catalog.discover(), run_dir=folder / "both", last="train").path


def invoke(*arguments: str | Path) -> None:
    cli.main([*map(str, arguments)], standalone_mode=False)


def noise(path: Path, seconds: float, sample_rate: int = 22050, channels: int = 2) -> Path:
    values = np.random.default_rng(3).uniform(-0.3, 0.3, (channels, round(seconds * sample_rate)))
    Audio(values * [[1.0], [0.2]][:channels], sample_rate).write(path)
    return path


@pytest.mark.data
def test_ten_seconds_of_a_stereo_mp3_keep_their_length_and_channels(
    run: Path, synthkit_cli: Cli, shared: Path, tmp_path: Path
) -> None:
    whole = read(shared / "audio" / "music" / "boss  introduction.mp3")
    count = 10 * whole.sample_rate
    source = tmp_path / "in.mp3"
    soundfile.write(source, whole.samples[:, :count].T, whole.sample_rate, format="MP3")
    given, target = read(source), tmp_path / "out.wav"
    done = synthkit_cli("convert", run, source, target, "--strength", "0.7")
    assert done.returncode == 0, done.stderr
    facts = r"out\.wav: 1\d\.\d\d s, 2 channels, 22050 Hz, \d+ samples clipped"
    assert re.search(facts, done.stdout), done.stdout
    made = read(target)
    assert made.samples.shape == (2, resampled_frames(given.frames, given.sample_rate, 22050))


@pytest.mark.parametrize("ending", [".wav", ".flac", ".ogg"])
def test_the_file_says_what_was_done(run: Path, tmp_path: Path, ending: str) -> None:
    source, target = noise(tmp_path / "in.wav", 1.01, 16000), tmp_path / f"out{ending}"
    invoke("convert", run, source, target, "--strength", "0.5", "--vocoder", "griffin-lim")
    with soundfile.SoundFile(target) as file:
        assert (file.channels, file.frames) == (2, resampled_frames(16160, 16000, 22050))
        assert file.comment == "melgan-vc and griffin-lim, melody to bells, strength 0.5, from in.wav, run both"
        assert file.title == "in as bells"


def test_strength_0_is_what_the_vocoder_makes(run: Path, tmp_path: Path) -> None:
    source = noise(tmp_path / "in.wav", 2.0)
    kept, plain, full = (tmp_path / f"{name}.wav" for name in ("kept", "plain", "full"))
    invoke("convert", run, source, kept, "--vocoder", "griffin-lim", "--strength", "0")
    invoke("vocode", "griffin-lim", source, plain, "--preset", "melgan")
    invoke("convert", run, source, full, "--vocoder", "griffin-lim")
    np.testing.assert_allclose(read(kept).samples, read(plain).samples, atol=1e-3)
    assert np.abs(read(full).samples - read(plain).samples).max() > 0.05


def mp3(path: Path, minutes: int) -> Path:
    """Stereo music of a kind, 16 kHz, the right channel fainter."""
    time = np.arange(10 * 16000) / 16000
    tone = 0.3 * np.sin(2 * np.pi * 330 * time) * (np.sin(2 * np.pi * 2 * time) > 0)
    with soundfile.SoundFile(path, "w", samplerate=16000, channels=2, format="MP3") as file:
        for _ in range(6 * minutes):
            file.write(np.stack([tone, 0.2 * tone], axis=1))
    return path


@pytest.mark.slow
def test_ten_minutes_of_a_stereo_mp3_need_the_memory_of_one(run: Path, tmp_path: Path) -> None:
    """The vocoder is the run's MelGAN; 9 minutes more are 95 MB of samples that come in, as many that go out, and activations."""
    peaks = []
    for minutes in (1, 10):
        source, target = mp3(tmp_path / f"{minutes}.mp3", minutes), tmp_path / "out.wav"
        command = ["convert", str(run), str(source), str(target), "--device", "cpu"]
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, *command], capture_output=True, text=True, check=True, timeout=300
        )
        with soundfile.SoundFile(target) as file:
            assert (file.channels, file.frames) == (2, minutes * 60 * 22050)
        peaks.append(int(done.stdout.split("peak")[1]))
    assert peaks[1] < 1.1 * peaks[0]


def test_what_cannot_be_is_a_sentence(run: Path, tmp_path: Path) -> None:
    source = noise(tmp_path / "in.wav", 0.5)
    for arguments, said in (
        ((run, source, tmp_path / "out.mp3"), "its name must end in one of"),
        ((run, source, source), "is the input itself"),
        ((run, tmp_path / "none.wav", tmp_path / "out.wav"), "there is no such file"),
        ((tmp_path, source, tmp_path / "out.wav"), "is not a run folder"),
        ((run, source, tmp_path / "out.wav", "--vocoder", "melgan"), "has to be trained"),
    ):
        with pytest.raises(synthkit.SynthkitError, match=said):
            invoke("convert", *arguments)
    with pytest.raises(click.UsageError, match="0<=x<=1"):
        invoke("convert", run, source, tmp_path / "out.wav", "--strength", "2")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["in.wav"]


def test_a_part_that_a_run_has_not_is_named(run: Path) -> None:
    with pytest.raises(synthkit.CheckpointError, match="a converter and a vocoder"):
        synthkit.load(run, part="model")


def test_from_python(run: Path, tmp_path: Path) -> None:
    converter = synthkit.load(run, part="converter")
    assert isinstance(converter, synthkit.LoadedConverter)
    assert isinstance(synthkit.load(run), synthkit.LoadedConverter)
    assert (converter.source, converter.target) == ("melody", "bells")
    sound = read(noise(tmp_path / "in.wav", 1.0))
    features = synthkit.features("log-mel", preset="melgan").extract(sound)
    made = converter.convert(sound)
    assert (made.values.shape, made.samples, made.spec) == (features.values.shape, features.samples, converter.spec)
    np.testing.assert_array_equal(converter.convert(features).values, made.values)
    np.testing.assert_array_equal(converter.convert(sound, strength=0).values, features.values)
    assert not np.array_equal(made.values, features.values)
    assert converter.vocode(made).samples.shape == sound.samples.shape
    with pytest.raises(synthkit.ConfigError, match="between 0 and 1"):
        converter.convert(sound, strength=1.5)
