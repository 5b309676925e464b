"""Two folders of sounds on a disk, the shipped recipe, a file converted: in the direction that was asked for, and not in the other.

Starting project 001 trained its generators against the direction of its critics, and its training looked for lists of files that its own
preparation wrote under other names.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from synthkit.audio import Audio, read

Cli = Callable[..., subprocess.CompletedProcess[str]]
RATE = 22050
PITCHES = {"dark": (150, 400), "bright": (2500, 5000)}
SETTINGS = {
    "converter.channels": 8,
    "train.steps": 30,
    "train.batch": 8,
    "train.evaluate_every": 30,
    "train.evaluate_items": 4,
    "train.device": "cpu",
}


def notes(low: float, high: float, seed: int) -> Audio:
    """Two seconds of short notes of any pitch between two."""
    random = np.random.default_rng(seed)
    time = np.arange(RATE // 4) / RATE
    fade = np.exp(-6 * time)
    pitches = random.uniform(low, high, 8)
    sound = np.concatenate([0.4 * fade * np.sin(2 * np.pi * pitch * time) for pitch in pitches])
    return Audio((sound + 1e-3 * random.standard_normal(len(sound)))[None].astype(np.float32), RATE)


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    for kind, (low, high) in PITCHES.items():
        (tmp_path / "sounds" / kind).mkdir(parents=True)
        for number in range(8):
            notes(low, high, number).write(tmp_path / "sounds" / kind / f"{number}.wav")
    return tmp_path / "sounds"


def above(sound: Audio, edge: float = 1200.0) -> float:
    """Share of the energy above a frequency."""
    power = np.abs(np.fft.rfft(sound.samples[0])) ** 2
    return float(power[np.fft.rfftfreq(sound.frames, 1 / sound.sample_rate) > edge].sum() / power.sum())


@pytest.mark.slow
@pytest.mark.parametrize(("source", "target"), [("dark", "bright"), ("bright", "dark")])
def test_sound_becomes_what_was_asked_for(
    source: str, target: str, folders: Path, synthkit_cli: Cli, tmp_path: Path
) -> None:
    wanted = {"data.root": folders, "converter.source": source, "converter.target": target, **SETTINGS}
    sets = [part for path, value in wanted.items() for part in ("--set", f"{path}={value}")]
    done = synthkit_cli("run", "convert-folders", *sets, "--run-dir", "run", "--stage", "prepare..train")
    assert done.returncode == 0, done.stdout + done.stderr
    notes(*PITCHES[source], seed=99).write(tmp_path / "in.wav")
    done = synthkit_cli("convert", "run", "in.wav", "out.wav")
    assert done.returncode == 0, done.stderr
    before, after = above(read(tmp_path / "in.wav")), above(read(tmp_path / "out.wav"))
    low, high = (before, after) if target == "bright" else (after, before)
    assert low < 0.1 < 0.9 < high


@pytest.mark.data
@pytest.mark.slow
def test_one_voice_becomes_another_from_folders_of_speakers(synthkit_cli: Cli, shared: Path, tmp_path: Path) -> None:
    """The recipe's own two speakers, named as they are, by numbers; and a voice that was never heard is converted."""
    speech = shared / "audio" / "speech"
    wanted = {
        "data.root": speech / "librispeech_test-other",
        "converter.source": 3005,
        "converter.target": 533,
        "converter.channels": 4,
        "train.steps": 2,
        "train.batch": 4,
        "train.evaluate_items": 2,
        "train.device": "cpu",
    }
    sets = [part for path, value in wanted.items() for part in ("--set", f"{path}={value}")]
    done = synthkit_cli("run", "convert-voices", *sets, "--run-dir", "run", "--stage", "prepare..train")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no clip of the label" not in done.stderr
    done = synthkit_cli("convert", "run", speech / "jfk.flac", "out.wav", "--strength", "0.5")
    assert done.returncode == 0, done.stderr
    spoken = read(speech / "jfk.flac")
    assert read(tmp_path / "out.wav").samples.shape == spoken.resample(16000).samples.shape
