"""What all tests share: the developers' audio (skipped where absent) and the command line as a real process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

# Tests run side by side on all cores: more threads in each would only get in each other's way.
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"


@pytest.fixture(scope="session")
def root() -> Path:
    """The root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The developers' shared folder with real audio and reference numbers."""
    if not SHARED.is_dir():
        pytest.skip("the developers' shared folder with real audio is not beside this checkout")
    return SHARED


@pytest.fixture
def synthkit_cli(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`synthkit ARGS` as a real process, in a temporary working folder with a cache of its own."""

    def call(
        *args: str | Path, cwd: Path = tmp_path, timeout: float = 300, **env: str
    ) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "SYNTHKIT_CACHE": str(tmp_path / "cache"),
            "COLUMNS": "200",
            "NO_COLOR": "1",
            **env,
        }
        command = [sys.executable, "-m", "synthkit", *map(str, args)]
        return subprocess.run(
            command,
            cwd=cwd,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    return call


@pytest.fixture(scope="session")
def fake_distribution() -> Callable[..., None]:
    """Makes a folder look like one with an installed distribution: its metadata, its entry points and its modules.

    With the folder on the path (`PYTHONPATH`, `monkeypatch.syspath_prepend`) Python finds them as it finds those of pip.
    """

    def make(
        folder: Path, name: str, plugins: Mapping[str, str], modules: Mapping[str, str], version: str = "1.0"
    ) -> None:
        metadata = folder / f"{name.replace('-', '_')}-{version}.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8"
        )
        points = "\n".join(f"{plugin} = {module}" for plugin, module in plugins.items())
        (metadata / "entry_points.txt").write_text(f"[synthkit]\n{points}\n", encoding="utf-8")
        for module, text in modules.items():
            file = folder / f"{module.replace('.', '/')}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")

    return make


@pytest.fixture(scope="session")
def make_environment() -> Callable[..., Path]:
    """Makes an environment with distributions of its own, which borrows everything else from this one.

    Returns its Python. Nothing is downloaded, and the folders of the distributions are copied before they are built.
    """

    def run(*command: str | Path) -> str:
        done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout.strip()

    def make(folder: Path, *distributions: Path) -> Path:
        run(sys.executable, "-m", "venv", "--without-pip", folder)
        python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
        own = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"))
        lines = [f"import site; site.addsitedir({path!r})" for path in sys.path if path.endswith("site-packages")]
        (own / "borrowed.pth").write_text("\n".join(lines), encoding="utf-8")
        copies = [shutil.copytree(it, folder / "sources" / it.name) for it in distributions]
        pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--disable-pip-version-check"]
        run(*pip, "--no-deps", "--no-index", "--no-build-isolation", *copies)
        return python

    return make
