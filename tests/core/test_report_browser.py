"""The report in a real browser: it loads nothing, every player plays, every picture is shown, it is legible everywhere."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
import soundfile

SECONDS = (1.0, 1.5, 0.6)
_WIDTHS = {"desktop": 1280, "phone": 360}


@pytest.fixture
def page(report_run: Any, browser: Any) -> Any:
    """The report of three clips (one of them new) in the browser; `page.run` is its run."""
    report_run.add_item(
        "new <b>clip</b> with a name that is as long as names of files on the phones of musicians are",
        seconds=0.6,
        reference=False,
    )
    report_run.items[0]["versions"][2]["clipped"] = 3
    report_run.write_data(
        left_out=[{"id": "recordings/" + "x" * 120 + ".mp3", "code": "unreadable", "reason": "the decoder failed"}]
    )
    report_run.report()
    open_page(browser, report_run.run.report_html)
    return report_run


def open_page(browser: Any, file: Path, *, width: int = 1280, scheme: str = "light") -> None:
    """The page from disk, with the logs of what was before thrown away."""
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    browser.get("about:blank")
    browser.get_log("browser")
    browser.get_log("performance")
    browser.get(file.as_uri())


def versions(run: Any) -> list[dict[str, Any]]:
    """As they stand on the page: what is new comes first."""
    items = sorted(run.items, key=lambda item: item["kind"] == "copy")
    return [version for item in items for version in item["versions"]]


def requests(browser: Any) -> list[str]:
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]


def wait_for(browser: Any, condition: str, *arguments: Any) -> Any:
    """The first truthy value of a JavaScript expression, checked with every frame the browser draws."""
    script = """
        const done = arguments[arguments.length - 1], given = [...arguments].slice(0, -1), end = performance.now() + 15000;
        const look = () => {
            const value = (function () { return %s; }).apply(null, given);
            if (value) done(value); else if (performance.now() > end) done(null); else setTimeout(look, 20);
        };
        look();
    """
    value = browser.execute_async_script(script % condition, *arguments)
    assert value, f"{condition} did not come true"
    return value


SOUND = "document.querySelectorAll('audio')"


def play_to(browser: Any, number: int, seconds: float) -> None:
    browser.execute_script(f"{SOUND}[arguments[0]].play()", number)
    wait_for(browser, f"{SOUND}[arguments[0]].currentTime > arguments[1]", number, seconds)


def press(browser: Any, key: str) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(browser).send_keys(key).perform()


def test_it_opens_without_an_error_and_asks_nobody_for_anything(page: Any, browser: Any) -> None:
    wait_for(browser, f"[...{SOUND}].every((sound) => sound.readyState >= 1)")
    assert browser.get_log("browser") == []
    asked = requests(browser)
    assert asked[0] == page.run.report_html.as_uri()
    assert [address for address in asked[1:] if not address.startswith("data:")] == []
    assert browser.title == "bench · synthkit report"


def test_its_policy_stops_what_it_does_not_know(page: Any, browser: Any) -> None:
    blocked = """
        const done = arguments[0], seen = [];
        document.addEventListener("securitypolicyviolation", (event) => {
            seen.push(event.effectiveDirective);
            if (seen.length === 3) done(seen.sort());
        });
        const script = document.createElement("script");
        script.textContent = "document.title = 'broken into'";
        const image = new Image();
        image.src = "http://example.invalid/a.png";
        document.body.append(script);
        fetch("http://example.invalid/").catch(() => {});
    """
    assert browser.execute_async_script(blocked) == ["connect-src", "img-src", "script-src-elem"]
    assert browser.title == "bench · synthkit report"
    browser.get_log("browser")


def test_every_player_has_its_sound_and_plays_it(page: Any, browser: Any) -> None:
    files = [page.run.path / version["file"] for version in versions(page)]
    wait_for(browser, f"[...{SOUND}].every((sound) => sound.readyState >= 1)")
    lengths = browser.execute_script(f"return [...{SOUND}].map((sound) => sound.duration)")
    assert lengths == pytest.approx([soundfile.info(file).duration for file in files], abs=0.002)
    for number in range(len(files)):
        play_to(browser, number, 0.02)
    assert browser.execute_script(f"return [...{SOUND}].filter((sound) => sound.error).length") == 0


def test_one_sound_at_a_time(page: Any, browser: Any) -> None:
    browser.execute_script(f"{SOUND}.forEach((sound) => (sound.loop = true))")  # none may end by itself
    play_to(browser, 5, 0.05)
    play_to(browser, 6, 0.05)
    wait_for(browser, f"{SOUND}[5].paused")
    assert browser.execute_script(f"return [...{SOUND}].filter((sound) => !sound.paused).length") <= 1


def test_a_key_or_a_button_goes_on_with_another_version_at_the_same_moment(page: Any, browser: Any) -> None:
    browser.execute_script(f"{SOUND}[5].currentTime = 0.5; {SOUND}[5].loop = true; {SOUND}[7].loop = true")
    play_to(browser, 5, 0.55)
    press(browser, "3")
    wait_for(browser, f"!{SOUND}[7].paused && {SOUND}[5].paused")
    left, arrived = browser.execute_script(f"return [{SOUND}[5].currentTime, {SOUND}[7].currentTime]")
    assert left - 0.01 <= arrived <= left + 1.0
    pressed = "[...document.querySelectorAll('.clip')[2].querySelectorAll('.switch button')].map((button) => button.ariaPressed)"
    assert browser.execute_script(f"return {pressed}") == ["false", "false", "true"]
    press(browser, " ")
    wait_for(browser, f"{SOUND}[7].paused")
    stopped = browser.execute_script(f"return {SOUND}[7].currentTime")
    press(browser, "1")  # while paused it only moves
    at, playing = browser.execute_script(f"return [{SOUND}[5].currentTime, !{SOUND}[5].paused]")
    assert (at, playing) == (pytest.approx(stopped, abs=0.001), False)
    buttons = browser.find_elements("css selector", ".clip:nth-child(2) .switch button")
    browser.execute_script("arguments[0].click()", buttons[1])
    wait_for(browser, f"!{SOUND}[6].paused")
    assert browser.execute_script(f"return {SOUND}[6].currentTime") >= stopped - 0.001


def test_keys_go_from_clip_to_clip_and_can_be_switched_off(page: Any, browser: Any) -> None:
    active = "return [...document.querySelectorAll('.clip')].findIndex((clip) => clip.classList.contains('active'))"
    for key, expected in (("n", 0), ("n", 1), ("p", 0), ("p", 0)):
        press(browser, key)
        assert browser.execute_script(active) == expected
    browser.execute_script("document.getElementById('shortcuts').click()")
    press(browser, "n")
    assert browser.execute_script(active) == 0


def test_a_click_on_a_picture_plays_from_there(page: Any, browser: Any) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    canvas = browser.find_elements("css selector", ".mel .canvas")[6]
    browser.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", canvas)
    wait_for(browser, f"{SOUND}[6].readyState >= 1")
    browser.execute_script(
        f"{SOUND}[6].addEventListener('seeking', (event) => (window.sought = event.target.currentTime))"
    )
    ActionChains(browser).move_to_element(canvas).click().perform()  # the middle of 1.5 s
    wait_for(browser, f"!{SOUND}[6].paused && window.sought")
    assert browser.execute_script("return window.sought") == pytest.approx(0.75, abs=0.03)


def test_every_picture_is_shown_with_its_axes(page: Any, browser: Any) -> None:
    shown = """return [...document.images].map((image) => {
        const box = image.getBoundingClientRect();
        return [image.complete, image.naturalWidth, image.naturalHeight, box.width, box.height, image.alt];
    })"""
    images = browser.execute_script(shown)
    pictures = [image for image in images if image[5].startswith("Mel picture of")]
    assert len(pictures) == len(versions(page)) == 8
    for complete, width, height, box_width, box_height, _ in pictures:
        assert complete
        assert (width > 1, height) == (True, 160)
        assert box_width > 200
        assert box_height > 100
    curves = browser.execute_script("return [...document.querySelectorAll('svg')].map((svg) => svg.getBBox().width)")
    assert len(curves) == 4  # mel_l1, stft, critic, generator
    assert min(curves) > 500


CONTRAST = """
    const channel = (value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    const parse = (text) => { const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number); return [r, g, b, a]; };
    const over = ([r, g, b, a], below) => [r, g, b].map((value, i) => value * a + below[i] * (1 - a));
    const weights = [0.2126, 0.7152, 0.0722];
    const light = (colour) => colour.reduce((sum, value, i) => sum + weights[i] * channel(value / 255), 0);
    const background = (element) => {
        const layers = [];
        for (let it = element; it; it = it.parentElement) {
            layers.push(parse(getComputedStyle(it).backgroundColor));
            if (layers.at(-1)[3] === 1) break;
        }
        return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255]);
    };
    const poor = [];
    let count = 0;
    document.querySelectorAll("details").forEach((details) => (details.open = true));
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const element = walker.currentNode.parentElement;
        if (!walker.currentNode.data.trim() || ["SCRIPT", "STYLE"].includes(element.tagName) || element.closest("svg")) continue;
        const style = getComputedStyle(element);
        if (!element.getClientRects().length) continue;
        let opacity = 1;
        for (let it = element; it; it = it.parentElement) opacity *= Number(getComputedStyle(it).opacity);
        const below = background(element);
        const ink = parse(style.color);
        const [a, b] = [light(over([...ink.slice(0, 3), ink[3] * opacity], below)), light(below)];
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        count += 1;
        if (ratio < 4.5) poor.push([ratio, walker.currentNode.data.trim().slice(0, 40), element.className]);
    }
    const page = light(parse(getComputedStyle(document.body).backgroundColor).slice(0, 3));
    return [count, poor, page];
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", ["desktop", "phone"])
def test_text_stands_out_from_its_ground_in_light_and_dark(page: Any, browser: Any, scheme: str, width: str) -> None:
    open_page(browser, page.run.report_html, width=_WIDTHS[width], scheme=scheme)
    browser.execute_script("document.querySelectorAll('.switch button')[1].click()")  # a pressed button is text too
    count, poor, ground = browser.execute_script(CONTRAST)
    assert count > 150
    assert poor == []  # WCAG 2.2, 1.4.3: 4.5 to 1
    assert ground > 0.8 if scheme == "light" else ground < 0.05


@pytest.mark.parametrize("width", [360, 560, 768, 1280])
def test_nothing_sticks_out_to_the_side(page: Any, browser: Any, width: int) -> None:
    open_page(browser, page.run.report_html, width=width)
    browser.execute_script("document.querySelectorAll('details').forEach((details) => (details.open = true))")
    scroll, inner = browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert inner == width
    assert scroll <= inner
    wide = """return [...document.querySelectorAll('main *, header *')]
        .filter((element) => !element.closest('.scroll, pre') && element.getBoundingClientRect().right > innerWidth + 1)
        .map((element) => element.outerHTML.slice(0, 80))"""
    assert browser.execute_script(wide) == []


def test_a_player_can_be_used_with_a_finger(page: Any, browser: Any) -> None:
    open_page(browser, page.run.report_html, width=360)
    sizes = browser.execute_script(
        f"return [...{SOUND}, ...document.querySelectorAll('.switch button')]"
        ".map((it) => it.getBoundingClientRect()).map((box) => [box.width, box.height])"
    )
    assert all(height >= 24 and width >= 44 for width, height in sizes)  # WCAG 2.2, 2.5.8: 24 by 24
    assert all(width > 240 for width, _ in sizes[:8])


def test_the_recipe_can_be_copied(page: Any, browser: Any) -> None:
    origin = {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    with contextlib.suppress(
        Exception
    ):  # not every version grants it to a file; then the page selects the text instead
        browser.execute_cdp_cmd("Browser.grantPermissions", origin)
    button = browser.find_element("css selector", ".copy")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", button)
    button.click()
    wait_for(
        browser,
        "document.querySelector('.copy').textContent === 'Copied' || String(getSelection()).includes('recipe: 1')",
    )
