"""`synthkit vocode --stream` in real pipes."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from synthkit._catalog import Catalog
from synthkit._run import checkpoint
from synthkit._run.checkpoint import Identity
from synthkit._run.learner import Learner
from synthkit._stages.synthesis import SpecFeatures, extract
from synthkit.audio import Audio, read
from synthkit.presets import PRESETS
from synthkit.training.engine import Engine, seeded

SPEC = PRESETS["melgan"].spec
Pipe = Callable[..., tuple[bytes, str, int]]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a small MelGAN with its first weights."""
    catalog = Catalog.discover([])
    offered, config = catalog.configure("vocoder", "melgan", {"channels": 4})
    with seeded(1):
        vocoder, engine = catalog.build(offered, config, SPEC), Engine()
        objective = catalog.build(*catalog.configure("objective", "melgan", {}), vocoder, engine)
    identity = Identity(offered=offered, config=config, spec=SPEC, labels=())
    learner = Learner(component=vocoder, objective=objective, engine=engine)
    return checkpoint.save(tmp_path_factory.mktemp("trained"), 1, identity, learner, {})


@pytest.fixture
def pipe(tmp_path: Path) -> Pipe:
    def run(given: bytes | None, *args: str | Path) -> tuple[bytes, str, int]:
        done = subprocess.run(
            [sys.executable, "-m", "synthkit", "vocode", *map(str, args), "--stream"],
            input=given,
            capture_output=True,
            cwd=tmp_path,
            env={**os.environ, "COLUMNS": "200"},
            timeout=120,
            check=False,
        )
        return done.stdout, done.stderr.decode(), done.returncode

    return run


def noise(seconds: float, channels: int = 2, sample_rate: int = 22050) -> Audio:
    random = np.random.default_rng(1)
    return Audio(random.uniform(-0.3, 0.3, (channels, round(seconds * sample_rate))), sample_rate)


def wav(audio: Audio, subtype: str) -> bytes:
    target = io.BytesIO()
    soundfile.write(target, audio.samples.T, audio.sample_rate, subtype=subtype, format="WAV")
    return target.getvalue()


def samples_of(content: bytes) -> np.ndarray:
    """Samples `[T, C]` behind a 44-byte header, whatever length it gives."""
    assert content[:4] == b"RIFF"
    channels = int.from_bytes(content[22:24], "little")
    return np.frombuffer(content[44:], dtype="<i2").reshape(-1, channels).astype(np.float32) / 32768


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
def test_a_wav_through_a_pipe_is_the_wav_made_of_the_file(
    synthkit_cli: Callable[..., subprocess.CompletedProcess[str]],
    pipe: Pipe,
    trained: Path,
    tmp_path: Path,
    subtype: str,
) -> None:
    source = tmp_path / "in.wav"
    source.write_bytes(wav(noise(1.7), subtype))
    done = synthkit_cli("vocode", trained, source, tmp_path / "out.wav")
    assert done.returncode == 0, done.stderr
    expected = read(tmp_path / "out.wav").samples.T
    made, said, code = pipe(source.read_bytes(), trained, "-", "-", "--chunk", "5")
    assert code == 0, said
    assert samples_of(made).shape == expected.shape
    np.testing.assert_allclose(samples_of(made), expected, atol=2 / 32768)
    assert "1.70 s at 22050 Hz" in said


def test_raw_samples_in_and_out(pipe: Pipe, trained: Path) -> None:
    audio = noise(0.5, channels=1, sample_rate=16000)
    as_wav, _, _ = pipe(wav(audio, "PCM_32"), trained, "-", "-", "--output", "f32le")
    raw, said, code = pipe(
        audio.samples.T.astype("<f4").tobytes(), trained, "-", "-", "--input", "f32le", "--sample-rate", "16000",
        "--output", "f32le",
    )  # fmt: skip
    assert code == 0, said
    assert len(raw) == 4 * round(0.5 * 22050)
    np.testing.assert_allclose(np.frombuffer(raw, "<f4"), np.frombuffer(as_wav, "<f4"), atol=1e-5)


def test_frames_from_a_pipe_into_a_file(pipe: Pipe, trained: Path, tmp_path: Path) -> None:
    audio = noise(0.6, channels=1)
    features = extract(SpecFeatures(SPEC), audio)
    given = np.ascontiguousarray(features.values[0].T.numpy(), dtype="<f4").tobytes()
    out = tmp_path / "out.wav"
    _, said, code = pipe(given + b"\0\0\0", trained, "-", out, "--input", "frames")
    assert code == 0, said
    whole, _, _ = pipe(wav(audio, "PCM_32"), trained, "-", "-")
    made = read(out)
    assert made.frames == SPEC.samples(features.frames)
    np.testing.assert_allclose(made.samples.T[: len(samples_of(whole))], samples_of(whole), atol=2 / 32768)


def test_sound_comes_out_while_sound_goes_in(trained: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "synthkit", "vocode", str(trained), "-", "-", "--stream", "--chunk", "1"]
    command += ["--input", "s16le", "--sample-rate", "22050", "--output", "s16le"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=tmp_path) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        second = (noise(1, channels=1).samples[0] * 32767).astype("<i2").tobytes()
        process.stdin.write(second)
        process.stdin.flush()
        early = process.stdout.read(2 * 18000)  # blocks until there are so many, although the input has not ended
        assert len(early) == 2 * 18000
        process.stdin.write(second)
        process.stdin.close()
        assert len(early) + len(process.stdout.read()) == 2 * 2 * 22050
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("given", "args", "why"),
    [
        (b"hello", (), "no WAV file of PCM samples"),
        (b"", (), "no WAV file of PCM samples"),
        (b"\0\0", ("--input", "s16le"), "give --sample-rate"),
        (b"", ("--input", "f32le", "--sample-rate", "8000"), "without samples"),
        (wav(noise(0.1), "PCM_16"), ("--precision", "int8"), "computes in fp32 or bf16 or fp16 only"),
        (b"\0\0", ("--rate", "8000"), "--rate: a stream has the vocoder's own rate"),
    ],
)
def test_what_cannot_work_is_one_sentence(
    pipe: Pipe, trained: Path, given: bytes, args: tuple[str, ...], why: str
) -> None:
    made, said, code = pipe(given, trained, "-", "-", *args)
    assert (made, code) == (b"", 2)
    assert why in said
    assert len(said.strip().splitlines()) == 1


def peak_mb(command: list[str], given: Iterator[bytes] | None, cwd: Path) -> float:
    """Largest resident memory of a process, MB."""
    peak = "resource.getrusage(resource.RUSAGE_SELF).ru_maxrss"
    tell = f"import atexit, resource, sys; atexit.register(lambda: print('PEAK', {peak}, file=sys.stderr));"
    process = subprocess.Popen(
        [sys.executable, "-c", tell + command[0], *command[1:]],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=cwd,
    )
    assert process.stdin is not None
    assert process.stderr is not None
    for piece in given or ():
        process.stdin.write(piece)
    process.stdin.close()
    said = process.stderr.read().decode()
    assert process.wait() == 0, said
    return int(said.rsplit("PEAK ", 1)[1]) / 1024


@pytest.mark.skipif(sys.platform != "linux", reason="resident memory is counted in kilobytes on Linux only")
def test_ten_minutes_take_little_memory(trained: Path, tmp_path: Path) -> None:
    second = (noise(1, channels=1).samples[0] * 32767).astype("<i2").tobytes()
    bare = peak_mb(["import torch"], None, tmp_path)
    run = "sys.argv[0] = 'synthkit'; from synthkit._cli.main import cli; cli(standalone_mode=False)"
    args = ["vocode", str(trained), "-", "-", "--stream", "--input", "s16le", "--sample-rate", "22050"]
    assert peak_mb([run, *args], (second for _ in range(600)), tmp_path) < bare + 200
