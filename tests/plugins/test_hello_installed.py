"""The example of a third-party distribution, installed by pip into an environment of its own and used from there."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from synthkit.audio import Audio, read

Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def python(root: Path, tmp_path_factory: pytest.TempPathFactory, make_environment: Callable[..., Path]) -> Path:
    return make_environment(tmp_path_factory.mktemp("hello") / "environment", root / "examples" / "synthkit_hello")


@pytest.fixture
def call(python: Path, tmp_path: Path) -> Call:
    """`python ARGS` in that environment, in a temporary folder."""

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "SYNTHKIT_CACHE": str(tmp_path / "cache"), "COLUMNS": "200", "NO_COLOR": "1"}
        environment.pop("PYTHONPATH", None)
        command = [str(python), *map(str, arguments)]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
        )

    return run


def test_it_is_listed_there_and_only_there(call: Call, synthkit_cli: Call) -> None:
    plugins = call("-m", "synthkit", "plugins")
    assert plugins.returncode == 0, plugins.stdout + plugins.stderr
    (row,) = [line.split() for line in plugins.stdout.splitlines() if line.split()[:1] == ["hello"]]
    assert row == ["hello", "synthkit-hello", "1.0.0", "1", "vocoder", "works"]
    listed = call("-m", "synthkit", "list", "vocoder")
    assert "One sine per mel band" in listed.stdout
    assert "griffin-lim" in listed.stdout
    assert "sines_per_band" in call("-m", "synthkit", "describe", "sine-bank").stdout
    assert "sine-bank" not in synthkit_cli("list", "vocoder").stdout


def test_what_it_imports_is_the_installed_copy(call: Call, root: Path) -> None:
    done = call("-c", "import synthkit_hello; print(synthkit_hello.__file__)")
    assert "site-packages" in done.stdout
    assert not Path(done.stdout.strip()).is_relative_to(root / "examples")


def test_a_recipe_uses_it(call: Call, root: Path, tmp_path: Path) -> None:
    recipe = root / "examples" / "synthkit_hello" / "hello.yaml"
    assert call("-m", "synthkit", "check", recipe).returncode == 0
    done = call("-m", "synthkit", "run", recipe, "--tiny", "--run-dir", "run")
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = (tmp_path / "run" / "generated").glob("*sine-bank*.wav")
    audio = read(made)
    assert (audio.sample_rate, audio.channels) == (22050, 1)
    assert audio.peak > 0.05
    assert (tmp_path / "run" / "report.html").is_file()


def test_a_file_goes_through_it(call: Call, tmp_path: Path) -> None:
    time = np.arange(22050) / 22050
    stereo = np.stack([np.sin(2 * np.pi * hertz * time) for hertz in (440, 660)])
    Audio(0.3 * stereo, 22050).write(tmp_path / "in.wav")
    done = call("-m", "synthkit", "vocode", "sine-bank", "in.wav", "out.wav")
    assert done.returncode == 0, done.stderr
    made = read(tmp_path / "out.wav")
    assert (made.channels, made.frames) == (2, 22050)
    assert made.peak > 0.1


def test_its_own_tests_pass(call: Call, python: Path) -> None:
    tests = python.parents[1] / "sources" / "synthkit_hello" / "tests"
    done = call("-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=importlib", tests)
    assert done.returncode == 0, done.stdout + done.stderr
