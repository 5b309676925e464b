"""A trained vocoder as one file for other programs: ONNX or PyTorch's pt2, compared with the vocoder before it is given its name."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from synthkit import __version__
from synthkit.errors import CheckpointError, ConfigError
from synthkit.foreign import Portable
from synthkit.interfaces import Vocoder
from synthkit.specs import FeatureSpec

Form = Literal["onnx", "pt2"]
FRAMES = (2, 3, 17, 64, 301)
"""Lengths at which a file is compared with its vocoder; it was traced at another."""
TOLERANCE = 1e-4
"""Largest difference of a sample, of a full scale of 1, with which a file passes."""
METADATA = "synthkit"
"""The key of the metadata in an ONNX file; in a pt2 file they are the extra file `synthkit.json`."""
_TRACED = 16
_LOUDNESS = (1e-4, 1.0)
"""Mel values between which features are drawn for the comparison."""

Runner = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Parity:
    """How far a file is from its vocoder at one length."""

    items: int
    frames: int
    samples: int
    error: float
    """Largest difference of a sample."""


def write_portable(vocoder: Vocoder, meta: Mapping[str, Any], targets: Mapping[Form, Path]) -> dict[Form, list[Parity]]:
    """Write `vocoder`, whose checkpoint says `meta`, to files; returns how each compares, by length.

    Raises:
        ConfigError: where the vocoder is not `Portable`, a package is missing, or a target cannot be a file.
        CheckpointError: where a file differs from the vocoder by more than `TOLERANCE`; then it is not written.
    """
    network = _network(vocoder, str(meta["component"]), targets)
    for target in targets.values():
        if not target.absolute().parent.is_dir() or target.is_dir():
            raise ConfigError(f"{str(target)!r} cannot be written: it must be a file in a folder that exists")
    program, text = _traced(network, vocoder.spec), json.dumps(_metadata(vocoder.spec, meta), indent=1)
    return {form: _write(vocoder, program, text, form, target) for form, target in targets.items()}


def _write(vocoder: Vocoder, program: ExportedProgram, text: str, form: Form, target: Path) -> list[Parity]:
    temporary = target.with_name(f".{target.name}.tmp")
    try:
        runner = (_write_onnx if form == "onnx" else _write_pt2)(program, text, temporary)
        parities = [_compare(vocoder, runner, items, frames) for frames in FRAMES for items in (1, 3)]
        wrong = [it for it in parities if not it.error <= TOLERANCE]  # not a number is wrong, too
        if wrong:
            raise CheckpointError(
                f"{str(target)!r} was not written: at {wrong[0].frames} frames it differs from the run by {wrong[0].error:.1e}, more "
                f"than {TOLERANCE:.0e}"
            )
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return parities


def _network(vocoder: Vocoder, name: str, forms: Container[Form]) -> nn.Module:
    if not isinstance(vocoder, Portable):
        raise ConfigError(f"the vocoder {name!r} cannot be exported: what it does is not one network")
    missing = [it for it in ("onnx", "onnxscript", "onnxruntime") if find_spec(it) is None] if "onnx" in forms else []
    if missing:
        raise ConfigError(f"writing ONNX needs {', '.join(missing)}: run `pip install 'synthkit[export]'`")
    return vocoder.portable()


def _traced(network: nn.Module, spec: FeatureSpec) -> ExportedProgram:
    example = (_features(spec, 2, _TRACED),)
    dynamic = {0: Dim("batch", min=1), 2: Dim("frames", min=2)}
    with torch.no_grad():
        return torch.export.export(network, example, dynamic_shapes=(dynamic,))


def _write_pt2(program: ExportedProgram, text: str, file: Path) -> Runner:
    with file.open("wb") as stream:
        torch.export.save(program, stream, extra_files={f"{METADATA}.json": text})
    with file.open("rb") as written:
        module = torch.export.load(written).module()

    def run(features: Tensor) -> Tensor:
        made: Tensor = module(features)
        return made

    return run


def _write_onnx(program: ExportedProgram, text: str, file: Path) -> Runner:
    with _quiet():
        exported = torch.onnx.export(
            program, input_names=["features"], output_names=["samples"], dynamo=True, verbose=False
        )
    assert exported is not None
    exported.model.metadata_props[METADATA] = text
    exported.save(file)
    session = import_module("onnxruntime").InferenceSession(file, providers=["CPUExecutionProvider"])

    def run(features: Tensor) -> Tensor:
        made: np.ndarray = session.run(None, {"features": features.numpy()})[0]
        return torch.from_numpy(made)

    return run


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's account of optional packages of its own."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _compare(vocoder: Vocoder, run: Runner, items: int, frames: int) -> Parity:
    features = _features(vocoder.spec, items, frames)
    with torch.no_grad():
        made, expected = run(features), vocoder.vocode(features)
    error = float((made - expected).abs().max()) if made.shape == expected.shape and made.numel() else float("nan")
    return Parity(items=items, frames=frames, samples=expected.shape[-1], error=error)


def _features(spec: FeatureSpec, items: int, frames: int) -> Tensor:
    """Features from soft to loud in every band, the middle third silent: what a vocoder does about silence is compared, too."""
    random = torch.Generator().manual_seed(frames)
    low, high = (np.log(max(it, spec.floor)) for it in _LOUDNESS)
    mel = torch.rand(items, spec.n_mels, frames, generator=random).mul(high - low).add(low).exp()
    mel[..., frames // 3 : frames * 2 // 3] = spec.floor
    if spec.log != "none":
        mel = mel.log() if spec.log == "ln" else mel.log10() * (10.0 if spec.log == "db" else 1.0)
    return mel * spec.gain + spec.offset


def _metadata(spec: FeatureSpec, meta: Mapping[str, Any]) -> dict[str, Any]:
    """What a reader of the file has to know."""
    kept = ("component", "plugin", "version", "config", "labels", "licence", "step", "imported")
    return {
        "format": 1,
        "synthkit": __version__,
        **{name: meta[name] for name in kept if name in meta},
        "spec": spec.to_dict(),
        "input": f"features: float32 [B, {spec.n_mels}, N], as `spec` says, B >= 1, N >= 2",
        "output": f"samples: float32 [B, {_length(spec)}] in -1..1 at {spec.sample_rate} Hz",
    }


def _length(spec: FeatureSpec) -> str:
    """
    >>> _length(FeatureSpec(sample_rate=22050, n_fft=1024, hop_length=256, n_mels=80, framing="center"))
    '256 * N - 256'
    """
    beyond = spec.samples(2) - 2 * spec.hop_length
    return f"{spec.hop_length} * N{f' {beyond:+d}'.replace('-', '- ').replace('+', '+ ') if beyond else ''}"
