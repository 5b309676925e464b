"""A model's clips are judged fairly: real clips pass, noise fails, repeats, collapse and copies of the training are named."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from synthkit import dsp
from synthkit._catalog import Catalog
from synthkit._data.prepared import Prepared
from synthkit._recipe.model import Block
from synthkit._run.reporter import Reporter
from synthkit._stages.generation.judge import points_of
from synthkit._stages.generation.judgement import Column, Duplicate, Judgement, sentences
from synthkit._stages.generation.measure import Measured, measure
from synthkit._stages.generation.real import RMS, crops, evenly, levelled, noise
from synthkit._stages.generation.section import section
from synthkit._stages.generation.stage import Case, judge
from synthkit._stages.pipeline import run_recipe
from synthkit.audio import Audio
from synthkit.builtin.config import LogMelConfig, TonesConfig
from synthkit.builtin.tones import Tones
from synthkit.errors import DatasetError, PluginError
from synthkit.interfaces import Embedding, GenerativeModel, Progress, Request
from synthkit.presets import PRESETS
from synthkit.storage import cache_root

RATE, SECONDS = 8000, 1.0
FEATURES: dict[str, Any] = {
    **{"sample_rate": RATE, "n_fft": 256, "hop_length": 128, "n_mels": 32},
    **{"win_length": 256, "f_max": 4000.0, "floor": 1e-3},
}
RECIPE = """
recipe: 1
name: judged
data: {use: tones, clips_per_label: 13, seconds: 2.0, sample_rate: 8000}
features: {use: log-mel, sample_rate: 8000, n_fft: 256, win_length: 256, hop_length: 128, n_mels: 32, f_max: 4000, floor: 1e-3}
vocoder: griffin-lim
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("SYNTHKIT_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.discover()


@pytest.fixture(scope="module")
def prepared(cache: Path, catalog: Catalog, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """Six kinds of tones: 7 training clips of each, 2 for validation and 2 for the test."""
    folder = tmp_path_factory.mktemp("judged")
    (folder / "judged.yaml").write_text(RECIPE, encoding="utf-8")
    run = run_recipe(folder / "judged.yaml", catalog=catalog, run_dir=folder / "run", first="prepare", last="prepare")
    return Prepared.open(run.data_file)


class Player(GenerativeModel):
    """Makes the features of sounds that it is given: what a model would make that has learned exactly so much."""

    def __init__(self, prepared: Prepared, make: Callable[[str, int], np.ndarray], *, labelled: bool = True) -> None:
        self.spec = LogMelConfig(**FEATURES).spec()
        self.labels = prepared.labels if labelled else ()
        self.make, self.kinds = make, prepared.labels
        self.made = 0

    def generate(
        self, request: Request, *, random: torch.Generator | None = None, progress: Progress | None = None
    ) -> Tensor:
        turns = [self.kinds[number % len(self.kinds)] for number in range(request.count)]
        made = []
        for label in request.labels or turns:
            samples = self.make(label, self.made // len(self.kinds))[: self.spec.samples(request.frames)]
            made.append(dsp.log_mel(torch.from_numpy(samples[None].astype(np.float32)), self.spec)[0])
            self.made += 1
        return torch.stack(made)


def fresh_music(label: str, number: int) -> np.ndarray:
    """Pieces of the same kinds that no clip of the data set is."""
    tones = Tones(TonesConfig(seed=99, clips_per_label=16, seconds=2.0, sample_rate=RATE))
    own = [clip for clip in tones.clips() if clip.label == label]
    return tones.open(own[number]).samples[0]


def learned_by_heart(prepared: Prepared) -> Callable[[str, int], np.ndarray]:
    """Pieces of training clips, softer and from a moment within them."""

    def make(label: str, number: int) -> np.ndarray:
        own = [entry for entry in prepared.entries("train") if entry.label == label]
        return 0.5 * prepared.read(own[number % len(own)])[1500:]

    return make


def hiss(label: str, number: int) -> np.ndarray:
    return np.random.default_rng(sum(map(ord, label)) + number).normal(0, 0.1, RATE)


def block_of(kind: Any, name: str, **settings: Any) -> Block:
    offered, config = Catalog.discover().configure(kind, name, settings)
    return Block(kind=kind, offered=offered, config=config)


def judged(prepared: Prepared, model: Player, count: int = 24) -> Judgement:
    catalog = Catalog.discover()
    offered, config = catalog.configure("vocoder", "griffin-lim", {"iterations": 8})
    case = Case(
        name="player",
        model=model,
        voices=(("griffin-lim", catalog.build(offered, config, model.spec)),),
        prepared=prepared,
        embedding=block_of("embedding", "classifier", steps=100, batch=16),
        count=count,
        seconds=SECONDS,
    )
    return judge(case, catalog, Reporter())


def test_music_of_the_same_kind_passes(prepared: Prepared) -> None:
    found = judged(prepared, Player(prepared, fresh_music), count=48)
    made, floor, ceiling = (found.value("frechet", role) for role in ("made", "real", "noise"))
    assert made is not None
    assert floor is not None
    assert ceiling is not None
    assert made < 3 * floor
    assert made < ceiling / 5
    accuracy = found.value("label-accuracy", "made")
    assert accuracy is not None
    assert accuracy > 0.8
    assert found.duplicates == ()
    assert found.collapsed == ()
    said = " ".join(sentences(found))
    assert "near the real" in said
    assert "none is a piece of the training clips" in said
    assert found.made == 48
    assert found.compared >= 12


def test_what_was_learned_by_heart_is_named_with_its_clip(prepared: Prepared) -> None:
    found = judged(prepared, Player(prepared, learned_by_heart(prepared)), count=18)
    assert len(found.duplicates) >= 9  # of 18: short sparse pieces of different clips are alike, too
    for duplicate in found.duplicates:
        assert duplicate.difference < duplicate.usual / 3
        assert duplicate.of.partition("/")[0] == duplicate.clip.partition(" ")[0]
    first = found.duplicates[0]
    assert any(f"{first.clip} is {first.of}" in text for text in sentences(found))


def test_collapse_is_named_label_by_label(prepared: Prepared) -> None:
    def stuck(label: str, number: int) -> np.ndarray:
        return fresh_music(label, 0 if label == "melody" else number % 2 if label == "bass" else number)

    found = judged(prepared, Player(prepared, stuck), count=30)
    assert {it.label: it.different for it in found.collapsed} == {"melody": 1, "bass": 2}
    said = next(sentences(found))
    assert said.startswith("Collapse: ")
    assert "of 5 clips of melody only 1 is different" in said
    assert "of 5 clips of bass only 2 are different" in said


def test_silence_is_named_and_is_no_piece_of_a_training_clip(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A silent clip was called a piece of a recording that ends in silence."""

    def sometimes(label: str, number: int) -> np.ndarray:
        return np.zeros(RATE, np.float32) if label == "bells" and number == 1 else fresh_music(label, number)

    def all_of_them(names: Sequence[str], *rest: Any) -> Iterator[Duplicate]:
        return (Duplicate(clip=name, of="music/end.wav", difference=0.25, usual=1.7) for name in names)

    monkeypatch.setattr("synthkit._stages.generation.stage.duplicates", all_of_them)
    found = judged(prepared, Player(prepared, sometimes))
    assert found.silent == ("bells 8",)
    assert len(found.duplicates) == 23
    assert "bells 8" not in {duplicate.clip for duplicate in found.duplicates}
    assert "1 new clip is silent: bells 8." in list(sentences(found))
    assert found.to_json()["silent"] == ["bells 8"]


def test_noise_fails_and_guesses(prepared: Prepared) -> None:
    found = judged(prepared, Player(prepared, hiss))
    made, ceiling = found.value("frechet", "made"), found.value("frechet", "noise")
    assert made is not None
    assert ceiling is not None
    assert made > ceiling / 3
    assert found.value("recall", "made") == pytest.approx(0, abs=0.2)
    assert any("the model hardly follows its labels" in text for text in sentences(found))


def test_the_vocoder_is_told_apart_from_the_model(prepared: Prepared) -> None:
    """Real clips through the same vocoder stand beside what it makes of the model's."""
    found = judged(prepared, Player(prepared, hiss))
    copies, made = found.value("frechet", "copy"), found.value("frechet", "made")
    assert copies is not None
    assert made is not None
    assert copies < made / 5
    assert [column.role for column in found.columns] == ["made", "copy", "real", "noise"]
    told = next(row for row in found.rows if row.name == "label-accuracy")
    values = dict(zip([column.name for column in found.columns], (0.4, 0.5, 1.0, 0.2), strict=True))
    muffled = dataclasses.replace(found, rows=(dataclasses.replace(told, values=values),))
    assert next(sentences(muffled)) == (
        "40.0% of the new clips are taken for what they should be; of real ones 100%, and 50.0% once the same vocoder has made "
        "them again."
    )


def test_a_model_without_labels_is_judged_by_all_clips_together(prepared: Prepared) -> None:
    found = judged(prepared, Player(prepared, fresh_music, labelled=False))
    assert found.rows[0].name == "frechet"
    assert [it.label for it in found.labels] == [""]
    assert found.value("label-accuracy", "made") is None


def test_what_was_learned_once_is_not_learned_again(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    first = judged(prepared, Player(prepared, fresh_music), count=12)

    def learns(*_: Any, **__: Any) -> None:
        raise AssertionError("it learns again")

    monkeypatch.setattr("synthkit.builtin.classifier.ClassifierEmbedding.fit", learns)
    again = judged(prepared, Player(prepared, fresh_music), count=12)
    assert again.rows == first.rows
    for file in (cache_root() / "embeddings").rglob("*.safetensors"):
        file.write_bytes(b"damaged")
    with pytest.raises(AssertionError, match="it learns again"):
        judged(prepared, Player(prepared, fresh_music), count=12)


def test_the_figures_are_json_and_the_page_has_them(prepared: Prepared) -> None:
    found = judged(prepared, Player(prepared, learned_by_heart(prepared)), count=12)
    content = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert [row["name"] for row in content["rows"]] == [
        *("label-accuracy", "frechet", "precision", "recall", "density", "coverage", "diversity")
    ]
    assert content["says"] == list(sentences(found))
    markup = section(found)
    for text in (
        *content["says"][:1],
        *prepared.labels,
        "real clips (floor)",
        "noise (ceiling)",
        found.duplicates[0].of,
    ):
        assert text in markup
    assert markup.count("<audio") == sum(len(it.made) + len(it.real) for it in found.examples)


def points(role: Any, count: int, labels: Sequence[str], seed: int = 0, shift: float = 0.0) -> Measured:
    return Measured(
        column=Column(name=role, role=role),
        points=np.random.default_rng(seed).normal(shift, 1, (count, 4)),
        labels=tuple(labels[number % len(labels)] for number in range(count)),
        clips=tuple(f"{role} {number // 2}" for number in range(count)),
        told=None,
    )


def test_floor_and_figure_are_over_as_many_points() -> None:
    """Points of one distribution have the floor's figures, however many more of them there are."""
    sets = [points("made", 400, "ab", 1), points("real", 80, "ab", 2), points("noise", 80, "ab", 3, shift=9.0)]
    rows, compared = measure(sets, seed=0)
    frechet = next(row for row in rows if row.name == "frechet").values
    assert compared == 40
    assert frechet["made"] == pytest.approx(frechet["real"], rel=0.5)
    assert frechet["noise"] > 100 * frechet["real"]  # type: ignore[operator]


def test_too_few_real_clips_have_no_distances() -> None:
    sets = [points("made", 8, "abcd", 1), points("real", 4, "abcd", 2), points("noise", 4, "abcd", 3)]
    rows, compared = measure(sets, seed=0)
    assert compared == 0
    assert all(value is None for row in rows if row.name != "diversity" for value in row.values.values())


def test_a_label_that_is_not_made_does_not_count() -> None:
    rows, compared = measure([points("made", 20, "a", 1), points("real", 80, "ab", 2)], seed=0)
    assert compared == 20
    assert rows[0].values["made"] is not None


def test_crops_are_as_many_of_each_label_and_never_a_rest(prepared: Prepared) -> None:
    found = crops(prepared, ["validation", "test"], 4000, 48)
    counts = {label: sum(crop.label == label for crop in found) for label in prepared.labels}
    assert max(counts.values()) <= 8
    assert min(counts.values()) >= 4
    assert all(crop.sound.frames == 4000 and crop.sound.peak > 0 for crop in found)
    assert not {crop.clip for crop in found} & {entry.id for entry in prepared.entries("train")}
    longer = crops(prepared, ["test"], 12000, 6)
    assert {crop.sound.frames for crop in longer} == {12000}


def test_all_are_brought_to_one_level() -> None:
    for sound in (*noise(2, 4000, RATE, 0), levelled(Audio(np.sin(np.arange(4000.0)), RATE))):
        assert np.sqrt(np.mean(sound.samples**2)) == pytest.approx(RMS, rel=1e-3)
    assert levelled(Audio(np.zeros(10), RATE)).peak == 0
    assert evenly(range(10), 3) == [0, 3, 6]
    assert evenly([], 3) == []


class Broken(Embedding):
    def __init__(self) -> None:
        self.spec = PRESETS["melgan"].spec

    def embed(self, sounds: Sequence[Audio]) -> np.ndarray:
        return np.full((len(sounds), 2), np.nan, np.float32)


def test_an_embedding_that_breaks_its_word_is_named() -> None:
    with pytest.raises(PluginError, match=r"Broken gave points of shape .* not finite"):
        points_of(Broken(), noise(2, 4000, RATE, 0))


def test_without_real_clips_there_is_nothing_to_judge_by(prepared: Prepared) -> None:
    only = [entry for entry in prepared.entries() if entry.split == "train"]
    alone = Prepared(
        sample_rate=RATE,
        labels=prepared.labels,
        dataset={},
        entries=tuple(only),
        unreadable=(),
        cache=prepared.cache,
    )
    with pytest.raises(DatasetError, match="a model is judged by real clips"):
        judged(alone, Player(prepared, fresh_music), count=6)


def test_a_whole_collapse_is_one_sentence(prepared: Prepared) -> None:
    found = judged(prepared, Player(prepared, lambda label, _: fresh_music(label, 0)), count=12)
    assert next(sentences(found)) == "Collapse: only 6 of the 12 new clips are different, about 1 of each label."
