"""`synthkit data sound`: what an export wrote becomes sound again, and anything else is answered with a sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
import torch
from PIL import Image

from synthkit import dsp
from synthkit._catalog import Catalog
from synthkit._data.export import Scale, write_npz, write_png
from synthkit._stages.generate import plain_vocoder
from synthkit._stages.sounding import Exported, sound
from synthkit.audio import read
from synthkit.errors import SynthkitError
from synthkit.presets import PRESETS
from synthkit.specs import FeatureSpec

SPEC = PRESETS["melgan"].spec
SCALE = Scale(low=-5.0, high=1.5, bits=8)
ABOUT = {"clip": "jazz/1.wav", "label": "jazz", "licence": "CC BY 4.0", "credit": "Ada, Tune"}


def features(pitch: float, seconds: float = 0.5) -> np.ndarray:
    time = torch.arange(int(SPEC.sample_rate * seconds)) / SPEC.sample_rate
    return dsp.log_mel(0.5 * torch.sin(2 * torch.pi * pitch * time)[None], SPEC)[0].numpy()


def described(folder: Path, spec: FeatureSpec = SPEC, scale: Scale | None = SCALE) -> Path:
    """A folder with the `spec.json` of an export."""
    folder.mkdir(exist_ok=True)
    said: dict[str, object] = {"features": {"spec": spec.to_dict()}}
    if scale is not None:
        said["png"] = {"low": scale.low, "high": scale.high, "bits": scale.bits}
    (folder / "spec.json").write_text(json.dumps(said), encoding="utf-8")
    return folder


def pitch_of(file: Path) -> float:
    heard = read(file)
    spectrum = np.abs(np.fft.rfft(heard.samples[0] * np.hanning(heard.frames)))
    return float(spectrum.argmax() * heard.sample_rate / heard.frames)


def make(folder: Path, output: Path) -> list[Path]:
    exported = Exported.read(folder)
    return list(sound(exported, output, plain_vocoder(None, exported.spec, Catalog.discover()), maker="griffin-lim"))


@pytest.mark.parametrize("bits", [8, 16])
def test_a_picture_sounds_as_what_it_shows(tmp_path: Path, bits: int) -> None:
    folder, scale = described(tmp_path / "pictures"), Scale(low=-5.0, high=1.5, bits=bits)
    for name, pitch in (("jazz/low", 330.0), ("jazz/high", 1200.0)):
        write_png(folder / f"{name}.png", features(pitch), scale, ABOUT)
    written = make(folder, tmp_path / "sounds")
    assert [file.relative_to(tmp_path).as_posix() for file in written] == [
        "sounds/jazz/high.wav",
        "sounds/jazz/low.wav",
    ]
    assert pitch_of(written[0]) == pytest.approx(1200, rel=0.03)
    assert pitch_of(written[1]) == pytest.approx(330, rel=0.03)
    assert read(written[0]).frames == SPEC.samples(features(330).shape[1])


def test_arrays_sound_too_and_everything_carries_its_licence(tmp_path: Path) -> None:
    import soundfile

    folder = described(tmp_path / "arrays", scale=None)
    write_npz(folder / "tone.npz", features(500.0), ABOUT)
    (written,) = make(folder, tmp_path / "sounds")
    assert pitch_of(written) == pytest.approx(500, rel=0.03)
    with soundfile.SoundFile(written) as file:
        said = file.copy_metadata()
    assert (said["title"], said["artist"], said["copyright"]) == ("jazz/1.wav", "Ada, Tune", "CC BY 4.0")
    assert said["comment"] == "griffin-lim, label jazz, from the features in tone.npz"


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_a_picture_that_another_program_made_means_what_spec_json_says(tmp_path: Path, mode: str) -> None:
    folder = described(tmp_path / "pictures")
    Image.fromarray(SCALE.pixels(features(700.0))).convert(mode).save(folder / "made.png")
    (stored,) = (Exported.read(folder).stored(file) for file in Exported.read(folder).files)
    assert np.abs(stored.values - features(700.0)).max() <= (SCALE.high - SCALE.low) / 255
    assert stored.about == {}


def test_a_picture_keeps_its_own_scale_whatever_spec_json_says(tmp_path: Path) -> None:
    folder = described(tmp_path / "pictures", scale=Scale(low=0.0, high=99.0, bits=8))
    write_png(folder / "a.png", features(700.0), SCALE, {})
    stored = Exported.read(folder).stored(folder / "a.png")
    assert np.abs(stored.values - features(700.0)).max() <= (SCALE.high - SCALE.low) / 255


class TestRefused:
    def refused(self, folder: Path, tmp_path: Path) -> str:
        with pytest.raises(SynthkitError) as error:
            make(folder, tmp_path / "sounds")
        assert not (tmp_path / "sounds").exists()
        return str(error.value)

    def test_a_folder_that_says_nothing(self, tmp_path: Path) -> None:
        assert "has no spec.json" in self.refused(tmp_path, tmp_path)
        (tmp_path / "spec.json").write_text('{"features": 3}', encoding="utf-8")
        assert "is not that of an export" in self.refused(tmp_path, tmp_path)

    def test_a_folder_without_pictures(self, tmp_path: Path) -> None:
        assert "neither pictures (.png) nor arrays (.npz)" in self.refused(described(tmp_path / "empty"), tmp_path)

    def test_pictures_of_other_bands(self, tmp_path: Path) -> None:
        folder = described(tmp_path / "pictures")
        write_png(folder / "a.png", features(300.0), SCALE, {})
        Image.new("L", (64, 64)).save(folder / "small.png")
        said = self.refused(folder, tmp_path)
        assert "small.png' is 64 x 64, but spec.json says 80 bands" in said

    @pytest.mark.parametrize("name", ["bad.png", "bad.npz"])
    def test_damaged_files(self, tmp_path: Path, name: str) -> None:
        folder = described(tmp_path / "pictures")
        (folder / name).write_bytes(b"PK\x03\x04 nothing of the kind")
        assert f"{name}' is not a" in self.refused(folder, tmp_path)

    def test_arrays_that_hold_something_else(self, tmp_path: Path) -> None:
        folder = described(tmp_path / "arrays")
        np.savez(folder / "a.npz", other=np.zeros(3))
        assert "is not an array that synthkit exported" in self.refused(folder, tmp_path)
        write_npz(folder / "a.npz", np.full((80, 9), np.nan), {})
        assert "not finite" in self.refused(folder, tmp_path)


def test_the_command_undoes_an_export(synthkit_cli: Callable[..., CompletedProcess[str]], tmp_path: Path) -> None:
    options = ("--set", "clips_per_label=3", "--set", "seconds=0.5", "--split", "test", "--workers", "1")
    assert synthkit_cli("data", "export", "tones", "-o", "pictures", *options).returncode == 0
    done = synthkit_cli("data", "sound", "pictures", "-o", "sounds")
    assert (done.returncode, done.stdout.strip()) == (0, "6 sounds are in sounds"), done.stderr
    pictures = {file.relative_to(tmp_path / "pictures").with_suffix("") for file in tmp_path.glob("pictures/**/*.png")}
    assert {
        file.relative_to(tmp_path / "sounds").with_suffix("") for file in tmp_path.glob("sounds/**/*.wav")
    } == pictures
