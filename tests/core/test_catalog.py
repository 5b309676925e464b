"""The catalogue: importing what a plugin declared, and what it says where that is not what it should be."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from synthkit._catalog import Catalog, Offered
from synthkit.config import Config, FeaturesConfig, PartConfig
from synthkit.errors import ConfigError, PluginError, UnknownName
from synthkit.interfaces import Offer, Vocoder

CODE = '''
"""A vocoder that says nothing."""
from pydantic import Field
from synthkit.config import Config, PartConfig
from synthkit.interfaces import Vocoder

class MuteConfig(PartConfig):
    """Settings."""
    channels: int = Field(default=1, ge=1)
    """Channels."""
    mode: str
    """Mode."""

class PlainConfig(Config):
    """Not for a part."""

class Mute(Vocoder):
    """Mute."""
    def __init__(self, config, spec):
        self.config, self.spec = config, spec
    def vocode(self, features, *, random=None, progress=None):
        return features[:, 0] * 0

class Unfinished(Vocoder):
    """No vocode."""

class Stranger:
    """Not a vocoder."""
'''


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Offered]]:
    """Offers of a module that lies in a temporary folder."""
    (tmp_path / "mute_code.py").write_text(CODE, encoding="utf-8")
    (tmp_path / "mute_needy.py").write_text("import not_there_at_all", encoding="utf-8")
    (tmp_path / "mute_leaver.py").write_text("raise SystemExit(3)", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))

    def offer(build: str = "mute_code:Mute", config: str = "mute_code:MuteConfig", extra: str | None = None) -> Offered:
        declared = Offer(kind="vocoder", name="mute", build=build, config=config, summary="Mute.", extra=extra)
        return Offered(offer=declared, plugin="muted", distribution="synthkit-mute", version="1.0")

    yield offer
    for name in ("mute_code", "mute_needy", "mute_leaver"):
        sys.modules.pop(name, None)


def test_classes_are_found(code: Callable[..., Offered]) -> None:
    catalog = Catalog([])
    config = catalog.config_class(code())
    assert issubclass(config, PartConfig)
    vocoder = catalog.build(code(), config(mode="quiet"), "the spec")
    assert isinstance(vocoder, Vocoder)
    assert vocoder.spec == "the spec"


@pytest.mark.parametrize(
    ("build", "message"),
    [
        ("nowhere_at_all:Mute", r"cannot be imported from 'nowhere_at_all': ModuleNotFoundError: No module named 'nowhere"),
        ("mute_needy:Mute", r"cannot be imported from 'mute_needy': ModuleNotFoundError: .*not_there_at_all.*mute_needy\.py:1"),
        ("mute_leaver:Mute", r"cannot be imported from 'mute_leaver': SystemExit: 3"),
        ("mute_code:Mut", r"no 'Mut' in 'mute_code'; did you mean 'Mute'\?"),
        ("mute_code:Stranger", r"'mute_code:Stranger' is not a subclass of synthkit.interfaces.Vocoder"),
        ("mute_code:Unfinished", r"is incomplete: it does not define vocode"),
    ],
)  # fmt: skip
def test_wrong_code_is_said_in_a_sentence(code: Callable[..., Offered], build: str, message: str) -> None:
    with pytest.raises(PluginError, match=message) as error:
        Catalog([]).component_class(code(build=build))
    assert str(error.value).startswith("the code of vocoder 'mute' (plugin 'muted') cannot be")


def test_the_settings_must_be_of_the_kind(code: Callable[..., Offered]) -> None:
    with pytest.raises(
        PluginError, match=r"the settings of vocoder 'mute'.* not a subclass of synthkit.config.PartConfig"
    ):
        Catalog([]).config_class(code(config="mute_code:PlainConfig"))


def test_a_missing_extra_is_named(code: Callable[..., Offered]) -> None:
    with pytest.raises(PluginError, match=r"it needs `pip install 'synthkit-mute\[loud\]'`"):
        Catalog([]).component_class(code(build="mute_needy:Mute", extra="loud"))


def test_shipped_settings_are_of_their_kind() -> None:
    catalog = Catalog.discover()
    assert issubclass(catalog.config_class(catalog.find("features", "log-mel")), FeaturesConfig)
    for offered in catalog.offers():
        assert issubclass(catalog.config_class(offered), Config)
        assert isinstance(catalog.component_class(offered), type)


def test_configure_checks_every_setting() -> None:
    catalog = Catalog.discover()
    offered, config = catalog.configure("features", "log-mel", {"preset": "hifi-gan"})
    assert offered.offer.name == "log-mel"
    assert isinstance(config, FeaturesConfig)
    assert config.spec().log == "ln"
    with pytest.raises(ConfigError) as error:
        catalog.configure("features", "log-mel", {"n_mel": 80, "hop_length": "wide", "power": 3})
    lines = str(error.value).splitlines()
    assert len(lines) == 3
    assert "feature extractor 'log-mel': n_mel: there is no such setting; did you mean 'n_mels'?" in lines
    assert any(line.startswith("feature extractor 'log-mel': hop_length: ") and "'wide'" in line for line in lines)
    with pytest.raises(UnknownName, match=r"did you mean 'log-mel'\?"):
        catalog.configure("features", "logmel", {})


def test_a_missing_setting_is_named(code: Callable[..., Offered]) -> None:
    offered = code()

    class One(Catalog):
        def find(self, kind: str, name: str) -> Offered:  # type: ignore[override]
            return offered

    with pytest.raises(ConfigError, match=r"^vocoder 'mute': mode: this setting is missing$"):
        One([]).configure("vocoder", "mute", {})


def test_discovery_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom synthkit._catalog import Catalog\n"
        "catalog = Catalog.discover()\ncatalog.offers(); catalog.find('vocoder', 'melgan')\n"
        "[catalog.config_class(it) for it in catalog.offers()]\n"
        "print([name for name in ('torch', 'librosa', 'numpy', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
