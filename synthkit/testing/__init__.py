"""The conformance battery: the laws that every component keeps, to run on your own.

A battery is a list of checks, one for each law; pytest runs each as a test of its own:

    from synthkit.testing import battery, declaration

    @pytest.mark.parametrize("check", battery("vocoder", lambda: Hum(HumConfig(), SPEC)), ids=str)
    def test_the_laws_of_vocoders(check): check()

    @pytest.mark.parametrize("check", declaration("synthkit_hum.plugin"), ids=str)
    def test_the_declaration(check): check()

`build` is always a function that builds the component anew, because some laws compare two of them. It takes no argument, but
for a tracker, which is given its folder, and an objective, which is given its engine and builds its component too:

    battery("objective", lambda engine: HumObjective(HumObjectiveConfig(), Hum(HumConfig(), SPEC), engine))

Without pytest, `check_vocoder(build)` and its siblings run a whole battery and raise one `AssertionError` that lists every
law that is broken. Components are built and tried on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from synthkit.config import Config
from synthkit.errors import nearest
from synthkit.interfaces import (
    KINDS,
    Batch,
    Converter,
    Dataset,
    Embedding,
    FeatureExtractor,
    GenerativeModel,
    Kind,
    Metric,
    Objective,
    Tracker,
    Vocoder,
)
from synthkit.testing import abilities as _abilities
from synthkit.testing import config as _config
from synthkit.testing import converter as _converter
from synthkit.testing import dataset as _dataset
from synthkit.testing import embedding as _embedding
from synthkit.testing import features as _features
from synthkit.testing import metric as _metric
from synthkit.testing import model as _model
from synthkit.testing import objective as _objective
from synthkit.testing import tracker as _tracker
from synthkit.testing import vocoder as _vocoder
from synthkit.testing.check import Check, checks, run
from synthkit.testing.declaration import declaration
from synthkit.training.engine import Engine

_LAWS: dict[Kind, tuple[Callable[..., None], ...]] = {
    "dataset": _dataset.LAWS,
    "features": _features.LAWS,
    "vocoder": _vocoder.LAWS,
    "model": _model.LAWS,
    "converter": _converter.LAWS,
    "objective": _objective.LAWS,
    "metric": _metric.LAWS,
    "embedding": _embedding.LAWS,
    "tracker": _tracker.LAWS,
}


def battery(kind: Kind, build: Callable[..., Any], *, config: Config | None = None, **options: Any) -> list[Check]:
    """One check for each law of a kind of component.

    Args:
        kind: the kind of component.
        build: builds the component anew; see above.
        config: the settings that `build` uses; adds the laws of settings.
        options: of the kind's laws: `clips` (dataset: how many are opened), `batch` and `still` (objective: the batch to
            learn from, and patterns of parameter names like `objective.critic.*` that the first step leaves alone).

    >>> from synthkit.builtin.config import LogMelConfig
    >>> from synthkit.builtin.log_mel import LogMel
    >>> [str(check) for check in battery("features", lambda: LogMel(LogMelConfig(preset="melgan")))][:2]
    ['features-length', 'features-values']
    """
    if kind not in _LAWS:
        raise ValueError(f"there is no battery for the kind {kind!r}; {nearest(kind, KINDS)}")
    found = checks(kind, _LAWS[kind], build, **options)
    if config is not None:
        found += checks("config", _config.LAWS, config)
        if kind == "features":
            found += checks(kind, (_features.promised_spec,), build, config)
        if kind == "model":
            found += checks(kind, (_abilities.promised_abilities,), build, config)
    return found


def check_dataset(build: Callable[[], Dataset], *, config: Config | None = None, clips: int = 8) -> None:
    """Try every law of data sets; opens at most `clips` clips. Raises `AssertionError` naming the laws that are broken."""
    run(battery("dataset", build, config=config, clips=clips))


def check_features(build: Callable[[], FeatureExtractor], *, config: Config | None = None) -> None:
    """Try every law of feature extractors. Raises `AssertionError` naming the laws that are broken."""
    run(battery("features", build, config=config))


def check_vocoder(build: Callable[[], Vocoder], *, config: Config | None = None) -> None:
    """Try every law of vocoders. Raises `AssertionError` naming the laws that are broken."""
    run(battery("vocoder", build, config=config))


def check_model(build: Callable[[], GenerativeModel], *, config: Config | None = None) -> None:
    """Try every law of generative models. Raises `AssertionError` naming the laws that are broken."""
    run(battery("model", build, config=config))


def check_converter(build: Callable[[], Converter], *, config: Config | None = None) -> None:
    """Try every law of converters. Raises `AssertionError` naming the laws that are broken."""
    run(battery("converter", build, config=config))


def check_objective(
    build: Callable[[Engine], Objective],
    *,
    config: Config | None = None,
    batch: Batch | None = None,
    still: Sequence[str] = (),
) -> None:
    """Try every law of objectives; `build` is given the engine, options are as in `battery`.

    Raises `AssertionError` naming the laws that are broken.
    """
    run(battery("objective", build, config=config, batch=batch, still=still))


def check_metric(build: Callable[[], Metric], *, config: Config | None = None) -> None:
    """Try every law of metrics. Raises `AssertionError` naming the laws that are broken."""
    run(battery("metric", build, config=config))


def check_embedding(build: Callable[[], Embedding], *, config: Config | None = None) -> None:
    """Try every law of embeddings. Raises `AssertionError` naming the laws that are broken."""
    run(battery("embedding", build, config=config))


def check_tracker(build: Callable[..., Tracker], *, config: Config | None = None) -> None:
    """Try every law of trackers; `build` is given the folder. Raises `AssertionError` naming the laws that are broken."""
    run(battery("tracker", build, config=config))


def check_config(config: Config) -> None:
    """Try every law of settings. Raises `AssertionError` naming the laws that are broken."""
    run(checks("config", _config.LAWS, config))


def check_offers(plugin: str | ModuleType) -> None:
    """Try every law of what a plugin declares. Raises `AssertionError` naming the laws that are broken."""
    run(declaration(plugin))


__all__ = [
    "Check",
    "battery",
    "check_config",
    "check_converter",
    "check_dataset",
    "check_embedding",
    "check_features",
    "check_metric",
    "check_model",
    "check_objective",
    "check_offers",
    "check_tracker",
    "check_vocoder",
    "declaration",
]
