import cv2
import numpy as np
import pytest
import torch
from network_data import GROUPED, tiny_config, tiny_model

from cosal_d2.inference import CoSaliencyPredictor
from cosal_d2.inference.tiles import Windows, distinct_regions
from cosal_d2.modeling.grouping.region_masks import RegionSet

RED, GREEN = (0, 0, 255), (0, 255, 0)


@pytest.mark.parametrize(
    ("size", "tiles", "grid"),
    [
        *(((480, 640), 2, (1, 2)), ((480, 640), 4, (3, 4)), ((640, 481), 5, (5, 4))),
        *(((4000, 5000), 6, (5, 6)), ((200, 1000), 3, (1, 3)), ((300, 300), 3, (3, 3))),
        *(((100, 90), 4, (1, 1)), ((10, 900), 3, (1, 3)), ((480, 640), 1, (1, 1))),
    ],
)
def test_windows_cover_a_picture_and_overlap_by_about_a_quarter(size, tiles, grid):
    windows = Windows.over(*size, tiles)
    assert (len(windows.tops), len(windows.lefts)) == grid
    total = torch.zeros(size)
    for (x0, y0, x1, y1), share in zip(windows.boxes(), windows.shares(), strict=True):
        assert (y1 - y0, x1 - x0) == windows.side == tuple(share.shape)
        assert min(x0, y0) >= 0 and x1 <= size[1] and y1 <= size[0]
        assert share.min() > 0
        total[y0:y1, x0:x1] += share
    torch.testing.assert_close(total, torch.ones(size))
    for side, length, starts, common in zip(
        windows.side, size, (windows.tops, windows.lefts), windows.common(), strict=True
    ):
        assert list(starts) == sorted(set(starts))
        if len(starts) == 1:
            assert side == length
            continue
        assert 0.2 < common / side < 0.3
        for start in range(length - int(common) + 1):  # an object of that size anywhere
            assert any(s <= start and start + common <= s + side for s in starts)
    if min(grid) > 1:
        assert 0.7 < windows.side[0] / windows.side[1] < 1.4


def test_a_window_counts_less_towards_an_end_that_another_one_overlaps():
    windows = Windows.over(100, 500, 4)
    (top,), lefts, (h, w) = windows.tops, windows.lefts, windows.side
    assert top == 0 and h == 100
    overlap = lefts[0] + w - lefts[1]
    first, second, *_ = windows.shares()
    assert (first[:, : w - overlap] == 1).all() and (second[:, overlap : w - overlap] == 1).all()
    assert (first[0, w - overlap :].diff() < 0).all() and (second[0, :overlap].diff() > 0).all()


@pytest.fixture(scope="module")
def model():
    return tiny_model(*GROUPED).eval()


def regions(*found):
    """Regions (box, view, objectness), with the views they were found in."""
    boxes = torch.tensor([box for box, _, _ in found]).float()
    objectness = torch.tensor([logit for _, _, logit in found]).float()
    masks = torch.zeros(len(found), 28, 28)
    own = RegionSet(boxes, boxes, objectness, masks, torch.zeros(len(found), 2))
    return own, torch.tensor([v for _, v, _ in found])


# The whole picture of 100 x 200 and two windows, which share the columns from 90 to 120.
VIEWS = [(0, 0, 200, 100), (0, 0, 120, 100), (90, 0, 200, 100)]


@pytest.mark.parametrize(
    ("found", "stay"),
    [
        # One object in both windows: the more object-like region.
        ([((95, 20, 110, 40), 1, 1), ((96, 20, 110, 40), 2, 2)], [1]),
        # A part of it, however object-like, gives way to the whole.
        ([((100, 20, 120, 40), 1, 9), ((100, 20, 124, 40), 2, 1)], [1]),
        ([((108, 20, 120, 40), 1, 9), ((108, 20, 138, 40), 2, 1)], [1]),
        ([((90, 20, 100, 40), 2, 9), ((60, 20, 100, 40), 0, 1)], [1]),
        # Nothing holds the whole.
        ([((108, 20, 120, 40), 1, 9), ((130, 20, 160, 40), 2, 1)], [0, 1]),
        # An object on another one in its own window, which cuts it.
        ([((110, 20, 120, 40), 1, 9), ((20, 10, 115, 60), 1, 1)], [0, 1]),
        # At the picture's own edge nothing is cut.
        ([((0, 0, 20, 20), 1, 1), ((0, 0, 200, 50), 0, 2)], [0, 1]),
        # What the windows show whole is not taken from the whole picture.
        ([((10, 20, 38, 90), 0, 9), ((10, 20, 48, 90), 0, 5)], [1]),
    ],
)
def test_one_region_of_each_object_is_compared(model, found, stay):
    own, views = regions(*found)
    keep = distinct_regions(own, views, VIEWS, (float("inf"), 30.0), model.grouping)
    assert sorted(keep.tolist()) == stay


def test_nothing_is_compared_where_no_region_was_found(model):
    empty = torch.zeros(0)
    boxes = empty.view(0, 4)
    none = RegionSet(boxes, boxes, empty, empty.view(0, 28, 28), empty.view(0, 2))
    assert not len(distinct_regions(none, empty.long(), VIEWS, (30.0, 30.0), model.grouping))


def seeing(model):
    """A network's ``find`` that sees bright rectangles on black, and compares their colours."""
    at = ((torch.arange(28) + 0.5) / 28 * 2 - 1) * 1.3
    full = ((at.abs() <= 1)[None] & (at.abs() <= 1)[:, None]).float()

    def find(images, exemplars):
        pixels = images.tensor * model.pixel_std + model.pixel_mean
        shown = pixels.amax(dim=1) > 100
        for mask, (h, w) in zip(shown, images.image_sizes, strict=True):  # the padding is grey
            mask[h:], mask[:, w:] = False, False
        found = []
        for picture, mask, exemplar in zip(pixels, shown, exemplars, strict=True):
            _, _, stats, _ = cv2.connectedComponentsWithStats(mask.numpy().astype(np.uint8))
            boxes = [(x, y, x + w, y + h) for x, y, w, h, _ in stats[1:].tolist()]
            boxes = torch.tensor(boxes).float().reshape(-1, 4)
            if exemplar is not None:
                boxes = torch.cat([boxes, exemplar[None].float()])
            middles = ((boxes[:, :2] + boxes[:, 2:]) / 2).long()
            colours = picture[:, middles[:, 1], middles[:, 0]].T / 255
            count = len(boxes)
            own = RegionSet(
                *(boxes, boxes, torch.full((count,), 4.0), full.repeat(count, 1, 1)),
                torch.zeros(count, 2),
            )
            found.append((own, torch.nn.functional.normalize(colours, dim=1)))
        return 16 * shown[:, None].float() - 8, found

    return find


def by_best(features, evidence, objectness):
    """A judge that asks for one resembling object."""
    best = evidence.amax(dim=1)
    return best, torch.zeros_like(best), best.max() if len(best) else best.sum()


@pytest.fixture(scope="module")
def loaded(tmp_path_factory, model):
    path = str(tmp_path_factory.mktemp("tiny") / "tiny.pth")
    torch.save({"model": model.state_dict()}, path)
    return CoSaliencyPredictor(tiny_config(*GROUPED, "MODEL.WEIGHTS", path), size=160)


@pytest.fixture
def predictor(loaded, monkeypatch):
    """A predictor that sees bright rectangles and groups them by colour."""
    monkeypatch.setattr(loaded.model, "find", seeing(loaded.model))
    monkeypatch.setattr(loaded.model.grouping.judge, "forward", by_best)
    return loaded


def picture(*objects, size=(240, 320)):
    """Rectangles (x0, y0, x1, y1) of a colour on black."""
    image = np.zeros((*size, 3), np.uint8)
    for (x0, y0, x1, y1), colour in objects:
        image[y0:y1, x0:x1] = colour
    return image


def check(result, objects):
    """The result's instances are these rectangles, and the map shows them alone."""
    shown = np.zeros(result.map.shape, bool)
    boxes = result.instances.pred_boxes.tensor
    assert len(boxes) == len(objects)
    for x0, y0, x1, y1 in objects:
        shown[y0:y1, x0:x1] = True
        distance = (boxes - torch.tensor([x0, y0, x1, y1])).abs().amax(dim=1)
        assert distance.min() <= max(2, 0.1 * (x1 - x0))
    assert ((result.map >= 0.5) == shown).mean() > 0.98


def test_objects_that_are_alone_in_their_windows_belong_together(predictor):
    red = [(10, 12, 26, 28), (290, 200, 306, 216)]
    image = picture(*((box, RED) for box in red), ((150, 100, 166, 116), GREEN))
    result = predictor(image, tiles=4)
    check(result, red)
    assert result.repeats > 0.9 and result.counts == [2]
    alone = predictor(image[:100, :100])
    assert alone.repeats < 0.1 and alone.counts == []


@pytest.mark.parametrize("tiles", [2, 3, 5])
def test_an_object_is_counted_once_however_many_windows_show_it(predictor, tiles):
    red = [(x, y, x + 12, y + 12) for y in range(4, 220, 24) for x in range(6, 300, 24)]
    result = predictor(picture(*((box, RED) for box in red)), tiles=tiles)
    assert len(red) > 100  # more than a pass compares
    check(result, red)
    assert result.count == len(red)
    masks = result.instances.pred_masks
    assert masks.dtype == torch.bool and int(masks.sum(dim=0).max()) == 1


def test_objects_larger_than_a_window_come_from_the_whole_picture(predictor):
    red = [(10, 20, 120, 130), (180, 90, 300, 210)]
    green = (140, 20, 300, 70)
    result = predictor(picture(*((box, RED) for box in red), (green, GREEN)), tiles=4)
    check(result, red)


def test_what_resembles_an_exemplar_is_found_in_all_windows(predictor):
    red = [(10, 12, 26, 28), (290, 200, 306, 216), (200, 30, 216, 46)]
    green = [(40, 180, 56, 196), (270, 14, 286, 30)]
    image = picture(*((box, RED) for box in red), *((box, GREEN) for box in green))
    check(predictor(image, like=green[1], tiles=4), green)
    check(predictor(image, like=red[2], tiles=4), red)


def test_an_exemplar_that_nothing_resembles_is_alone_whatever_else_repeats(predictor):
    red, green = [(10, 12, 26, 28), (290, 200, 306, 216)], (40, 180, 56, 196)
    image = picture(*((box, RED) for box in red), (green, GREEN))
    for tiles in (1, 4):
        result = predictor(image, like=green, tiles=tiles)
        check(result, [green])
        assert result.counts == [1]


def test_an_exemplar_larger_than_a_window_is_taken_from_the_whole_picture(predictor):
    red, green = [(10, 20, 120, 130), (180, 90, 300, 210)], [(140, 20, 156, 36), (20, 200, 36, 216)]
    image = picture(*((box, RED) for box in red), *((box, GREEN) for box in green))
    check(predictor(image, like=red[1], tiles=4), red)


def test_below_the_threshold_of_repeating_the_map_is_empty_but_for_an_exemplar(
    predictor, monkeypatch
):
    image = picture(((10, 12, 26, 28), RED), ((150, 100, 166, 116), RED))
    assert predictor(image, tiles=3).map.max() == 1
    monkeypatch.setattr(predictor.model.grouping, "repeats_threshold", 1.0)
    assert not predictor(image, tiles=3).map.any()
    assert predictor(image, like=(10, 12, 26, 28), tiles=3).map[14:26, 12:24].min() > 0.5


def test_windows_are_passed_in_batches_of_a_bounded_size(predictor, monkeypatch):
    sizes, find = [], predictor.model.find
    monkeypatch.setattr(
        predictor.model, "find", lambda x, e: [find(x, e), sizes.append(tuple(x.tensor.shape))][0]
    )
    monkeypatch.setattr("cosal_d2.inference.tiles.BATCH_PIXELS", 3 * 176 * 160)
    result = predictor(picture(((10, 12, 26, 28), RED)), tiles=4)
    counts = [shape[0] for shape in sizes]
    assert counts[0] == 1 and sum(counts) == 1 + 4 * 3 and max(counts) == 3
    assert result.map.shape == (240, 320)


def test_a_picture_too_small_for_windows_is_passed_as_it_is(predictor):
    image = picture(((4, 4, 16, 16), RED), ((40, 30, 52, 42), RED), size=(50, 70))
    whole, tiled = predictor(image), predictor(image, tiles=4)
    assert whole.counts == tiled.counts == [2]
    assert np.allclose(whole.map, tiled.map)
