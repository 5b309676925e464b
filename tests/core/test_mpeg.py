"""MP3 files of variable bit rate without an index are read to their end."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from synthkit._mpeg import _header, length_is_guessed
from synthkit.audio import read

RATE = 44100


def loud_and_still() -> np.ndarray:
    """Six seconds: near silence, then noise, so that a variable bit rate varies."""
    random = np.random.default_rng(1)
    return np.concatenate([np.full(3 * RATE, 1e-4), random.uniform(-0.8, 0.8, 3 * RATE)]).astype(np.float32)


def mp3(samples: np.ndarray) -> bytes:
    target = io.BytesIO()
    with soundfile.SoundFile(target, "w", RATE, 1, "MPEG_LAYER_III", format="MP3", bitrate_mode="VARIABLE") as file:
        file.write(samples)
    return target.getvalue()


def without_its_first_frame(content: bytes) -> bytes:
    """As a cut leaves it: the index is in the first frame."""
    header = _header(content, 0)
    assert header is not None
    assert any(name in content[: header[1]] for name in (b"Xing", b"Info"))
    return content[header[1] :]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "clip.mp3"


def test_a_cut_file_of_variable_rate_is_read_to_its_end(file: Path) -> None:
    samples = loud_and_still()
    file.write_bytes(without_its_first_frame(mp3(samples)))
    assert length_is_guessed(file)
    guessed = soundfile.info(file).frames
    assert abs(guessed - len(samples)) > RATE  # otherwise libsndfile has learned it, and all this can go
    sound = read(file)
    assert abs(sound.frames - len(samples)) < 4000
    assert np.sqrt(np.mean(sound.samples[0, -RATE:-4000] ** 2)) > 0.2


def test_a_tag_before_the_sound_is_passed_over(file: Path) -> None:
    file.write_bytes(b"ID3\x04\0\0\0\0\x01\x05" + bytes(133) + without_its_first_frame(mp3(loud_and_still())))
    assert length_is_guessed(file)
    assert abs(read(file).frames - 6 * RATE) < 4000


def test_an_index_is_believed(file: Path) -> None:
    file.write_bytes(mp3(loud_and_still()))
    assert not length_is_guessed(file)
    assert abs(read(file).frames - 6 * RATE) < 4000


def test_a_constant_rate_needs_no_index(file: Path) -> None:
    silent_frame = bytes([0xFF, 0xFB, 0x90, 0x64]) + bytes(413)
    file.write_bytes(100 * silent_frame)
    assert not length_is_guessed(file)
    assert abs(read(file).frames - 100 * 1152) <= 2 * 1152


@pytest.mark.parametrize(
    "content", [b"", b"ID3", b"ID3\x04\0\0\x7f\x7f\x7f\x7f", b"\xff", b"\xff\xfb\x90\x64", b"RIFF" * 9, bytes(5000)]
)
def test_what_is_no_mp3_is_none(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    assert not length_is_guessed(file)
