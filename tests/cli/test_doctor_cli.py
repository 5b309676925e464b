"""`synthkit doctor` on environments that do not fit: package folders with made-up versions, in front of the real ones."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Cli = Callable[..., subprocess.CompletedProcess[str]]


def install(folder: Path, name: str, version: str, *, full: str | None = None, cuda: str | None = None) -> None:
    """A package as pip leaves it: metadata, and for torch and torchaudio the `version.py` of the wheel."""
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    package = folder / name
    package.mkdir(exist_ok=True)
    (package / "__init__.py").write_text("raise RuntimeError('doctor must not import this')\n")
    cuda_line = "" if name != "torch" else f"cuda: Optional[str] = {cuda!r}\n"
    (package / "version.py").write_text(f"from typing import Optional\n__version__ = {full or version!r}\n{cuda_line}")


def doctor(cli: Cli, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return cli("doctor", PYTHONPATH=str(folder), **env)


def test_a_good_environment_is_well(synthkit_cli: Cli, tmp_path: Path) -> None:
    install(tmp_path / "site", "torch", "2.14.1", full="2.14.1+cu130", cuda="13.0")
    install(tmp_path / "site", "torchaudio", "2.11.0", full="2.11.0+cu130")
    done = doctor(synthkit_cli, tmp_path / "site")
    assert done.returncode == 0, done.stdout
    assert "2.14.1+cu130 (CUDA 13.0)" in done.stdout
    for what in ("python", "synthkit", "numpy", "libsndfile", "soxr", "pluggy", "GPU", "plugins", "cache"):
        assert any(line.split()[:1] == [what] for line in done.stdout.splitlines()), what
    assert done.stdout.endswith("All is well.\n")


@pytest.mark.parametrize(
    ("torch", "torchaudio", "sentence", "command"),
    [
        (
            {"version": "2.15.0", "full": "2.15.0+cu132", "cuda": "13.2"},
            {"version": "2.11.0", "full": "2.11.0+cu130"},
            "torch 2.15.0 is outside the range <2.15,>=2.11 that synthkit works with: torchaudio 2.11",
            "pip install 'torch<2.15,>=2.11'",
        ),
        (
            {"version": "2.13.0+cpu"},
            {"version": "2.11.0", "full": "2.11.0+cu130"},
            "torch 2.13.0+cpu and torchaudio 2.11.0+cu130 are built for different CUDA versions",
            "pip install --force-reinstall --no-deps torchaudio==2.11.0 --index-url https://download.pytorch.org/whl/cpu",
        ),
        (
            {"version": "2.14.1+cu126", "cuda": "12.6"},
            {"version": "2.11.0", "full": "2.11.0+cu130"},
            "torch 2.14.1+cu126 and torchaudio 2.11.0+cu130 are built for different CUDA versions",
            "pip install --force-reinstall --no-deps torchaudio==2.11.0 --index-url https://download.pytorch.org/whl/cu126",
        ),
        (
            {"version": "2.14.1+cu126", "cuda": "12.6"},
            {"version": "2.11.1", "full": "2.11.1+cu132"},
            "torch 2.14.1+cu126 and torchaudio 2.11.1+cu132 are built for different CUDA versions",
            "pip install --force-reinstall --no-deps torchaudio==2.11.1 --index-url https://download.pytorch.org/whl/cu126",
        ),
        (
            {"version": "2.9.0", "full": "2.9.0+cu128", "cuda": "12.8"},
            {"version": "2.9.0", "full": "2.9.0+cu128"},
            "torchaudio 2.9.0 is outside the range <2.12,>=2.11",
            "pip install 'torchaudio<2.12,>=2.11'",
        ),
    ],
    ids=["torch 2.15", "cpu torch", "cu126 torch", "another major CUDA", "both old"],
)
def test_torch_and_torchaudio_that_do_not_fit(
    synthkit_cli: Cli,
    tmp_path: Path,
    torch: dict[str, str],
    torchaudio: dict[str, str],
    sentence: str,
    command: str,
) -> None:
    install(tmp_path / "site", "torch", **torch)
    install(tmp_path / "site", "torchaudio", **torchaudio)
    done = doctor(synthkit_cli, tmp_path / "site")
    assert done.returncode == 1, done.stderr
    assert sentence in done.stdout
    assert f"\n    {command}\n" in done.stdout
    assert "All is well" not in done.stdout
    assert "Traceback" not in done.stderr


def test_from_2_11_1_on_torchaudio_asks_for_the_same_major_cuda_alone(synthkit_cli: Cli, tmp_path: Path) -> None:
    """What the registry gives together since: 2.11.0 refuses to be imported with another minor version, 2.11.1 does not."""
    install(tmp_path / "site", "torch", "2.14.1", full="2.14.1+cu130", cuda="13.0")
    install(tmp_path / "site", "torchaudio", "2.11.1", full="2.11.1+cu132")
    assert doctor(synthkit_cli, tmp_path / "site").returncode == 0
    install(tmp_path / "other", "torch", "2.14.1", full="2.14.1+cu130", cuda="13.0")
    install(tmp_path / "other", "torchaudio", "2.11.0", full="2.11.0+cu132")
    assert doctor(synthkit_cli, tmp_path / "other").returncode == 1


def test_both_without_cuda_fit(synthkit_cli: Cli, tmp_path: Path) -> None:
    install(tmp_path / "site", "torch", "2.14.1+cpu")
    install(tmp_path / "site", "torchaudio", "2.11.0+cpu")
    assert doctor(synthkit_cli, tmp_path / "site").returncode == 0


def test_an_old_dependency_an_old_python_and_a_broken_plugin(synthkit_cli: Cli, tmp_path: Path) -> None:
    site = tmp_path / "site"
    install(site, "numpydoc", "1.0")
    info = site / "synthkit-9.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: synthkit\nVersion: 9.0\nRequires-Python: <3.9\n"
        "Requires-Dist: numpydoc>=2\nRequires-Dist: not-there-at-all>=1\n"
        "Provides-Extra: tensorboard\nRequires-Dist: nor-this>=1; extra == 'tensorboard'\n"
    )
    (info / "entry_points.txt").write_text("[synthkit]\nbuiltin = synthkit.builtin.plugin\nsad = no_such_module_here\n")
    done = doctor(synthkit_cli, site)
    assert done.returncode == 1
    assert "synthkit 9.0" in " ".join(done.stdout.split())
    for sentence in (
        "is outside the range <3.9 that synthkit supports",
        "numpydoc 1.0 is outside the range >=2",
        "pip install 'numpydoc>=2'",
        "not-there-at-all is not installed",
        "pip install 'not-there-at-all>=1'",
        "the plugin 'sad' is broken (import)",
        "optional: pip install 'synthkit[tensorboard]'",
    ):
        assert sentence in done.stdout, sentence
    assert "nor-this is not installed" not in done.stdout


@pytest.mark.skipif(os.name == "nt" or sys.platform == "darwin", reason="the fake nvidia-smi is a shell script")
def test_an_old_nvidia_driver(synthkit_cli: Cli, tmp_path: Path) -> None:
    install(tmp_path / "site", "torch", "2.14.1", full="2.14.1+cu130", cuda="13.0")
    install(tmp_path / "site", "torchaudio", "2.11.0", full="2.11.0+cu130")
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    path = f"{tool.parent}{os.pathsep}{os.environ['PATH']}"
    for driver, code in (("535.183.01", 1), ("580.95.05", 0)):
        tool.write_text(f"#!/bin/sh\necho 'NVIDIA A100-SXM4, 40GB, {driver}'\n")
        tool.chmod(0o755)
        done = doctor(synthkit_cli, tmp_path / "site", PATH=path)
        assert done.returncode == code, done.stdout
        assert f"NVIDIA A100-SXM4, 40GB, driver {driver}" in done.stdout
    assert "All is well" in done.stdout


def test_a_cache_that_is_no_folder(synthkit_cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = synthkit_cli("doctor", SYNTHKIT_CACHE=str(tmp_path / "file" / "cache"))
    assert done.returncode == 1
    assert "cannot be written\n    export SYNTHKIT_CACHE=" in done.stdout
