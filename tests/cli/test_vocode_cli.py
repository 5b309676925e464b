"""`synthkit vocode` on real files: length, level and channels are kept; what cannot work is a sentence."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

import synthkit
from synthkit._cli.main import cli
from synthkit.audio import Audio, read
from synthkit.errors import SynthkitError

Cli = Callable[..., subprocess.CompletedProcess[str]]


def level(samples: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(np.square(samples, dtype=np.float64))))


def check_kept(source: Path, target: Path) -> None:
    before, after = read(source), read(target)
    assert after.sample_rate == before.sample_rate
    assert after.samples.shape == before.samples.shape
    for was, made in zip(before.samples, after.samples, strict=True):
        assert level(made) == pytest.approx(level(was), abs=1.0)
    if before.channels == 2:
        was, made = (it.samples[0] - it.samples[1] for it in (before, after))
        assert level(was) > -60  # otherwise the clip says nothing about channels
        assert level(made) > level(was) - 1.0  # two channels do not collapse into one


def chirp(path: Path, sample_rate: int = 16000, seconds: float = 1.0) -> Path:
    time = np.arange(int(seconds * sample_rate)) / sample_rate
    left, right = np.sin(2 * np.pi * (200 + 400 * time) * time), np.sin(2 * np.pi * 330 * time)
    Audio(np.stack((0.5 * left, 0.1 * right)), sample_rate).write(path)
    return path


@pytest.mark.data
@pytest.mark.parametrize("name", ["boss  introduction.mp3", "Kevin_MacLeod_-_Vibe_Ace.hq.ogg"])
def test_a_real_stereo_file_keeps_length_level_and_channels(
    synthkit_cli: Cli, shared: Path, tmp_path: Path, name: str
) -> None:
    whole = read(shared / "audio" / "music" / name)
    source = tmp_path / "in.flac"
    whole.crop(5 * whole.sample_rate, int(3.3 * whole.sample_rate)).write(source)
    target = tmp_path / "out.wav"
    done = synthkit_cli("vocode", "griffin-lim", source, target, "--set", "iterations=32")
    assert done.returncode == 0, done.stderr
    check_kept(source, target)
    facts = re.search(
        r"out\.wav: 3\.30 s, 2 channels, (\d+) Hz, [\d.]+ times real time, \d+ samples clipped, level ([-+][\d.]+) dB",
        done.stdout,
    )
    assert facts, done.stdout
    assert int(facts[1]) == whole.sample_rate
    assert float(facts[2]) == pytest.approx(level(read(target).samples) - level(read(source).samples), abs=0.1)


@pytest.mark.slow
@pytest.mark.data
def test_a_whole_mp3_keeps_length_level_and_channels(synthkit_cli: Cli, shared: Path, tmp_path: Path) -> None:
    source = shared / "audio" / "music" / "boss  introduction.mp3"
    target = tmp_path / "out.wav"
    done = synthkit_cli("vocode", "griffin-lim", source, target, "--set", "iterations=16")
    assert done.returncode == 0, done.stderr
    assert read(source).seconds > 55
    check_kept(source, target)


def test_rates_presets_seeds_and_formats(tmp_path: Path) -> None:
    source = chirp(tmp_path / "in.wav")

    def made(name: str, *options: str) -> Audio:
        files = [str(source), str(tmp_path / name)]
        cli.main(["vocode", "griffin-lim", *files, "--set", "iterations=4", *options], standalone_mode=False)
        return read(tmp_path / name)

    first = made("a.wav")
    assert (first.sample_rate, first.frames, first.channels) == (16000, 16000, 2)
    assert np.array_equal(first.samples, made("b.wav").samples)
    assert not np.array_equal(first.samples, made("b.wav", "--seed", "1").samples)  # and the old b.wav is replaced
    assert soundfile.info(tmp_path / "b.wav").subtype == "PCM_16"
    published = made("c.flac", "--preset", "hifi-gan")
    assert (published.sample_rate, published.frames) == (22050, 22050)
    back = made("d.ogg", "--preset", "hifi-gan", "--rate", "16000")
    assert (back.sample_rate, back.frames) == (16000, 16000)
    assert not [path.name for path in tmp_path.iterdir() if path.name.endswith(".tmp")]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has trained a (tiny) vocoder at 22,050 Hz."""
    folder = tmp_path_factory.mktemp("vocode") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SYNTHKIT_CACHE", str(folder.parent / "cache"))
        return synthkit.run("quickstart", tiny=True, run_dir=folder, stages="prepare..train").path


def test_the_vocoder_of_a_run(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = chirp(tmp_path / "in.wav", seconds=0.71)

    def made(name: str, vocoder: Path, *options: str) -> Audio:
        cli.main(["vocode", str(vocoder), str(source), str(tmp_path / name), *options], standalone_mode=False)
        return read(tmp_path / name)

    trained = made("a.wav", run)
    assert (trained.sample_rate, trained.frames, trained.channels) == (22050, round(0.71 * 22050), 2)
    assert "0.71 s, 2 channels, 22050 Hz" in capsys.readouterr().out
    back = made("b.wav", run, "--rate", "16000")
    assert (back.sample_rate, back.frames) == (16000, 11360)
    checkpoint = next((run / "checkpoints" / "vocoder").glob("step-*"))
    assert np.array_equal(made("c.wav", checkpoint).samples, trained.samples)
    with pytest.raises(SynthkitError, match="a run knows its features"):
        made("d.wav", run, "--preset", "melgan")


def test_silence_stays_silence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = tmp_path / "in.wav", tmp_path / "out.wav"
    Audio(np.zeros((1, 5000)), 8000).write(source)
    cli.main(["vocode", "griffin-lim", str(source), str(target)], standalone_mode=False)
    assert "silence" in capsys.readouterr().out
    assert (read(target).frames, read(target).peak) == (5000, 0)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("griffin-lim", "nothing.wav", "out.wav"), r"nothing\.wav: there is no such file"),
        (("griffin-lim", "text.wav", "out.wav"), r"text\.wav: .+"),
        (("griffin-lim", "in.wav", "out.m4a"), r"'out\.m4a': its name must end in one of \.wav, "),
        (("griffin-lim", "in.wav", "./in.wav"), r"'in\.wav' is the input itself"),
        (("griffin-lim", "in.wav", "missing/out.wav"), r"the folder 'missing' does not exist"),
        (("griffin-lmi", "in.wav", "out.wav"), r"'griffin-lmi' is neither .*did you mean 'griffin-lim'\?"),
        (("melgan", "in.wav", "out.wav"), r"'melgan' has to be trained: give the folder of a run"),
        ((".", "in.wav", "out.wav"), r"not a run folder: it has no recipe\.yaml"),
        (("griffin-lim", "in.wav", "out.wav", "--set", "iteration=3"), r"did you mean 'iterations'\?"),
        (("griffin-lim", "in.wav", "out.wav", "--set", "iterations"), r"a setting is written name=value"),
        (("griffin-lim", "in.wav", "out.wav", "--preset", "melgna"), r"did you mean 'melgan'\?"),
        (("griffin-lim", "in.wav", "out.wav", "--device", "gpu"), r"'gpu' cannot be used here"),
    ],
    ids=lambda value: " ".join(value[0::2]) if isinstance(value, tuple) else "",
)
def test_what_cannot_work_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    chirp(tmp_path / "in.wav", seconds=0.2)
    before = (tmp_path / "in.wav").read_bytes()
    (tmp_path / "text.wav").write_text("not a sound")
    with pytest.raises(SynthkitError, match=sentence):
        cli.main(["vocode", *arguments], standalone_mode=False)
    assert (tmp_path / "in.wav").read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} <= {"in.wav", "text.wav"}


def test_a_wrong_call_exits_2_without_a_traceback(synthkit_cli: Cli, tmp_path: Path) -> None:
    done = synthkit_cli("vocode", "griffin-lim", "nothing.wav", "out.wav")
    assert done.returncode == 2
    assert done.stderr == "nothing.wav: there is no such file\n"
    assert done.stdout == ""
