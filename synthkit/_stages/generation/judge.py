"""The embedding that judges: built, taught by real clips of the training split, and kept in the cache for the next time."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from synthkit._catalog import Catalog
from synthkit._recipe.model import Block
from synthkit._run.reporter import Reporter
from synthkit._stages.generation.real import Crop
from synthkit.audio import Audio
from synthkit.errors import PluginError
from synthkit.interfaces import Embedding
from synthkit.specs import FeatureSpec
from synthkit.storage import cache_root, replacing, text_hash
from synthkit.training.engine import seeded

_SEED = 0


def learned_embedding(
    block: Block, spec: FeatureSpec, learned: Sequence[Crop], catalog: Catalog, reporter: Reporter
) -> Embedding:
    """An embedding that knows the real clips. What it learned from the same crops before is taken from the cache.

    Where the clips have no labels it learns to tell the clips themselves apart (Dosovitskiy et al. 2014).

    Raises `ConfigError` where there is nothing to tell apart.
    """
    names = [crop.label or crop.clip for crop in learned]
    labels = tuple(dict.fromkeys(sorted(names)))
    with seeded(_SEED):
        embedding = catalog.build(block.offered, block.config, spec, labels)
    assert isinstance(embedding, Embedding)
    folder = cache_root() / "embeddings" / _key(block, spec, learned, names)
    if not _recalled(embedding, folder):
        with reporter.task("learn to judge", 1) as task, seeded(_SEED):
            embedding.fit(
                [crop.sound for crop in learned],
                names,
                progress=lambda done, total: task.update(int(done == total), f"{done} of {total} steps"),
            )
        _keep(embedding, folder)
    for network in embedding.networks.values():
        network.eval()
    return embedding


def points_of(embedding: Embedding, sounds: Sequence[Audio]) -> np.ndarray:
    """Points `[n, D]`. Raises `PluginError` where the embedding breaks its word."""
    points = embedding.embed(sounds)
    if points.ndim != 2 or len(points) != len(sounds) or not np.isfinite(points).all():
        raise PluginError(
            f"{type(embedding).__name__} gave points of shape {list(points.shape)} for {len(sounds)} sounds, or values that "
            "are not finite"
        )
    return points


def _key(block: Block, spec: FeatureSpec, learned: Sequence[Crop], names: Sequence[str]) -> str:
    """Another one wherever something else could be learned."""
    made_of = [block.offered.full_name, block.offered.version, block.config.model_dump(mode="json"), spec.to_dict()]
    sounds = [text_hash(crop.sound.samples.tobytes().hex()) for crop in learned]
    return text_hash(json.dumps([made_of, list(zip(names, sounds, strict=True))], sort_keys=True))[:32]


def _recalled(embedding: Embedding, folder: Path) -> bool:
    """Whether all networks could be loaded; a file that is damaged or of another network is not used."""
    networks = embedding.networks
    if not networks or not all((folder / f"{name}.safetensors").is_file() for name in networks):
        return False
    try:
        weights = {name: load_file(folder / f"{name}.safetensors") for name in networks}
        for name, network in networks.items():
            network.load_state_dict(weights[name])
    except (SafetensorError, RuntimeError):
        shutil.rmtree(folder, ignore_errors=True)
        return False
    return True


def _keep(embedding: Embedding, folder: Path) -> None:
    for name, network in embedding.networks.items():
        tensors = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
        with replacing(folder / f"{name}.safetensors") as stream:
            stream.write(save(tensors))
