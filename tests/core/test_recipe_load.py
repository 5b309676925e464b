"""From a recipe's text to a checked recipe, and every mistake with its place."""

from __future__ import annotations

import dataclasses
import itertools
import random
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from synthkit._catalog import Catalog
from synthkit._recipe.load import find_recipe, load_recipe, shipped_recipes
from synthkit._recipe.model import Recipe
from synthkit.errors import Problem, RecipeError, UnknownName

GOOD = """\
recipe: 1
name: good
data: {use: tones, clips_per_label: 4}
features: {use: log-mel, preset: melgan}
vocoder: {use: melgan, channels: 8}
train: {part: vocoder, steps: 400_000, batch: 2, keep: {every: 10_000}}
generate: {count: 2, compare: [griffin-lim]}
report: {metrics: [mel-l1, multi-stft]}
tiny: {train.steps: 4}
"""

Load = Callable[..., Recipe]
Mistakes = Callable[..., list[str]]


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.discover()


@pytest.fixture
def load(tmp_path: Path, catalog: Catalog) -> Load:
    def call(text: str, **options: object) -> Recipe:
        file = tmp_path / "r.yaml"
        file.write_text(text, encoding="utf-8")
        return load_recipe(file, catalog, **options)  # type: ignore[arg-type]

    return call


@pytest.fixture
def mistakes(load: Load, tmp_path: Path) -> Mistakes:
    """The problems of a text, each without the folder of its file."""

    def call(text: str, **options: object) -> list[str]:
        with pytest.raises(RecipeError) as caught:
            load(text, **options)
        return [str(problem).replace(f"{tmp_path}/", "") for problem in caught.value.problems]

    return call


def test_a_good_recipe_has_its_numbers_and_the_defaults(load: Load) -> None:
    recipe = load(GOOD)
    assert (recipe.name, recipe.seed, recipe.description) == ("good", 0, "")
    assert recipe.spec.hop_length == 256
    assert recipe.vocoder is not None
    assert recipe.vocoder.config.model_dump()["channels"] == 8
    (training,) = recipe.train
    assert (training.settings.steps, training.settings.batch, training.settings.keep.every) == (400_000, 2, 10_000)
    assert training.objective.offered.offer.name == "melgan"
    assert [block.offered.offer.name for block in recipe.compare] == ["griffin-lim"]
    assert [block.offered.offer.name for block in recipe.metrics] == ["mel-l1", "multi-stft"]
    assert [block.offered.offer.name for block in recipe.trackers] == ["json-lines"]
    assert recipe.part("vocoder") is recipe.vocoder
    assert recipe.part("model") is None


def test_metrics_that_are_not_named_are_all_that_the_core_has(load: Load, catalog: Catalog) -> None:
    metrics = {
        block.offered.offer.name
        for block in load(GOOD.replace("report: {metrics: [mel-l1, multi-stft]}\n", "")).metrics
    }
    assert metrics == {offered.offer.name for offered in catalog.offers("metric") if offered.plugin == "builtin"}


def test_the_resolved_recipe_loads_as_the_same_recipe(load: Load) -> None:
    first = load(GOOD, overrides=["train.gain=[0.5, 1]", "data.seconds=1e0"])
    second = load(first.resolved)
    assert dataclasses.replace(first, source=second.source) == second
    assert "tiny" not in first.resolved


def test_six_mistakes_of_six_kinds_are_six_messages_and_nothing_runs(mistakes: Mistakes, tmp_path: Path) -> None:
    text = """\
recipe: 1
name: six
data: {use: tones, clips_per_label: many}
features: {use: log-mel, hop_lenght: 300}
vocoder: {use: melgna}
train:
  part: vocoder
  batch: 0
seed: 3
seed: 4
"""
    before = set(sys.modules)
    found = mistakes(text)
    assert [line.split(" ")[0] for line in found] == [
        "r.yaml:3:37:",
        "r.yaml:4:26:",
        "r.yaml:5:16:",
        "r.yaml:6:1:",
        "r.yaml:8:10:",
        "r.yaml:10:1:",
    ]
    assert "data.clips_per_label: expected a whole number, got 'many'" in found[0]
    assert "features.hop_lenght: unknown key; did you mean 'hop_length'?" in found[1]
    assert "vocoder.use: there is no vocoder 'melgna'; did you mean 'melgan'?" in found[2]
    assert "train.steps: a required key is missing" in found[3]
    assert "train.batch: must be at least 1, is 0" in found[4]
    assert "seed: this key is written twice; the first one is in line 9" in found[5]
    assert not {name for name in set(sys.modules) - before if name.startswith(("torch", "librosa"))}
    assert [path.name for path in tmp_path.iterdir()] == ["r.yaml"]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("recipe: 1", "recipe: 2", "r.yaml:1:9: recipe: expected 1, got 2"),
        ("recipe: 1\n", "", "r.yaml:1:1: recipe: a required key is missing"),
        ("name: good", "name: a/b", "r.yaml:2:7: name: "),
        ("name: good", "nmae: good", "r.yaml:2:1: nmae: unknown key; did you mean 'name'?"),
        ("{use: tones, clips_per_label: 4}", "3", "r.yaml:3:7: data: expected a data set, got 3"),
        ("{use: tones, clips_per_label: 4}", "{usee: tones}", "r.yaml:3:8: data: a required key is missing: `use:`"),
        ("{use: tones, clips_per_label: 4}", "{use: [tones]}", "r.yaml:3:13: data.use: expected the name of a component"),
        ("data: {use: tones, clips_per_label: 4}\n", "", "r.yaml:1:1: data: a required key is missing"),
        ("{use: tones, clips_per_label: 4}", "", "r.yaml:1:1: data: a required key is missing"),
        ("clips_per_label: 4", "clips_per_label: true", "data.clips_per_label: expected a whole number, got true"),
        ("clips_per_label: 4", "clips_per_label: '4'", "data.clips_per_label: expected a whole number, got '4'"),
        ("clips_per_label: 4", "clips_per_label: 4.5", "data.clips_per_label: expected a whole number, got 4.5"),
        ("preset: melgan}", "preset: melgon}", "r.yaml:4:34: features.preset: "),
        ("preset: melgan}", "preset: melgan, f_max: 20_000}", "r.yaml:4:49: features: 0 <= f_min < f_max <= 11025"),
        ("preset: melgan}", "preset: melgan, hop_length: 300}", "MelGAN's ratios"),
        ("channels: 8}", "channels: 8, ratios: [8, x]}", "r.yaml:5:49: vocoder.ratios.1: expected a whole number, got 'x'"),
        ("part: vocoder", "part: vocodr", "r.yaml:6:15: train.part: expected one of 'vocoder', 'model' or 'converter', got 'vocodr'"),
        ("part: vocoder", "part: model", "r.yaml:6:15: train.part: there is no model in this recipe"),
        ("{use: melgan, channels: 8}", "griffin-lim", "r.yaml:6:15: train.part: the vocoder 'griffin-lim' learns nothing"),
        ("train: {", "trane: {", "r.yaml:5:1: vocoder: 'melgan' has to be trained, and no `train:` block does"),
        ("keep: {every: 10_000}", "keep: {evry: 1}", "r.yaml:6:57: train.keep.evry: unknown key; did you mean 'every'?"),
        ("keep: {every: 10_000}", "keep: 3", "r.yaml:6:56: train.keep: expected a mapping, got 3"),
        ("keep: {every: 10_000}", "crop_seconds: 1e-3", "r.yaml:6:64: train.crop_seconds: a crop of 0.001 s"),
        ("batch: 2,", "batch: 2, objective: {lerning_rate: 1},", "train.objective.lerning_rate: unknown key; did you mean"),
        ("batch: 2,", "batch: 2, objective: melgam,", "train.objective.use: there is no objective 'melgam'"),
        ("compare: [griffin-lim]", "compare: griffin-lim", "r.yaml:7:31: generate.compare: expected a list, got 'griffin-lim'"),
        ("compare: [griffin-lim]", "compare: [melgan]", "r.yaml:7:32: generate.compare.0: 'melgan' has to be trained"),
        ("compare: [griffin-lim]", "compare: [griffin-lim, griffin-lim]", "generate.compare.1: stands in the list twice"),
        ("{count: 2,", "{source: tests,", "r.yaml:7:20: generate.source: expected one of 'train', 'validation' or 'test', got 'tests'"),
        ("metrics: [mel-l1, multi-stft]", "metrics: [mel-l2]", "r.yaml:8:20: report.metrics.0.use: there is no metric 'mel-l2'"),
        ("metrics: [mel-l1, multi-stft]", "metric: []", "r.yaml:8:10: report.metric: unknown key; did you mean 'metrics'?"),
        ("{train.steps: 4}", "{train.stps: 4}", "r.yaml:9:8: train.stps: unknown key; did you mean 'steps'?"),
        ("{train.steps: 4}", "{train.steps: 0}", "r.yaml:9:21: train.steps: must be at least 1, is 0"),
        ("{train.steps: 4}", "[train.steps]", "r.yaml:9:7: tiny: expected a mapping of paths to values"),
        ("{train.steps: 4}", "{name.x.y: 4}", "r.yaml:9:8: name.x.y: name is a single value"),
    ],
)  # fmt: skip
def test_each_mistake_is_told_at_its_place(mistakes: Mistakes, old: str, new: str, expected: str) -> None:
    assert old in GOOD
    found = mistakes(GOOD.replace(old, new, 1))
    assert any(expected in line for line in found), found


def test_a_wrong_part_does_not_hide_the_mistakes_of_its_objective(mistakes: Mistakes) -> None:
    text = GOOD.replace("channels: 8}", "channels: x}").replace("batch: 2,", "objective: {betas: [0.5, 1.5]},")
    assert [line.split(": ")[1] for line in mistakes(text)] == ["vocoder.channels", "train.objective.betas.1"]


@pytest.mark.parametrize("number", [".inf", "-.inf", ".nan"])
def test_numbers_are_finite(mistakes: Mistakes, number: str) -> None:
    (line,) = mistakes(GOOD.replace("batch: 2,", f"crop_seconds: {number},"))
    assert "train.crop_seconds: " in line


def test_a_name_that_a_broken_plugin_may_have_offered_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "hum.py").write_text("import a_module_that_is_not_there\n", encoding="utf-8")
    file = tmp_path / "r.yaml"
    file.write_text(GOOD.replace("{use: melgan, channels: 8}", "hum"), encoding="utf-8")
    with pytest.raises(
        RecipeError, match=r"r.yaml:5:10: vocoder.use: there is no vocoder 'hum'.*'hum', which is broken"
    ) as caught:
        load_recipe(file, Catalog.discover([tmp_path / "hum.py"]))
    assert len(caught.value.problems) == 1


def test_positions_do_not_depend_on_how_it_is_laid_out(mistakes: Mistakes) -> None:
    text = GOOD.replace(
        "vocoder: {use: melgan, channels: 8}", "# words\nvocoder:\n  use: melgan\n\n  channels:\n    eight"
    )
    assert mistakes(text) == ["r.yaml:10:5: vocoder.channels: expected a whole number, got 'eight'"]


def test_a_key_with_nothing_after_it_is_as_if_not_written(load: Load) -> None:
    assert load(GOOD + "model:\nprepare:\ntrackers:\nseed:\n") == load(GOOD)


@pytest.mark.parametrize("text", ["", "# nothing\n", "- 1\n", "recipe\n", "3\n"])
def test_what_is_no_mapping_is_no_recipe(mistakes: Mistakes, text: str) -> None:
    (line,) = mistakes(text)
    assert "begin with `recipe: 1`" in line


def test_a_part_is_trained_once(mistakes: Mistakes) -> None:
    twice = GOOD.replace(
        "train: {part: vocoder, steps: 400_000, batch: 2, keep: {every: 10_000}}",
        "train: [{part: vocoder, steps: 1}, {part: vocoder, steps: 2}]",
    ).replace("tiny: {train.steps: 4}\n", "")
    assert mistakes(twice) == [
        "r.yaml:6:36: train.1: the vocoder is trained twice; write one block for it, with all its steps"
    ]


def test_a_recipe_that_makes_no_sound_is_a_mistake(mistakes: Mistakes) -> None:
    text = "recipe: 1\nname: mute\ndata: tones\nfeatures: log-mel\n"
    (line,) = mistakes(text)
    assert line.startswith("r.yaml:1:1: vocoder: a required key is missing")
    assert "griffin-lim" in line


def test_a_folder_that_does_not_exist_is_told_unless_files_are_not_to_be_asked_for(
    load: Load, mistakes: Mistakes
) -> None:
    text = GOOD.replace("{use: tones, clips_per_label: 4}", "{use: folder, root: nowhere/at/all}")
    (line,) = mistakes(text)
    assert line.startswith("r.yaml:3:27: data.root: the folder ")
    assert load(text, check_files=False).data.config.model_dump()["root"].is_absolute()
    (line,) = mistakes(text.replace("nowhere/at/all", "~nobody-of-that-name/music"))
    assert "no home folder for '~nobody-of-that-name'" in line


def test_files_that_cannot_be_read_are_told(tmp_path: Path, catalog: Catalog) -> None:
    bad = tmp_path / "latin.yaml"
    bad.write_bytes(b"recipe: 1\nname: caf\xe9\n")
    with pytest.raises(RecipeError, match=r"latin.yaml:2:10: not UTF-8 text"):
        load_recipe(bad, catalog)
    with pytest.raises(UnknownName, match="is a folder, not a recipe"):
        load_recipe(tmp_path, catalog)
    for name in ("quikstart", "quikstart.yaml"):
        with pytest.raises(UnknownName, match="did you mean 'quickstart'"):
            find_recipe(name)
    for name in ("x" * 5000, "a\0b", "~nobody-of-that-name/r.yaml"):
        with pytest.raises(UnknownName):
            find_recipe(name)


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path, catalog: Catalog, load: Load) -> None:
    file = tmp_path / "windows.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert dataclasses.replace(load_recipe(file, catalog), source=Path()) == dataclasses.replace(
        load(GOOD), source=Path()
    )


def test_shipped_recipes_are_found_by_name() -> None:
    names = [path.stem for path in shipped_recipes()]
    assert "quickstart" in names
    assert find_recipe("quickstart") == find_recipe("quickstart.yaml")


def test_two_components_of_one_name_are_told_apart_by_their_plugin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = tmp_path / "second.py"
    plugin.write_text(
        "from synthkit.hookspecs import hookimpl\n"
        "from synthkit.interfaces import Offer\n"
        "@hookimpl\n"
        "def synthkit_components():\n"
        "    return [Offer(kind='vocoder', name='griffin-lim', build='synthkit_griffin_lim.vocoder:GriffinLim',\n"
        "                  config='synthkit_griffin_lim.config:GriffinLimConfig', summary='Again.')]\n",
        encoding="utf-8",
    )
    catalog = Catalog.discover([plugin])
    file = tmp_path / "r.yaml"
    text = "recipe: 1\nname: two\ndata: tones\nfeatures: log-mel\nvocoder: griffin-lim\n"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError, match=r"r.yaml:5:10: vocoder.use: .*second/griffin-lim"):
        load_recipe(file, catalog)
    file.write_text(text.replace("griffin-lim", "second/griffin-lim"), encoding="utf-8")
    recipe = load_recipe(file, catalog)
    assert "use: second/griffin-lim" in recipe.resolved


@pytest.mark.parametrize("source", ["good", "shipped"])
def test_a_recipe_cut_off_anywhere_is_a_recipe_or_a_recipe_error(tmp_path: Path, catalog: Catalog, source: str) -> None:
    """Cut at every line, and inside lines; with lines doubled, dropped and swapped: never another exception."""
    texts = [GOOD] if source == "good" else [path.read_text(encoding="utf-8") for path in shipped_recipes()]
    draw = random.Random(7)
    file = tmp_path / "cut.yaml"
    outcomes = {"ok": 0, "mistakes": 0}
    nowhere: list[Problem] = []
    for text in texts:
        lines = text.splitlines(keepends=True)
        whole = ["".join(lines[:count]) for count in range(len(lines))]
        inside = [text[: draw.randrange(len(text))] for _ in range(20)]
        changed = []
        for _ in range(20):
            shuffled = list(lines)
            first, second = draw.randrange(len(lines)), draw.randrange(len(lines))
            shuffled[first], shuffled[second] = (
                shuffled[second],
                shuffled[first].replace(" ", draw.choice(["\t", "", ": "]), 1),
            )
            changed.append("".join(shuffled))
        for attempt in itertools.chain(whole, inside, changed):
            file.write_text(attempt, encoding="utf-8")
            try:
                load_recipe(file, catalog, check_files=False)
                outcomes["ok"] += 1
            except RecipeError as error:
                outcomes["mistakes"] += 1
                nowhere += [problem for problem in error.problems if problem.line < 1 or problem.column < 1]
    assert nowhere == []
    assert min(outcomes.values()) > 0
