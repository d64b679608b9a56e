"""The overlay page in a browser: quiet, alone, colours where the errors are, and every way to scroll and switch."""

import io
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from nnunet_ext.evaluation.overlays import write_overlays
from tests.nnunet_ext.browser import WAIT_MS, open_watched
from tests.nnunet_ext.evaluation.made_overlays import HOSTILE, LABELS, case

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")]

TOO_MUCH, MISSED, WRONG, RIGHT = (232, 89, 12), (86, 180, 233), (204, 121, 167), (63, 143, 116)
REFERENCE, PREDICTION = (22, 214, 160), (255, 127, 42)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "overlays.html"
    cases = [case(HOSTILE, score=0.5), case("without_ct", score=0.9, with_ct=False)]
    write_overlays(path, cases, labels=LABELS, title=HOSTILE)
    return path


@pytest.fixture(scope="module")
def visit(file):
    """Open the page; it notes what it says and asks for."""
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=WAIT_MS)

        def open_page(**options):
            return open_watched(browser, file, "html[data-ready=yes]", **options)

        yield open_page
        browser.close()


@pytest.fixture(scope="module")
def laptop(visit):
    return visit(viewport={"width": 1440, "height": 900}, color_scheme="light")


@pytest.fixture
def page(laptop):
    """The page as at the start."""
    laptop.locator("[data-case='0']").click()
    laptop.wait_for_selector("html[data-ready=yes]", state="attached")
    for selector in ("[data-view=errors]", "[data-axis='0']", "[data-model='-1']", "#fit"):
        laptop.locator(selector).click()
    laptop.locator("#structure").select_option("0")
    laptop.locator("h1").click()
    return laptop


def picture(page, pane=0):
    """Return what is seen of a pane, red, green, blue as integers, after the page has drawn."""
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    image = page.locator(".film canvas").nth(pane).screenshot()
    return np.asarray(Image.open(io.BytesIO(image)).convert("RGB")).astype(int)


def share_like(image, colour, strength=25):
    """Return which share of the picture has the hue of a colour, whatever the light."""
    towards = np.array(colour) - np.mean(colour)
    pixels = image - image.mean(axis=-1, keepdims=True)
    size = np.linalg.norm(pixels, axis=-1)
    return float(((pixels @ towards > 0.97 * size * np.linalg.norm(towards)) & (size > strength)).mean())


def where(page):
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return page.locator("#where").text_content()


def test_page_is_quiet_and_alone(page):
    assert page.said == []
    assert {re.match("[a-z]+:", url)[0] for url in page.asked} <= {"file:", "data:"}
    assert len([url for url in page.asked if url.startswith("file:")]) == 1
    assert page.evaluate("document.querySelectorAll('h1 *').length") == 0
    assert "alert(" in page.locator("h1").text_content()
    assert page.evaluate("document.documentElement.scrollWidth") <= 1440
    unnamed = page.evaluate(
        """Array.from(document.querySelectorAll('button, input, select, canvas')).filter(e => !(e.textContent.trim()
        || e.getAttribute('aria-label') || (e.labels && e.labels[0] && e.labels[0].textContent.trim()))).length"""
    )
    assert unnamed == 0


def test_it_opens_at_the_slice_with_most_error_and_tells_its_figures(page):
    assert where(page) == "Axial 21 of 30"
    much, little = (page.locator("figcaption").nth(k).text_content() for k in range(2))
    assert much == "muchDice 0.9344this slice: 0.896; +1.40 \u22120.00 cm\u00b2"
    assert little == "littleDice 0.7143this slice: 0.714; +0.00 \u22120.80 cm\u00b2, 1.20 wrong"


def test_errors_have_their_colours(page):
    much, little = picture(page, 0), picture(page, 1)
    assert min(share_like(image, RIGHT, 8) for image in (much, little)) > 0.05
    assert share_like(much, TOO_MUCH) > 0.02
    assert share_like(little, TOO_MUCH) == 0
    assert share_like(little, MISSED) > 0.01
    assert share_like(little, WRONG) > 0.02
    assert share_like(much, WRONG) == 0
    is_orange = (much[..., 0] > 180) & (much[..., 2] < 80)  # at the patient's right: left of the bones
    assert np.nonzero(is_orange)[1].mean() < much.shape[1] / 2


def test_contours_and_plain_ct(page):
    page.keyboard.press("c")
    image = picture(page)
    assert share_like(image, REFERENCE) > 0.002
    assert share_like(image, PREDICTION) > 0.001
    assert page.locator("#legend-contours").is_visible()
    assert page.locator("#legend-errors").is_hidden()
    page.keyboard.press("v")
    assert np.ptp(picture(page), axis=-1).max() < 30  # grey, and the frame's dark blue
    assert page.locator("#opacity").is_hidden()


def test_every_way_to_scroll(page):
    page.keyboard.press("ArrowUp")
    assert where(page) == "Axial 22 of 30"
    page.keyboard.press("PageDown")
    assert where(page) == "Axial 12 of 30"
    page.keyboard.press("End")
    assert where(page) == "Axial 30 of 30"
    page.locator(".film canvas").first.hover()
    page.mouse.wheel(0, 100)
    assert where(page) == "Axial 29 of 30"
    page.mouse.wheel(0, -100)
    assert where(page) == "Axial 30 of 30"
    page.evaluate("const e = document.querySelector('#slice'); e.value = 4; e.dispatchEvent(new Event('input'))")
    assert where(page) == "Axial 5 of 30"
    box = page.locator(".profile").first.bounding_box()
    page.mouse.click(box["x"] + 8, box["y"] + 5)
    assert where(page) == "Axial 1 of 30"
    page.locator("#worst").click()
    assert where(page) == "Axial 21 of 30"


def test_planes_models_and_structures(page):
    page.locator("[data-axis='2']").click()
    assert where(page).startswith("Sagittal ")
    assert page.locator(".film i").all_text_contents()[:4] == list("APHF")
    page.keyboard.press("2")
    assert where(page).startswith("Coronal ")
    page.keyboard.press("1")
    page.locator("[data-model='1']").click()
    assert page.locator(".pane").count() == 1
    assert page.locator("figcaption b").text_content() == "little"
    page.locator("#structure").select_option(label="femur")
    image = picture(page)
    assert share_like(image, WRONG) == 0
    assert share_like(image, TOO_MUCH) > 0.02  # the tibia that was taken for the femur
    assert page.locator("figcaption").text_content().startswith("littleDice 0.8696")
    page.locator("h1").click()
    page.keyboard.press("m")
    assert page.locator(".pane").count() == 2


def test_zooming_and_pointing(page):
    before = share_like(picture(page), RIGHT, 8)
    page.keyboard.press("+")
    assert share_like(picture(page), RIGHT, 8) > 1.5 * before
    page.keyboard.press("0")
    image = picture(page)
    rows, columns = np.nonzero((image[..., 0] > 180) & (image[..., 2] < 80))
    at = {"x": float(np.median(columns)), "y": float(np.median(rows))}
    page.locator(".film canvas").first.hover(position=at)
    assert page.locator(".chip").first.text_content() == "false positive: reference background, predicted femur"
    page.locator(".film canvas").first.hover(position={"x": 5, "y": 200})
    assert page.locator(".chip").first.is_hidden()


def test_cases_are_switched_and_a_ct_may_be_missing(page):
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("html[data-ready=yes]", state="attached")
    assert page.locator("[data-case='1']").get_attribute("aria-current") == "true"
    assert page.locator("[data-case='1'] .rank").text_content() == "best"
    assert page.locator("#contrast").is_hidden()
    assert share_like(picture(page), TOO_MUCH) > 0.02
    assert page.said == []


def test_phone(visit):
    phone = visit(viewport={"width": 390, "height": 844}, color_scheme="dark", has_touch=True, is_mobile=True)
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390
    assert share_like(picture(phone), TOO_MUCH) > 0.01
    assert phone.locator(".help .touch").is_visible()
    phone.locator(".profile").first.tap(position={"x": 9, "y": 9})
    sync_api.expect(phone.locator("#where")).to_have_text("Axial 1 of 30", timeout=WAIT_MS)
    assert phone.said == []
    phone.context.close()


def test_without_scripts_the_scores_are_there(visit):
    page = visit(is_ready=False, java_script_enabled=False, viewport={"width": 1000, "height": 800})
    assert page.locator(".off").is_visible()
    assert page.locator(".viewer").is_hidden()
    assert page.locator(".cases li").count() == 2
    assert "Dice 0.5" in page.locator(".cases li").first.text_content()
    page.context.close()
