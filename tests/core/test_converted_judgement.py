"""A converter is judged fairly: a good one, one that does nothing and one that forgets the source are told apart."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
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
from synthkit._stages.converted.findings import Conversion, mean_of, sentences
from synthkit._stages.converted.section import section
from synthkit._stages.converted.stage import ConverterCase, judge_converter
from synthkit._stages.converted.text import as_tables, notes
from synthkit._stages.pipeline import run_recipe
from synthkit.builtin.config import LogMelConfig, TonesConfig
from synthkit.builtin.instruments import render
from synthkit.builtin.tones import Tones
from synthkit.errors import ConfigError, DatasetError
from synthkit.interfaces import Converter, Embedding, Progress

RATE, SECONDS = 8000, 2.0
FEATURES = "sample_rate: 8000, n_fft: 256, hop_length: 128, n_mels: 40, win_length: 256, f_max: 4000, floor: 1e-3"
SPEC = LogMelConfig(
    sample_rate=RATE, n_fft=256, hop_length=128, n_mels=40, win_length=256, f_max=4000.0, floor=1e-3
).spec()
RECIPE = f"""
recipe: 1
name: judged
data: {{use: tones, clips_per_label: 23, seconds: 2.0, sample_rate: 8000}}
features: {{use: log-mel, {FEATURES}}}
vocoder: griffin-lim
"""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepared]:
    """Six kinds of tones: 17 training clips of each, 3 for validation and 3 for the test."""
    folder = tmp_path_factory.mktemp("converted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SYNTHKIT_CACHE", str(folder / "cache"))
        (folder / "judged.yaml").write_text(RECIPE, encoding="utf-8")
        catalog = Catalog.discover()
        run = run_recipe(
            folder / "judged.yaml", catalog=catalog, run_dir=folder / "run", first="prepare", last="prepare"
        )
        yield Prepared.open(run.data_file)


def features_of(samples: np.ndarray) -> Tensor:
    return dsp.log_mel(torch.from_numpy(samples[None].astype(np.float32)), SPEC)[0]


class Idle(Converter):
    """Leaves everything as it is."""

    source, target = "melody", "bells"

    def __init__(self) -> None:
        self.spec = SPEC

    def convert(
        self,
        features: Tensor,
        *,
        strength: float = 1.0,
        random: torch.Generator | None = None,
        progress: Progress | None = None,
    ) -> Tensor:
        return torch.lerp(features, torch.stack([self.made(item) for item in features]), strength)

    def made(self, item: Tensor) -> Tensor:
        return item


class Musician(Idle):
    """Recognises each melody and plays it on a bell; leaves bells alone."""

    def __init__(self, prepared: Prepared) -> None:
        super().__init__()
        tones = Tones(TonesConfig(clips_per_label=23, seconds=2.0, sample_rate=RATE))
        self.known: list[tuple[Tensor, Tensor]] = []
        for number, entry in enumerate(it for it in prepared.entries() if it.label in ("melody", "bells")):
            real = features_of(prepared.read(entry))
            score = tones.score(next(clip for clip in tones.clips() if clip.id == entry.id))
            notes = tuple(replace(note, voice="bell", pitch=(note.pitch or 0) + 22) for note in score.notes)
            played = render(replace(score, notes=notes), SECONDS, RATE, np.random.default_rng(number))
            self.known.append((real, features_of(played) if entry.label == "melody" else real))

    def made(self, item: Tensor) -> Tensor:
        apart = [float((real[:, : item.shape[1]] - item).abs().mean()) for real, _ in self.known]
        return self.known[int(np.argmin(apart))][1][:, : item.shape[1]]


class Forgetful(Musician):
    """Plays the same piece on bells, whatever it hears."""

    def made(self, item: Tensor) -> Tensor:
        return self.known[0][1][:, : item.shape[1]]


class Pieced(Idle):
    """Every second piece is louder; `told` says whether it tells."""

    def __init__(self, told: bool) -> None:
        super().__init__()
        self.told = told

    def made(self, item: Tensor) -> Tensor:
        return item + (torch.arange(item.shape[1]) // 16 % 2) * (item > item.min())

    def seams(self, frames: int) -> Sequence[int]:
        return range(16, frames, 16) if self.told else ()


def block_of(name: str, **settings: Any) -> Block:
    offered, config = Catalog.discover().configure("embedding", name, settings)
    return Block(kind="embedding", offered=offered, config=config)


def judged(prepared: Prepared, converter: Converter, **changes: Any) -> Conversion:
    catalog = Catalog.discover()
    offered, config = catalog.configure("vocoder", "griffin-lim", {"iterations": 8})
    asked: dict[str, Any] = {
        "name": "fake",
        "converter": converter,
        "voices": (("griffin-lim", catalog.build(offered, config, SPEC)),),
        "prepared": prepared,
        "embedding": block_of("classifier", steps=100, batch=16),
        "count": 6,
        "seconds": SECONDS,
    }
    return judge_converter(ConverterCase(**asked | changes), catalog, Reporter())


@pytest.fixture(scope="module")
def good(prepared: Prepared) -> Conversion:
    return judged(prepared, Musician(prepared))


def value(found: Conversion, row: str, role: Any = "converted") -> float:
    figure = found.value(row, role)
    assert figure is not None, (row, role)
    return figure


def test_a_good_conversion_passes(good: Conversion) -> None:
    assert value(good, "style") > 0.8
    assert value(good, "onsets") > 0.6
    assert value(good, "pitch") > 0.8
    assert value(good, "identity") < value(good, "identity", "vocoded") + 0.1
    said = " ".join(sentences(good))
    assert "converted clips are taken for bells" in said
    assert "Their melody correlates with the source’s by" in said


def test_references_are_what_they_should_be(good: Conversion) -> None:
    """The source passes its own comparison, the vocoder hardly hurts, and a random bell has nothing in common with it."""
    assert [column.role for column in good.columns] == ["converted", "vocoded", "source", "target"]
    assert [row.name for row in good.rows] == ["style", "onsets", "pitch", "chroma", "identity", "unrest"]
    for row, best in {"style": 0.0, "onsets": 1.0, "pitch": 1.0, "chroma": 0.0, "identity": 0.0, "unrest": 0.0}.items():
        assert value(good, row, "source") == pytest.approx(best, abs=1e-9), row
    assert value(good, "style", "vocoded") < 0.2
    assert value(good, "style", "target") > 0.8
    for row in ("onsets", "pitch"):
        assert value(good, row, "vocoded") > 0.95
        assert value(good, row, "target") < 0.5
    assert value(good, "chroma", "vocoded") < 0.1 < 0.5 < value(good, "chroma", "target")
    assert value(good, "identity", "target") > 3 * value(good, "identity", "vocoded")


def test_one_that_does_nothing_keeps_all_and_converts_none(prepared: Prepared) -> None:
    found = judged(prepared, Idle())
    for row in found.rows:
        assert row.values["converted, griffin-lim"] == row.values["source, griffin-lim"] or row.name == "unrest", (
            row.name
        )
    assert value(found, "style") < 0.2


def test_one_that_forgets_the_source_is_found_out(prepared: Prepared) -> None:
    found = judged(prepared, Forgetful(prepared))
    assert value(found, "style") > 0.8
    assert value(found, "onsets") < 0.5
    assert value(found, "pitch") < 0.5
    assert value(found, "identity") > 0.5 * value(found, "identity", "target")


def test_strength_reaches_the_converter(prepared: Prepared, good: Conversion) -> None:
    none = judged(prepared, Musician(prepared), strength=0.0)
    assert value(none, "style") < 0.2
    assert none.strength == 0.0
    assert "with strength 0." in section(none)
    with pytest.raises(ConfigError, match="between 0 and 1"):
        judged(prepared, Idle(), strength=1.5)


def test_seams_are_measured_where_they_are_told_and_unrest_elsewhere(prepared: Prepared) -> None:
    told, untold = judged(prepared, Pieced(told=True)), judged(prepared, Pieced(told=False))
    assert value(told, "seams") > 6
    assert abs(value(told, "seams", "source")) < 5  # of six clips
    assert any("the seams stand out" in text for text in sentences(told))
    assert value(untold, "unrest") > 1
    assert "unrest" not in [row.name for row in told.rows]


def test_every_crop_counts_and_clips_make_the_interval(prepared: Prepared) -> None:
    found = judged(prepared, Idle(), seconds=1.0, count=12)
    assert (found.converted, found.clips) == (12, 6)
    figure = found.figure("onsets", "vocoded")
    assert figure is not None
    assert figure.clips == 6
    assert figure.low is not None
    assert figure.low < figure.value


def test_a_share_has_an_interval_even_where_all_agree() -> None:
    all_ = mean_of([1.0] * 20, [str(number) for number in range(20)], share=True)
    assert all_ is not None
    assert (all_.low, all_.high) == (pytest.approx(0.839, abs=1e-3), 1.0)
    assert mean_of([math.nan], ["a"]) is None
    one = mean_of([0.5], ["a"])
    assert one is not None
    assert one.low is None


def test_several_vocoders_stand_side_by_side(prepared: Prepared) -> None:
    catalog = Catalog.discover()
    voices = []
    for rounds in (1, 4):
        offered, config = catalog.configure("vocoder", "griffin-lim", {"iterations": rounds})
        voices.append((f"rounds {rounds}", catalog.build(offered, config, SPEC)))
    found = judged(prepared, Idle(), voices=tuple(voices), count=2)
    assert [column.name for column in found.columns] == [
        *("converted, rounds 1", "converted, rounds 4", "source, rounds 1", "source, rounds 4"),
        *("source", "random bells"),
    ]
    assert set(found.rows[0].values) == {column.name for column in found.columns}


def test_without_a_word_on_labels_there_is_no_style(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synthkit.builtin.classifier.ClassifierEmbedding.classify", Embedding.classify)
    found = judged(prepared, Idle(), count=2)
    assert found.rows[0].name == "onsets"
    assert not any("taken for" in text for text in sentences(found))


def test_labels_without_clips_are_a_sentence(prepared: Prepared) -> None:
    converter = Idle()
    converter.target = "gongs"
    with pytest.raises(DatasetError, match="clips of 'gongs' are needed in the train split"):
        judged(prepared, converter)


def test_the_page_and_the_table_say_what_is_found(good: Conversion) -> None:
    page = section(good)
    assert page.count("<audio") == 3 * len(good.examples) == 18
    assert page.count('class="kind"') == 6
    for row in good.rows:
        assert f"<code>{row.name}</code>" in page
    ((columns, rows),) = as_tables(good)
    assert columns == ["figure", "converted, griffin-lim", "source, griffin-lim", "source", "random bells", ""]
    assert [row[0] for row in rows] == [row.name for row in good.rows]
    assert all(len(row) == len(columns) for row in rows)
    assert list(notes(good))[:-1] == list(sentences(good))


def test_json_holds_every_figure(good: Conversion) -> None:
    content = json.loads(json.dumps(good.to_json(), allow_nan=False))
    assert content["says"] == list(sentences(good))
    style = content["rows"][0]["values"]["converted, griffin-lim"]
    assert set(style) == {"value", "low", "high", "clips"}
    assert style["clips"] == 6


def test_the_same_seed_gives_the_same_figures(prepared: Prepared, good: Conversion) -> None:
    assert judged(prepared, Musician(prepared)).rows == good.rows


def test_crops_are_converted_at_their_own_level(prepared: Prepared) -> None:
    """What a judge hears is brought to one level; what a converter hears is what a user would give it."""
    heard: list[float] = []

    class Listening(Idle):
        def made(self, item: Tensor) -> Tensor:
            heard.append(float(item.max()))
            return item

    judged(prepared, Listening(), count=6)
    own = [entry for entry in prepared.entries("validation") if entry.label == "melody"]
    loudest = float(features_of(prepared.read(own[0])).max())
    assert min(abs(level - loudest) for level in heard) < 1e-3


def test_a_page_plays(good: Conversion, browser: Any, tmp_path: Path) -> None:
    from synthkit._stages.report.markup import element
    from synthkit._stages.report.page import document

    page = document("t", element("header"), [("converter", "Converter", section(good))])
    (tmp_path / "p.html").write_text(page, encoding="utf-8")
    browser.get((tmp_path / "p.html").as_uri())
    cells: Callable[[str], Any] = browser.execute_script
    assert cells("return document.querySelectorAll('.rows .cell').length") == 18
    wide = cells("return document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert wide
    cells("document.querySelectorAll('.rows .cell')[1].click()")
    pressed = "return document.querySelectorAll(\".cell[aria-pressed='true']\").length"
    assert browser.execute_async_script(
        f"const done = arguments[0]; const look = () => (() => {{ {pressed} }})() ? done(1) : setTimeout(look, 20); look()"
    )


def test_silence_is_judged_without_an_error(prepared: Prepared) -> None:
    class Mute(Idle):
        def made(self, item: Tensor) -> Tensor:
            return torch.full_like(item, float(np.log10(SPEC.floor)))

    found = judged(prepared, Mute(), count=4)
    assert value(found, "onsets") == 0.0
    assert value(found, "pitch") == 0.0
    json.dumps(found.to_json(), allow_nan=False)
    assert all(np.isfinite(example.converted.samples).all() for example in found.examples)
