"""Fine-tuning: what a new training takes from another run, what it says of it, and what it refuses."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import synthkit
from synthkit._catalog import Catalog
from synthkit._recipe.load import load_text
from synthkit._run import checkpoint
from synthkit._run.checkpoint import Identity
from synthkit._run.finetune import Newcomer, Source, take_over
from synthkit._run.folder import RunFolder, read_meta
from synthkit._run.learner import Learner
from synthkit._stages.pipeline import run_recipe
from synthkit.errors import CheckpointError, RecipeError
from synthkit.interfaces import Batch, Objective
from synthkit.specs import FeatureSpec
from synthkit.storage import write_json
from synthkit.training.average import Average
from synthkit.training.engine import Engine, seeded

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "band_gaussian.py"
SPEC = FeatureSpec(sample_rate=8000, n_fft=256, hop_length=64, n_mels=20)
CRITIC = {"scales": 1, "channels": 4, "max_channels": 8}
NAME = "melgan/melgan"


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.discover([EXAMPLE])


def melgan(catalog: Catalog, seed: int, channels: int = 4, **settings: Any) -> tuple[Identity, Learner]:
    """A small MelGAN that learns with a critic, unless its weights are 0."""
    offered, config = catalog.configure("vocoder", "melgan", {"channels": channels, "ratios": [8, 8]})
    how, learning = catalog.configure("objective", "melgan", {"critic": CRITIC, **settings})
    engine = Engine()
    with seeded(seed):
        component = catalog.build(offered, config, SPEC)
        objective = catalog.build(how, learning, component, engine)
    identity = Identity(offered=offered, config=config, spec=SPEC, labels=())
    return identity, Learner(component=component, objective=objective, engine=engine)


def batch(seed: int) -> Batch:
    random = torch.Generator().manual_seed(seed)
    audio = 0.1 * torch.randn(2, 64 * 16, generator=random)
    return Batch(audio=audio, features=torch.randn(2, 20, 16, generator=random))


def saved(catalog: Catalog, root: Path, *, average: bool = False, **settings: Any) -> Path:
    identity, learner = melgan(catalog, 1, **settings)
    if average:
        learner.average = Average(learner.component.networks, 0.5)
    for number in range(3):
        learner.objective.step(batch(number))
        if learner.average:
            learner.average.update()
    root.mkdir(parents=True)
    name = identity.offered.full_name
    return checkpoint.save(root, 3, identity, learner, {"objective": {"name": name}})


def newcomer(objective: Objective, **changes: Any) -> Newcomer:
    return Newcomer(**{"objective": objective, "name": NAME, "labels": (), "critic_warmup": None, **changes})


def tensors(networks: Mapping[str, torch.nn.Module]) -> dict[str, Tensor]:
    return {f"{name}.{key}": value for name, it in networks.items() for key, value in it.state_dict().items()}


def test_weights_and_critic_are_taken_along_and_optimisers_begin_anew(catalog: Catalog, tmp_path: Path) -> None:
    folder, said = saved(catalog, tmp_path / "root"), list[str]()
    _, source = melgan(catalog, 1)
    checkpoint.restore(folder, source)
    _, fresh = melgan(catalog, 2)
    take_over(Source(checkpoint=folder), newcomer(fresh.objective), said.append)
    for mine, theirs in (
        (fresh.component.networks, source.component.networks),
        (fresh.objective.networks, source.objective.networks),
    ):
        assert tensors(mine).keys() == tensors(theirs).keys()
        assert all(torch.equal(tensors(mine)[key], value) for key, value in tensors(theirs).items())
    count, critic = len(tensors(fresh.component.networks)), len(tensors(fresh.objective.networks))
    assert said == [
        f"weights of {str(folder)!r}: generator: {count} match; objective.critic: {critic} match"
    ]  # nothing else to say
    assert all(not optimiser.state for optimiser in fresh.objective.optimisers.values())


def test_optimisers_come_on_request_with_the_new_settings(catalog: Catalog, tmp_path: Path) -> None:
    folder, said = saved(catalog, tmp_path / "root"), list[str]()
    _, source = melgan(catalog, 1)
    checkpoint.restore(folder, source)
    _, fresh = melgan(catalog, 2, learning_rate=3e-5)
    take_over(Source(checkpoint=folder, optimisers=True), newcomer(fresh.objective), said.append)
    for name, optimiser in fresh.objective.optimisers.items():
        theirs = source.objective.optimisers[name].state_dict()["state"]
        mine = optimiser.state_dict()
        assert mine["state"].keys() == theirs.keys()
        assert all(torch.equal(mine["state"][number]["exp_avg"], theirs[number]["exp_avg"]) for number in theirs)
        assert mine["param_groups"][0]["lr"] == 3e-5
    counts = {name: len(it.state) for name, it in fresh.objective.optimisers.items()}
    assert said[1] == f"states of optimisers: {'; '.join(f'{name}: {n} of {n}' for name, n in counts.items())}"
    fresh.objective.step(batch(9))


def test_weights_are_those_that_generate_unless_optimisers_go_on_from_the_live_ones(
    catalog: Catalog, tmp_path: Path
) -> None:
    folder = saved(catalog, tmp_path / "root", average=True)
    taken = {}
    for optimisers in (False, True):
        _, fresh = melgan(catalog, 2)
        take_over(Source(checkpoint=folder, optimisers=optimisers), newcomer(fresh.objective), lambda text: None)
        taken[optimisers] = tensors(fresh.component.networks)
    generating, _ = checkpoint.load_component(folder, catalog)
    assert all(torch.equal(taken[False][key], value) for key, value in tensors(generating.networks).items())
    assert any(not torch.equal(taken[False][key], taken[True][key]) for key in taken[True])


def test_other_shapes_are_listed_and_refused_unless_what_fits_is_asked_for(catalog: Catalog, tmp_path: Path) -> None:
    folder, said = saved(catalog, tmp_path / "root", channels=4), list[str]()
    _, wider = melgan(catalog, 2, channels=8)
    before = tensors(wider.component.networks)
    before = {key: value.clone() for key, value in before.items()}
    with pytest.raises(
        CheckpointError,
        match=r"generator: \d+ match, \d+ of another shape \(.*\] there, \[.*; and \d+ more\).*strict: fal",
    ):
        take_over(Source(checkpoint=folder), newcomer(wider.objective), pytest.fail)
    assert all(torch.equal(before[key], value) for key, value in tensors(wider.component.networks).items())
    source = Source(checkpoint=folder, strict=False, optimisers=True)
    take_over(source, newcomer(wider.objective), said.append)
    assert "of another shape" in said[0]
    assert "objective.critic" in said[0]
    assert said[1].startswith("states of optimisers: generator: ")
    wider.objective.step(batch(9))


def test_a_fresh_critic_is_said_with_its_warm_up(catalog: Catalog, tmp_path: Path) -> None:
    alone = {"adversarial_weight": 0, "feature_matching_weight": 0, "mel_weight": 1}
    folder = saved(catalog, tmp_path / "root", **alone)
    for warmup, words in ((None, "one"), (0, "`objective: {critic_warmup: 1000}`"), (50, "for the first 50 steps")):
        said: list[str] = []
        _, fresh = melgan(catalog, 2)
        take_over(Source(checkpoint=folder), newcomer(fresh.objective, critic_warmup=warmup), said.append)
        assert said[1].startswith("it has no critic of 'melgan/melgan', so here starts a fresh one")
        assert words in said[1]


def test_what_belongs_to_another_objective_is_left(catalog: Catalog, tmp_path: Path) -> None:
    folder, said = saved(catalog, tmp_path / "root"), list[str]()
    _, fresh = melgan(catalog, 2)
    critic = {key: value.clone() for key, value in tensors(fresh.objective.networks).items()}
    take_over(Source(checkpoint=folder), newcomer(fresh.objective, name="other/wgan"), said.append)
    assert all(torch.equal(critic[key], value) for key, value in tensors(fresh.objective.networks).items())
    with pytest.raises(CheckpointError, match="belong to the objective 'melgan/melgan', not to 'other/wgan'"):
        take_over(Source(checkpoint=folder, optimisers=True), newcomer(fresh.objective, name="other/wgan"), said.append)


def test_another_label_set_is_refused_in_words(catalog: Catalog, tmp_path: Path) -> None:
    offered, config = catalog.configure("model", "band-gaussian", {})
    how, learning = catalog.configure("objective", "band-likelihood", {})
    engine = Engine()

    def build(labels: tuple[str, ...]) -> Learner:
        component = catalog.build(offered, config, SPEC, labels)
        return Learner(component=component, objective=catalog.build(how, learning, component, engine), engine=engine)

    identity = Identity(offered=offered, config=config, spec=SPEC, labels=("high", "low"))
    folder = checkpoint.save(tmp_path, 1, identity, build(("high", "low")), {})
    other = newcomer(build(("drum", "bell")).objective, labels=("drum", "bell"))
    with pytest.raises(
        CheckpointError, match="has learned the labels high, low, and the data set has the labels drum, bell"
    ):
        take_over(Source(checkpoint=folder), other, pytest.fail)
    said: list[str] = []
    take_over(Source(checkpoint=folder, strict=False), other, said.append)
    assert said == [f"weights of {str(folder)!r}: bands: 2 match"]


RECIPE = """\
recipe: 1
name: {name}
data: {{use: tones, clips_per_label: 3, seconds: 1.0}}
features: {{use: log-mel, preset: melgan}}
vocoder: {vocoder}
train: {{part: vocoder, steps: 4, save_every: 2, batch: 2, crop_seconds: 0.1, evaluate_items: 2, device: cpu, objective: {objective}}}
generate: {{count: 1, seconds: 0.2}}
"""
OBJECTIVE = "{mel_weight: 1, critic: {scales: 1, channels: 4, max_channels: 8}}"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, catalog: Catalog) -> RunFolder:
    """A run that trained a small MelGAN with its critic."""
    folder = tmp_path_factory.mktemp("source")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SYNTHKIT_CACHE", str(folder / "cache"))
        file = folder / "source.yaml"
        file.write_text(
            RECIPE.format(name="source", vocoder="{use: melgan, channels: 4}", objective=OBJECTIVE), "utf-8"
        )
        return run_recipe(file, catalog=catalog, run_dir=folder / "run", last="train")


def test_a_run_fine_tunes_another_and_its_resolved_recipe_runs_again(
    catalog: Catalog, source: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNTHKIT_CACHE", str(source.path.parent / "cache"))
    file = tmp_path / "tune.yaml"
    file.write_text(RECIPE.format(name="tune", vocoder=f"{{from: {source.path}}}", objective=OBJECTIVE), "utf-8")
    run = run_recipe(file, catalog=catalog, run_dir=tmp_path / "run")
    log = run.log_file.read_text(encoding="utf-8")
    assert f"weights of {str(source.newest('vocoder'))!r}: generator: " in log
    assert "objective.critic: " in log
    again = run_recipe(run.recipe_file, catalog=catalog, run_dir=tmp_path / "again", last="train")
    one, other = (it.newest("vocoder") for it in (run, again))
    assert one is not None
    assert other is not None
    assert (one / "generator.safetensors").read_bytes() == (other / "generator.safetensors").read_bytes()
    wide = RECIPE.format(name="wide", vocoder=f"{{from: {source.path}, channels: 6}}", objective=OBJECTIVE)
    file.write_text(wide, "utf-8")
    with pytest.raises(CheckpointError, match=r"do not fit what is trained here: generator: .*of another shape"):
        run_recipe(file, catalog=catalog, run_dir=tmp_path / "wide", last="train")
    told = run_recipe(
        file, catalog=catalog, run_dir=tmp_path / "wide", last="train", overrides=["vocoder.from.strict=false"]
    )
    assert told.newest("vocoder") is not None


def test_a_damaged_run_still_speaks_with_its_last_good_weights(
    source: RunFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = shutil.copytree(source.path, tmp_path / "run")
    older, newest = sorted((run / "checkpoints" / "vocoder").glob("step-*"))
    with (newest / "generator.safetensors").open("rb+") as stream:
        stream.truncate(1000)
    loaded = synthkit.load(run, part="vocoder")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "step-0000004' cannot be used: generator.safetensors is damaged" in caplog.text
    assert caplog.text.rstrip().endswith("step-0000002 is used instead")
    mine = tensors(loaded.component.networks)
    theirs = tensors(synthkit.load(older, part="vocoder").component.networks)
    assert all(torch.equal(mine[key], value) for key, value in theirs.items())
    with pytest.raises(CheckpointError, match=rf"generator.safetensors is damaged .*; '{older}' is whole"):
        synthkit.load(newest, part="vocoder")


def test_where_the_run_has_no_critic_the_recipe_gets_a_warm_up(catalog: Catalog, source: RunFolder) -> None:
    newest = source.newest("vocoder")
    assert newest is not None
    text = RECIPE.format(name="tune", vocoder=f"{{from: {source.path}}}", objective=OBJECTIVE)
    text = text.replace("steps: 4", "steps: 600")
    with_critic = load_text(text, Path("r.yaml"), catalog).train[0].objective.config
    assert with_critic.model_dump()["critic_warmup"] == 0
    meta = read_meta(newest)
    files = {name: digest for name, digest in meta["files"].items() if not name.startswith("objective.")}
    write_json(newest / "meta.json", {**meta, "files": files})
    try:
        recipe = load_text(text, Path("r.yaml"), catalog)
        assert recipe.train[0].objective.config.model_dump()["critic_warmup"] == 60
        assert load_text(recipe.resolved, Path("r.yaml"), catalog).train == recipe.train
        said = text.replace("{mel_weight: 1,", "{mel_weight: 1, critic_warmup: 3,")
        assert load_text(said, Path("r.yaml"), catalog).train[0].objective.config.model_dump()["critic_warmup"] == 3
    finally:
        write_json(newest / "meta.json", meta)


def test_a_damaged_source_is_passed_over_or_refused(
    catalog: Catalog, source: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNTHKIT_CACHE", str(source.path.parent / "cache"))
    newest = source.newest("vocoder")
    assert newest is not None
    file, victim = tmp_path / "tune.yaml", newest / "objective.critic.safetensors"
    file.write_text(RECIPE.format(name="tune", vocoder=f"{{from: {newest}}}", objective=OBJECTIVE), "utf-8")
    content = victim.read_bytes()
    victim.write_bytes(content[:-1])
    try:
        with pytest.raises(CheckpointError, match=r"objective.critic.safetensors is damaged"):
            run_recipe(file, catalog=catalog, run_dir=tmp_path / "run", last="train")
    finally:
        victim.write_bytes(content)
    file.write_text(RECIPE.format(name="tune", vocoder=f"{{from: {newest}, chanels: 6}}", objective=OBJECTIVE), "utf-8")
    with pytest.raises(RecipeError, match="did you mean 'channels'"):
        run_recipe(file, catalog=catalog, run_dir=tmp_path / "run", last="train")
