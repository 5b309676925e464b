"""Discovery: every plugin is tried alone, and whatever it does wrong is a row with a reason."""

from __future__ import annotations

import logging
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from synthkit._catalog import Catalog
from synthkit._plugins import Broken, declared_but_not_installed, reason_of
from synthkit.errors import PluginError, UnknownName

PYPROJECT = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text("utf-8"))
SHIPPED = sorted(PYPROJECT["project"]["entry-points"]["synthkit"])

HEAD = "from synthkit.hookspecs import hookimpl\nfrom synthkit.interfaces import Command, Offer\n"
OFFER = "Offer(kind='vocoder', name='hum', build='hum_code:Hum', config='hum_code:HumConfig', summary='Hums.')"
GOOD = f"{HEAD}\n@hookimpl\ndef synthkit_components():\n    return [{OFFER}]\n"

Install = Callable[..., Catalog]


def components(body: str) -> str:
    return f"{HEAD}\n@hookimpl\ndef synthkit_components():\n    {body}\n"


@pytest.fixture
def install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fake_distribution: Callable[..., None]
) -> Iterator[Install]:
    """Puts distributions of one plugin module each on the path, and discovers."""
    known = set(sys.modules)

    def discover(**sources: str) -> Catalog:
        for plugin, text in sources.items():
            fake_distribution(tmp_path, f"dist-{plugin}", {plugin: f"module_{plugin}"}, {f"module_{plugin}": text})
        monkeypatch.syspath_prepend(str(tmp_path))
        return Catalog.discover()

    yield discover
    for name in set(sys.modules) - known:
        if name.startswith(("module_", "hum_", "synthkit_file_")):
            del sys.modules[name]


def rows(catalog: Catalog) -> dict[str, Broken]:
    return {row.plugin: row for row in catalog.broken}


def test_shipped_plugins_come_through_the_entry_points() -> None:
    catalog = Catalog.discover()
    assert [it.plugin for it in catalog.loaded] == SHIPPED
    assert {it.distribution for it in catalog.loaded} == {"synthkit"}
    assert catalog.broken == ()


def test_a_foreign_plugin_comes_after_the_shipped_ones(install: Install) -> None:
    catalog = install(alpha=GOOD)
    offered = catalog.find("vocoder", "hum")
    assert (offered.plugin, offered.distribution, offered.version) == ("alpha", "dist-alpha", "1.0")
    assert catalog.find("vocoder", "alpha/hum") == offered
    assert [it.plugin for it in catalog.loaded] == [*SHIPPED, "alpha"]


BROKEN = {
    "missing_import": ("import not_there_at_all", "import", "ModuleNotFoundError: No module named 'not_there_at_all'"),
    "syntax": ("def f(:\n    pass", "import", "SyntaxError: invalid syntax"),
    "leaves": ("import sys\nsys.exit('goodbye')", "import", "it ends the program: SystemExit: goodbye"),
    "misspelt": (GOOD.replace("synthkit_components", "synthkit_component"), "hooks", "did you mean 'synthkit_components'?"),
    "half_way": (
        components(f"yield {OFFER}\n    raise RuntimeError('half-way')"),
        "components",
        "RuntimeError: half-way (",
    ),
    "wrong_argument": (GOOD.replace("components()", "components(nonsense)"), "hooks", "nonsense"),
    "unmarked": (GOOD.replace("@hookimpl", ""), "hooks", "is not marked with @synthkit.hookimpl"),
    "empty": ("", "hooks", "it implements no hook"),
    "forgot_return": (components("[]"), "components", "returned None; it must return a list of Offer"),
    "strings": (components("return ['hum']"), "components", "must return a list of Offer, but it has 'hum'"),
    "number": (components("return 7"), "components", "TypeError: 'int' object is not iterable"),
    "odd_kind": (components(f"return [{OFFER.replace('vocoder', 'vocodre')}]"), "components", "did you mean 'vocoder'?"),
    "odd_name": (components(f"return [{OFFER.replace(chr(39) + 'hum' + chr(39), repr('My Hum'))}]"), "components", "lower-case"),
    "odd_build": (components(f"return [{OFFER.replace('hum_code:Hum', 'hum_code.Hum')}]"), "components", "'package.module:Class'"),
    "twice": (components(f"return [{OFFER}, {OFFER}]"), "components", "the vocoder 'hum' is offered twice"),
    "odd_command": (
        f"{HEAD}\n@hookimpl\ndef synthkit_commands():\n    return [Command(name='x', load='nowhere', summary='X.')]\n",
        "commands",
        "load of the command 'x' must be a string like",
    ),
    "unspeakable": (
        "class Odd(Exception):\n    def __str__(self):\n        raise ValueError\nraise Odd",
        "import",
        "Odd: (its message cannot be shown)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_plugin_is_a_row_and_hurts_nobody(case: str, install: Install) -> None:
    text, moment, reason = BROKEN[case]
    catalog = install(**{f"aaa_{case}": text, "zzz": GOOD})
    row = rows(catalog)[f"aaa_{case}"]
    assert (row.distribution, row.version, row.moment) == (f"dist-aaa_{case}", "1.0", moment)
    assert reason in row.error
    assert "\n" not in row.error
    assert len(catalog.broken) == 1
    assert catalog.find("vocoder", "hum").plugin == "zzz"
    assert catalog.find("vocoder", "melgan").plugin == "melgan"


def test_a_reason_says_where(install: Install, tmp_path: Path) -> None:
    catalog = install(bad="x = 1\nx.y\n")
    assert rows(catalog)["bad"].error.endswith(f"({tmp_path / 'module_bad.py'}:2)")


def test_ctrl_c_goes_through(install: Install) -> None:
    with pytest.raises(KeyboardInterrupt):
        install(slow="raise KeyboardInterrupt")


def test_two_distributions_with_one_entry_point_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fake_distribution: Callable[..., None]
) -> None:
    """pluggy's loader skips the second without a word."""
    # The folder of the later name is first on the path: neither path nor disk decides who keeps the name.
    for folder, name in (("one", "zzz-dist"), ("two", "aaa-dist")):
        module = f"module_{name[:3]}"
        fake_distribution(
            tmp_path / folder, name, {"twin": module}, {module: GOOD.replace("'hum'", f"'hum-{name[:3]}'")}
        )
        monkeypatch.syspath_prepend(str(tmp_path / folder))
    catalog = Catalog.discover()
    assert catalog.find("vocoder", "hum-aaa").distribution == "aaa-dist"
    (row,) = catalog.broken
    assert (row.plugin, row.distribution, row.moment) == ("twin", "zzz-dist", "discovery")
    assert row.error == "the distribution 'aaa-dist' already has a plugin 'twin'; uninstall one of them"
    with pytest.raises(UnknownName, match=r"it may come from the plugin 'twin', which is broken"):
        catalog.find("vocoder", "hum-zzz")


def test_nobody_takes_a_shipped_plugins_name(install: Install) -> None:
    catalog = install(melgan=GOOD)
    assert catalog.find("vocoder", "melgan").distribution == "synthkit"
    assert rows(catalog)["melgan"].distribution == "dist-melgan"


def test_two_plugins_may_offer_one_name(install: Install) -> None:
    catalog = install(alpha=GOOD, beta=GOOD)
    assert catalog.broken == ()
    with pytest.raises(UnknownName, match=r"offered by the plugins alpha and beta; write alpha/hum or beta/hum"):
        catalog.find("vocoder", "hum")
    assert catalog.find("vocoder", "beta/hum").plugin == "beta"
    (clash,) = catalog.clashes
    assert (clash.kind, clash.name, clash.plugins) == ("vocoder", "hum", ("alpha", "beta"))


def test_the_same_name_for_two_kinds_is_no_clash() -> None:
    catalog = Catalog.discover()
    assert catalog.find("vocoder", "melgan").offer.kind == "vocoder"
    assert catalog.find("objective", "melgan").offer.kind == "objective"
    assert catalog.clashes == ()


def test_unknown_names_get_the_nearest_and_the_broken(install: Install) -> None:
    catalog = install(bad="import not_there_at_all")
    with pytest.raises(UnknownName) as error:
        catalog.find("vocoder", "melgna")
    assert str(error.value).startswith(
        "there is no vocoder 'melgna'; did you mean 'melgan'?; it may come from the plugin 'bad'"
    )
    assert "ModuleNotFoundError" in str(error.value)
    with pytest.raises(UnknownName, match=r"there is no feature extractor"):
        catalog.find("features", "bad/whatever")


def test_synthkit_plugins_restricts(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTHKIT_PLUGINS", "builtin, alpha, melgann")
    catalog = install(alpha=GOOD, beta="import not_there_at_all")
    assert [it.plugin for it in catalog.loaded] == ["builtin", "alpha"]
    (row,) = catalog.broken
    assert row.error == (
        "SYNTHKIT_PLUGINS names 'melgann', but no installed distribution has this plugin; did you mean 'melgan'?"
    )
    monkeypatch.setenv("SYNTHKIT_PLUGINS", "")
    assert len(Catalog.discover().loaded) == len(SHIPPED) + 1


def test_without_installed_metadata_the_way_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synthkit._plugins.entry_points", lambda group: [])
    catalog = Catalog.discover()
    with pytest.raises(UnknownName, match=r"install it again: `pip install -e .`"):
        catalog.find("vocoder", "melgan")
    assert declared_but_not_installed() == tuple(SHIPPED)
    plugins = "builtin, cmelgan, fma, griffin_lim, gtzan, melgan, melgan_vc, melnet, spectrogram_gan"
    with pytest.raises(UnknownName, match=f"declares the plugins {plugins}, which are not installed"):
        catalog.find("vocoder", "melgan")


def test_the_checkout_declares_what_is_installed() -> None:
    assert declared_but_not_installed() == ()


def test_a_file_is_a_plugin(install: Install, tmp_path: Path) -> None:
    file = tmp_path / "my-hum.py"
    file.write_text(GOOD.replace("'hum_code:Hum'", "f'{__name__}:Hum'"), encoding="utf-8")
    catalog = Catalog.discover([file])
    offered = catalog.find("vocoder", "my-hum/hum")
    assert (offered.distribution, offered.version) == ("", "")
    assert offered.offer.build == "synthkit_file_my_hum:Hum"
    assert catalog.files == (file,)
    # Another process finds the same plugins again from the catalogue itself.
    rebuild, arguments = catalog.__reduce__()
    assert rebuild(*arguments).find("vocoder", "hum") == offered


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"absent\.py' does not exist"):
        Catalog.discover([tmp_path / "absent.py"])


def test_a_broken_file_is_a_row_and_a_warning(
    install: Install, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "bad_file.py"
    file.write_text("import not_there_at_all", encoding="utf-8")
    with caplog.at_level(logging.WARNING, logger="synthkit"):
        catalog = Catalog.discover([file])
    assert rows(catalog)["bad_file"].moment == "import"
    assert f"the plugin file {file} cannot be used: ModuleNotFoundError" in caplog.text
    assert "synthkit_file_bad_file" not in sys.modules


def test_a_file_may_not_have_an_installed_plugins_name(install: Install, tmp_path: Path) -> None:
    file = tmp_path / "melgan.py"
    file.write_text(GOOD, encoding="utf-8")
    (row,) = Catalog.discover([file]).broken
    assert row.error == "the distribution 'synthkit' already has a plugin 'melgan'; rename the file"


WATCHER = f"""{HEAD}
seen = []

@hookimpl
def synthkit_stage_started(stage):
    seen.append(stage)
    if stage == 'train':
        raise RuntimeError('the observer fell asleep')
"""


def test_an_observer_that_fails_is_logged_once_and_switched_off(
    install: Install, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    catalog = install(alpha=WATCHER, beta=WATCHER.replace("'train'", "'never'"))
    with caplog.at_level(logging.WARNING, logger="synthkit"):
        for stage in ("prepare", "train", "generate", "report"):
            catalog.notify("synthkit_stage_started", run=tmp_path, stage=stage)
    assert sys.modules["module_alpha"].seen == ["prepare", "train"]
    assert sys.modules["module_beta"].seen == ["prepare", "train", "generate", "report"]
    assert [record.message for record in caplog.records] == [
        "the plugin 'alpha' failed in synthkit_stage_started and is told nothing more: "
        f"RuntimeError: the observer fell asleep ({tmp_path / 'module_alpha.py'}:10)"
    ]


def test_only_watching_hooks_are_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"did you mean 'synthkit_stage_started'"):
        Catalog([]).notify("synthkit_stage_start", run=tmp_path, stage="train")
    with pytest.raises(ValueError, match=r"not a watching hook"):
        Catalog([]).notify("synthkit_components")


def test_a_reason_is_one_line() -> None:
    assert reason_of(ValueError()) == "ValueError"
    assert reason_of(OSError(2, "No such file", "a\nb")) == "FileNotFoundError: [Errno 2] No such file: 'a\\nb'"
