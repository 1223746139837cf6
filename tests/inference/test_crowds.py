from types import SimpleNamespace

import numpy as np
import pytest
from tool_loading import load_tool

from cosal_d2.inference import crowds
from cosal_d2.inference.crowds import crowd_rows

# Of what is found in the two crowds of a number of objects, by tiles.
FOUND = {1: {20: (10, 19), 40: (12, 12)}, 2: {20: (20, 23), 40: (38, 44)}}


@pytest.fixture
def drawn(monkeypatch):
    """Scenes without pictures, and predictors that know how many objects to find; gives their
    sizes."""
    monkeypatch.setattr(crowds, "render_scene", scene)
    sizes = []

    def predictor(config, size):
        sizes.append(size)
        return lambda image, tiles: answer(image, FOUND[tiles], size)

    monkeypatch.setattr(crowds, "CoSaliencyPredictor", predictor)
    return sizes


def scene(seed, index, options):
    """As many objects as asked for, a pixel each, beside one other."""
    low, high = options.objects
    assert low == high and options.groups == 1 and options.size == (96, 128)
    masks = np.eye(low + 1, dtype=bool)[:, None]
    names = ["apple"] * low + ["distractor"]
    objects = [SimpleNamespace(mask=m, category=c) for m, c in zip(masks, names, strict=True)]
    image = SimpleNamespace(objects=low, index=index)
    return SimpleNamespace(image=image, instances=objects, cosalient_category="apple")


def answer(image, found, size):
    """The map shows half of the objects at size 32, and all at size 64."""
    cosal_map = np.zeros((1, image.objects + 1), np.float32)
    cosal_map[0, : image.objects * size // 64] = 1
    return SimpleNamespace(count=found[image.objects][image.index], map=cosal_map)


def test_counts_and_maps_of_crowds_are_averaged(drawn):
    rows = list(crowd_rows("any.yaml", [20, 40], [32, 64], [1, 2], 2, picture=(96, 128)))
    assert drawn == [32, 64]
    assert [(r.objects, r.size, r.tiles) for r in rows] == [
        (n, s, t) for n in (20, 40) for s in (32, 64) for t in (1, 2)
    ]
    first, second = rows[:2]
    assert first.count == 14.5 and second.count == 21.5
    assert first.count_error == pytest.approx((10 / 20 + 1 / 20) / 2)
    assert (first.within_tenth, second.within_tenth, rows[5].within_tenth) == (0.5, 0.5, 1.0)
    assert first.adpF == pytest.approx(1.3 * 0.5 / (0.3 + 0.5)) and rows[2].adpF == 1
    assert all(r.seconds >= 0 for r in rows)


def test_the_tool_prints_a_row_for_each_way(drawn, monkeypatch, capsys):
    tool = load_tool("tools/benchmark.py")
    asked = []

    def rows(*args):
        asked.append(args)
        yield crowds.CrowdRow(20, 320, 1, 10.5, 0.475, 0.0, 0.625, 1.5)

    monkeypatch.setattr(crowds, "crowd_rows", rows)
    tool.main(["crowds", "--config-file", "cosal_r50.yaml", "--objects", "20", "--tiles", "1", "3"])
    assert asked == [("cosal_r50.yaml", [20], (320,), [1, 3], 10)]
    names, values = capsys.readouterr().out.splitlines()
    assert names.split()[:4] == ["objects", "size", "tiles", "count"]
    assert values.split() == ["20", "320", "1", "10.50", "0.47", "0.00", "0.62", "1.50"]
