"""The predictor's pictures and options, and what it gives for real."""

import itertools
import json
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from network_data import GROUPED, tiny_config, tiny_model
from PIL import Image
from prediction_data import result
from pycocotools.coco import COCO

from cosal_d2.inference import CoSaliencyPredictor
from cosal_d2.utils import object_instances


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """A tiny network with weights that takes all it sees for objects of one group."""
    model = tiny_model(*GROUPED)
    torch.nn.init.constant_(model.decoder.predictor.bias, 3)
    torch.nn.init.constant_(model.grouping.masks.head.predictor.bias, 3)
    path = str(tmp_path_factory.mktemp("tiny") / "tiny.pth")
    torch.save({"model": model.state_dict()}, path)
    loose = {"THRESHOLD": -1.0, "INSTANCE_THRESHOLD": 0.0, "PAIR_THRESHOLD": 0.0}
    loose["SAME_OBJECT_SHARE"] = 0.9
    options = [str(x) for k, v in loose.items() for x in (f"MODEL.GROUPING.{k}", v)]
    return tiny_config(*GROUPED, *options, "MODEL.WEIGHTS", path)


@pytest.fixture(scope="module")
def predictor(config):
    return CoSaliencyPredictor(config)


@pytest.fixture(scope="module")
def paper(config):
    """The same network without the grouping."""
    cfg = config.clone()
    cfg.MODEL.GROUPING.ENABLED = False
    return CoSaliencyPredictor(cfg)


@pytest.fixture
def inputs(predictor, monkeypatch):
    """The batches that the network is given."""
    seen, forward = [], predictor.model.forward
    monkeypatch.setattr(predictor.model, "forward", lambda x: [seen.append(x), forward(x)][1])
    return seen


def noise(height=48, width=64, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_a_picture_may_come_in_any_form(predictor, tmp_path):
    bgr = noise(30, 40)
    rgb, path = Image.fromarray(bgr[:, :, ::-1]), tmp_path / "a.png"
    rgb.save(path)
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    rgb.rotate(180).save(tmp_path / "turned.png", exif=exif)
    expected = predictor(bgr)
    assert expected.map.dtype == np.float32 and expected.map.shape == (30, 40)
    assert 0 <= expected.map.min() < expected.map.max() <= 1
    for image in (path, str(path), rgb, tmp_path / "turned.png", rgb.convert("RGBA"), bgr.tolist()):
        found = predictor(np.uint8(image) if isinstance(image, list) else image)
        assert np.array_equal(found.image, bgr) and np.array_equal(found.map, expected.map)


def test_a_grey_picture_is_one_of_three_equal_channels(predictor):
    grey = noise()[:, :, 0]
    expected = np.dstack([grey] * 3)
    for image in (grey, grey[:, :, None], Image.fromarray(grey)):
        assert np.array_equal(predictor(image).image, expected)


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        ("nowhere.jpg", FileNotFoundError, "nowhere.jpg"),
        ("broken.png", ValueError, "broken.png"),
        (np.zeros((4, 5, 3)), ValueError, "float64 and shape"),
        (np.zeros((4, 5, 4), np.uint8), ValueError, "4 channels; give 3, BGR, or a PIL image"),
        (np.zeros((0, 5, 3), np.uint8), ValueError, "shape"),
        (np.zeros((2, 4, 5, 3), np.uint8), ValueError, "shape"),
    ],
)
def test_what_is_no_picture_is_refused(predictor, tmp_path, image, error, message):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(error, match=message):
        predictor(tmp_path / image if isinstance(image, str) else image)


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ((1, 2, 3), "give x0,y0,x1,y1 in pixels"),
        ((1, 2, float("nan"), 9), "give x0,y0,x1,y1 in pixels"),
        ((9, 2, 3, 20), r"no pixel of the picture \(64 x 48\) is inside"),
        ((70, 2, 90, 20), "no pixel of the picture"),
    ],
)
@pytest.mark.parametrize("tiles", [1, 2])
def test_a_box_around_nothing_is_refused(predictor, box, message, tiles):
    with pytest.raises(ValueError, match=message):
        predictor(noise(), like=box, tiles=tiles)


def test_options_that_no_network_can_follow_are_refused(config, predictor, monkeypatch):
    with pytest.raises(ValueError, match=r"tiles=1.5: give 1 or more"):
        predictor(noise(), tiles=1.5)
    for several in (predictor.batch, lambda x: next(predictor.stream(x))):
        with pytest.raises(ValueError, match="several pictures are taken here, .* not ndarray"):
            several(noise())
    with pytest.raises(ValueError, match="tiles=0: give 1 or more"):
        predictor(noise(), tiles=0)
    with pytest.raises(ValueError, match="like: 1 boxes for 2 pictures"):
        predictor.batch([noise(), noise()], [(1, 2, 30, 30)])
    with pytest.raises(ValueError, match="size=8: give 16 or more"):
        CoSaliencyPredictor(config, size=8)
    with pytest.raises(FileNotFoundError, match="none.pth"):
        CoSaliencyPredictor(config, weights="none.pth")
    with pytest.raises(ValueError, match="MODEL.DTYPE is 'fp16'; use one of"):
        CoSaliencyPredictor(config, dtype="fp16")
    with pytest.raises(ValueError, match="batch=0: give 1 or more"):
        next(predictor.stream([noise()], batch=0))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for device, reason in (("cuda", "finds no GPU here"), ("gpu", "knows no such device")):
        with pytest.raises(ValueError, match=f"device {device}: torch {reason}; use cpu"):
            CoSaliencyPredictor(config, device=device)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ValueError, match="device cuda:2: torch finds 2 here"):
        CoSaliencyPredictor(config, device="cuda:2")


def test_files_may_be_named_by_paths_and_a_config_may_be_frozen(config, tmp_path):
    (tmp_path / "tiny.yaml").write_text(config.dump())
    weights = Path(config.MODEL.WEIGHTS)
    found = CoSaliencyPredictor(tmp_path / "tiny.yaml", weights=weights).cfg.MODEL
    assert Path(found.WEIGHTS) == weights and found.GROUPING == config.MODEL.GROUPING
    frozen = config.clone()
    frozen.freeze()
    assert CoSaliencyPredictor(frozen, size=32).cfg.INPUT.MIN_SIZE_TEST == 32
    assert frozen.is_frozen()


def test_device_and_precision_are_told(config, caplog):
    predictor = CoSaliencyPredictor(config, device="cpu", dtype="bfloat16")
    dtype = str(predictor.model.dtype).removeprefix("torch.")  # float32 on an old CPU
    said = f"cosal_vgg16, weights {config.MODEL.WEIGHTS}: computing on cpu in {dtype}"
    assert said in caplog.messages
    assert config.MODEL.DTYPE == "float32"  # the caller's config stays as it is


def test_the_network_sees_a_size_and_the_map_has_the_pictures(config):
    predictor = CoSaliencyPredictor(config, size=32)
    assert (predictor.cfg.INPUT.MIN_SIZE_TEST, predictor.cfg.INPUT.MAX_SIZE_TEST) == (32, 48)
    assert config.INPUT.MIN_SIZE_TEST == 64
    seen, forward = [], predictor.model.forward
    predictor.model.forward = lambda x: [seen.append(x), forward(x)][1]
    for size, shape in (((40, 50), (32, 40)), ((90, 40), (48, 21)), ((20, 20), (32, 32))):
        assert predictor(noise(*size)).map.shape == size
        assert seen.pop()[0]["image"].shape == (3, *shape)


def test_an_exemplar_is_compared_in_its_own_pictures_pixels(predictor, inputs, monkeypatch):
    monkeypatch.setattr(predictor.model.grouping, "threshold", 20.0)  # nothing repeats
    plain, like, clipped = predictor.batch(
        [noise(96, 128)] * 3, [None, (20, 30, 128, 80), (20, 30, 900, 80)]
    )
    assert "exemplar" not in inputs[0][0]
    for given in inputs[0][1:]:
        assert given["image"].shape == (3, 64, 85)
        expected = torch.tensor([20 * 85 / 128, 20.0, 85, 80 * 64 / 96])
        torch.testing.assert_close(given["exemplar"], expected)
    assert np.allclose(like.map, clipped.map, atol=1e-5)
    assert not np.allclose(like.map, plain.map, atol=1e-2)


def test_a_batch_gives_what_its_pictures_give_alone(predictor, inputs):
    pictures = [noise(48, 64, 1), noise(96, 128, 2), noise(480, 640, 3)]  # seen at one size
    together = predictor.batch(pictures)
    assert [len(x) for x in inputs] == [3]
    for picture, found in zip(pictures, together, strict=True):
        alone = predictor(picture)
        assert np.array_equal(found.image, picture) and found.map.shape == picture.shape[:2]
        assert np.allclose(found.map, alone.map, atol=1e-4)
        assert found.repeats == pytest.approx(alone.repeats, abs=1e-4)
        assert found.counts == alone.counts
    sizes = [(48, 64), (64, 40), (30, 31)]
    found = predictor.batch([noise(*size) for size in sizes])
    assert [x.map.shape for x in found] == sizes
    assert predictor.batch([]) == []
    assert len(predictor.batch(noise(seed=i) for i in range(2))) == 2


@pytest.mark.parametrize(("count", "batch", "batches"), [(5, 1, [1] * 5), (5, 2, [2, 2, 1])])
def test_a_stream_keeps_the_order_of_its_pictures(predictor, inputs, count, batch, batches):
    pictures = [noise(seed=i) for i in range(count)]
    found = list(predictor.stream(iter(pictures), batch))
    assert [len(x) for x in inputs] == batches
    assert all(np.array_equal(x.image, p) for x, p in zip(found, pictures, strict=True))
    assert list(predictor.stream([])) == []


def test_a_stream_reads_a_few_pictures_ahead(predictor):
    asked = []
    endless = (asked.append(i) or noise(seed=i) for i in itertools.count())
    stream = predictor.stream(endless, batch=2)
    for taken in range(1, 6):
        next(stream)
        assert len(asked) <= 2 * -(-taken // 2) + 2 + 5
    stream.close()


def test_a_stream_computes_the_next_picture_while_the_caller_works(predictor, monkeypatch):
    second, forward = threading.Event(), predictor.model.forward
    seen = []

    def count(inputs):
        seen.append(inputs)
        if len(seen) == 2:
            second.set()
        return forward(inputs)

    monkeypatch.setattr(predictor.model, "forward", count)
    stream = predictor.stream(noise(seed=i) for i in range(9))
    next(stream)
    assert second.wait(20)
    stream.close()
    assert len(seen) <= 3


def test_a_stream_stops_at_what_is_no_picture_and_gives_what_was_before(predictor, tmp_path):
    stream = predictor.stream([noise(), noise(seed=1), tmp_path / "gone.png", noise()])
    assert np.array_equal(next(stream).image, noise())
    assert np.array_equal(next(stream).image, noise(seed=1))
    with pytest.raises(FileNotFoundError, match=r"gone\.png"):
        next(stream)


def test_a_network_without_the_grouping_gives_a_map_alone(paper, predictor):
    found = paper(noise())
    assert found.map.shape == (48, 64) and found.repeats is None
    assert found.mask().shape == (48, 64) and found.cutout().shape == (48, 64, 4)
    assert found.overlay().shape == (48, 64, 3)
    for say in (lambda: found.instances, lambda: found.count, found.objects, found.to_coco):
        with pytest.raises(ValueError, match="finds no objects: use a config with MODEL.GROUPING"):
            say()
    for option in ({"like": (1, 2, 30, 30)}, {"tiles": 2}):
        with pytest.raises(ValueError, match=f"{next(iter(option))}: this network compares no"):
            paper(noise(), **option)
    assert 0 <= predictor(noise()).repeats <= 1


def test_a_real_object_is_transparent_around_its_mask(predictor):
    found = predictor(noise(96, 128))
    masks = found.instances.pred_masks.numpy()
    assert len(masks) > 1 and masks.dtype == bool and masks.sum(axis=0).max() == 1
    for pixels, mask in zip(found.objects(), masks, strict=True):
        assert (pixels[:, :, 3] == 255).sum() == mask.sum()
        assert set(np.unique(pixels[:, :, 3])) <= {0, 255}
        for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]):
            assert edge[:, 3].any()


def test_coco_reads_back_what_was_found(predictor, tmp_path):
    found = predictor(noise(96, 128))
    path = tmp_path / "objects.json"
    path.write_text(json.dumps(found.to_coco("a.jpg", image_id=7, first_id=30)))
    coco = COCO(str(path))
    (image,) = coco.loadImgs(coco.getImgIds())
    assert (image["id"], image["file_name"], image["height"], image["width"]) == (
        *(7, "a.jpg", 96, 128),
    )
    assert image["repeats"] == found.repeats
    annotations = coco.loadAnns(coco.getAnnIds(imgIds=[7]))
    ids = list(range(30, 30 + len(found.instances)))
    assert [x["id"] for x in annotations] == ids and len(ids) > 1
    assert {coco.cats[x["category_id"]]["name"] for x in annotations} == {"co-salient object"}
    for i, x in enumerate(annotations):
        mask = found.instances.pred_masks[i].numpy()
        assert np.array_equal(coco.annToMask(x), mask) and x["area"] == mask.sum()
        x0, y0, x1, y1 = found.instances.pred_boxes.tensor[i].tolist()
        assert x["bbox"] == [x0, y0, x1 - x0, y1 - y0]
        assert x["score"] == pytest.approx(found.instances.scores[i].item())
        assert x["group_id"] == found.instances.group_ids[i] and x["iscrowd"] == 0
    assert not result(noise(), groups=()).to_coco()["annotations"]


def test_results_of_files_are_saved_under_the_files_names(paper, tmp_path):
    names = ["shelf.png", "pens.v2.png"]
    for name in names:
        cv2.imwrite(str(tmp_path / name), noise())
    for found in paper.stream([tmp_path / names[0], str(tmp_path / names[1])]):
        found.save(tmp_path / "out", "map,mask")
    stems = ("shelf", "pens.v2")
    expected = {f"{stem}_{kind}.png" for stem in stems for kind in ("map", "mask")}
    assert {path.name for path in (tmp_path / "out").iterdir()} == expected


def test_what_cannot_be_saved_is_refused_before_anything_is_written(paper, tmp_path):
    stripes = result(noise(12, 40))
    for name in ("x/y.jpg", "/y.jpg"):
        with pytest.raises(ValueError, match="give a file name"):
            stripes.save(tmp_path / "new", name=name)
    with pytest.raises(ValueError, match="save maps: give any of"):
        stripes.save(tmp_path / "new", ["maps"])
    with pytest.raises(ValueError, match="this network finds no objects"):
        paper(noise()).save(tmp_path / "new", ["map", "json"])
    assert not (tmp_path / "new").exists()
    (tmp_path / "picture_map.png").mkdir()
    with pytest.raises(OSError, match="picture: .*picture_map.png"):
        stripes.save(tmp_path, ["map"])


def test_masks_that_are_too_many_for_a_tensor_are_passed_over_one_by_one(predictor, monkeypatch):
    image = noise(96, 128)
    usual = predictor(image)
    assert isinstance(usual.instances.pred_masks, torch.Tensor)  # worked out before the limit is
    monkeypatch.setattr(object_instances, "MASK_BYTES", 96 * 128)
    found = predictor(image)
    masks = found.instances.pred_masks
    assert isinstance(masks, object_instances.DisjointMasks) and len(masks) > 1
    assert torch.equal(torch.stack(list(masks)), usual.instances.pred_masks)
    assert torch.equal(masks[1], usual.instances.pred_masks[1])
    assert found.to_coco() == usual.to_coco()
    assert np.array_equal(found.overlay(), usual.overlay())
    pairs = zip(found.objects(), usual.objects(), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)
    pairs = zip(found.groups, usual.groups, strict=True)
    assert all(torch.equal(torch.stack(list(a.pred_masks)), b.pred_masks) for a, b in pairs)


def test_opencv_and_the_predictor_agree_on_colours(predictor, tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), noise())
    assert np.array_equal(predictor(tmp_path / "a.png").image, noise())
