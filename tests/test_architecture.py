"""The house rules that a linter does not know."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from synthkit import hookspecs
from synthkit._catalog import Catalog
from synthkit._cli.main import COMMANDS
from synthkit.config import Config, field_docs

ROOT = Path(__file__).resolve().parents[1]
SOURCES = [file for folder in ("synthkit", "plugins") for file in sorted((ROOT / folder).rglob("*.py"))]
HEAVY = ("torch", "torchaudio", "librosa", "matplotlib", "scipy", "numba")


def relative(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def test_the_tree_is_the_one_of_the_readme() -> None:
    assert len(SOURCES) > 50
    assert {"synthkit", "plugins", "recipes", "tests", "examples", "benchmarks", "docs"} <= {
        path.name for path in ROOT.iterdir()
    }
    assert not (ROOT / "tests" / "__init__.py").exists()  # it would shadow the tests of a plugin


@pytest.mark.parametrize("plugin", sorted((ROOT / "plugins").glob("synthkit_*")), ids=lambda folder: folder.name)
def test_every_shipped_plugin_has_the_same_files(plugin: Path) -> None:
    names = {file.name for file in plugin.glob("*.py")}
    assert {"__init__.py", "plugin.py", "config.py"} <= names
    assert names & {"vocoder.py", "model.py", "converter.py", "dataset.py", "features.py"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert f"plugins/{plugin.name}" in project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert f"{plugin.name}.plugin" in project["project"]["entry-points"]["synthkit"].values()


@pytest.mark.parametrize("file", SOURCES, ids=relative)
def test_files_can_be_read_in_one_sitting(file: Path) -> None:
    lines = file.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 450
    tree = ast.parse("\n".join(lines))
    if lines:
        assert ast.get_docstring(tree), f"{relative(file)} does not say what it is"
    long = [
        f"{node.name}: {node.end_lineno - node.lineno}"
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.end_lineno and node.end_lineno - node.lineno > 75
    ]
    assert long == []


@pytest.mark.parametrize("file", SOURCES, ids=relative)
def test_nothing_is_swallowed_and_nothing_global_is_seeded(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    bare = [node.lineno for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler) and node.type is None]
    silent = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler)
        and isinstance(node.type, ast.Name)
        and node.type.id in ("Exception", "BaseException")
        and all(isinstance(statement, ast.Pass) for statement in node.body)
    ]
    seeds = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("np.random.seed", "numpy.random.seed", "random.seed", "torch.random.manual_seed")
    ]
    assert (bare, silent, seeds) == ([], [], [])


def test_nothing_is_unpickled_that_could_run_code() -> None:
    for file in SOURCES:
        text = file.read_text(encoding="utf-8")
        if relative(file) != "synthkit/_data/pool.py":  # it unpickles what it has just pickled, in its own children
            assert "import pickle" not in text, relative(file)
        for call in re.findall(r"(?<!safetensors\.)torch\.load\([^)]*\)", text):
            assert "weights_only=True" in call, f"{relative(file)}: {call}"
        assert not re.search(r"(?<![\w.])eval\(", text), relative(file)


def test_torchaudio_never_touches_files() -> None:
    banned = re.compile(r"torchaudio\.(load|save|info|datasets|io)\b")
    assert [relative(file) for file in SOURCES if banned.search(file.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize(
    "module",
    ["synthkit", "synthkit.errors", "synthkit.specs", "synthkit.config", "synthkit.interfaces", "synthkit.presets", "synthkit.hookspecs",
     "synthkit._catalog", "synthkit._recipe.load", "synthkit._run.folder", "synthkit._cli.main", "synthkit.builtin.plugin",
     "synthkit_griffin_lim.plugin", "synthkit_griffin_lim.config",
     *(f"synthkit_{name}.{module}" for name in ("melgan", "melgan_vc", "melnet", "cmelgan", "spectrogram_gan")
       for module in ("plugin", "config"))],
)  # fmt: skip
def test_light_modules_import_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def offers() -> list[object]:
    return list(Catalog.discover().offers())


def test_every_offer_can_be_imported_and_is_documented() -> None:
    catalog = Catalog.discover()
    assert len(catalog.offers()) >= 14
    for offered in catalog.offers():
        config = catalog.config_class(offered)
        component = catalog.component_class(offered)
        assert inspect.getdoc(component), offered.offer.name
        assert offered.offer.summary.endswith("."), offered.offer.name
        assert list(config.model_fields) == list(field_docs(config)), f"{offered.offer.name}: fields without docstrings"


def test_every_command_and_hook_is_documented() -> None:
    for name, (module, summary) in COMMANDS.items():
        command = importlib.import_module(f"synthkit._cli.{module}").command
        assert command.help, name
        assert summary.endswith("."), name
    for name in (
        "synthkit_components",
        "synthkit_commands",
        "synthkit_stage_started",
        "synthkit_stage_finished",
        "synthkit_checkpoint_saved",
    ):
        assert inspect.getdoc(getattr(hookspecs, name)), name


def configs() -> Iterator[type[Config]]:
    from synthkit._recipe import model

    for value in vars(model).values():
        if isinstance(value, type) and issubclass(value, Config) and value is not Config:
            yield value


def test_every_setting_of_the_core_is_documented() -> None:
    undocumented = [
        f"{config.__name__}.{name}"
        for config in configs()
        for name in config.model_fields
        if name not in field_docs(config)
    ]
    assert undocumented == []


def test_nothing_names_a_machine() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("this tree is not a git checkout")
    names = [
        name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file() and not name.endswith(".png")
    ]
    pattern = re.compile("|".join(["/wo" + "rk/", "/ro" + "ot/", r"\.libr" + "ary", "bash_" + "jobs"]))
    assert [name for name in names if pattern.search((ROOT / name).read_text(encoding="utf-8"))] == []
