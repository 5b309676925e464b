"""The report stage: what it measures, what it says, and what it does with runs that lack something."""

from __future__ import annotations

import base64
import html
import json
import math
import re
from collections.abc import Callable
from html.parser import HTMLParser
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import image

from synthkit._catalog import Catalog
from synthkit._stages.report import curves, listening, pictures
from synthkit._stages.report.sources import Series, read_history
from synthkit._stages.report.words import figure
from synthkit.audio import Audio
from synthkit.errors import AudioError, DatasetError, RunError
from synthkit.specs import FeatureSpec


def score(figures: dict[str, Any], name: str, version: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = [row for row in figures["scores"] if (row["name"], row["version"]) == (name, version)]
    assert len(found) == 1
    return found[0]


class _Tags(HTMLParser):
    """Every start tag with its attributes, and whether elements are closed in the order they were opened."""

    VOID = frozenset({"meta", "link", "img", "br", "input"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == name]


def text_of(page: str) -> str:
    body = re.sub(r"<(script|style)>.*?</\1>", "", page, flags=re.DOTALL)
    return html.unescape(" ".join(re.sub(r"<[^>]*>", " ", body).split()))


# --- figures ---------------------------------------------------------------------------------------------------------


def test_a_metric_is_the_mean_over_the_clips_and_keeps_each_clip(report_run: Any) -> None:
    figures = report_run.report()
    assert {(row["name"], row["version"]) for row in figures["scores"]} == {
        (name, version)
        for name in ("mel-l1", "real-time-factor", "level", "clipping")
        for version in ("griffin-lim", "melgan")
    }
    speed = score(figures, "real-time-factor", "melgan")
    assert [item["clip"] for item in speed["per_item"]] == ["low bell.wav", "high bell.wav"]
    assert [item["value"] for item in speed["per_item"]] == pytest.approx([1.0 / 0.05, 1.5 / 0.05])
    assert speed["value"] == pytest.approx(2.5 / 0.1)
    near, far = score(figures, "mel-l1", "melgan"), score(figures, "mel-l1", "griffin-lim")
    assert 0 < near["value"] < far["value"]  # it has a fifth of the noise
    assert near["value"] == pytest.approx(np.mean([item["value"] for item in near["per_item"]]))


def test_the_original_itself_scores_zero(report_run: Any) -> None:
    for item in report_run.items:
        item["versions"][2]["file"] = item["versions"][0]["file"]
    figures = report_run.report()
    assert score(figures, "mel-l1", "melgan")["value"] == 0.0
    assert score(figures, "level", "melgan")["value"] == 0.0


def test_validation_first_and_last_are_those_of_step_0_and_the_end(report_run: Any) -> None:
    figures = report_run.report()
    term = figures["validation"]["vocoder"]["mel_l1"]
    assert (term["first_step"], term["last_step"], term["first"], term["last"]) == (0, 40, 1.5, 0.5)
    page = text_of(report_run.page)
    assert "log-mel L1 fell from 1.50 to 0.500 (0.33 of its start)" in page
    assert figures["steps"] == {"vocoder": 40}
    assert "the vocoder was trained for 40 steps" in figures["summary"]
    assert figures["summary"] in page
    assert "4.00 steps per second and spent 25% of the time waiting for data" in page


def test_figures_say_what_was_used_and_what_was_not(report_run: Any) -> None:
    report_run.write_data(
        left_out=[{"id": "a.mp3", "code": "empty", "reason": "the file has 0 bytes"}],
        remarks=[{"id": "cut.wav", "code": "truncated", "reason": "shorter than promised"}],
    )
    report_run.run.stages_file.write_text(json.dumps({"train": {"seconds": 75.0}, "report-began": {"inputs": {}}}))
    figures = report_run.report()
    assert figures["data"]["splits"]["train"] == {"clips": 2, "seconds": pytest.approx(4.0)}
    assert [clip["id"] for clip in figures["data"]["left_out"]] == ["a.mp3"]
    assert figures["stage_seconds"] == {"train": 75.0}
    assert {"python", "torch", "synthkit", "device", "made"} <= figures["environment"].keys()
    page = text_of(report_run.page)
    assert "a.mp3 empty the file has 0 bytes" in page
    assert "cut.wav truncated shorter than promised" in page
    assert "stage train 1 min 15 s" in page
    assert "Nobody & Co. (2020)" in page
    assert "CC0-1.0 low bell, high bell" in page


# --- the page --------------------------------------------------------------------------------------------------------


def test_the_page_holds_the_very_bytes_of_every_sound_and_a_picture_of_each(report_run: Any) -> None:
    report_run.report()
    page = _Tags(report_run.page)
    sounds = [str(tag["src"]) for tag in page.all("audio")]
    files = [report_run.run.path / version["file"] for item in report_run.items for version in item["versions"]]
    assert len(files) == 6
    assert [base64.b64decode(sound.removeprefix("data:audio/wav;base64,")) for sound in sounds] == [
        file.read_bytes() for file in files
    ]
    drawn = [tag for tag in page.all("img") if str(tag["alt"]).startswith("Mel picture of")]
    assert len(drawn) == 6
    assert "low bell, griffin-lim" in str(drawn[1]["alt"])


def test_the_page_is_well_formed_and_names_nothing_outside(report_run: Any) -> None:
    report_run.report()
    page = _Tags(report_run.page)
    assert page.open == []
    addresses = [value for _, tag in page.tags for name, value in tag.items() if name in ("src", "href") and value]
    assert addresses
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert "url(" not in report_run.page
    assert "@import" not in report_run.page
    anchors = {str(tag["id"]) for _, tag in page.tags if "id" in tag}
    assert {address[1:] for address in addresses if address.startswith("#")} <= anchors
    policy = next(str(tag["content"]) for tag in page.all("meta") if tag.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy.replace("style-src-attr 'unsafe-inline'", "")


def test_headings_go_down_one_level_at_a_time_and_everything_is_labelled(report_run: Any) -> None:
    report_run.report()
    page = _Tags(report_run.page)
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert page.all("html")[0]["lang"] == "en"
    assert all(tag.get("alt") for tag in page.all("img"))
    assert all(tag.get("aria-label") for tag in [*page.all("audio"), *page.all("svg")])
    assert all(tag.get("scope") for tag in page.all("th"))


def test_text_from_outside_is_only_ever_text(report_run: Any) -> None:
    evil = '<script>alert("1")</script><img src=x onerror=alert(2)>'
    report_run.add_item("placeholder", title=evil, id=f"{evil}.wav", label=evil, licence=evil)
    report_run.items[0]["versions"][1]["name"] = f"'\"><b>{evil}"
    report_run.write_data(left_out=[{"id": evil, "code": "unreadable", "reason": evil}])
    rows = [{"step": step, f"vocoder/validation/{evil}": 1.0, "vocoder/validation/mel_l1": 1.0} for step in (0, 10)]
    report_run.write_metrics(rows)
    report_run.set_recipe(report_run.recipe.resolved.replace("A run made by hand.", "</pre></main></script>"))
    report_run.report()
    page = _Tags(report_run.page)
    assert len(page.all("script")) == 1
    assert page.open == []
    assert not any("onerror" in tag for _, tag in page.tags)
    assert text_of(report_run.page).count(evil) >= 5


def test_each_clip_shows_its_label_licence_and_own_figures(report_run: Any) -> None:
    report_run.items[1]["versions"][2]["clipped"] = 12
    figures = report_run.report()
    page = text_of(report_run.page)
    second = page[page.index("high bell bell 1.5 s CC0-1.0") : page.index("Scores Each figure")]
    assert "real-time-factor 30.0" in second
    assert "12 samples clipped" in second
    value = score(figures, "mel-l1", "melgan")["per_item"][1]["value"]
    assert f"mel-l1 {figure(value)}" in second


def test_clips_of_one_title_are_told_apart_by_their_id(report_run: Any) -> None:
    for item, folder in zip(report_run.items, ("bass", "bells"), strict=True):
        item.update(title="0002", id=f"{folder}/0002")
    report_run.report()
    assert re.findall(r"<h3 id=\"clip-\d+\">(.*?)</h3>", report_run.page) == ["bass/0002", "bells/0002"]


def test_the_best_figure_of_a_metric_is_marked(report_run: Any) -> None:
    report_run.report()
    rows = re.findall(r"<tr><th scope=\"row\"><code>([\w-]+)</code>.*?</tr>", report_run.page)
    assert rows == ["mel-l1", "real-time-factor", "level", "clipping"]
    table = re.search(r"<table class=\"scores\">.*?</table>", report_run.page, re.DOTALL)
    assert table
    best = {
        row.split("</code>")[0].split("<code>")[1]: [bool("best" in cell) for cell in re.findall(r"<td.*?</td>", row)]
        for row in table[0].split("<tr>")[2:]
    }
    assert best["mel-l1"] == [False, True]
    assert best["real-time-factor"] == [False, True]
    assert best["clipping"] == [False, False]  # equal


# --- runs that lack something ----------------------------------------------------------------------------------------


def test_without_generated_clips_it_says_which_stage_to_run(empty_report_run: Any) -> None:
    from synthkit._run.reporter import Reporter
    from synthkit._stages.report.stage import report

    run = empty_report_run
    with pytest.raises(RunError, match="run the generate stage first"):
        report(run.recipe, run.run, run.catalog, Reporter())
    assert not run.run.report_html.exists()


def test_a_missing_or_damaged_file_is_named(report_run: Any) -> None:
    (report_run.run.generated / "00-melgan.wav").unlink()
    with pytest.raises(RunError, match=r"00-melgan\.wav.*run the generate stage again"):
        report_run.report()
    (report_run.run.generated / "00-melgan.wav").write_bytes(b"RIFF nothing")
    with pytest.raises(AudioError, match=r"00-melgan\.wav"):
        report_run.report()


def test_a_damaged_index_and_absent_data_are_sentences(report_run: Any) -> None:
    report_run.items.append({"id": "half"})
    with pytest.raises(RunError, match=r"index\.json.*is damaged"):
        report_run.report()
    report_run.items.pop()
    report_run.run.data_file.unlink()
    with pytest.raises(DatasetError, match="prepare"):
        report_run.report()


def test_no_clip_at_all(empty_report_run: Any) -> None:
    figures = empty_report_run.report()
    assert figures["scores"] == []
    page = text_of(empty_report_run.page)
    assert "No clip was generated" in page
    assert "There are no scores: no clip was generated." in page


def test_a_recipe_that_learns_nothing_has_no_curves(report_run: Any) -> None:
    report_run.run.metrics_file.unlink()
    report_run.set_recipe(
        "recipe: 1\nname: plain\ndata: tones\nfeatures: {use: log-mel, preset: melgan}\nvocoder: griffin-lim\n"
    )
    for item in report_run.items:
        del item["versions"][2]
        item["versions"][1]["role"] = "vocoder"
    figures = report_run.report()
    assert figures["validation"] == {}
    assert figures["steps"] == {}
    page = text_of(report_run.page)
    assert "Nothing in this recipe learns" in page
    assert "this run's vocoder" in page


def test_new_clips_have_no_original_to_compare_with(empty_report_run: Any) -> None:
    empty_report_run.add_item("jazz 1", reference=False, id="seed-3", seed=3)
    figures = empty_report_run.report()
    assert figures["scores"] == []
    page = text_of(empty_report_run.page)
    assert "new, seed 3" in page
    assert "no original to compare with" in page
    assert len(_Tags(empty_report_run.page).all("audio")) == 2


def test_hundreds_of_left_out_clips_are_folded_away(report_run: Any) -> None:
    clips = [{"id": f"bad/{number}.mp3", "code": "unreadable", "reason": "no frame"} for number in range(300)]
    report_run.write_data(left_out=[*clips, {"id": "none.wav", "code": "empty", "reason": "0 bytes"}])
    figures = report_run.report()
    assert len(figures["data"]["left_out"]) == 301
    page = text_of(report_run.page)
    assert "301 clips could not be used: 300 unreadable, 1 empty" in page
    assert "bad/299.mp3 unreadable no frame" in page
    assert all("open" not in tag for tag in _Tags(report_run.page).all("details"))


def test_a_very_long_name_stays_whole(report_run: Any) -> None:
    name = "x" * 500
    report_run.add_item("long", title=name)
    report_run.report()
    assert name in text_of(report_run.page)


def test_values_that_are_not_numbers_are_left_out_and_counted(report_run: Any) -> None:
    rows = [{"step": step, "vocoder/train/critic": math.nan if step == 4 else 1.0 * step} for step in range(2, 9, 2)]
    report_run.write_metrics([*rows, {"step": 8, "vocoder/train/odd": math.inf}])
    figures = report_run.report()
    assert figures["validation"] == {"vocoder": {}}
    page = text_of(report_run.page)
    assert "train/critic 2.00 8.00 2.00 8.00 3 1" in page  # first, last, lowest, highest, values, not finite


def test_more_sound_than_a_page_can_hold_stays_in_its_files(report_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    first = sum((report_run.run.path / version["file"]).stat().st_size for version in report_run.items[0]["versions"])
    monkeypatch.setattr(listening, "SOUND_BYTES", first)
    report_run.report()
    page = _Tags(report_run.page)
    assert len(page.all("audio")) == 3
    links = [str(tag["href"]) for tag in page.all("a") if str(tag["href"]).startswith("generated/")]
    assert links == [f"generated/01-{name}.wav" for name in ("original", "griffin-lim", "melgan")]


PLUGIN = '''
"""Metrics that misbehave."""
import math
from synthkit.config import Config
from synthkit.hookspecs import hookimpl
from synthkit.interfaces import Metric, Offer, Score

class Settings(Config):
    """None."""

class Moody(Metric):
    """Refuses its second clip."""
    def __init__(self, config, spec):
        self.seen = 0
    def update(self, item):
        self.seen += 1
        if self.seen == 2:
            raise ValueError("not this one")
    def score(self):
        return Score(name="moody", value=3.0, unit="dB", per_item=(3.0,))

class Lost(Moody):
    """Never finds a number."""
    def update(self, item):
        pass
    def score(self):
        return Score(name="lost", value=math.nan, per_item=(math.nan, math.inf))

@hookimpl
def synthkit_components():
    return [
        Offer(kind="metric", name=name, build=f"{__name__}:{name.title()}", config=f"{__name__}:Settings", summary=f"{name}.")
        for name in ("moody", "lost")
    ]
'''


def test_a_metric_that_fails_costs_its_clip_and_not_the_report(
    report_run: Any, report_plugin: Callable[[str], Catalog]
) -> None:
    report_run.catalog = report_plugin(PLUGIN)
    report_run.set_recipe(report_run.recipe.resolved.split("report:")[0] + "report: {metrics: [moody, lost]}\n")
    figures = report_run.report()
    moody = score(figures, "moody", "melgan")
    assert (moody["value"], moody["per_item"]) == (3.0, [{"clip": "low bell.wav", "value": 3.0}])
    assert "1 of 2 clips could not be measured (high bell.wav: ValueError: not this one)" in moody["problem"]
    assert any("not this one" in warning for warning in report_run.warnings)
    assert "not this one" in text_of(report_run.page)
    lost = score(figures, "lost", "melgan")
    assert (lost["value"], [item["value"] for item in lost["per_item"]]) == (None, [None, None])


def test_a_sound_much_shorter_than_its_original_is_not_compared(report_run: Any) -> None:
    half = Audio(np.full(11025, 0.1), 22050)
    half.write(report_run.run.generated / "00-melgan.wav")
    figures = report_run.report()
    assert "it lasts 0.50 s, its original 1.0 s" in score(figures, "mel-l1", "melgan")["problem"]
    assert [item["clip"] for item in score(figures, "mel-l1", "melgan")["per_item"]] == ["high bell.wav"]
    assert score(figures, "mel-l1", "griffin-lim")["problem"] is None


def test_writing_is_whole_or_not_at_all(report_run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    report_run.report()
    before = report_run.page
    monkeypatch.setattr("synthkit._stages.report.page._header", lambda findings: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        report_run.report()
    assert report_run.page == before
    assert [file.name for file in report_run.run.path.glob(".*")] == []


# --- rows of a training ----------------------------------------------------------------------------------------------


def test_a_resumed_training_counts_as_it_was_logged_last(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    rows = [
        {"step": step, "vocoder/train/loss": value}
        for step, value in ((10, 5.0), (20, 4.0), (30, 9.0), (20, 3.0), (30, 2.0))
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    series = read_history(file)["vocoder"].train["loss"]
    assert (series.steps, series.values) == ([10, 20, 30], [5.0, 3.0, 2.0])


def test_a_last_line_cut_off_is_left_out_and_any_other_is_named(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    good = json.dumps({"step": 1, "vocoder/train/loss": 2.0}) + "\n"
    file.write_text(good + '{"step": 2, "vocoder/tr')
    assert read_history(file)["vocoder"].train["loss"].steps == [1]
    file.write_text(good + "[]\n" + good)
    with pytest.raises(RunError, match="line 2"):
        read_history(file)
    assert read_history(tmp_path / "none.jsonl") == {}


# --- pictures and curves ---------------------------------------------------------------------------------------------


def test_a_tone_lights_up_where_its_frequency_is_marked() -> None:
    for frequency, label in ((1000.0, "1 kHz"), (4000.0, "4 kHz"), (200.0, "200 Hz")):
        at = np.arange(22050) / 22050
        mel = pictures.mel_db(Audio(0.5 * np.sin(2 * np.pi * frequency * at), 22050))
        place = next(tick.place for tick in pictures.frequency_ticks(22050) if tick.label == label)
        loudest = int(mel[:, mel.shape[1] // 2].argmax())
        assert abs((1 - place) * pictures.BANDS - (loudest + 0.5)) <= 1.0


def test_an_event_stands_where_its_time_is_marked() -> None:
    samples = np.full(3 * 22050, 1e-4)
    samples[2 * 22050] = 1.0
    mel = pictures.mel_db(Audio(samples, 22050))
    place = next(tick.place for tick in pictures.time_ticks(3.0) if tick.label == "2")
    assert abs((mel.sum(axis=0).argmax() + 0.5) / mel.shape[1] - place) < 0.01


@pytest.mark.parametrize("samples", [1, 100, 22050, 22050 * 40])
def test_a_picture_is_small_whatever_the_length(samples: int) -> None:
    mel = pictures.mel_db(Audio(np.zeros(samples), 22050))
    assert mel.shape[0] == pictures.BANDS
    assert 1 <= mel.shape[1] <= pictures.COLUMNS
    assert np.isfinite(mel).all()


def test_png_decodes_to_the_colours_of_the_scale_with_low_bands_below() -> None:
    values = np.array([[0.0, -80.0, -200.0], [-40.0, 20.0, np.nan]])
    pixels = np.asarray(image.imread(BytesIO(pictures.png(values, top=0.0)), format="png"))[..., :3]
    colours = pictures.palette() / 255
    expected = colours[np.array([[128, 255, 0], [255, 0, 0]])]
    assert pixels.shape == (2, 3, 3)
    np.testing.assert_allclose(pixels, expected, atol=1 / 255)


def test_the_colour_scale_only_ever_gets_brighter() -> None:
    light = pictures.palette() @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(light) > -0.6).all()  # 8-bit rounding
    assert light[0] < 5 < 200 < light[-1]


def test_the_same_sound_twice_as_loud_is_brighter_on_the_shared_scale() -> None:
    quiet, loud = (
        pictures.mel_db(Audio(gain * np.random.default_rng(0).standard_normal(8000), 16000)) for gain in (0.1, 0.2)
    )
    top = pictures.loudest([quiet, loud])
    assert top == loud.max()
    assert np.allclose(loud - quiet, 20 * math.log10(2), atol=1e-3)
    assert pictures.png(quiet, top) != pictures.png(loud, top)


def test_features_of_any_spec_become_the_same_picture() -> None:
    spec = FeatureSpec(sample_rate=22050, n_fft=1024, hop_length=256, n_mels=20)
    magnitude = np.exp(np.random.default_rng(0).uniform(-5, 0, (20, 7)))
    reference = pictures.feature_image(np.log10(magnitude), spec)
    assert (reference.shape, reference.dtype) == ((20, 7, 3), np.uint8)
    ln = FeatureSpec(sample_rate=22050, n_fft=1024, hop_length=256, n_mels=20, log="ln", gain=2.0, offset=3.0)
    np.testing.assert_array_equal(pictures.feature_image(2 * np.log(magnitude) + 3, ln), reference)
    power = FeatureSpec(sample_rate=22050, n_fft=1024, hop_length=256, n_mels=20, log="db", power=2)
    np.testing.assert_array_equal(pictures.feature_image(20 * np.log10(magnitude), power), reference)


def points(svg: str, name: str) -> list[tuple[float, float]]:
    path = re.search(rf'class="line {name}" d="M([^"]*)"', svg)
    assert path
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in path[1].split())]


def test_curves_lie_where_the_axes_say() -> None:
    validation = Series(steps=[0, 50, 100], values=[4.0, 2.0, 1.0])
    train = Series(steps=[10, 100], values=[3.0, 0.5])
    drawn = curves.chart("loss", train, validation)
    zero, two = ({tick.label: tick.place for tick in drawn.y_ticks}[label] for label in ("0", "2"))
    places = {tick.label: tick.place for tick in drawn.x_ticks}
    assert points(drawn.svg, "validation")[1] == pytest.approx((1000 * places["50"], 1000 * two), abs=0.1)
    assert points(drawn.svg, "train")[1] == pytest.approx((1000, 1000 * (zero - (zero - two) / 4)), abs=0.1)
    assert "validation from 4.00 at step 0 to 1.00 at step 100" in drawn.svg
    assert 'class="start"' in drawn.svg


def test_a_long_training_is_thinned_without_losing_its_extremes() -> None:
    steps = list(range(1, 40_001))
    values = [1.0 + (5.0 if step == 20_000 else 0.0) for step in steps]
    drawn = curves.chart("loss", Series(steps=steps, values=values), None)
    assert len(points(drawn.svg, "train")) <= curves.BUCKETS
    assert len(drawn.svg) < 20_000
    band = re.search(r'class="band" d="M([^"]*)Z"', drawn.svg)
    assert band
    top = {tick.label: tick.place for tick in drawn.y_ticks}["6"]
    assert min(float(pair.split(",")[1]) for pair in band[1].split()) == pytest.approx(1000 * top, abs=0.1)


def test_a_wide_range_gets_a_logarithmic_scale() -> None:
    drawn = curves.chart("loss", Series(steps=[1, 2, 3], values=[1000.0, 10.0, 0.1]), None)
    assert drawn.is_log
    places = {tick.label: tick.place for tick in drawn.y_ticks}
    assert points(drawn.svg, "train")[1][1] == pytest.approx(1000 * places["10"], abs=0.1)
    flat = curves.chart("loss", Series(steps=[1], values=[0.0]), None)
    assert 'd="M1000.0,1000.0h0"' in flat.svg  # a single value is a dot, not an empty drawing
    assert not flat.is_log
    assert all(0 <= tick.place <= 1 for tick in flat.y_ticks)
