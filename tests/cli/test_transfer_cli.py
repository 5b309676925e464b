"""`synthkit transfer`: the critic of any run, two sounds in, one out that is as long as the first and nearer to the second."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import synthkit
from synthkit._catalog import Catalog
from synthkit._cli.main import cli
from synthkit._stages.pipeline import run_recipe
from synthkit._stages.transfer.of_run import SECONDS, load_ear, transfer_sound
from synthkit._stages.transfer.optimisation import TransferSettings
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
  - {part: converter, steps: 2, batch: 4, crop_seconds: 0.84, device: cpu, evaluate_items: 2}
  - part: vocoder
    steps: 2
    batch: 2
    device: cpu
    evaluate_items: 2
    objective: {use: melgan, critic: {channels: 8, max_channels: 16, scales: 2}}
"""
ALONE = """\
recipe: 1
name: alone
data: {use: tones, clips_per_label: 4, seconds: 1.0}
features: {use: log-mel, preset: melgan}
vocoder: {use: melgan, channels: 4}
train:
  part: vocoder
  steps: 1
  batch: 2
  device: cpu
  evaluate_items: 2
  objective: {use: melgan, adversarial_weight: 0, feature_matching_weight: 0, mel_weight: 1}
"""


@pytest.fixture(scope="module")
def make_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    def make(recipe: str) -> Path:
        folder = tmp_path_factory.mktemp("run")
        (folder / "r.yaml").write_text(recipe, encoding="utf-8")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SYNTHKIT_CACHE", str(folder / "cache"))
            return run_recipe(folder / "r.yaml", catalog=Catalog.discover(), run_dir=folder / "both", last="train").path

    return make


@pytest.fixture(scope="module")
def run(make_run: Callable[[str], Path]) -> Path:
    """A run whose converter and whose vocoder each learned against a critic, for two steps."""
    return make_run(RECIPE)


def invoke(*arguments: str | Path) -> None:
    cli.main([*map(str, arguments)], standalone_mode=False)


def clip(path: Path, seconds: float, pitch: float, channels: int = 1, sample_rate: int = 22050) -> Path:
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    tone = 0.2 * np.sin(2 * np.pi * pitch * time) * (np.sin(2 * np.pi * 3 * time) > 0)
    Audio(np.stack([tone, 0.5 * tone])[:channels].astype(np.float32), sample_rate).write(path)
    return path


@pytest.mark.data
@pytest.mark.parametrize("part", ["converter", "vocoder"])
def test_real_music_keeps_its_length_and_channels(
    run: Path, synthkit_cli: Cli, shared: Path, tmp_path: Path, part: str
) -> None:
    music = shared / "audio" / "music"
    trumpet = read(music / "sorohanro_-_solo-trumpet-06.hq.ogg").crop(0, 2 * 44100)
    trumpet.write(tmp_path / "content.flac")
    read(music / "Kevin_MacLeod_-_Vibe_Ace.hq.ogg").crop(0, 3 * 44100).write(tmp_path / "style.wav")
    done = synthkit_cli(
        "transfer", run, "content.flac", "style.wav", "out.wav", "--part", part, "--steps", "3", "--device", "cpu"
    )
    assert done.returncode == 0, done.stderr
    found = re.search(
        r"out\.wav: 2\.00 s, 2 channels, 22050 Hz, loss (\S+) to (\S+) in 6 steps, \d+ samples", done.stdout
    )
    assert found, done.stdout
    assert float(found[2]) < float(found[1])
    assert "still becoming better after 3 steps" in done.stderr
    made = read(tmp_path / "out.wav")
    assert made.samples.shape == (2, resampled_frames(trumpet.frames, 44100, 22050))


@pytest.mark.parametrize(("part", "by"), [("converter", "melgan-vc and griffin-lim"), ("vocoder", "melgan")])
def test_the_file_says_what_was_done(run: Path, tmp_path: Path, part: str, by: str) -> None:
    content, style = clip(tmp_path / "a.wav", 0.3, 440), clip(tmp_path / "b.wav", 0.4, 600, sample_rate=16000)
    voice = ["--vocoder", "griffin-lim"] if part == "converter" else []
    invoke("transfer", run, content, style, tmp_path / "out.flac", "--part", part, "--steps", "2", *voice)
    with soundfile.SoundFile(tmp_path / "out.flac") as file:
        assert (file.frames, file.channels) == (round(0.3 * 22050), 1)
        assert file.title == "a in the style of b"
        assert file.comment == f"a.wav in the style of b.wav by the critic of {by}, style weight 10, run both"


def test_it_is_nearer_to_the_style_as_far_as_it_is_asked_to(run: Path, tmp_path: Path) -> None:
    """Judged by the critic that is used, on the sound that comes out."""
    content, style = read(clip(tmp_path / "a.wav", 1.0, 300)), read(clip(tmp_path / "b.wav", 1.0, 2500))
    ear = load_ear(run, "vocoder", Catalog.discover(), torch.device("cpu"), vocoder=None, say=str)

    def distance(sound: Audio, other: Audio) -> float:
        pairs = zip(ear.layers(ear.heard(sound)), ear.layers(ear.heard(other)), strict=True)
        return sum(float((one.mean(-1) - two.mean(-1)).square().sum() / two.square().mean()) for one, two in pairs)

    much = synthkit.transfer(run, content, style, part="vocoder", steps=30, style_weight=100.0)
    none = synthkit.transfer(run, content, style, part="vocoder", steps=30, style_weight=0.0)
    np.testing.assert_array_equal(none.samples, content.samples)  # nothing is to be changed, and so it stops at once
    assert distance(much, style) < 0.5 * distance(content, style)


def test_a_long_sound_goes_in_windows(run: Path, tmp_path: Path) -> None:
    """Each of them is changed by itself, and progress counts the steps of all."""
    content = read(clip(tmp_path / "a.wav", 1.5 * SECONDS, 440))
    style = read(clip(tmp_path / "b.wav", 0.5, 900))
    ear = load_ear(run, "converter", Catalog.discover(), torch.device("cpu"), vocoder="griffin-lim", say=str)
    told: list[tuple[int, int]] = []
    done = transfer_sound(ear, content, style, TransferSettings(steps=2), progress=lambda *pair: told.append(pair))
    assert done.sound.samples.shape == content.samples.shape
    assert (done.steps, told[-1]) == (4, (4, 4))
    assert [step for step, _ in told] == sorted(step for step, _ in told)


def test_the_first_part_that_hears_whole_sounds_is_taken(make_run: Callable[[str], Path]) -> None:
    model = "model: {use: spectrogram-gan, width: 0.02}\n"
    learning = "  - {part: model, steps: 1, batch: 2, crop_seconds: 0.7430, device: cpu, evaluate_items: 2}\n"
    recipe = RECIPE.replace("converter: {use: melgan-vc, source: melody, target: bells, channels: 4}\n", model)
    recipe = recipe.replace("preset: melgan}", "preset: melgan, n_mels: 64}").replace("seconds: 1.0", "seconds: 2.0")
    lines = [learning if "part: converter" in line else line for line in recipe.splitlines(keepends=True)]
    both = make_run("".join(lines))
    assert load_ear(both, None, Catalog.discover(), torch.device("cpu"), vocoder=None, say=str).name == "melgan"
    with pytest.raises(synthkit.CheckpointError, match=r"'spectrogram-gan' of .* learned without a critic"):
        load_ear(both, "model", Catalog.discover(), torch.device("cpu"), vocoder=None, say=str)


def test_what_cannot_be_is_a_sentence(run: Path, make_run: Callable[[str], Path], tmp_path: Path) -> None:
    content, style, out = clip(tmp_path / "a.wav", 0.3, 440), clip(tmp_path / "b.wav", 0.3, 600), tmp_path / "out.wav"
    alone = make_run(ALONE)
    for arguments, said in (
        ((run, content, style, style), "is the input itself"),
        ((run, content, tmp_path / "none.wav", out), "there is no such file"),
        ((run, content, style, tmp_path / "out.mp3"), "its name must end in one of"),
        ((tmp_path, content, style, out), "is not a run folder"),
        ((run, content, style, out, "--part", "model"), "it has a converter and a vocoder"),
        ((run, content, style, out, "--part", "vocoder", "--vocoder", "griffin-lim"), "hears sound itself"),
        ((alone, content, style, out), "learned without a critic"),
    ):
        with pytest.raises(synthkit.SynthkitError, match=said):
            invoke("transfer", *arguments)
    silent = Audio(np.zeros((1, 0), dtype=np.float32), 22050)
    wrong: tuple[tuple[Audio, Mapping[str, object], str], ...] = (
        (silent, {}, "neither content nor style"),
        (read(content), {"steps": 0}, "steps of a transfer must be at least 1"),
        (read(content), {"style_wieght": 3}, "did you mean 'style_weight'"),
        (read(content), {"statistics": "gramm"}, "did you mean 'gram'"),
    )
    for sound, settings, said in wrong:
        with pytest.raises(synthkit.SynthkitError, match=said):
            synthkit.transfer(run, sound, read(style), **settings)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.wav", "b.wav"]
