"""The battery of settings and declarations, its errors, and what is shipped with the core."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field, field_serializer
from torch import Tensor

from synthkit._catalog import Catalog
from synthkit.builtin.config import LogMelConfig
from synthkit.builtin.log_mel import LogMel
from synthkit.config import Config
from synthkit.specs import FeatureSpec
from synthkit.testing import Check, battery, check_config, check_features, check_offers, declaration

SPEC = FeatureSpec(sample_rate=16000, n_fft=256, hop_length=64, n_mels=12)


def find(checks: list[Check], name: str) -> Check:
    return next(check for check in checks if check.name == name)


def test_a_check_without_pytest_lists_every_broken_law() -> None:
    class Both(LogMel):
        def extract(self, samples: Tensor) -> Tensor:
            return super().extract(samples + 0.01).double()

    with pytest.raises(AssertionError) as caught:
        check_features(lambda: Both(LogMelConfig()))
    assert [line.split(":")[0] for line in str(caught.value).splitlines()] == ["features-values", "features-silence"]


def test_an_unknown_kind_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"did you mean 'vocoder'\?"):
        battery("vocoders", LogMel)  # type: ignore[arg-type]


# --- settings and declarations --------------------------------------------------------------------------------------


class Undocumented(Config):
    """Settings."""

    size: int = 1


class Nested(Config):
    """Settings."""

    inner: Undocumented = Undocumented()
    """More."""


class Rounding(Config):
    """Settings."""

    rate: float = 0.25
    """Rate."""

    @field_serializer("rate")
    def _rounded(self, rate: float) -> float:
        return round(rate)


class Loose(Config):
    """Settings."""

    model_config = Config.model_config | {"extra": "allow"}  # type: ignore[assignment]
    size: int = Field(default=1)
    """Size."""


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (Undocumented(), "Undocumented.size has no docstring below it"),
        (Nested(), "Nested.inner.size has no docstring"),
        (Rounding(), "config-through-json"),
        (Loose(), "extra='allow', not 'forbid'"),
    ],
)
def test_settings_are_checked(config: Config, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_config(config)


def test_an_extractor_must_keep_its_settings_promise() -> None:
    config = LogMelConfig(preset="melgan")
    promise = find(
        battery("features", lambda: LogMel(LogMelConfig(preset="hifi-gan")), config=config), "features-promised-spec"
    )
    with pytest.raises(AssertionError, match="f_max"):
        promise()


DECLARED = """
from synthkit.hookspecs import hookimpl
from synthkit.interfaces import Offer
{extra}
@hookimpl
def {hook}():
    return [Offer(kind="tracker", name="notes", build="{build}", config="{config}", summary="Notes.")]
"""
RIGHT = {
    "extra": "",
    "hook": "synthkit_components",
    "build": "synthkit.builtin.trackers:JsonLines",
    "config": "synthkit.builtin.config:TrackerConfig",
}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({}, None),
        ({"hook": "synthkit_component"}, "plugin-hooks.*unknown hook 'synthkit_component'"),
        ({"extra": "import torch"}, "plugin-lightness.*it imports torch"),
        ({"extra": "import synthkit.builtin.trackers"}, "plugin-lightness.*it imports synthkit.builtin.trackers"),
        ({"config": "synthkit.builtin.config:Nothing"}, "plugin-settings.*no 'Nothing'"),
        ({"build": "synthkit.builtin.metrics:MelL1"}, "plugin-code.*not a subclass of synthkit.interfaces.Tracker"),
        ({"build": "nowhere_at_all:Notes"}, "plugin-code.*cannot be imported"),
    ],
)
def test_declarations_are_checked(
    wrong: dict[str, str], message: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: Any
) -> None:
    name = f"declared_{request.node.callspec.indices['wrong']}"
    (tmp_path / f"{name}.py").write_text(DECLARED.format(**{**RIGHT, **wrong}), encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    if message is None:
        check_offers(name)
    else:
        with pytest.raises(AssertionError, match=message):
            check_offers(name)


# --- what is shipped, beside what its own tests already try ---------------------------------------------------------


def shipped() -> list[Check]:
    catalog = Catalog.discover()

    def build(kind: Any, name: str, *arguments: Any) -> Callable[..., Any]:
        offered, config = catalog.configure(kind, name, {})
        return lambda *more: catalog.build(offered, config, *arguments, *more)

    found = battery("features", build("features", "log-mel"), config=LogMelConfig())
    found += battery("dataset", build("dataset", "tones"), clips=3)
    for kind in ("metric", "tracker"):
        for offered in catalog.offers(kind):  # type: ignore[arg-type]
            arguments = (LogMelConfig().spec(),) if kind == "metric" else ()
            found += battery(kind, build(kind, offered.offer.name, *arguments))  # type: ignore[arg-type]
    return found + declaration("synthkit.builtin.plugin")


@pytest.mark.parametrize("check", shipped(), ids=str)
def test_shipped_components_keep_the_laws(check: Check) -> None:
    check()


def test_the_example_of_a_single_file_keeps_the_laws(root: Path) -> None:
    catalog = Catalog.discover([root / "examples" / "band_gaussian.py"])
    model, settings = catalog.configure("model", "band-gaussian", {})
    objective, learning = catalog.configure("objective", "band-likelihood", {})

    def build() -> Any:
        return catalog.build(model, settings, SPEC, ("high", "low"))

    checks = battery("model", build, config=settings)
    checks += battery("objective", lambda engine: catalog.build(objective, learning, build(), engine), config=learning)
    for check in checks:
        check()
