"""Synthkit: train vocoders and generators on your own audio, and turn features back into sound.

    import synthkit

    mel = synthkit.features("log-mel", preset="melgan")
    sound = synthkit.read("in.wav")
    vocoder = synthkit.vocoder("griffin-lim", mel.spec)    # or synthkit.load("runs/quickstart")
    vocoder.vocode(mel.extract(sound)).write("out.wav")

Names are imported on first use: `import synthkit` alone imports neither torch nor numpy.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "synthkit._api": "build dataset evaluate features load load_plugin metric model run transfer vocoder",
    "synthkit._run.folder": "RunFolder",
    "synthkit._stages.loaded": "LoadedConverter LoadedFeatures LoadedModel LoadedVocoder",
    "synthkit._stages.synthesis": "Features",
    "synthkit.audio": "Audio read",
    "synthkit.config": "Config ConverterConfig ExistingFolder FeaturesConfig PartConfig UserPath",
    "synthkit.errors": (
        "AudioError CheckpointError ConfigError DatasetError PluginError RecipeError RunError SpecMismatch "
        "SynthkitError TrainingError UnknownName UnreadableClip"
    ),
    "synthkit.hookspecs": "hookimpl",
    "synthkit.interfaces": (
        "Batch Clip ClipReport Command Comparison Component Converter Dataset Embedding FeatureExtractor GenerativeModel "
        "Metric Objective Offer Request Score Tracker VerifyReport Vocoder"
    ),
    "synthkit.presets": "PRESETS",
    "synthkit.specs": "Conversion FeatureSpec conversion",
}
_MODULES = {name: module for module, names in _PUBLIC.items() for name in names.split()}

__all__ = ["__version__", *_MODULES]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'synthkit' has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
