"""Reading whatever is there, writing without surprises. Odd real files, not mocks."""

from __future__ import annotations

import csv
import math
import os
import pickle
import struct
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import librosa
import numpy as np
import pytest
import soundfile

from synthkit.audio import (
    AUDIO_SUFFIXES,
    UNSUPPORTED_SUFFIXES,
    Audio,
    check_clip,
    encode_wav,
    read,
    stream,
    to_int16,
    write_blocks,
)
from synthkit.errors import AudioError, ClipReport, PluginError, UnreadableClip
from synthkit.interfaces import Clip, Dataset, Split


def tone(rate: int = 22050, seconds: float = 0.5, frequency: float = 440.0, gain: float = 0.5) -> Audio:
    return Audio(gain * np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate), rate)


@pytest.fixture(scope="module")
def odd(shared: Path) -> list[tuple[dict[str, str], ClipReport, Audio | None]]:
    """Every odd file with what reading it gave."""
    root = shared / "audio" / "odd"
    with (root / "manifest.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    results = []
    for row in rows:
        caught: list[Audio] = []

        def open(path: Path = root / row["file"], caught: list[Audio] = caught) -> Audio:
            caught.append(read(path))
            return caught[0]

        results.append((row, check_clip(row["file"], open), caught[0] if caught else None))
    return results


@pytest.mark.data
class TestOddFiles:
    def test_no_good_one_is_lost(self, odd: list[tuple[dict[str, str], ClipReport, Audio | None]]) -> None:
        good = [(row, audio) for row, _, audio in odd if row["soundfile_ok"] == "yes" and int(row["read_frames"]) > 0]
        assert len(good) > 60
        for row, audio in good:
            assert audio is not None, row["file"]
            assert audio.frames >= int(row["read_frames"]), row["file"]
            assert (audio.sample_rate, audio.channels) == (int(row["rate"]), int(row["channels"])), row["file"]
            assert audio.peak == pytest.approx(float(row["peak"]), abs=1e-4), row["file"]

    def test_every_bad_one_has_a_code_and_a_reason(
        self, odd: list[tuple[dict[str, str], ClipReport, Audio | None]]
    ) -> None:
        for row, report, audio in odd:
            assert report.id == row["file"]
            if audio is None:
                assert report.code in {"empty", "unreadable"}, row["file"]
                assert report.reason, row["file"]
                assert "possibly a pipe" not in report.reason, "libsndfile's message is wrong and must be translated"
            if row["read_frames"] == "0" or row["bytes"] == "0":
                assert report.code == "empty", row["file"]

    def test_flac_of_unknown_length_is_read_to_its_end(
        self, odd: list[tuple[dict[str, str], ClipReport, Audio | None]]
    ) -> None:
        frames = {row["file"]: audio.frames for row, _, audio in odd if audio and row["info_frames"] == str(2**63 - 1)}
        assert frames["flac-testbench/uncommon_01 - changing samplerate.flac"] == 555747
        assert frames["flac-testbench/uncommon_04 - changing bitdepth.flac"] == 495232

    @pytest.mark.parametrize(
        ("file", "code", "reason"),
        [
            ("lfs_pointer/f10_script4_produced.wav", "unreadable", "git lfs pull"),
            ("tinytag/silence.wma", "unreadable", "WMA, a format that is not supported"),
            ("pydub/test5.webm", "unreadable", "WebM or Matroska, a format that is not supported"),
            ("macos_junk/.DS_Store", "unreadable", "macOS Finder file"),
            ("tinytag/empty_file.mp3", "empty", "0 bytes"),
            ("tinytag/no_audio.ogg", "empty", "no sound"),
            ("tinytag/invalid_file_larger.mp3", "unreadable", "no whole MP3 frame"),
            ("flac-testbench/subset_22 - 12 bit per sample.flac", "unreadable", "sample format is not supported"),
            ("derived/zeros_in_middle.mp3", "unreadable", r"damaged.*6\.\d\d s were read before the error"),
            ("derived/bitflips.flac", "unreadable", r"lost its place.*[12]\.\d\d s were read before the error"),
            ("audiomentations/digital_silence.wav", "silent", "zero"),
            ("scipy/test-44100Hz-le-1ch-4bytes-early-eof.wav", "truncated", r"0\.01 s of the 0\.10 s"),
            ("music-metadata/ffmpeg-missing-chunksize.wav", "ok", "^$"),
            ("derived/random_bytes_in_middle.mp3", "ok", "^$"),
            ("derived/mp3_named.wav", "ok", "^$"),
        ],
    )
    def test_what_is_said(
        self, odd: list[tuple[dict[str, str], ClipReport, Audio | None]], file: str, code: str, reason: str
    ) -> None:
        import re

        report = next(report for row, report, _ in odd if row["file"] == file)
        assert report.code == code
        assert re.search(reason, report.reason), report.reason


@pytest.mark.data
@pytest.mark.parametrize("name", ["boss  introduction.mp3", "JRPG_princess.ogg", "vocadito_10.wav"])
def test_real_music_is_what_librosa_reads(shared: Path, name: str) -> None:
    path = shared / "audio" / "music" / name
    audio = read(path)
    y, rate = librosa.load(path, sr=None, mono=True)
    assert audio.sample_rate == rate
    np.testing.assert_allclose(audio.mono().samples[0], y, atol=1e-6)
    resampled, _ = librosa.load(path, sr=22050)
    made = audio.mono().resample(22050).samples[0]
    assert abs(len(made) - len(resampled)) <= 1
    count = min(len(made), len(resampled))
    np.testing.assert_allclose(made[:count], resampled[:count], atol=1e-5)


@pytest.mark.data
@pytest.mark.parametrize("rate", [8000, 22050, 44100])
def test_block_by_block_is_what_the_whole_gives(shared: Path, rate: int) -> None:
    """Every file that can be read, of all formats, lengths and channels: not one sample differs."""
    compared = 0
    for path in sorted((shared / "audio/odd").rglob("*.*")):
        try:
            whole = read(path).mono().resample(rate).samples[0]
        except UnreadableClip:
            continue
        with stream(path) as sound:
            blocks = [block.copy() for block in sound.mono(rate)]
        np.testing.assert_array_equal(np.concatenate(blocks), whole, err_msg=str(path))
        compared += 1
    assert compared > 60


@pytest.mark.parametrize("frames", [1, 3, 16384, 40000])
@pytest.mark.parametrize(("old", "new"), [(44100, 22050), (8000, 48000), (22050, 22050), (192000, 8000)])
def test_the_stream_of_a_sound_in_memory(frames: int, old: int, new: int) -> None:
    audio = Audio(np.random.default_rng(frames).uniform(-1, 1, (3, frames)), old)
    sound = audio.stream()
    made = np.concatenate([block.copy() for block in sound.mono(new)])
    np.testing.assert_array_equal(made, audio.mono().resample(new).samples[0])
    assert (sound.frames, sound.seconds) == (frames, frames / old)
    blocks = [block.copy() for block in audio.stream()]
    np.testing.assert_array_equal(np.concatenate(blocks).T, audio.samples)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_what_could_not_be_read_to_an_end_is_not_begun(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    for path in (tmp_path / "pipe.wav", Path("/dev/zero")):
        with pytest.raises(UnreadableClip, match="not a regular file but a pipe, a socket or a device"):
            read(path)


def test_a_stream_says_what_is_wrong_when_it_comes_to_it(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    tone(seconds=10).write(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 2000] = bytes(2000)
    path.write_bytes(content)
    with stream(path) as sound, pytest.raises(UnreadableClip, match=r"were read before the error") as caught:
        for _ in sound:
            pass
    assert caught.value.code == "unreadable"
    assert 2 < sound.seconds < 6
    tone(seconds=1).write(tmp_path / "cut.wav")
    (tmp_path / "cut.wav").write_bytes((tmp_path / "cut.wav").read_bytes()[:20000])
    with stream(tmp_path / "cut.wav") as sound:
        assert sound.note == ""
        for _ in sound:
            pass
    assert sound.note.startswith("it ends early")


def test_a_data_set_of_files_needs_no_way_of_its_own_to_open_them(tmp_path: Path) -> None:
    class Files(Dataset):
        def clips(self, split: Split | None = None) -> list[Clip]:
            return [Clip(id=name, key=name, path=str(tmp_path / name)) for name in ("a.wav", "gone.wav")]

    class Loud(Files):
        def open(self, clip: Clip) -> Audio:
            return Audio(2 * super().open(clip).samples, 22050)

    tone().write(tmp_path / "a.wav")
    clip, gone = Files().clips()
    assert Files().open(clip).seconds == 0.5
    for dataset, peak in ((Files(), 0.5), (Loud(), 1.0)):
        with dataset.stream(clip) as sound:
            assert max(float(block.max()) for block in sound) == pytest.approx(peak, abs=1e-3)
    with pytest.raises(UnreadableClip, match=r"^gone\.wav: there is no such file") as caught:
        Files().open(gone)
    assert caught.value.code == "missing"
    with pytest.raises(PluginError, match=r"Files has clips without a file \(.x.\) and no open\(\)"):
        Files().open(Clip(id="x", key="x"))


def test_a_header_that_promises_too_much_allocates_nothing(tmp_path: Path) -> None:
    """A FLAC whose STREAMINFO claims 2^35 frames."""
    path = tmp_path / "liar.flac"
    tone().write(path)
    data = bytearray(path.read_bytes())
    data[21] |= 0x0F  # the low half of byte 13 of STREAMINFO and the four bytes after it hold the number of samples
    data[22:26] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    assert soundfile.info(path).frames > 10**10
    tracemalloc.start()
    try:
        report = check_clip("liar", lambda: read(path))
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()
    assert (report.code, report.seconds) == ("truncated", 0.5)


@pytest.mark.parametrize("suffix", [".wav", ".aiff"])
def test_a_file_that_was_cut_is_read_as_far_as_it_goes_and_says_so(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cut{suffix}"
    tone(seconds=1.0).write(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - 22050])
    audio = read(path)
    assert audio.frames == 11025
    assert "0.50 s of the 1.00 s" in audio.note
    report = check_clip("cut", lambda: read(path))
    assert (report.code, report.seconds) == ("truncated", 0.5)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_samples_that_are_not_numbers(tmp_path: Path, bad: float) -> None:
    samples = np.zeros(100, dtype=np.float32)
    samples[[3, 50]] = bad
    path = tmp_path / "bad.wav"
    soundfile.write(path, samples, 8000, subtype="FLOAT")
    with pytest.raises(UnreadableClip, match="2 of its samples are not finite") as caught:
        read(path)
    assert caught.value.code == "not-finite"
    assert check_clip("x", lambda: Audio(samples, 8000)).code == "not-finite"
    with pytest.raises(AudioError, match="not finite"):
        Audio(samples, 8000).write(tmp_path / "out.wav")
    assert not (tmp_path / "out.wav").exists()


@pytest.mark.parametrize(
    ("name", "content", "code", "reason"),
    [
        ("gone.wav", None, "missing", "no such file"),
        ("empty.wav", b"", "empty", "0 bytes"),
        ("page.mp3", b"<!DOCTYPE html><html></html>", "unreadable", "web page"),
        ("song.m4a", b"\x00\x00\x00\x20ftypM4A \x00\x00\x00\x00", "unreadable", "not supported"),
        ("song.aac", b"\xff\xf1" + bytes(200), "unreadable", r"\.aac is a format that is not supported"),
        ("text.wav", b"hello, this is no sound at all" * 10, "unreadable", "not of a known sound format"),
    ],
)
def test_what_is_not_sound(tmp_path: Path, name: str, content: bytes | None, code: str, reason: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UnreadableClip, match=reason) as caught:
        read(path)
    assert caught.value.code == code
    assert str(path) in str(caught.value)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (copy.name, copy.code, copy.reason) == (caught.value.name, code, caught.value.reason)


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(UnreadableClip, match="it is a folder"):
        read(tmp_path)


def test_check_clip_takes_what_a_data_set_raises_but_hides_no_bug() -> None:
    def fails(error: Exception) -> Callable[[], Audio]:
        def open() -> Audio:
            raise error

        return open

    assert check_clip("a", fails(UnreadableClip("a", "too-short", "0.1 s"))).code == "too-short"
    assert check_clip("a", fails(PermissionError("denied"))).code == "unreadable"
    with pytest.raises(ZeroDivisionError):
        check_clip("a", fails(ZeroDivisionError()))
    report = check_clip("a", lambda: tone())
    assert (report.code, report.sample_rate, report.channels, report.seconds) == ("ok", 22050, 1, 0.5)
    assert report.peak == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".aiff"])
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_sixteen_bits_go_through_a_file_unchanged(tmp_path: Path, suffix: str, channels: int) -> None:
    values = np.random.default_rng(1).integers(-32768, 32768, (channels, 5000))
    values[:, :2] = -32768, 32767
    audio = Audio(values / 32768.0, 44100)
    path = tmp_path / "new" / f"a{suffix}"
    assert audio.write(path) == 0
    back = read(path)
    assert back.sample_rate == 44100
    np.testing.assert_array_equal(back.samples, audio.samples)
    assert [each.name for each in path.parent.iterdir()] == [path.name], "no temporary file stays behind"


def test_full_scale_saturates_and_is_counted(tmp_path: Path) -> None:
    audio = Audio(np.array([0.0, 1.0, -1.0, 1.5, -7.0, 1.0001]), 8000)
    assert audio.write(tmp_path / "a.wav") == 3
    back, _ = soundfile.read(tmp_path / "a.wav", dtype="int16")
    assert back.tolist() == [0, 32767, -32768, 32767, -32768, 32767]
    assert to_int16(np.array([0.99999, 1.0], dtype=np.float32)).tolist() == [32767, 32767]


def test_a_long_stereo_ogg_does_not_crash_the_encoder(tmp_path: Path) -> None:
    """libsndfile 1.2.2 ends the process when 60 s of stereo go into its Vorbis encoder in one call."""
    seconds = 60
    sound = tone(44100, seconds).samples[0]
    path = tmp_path / "long.ogg"
    Audio(np.stack([sound, 0.5 * sound]), 44100).write(path)
    back = read(path)
    assert (back.channels, back.frames) == (2, seconds * 44100)
    assert np.abs(back.samples[1] - 0.5 * sound).max() < 0.02


def test_metadata_travels(tmp_path: Path) -> None:
    tags = {"title": "Größe", "comment": "made by a test", "software": "synthkit", "licence": "CC BY 4.0"}
    tone().write(tmp_path / "a.wav", metadata={**tags, "copyright": "somebody"})
    tone().write(tmp_path / "a.flac", metadata=tags)
    with soundfile.SoundFile(tmp_path / "a.wav") as file:
        assert (file.title, file.comment, file.copyright) == ("Größe", "made by a test", "somebody; CC BY 4.0")
        assert file.software.startswith("synthkit")
    with soundfile.SoundFile(tmp_path / "a.flac") as file:
        assert (file.title, file.license) == ("Größe", "CC BY 4.0")
    with pytest.raises(AudioError, match="unknown metadata mood"):
        tone().write(tmp_path / "b.wav", metadata={"mood": "good"})


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    tone().write(path)
    before = path.read_bytes()
    with pytest.raises(AudioError):
        Audio(np.array([math.nan]), 8000).write(path)
    assert path.read_bytes() == before
    with pytest.raises(AudioError, match=r"must end in one of \.wav, \.flac, \.ogg"):
        tone().write(tmp_path / "a.mp4")
    with pytest.raises(AudioError, match="cannot write"):
        tone().write(path / "below-a-file.wav")


def test_encode_wav_is_what_write_writes(tmp_path: Path) -> None:
    tone().write(tmp_path / "a.wav", metadata={"title": "x"})
    data = encode_wav(tone(), metadata={"title": "x"})
    assert data == (tmp_path / "a.wav").read_bytes()
    assert struct.unpack("<I", data[4:8])[0] == len(data) - 8


@pytest.mark.parametrize(
    ("old", "new"), [(44100, 22050), (48000, 22050), (22050, 44100), (8000, 192000), (16000, 8000)]
)
@pytest.mark.parametrize("frames", [0, 1, 2, 3, 10, 999, 44101])
def test_resampled_length_is_the_rounded_ratio(old: int, new: int, frames: int) -> None:
    made = Audio(np.full((2, frames), 0.5), old).resample(new)
    assert made.sample_rate == new
    assert made.frames == math.floor(frames * new / old + 0.5)


def test_resampling_keeps_a_tone_and_removes_what_cannot_be_kept() -> None:
    kept = tone(44100, 1.0, 1000.0).resample(22050).samples[0, 2000:-2000]
    expected = tone(22050, 1.0, 1000.0).samples[0, 2000:-2000]
    np.testing.assert_allclose(kept, expected, atol=1e-4)
    lost = tone(44100, 1.0, 15000.0).resample(22050).samples[0, 2000:-2000]
    assert np.abs(lost).max() < 1e-5


def test_mono_is_the_mean_and_the_channels_are_resampled_alike() -> None:
    left, right = np.random.default_rng(2).uniform(-1, 1, (2, 4410))
    stereo = Audio(np.stack([left, right]), 44100)
    np.testing.assert_allclose(stereo.mono().samples[0], (left + right) / 2, atol=1e-7)
    a = stereo.resample(22050).mono().samples
    b = stereo.mono().resample(22050).samples
    np.testing.assert_allclose(a, b, atol=1e-6)
    assert stereo.mono().mono().channels == 1


def test_audio_checks_what_it_is_given() -> None:
    assert Audio(np.zeros(5, dtype=np.float64), 8000).samples.dtype == np.float32
    assert Audio(np.zeros(0), 8000).peak == 0.0
    for samples, rate in [
        (np.zeros((1, 2, 3)), 8000),
        (np.zeros((0, 5)), 8000),
        (np.zeros(5), 0),
        (np.zeros(5), 8000.5),
    ]:
        with pytest.raises(AudioError):
            Audio(samples, rate)  # type: ignore[arg-type]
    with pytest.raises(AudioError, match="do not lie in"):
        Audio(np.zeros(5), 8000).crop(3, 3)


def test_suffixes_do_not_overlap() -> None:
    assert not AUDIO_SUFFIXES & UNSUPPORTED_SUFFIXES
    assert {".wav", ".flac", ".ogg", ".mp3", ".aiff", ".opus"} <= AUDIO_SUFFIXES
    assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in AUDIO_SUFFIXES | UNSUPPORTED_SUFFIXES)


class TestWriteBlocks:
    """`write_blocks` is `Audio.write` for sound that comes in blocks."""

    @pytest.mark.parametrize("ending", [".wav", ".flac", ".aiff", ".ogg"])
    def test_it_is_the_file_that_the_whole_would_be(self, tmp_path: Path, ending: str) -> None:
        values = np.random.default_rng(1).uniform(-1.2, 1.2, (2, 9000)).astype(np.float32)
        whole = Audio(values, 8000).write(tmp_path / f"whole{ending}")
        blocks = (values[:, start : start + 700].T for start in range(0, 9000, 700))
        metadata = {"title": "in blocks"}
        frames, clipped = write_blocks(tmp_path / f"blocks{ending}", 8000, blocks, metadata=metadata)
        assert (frames, clipped) == (9000, whole)
        made, expected = (read(tmp_path / f"{name}{ending}").samples for name in ("blocks", "whole"))
        assert made.shape == expected.shape
        if ending == ".ogg":  # whose encoder hears where a block ends
            assert np.corrcoef(made.ravel(), expected.ravel())[0, 1] > 0.95
        else:
            np.testing.assert_array_equal(made, expected)
        with soundfile.SoundFile(tmp_path / f"blocks{ending}") as file:
            assert file.title == "in blocks"

    def test_an_error_on_the_way_leaves_the_old_file(self, tmp_path: Path) -> None:
        def blocks() -> Iterator[np.ndarray]:
            yield np.zeros((10, 1), np.float32)
            raise AudioError("no more")

        (tmp_path / "a.wav").write_bytes(b"before")
        with pytest.raises(AudioError, match="no more"):
            write_blocks(tmp_path / "a.wav", 8000, blocks())
        assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"before"]

    def test_what_cannot_be_written_is_a_sentence(self, tmp_path: Path) -> None:
        with pytest.raises(AudioError, match="must end in one of"):
            write_blocks(tmp_path / "a.mp3", 8000, [])
        with pytest.raises(AudioError, match="there is no sound"):
            write_blocks(tmp_path / "a.wav", 8000, [])

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full disk to write to")
    def test_a_full_disk_is_said(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        @contextmanager
        def full(path: Path) -> Iterator[BinaryIO]:
            with Path("/dev/full").open("wb", buffering=0) as stream:
                yield stream

        monkeypatch.setattr("synthkit.audio.replacing", full)
        blocks = (np.zeros((4096, 2), np.float32) for _ in range(100))
        with pytest.raises(AudioError, match="cannot write"):
            write_blocks(tmp_path / "a.wav", 8000, blocks)
