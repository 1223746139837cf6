"""Retrieval among regions: the figures, the regions of a dataset, and the command."""

from __future__ import annotations

import json

import cv2
import pytest
import torch
import torch.nn.functional as F
from detectron2.data import DatasetCatalog
from network_data import RESNET, TINY, registered, tiny_config, tiny_model, write_dataset

from cosal_d2.cli import main
from cosal_d2.engine import CoSaliencyCheckpointer
from cosal_d2.paper import retrieval
from cosal_d2.paper.retrieval import MAX_SHOWN, UNKNOWN, EmbeddedRegions, draw_embeddings, measure

# Directions in degrees, and the class of each: 0 is nearest to 10, 10 to 0, 35 to 10, 90 to 35.
ANGLES = torch.deg2rad(torch.tensor([0.0, 10, 35, 90]))
FAN = torch.stack([ANGLES.cos(), ANGLES.sin()], dim=1)
GROUPING, NO_GROUPING = (("MODEL.GROUPING.ENABLED", x) for x in ("True", "False"))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of random weights of the tiny network."""
    folder = tmp_path_factory.mktemp("weights")
    CoSaliencyCheckpointer(tiny_model(*GROUPING), str(folder)).save("random")
    return str(folder / "random.pth")


def ints(*values):
    return torch.tensor(values, dtype=torch.int64)


def precision(classes, pictures=None, embeddings=FAN, across=False, cosalient=None):
    """Number of queries, chance and precision of regions, all co-salient and in one picture."""
    count = len(classes)
    regions = EmbeddedRegions(
        [f"class {i}" for i in range(9)],
        ints(*classes),
        torch.tensor([True] * count if cosalient is None else cosalient).bool(),
        ints(*([0] * count if pictures is None else pictures)),
        {"e": embeddings},
    )
    found = measure(regions, across=across)
    return found["queries"], found["chance"], found["precision_at_1"].get("e")


@pytest.mark.parametrize(
    ("classes", "queries", "expected"),
    [
        ((0, 0, 1, 1), 4, 0.75),
        ((0, 1, 0, 1), 4, 0.0),
        ((0, 1, 1, 0), 4, 0.25),
        ((UNKNOWN, UNKNOWN, 0, 0), 2, 0.5),  # what is not known is no query
        ((0, 0, 0, 0), 0, None),  # nothing to mistake
        ((0, 1, 2, 3), 0, None),  # nothing to find
    ],
)
def test_precision_by_hand(classes, queries, expected):
    assert precision(classes) == (queries, pytest.approx(1 / 3) if queries else None, expected)


def test_pictures_are_searched_apart_or_across():
    pictures, classes = (0, 1, 0, 1, 0, 1), (0, 0, 0, 1, 2, 1)
    fan = torch.cat([FAN, -FAN[:2]])
    # Within: 0 and 35 find each other, and 190 finds 90, which finds 10.
    assert precision(classes, pictures, fan)[::2] == (4, 0.75)
    # Across: 0, 10 and 35 find one another; classes 1 and 2 are in no other picture.
    assert precision(classes, pictures, fan, across=True)[::2] == (3, 1.0)
    # A region of unknown class is an answer within its picture only.
    unknown = (0, UNKNOWN, 0, 0)
    assert precision(unknown, (0, 1, 0, 1), across=True) == (3, 1.0, 1.0)


def test_equally_near_regions_count_by_their_share():
    # One of four others for the last two, two of four for the first three.
    level = pytest.approx((3 * 2 / 4 + 2 * 1 / 4) / 5)
    for alike in (torch.ones(5, 3), torch.zeros(5, 3)):
        assert precision((0, 0, 0, 1, 1), embeddings=alike) == (5, level, level)


@pytest.mark.parametrize("across", [False, True])
def test_precision_of_many_regions_equals_a_slow_computation(across):
    count = 300
    generator = torch.Generator().manual_seed(3)
    embeddings = F.normalize(torch.randn(count, 5, generator=generator), dim=1)
    classes = torch.randint(0, 4, (count,), generator=generator).tolist()
    pictures = [i // 6 for i in range(count)]
    cosines = (embeddings @ embeddings.T).tolist()
    hits = []
    for i in range(count):
        others = [j for j in range(count) if j != i and (pictures[j] != pictures[i]) == across]
        alike = sum(classes[j] == classes[i] for j in others)
        if 0 < alike < len(others):
            nearest = max(others, key=lambda j, i=i: cosines[i][j])
            hits.append(classes[nearest] == classes[i])
    queries, _, value = precision(classes, pictures, embeddings, across)
    assert (queries, value) == (len(hits), pytest.approx(sum(hits) / len(hits)))


def test_queries_within_are_cosalient_with_a_partner_and_something_to_mistake():
    pictures = (0, 0, 0, 1, 1, 2, 2, 3, 3, 3, 3)
    classes = (0, 0, UNKNOWN, 0, 0, 0, 1, 2, 2, 3, 3)
    cosalient = (1, 1, 0, 1, 1, 1, 1, 1, 1, 0, 0)
    # Picture 1 shows nothing else, 2 no partner; the two alike distractors of 3 are not asked for.
    assert precision(classes, pictures, torch.eye(11), cosalient=cosalient)[0] == 4


def test_the_picture_names_the_largest_classes_of_all_datasets_and_greys_the_rest():
    count = MAX_SHOWN + 3
    names = [f"class {i:02d}" for i in range(count)]
    once, twice = torch.arange(count), ints(*reversed(range(count - 1)), UNKNOWN)
    e = torch.randn(count, 4, generator=torch.Generator().manual_seed(0))
    sets = {
        "one": EmbeddedRegions(names, once, once >= 0, once, {"a": e, "b": e}),
        "two": EmbeddedRegions(names[:-1], twice, twice >= 0, once, {"a": -e, "b": e}),
    }
    figure = draw_embeddings(sets, ["a", "b"], {"class 01"})
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(shown) == MAX_SHOWN + 1 and shown[1:3] == ["class 00 (2)", "class 02 (2)"]
    assert shown[0] == f"others ({2 * count - 2 * MAX_SHOWN})"
    assert [ax.get_title() for ax in figure.axes] == ["a", "b"]


def test_regions_are_the_objects_at_the_tests_size(tmp_path, weights):
    json_file = write_dataset(tmp_path)
    content = json.loads(json_file.read_text())
    content["annotations"][1]["iscrowd"] = 1
    content["annotations"][2]["class_name"] = "pear"
    json_file.write_text(json.dumps(content))
    embedder = retrieval.RegionEmbedder(tiny_config("MODEL.WEIGHTS", weights, *GROUPING))
    with registered(json_file) as name:
        regions = retrieval.collect_regions(name, embedder)
        records = DatasetCatalog.get(name)
        assert retrieval.annotated_classes([name]) == {"apple", "pear"}
    assert regions.names == ["apple", "pear"]
    assert regions.classes.tolist() == [0, 1, 0, 0, UNKNOWN, 0, 0, UNKNOWN]
    assert regions.cosalient.tolist() == [True, False, True, True, False, True, True, False]
    assert regions.pictures.tolist() == [0, 0, 1, 1, 1, 2, 2, 2]
    sizes = {kind: tuple(e.shape) for kind, e in regions.embeddings.items()}
    assert sizes == {
        "encoder": (8, 512),
        "encoder 7x7": (8, 512 * 49),
        "r": (8, 16),
        "rfm": (8, 8),
        "grouping": (8, 256 + 512 + 512),
    }
    for e in regions.embeddings.values():
        assert torch.allclose(e.norm(dim=1), torch.ones(8), atol=1e-4)
    # A second way to the same numbers: the picture resized by hand, its boxes scaled with it.
    model = embedder.model
    pixels = embedder.mapper(records[1])["image"]
    assert pixels.shape[1:] == (85, 64) and records[1]["height"] == 64
    with torch.no_grad():
        features, r = model.features(model.preprocess([pixels]))
        box = torch.tensor([[3.0, 5, 19, 22]]) * torch.tensor([64 / 48, 85 / 64] * 2)
        logits = model.decoder(r, features)
        wanted = {
            "encoder": roi_mean(features["conv5_3"], box[0] / 16),
            "r": roi_mean(r, box[0] / 16),
            "rfm": model.rfm.embed(r, [box])[0][0],
            "grouping": model.grouping.embed_objects(features, logits, [box], [(85, 64)])[0][0],
        }
    for kind, e in wanted.items():
        own = F.normalize(e, dim=0)
        assert torch.allclose(regions.embeddings[kind][2], own, atol=1e-4), kind


def roi_mean(level, box):
    """Mean of a level (1, C, h, w) over the 14x14 points of a box in its pixels."""
    x, y = (torch.lerp(box[i], box[i + 2], (torch.arange(14) + 0.5) / 14) for i in (0, 1))
    points = torch.cartesian_prod(y, x).flip(1) / torch.tensor([level.shape[3], level.shape[2]])
    sampled = F.grid_sample(
        level, 2 * points[None, None] - 1, align_corners=False, padding_mode="border"
    )
    return sampled.mean(dim=(2, 3))[0]


def test_the_encoders_level_is_that_of_any_backbone(tmp_path, dataset):
    CoSaliencyCheckpointer(tiny_model(*RESNET), str(tmp_path)).save("random")
    weights = ("MODEL.WEIGHTS", str(tmp_path / "random.pth"))
    regions = retrieval.collect_regions(
        dataset, retrieval.RegionEmbedder(tiny_config(*RESNET, *weights))
    )
    sizes = {kind: e.shape[1] for kind, e in regions.embeddings.items()}
    assert sizes == {"encoder": 1024, "encoder 7x7": 1024 * 49, "r": 16, "rfm": 8}


def test_an_rfm_that_the_weights_lack_is_left_out(tmp_path, weights, caplog):
    content = torch.load(weights, weights_only=True)
    content["model"] = {k: v for k, v in content["model"].items() if not k.startswith("rfm.")}
    path = str(tmp_path / "without.pth")
    torch.save(content, path)
    embedder = retrieval.RegionEmbedder(tiny_config("MODEL.WEIGHTS", path, *NO_GROUPING))
    assert "holds no RFM" in caplog.text
    json_file = write_dataset(tmp_path / "data", count=1)
    with registered(json_file) as name:
        regions = retrieval.collect_regions(name, embedder)
    assert list(regions.embeddings) == ["encoder", "encoder 7x7", "r"]


def test_the_best_embedding_is_the_learned_one_that_finds_most():
    kinds = ["encoder", "encoder 7x7", "rfm", "grouping"]
    found = dict(zip(kinds, (0.9, 0.95, 0.5, 0.7), strict=True))
    scores = [{"queries": 4, "precision_at_1": found}, {"queries": 0, "precision_at_1": {}}]
    for count, best in ((4, "grouping"), (3, "rfm"), (2, "encoder 7x7")):
        assert retrieval.best_embedding(scores, kinds[:count]) == best


def run(weights, name, *more):
    start = ["paper", "retrieval", "--config-file", "cosal_vgg16.yaml", "--data", name, *more]
    return main([*start, "--opts", *TINY, "MODEL.WEIGHTS", weights, *GROUPING])


def rows_of(text):
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_command_prints_tables_and_writes_numbers_and_picture(
    untouched_loggers, dataset, weights, tmp_path, capsys
):
    out = tmp_path / "out"
    assert run(weights, dataset, "--across", "--out", str(out)) == 0
    rows = rows_of(capsys.readouterr().out)
    content = json.loads((out / "retrieval.json").read_text())
    within, across = content["within"][dataset], content["across"][dataset]
    assert content["weights"] == "random.pth" and content["regions"] == {dataset: 9}
    # Of each picture's three objects two are apples and queries: one of the other two is an apple.
    assert within["queries"] == 6 and within["chance"] == pytest.approx(0.5)
    assert across["queries"] == 6 and across["chance"] == pytest.approx(1.0)
    assert set(within["precision_at_1"]) == {"encoder", "encoder 7x7", "r", "rfm", "grouping"}
    assert set(across["precision_at_1"].values()) == {1.0}
    assert rows[0] == ["Embedding", "length", f"{dataset} (n = 6)"] and len(rows) == 16
    assert ["encoder", "512", f"{within['precision_at_1']['encoder']:.3f}"] in rows
    picture = cv2.imread(str(out / "embeddings.png"))
    assert picture.shape[1] > picture.shape[0] > 300
    assert sorted(p.name for p in out.iterdir()) == ["embeddings.png", "retrieval.json"]


def test_seen_classes_are_not_asked_for(untouched_loggers, dataset, weights, capsys):
    assert run(weights, dataset, "--unseen-by", dataset) == 0
    rows = rows_of(capsys.readouterr().out)
    assert rows[0][2].endswith("(n = 0)") and ["encoder", "512", "-"] in rows


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--data", "cosal_nowhere"], "no dataset 'cosal_nowhere'"),
        (["--unseen-by", "cosal_nowhere", "--data", "x"], "no dataset 'cosal_nowhere'"),
        (["--opts", "DATASETS.TEST", "()"], "give --data NAME"),
    ],
)
def test_the_command_refuses_what_is_unusable(untouched_loggers, tmp_path, capsys, more, message):
    start = ["--config-file", "cosal_vgg16.yaml", "--out", str(tmp_path / "out")]
    assert main(["paper", "retrieval", *start, *more]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_dataset_without_objects_is_refused(tmp_path):
    json_file = write_dataset(tmp_path)
    content = json.loads(json_file.read_text())
    for annotation in content["annotations"]:
        annotation["iscrowd"] = 1
    json_file.write_text(json.dumps(content))
    refused = pytest.raises(ValueError, match="has no object to compare")
    with registered(json_file) as name, refused:
        retrieval.collect_regions(name, embedder=None)
