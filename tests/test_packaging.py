"""A wheel built from the tree installs and works outside the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def call(command: list[str], **options: object) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=400, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return str(done.stdout)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    call([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], cwd=ROOT)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that has the wheel, and borrows everything else from this one."""
    folder = tmp_path_factory.mktemp("environment")
    call([sys.executable, "-m", "venv", "--without-pip", str(folder)])
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    call([sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", "-q", str(wheel)])
    own = Path(call([str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]).strip())
    # A plain line, so that the .pth of this environment's editable synthkit is not followed.
    borrowed = [path for path in sys.path if path.endswith("site-packages")]
    (own / "borrowed.pth").write_text("\n".join(borrowed), encoding="utf-8")
    return python


def test_the_wheel_holds_code_plugins_recipes_and_data_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "synthkit",
        "synthkit_cmelgan",
        "synthkit_fma",
        "synthkit_griffin_lim",
        "synthkit_gtzan",
        "synthkit_melgan",
        "synthkit_melgan_vc",
        "synthkit_melnet",
        "synthkit_spectrogram_gan",
    }
    assert "synthkit/py.typed" in names
    assert "synthkit/_recipe/shipped/quickstart.yaml" in names
    assert {"synthkit_gtzan/facts.json", "synthkit_fma/faults.json"} <= set(names)
    assert any(name.endswith(".html") or name.endswith(".css") for name in names)  # the report's template


def test_nothing_of_the_checkout_is_used(installed: Path, tmp_path: Path) -> None:
    code = "import synthkit, synthkit_melgan, synthkit_griffin_lim as g; print(synthkit.__file__, synthkit_melgan.__file__, g.__file__)"
    files = call([str(installed), "-c", code], cwd=tmp_path).split()
    assert len(files) == 3
    assert all(Path(file).is_relative_to(installed.parents[1]) for file in files)


@pytest.mark.slow
def test_it_runs_the_quickstart_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "SYNTHKIT_CACHE": str(tmp_path / "cache"), "COLUMNS": "200"}
    synthkit = [str(installed.with_name("synthkit"))]
    plugins = call([*synthkit, "plugins"], cwd=tmp_path, env=environment)
    assert all(name in plugins for name in ("builtin", "griffin_lim", "melgan"))
    out = call([*synthkit, "run", "quickstart", "--tiny"], cwd=tmp_path, env=environment)
    run = tmp_path / "runs" / "quickstart-tiny"
    assert str(run / "report.html") in out
    assert (run / "report.html").stat().st_size > 10_000
    assert len(list((run / "generated").glob("*.wav"))) >= 3
