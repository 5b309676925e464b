"""The page of an evaluation in a real browser: a blind test by keys alone, and its answers saved from a page on the disk."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from synthkit._catalog import Catalog
from synthkit._data.pool import Source
from synthkit._run.reporter import Reporter
from synthkit._stages.evaluate import evaluate
from synthkit._stages.evaluation.measuring import Evaluation

NAMES = ["griffin-lim iterations=0", "griffin-lim iterations=2"]
CLIPS = 3
Press = Callable[..., None]


def make(folder: Path, catalog: Catalog, *vocoders: str) -> Evaluation:
    offered, config = catalog.configure("dataset", "tones", {"clips_per_label": 3, "seconds": 1.0})
    return evaluate(
        vocoders,
        Source(catalog=catalog, offered=offered, config=config),
        catalog,
        folder,
        count=CLIPS,
        seconds=1.0,
        metrics=["level"],
        reporter=Reporter(),
    )


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory, catalog: Catalog) -> Evaluation:
    """Three clips through two vocoders."""
    folder = tmp_path_factory.mktemp("evaluation")
    return make(folder, catalog, "griffin-lim:iterations=0", "griffin-lim:iterations=2")


@pytest.fixture
def page(evaluation: Evaluation, browser: Any) -> Iterator[Any]:
    """The browser with the page open from the disk; what it saves is caught."""
    show(browser, evaluation.page)
    browser.execute_script(
        """window.saved = [];
        const address = URL.createObjectURL;
        URL.createObjectURL = (blob) => { window.saved.push(blob.text()); return address.call(URL, blob); };"""
    )
    yield browser
    browser.get("about:blank")


def show(browser: Any, page: Path, width: int = 1280, scheme: str = "light") -> None:
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    browser.get(page.as_uri())
    browser.get_log("browser")


def press(browser: Any, *keys: str) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    for key in keys:
        ActionChains(browser).send_keys(key).perform()


def start(browser: Any) -> None:
    """By the keyboard, too."""
    from selenium.webdriver.common.keys import Keys

    browser.execute_script("document.getElementById('blind-start').focus()")
    press(browser, Keys.ENTER)
    assert is_open(browser)


def is_open(browser: Any) -> bool:
    return bool(browser.execute_script("return document.getElementById('blind-dialog').open"))


def dialog(browser: Any) -> str:
    return str(browser.execute_script("return document.getElementById('blind-dialog').innerText"))


def outcome(browser: Any) -> list[list[list[str]]]:
    """The cells of each table of the outcome."""
    script = """return [...document.querySelectorAll('#blind-outcome table')].map(
        (table) => [...table.rows].map((row) => [...row.cells].map((cell) => cell.innerText)))"""
    return browser.execute_script(script)  # type: ignore[no-any-return]


def save(browser: Any, name: str) -> str:
    button = f"[...document.querySelectorAll('#blind-outcome button')].find((it) => it.innerText.includes('{name}'))"
    browser.execute_script(f"{button}.click()")
    return str(browser.execute_async_script("window.saved.at(-1).then(arguments[0])"))


def test_a_blind_test_by_keys_counts_preferences_and_shows_names_at_the_end(page: Any, evaluation: Evaluation) -> None:
    from selenium.webdriver.common.keys import Keys

    start(page)
    votes = [Keys.ARROW_LEFT, Keys.ARROW_RIGHT, Keys.ARROW_DOWN]
    for number, key in enumerate(votes, 1):
        text = dialog(page)
        assert f"Comparison {number} of {CLIPS}" in text
        assert not any(secret in text for secret in (*NAMES, *(item.id for item in evaluation.items)))
        press(page, "a", "o", "b", key)
    assert not is_open(page)
    pairs, answers = outcome(page)
    assert pairs[1][0] == " or ".join(NAMES)
    assert sum(map(int, pairs[1][1:4])) == CLIPS
    assert pairs[1][3] == "1"
    assert sorted(row[0] for row in answers[1:]) == sorted(item.id for item in evaluation.items)
    sides = [row[3] for row in answers[1:]]
    assert sides == [answers[1][1], answers[2][2], "no difference"]
    assert page.get_log("browser") == []

    content = json.loads(save(page, "JSON"))
    assert [answer["choice"] for answer in content["answers"]] == ["a", "b", "same"]
    assert [answer["preferred"] for answer in content["answers"]] == [*sides[:2], ""]
    (pair,) = content["pairs"]
    assert pair["no_difference"] == 1
    decided = pair["first_preferred"] + pair["second_preferred"]
    assert pair["sign_test_p"] == pytest.approx(stats.binomtest(pair["first_preferred"], decided).pvalue)
    rows = list(csv.DictReader(io.StringIO(save(page, "CSV"), newline="")))
    assert [row["preferred"] for row in rows] == [*sides[:2], ""]
    assert page.get_log("browser") == []  # the policy of the page lets it save


def test_nothing_is_chosen_before_both_were_heard_and_an_answer_can_be_taken_back(page: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    start(page)
    press(page, "a", Keys.ARROW_LEFT)
    assert "Comparison 1 of" in dialog(page)
    assert page.execute_script("return document.querySelectorAll('dialog [data-vote]:disabled').length") == 3
    press(page, "b", Keys.ARROW_LEFT)
    assert "Comparison 2 of" in dialog(page)
    press(page, Keys.BACKSPACE)
    assert "Comparison 1 of" in dialog(page)
    press(page, Keys.ESCAPE)
    assert not is_open(page)
    text = page.execute_script("return document.getElementById('blind-start').innerText")
    assert text == f"Go on with comparison 1 of {CLIPS}"
    assert outcome(page) == []


def test_keys_of_the_page_do_not_play_versions_by_name_meanwhile(page: Any) -> None:
    start(page)
    press(page, "2", "n", "a")
    playing = "return [...document.querySelectorAll('audio')].filter((sound) => !sound.paused).length"
    assert page.execute_script(playing) == 0
    assert page.execute_script("return document.querySelectorAll('.clip.active').length") == 0
    pressed = "return [...document.querySelectorAll('dialog [data-role]')].map((it) => it.ariaPressed)"
    assert page.execute_script(pressed) == ["true", "false", "false"]
    press(page, "b")
    assert page.execute_script(pressed) == ["false", "false", "true"]


def test_versions_are_played_equally_loud(page: Any) -> None:
    script = """const made = [], Sound = window.Audio;
        window.Audio = function (source) { const it = new Sound(source); made.push(it); return it; };
        document.getElementById('blind-start').click();
        const levels = JSON.parse(document.getElementById('blind-dialog').dataset.levels);
        const clips = Object.values(levels);
        return [made.map((sound) => 20 * Math.log10(sound.volume)), clips.map((clip) => Object.values(clip))];"""
    volumes, levels = page.execute_script(script)
    assert len(volumes) == 3
    assert any(
        sorted(volumes) == pytest.approx(sorted(min(clip) - level for level in clip), abs=0.01) for clip in levels
    )
    assert min(volumes) < -0.1  # otherwise this says nothing


def test_the_hidden_original_can_be_among_them(page: Any) -> None:
    page.execute_script("document.getElementById('blind-hidden').click()")
    start(page)
    assert f"of {3 * CLIPS}" in dialog(page)


def test_a_single_vocoder_is_held_against_the_hidden_original(tmp_path: Path, browser: Any, catalog: Catalog) -> None:
    show(browser, make(tmp_path, catalog, "griffin-lim:iterations=0").page)
    start(browser)
    for number in range(CLIPS):
        assert f"Comparison {number + 1} of {CLIPS}" in dialog(browser)
        press(browser, "a", "b", "\ue014")
    pairs, answers = outcome(browser)
    assert {frozenset(row[1:3]) for row in answers[1:]} == {frozenset(("original", "griffin-lim iterations=0"))}
    assert len(pairs) == 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_sticks_out(evaluation: Evaluation, browser: Any, width: int, scheme: str) -> None:
    show(browser, evaluation.page, width, scheme)
    browser.execute_script("document.getElementById('blind-start').click()")
    box = "const box = document.getElementById('blind-dialog').getBoundingClientRect();"
    left, right, inside = browser.execute_script(
        f"{box} return [box.left, box.right, document.documentElement.scrollWidth <= innerWidth]"
    )
    assert left >= 0
    assert right <= width
    assert inside
    wide = """return [...document.querySelectorAll('dialog *')].filter(
        (it) => it.getBoundingClientRect().right > document.getElementById('blind-dialog').getBoundingClientRect().right)"""
    assert browser.execute_script(wide) == []
    grounds = browser.execute_script("return getComputedStyle(document.getElementById('blind-dialog')).backgroundColor")
    assert grounds == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(28, 25, 35)")
