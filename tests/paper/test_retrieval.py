"""Retrieval among regions: the figures, the regions of a dataset, and the tool."""

from __future__ import annotations

import json

import cv2
import pytest
import torch
from detectron2.data import DatasetCatalog
from network_data import TINY, registered, tiny_config, tiny_model, write_dataset
from tool_loading import load_tool

from cosal_d2.engine.checkpoint import save_atomically, trainable_state_dict
from cosal_d2.modeling.grouping.region_masks import RegionSet
from cosal_d2.paper import retrieval
from cosal_d2.paper.retrieval_measures import (
    MAX_SHOWN,
    UNKNOWN,
    chance_level,
    draw_embeddings,
    precision_at_1,
    principal_plane,
    queries_across,
    queries_within,
)

# Directions in degrees, and the class of each: 0 is nearest to 10, 10 to 0, 35 to 10, 90 to 35.
ANGLES = torch.deg2rad(torch.tensor([0.0, 10, 35, 90]))
FAN = torch.stack([ANGLES.cos(), ANGLES.sin()], dim=1)
GROUPING, NO_GROUPING = (("MODEL.GROUPING.ENABLED", x) for x in ("True", "False"))


@pytest.fixture
def tool(untouched_loggers):
    return load_tool("tools/retrieval.py")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of random weights of the tiny network."""
    path = str(tmp_path_factory.mktemp("weights") / "random.pth")
    save_atomically({"model": trainable_state_dict(tiny_model(*GROUPING))}, path)
    return path


def ints(*values):
    return torch.tensor(values, dtype=torch.int64)


def test_precision_by_hand():
    queries = torch.arange(4)
    assert precision_at_1(FAN, ints(0, 0, 0, 0), queries) == 1.0
    assert precision_at_1(FAN, ints(0, 0, 1, 1), queries) == 0.75
    assert precision_at_1(FAN, ints(0, 1, 0, 1), queries) == 0.0
    assert precision_at_1(FAN, ints(0, 1, 1, 0), queries) == 0.25
    assert precision_at_1(FAN, ints(0, 1, 1, 0), ints(2)) == 1.0
    # Lengths do not matter, directions do.
    lengths = torch.tensor([[5.0], [0.1], [70], [1]])
    assert precision_at_1(FAN * lengths, ints(0, 0, 1, 1), queries) == 0.75


def test_an_unknown_class_is_no_hit():
    assert precision_at_1(FAN, ints(UNKNOWN, UNKNOWN, 0, 0), torch.arange(4)) == 0.25


def test_pictures_are_searched_apart_or_across():
    pictures, classes = ints(0, 1, 0, 1), ints(0, 0, 0, 1)
    # Within: 0 finds 35 and 35 finds 0, of one class; 10 and 90 find each other.
    assert precision_at_1(FAN, classes, torch.arange(4), pictures) == 0.5
    # Across: 0 and 35 find 10, 10 finds 0, all of one class; 90 finds 35 and is wrong.
    assert precision_at_1(FAN, classes, torch.arange(4), pictures, across=True) == 0.75
    # A region of unknown class is an answer within its picture only.
    unknown = ints(0, UNKNOWN, 0, 0)
    assert precision_at_1(FAN, unknown, ints(0, 2), pictures, across=True) == 1.0


def test_equally_near_regions_share_the_verdict():
    classes = ints(0, 0, 0, 1, 1)
    alike = torch.ones(5, 3)
    # One of four others for the last two, two of four for the first three.
    level = (3 * 2 / 4 + 2 * 1 / 4) / 5
    assert chance_level(classes, torch.arange(5)) == pytest.approx(level)
    assert precision_at_1(alike, classes, torch.arange(5)) == pytest.approx(level)
    assert precision_at_1(torch.zeros(5, 3), classes, torch.arange(5)) == pytest.approx(level)


def test_chance_across_pictures_counts_known_regions_only():
    classes, pictures = ints(0, 0, 0, 1, UNKNOWN), ints(0, 0, 1, 1, 1)
    assert chance_level(classes, ints(0), pictures, across=True) == 0.5
    assert chance_level(classes, ints(2), pictures, across=False) == 0.0


def test_figures_do_not_depend_on_how_many_are_asked_at_once(monkeypatch):
    generator = torch.Generator().manual_seed(3)
    embeddings = torch.randn(60, 5, generator=generator)
    classes = torch.randint(0, 4, (60,), generator=generator)
    pictures = torch.arange(60) // 6
    unit = embeddings / embeddings.norm(dim=1, keepdim=True)
    for across in (False, True):
        hits = []
        for i in range(60):
            others = [
                j for j in range(60) if j != i and (pictures[j] != pictures[i]).item() == across
            ]
            best = max(others, key=lambda j, i=i: float(unit[i] @ unit[j]))
            hits.append(bool(classes[best] == classes[i]))
        expected = sum(hits) / 60
        for chunk in (256, 7):
            monkeypatch.setattr("cosal_d2.paper.retrieval_measures.CHUNK", chunk)
            value = precision_at_1(embeddings, classes, torch.arange(60), pictures, across)
            assert value == pytest.approx(expected)


def test_queries_within_have_a_partner_and_something_to_mistake():
    pictures = ints(0, 0, 0, 1, 1, 2, 2, 3, 3, 3, 3)
    classes = ints(0, 0, UNKNOWN, 0, 0, 0, 1, 2, 2, 3, 3)
    cosalient = torch.tensor([1, 1, 0, 1, 1, 1, 1, 1, 1, 0, 0]).bool()
    # Picture 1 shows nothing else, 2 no partner; the two alike distractors of 3 are not asked for.
    assert queries_within(classes, cosalient, pictures).tolist() == [0, 1, 7, 8]
    assert queries_within(ints(), torch.zeros(0).bool(), ints()).tolist() == []


def test_queries_across_are_of_classes_that_another_picture_shows():
    pictures = ints(0, 0, 0, 1, 1, 2)
    classes = ints(0, 1, UNKNOWN, 0, 2, UNKNOWN)
    assert queries_across(classes, pictures).tolist() == [0, 3]


def test_impossible_queries_are_refused():
    with pytest.raises(ValueError, match="there is no query"):
        precision_at_1(FAN, ints(0, 0, 1, 1), ints())
    with pytest.raises(ValueError, match="query 3 has no other region"):
        precision_at_1(FAN, ints(0, 0, 1, 1), torch.arange(4), ints(0, 0, 0, 1))


def test_principal_plane_finds_the_two_longest_directions():
    generator = torch.Generator().manual_seed(1)
    flat = torch.randn(50, 3, generator=generator) * torch.tensor([9.0, 3.0, 0.0])
    turn = torch.linalg.qr(torch.randn(3, 3, generator=generator))[0]
    plane = principal_plane(flat @ turn + 100)
    assert plane.mean(dim=0).abs().max() < 1e-3
    assert plane.var(dim=0)[0] > 5 * plane.var(dim=0)[1]
    assert torch.cdist(plane, plane).sub(torch.cdist(flat, flat)).abs().max() < 1e-2
    farthest = plane.gather(0, plane.abs().argmax(dim=0)[None])
    assert (farthest > 0).all()


def test_the_picture_names_the_largest_classes_and_greys_the_rest():
    count = MAX_SHOWN + 3
    classes = torch.cat([torch.arange(count), torch.arange(count - 1), ints(UNKNOWN)])
    embeddings = torch.randn(len(classes), 4, generator=torch.Generator().manual_seed(0))
    names = [f"class {i:02d}" for i in range(count)]
    figure = draw_embeddings({"a": embeddings, "b": embeddings}, classes, names, {"class 01"})
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(shown) == MAX_SHOWN + 1 and shown[1:3] == ["class 00 (2)", "class 02 (2)"]
    assert shown[0] == f"others ({len(classes) - 2 * MAX_SHOWN})"
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
        "conv5_3": (8, 512),
        "conv5_3 7x7": (8, 512 * 49),
        "rfm": (8, 8),
        "grouping": (8, 256 + 512 + 512),
    }
    for e in regions.embeddings.values():
        assert torch.allclose(e.norm(dim=1), torch.ones(8), atol=1e-4)
    # A second way to the same numbers: the picture resized by hand, its boxes scaled with it.
    image = cv2.imread(records[1]["file_name"])
    pixels = embedder.mapper(records[1])["image"]
    height, width = pixels.shape[1:]
    assert (height, width) == (85, 64) and image.shape[:2] == (64, 48)
    with torch.no_grad():
        features, r = embedder.model.features(embedder.model.preprocess([pixels]))
        box = torch.tensor([[3.0, 5, 19, 22]]) * torch.tensor([64 / 48, 85 / 64] * 2)
        rfm = embedder.model.rfm.embed(r, [box])[0]
        foreground = embedder.model.decoder(r, features).sigmoid()
        masks = embedder.model.grouping.masks(features, foreground, [box])[0].sigmoid()
        known = RegionSet(box, box, torch.zeros(1), masks)
        own = embedder.model.grouping.embedding(features, foreground, [known])[0]
    rfm = torch.nn.functional.normalize(rfm, dim=1)
    assert torch.allclose(regions.embeddings["rfm"][2], rfm[0], atol=1e-4)
    assert torch.allclose(regions.embeddings["grouping"][2], own[0], atol=1e-4)


def test_an_rfm_that_the_weights_lack_is_left_out(tmp_path, weights, caplog):
    content = torch.load(weights, weights_only=True)
    content["model"] = {k: v for k, v in content["model"].items() if not k.startswith("rfm.")}
    path = str(tmp_path / "without.pth")
    save_atomically(content, path)
    embedder = retrieval.RegionEmbedder(tiny_config("MODEL.WEIGHTS", path, *NO_GROUPING))
    assert "holds no RFM" in caplog.text
    json_file = write_dataset(tmp_path / "data", count=1)
    with registered(json_file) as name:
        regions = retrieval.collect_regions(name, embedder)
    assert list(regions.embeddings) == ["conv5_3", "conv5_3 7x7"]
    scores = [retrieval.measure(regions, set(), across=False)]
    assert retrieval.best_embedding(scores, list(regions.embeddings)) == "conv5_3 7x7"


def test_the_best_embedding_is_the_learned_one_that_finds_most():
    kinds = ["conv5_3", "conv5_3 7x7", "rfm", "grouping"]
    found = dict(zip(kinds, (0.9, 0.95, 0.5, 0.7), strict=True))
    scores = [
        {"queries": 4, "precision_at_1": found},
        {"queries": 0, "precision_at_1": {}},
    ]
    assert retrieval.best_embedding(scores, kinds) == "grouping"
    assert retrieval.best_embedding(scores, kinds[:3]) == "rfm"


def arguments(weights, name, *more):
    start = ["--config-file", "cosal_vgg16_cpu.yaml", "--data", name, *more]
    return [*start, "--opts", *TINY, "MODEL.WEIGHTS", weights, *GROUPING]


def test_the_command_prints_tables_and_writes_numbers_and_picture(
    tool, dataset, weights, tmp_path, capsys
):
    out = tmp_path / "out"
    assert tool.main(arguments(weights, dataset, "--across", "--out", str(out))) == 0
    printed = capsys.readouterr().out
    content = json.loads((out / "retrieval.json").read_text())
    within, across = content["within"][dataset], content["across"][dataset]
    assert content["weights"] == "random.pth" and content["regions"] == {dataset: 9}
    # Of each picture's three objects two are apples and ask: one of the other two is an apple.
    assert within["queries"] == 6 and within["chance"] == pytest.approx(0.5)
    assert across["queries"] == 6 and across["chance"] == pytest.approx(1.0)
    assert set(within["precision_at_1"]) == {"conv5_3", "conv5_3 7x7", "rfm", "grouping"}
    assert set(across["precision_at_1"].values()) == {1.0}
    lines = [line for line in printed.splitlines() if line.startswith("|")]
    assert lines[0] == f"| Embedding | length | {dataset} (n = 6) |" and len(lines) == 14
    assert f"| conv5_3 | 512 | {within['precision_at_1']['conv5_3']:.3f} |" in lines
    picture = cv2.imread(str(out / "embeddings.png"))
    assert picture.shape[1] > picture.shape[0] > 300
    assert sorted(p.name for p in out.iterdir()) == ["embeddings.png", "retrieval.json"]


def test_seen_classes_are_not_asked_for(tool, dataset, weights, capsys):
    assert tool.main(arguments(weights, dataset, "--unseen-by", dataset)) == 0
    printed = capsys.readouterr().out
    assert "(n = 0)" in printed and "| conv5_3 | 512 | - |" in printed


def test_several_datasets_share_the_classes_of_the_picture(tool):
    embeddings = {"rfm": torch.eye(2)}
    flags = torch.ones(2, dtype=torch.bool)
    sets = {
        "a": retrieval.RegionSet(["pear", "fig"], ints(0, 1), flags, ints(0, 0), embeddings),
        "b": retrieval.RegionSet(["fig"], ints(UNKNOWN, 0), flags, ints(0, 0), embeddings),
    }
    panels, classes, names = tool.pooled(sets, ["rfm"])
    assert names == ["fig", "pear"] and classes.tolist() == [1, 0, UNKNOWN, 0]
    assert panels["rfm"].shape == (4, 2)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--data", "cosal_nowhere"], "no dataset 'cosal_nowhere'"),
        (["--unseen-by", "cosal_nowhere", "--data", "x"], "no dataset 'cosal_nowhere'"),
        (["--opts", "DATASETS.TEST", "()"], "give --data NAME"),
    ],
)
def test_the_command_refuses_what_is_unusable(tool, tmp_path, capsys, more, message):
    start = ["--config-file", "cosal_vgg16_cpu.yaml", "--out", str(tmp_path / "out")]
    assert tool.main([*start, *more]) == 1
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
