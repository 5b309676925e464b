"""Checkpoints: what was saved is what is loaded, and whatever is wrong with one is said by name."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from synthkit._catalog import Catalog
from synthkit._run import checkpoint
from synthkit._run.checkpoint import Identity
from synthkit._run.damage import damage
from synthkit._run.folder import RunFolder, step_of
from synthkit._run.learner import Learner
from synthkit._run.weights import load_networks
from synthkit.errors import CheckpointError
from synthkit.interfaces import Batch, GenerativeModel, Request
from synthkit.specs import FeatureSpec
from synthkit.storage import file_hash, write_json
from synthkit.training.engine import Engine, seeded

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "band_gaussian.py"
SPEC = FeatureSpec(sample_rate=16000, n_fft=512, hop_length=128, n_mels=20)
LABELS = ("high", "low")


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.discover([EXAMPLE])


def build(
    catalog: Catalog, spec: FeatureSpec = SPEC, labels: tuple[str, ...] = LABELS
) -> tuple[Identity, GenerativeModel, Learner]:
    offered, config = catalog.configure("model", "band-gaussian", {})
    model = catalog.build(offered, config, spec, labels)
    objective_offered, objective_config = catalog.configure("objective", "band-likelihood", {})
    engine = Engine()
    objective = catalog.build(objective_offered, objective_config, model, engine)
    learner = Learner(component=model, objective=objective, engine=engine)
    return Identity(offered=offered, config=config, spec=spec, labels=labels), model, learner


def batch(seed: int) -> Batch:
    random = torch.Generator().manual_seed(seed)
    features = torch.randn(4, SPEC.n_mels, 10, generator=random)
    return Batch(audio=torch.zeros(4, 1280), features=features, labels=torch.tensor([0, 1, 0, 1]))


def saved(catalog: Catalog, root: Path, steps: int = 3, **extra: object) -> Path:
    identity, _, learner = build(catalog)
    for step in range(steps):
        learner.objective.step(batch(step))
    root.mkdir(parents=True, exist_ok=True)
    return checkpoint.save(root, steps, identity, learner, extra)


def flip(file: Path) -> None:
    """One bit that is another than it was."""
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)


def test_a_loaded_component_generates_what_the_saved_one_did(catalog: Catalog, tmp_path: Path) -> None:
    identity, model, learner = build(catalog)
    learner.objective.step(batch(0))
    folder = checkpoint.save(tmp_path, 1, identity, learner, {"note": "kept"})
    loaded, meta = checkpoint.load_component(folder, catalog)
    assert isinstance(loaded, GenerativeModel)
    assert (loaded.spec, loaded.labels, meta["step"], meta["note"]) == (SPEC, LABELS, 1, "kept")
    request = Request(frames=6, count=2, labels=LABELS, seeds=(5, 6))
    assert torch.equal(loaded.generate(request), model.generate(request))


def test_training_goes_on_as_if_it_had_never_stopped(catalog: Catalog, tmp_path: Path) -> None:
    _, straight, straight_learner = build(catalog)
    for step in range(6):
        straight_learner.objective.step(batch(step))
    folder = saved(catalog, tmp_path)
    _, resumed, resumed_learner = build(catalog)
    assert checkpoint.restore(folder, resumed_learner) == 3
    for step in range(3, 6):
        resumed_learner.objective.step(batch(step))
    for name, value in straight.networks["bands"].state_dict().items():
        assert torch.equal(value, resumed.networks["bands"].state_dict()[name]), name


def test_loading_draws_nothing_from_the_global_generator(catalog: Catalog, tmp_path: Path) -> None:
    folder = saved(catalog, tmp_path)
    with seeded(1):
        checkpoint.load_component(folder, catalog)
        after = torch.rand(3)
    with seeded(1):
        assert torch.equal(after, torch.rand(3))


@pytest.mark.parametrize("name", ["bands.safetensors", "training.pt"])
def test_a_damaged_file_is_named(catalog: Catalog, tmp_path: Path, name: str) -> None:
    folder = saved(catalog, tmp_path)
    flip(folder / name)
    with pytest.raises(CheckpointError, match=rf"{name} is damaged .*checksum"):
        checkpoint.restore(folder, build(catalog)[2])


def test_a_missing_file_is_named(catalog: Catalog, tmp_path: Path) -> None:
    folder = saved(catalog, tmp_path)
    (folder / "bands.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"bands\.safetensors is missing"):
        checkpoint.load_component(folder, catalog)


def test_weights_of_another_network_are_listed_key_by_key(catalog: Catalog, tmp_path: Path) -> None:
    folder = saved(catalog, tmp_path)
    other = FeatureSpec(sample_rate=16000, n_fft=512, hop_length=128, n_mels=32)
    _, model, _ = build(catalog, other)
    with pytest.raises(CheckpointError, match=r"2 of another shape \(mean: \[2, 20\] there, \[2, 32\] here; log_sigma"):
        load_networks(folder, checkpoint.read_meta(folder), model.networks)


def test_a_checkpoint_says_which_plugin_it_needs(catalog: Catalog, tmp_path: Path) -> None:
    folder = saved(catalog, tmp_path)
    with pytest.raises(CheckpointError, match=r"needs the model 'band-gaussian' of plugin"):
        checkpoint.load_component(folder, Catalog.discover())


class Creates:
    """What a pickle can do: create a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.file,)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_checkpoint_is_not_run(catalog: Catalog, tmp_path: Path, zipped: bool) -> None:
    folder, victim = saved(catalog, tmp_path / "root"), tmp_path / "victim"
    harmful = {"objective": {}, "engine": Creates(victim)}
    if zipped:
        torch.save(harmful, folder / "training.pt")
    else:
        (folder / "training.pt").write_bytes(pickle.dumps(harmful, protocol=2))
    meta = checkpoint.read_meta(folder)
    meta["files"]["training.pt"] = file_hash(folder / "training.pt")
    write_json(folder / "meta.json", meta)
    with pytest.raises(CheckpointError, match=r"training.pt' is not loaded: it holds more than tensors"):
        checkpoint.restore(folder, build(catalog)[2])
    assert not victim.exists()
    pickle.loads(pickle.dumps(harmful, protocol=2))
    assert victim.exists()  # which is what it would have done


def test_the_state_of_another_training_is_said(catalog: Catalog, tmp_path: Path) -> None:
    folder = saved(catalog, tmp_path)
    _, _, learner = build(catalog)
    torch.save({"objective": {"optimisers": {}}, "engine": {}}, folder / "training.pt")
    meta = checkpoint.read_meta(folder)
    meta["files"]["training.pt"] = file_hash(folder / "training.pt")
    write_json(folder / "meta.json", meta)
    with pytest.raises(CheckpointError, match=r"holds the state of another training: KeyError: 'adam'"):
        checkpoint.restore(folder, learner)


def test_what_the_training_remembers_comes_back(catalog: Catalog, tmp_path: Path) -> None:
    identity, _, learner = build(catalog)
    learner.attempt, learner.watch, learner.engine.slow_down = 2, {"medians": {"nats": [1.5, 2.5]}}, 0.25
    folder = checkpoint.save(tmp_path, 1, identity, learner, {})
    _, _, restored = build(catalog)
    checkpoint.restore(folder, restored)
    assert (restored.attempt, restored.watch) == (learner.attempt, learner.watch)
    assert restored.engine.slow_down == 0.25


def test_weights_that_share_memory_are_saved_and_come_back(catalog: Catalog, tmp_path: Path) -> None:
    identity, model, learner = build(catalog)
    bands = model.networks["bands"]
    bands.get_parameter("log_sigma").data = bands.get_parameter("mean").data
    learner.objective.step(batch(0))
    folder = checkpoint.save(tmp_path, 1, identity, learner, {})
    loaded, _ = checkpoint.load_component(folder, catalog)
    for name, value in bands.state_dict().items():
        assert torch.equal(loaded.networks["bands"].state_dict()[name], value)


@pytest.mark.parametrize("moment", [1, 2])
def test_a_checkpoint_is_replaced_without_a_moment_of_nothing(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    run = RunFolder(tmp_path)
    root = run.checkpoint_root("model")
    saved(catalog, root, note="old")
    rename, calls = Path.replace, 0

    def killed(self: Path, target: Path) -> Path:
        nonlocal calls
        if self.is_dir():
            calls += 1
            if calls == moment:
                raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        saved(catalog, root, note="new")
    monkeypatch.undo()
    (left,) = run.checkpoints("model")
    assert (damage(left), checkpoint.read_meta(left)["note"]) == (None, "old")
    saved(catalog, root, note="new")
    assert [folder.name for folder in root.iterdir()] == ["step-0000003"]
    assert checkpoint.read_meta(root / "step-0000003")["note"] == "new"


def many_labels(catalog: Catalog) -> tuple[Identity, Learner]:
    """A model whose checkpoint has 3.8 MB: a third weights, the rest Adam's."""
    labels = tuple(f"label {number}" for number in range(8_000))
    identity, _, learner = build(catalog, labels=labels)
    learner.objective.step(batch(0))
    return identity, learner


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 6 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a disk of its own can be mounted by root only")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_leaves_the_old_ones_and_says_what_to_do(catalog: Catalog, small_disk: Path) -> None:
    identity, learner = many_labels(catalog)
    first = checkpoint.save(small_disk, 1, identity, learner, {})
    told = r"step-0000002.*No space left.*the earlier ones are whole. It needs 3\.8 MB, and .* MB are free.*`keep: .*--resume"
    with pytest.raises(CheckpointError, match=told):
        checkpoint.save(small_disk, 2, identity, learner, {})
    assert [folder.name for folder in small_disk.iterdir()] == ["step-0000001"]
    assert damage(first) is None
    shutil.rmtree(first)
    assert damage(checkpoint.save(small_disk, 2, identity, learner, {})) is None


@pytest.mark.parametrize("room", [1_000, 1_500_000], ids=["in the weights", "in training.pt"])
def test_a_file_that_may_not_grow_leaves_the_old_ones(catalog: Catalog, tmp_path: Path, room: int) -> None:
    resource = pytest.importorskip("resource")
    identity, learner = many_labels(catalog)
    first = checkpoint.save(tmp_path, 1, identity, learner, {})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        with pytest.raises(CheckpointError, match=r"step-0000002.*File too large.*It needs 3\.8 MB"):
            checkpoint.save(tmp_path, 2, identity, learner, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [folder.name for folder in tmp_path.iterdir()] == ["step-0000001"]
    assert damage(first) is None


def test_foreign_or_newer_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no meta\.json"):
        checkpoint.read_meta(tmp_path)
    (tmp_path / "meta.json").write_text("{", encoding="utf-8")
    with pytest.raises(CheckpointError, match="is damaged"):
        checkpoint.read_meta(tmp_path)
    (tmp_path / "meta.json").write_text(json.dumps({"format": 2}), encoding="utf-8")
    with pytest.raises(CheckpointError, match="reads format 1"):
        checkpoint.read_meta(tmp_path)


def test_checkpoints_are_ordered_by_step_and_the_best_has_the_lowest_score(catalog: Catalog, tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    root = run.checkpoint_root("model")
    for steps, value in ((12, 1.0), (9, 2.0), (100, 1.5)):
        saved(catalog, root, steps=steps, score={"term": "nats", "value": value})
    assert [step_of(folder) for folder in run.checkpoints("model")] == [9, 12, 100]
    assert run.newest("model") == root / "step-0000100"
    assert run.best("model") == root / "step-0000012"
    assert [step_of(folder) for folder in run.ranked("model")] == [12, 100, 9]
    assert (run.lowest("model", "nats"), run.lowest("model", "mel_l1")) == (1.0, None)
    saved(catalog, root, steps=101)
    assert run.newest("model") == root / "step-0000101"
    assert run.best("model") == root / "step-0000012"
    saved(catalog, root, steps=102, score={"term": "other", "value": 7.0})
    assert run.best("model") == root / "step-0000102"  # a score of another term says nothing about this one
