"""What the generators of other projects hear: their features, from the files that the projects keep, and the map before the network."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthkit.errors import CheckpointError, ConfigError
from synthkit.foreign import Foreign
from synthkit.presets import find_preset
from synthkit.specs import FeatureSpec

if TYPE_CHECKING:
    from torch import Tensor

_LN10 = math.log(10)


@dataclass(frozen=True, kw_only=True)
class Hearing:
    """Features of a spec, and what its network makes of log10 magnitudes before its first convolution."""

    spec: FeatureSpec
    affine: tuple[Tensor, Tensor] | None = None
    """Factor and summand of each band, `[M]`; None: it hears them as they are."""
    remarks: tuple[str, ...] = ()


def official(foreign: Foreign, weights: Mapping[str, Tensor], bands: int) -> Hearing:
    """log10 mel as it is."""
    return Hearing(spec=dataclasses.replace(find_preset("melgan").spec, n_mels=bands))


def of_hparams(foreign: Foreign, weights: Mapping[str, Tensor], bands: int) -> Hearing:
    """seungwonpark/melgan: `(ln mel + 5) / 5`; the settings stand in the checkpoint, as YAML."""
    spec = dataclasses.replace(find_preset("seungwonpark").spec, n_mels=bands)
    audio = _yaml(str(foreign.notes.get("hp_str", "")), f"hp_str of {foreign.file.name}").get("audio")
    remarks: tuple[str, ...] = ()
    if isinstance(audio, Mapping):
        named = {"sampling_rate": "sample_rate", "filter_length": "n_fft", "hop_length": "hop_length",
                 "win_length": "win_length", "mel_fmin": "f_min", "mel_fmax": "f_max"}  # fmt: skip
        spec = _changed(foreign, spec, {ours: audio[it] for it, ours in named.items() if it in audio})
    else:
        remarks = (
            "the file does not say of which features it learned, so they are taken to be those of the preset tacotron",
        )
    one = next(iter(weights.values())).new_ones(bands).double()
    return Hearing(spec=spec, affine=(one * (_LN10 / 5), one), remarks=remarks)


def of_parallel_wavegan(foreign: Foreign, weights: Mapping[str, Tensor], bands: int) -> Hearing:
    """ParallelWaveGAN: `(log mel - mean) / deviation` by bands; the settings are in config.yml, the statistics in stats.h5 or .npy."""
    spec = dataclasses.replace(find_preset("parallel-wavegan").spec, n_mels=bands)
    file = foreign.file.parent / "config.yml"
    remarks: tuple[str, ...] = ()
    if file.is_file():
        settings = _yaml(file.read_text(encoding="utf-8", errors="replace"), str(file))
        _check_network(foreign, settings.get("generator_params"))
        spec = _parallel_wavegan_spec(foreign, spec, settings)
    else:
        remarks = (
            "there is no config.yml beside it, so its features are taken to be those of the preset parallel-wavegan",
        )
    mean, deviation = _statistics(foreign, weights)
    if not mean.shape == deviation.shape == (spec.n_mels,) or not bool((deviation > 0).all()):
        raise CheckpointError(
            f"the statistics of {str(foreign.file)!r} must be a mean and a positive deviation for each of {spec.n_mels} bands"
        )
    units = _LN10 if spec.log == "ln" else 1.0
    return Hearing(spec=spec, affine=(units / deviation, -mean / deviation), remarks=remarks)


_EXPRESSED: Mapping[str, object] = {
    "out_channels": 1,
    "kernel_size": 7,
    "stack_kernel_size": 3,
    "nonlinear_activation": "LeakyReLU",
    "nonlinear_activation_params": {"negative_slope": 0.2},
    "pad": "ReflectionPad1d",
    "pad_params": {},
    "use_final_nonlinear_activation": True,
    "use_causal_conv": False,
    "bias": True,
}
"""Settings of ParallelWaveGAN's MelGAN that our network has built in."""


def _check_network(foreign: Foreign, settings: object) -> None:
    given = settings if isinstance(settings, Mapping) else {}
    other = [f"{name}: {given[name]}" for name, ours in _EXPRESSED.items() if name in given and given[name] != ours]
    if other:
        raise CheckpointError(
            f"{str(foreign.file)!r} cannot be expressed by this MelGAN: its config.yml has {'; '.join(other)}"
        )


def _parallel_wavegan_spec(foreign: Foreign, spec: FeatureSpec, settings: Mapping[str, Any]) -> FeatureSpec:
    base = settings.get("log_base", 10.0)
    if base not in (10.0, None):
        raise CheckpointError(
            f"{str(foreign.file)!r} learned of logarithms to the base {base}; only 10 and e are known here"
        )
    named = {"sampling_rate": "sample_rate", "fft_size": "n_fft", "hop_size": "hop_length", "win_length": "win_length",
             "fmin": "f_min", "fmax": "f_max"}  # fmt: skip
    given = {ours: settings[it] for it, ours in named.items() if it in settings}
    # Their null is: a window as long as the FFT, bands from 0 Hz, bands up to half the rate.
    nulls = {"win_length": 0, "f_min": 0.0}
    values = {name: nulls.get(name) if value is None else value for name, value in given.items()}
    return _changed(foreign, spec, {"win_length": 0, **values, "log": "ln" if base is None else "log10"})


def _statistics(foreign: Foreign, weights: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each band: buffers of the generator, or a file beside it."""
    if "mean" in weights and "scale" in weights:
        return weights["mean"].flatten().double(), weights["scale"].flatten().double()
    one = next(iter(weights.values())).new_ones(1).double()
    folder = foreign.file.parent
    for name, reader in (("stats.npy", _read_npy), ("stats.h5", _read_hdf5)):
        if (folder / name).is_file():
            try:
                mean, deviation = reader(folder / name)
            except (OSError, ValueError, KeyError, IndexError, EOFError) as error:
                raise CheckpointError(f"{str(folder / name)!r} does not hold a mean and a scale: {error}") from error
            return one.new_tensor(mean), one.new_tensor(deviation)
    raise CheckpointError(
        f"{str(foreign.file)!r} hears features normalised by the statistics of its training set, which are not in it: put the "
        "stats.h5 or stats.npy of that training beside it"
    )


def _read_npy(file: Path) -> tuple[list[float], list[float]]:
    import numpy as np

    mean, deviation = np.load(file, allow_pickle=False)[:2]
    return mean.reshape(-1).tolist(), deviation.reshape(-1).tolist()


def _read_hdf5(file: Path) -> tuple[list[float], list[float]]:
    try:
        h5py = import_module("h5py")
    except ImportError as error:
        raise CheckpointError(
            f"reading {str(file)!r} needs `pip install h5py`; or save its mean and scale where that is at hand: "
            "numpy.save('stats.npy', numpy.stack([mean, scale]))"
        ) from error
    with h5py.File(file, "r") as stored:
        return stored["mean"][()].reshape(-1).tolist(), stored["scale"][()].reshape(-1).tolist()


def _changed(foreign: Foreign, spec: FeatureSpec, fields: Mapping[str, Any]) -> FeatureSpec:
    try:
        return dataclasses.replace(spec, **fields)
    except (ConfigError, TypeError, ValueError) as error:
        raise CheckpointError(f"the settings of {str(foreign.file)!r} describe no features: {error}") from error


def _yaml(text: str, what: str) -> dict[str, Any]:
    """All mappings of a YAML text, joined. Nothing in it is run."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        documents = list(YAML(typ="safe", pure=True).load_all(text))
    except (YAMLError, ValueError) as error:
        raise CheckpointError(f"{what} is no YAML that can be read: {str(error).splitlines()[0]}") from error
    return {key: value for document in documents if isinstance(document, dict) for key, value in document.items()}
