"""What a model is asked for: by the recipe, by Python; what comes of it, and what is refused and when."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

import synthkit
from synthkit._catalog import Catalog
from synthkit._data.prepared import Prepared
from synthkit._recipe.load import load_text
from synthkit._run.folder import RunFolder
from synthkit._stages.pipeline import run_recipe
from synthkit.errors import ConfigError, RecipeError, SpecMismatch
from synthkit.specs import FeatureSpec
from synthkit.testing import battery

ABLE = Path(__file__).with_name("able.py")
SPEC = FeatureSpec(sample_rate=8000, n_fft=256, hop_length=64, n_mels=20)
LABELS = ("bass", "bells", "chords", "melody", "noise", "percussion")
RECIPE = """\
recipe: 1
name: asked
seed: 5
data: {use: tones, clips_per_label: 3, seconds: 1.0, sample_rate: 8000}
features: {use: log-mel, preset: melgan, sample_rate: 8000, n_fft: 256, hop_length: 64, n_mels: 20}
model: able
vocoder: {use: melgan, channels: 2, ratios: [8, 8]}
prepare: {workers: 1}
train:
  - part: vocoder
    steps: 1
    batch: 2
    crop_seconds: 0.2
    evaluate_items: 2
    device: cpu
    objective: {critic: {channels: 4, max_channels: 8}}
  - {part: model, steps: 1, batch: 2, crop_seconds: 0.2, evaluate_items: 2, device: cpu}
generate: {count: 4, seconds: 0.5, copies: 2, compare: [{use: griffin-lim, iterations: 1}]}
"""


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.discover([ABLE])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, catalog: Catalog) -> Iterator[RunFolder]:
    """A run that trained both parts."""
    folder = tmp_path_factory.mktemp("asked")
    (folder / "asked.yaml").write_text(RECIPE, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SYNTHKIT_CACHE", str(folder / "cache"))
        yield run_recipe(folder / "asked.yaml", catalog=catalog, run_dir=folder / "run", last="train")


@pytest.fixture
def generate(trained: RunFolder, catalog: Catalog) -> Callable[..., list[dict[str, Any]]]:
    """The items of the index of a generate stage with some settings."""

    def start(**wanted: Any) -> list[dict[str, Any]]:
        source, stage = trained.path.parent / "asked.yaml", {"first": "generate", "last": "generate"}
        overrides = {f"generate.{name}": value for name, value in wanted.items()}
        trained.generated_index.unlink(missing_ok=True)
        run_recipe(source, catalog=catalog, run_dir=trained.path, overrides=overrides, **stage)
        items: list[dict[str, Any]] = json.loads(trained.generated_index.read_text(encoding="utf-8"))["items"]
        return items

    return start


def able(**settings: Any) -> synthkit.LoadedModel:
    synthkit.load_plugin(ABLE)
    return synthkit.model("able", SPEC, ("low", "high"), **settings)


@pytest.mark.parametrize("can", [(), ("blend",), ("blend", "conditions", "continue", "temperature", "text")], ids=len)
def test_the_model_of_these_tests_keeps_the_laws(catalog: Catalog, can: tuple[str, ...]) -> None:
    offered, config = catalog.configure("model", "able", {"can": can})
    for check in battery("model", lambda: catalog.build(offered, config, SPEC, ("low", "high")), config=config):
        check()


class TestRecipe:
    def test_new_clips_and_copies_by_every_voice(
        self, generate: Callable[..., list[dict[str, Any]]], trained: RunFolder
    ) -> None:
        items = generate()
        assert [item["kind"] for item in items] == ["generated"] * 4 + ["copy"] * 2
        assert [item["label"] for item in items[:4]] == list(LABELS[:4])
        assert {item["label"] for item in items[4:]} <= set(LABELS)
        for item in items:
            roles = [version["role"] for version in item["versions"]]
            assert roles == [*(["reference"] if item["kind"] == "copy" else []), "compare", "vocoder"]
            assert (item["continues"], item["like"], item["blend"], item["text"]) == (None, None, None, "")
        file = soundfile.SoundFile(trained.path / items[0]["versions"][-1]["file"])
        assert file.comment == f"able and melgan, label bass, seed {items[0]['seed']}, recipe asked, run run"
        assert file.copyright.startswith("CC0 1.0")
        copy = soundfile.SoundFile(trained.path / items[4]["versions"][-1]["file"])
        assert copy.comment.startswith("melgan, label")

    def test_labels_in_turn_and_none_of_the_copies(self, generate: Callable[..., list[dict[str, Any]]]) -> None:
        items = generate(labels=["noise", "bass"], copies=0, count=3)
        assert [item["label"] for item in items] == ["noise", "bass", "noise"]

    def test_batches_change_nothing(self, generate: Callable[..., list[dict[str, Any]]], trained: RunFolder) -> None:
        def sounds(batch: int) -> list[bytes]:
            items = generate(batch=batch, copies=0, count=3)
            return [(trained.path / version["file"]).read_bytes() for item in items for version in item["versions"]]

        assert sounds(1) == sounds(3)

    def test_real_clips_are_continued(self, generate: Callable[..., list[dict[str, Any]]], trained: RunFolder) -> None:
        items = generate(copies=0, seconds=0.75, count=8, **{"continue.seconds": 0.25})
        prepared = Prepared.open(trained.data_file)
        clips = {entry.id: entry for entry in prepared.entries("test")}
        assert [item["continues"]["clip"] for item in items] == [*sorted(clips), *sorted(clips)[:2]]
        for item in items:
            entry = clips[item["continues"]["clip"]]
            assert item["label"] == entry.label
            assert item["continues"]["seconds"] == pytest.approx(0.25, abs=0.005)
            assert [version["role"] for version in item["versions"]] == ["beginning", "compare", "vocoder"]
            heard, _ = soundfile.read(trained.path / item["versions"][0]["file"], dtype="float32")
            assert heard == pytest.approx(prepared.read(entry, 0, len(heard)), abs=1e-4)
            assert len(heard) == pytest.approx(2000, abs=64)
            made, rate = soundfile.read(trained.path / item["versions"][1]["file"])
            assert len(made) / rate == pytest.approx(0.75, abs=0.01)
        comment = soundfile.SoundFile(trained.path / items[0]["versions"][1]["file"]).comment
        assert "continues 0.248 s of bass/0002, recipe asked" in comment

    def test_a_beginning_longer_than_any_clip_is_refused(self, generate: Callable[..., list[dict[str, Any]]]) -> None:
        with pytest.raises(
            ConfigError, match=r"no clip of the test split lasts 2 s, as `generate.continue.seconds` asks"
        ):
            generate(seconds=3.0, **{"continue.seconds": 2.0})

    def test_real_clips_are_followed_as_far_as_they_go(
        self, generate: Callable[..., list[dict[str, Any]]], trained: RunFolder
    ) -> None:
        items = generate(copies=0, seconds=2.0, count=2, **{"like.source": "validation"})
        assert [item["like"] for item in items] == ["bass/0001", "melody/0001"]
        made, rate = soundfile.read(trained.path / items[0]["versions"][-1]["file"])
        assert len(made) / rate == pytest.approx(1.0, abs=0.01)

    def test_the_way_between_two_labels(self, generate: Callable[..., list[dict[str, Any]]]) -> None:
        items = generate(copies=0, count=3, **{"blend.labels": ["bells", "noise"]})
        assert [item["blend"] for item in items] == [
            {"share": share, "label": "noise", "seed": None} for share in (0.0, 0.5, 1.0)
        ]
        assert [item["title"] for item in items] == [
            f"bells to noise, {share}% {n}" for n, share in enumerate((0, 50, 100), 1)
        ]
        assert {(item["label"], item["seed"]) for item in items} == {("bells", items[0]["seed"])}
        assert len({item["id"] for item in items}) == 3

    def test_the_way_between_two_seeds(self, generate: Callable[..., list[dict[str, Any]]]) -> None:
        items = generate(copies=0, count=2, labels=["noise"], **{"blend.seeds": [3, 9]})
        assert [item["blend"] for item in items] == [{"share": it, "label": None, "seed": 9} for it in (0.0, 1.0)]
        assert {(item["label"], item["seed"]) for item in items} == {("noise", 3)}

    def test_texts_are_said_in_turn(self, generate: Callable[..., list[dict[str, Any]]]) -> None:
        items = generate(copies=0, count=3, texts=["Good morning.", "Good night."])
        assert [item["text"] for item in items] == ["Good morning.", "Good night.", "Good morning."]

    def test_a_label_that_the_data_has_not_is_said_before_the_training(
        self, catalog: Catalog, trained: RunFolder, tmp_path: Path
    ) -> None:
        source, overrides = trained.path.parent / "asked.yaml", {"generate.labels": ["bas"]}
        with pytest.raises(ConfigError, match="the model knows no label 'bas'; did you mean 'bass'"):
            run_recipe(source, catalog=catalog, run_dir=tmp_path / "run", overrides=overrides, last="train")
        assert not (tmp_path / "run" / "checkpoints").exists()


MISTAKES = {
    "{continue: {seconds: 5}}": "generate: `continue` keeps 5 s of a clip, and seconds: 5 leaves nothing to make",
    "{blend: {}}": "generate.blend: write `labels: [one, other]`, `seeds: [one, other]`, or both",
    "{blend: {seeds: [1, 2]}, count: 1}": "`count` must be at least 2",
    "{blend: {seeds: [1, 2]}, like: {}}": "`blend` stands alone",
    "{blend: {labels: [a, b]}, labels: [a]}": "`blend` names the labels already: remove `labels`",
    "{like: {source: train}, continue: {}}": "`like` and `continue` take the same clips: name the same source in both",
    "{continue: {second: 1}}": "generate.continue.second: unknown key; did you mean 'seconds'?",
    "{contineu: {}}": "generate.contineu: unknown key; did you mean 'continue'?",
    "{labels: []}": "generate.labels: must have at least 1 item, has 0",
}


@pytest.mark.parametrize("wanted", MISTAKES)
def test_mistakes_of_a_recipe_are_told_by_the_check(catalog: Catalog, wanted: str) -> None:
    text = RECIPE[: RECIPE.index("generate:")] + f"generate: {wanted}\n"
    with pytest.raises(RecipeError) as caught:
        load_text(text, Path("asked.yaml"), catalog)
    assert len(caught.value.problems) == 1
    assert MISTAKES[wanted] in str(caught.value)


ASKED = {
    "temperature: 0.5": "temperature",
    "texts: [hello]": "text",
    "continue: {seconds: 1}": "continue",
    "like: {}": "conditions",
    "blend: {seeds: [1, 2]}": "blend",
}


@pytest.mark.parametrize("asked", ASKED)
def test_what_the_settings_rule_out_is_a_mistake_and_the_rest_is_not(catalog: Catalog, asked: str) -> None:
    def load(model: str) -> None:
        text = RECIPE[: RECIPE.index("generate:")].replace("model: able", model) + f"generate: {{{asked}}}\n"
        load_text(text, Path("asked.yaml"), catalog)

    others = [ability for ability in ASKED.values() if ability != ASKED[asked]]
    load(f"model: {{use: able, can: [{ASKED[asked]}]}}")
    load("model: {use: able, can: [], tells: false}")
    with pytest.raises(
        RecipeError, match=r"generate\.\w+: the model 'able' with these settings cannot .*; it can serve: "
    ):
        load(f"model: {{use: able, can: {others}}}".replace("'", ""))
    with pytest.raises(RecipeError, match="only a model makes new clips, and there is none; add a `model:` block"):
        load_text(
            f"recipe: 1\nname: x\ndata: tones\nfeatures: log-mel\nvocoder: griffin-lim\ngenerate: {{{asked}}}\n",
            Path("x.yaml"),
            catalog,
        )


class TestPython:
    def test_a_prompt_is_what_a_clip_begins_with(self) -> None:
        model = able()
        sound = synthkit.Audio(0.3 * np.sin(np.arange(4000) / 8000 * 2 * np.pi * 440), 8000)
        features = synthkit.features(
            "log-mel", preset=None, sample_rate=8000, n_fft=256, hop_length=64, n_mels=20, log="log10", floor=1e-5
        ).extract(sound)
        for prompt in (sound, features):
            (made,) = model.generate(seconds=1.0, prompt=prompt, seed=3)
            assert made.frames == 125
            kept = made.values[..., : features.frames]
            assert torch.allclose(kept[..., :-4], features.convert(SPEC).values[..., :-4], atol=1e-3)
        with pytest.raises(ConfigError, match=r"lasts 0.504 s, so clips of 0.304 s would have nothing new"):
            model.generate(seconds=0.3, prompt=features)
        other = synthkit.features("log-mel", preset="melgan").extract(sound)
        with pytest.raises(SpecMismatch, match="sample_rate"):
            model.generate(seconds=1.0, prompt=other)

    def test_what_it_follows_limits_its_length(self) -> None:
        loud = synthkit.Audio(np.random.default_rng(1).normal(0, 0.3, 3200), 8000)
        quiet = synthkit.Audio(loud.samples / 100, 8000)
        model = able()
        one, other = (model.generate(seconds=1.0, like=sound, seed=3)[0] for sound in (loud, quiet))
        assert one.frames == other.frames == 50
        assert float((one.values - other.values)[..., 2:-2].mean()) == pytest.approx(2, abs=0.05)  # 40 dB in log10

    def test_ways_begin_and_end_at_their_ends(self) -> None:
        model = able()
        made = model.generate(seconds=0.4, count=3, label="low", to_label="high", seed=3)
        ends = [model.generate(seconds=0.4, label=label, seed=3)[0].values for label in ("low", "high")]
        assert torch.allclose(made[0].values, ends[0])
        assert torch.allclose(made[2].values, ends[1], atol=1e-6)
        assert torch.allclose(made[1].values, (ends[0] + ends[1]) / 2, atol=1e-6)
        seeds = model.generate(seconds=0.4, count=2, label="low", seed=3, to_seed=8)
        assert torch.allclose(seeds[1].values, model.generate(seconds=0.4, label="low", seed=8)[0].values, atol=1e-6)

    def test_batches_are_as_large_as_asked_and_change_nothing(self) -> None:
        model = able()
        assert isinstance(model.component.asked, list)
        whole = model.generate(seconds=0.2, count=5, seed=3, batch=5)
        pieces = model.generate(seconds=0.2, count=5, seed=3, batch=2)
        assert [request.count for request in model.component.asked] == [5, 2, 2, 1]
        assert all(torch.equal(one.values, other.values) for one, other in zip(whole, pieces, strict=True))

    @pytest.mark.parametrize(
        ("asked", "message"),
        [
            ({"to_label": "high"}, "a way to the label 'high' begins at another: say at which"),
            ({"label": "low", "to_label": "hihg"}, "knows no label 'hihg'; did you mean 'high'"),
            ({"to_seed": 4, "count": 1}, "needs at least two clips"),
        ],
    )
    def test_ways_that_lead_nowhere_are_refused(self, asked: dict[str, Any], message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            able().generate(**{"count": 2, **asked})

    @pytest.mark.parametrize("asked", [{"temperature": 0.5}, {"text": "hello"}, {"to_seed": 4, "count": 2}])
    def test_what_it_cannot_is_refused_before_it_is_asked(self, asked: dict[str, Any]) -> None:
        model = able(can=[])
        with pytest.raises(ConfigError, match=r"Able cannot .*; it can serve: nothing beside labels and a length"):
            model.generate(**asked)
        assert model.component.asked == []
