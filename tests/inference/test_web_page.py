"""The page of `cosal serve` in a browser, as wide as a desk's screen and as a phone's."""

import io
import json
import time
import zipfile

import numpy as np
import pytest
from PIL import Image
from web_data import EXAMPLE, LIMITS, Served

from cosal_d2.inference import CoSaliencyPredictor

SIZES = {"desktop": (1280, 800), "phone": (390, 844)}
PICTURES = "#overlay img, #objects img, #map img"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    predictor = CoSaliencyPredictor(size=240)
    with Served(predictor, tmp_path_factory.mktemp("served"), LIMITS) as server:
        server.predictor = predictor
        yield server


@pytest.fixture
def page(chromium, served, request):
    """The page, which must ask nobody else for anything."""
    width, height = SIZES[getattr(request, "param", "desktop")]
    page = chromium.new_page(viewport={"width": width, "height": height})
    errors, requests = [], []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(f"http://127.0.0.1:{served.port}/")
    page.wait_for_selector("#upload input[type=file]", state="attached")
    yield page
    page.close()
    assert errors == []
    home = (f"http://127.0.0.1:{served.port}/", "data:", "blob:")
    assert [url for url in requests if not url.startswith(home)] == []


def wait_for(page, text):
    page.wait_for_function(
        "text => document.querySelector('#summary')?.innerText.includes(text)", arg=text
    )


def shown(page):
    """Addresses of the three pictures."""
    page.wait_for_function(
        f"[...document.querySelectorAll('{PICTURES}')].filter(i => i.naturalWidth).length == 3"
    )
    return page.locator(PICTURES).evaluate_all("images => images.map(i => i.src)")


def click(page, x, y, of=(640, 480)):
    """Click a point of the overlay, in the picture's pixels."""
    overlay = page.locator("#overlay img")
    box = overlay.bounding_box()
    overlay.click(position={"x": x / of[0] * box["width"], "y": y / of[1] * box["height"]})


@pytest.mark.parametrize("page", SIZES, indirect=True)
def test_upload_slider_click_and_downloads(page, served, monkeypatch):
    page.set_input_files("#upload input[type=file]", EXAMPLE)
    wait_for(page, "6 objects belong together")
    first = shown(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
    # From here on a forward pass of the encoder fails.
    monkeypatch.setattr(served.predictor.model.backbone, "forward", None)
    page.fill("#threshold input[type=number]", "0.95")
    page.keyboard.press("Tab")
    page.wait_for_function("(document.querySelector('#count')?.innerText ?? '6') != '6'")
    assert int(page.inner_text("#count")) < 6
    page.fill("#threshold input[type=number]", "0.3")
    page.keyboard.press("Tab")
    wait_for(page, "6 objects belong together")
    click(page, 450, 95)
    wait_for(page, "like the one you clicked")
    count = int(page.inner_text("#count"))
    assert count >= 5 and shown(page) != first
    content = {}
    for link in page.locator("#downloads a").all():
        with page.expect_download() as download:
            link.click()
        with open(download.value.path(), "rb") as file:
            content[download.value.suggested_filename] = file.read()
    assert set(content) == {"mask.png", "objects.zip", "objects.json"}
    mask = np.asarray(Image.open(io.BytesIO(content["mask.png"])))
    assert mask.shape == (480, 640) and mask[95, 450] == 255 and mask[5, 5] == 0
    assert len(zipfile.ZipFile(io.BytesIO(content["objects.zip"])).namelist()) == count
    assert json.loads(content["objects.json"])["count"] == count
    click(page, 5, 470)
    page.wait_for_selector("text=No object was found there")
    page.click("#everything")
    wait_for(page, "6 objects belong together")


def test_an_example_is_picked_and_what_is_no_picture_is_refused(page, tmp_path):
    page.locator("#examples img").nth(1).click()
    page.wait_for_selector("#count")
    shown(page)
    path = tmp_path / "page.jpg"
    path.write_text("<html><script>alert(1)</script></html>")
    page.set_input_files("#upload input[type=file]", str(path))
    page.wait_for_selector("text=no picture of a known kind")
    assert page.locator("#count").is_visible()  # the former result stays


def test_a_picture_is_forgotten_when_its_page_is_closed(page, served):
    page.locator("#examples img").first.click()
    page.wait_for_selector("#count")
    kept = served.app.app.state.kept
    visitor = page.locator("#downloads a").first.get_attribute("href").split("/")[1]
    assert visitor in kept
    page.close()
    end = time.monotonic() + 20
    while visitor in kept and time.monotonic() < end:
        time.sleep(0.1)
    assert visitor not in kept
