"""What is installed and what does not fit together, found without importing any of it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

if TYPE_CHECKING:
    from synthkit._catalog import Catalog

_INDEX = "https://download.pytorch.org/whl"
_ROOM = 1 << 30
_OLDEST_DRIVER = {13: 580, 12: 525}
"""Major version of CUDA: the oldest NVIDIA driver on Linux that runs it."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table: what it is, what was found, what is needed, and what is wrong with it."""

    what: str
    found: str
    needed: str = ""
    problem: str = ""
    """A sentence; empty where all is well."""
    mend: str = ""
    """The command that mends it."""


def diagnose(catalog: Catalog) -> list[Row]:
    """All rows of the table. Imports neither torch nor torchaudio."""
    rows = [Row(what="platform", found=f"{platform.system()} {platform.release()}, {platform.machine()}")]
    try:
        own = distribution("synthkit")
    except PackageNotFoundError:
        rows.append(Row(what="synthkit", found="", problem="synthkit is not installed", mend="pip install -e ."))
    else:
        rows += [Row(what="synthkit", found=own.version), _python(own), *_requirements(own)]
    return [*rows, *_torch_pair(), _libsndfile(), _driver(), *_plugins(catalog), _cache()]


@dataclass(frozen=True)
class Build:
    """An installed torch or torchaudio: its version, and the CUDA it was built for (None: for the processor alone)."""

    version: str
    cuda: str | None

    @classmethod
    def of(cls, name: str) -> Build | None:
        """Read the `version.py` in the package, because the metadata of wheels from PyPI lack the CUDA version."""
        try:
            found = distribution(name)
        except PackageNotFoundError:
            return None
        file = Path(str(found.locate_file(f"{name}/version.py")))
        text = file.read_text("utf-8", errors="replace") if file.is_file() else ""
        full = re.search(r"^__version__\s*=\s*['\"]([^'\"]+)", text, flags=re.MULTILINE)
        version = full[1] if full else found.version
        stated = re.search(r"^cuda\b[^=]*=\s*['\"](\d+\.\d+)", text, flags=re.MULTILINE)
        tag = re.search(r"\+cu(\d+)(\d)$", version)
        return cls(version, stated[1] if stated else f"{tag[1]}.{tag[2]}" if tag else None)

    def __str__(self) -> str:
        return f"{self.version} ({f'CUDA {self.cuda}' if self.cuda else 'no CUDA'})"

    @property
    def index(self) -> str:
        """The index that has builds of the same kind."""
        return f"{_INDEX}/{'cu' + self.cuda.replace('.', '') if self.cuda else 'cpu'}"


def _python(own: Distribution) -> Row:
    needed = str(own.metadata.json.get("requires_python", ""))
    found = platform.python_version()
    if SpecifierSet(needed).contains(found, prereleases=True):
        return Row(what="python", found=found, needed=needed)
    problem = f"Python {found} is outside the range {needed} that synthkit supports"
    return Row(what="python", found=found, needed=needed, problem=problem, mend="python3.11 -m venv .venv")


def _requirements(own: Distribution) -> Iterator[Row]:
    for text in own.requires or ():
        requirement = Requirement(text)
        extra = re.search(r"extra\s*==\s*['\"]([\w-]+)['\"]", str(requirement.marker or ""))
        if requirement.marker and not requirement.marker.evaluate({"extra": extra[1] if extra else ""}):
            continue
        if extra and extra[1] == "dev":
            continue
        yield _requirement(requirement, extra[1] if extra else None)


def _requirement(requirement: Requirement, extra: str | None) -> Row:
    name, needed = requirement.name, str(requirement.specifier)
    install = f"pip install '{name}{needed}'"
    try:
        version = distribution(name).version
    except PackageNotFoundError:
        if extra:
            return Row(what=name, found="", needed=f"optional: pip install 'synthkit[{extra}]'")
        return Row(what=name, found="", needed=needed, problem=f"{name} is not installed", mend=install)
    build = Build.of(name) if name in ("torch", "torchaudio") else None
    found = str(build or version)
    try:
        fits = requirement.specifier.contains(Version(version), prereleases=True)
    except InvalidVersion:
        fits = False
    if fits:
        return Row(what=name, found=found, needed=needed)
    problem = f"{name} {version} is outside the range {needed} that synthkit works with"
    if name == "torch" and Version(version).release >= (2, 15):
        problem += ": torchaudio 2.11.0 cannot be imported with it, and later ones have not been tried"
    return Row(what=name, found=found, needed=needed, problem=problem, mend=install)


def _alike(torch: Build, torchaudio: Build) -> bool:
    """Whether torchaudio takes torch's CUDA for its own: from 2.11.1 on the major versions have to agree, before that both numbers."""
    if torchaudio.cuda is None or torch.cuda == torchaudio.cuda:
        return True
    lenient = Version(torchaudio.version) >= Version("2.11.1")
    return lenient and torch.cuda is not None and torch.cuda.split(".")[0] == torchaudio.cuda.split(".")[0]


def _torch_pair() -> Iterator[Row]:
    """torchaudio refuses to be imported where its CUDA differs from torch's, and where torch has none but it has."""
    torch, torchaudio = Build.of("torch"), Build.of("torchaudio")
    if torch is None or torchaudio is None or _alike(torch, torchaudio):
        return
    base = torchaudio.version.partition("+")[0]
    yield Row(
        what="torch and torchaudio",
        found=f"{torch} and {torchaudio}",
        problem=f"torch {torch.version} and torchaudio {torchaudio.version} are built for different CUDA versions: "
        "importing torchaudio fails",
        mend=f"pip install --force-reinstall --no-deps torchaudio=={base} --index-url {torch.index}",
    )


def _libsndfile() -> Row:
    try:
        import soundfile
    except (ImportError, OSError) as error:
        problem = f"soundfile cannot load libsndfile: {error}"
        mend = "pip install --force-reinstall soundfile"
        return Row(what="libsndfile", found="", problem=problem, mend=mend)
    return Row(what="libsndfile", found=str(soundfile.__libsndfile_version__))


def _driver() -> Row:
    if sys.platform == "darwin":
        return Row(what="GPU", found="Metal (mps)" if platform.machine() == "arm64" else "none")
    tool = shutil.which("nvidia-smi")
    lines: list[str] = []
    if tool:
        query = [tool, "--query-gpu=name,driver_version", "--format=csv,noheader"]
        try:
            done = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return Row(what="GPU", found="none: nvidia-smi does not answer")
        lines = done.stdout.strip().splitlines() if done.returncode == 0 else []
    if not lines:
        return Row(what="GPU", found="none: torch uses the processor")
    return _judge_driver(lines[0], Build.of("torch"))


def _judge_driver(line: str, torch: Build | None) -> Row:
    name, _, driver = (part.strip() for part in line.rpartition(","))
    found = f"{name}, driver {driver}"
    if torch is None or torch.cuda is None:
        return Row(what="GPU", found=f"{found}; not used: this torch is built without CUDA")
    oldest = _OLDEST_DRIVER.get(int(torch.cuda.partition(".")[0]))
    major = re.match(r"\d+", driver)
    if oldest is None or major is None or int(major[0]) >= oldest:
        return Row(what="GPU", found=found)
    problem = f"the NVIDIA driver {driver} is too old for CUDA {torch.cuda}, which needs {oldest} or newer"
    base = torch.version.partition("+")[0]
    mend = f"update the driver, or: pip install torch=={base} torchaudio==2.11.0 --index-url {_INDEX}/cu126"
    return Row(what="GPU", found=found, needed=f"driver >= {oldest}", problem=problem, mend=mend)


def _plugins(catalog: Catalog) -> Iterator[Row]:
    from synthkit._plugins import declared_but_not_installed

    yield Row(what="plugins", found=", ".join(it.plugin for it in catalog.loaded) or "none")
    for row in catalog.broken:
        found = " ".join(filter(None, (row.plugin, row.version)))
        mend = (
            f"pip install --force-reinstall --no-deps {row.distribution}" if row.distribution else f"mend {row.plugin}"
        )
        problem = f"the plugin {row.plugin!r} is broken ({row.moment}): {row.error}"
        yield Row(
            what="plugin", found=found, problem=problem, mend=f"{mend}   (synthkit plugins {row.plugin} has more)"
        )
    for clash in catalog.clashes:
        yield Row(what="plugin", found=", ".join(clash.plugins), problem=str(clash), mend="synthkit plugins")
    for name in declared_but_not_installed():
        problem = f"pyproject.toml declares the plugin {name!r}, which is not installed"
        yield Row(what="plugin", found=name, problem=problem, mend="pip install -e .")


def _cache() -> Row:
    from synthkit.storage import cache_root

    folder = cache_root()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    mend = "export SYNTHKIT_CACHE=/a/folder/with/room"
    if not (existing.is_dir() and os.access(existing, os.W_OK)):
        problem = f"the cache folder {str(folder)!r} cannot be written"
        return Row(what="cache", found=str(folder), problem=problem, mend=mend)
    free = shutil.disk_usage(existing).free
    found = f"{folder}, {free / 1e9:.1f} GB free"
    if free < _ROOM:
        return Row(what="cache", found=found, problem="the cache has less than 1 GB of room", mend=mend)
    return Row(what="cache", found=found)
