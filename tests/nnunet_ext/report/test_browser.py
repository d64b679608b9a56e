"""The report in a browser: quiet, alone, visible, and every switch does what it says."""

import io
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.nnunet_ext.browser import WAIT_MS, open_watched

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")]

SOFTWARE_GL = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
NO_WEBGL = """
const getContext = HTMLCanvasElement.prototype.getContext;
HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
  return kind.startsWith("webgl") ? null : getContext.call(this, kind, ...rest);
};
"""


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=SOFTWARE_GL, timeout=WAIT_MS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def visit(browser, report):
    """Open the report; the page notes what it says and asks for."""

    def open_page(script="", **options):
        return open_watched(browser, report, "html[data-slices=ready]", script=script, **options)

    return open_page


@pytest.fixture(scope="module")
def laptop(visit):
    return visit(viewport={"width": 1440, "height": 900}, color_scheme="light")


@pytest.fixture
def page(laptop):
    """The page with everything as at the start."""
    laptop.evaluate("document.querySelector('#all').click()")
    slide(laptop, "#explode", 0)
    laptop.locator("[data-view='0,0']").click()
    laptop.mouse.move(1, 1)
    return laptop


def picture(page, selector="#solid"):
    """Return what is seen of an element, red, green, blue as integers, after the page has drawn."""
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return np.asarray(Image.open(io.BytesIO(page.locator(selector).screenshot())).convert("RGB")).astype(int)


def slide(page, selector, value):
    page.evaluate(
        "([s, v]) => { const e = document.querySelector(s); e.value = v; e.dispatchEvent(new Event('input')); }",
        [selector, value],
    )


def colourful(image):
    return np.ptp(image, axis=-1) > 60


def share_like(image, colour):
    """Return which share of the picture has the hue of a colour, whatever the light."""
    towards = np.array(colour) - np.mean(colour)
    pixels = image - image.mean(axis=-1, keepdims=True)
    size = np.linalg.norm(pixels, axis=-1)
    return float(((pixels @ towards > 0.97 * size * np.linalg.norm(towards)) & (size > 30)).mean())


def difference(one, other):
    return float((np.abs(one - other).max(axis=-1) > 12).mean())


def test_page_is_quiet_and_alone(page):
    assert page.evaluate("document.documentElement.dataset.viewer") == "ready"
    assert page.said == []
    assert {re.match("[a-z]+:", url)[0] for url in page.asked} <= {"file:", "data:"}
    assert len([url for url in page.asked if url.startswith("file:")]) == 1
    assert page.evaluate("document.querySelectorAll('h1 *, .warnings script').length") == 0
    assert "alert(" in page.locator("h1").text_content()
    blocked = page.evaluate("fetch('https://example.org').then(() => 'open', () => 'blocked')")
    assert blocked == "blocked"
    assert "Content Security Policy" in " ".join(page.said)
    page.said.clear()


def test_assembly_is_drawn_in_its_colours(page, case):
    image = picture(page)
    assert 0.08 < colourful(image).mean() < 0.8
    for number in (1, 51, 101, 151):
        assert share_like(image, case[2][number].colour) > 0.004, number
    # The patient's right is on the left.
    middle = image.shape[1] // 2
    right = case[2][101].colour
    assert share_like(image[:, :middle], right) > 5 * share_like(image[:, middle:], right)


def test_views_turning_zooming_and_exploding_change_the_picture(page):
    front = picture(page)
    page.locator("[data-view='40,0']").click()
    inlet = picture(page)
    assert difference(front, inlet) > 0.05
    assert page.locator("#letters span").all_text_contents() == ["R", "L", "HP", "FA"]
    page.locator("[data-view='0,0']").click()
    box = page.locator("#solid").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 120, y, steps=3)
    page.mouse.up()
    turned = picture(page)
    assert difference(front, turned) > 0.05
    page.keyboard.press("ArrowLeft")
    assert difference(turned, picture(page)) > 0.01
    page.keyboard.press("1")
    page.keyboard.press("+")
    assert colourful(picture(page)).mean() > 1.1 * colourful(front).mean()
    page.keyboard.press("0")
    slide(page, "#explode", 70)
    assert difference(front, picture(page)) > 0.05


def test_fragments_are_switched_off_and_on(page, case):
    colour = case[2][1].colour
    before = share_like(picture(page), colour)
    page.locator("[data-fragment='1'] input").uncheck()
    assert share_like(picture(page), colour) < 0.02 * before
    page.locator("[data-fragment='1'] .only").click()
    alone = picture(page)
    assert share_like(alone, colour) > 0.8 * before
    assert share_like(alone, case[2][101].colour) == 0
    assert page.locator(".pieces input:checked").count() == 1
    page.locator("#all").click()
    assert page.locator(".pieces input:checked").count() == len(case[2])


def test_pointing_names_a_fragment_and_a_click_goes_to_it(page, case, content):
    image = picture(page)
    colour = np.array(case[2][101].colour)
    hue = (image - image.mean(axis=-1, keepdims=True)) @ (colour - colour.mean())
    rows, columns = np.nonzero(hue > 0.6 * hue.max())
    at = np.argmin(np.hypot(rows - np.median(rows), columns - np.median(columns)))
    place = {"x": float(columns[at]), "y": float(rows[at])}
    page.locator("#solid").hover(position=place)
    page.wait_for_selector("#chip:not([hidden])")
    assert page.locator("#chip").text_content().startswith("Right hip bone, fragment 1, ")
    assert "near" in page.locator("[data-fragment='101']").get_attribute("class")
    page.locator("#solid").click(position=place)
    picture(page)
    assert "chosen" in page.locator("[data-fragment='101']").get_attribute("class")
    # The slices go through the place that was clicked: the right hip bone is in the sagittal one.
    x = int(page.locator(".sagittal input").input_value())
    assert x < content["volume"]["shape"][2] / 2
    assert share_like(picture(page, ".sagittal canvas"), colour) > 0.002
    page.keyboard.press("Escape")
    assert "chosen" not in page.locator("[data-fragment='101']").get_attribute("class")


def test_slices_scroll_and_show_contours(page, case):
    for plane in (".axial", ".coronal", ".sagittal"):
        before = picture(page, f"{plane} canvas")
        assert before.max() > 150
        text = page.locator(f"{plane} output").text_content()
        slide(page, f"{plane} input", int(page.locator(f"{plane} input").input_value()) + 7)
        assert difference(before, picture(page, f"{plane} canvas")) > 0.02
        assert page.locator(f"{plane} output").text_content() != text
    with_contours = picture(page, ".coronal canvas")
    page.locator("#contours").uncheck()
    page.locator("#cross").uncheck()
    without = picture(page, ".coronal canvas")
    assert colourful(with_contours).sum() > 100
    assert colourful(without).sum() == 0
    page.locator("#fill").check()
    assert colourful(picture(page, ".coronal canvas")).sum() > 100
    page.locator("#fill").uncheck()
    page.locator("#contours").check()
    page.locator("#cross").check()


def test_fracture_is_looked_at(page, case, content):
    whole = picture(page)
    page.locator("[data-fracture='0'] .name").click()
    seen = picture(page)
    assert share_like(seen, case[2][101].colour) < 0.3 * share_like(whole, case[2][101].colour)  # the others fade
    places = [int(page.locator(f"{plane} input").input_value()) for plane in (".axial", ".coronal", ".sagittal")]
    assert places == content["fractures"][0]["place"]
    assert page.locator(".pieces tr.chosen").count() == 2
    page.locator("[data-fracture='0'] .name").click()
    assert page.locator("tr.chosen").count() == 0


def test_names_of_controls(page):
    unnamed = page.evaluate(
        """Array.from(document.querySelectorAll('button, input, canvas#solid')).filter(e => !(e.textContent.trim()
        || e.getAttribute('aria-label') || (e.labels && e.labels[0] && e.labels[0].textContent.trim()))).length"""
    )
    assert unnamed == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 1440


def test_phone(visit):
    phone = visit(viewport={"width": 390, "height": 844}, color_scheme="dark", has_touch=True, is_mobile=True)
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390
    assert phone.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(243, 245, 248)"
    image = picture(phone)
    assert colourful(image).mean() > 0.05
    box = phone.locator("#solid").bounding_box()
    phone.touchscreen.tap(box["x"] + 3, box["y"] + 3)
    assert phone.locator("#chip").is_hidden()
    order = [
        phone.locator(name).bounding_box()["y"] for name in (".warnings", "#solid", "#fragments", ".slices", ".wide")
    ]
    assert order == sorted(order)
    assert phone.said == []
    phone.context.close()


def test_without_webgl_the_picture_is_shown(visit):
    page = visit(NO_WEBGL, viewport={"width": 1000, "height": 800})
    assert page.evaluate("document.documentElement.dataset.viewer") == "off"
    assert page.locator("#still img").is_visible()
    assert page.locator("#still img").evaluate("image => image.naturalWidth") > 1000
    assert "WebGL is off" in page.locator("#still-note").text_content()
    assert page.locator("#tools").is_hidden()
    assert page.locator(".axial canvas").is_visible()
    page.locator("[data-fragment='51'] input").uncheck()
    assert page.said == []
    page.context.close()


def test_without_scripts_picture_and_tables_are_there(visit):
    page = visit(is_ready=False, java_script_enabled=False, viewport={"width": 1000, "height": 800})
    assert page.locator("#still img").is_visible()
    assert page.locator("noscript").is_visible()
    assert page.locator("#tools").is_hidden()
    assert page.locator(".pieces tbody tr").count() == 7
    page.context.close()
