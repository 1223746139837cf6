import json
import re

import cv2
import numpy as np
import pytest
from evaluation_data import levels_of, scenes, write_json, write_maps, write_masks

from cosal_d2.cli import main
from cosal_d2.evaluation import evaluate_methods
from cosal_d2.evaluation.output import write_evaluation
from cosal_d2.evaluation.report import build_page
from cosal_d2.evaluation.report.page import FAILURES

COUNT = 12
NASTY = "</script><b>x"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two evaluations of one dataset of twelve small images: two methods, and one method."""
    folder = tmp_path_factory.mktemp("report")
    records = scenes(COUNT)
    path = write_json(folder / "twelve.json", records)
    (folder / "twelve").mkdir()
    for r in records:
        picture = np.full((r["height"], r["width"], 3), (40, 90, 20 * r["image_id"]), np.uint8)
        cv2.imwrite(str(folder / "twelve" / f"{r['image_id']}.jpg"), picture)
    methods = {
        "good": write_maps(folder / "good", records, 0.9),
        "poor": write_maps(folder / "poor", records, 0.1),
    }
    cv2.imwrite(str(folder / "good" / "5.png"), 255 - levels_of(records[4], 0.9))
    evaluation = evaluate_methods(path, methods, workers=0)
    write_evaluation(evaluation, folder / "two", dataset=str(path), resamples=50)
    evaluation = evaluate_methods(path, {NASTY: folder / "good"}, measures="fast")
    write_evaluation(evaluation, folder / "one", dataset=str(path), resamples=0)
    return folder


@pytest.fixture(scope="module")
def page_path(folder):
    path = folder / "page.html"
    arguments = ["--evaluation", str(folder / "two"), str(folder / "one"), "--out", str(path)]
    assert main(["report", *arguments]) == 0
    return path


@pytest.fixture
def page(chromium, page_path):
    """The page in a browser, which must not complain or ask for any other file."""
    complaints, requests = [], []
    page = chromium.new_page(viewport={"width": 1280, "height": 900})
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(page_path.as_uri())
    yield page
    page.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith("data:")] == [page_path.as_uri()]


@pytest.fixture(scope="module")
def rows(folder):
    content = json.loads((folder / "two" / "evaluation.json").read_text())
    return {name: method["rows"] for name, method in content["methods"].items()}


def names(page):
    return page.locator(".card").evaluate_all("cards => cards.map(c => c.dataset.name)")


def test_the_gallery_is_sorted(page, rows):
    page.select_option("#measure", "MAE")
    page.select_option("#method", "good")
    by_error = sorted(rows["good"], key=lambda name: -rows["good"][name]["MAE"])
    assert names(page) == by_error
    assert by_error[0] == "5.jpg"
    page.select_option("#order", "best")
    assert names(page) == by_error[::-1]
    page.select_option("#measure", "wF")
    page.select_option("#order", "worst")
    assert names(page) == sorted(rows["good"], key=lambda name: rows["good"][name]["wF"])
    page.select_option("#order", "disagreement")
    gap = {n: abs(rows["good"][n]["wF"] - rows["poor"][n]["wF"]) for n in rows["good"]}
    assert names(page) == sorted(gap, key=lambda name: -gap[name])
    page.select_option("#order", "name")
    assert names(page) == sorted(rows["good"])
    page.select_option("#order", "dataset")
    assert names(page) == [f"{i}.jpg" for i in range(1, COUNT + 1)]


def test_the_gallery_is_filtered(page, rows):
    assert len(names(page)) == COUNT
    page.fill("#search", "1")
    assert sorted(names(page)) == ["1.jpg", "10.jpg", "11.jpg", "12.jpg"]
    page.click("#reset")
    page.select_option("#class", "pear")
    assert sorted(names(page), key=lambda n: int(n[:-4])) == [f"{i}.jpg" for i in range(1, 12, 2)]
    page.select_option("#instances", "3")
    assert sorted(names(page)) == sorted(f"{i}.jpg" for i in (3, 7, 11))
    assert page.inner_text("#shown") == f"3 of {COUNT} images"
    page.click("#reset")
    assert len(names(page)) == COUNT
    button = page.locator("button.count[data-failure=missed][data-method=poor]")
    missed = {n for n, row in rows["poor"].items() if row["objects_found"] < row["objects"]}
    assert int(button.inner_text()) == len(missed) > 0
    button.click()
    assert set(names(page)) == missed
    assert page.locator(".card .tags").first.inner_text().count(FAILURES["missed"]) == 1


def test_the_table_is_sorted_by_a_click(page):
    def column():
        cells = "rows => rows.map(r => Number(r.cells[1].dataset.value))"
        return page.locator("#results tbody tr").evaluate_all(cells)

    values = column()
    header = page.locator("#results th").nth(1)
    header.locator("button").click()
    assert header.get_attribute("aria-sort") == "descending"
    assert column() == sorted(values, reverse=True)
    header.locator("button").click()
    assert header.get_attribute("aria-sort") == "ascending"
    assert column() == sorted(values)


def test_a_picture_opens_and_gives_way_to_its_neighbours(page):
    page.select_option("#order", "dataset")
    first = page.locator(".card").first
    first.locator("figure button").nth(2).click()
    assert page.locator("#viewer").is_visible()
    assert page.inner_text("#caption").startswith("1.jpg: map good | adpF ")
    assert page.evaluate("document.getElementById('large').naturalWidth") == 16
    page.keyboard.press("ArrowDown")
    assert page.inner_text("#caption").startswith("2.jpg: map good")
    page.keyboard.press("ArrowLeft")
    assert page.inner_text("#caption").startswith("2.jpg: truth")
    page.keyboard.press("Escape")
    assert not page.locator("#viewer").is_visible()
    page.click("img.curves")
    assert page.locator("#viewer").is_visible()
    page.click("#close")
    assert not page.locator("#viewer").is_visible()


def test_every_picture_of_a_card_is_shown(page):
    loaded = "images => images.every(i => i.complete && i.naturalWidth > 0)"
    pictures = page.locator(".card").first.locator("img")
    assert pictures.count() == 2 + 3
    pictures.last.scroll_into_view_if_needed()
    page.wait_for_function(
        "[...document.querySelectorAll('.card img')].slice(0, 5).every(i => i.complete)"
    )
    assert pictures.evaluate_all(loaded)
    assert page.evaluate("document.querySelector('img.curves').naturalWidth") > 100
    assert page.locator("b").count() == 0  # the name of a method is text


def test_a_phone_can_read_it(page):
    page.set_viewport_size({"width": 375, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    sizes = page.evaluate(
        "[...document.querySelectorAll('p, td, th, label, figcaption, select, input, h3')]"
        ".filter(e => e.offsetParent).map(e => parseFloat(getComputedStyle(e).fontSize))"
    )
    assert min(sizes) >= 12
    heights = "c => c.map(e => e.getBoundingClientRect().height)"
    assert min(page.locator(".controls select, .controls input").evaluate_all(heights)) >= 40
    card = page.locator(".card").first.bounding_box()
    assert card["x"] >= 0 and card["x"] + card["width"] <= 375
    page.locator(".card figure button").first.click()
    box = page.locator("#viewer").bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 375


def test_a_folder_of_masks_and_a_limit(folder, tmp_path):
    records = scenes(4)
    masks = write_masks(tmp_path / "masks", records)
    evaluation = evaluate_methods(
        masks, {"good": folder / "good"}, measures="paper", allow_missing=True
    )
    write_evaluation(evaluation, tmp_path / "out", dataset=str(masks))
    page = build_page([tmp_path / "out"], images=folder / "twelve", limit=2)
    content = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL).group(1))
    assert [len(content["images"]), content["measures"][0]] == [2, "raw_adpF"]
    assert all(entry["pictures"]["image"] for entry in content["images"])
    assert "The 2 images that are worst" in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["EMPTY"], "no evaluation.json; give the --out of `cosal evaluate`"),
        (["TWO", "TWO"], "another evaluation has a method good, too"),
        (["TWO", "--images", "nowhere"], "--images nowhere: no such folder"),
        (["OLD"], "field 'version' is not 1"),
    ],
)
def test_what_does_not_fit_is_refused(folder, tmp_path, capsys, arguments, message):
    for name in ("empty", "old"):
        (tmp_path / name).mkdir()
    (tmp_path / "old" / "evaluation.json").write_text('{"version": 0}')
    paths = {"EMPTY": tmp_path / "empty", "OLD": tmp_path / "old", "TWO": folder / "two"}
    given = [str(paths.get(word, word)) for word in arguments]
    assert main(["report", "--evaluation", *given, "--out", str(tmp_path / "x.html")]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "x.html").exists()
