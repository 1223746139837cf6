"""Table 2: its rows, where their maps come from, the page, and the trainings of `--train`."""

import json
import re
import shlex

import cv2
import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, Backbone, build_model
from network_data import TINY, registered, write_dataset
from torch import nn

from cosal_d2.cli import main
from cosal_d2.config import get_cosal_config
from cosal_d2.engine import CoSaliencyCheckpointer
from cosal_d2.engine.trainer import Trainer
from cosal_d2.evaluation import decode_truth, f_beta
from cosal_d2.evaluation.maps import evaluate_methods
from cosal_d2.modeling.backbone.vgg import FEATURES
from cosal_d2.paper import table2_quick
from cosal_d2.paper.classical import METHODS
from cosal_d2.paper.table2_report import ROWS, title_of
from cosal_d2.paper.table2_rows import (
    NETWORKS,
    count_parameters,
    load_networks,
    train_networks,
)
from cosal_d2.utils import requirements

pytestmark = pytest.mark.usefixtures("one_thread", "untouched_loggers")
TRAINED = ["U-Net", "RFCN", "PiCANet", "DCL", "CPFE", "ours-offline", "ours-online"]
TRAINED += ["ours-grouping"]


class TinyVGG(Backbone):
    """Eight channels at VGG-16's strides, in its names."""

    def __init__(self):
        super().__init__()
        widths = (3, *[8] * len(FEATURES))
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, 3, padding=1).requires_grad_(False)
            for a, b in zip(widths, widths[1:], strict=False)
        )

    def output_shape(self):
        return {name: ShapeSpec(channels=8, stride=2**i) for i, name in enumerate(FEATURES)}

    def forward(self, x):
        found = {}
        for i, (name, conv) in enumerate(zip(FEATURES, self.convs, strict=True)):
            x = conv(nn.functional.max_pool2d(x, 2) if i else x / 50).relu()
            found[name] = x
        return found


@BACKBONE_REGISTRY.register()
def build_tiny_vgg(cfg, input_shape):
    return TinyVGG()


# Without what differs from row to row.
OWN = ("MODEL.DECODER.", "MODEL.GROUPING.", "DATASETS.")
PAIRS = [pair for pair in zip(TINY[::2], TINY[1::2], strict=True) if not pair[0].startswith(OWN)]
OPTS = [part for pair in PAIRS for part in pair]
OPTS += ["MODEL.BACKBONE.NAME", "build_tiny_vgg", "MODEL.GROUPING.NUM_REGIONS", "8"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    model = build_model(get_cosal_config("cosal_vgg16_unet.yaml", OPTS))
    CoSaliencyCheckpointer(model, str(folder)).save("model")
    return folder / "model.pth"


@pytest.fixture(scope="module")
def page(tmp_path_factory, weights):
    """A run on three pictures: FT and CWS, U-Net with weights, DCL and another from folders, and an
    ONNX file."""
    root = tmp_path_factory.mktemp("table2")
    json_file = write_dataset(root)
    for name, level in (("perfect", 1.0), ("DCL", 0.6)):
        (root / name).mkdir()
        with registered(json_file) as dataset:
            write_truths(dataset, root / name, level)
    write_onnx(root / "mean.onnx")
    status = run(
        *("--dataset", json_file, "--out", root / "docs", "--work", root / "work"),
        *("--maps", f"DCL={root / 'DCL'}", f"perfect={root / 'perfect'}"),
        *("--weights", f"U-Net={weights}", "--pictures", 2, "--workers", 1),
        *("--onnx", f"mean={root / 'mean.onnx'}"),
        *("--gallery", json_file, "--opts", *OPTS, "MODEL.RELEASED", ""),
    )
    assert status == 0
    return root


def write_onnx(path, side=320):
    """A network with one weight: the mean of a picture's channels times 2, below it another."""
    import onnx
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("ReduceMean", ["picture"], ["mean"], axes=[1], keepdims=1),
        helper.make_node("Mul", ["mean", "two"], ["map"]),
        helper.make_node("Neg", ["map"], ["other"]),
    ]
    shapes = {"picture": [1, 3, side, side], "map": [1, 1, side, side], "other": [1, 1, side, side]}
    infos = {k: helper.make_tensor_value_info(k, TensorProto.FLOAT, v) for k, v in shapes.items()}
    two = helper.make_tensor("two", TensorProto.FLOAT, [1], [2.0])
    outputs = [infos["map"], infos["other"]]
    graph = helper.make_graph(nodes, "mean", [infos["picture"]], outputs, [two])
    opset = [helper.make_opsetid("", 13)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), str(path))


def write_truths(dataset, folder, level):
    for i, record in enumerate(DatasetCatalog.get(dataset)):
        mask = decode_truth(record).mask
        cv2.imwrite(str(folder / f"{i}.png"), np.rint(mask * 255 * level).astype(np.uint8))


def run(*argv):
    return main(["paper", "table2", *map(str, argv)])


def tables(text):
    """Rows of the tables of the datasets, by their first cells."""
    found = []
    for section in text.split("## What made the maps")[0].split("\n## ")[1:]:
        lines = [line for line in section.splitlines() if line.startswith("|")]
        cells = [[c.strip(" *") for c in line.strip("|").split("|")] for line in lines]
        found.append({row[0]: dict(zip(cells[0][1:], row[1:], strict=True)) for row in cells[2:]})
    return found


def table(text):
    (found,) = tables(text)
    return found


def test_the_table_has_the_papers_rows_in_order_and_says_how_to_fill_those_without_maps(page):
    text = (page / "docs" / "results.md").read_text(encoding="utf-8")
    rows = table(text)
    assert list(rows) == [*(row.title for row in ROWS.values()), "mean", "perfect"]
    empty = [t for t, row in rows.items() if set(row.values()) == {"-"}]
    missing = ("RFCN", "PiCANet", "LFM", "CPFE", "ours-offline", "ours-online", "ours-grouping")
    assert empty == [ROWS[m].title for m in missing] and "not available" not in text
    assert rows["perfect"] == rows["perfect"] | {
        **{"F (β² = 0.3)": "1.000", "F (β² = 1)": "1.000", "recall": "1.000"},
        **{"precision": "1.000", "MAE": "0.000", "objects found": "1.000"},
        **{"seconds": "-", "parameters": "-"},
    }


def test_the_numbers_are_those_of_the_evaluation(page):
    rows = table((page / "docs" / "results.md").read_text(encoding="utf-8"))
    (metrics,) = json.loads((page / "work" / "metrics.json").read_text()).values()
    assert list(metrics) == ["FT", "CWS", "U-Net", "DCL", "mean", "perfect"]
    for method, numbers in metrics.items():
        row = rows[title_of(method)]
        assert row["MAE"] == f"{numbers['raw_MAE']:.3f}"
        assert row["F (β² = 0.3)"] == f"{f_beta(numbers['P'], numbers['R'], 0.3):.3f}"
        assert row["F (β² = 1)"] == f"{f_beta(numbers['P'], numbers['R'], 1.0):.3f}"
    with registered(page / "cosal" / "tiny.json") as name:
        own = evaluate_methods(name, {"FT": page / "work/tiny/FT"}, measures="paper", workers=0)
    assert own.metrics["FT"]["raw_MAE"] == pytest.approx(metrics["FT"]["raw_MAE"], abs=1e-12)


def test_time_and_parameters_are_those_of_what_was_run(page):
    rows = table((page / "docs" / "results.md").read_text(encoding="utf-8"))
    cfg = get_cosal_config("cosal_vgg16_unet.yaml", OPTS)
    size = sum(p.numel() for p in build_model(cfg).parameters())
    assert rows[title_of("U-Net")]["parameters"] == f"{size / 1e6:.1f}"
    grouped = get_cosal_config("cosal_vgg16.yaml", OPTS)
    branch = [p.numel() for n, p in build_model(grouped).named_parameters() if n[:4] != "rfm."]
    assert count_parameters(grouped) == sum(branch) > count_parameters(cfg)
    assert rows["mean"]["parameters"] == "0.0" and rows[title_of("FT")]["parameters"] == "-"
    for row in ("FT", "CWS", "U-Net", "mean"):
        assert float(rows[title_of(row)]["seconds"]) >= 0
    saved = json.loads((page / "work" / "tiny" / "CWS" / ".maps.json").read_text())
    assert rows[title_of("CWS")]["seconds"] == f"{saved['seconds']:.3f}"


def test_the_page_names_sources_and_no_path_of_the_machine(page):
    text = (page / "docs" / "results.md").read_text(encoding="utf-8")
    assert str(page) not in text and "--maps DCL=DCL perfect=perfect" in text
    assert re.search(r"U-Net.*`cosal_vgg16_unet.yaml`, weights of sha256 [0-9a-f]{12}", text)
    assert re.search(r"- mean: `mean.onnx` of sha256 [0-9a-f]{12}", text)
    assert "LFM (Yu et al. 2018): it needs the weights of DCL and ours-online" in text
    for row in ("RFCN", "ours-offline"):
        line = next(x for x in text.splitlines() if x.startswith(f"- {title_of(row)}"))
        assert f"`--weights {row}=FILE` takes them" in line and "`--train ITERATIONS`" in line
        command = re.search(r"`cosal train --config-file (\S+) ?([^`]*)` alone", line)
        cfg = get_cosal_config(command[1], shlex.split(command[2]))
        assert not (cfg.MODEL.WEIGHTS or cfg.MODEL.RELEASED or cfg.MODEL.GROUPING.ENABLED)
    assert cfg.MODEL.RFM.SAMPLER == "OfflineSampler"
    for name in re.findall(r"\]\((table2[^)]+)\)", text):
        assert (page / "docs" / name).stat().st_size > 1000


def test_the_gallery_shows_picture_truth_and_every_method(page):
    gallery = cv2.imread(str(page / "docs" / "table2_gallery.png"))
    assert gallery.shape[1] == pytest.approx(6 * 170, abs=2)
    assert (page / "docs" / "table2_pr_tiny.svg").read_text().count("<path") > 5


def test_an_onnx_file_sees_pictures_as_u2net_does(page):
    picture = cv2.imread(str(page / "cosal" / "tiny" / "0.png"))
    seen = cv2.resize(picture[:, :, ::-1], (320, 320), interpolation=cv2.INTER_LINEAR) / 255.0
    seen /= seen.max()
    mean = ((seen - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]).mean(axis=2)
    wanted = cv2.resize((mean - mean.min()) / np.ptp(mean), (64, 48))
    (folder,) = (page / "work" / "tiny").glob("mean-*")
    found = cv2.imread(str(folder / "0.png"), cv2.IMREAD_GRAYSCALE) / 255
    coarse = [cv2.resize(x, (8, 6), interpolation=cv2.INTER_AREA) for x in (found, wanted)]
    assert np.abs(coarse[0] - coarse[1]).max() < 0.02 < np.ptp(coarse[1])


def test_synthetic_scenes_are_the_gallery_unless_told(tmp_path):
    json_file = write_dataset(tmp_path)
    out = ("--out", tmp_path / "docs", "--work", tmp_path / "work", "--workers", 1)
    opts = ("--opts", "MODEL.RELEASED", "")
    assert run("--dataset", json_file, "--pictures", 2, *out, *opts) == 0
    assert "2 synthetic scenes of seed 6" in (tmp_path / "docs" / "results.md").read_text("utf-8")
    for method in METHODS:
        assert len(list((tmp_path / "work" / "table2_gallery_2" / method).glob("*.png"))) == 2
    assert (tmp_path / "docs" / "table2_gallery.png").exists()


def test_what_is_wrong_is_named(tmp_path, capsys, weights):
    json_file = write_dataset(tmp_path)
    out = ("--dataset", json_file, "--out", tmp_path / "docs", "--work", tmp_path / "work")

    def refused(*argv, words):
        assert run(*out, "--workers", 1, *argv) == 1
        said = capsys.readouterr().err
        assert all(word in said for word in words), said
        assert not (tmp_path / "docs").exists()

    refused("--maps", f"LFM={tmp_path / 'no'}", words=["--maps LFM", "no such folder"])
    refused("--weights", f"LFM={weights}", words=["--weights LFM", *NETWORKS])
    refused("--config", "FT=a.yaml", words=["--config FT", *NETWORKS])
    refused("--maps", "LFM=a", "LFM=b", words=["--maps LFM=b", "twice"])
    refused("--onnx", "DCL=a.onnx", words=["--onnx DCL", "another name"])
    refused("--pictures", 0, words=["--pictures", "1 or more"])
    refused("--data", "cosal_train", words=["--data", "give --train ITERATIONS"])
    refused("--quick", words=["--quick has data of its own", "--dataset"])
    refused("--train", 1, "--data", "cosal_no", words=["no dataset 'cosal_no'"])
    refused("--dataset", json_file, json_file, words=["--dataset", "once"])
    gone = ("--weights", f"U-Net={tmp_path / 'gone.pth'}", "--opts", *OPTS)
    refused(*gone, words=["gone.pth", "no weights"])
    (tmp_path / "half").mkdir()
    cv2.imwrite(str(tmp_path / "half" / "0.png"), np.zeros((48, 64), np.uint8))
    none = ("--opts", "MODEL.RELEASED", "")
    refused("--maps", f"LFM={tmp_path / 'half'}", *none, words=["LFM", "missing", "1.png", "2.png"])
    refused("--maps", "LFM", words=["--maps LFM", "METHOD=VALUE"])
    refused("--onnx", f"a={tmp_path / 'a.onnx'}", *none, words=["a.onnx", "no such ONNX file"])
    (tmp_path / "a.onnx").write_bytes(b"no network")
    refused("--onnx", f"a={tmp_path / 'a.onnx'}", *none, words=["a.onnx", "is no ONNX file"])
    write_onnx(tmp_path / "a.onnx", side=64)
    refused("--onnx", f"a={tmp_path / 'a.onnx'}", *none, words=["a.onnx", "64", "(1, 3, 320, 320)"])


def test_what_would_end_the_table_after_the_trainings_is_found_before(
    tmp_path, capsys, monkeypatch
):
    json_file = write_dataset(tmp_path)
    base = ("--dataset", json_file, "--data", json_file, "--train", 1, "--workers", 1)
    base += ("--out", tmp_path / "docs", "--work", tmp_path / "work")
    opts = ("--opts", *OPTS, "MODEL.RELEASED", "")

    def refused(*argv, words):
        assert run(*base, *argv, *opts) == 1
        said = capsys.readouterr().err
        assert all(word in said for word in words), said
        assert not (tmp_path / "work" / "trainings").exists()

    refused("--onnx", f"a={tmp_path / 'a.onnx'}", words=["a.onnx", "no such ONNX file"])
    (tmp_path / "a.onnx").write_bytes(b"no network")
    refused("--onnx", f"a={tmp_path / 'a.onnx'}", words=["a.onnx", "is no ONNX file"])
    refused("--weights", f"DCL={tmp_path / 'gone.pth'}", words=["gone.pth", "no weights"])
    other = write_dataset(tmp_path / "other", "second", 2)
    (other.parent / "second" / "1.png").unlink()
    refused("--gallery", other, words=["1 of the 2 pictures of second", "1.png"])
    (tmp_path / "maps").mkdir()
    cv2.imwrite(str(tmp_path / "maps" / "0.png"), np.zeros((48, 64), np.uint8))
    refused("--maps", f"other={tmp_path / 'maps'}", words=["other: missing: 1.png"])
    found = requirements.location
    monkeypatch.setattr(requirements, "location", lambda x: None if x == "skimage" else found(x))
    refused(words=["RFCNDecoder needs skimage", "pip install scikit-image"])


def test_several_datasets_have_a_table_each_and_maps_by_their_names(tmp_path):
    first, second = write_dataset(tmp_path), write_dataset(tmp_path / "other", "second", 2)
    for json_file, level in ((first, 1.0), (second, 0.5)):
        folder = tmp_path / "maps" / json_file.stem
        folder.mkdir(parents=True)
        with registered(json_file) as dataset:
            write_truths(dataset, folder, level)
    out = ("--out", tmp_path / "docs", "--work", tmp_path / "work", "--workers", 1)
    argv = (
        "--dataset",
        first,
        second,
        "--maps",
        f"theirs={tmp_path / 'maps'}",
        "--gallery",
        second,
    )
    assert run(*argv, *out, "--pictures", 1, "--opts", "MODEL.RELEASED", "") == 0
    text = (tmp_path / "docs" / "results.md").read_text(encoding="utf-8")
    maes = [float(rows["theirs"]["MAE"]) for rows in tables(text)]
    assert maes[0] == 0 < maes[1] and list(
        json.loads((tmp_path / "work/metrics.json").read_text())
    ) == [*("tiny", "second")]
    assert {p.name for p in (tmp_path / "docs").glob("*.png")} == {
        *("table2_pr_tiny.png", "table2_pr_second.png", "table2_gallery.png")
    }


def test_quick_trains_and_scores_all_rows_once(tmp_path, capsys, monkeypatch):
    splits = [
        (name, n, *rest) for (name, _, *rest), n in zip(table2_quick.SPLITS, (4, 2, 2), strict=True)
    ]
    monkeypatch.setattr(table2_quick, "SPLITS", splits)
    monkeypatch.setattr(table2_quick, "SIZE", (96, 128))
    steps = []
    original = Trainer.run_step
    monkeypatch.setattr(
        Trainer, "run_step", lambda self: (steps.append(self.cfg.OUTPUT_DIR), original(self))
    )
    argv = ("--quick", "--train", 2, "--out", tmp_path / "docs", "--work", tmp_path / "work")
    argv += ("--pictures", 1, "--workers", 1)
    assert run(*argv, "--opts", *OPTS) == 0
    assert sorted(steps) == sorted(str(tmp_path / "work/trainings" / r) for r in TRAINED * 2)
    text = (tmp_path / "docs" / "results.md").read_text(encoding="utf-8")
    assert text in capsys.readouterr().out and str(tmp_path) not in text
    assert "cosal paper table2 --quick --train 2 --pictures 1" in text
    assert text.count("trained for 2 iterations on table2_train, weights of") == len(TRAINED)
    plain, distractors = tables(text)
    for rows in (plain, distractors):
        assert list(rows) == [row.title for row in ROWS.values()]
        for name, row in rows.items():
            cells = {k: v for k, v in row.items() if k not in ("parameters",)}
            reference = name == title_of("ours-online")
            assert ("-" in cells.values()) == reference, (name, row)
            interval = re.fullmatch(r"(\S+) \[(\S+), (\S+)\]", row["MAE - Ours (online)"])
            if not reference:
                difference, low, high = map(float, interval.groups())
                assert low - 0.001 <= difference <= high + 0.001
                mae = float(row["MAE"]) - float(rows[title_of("ours-online")]["MAE"])
                assert mae == pytest.approx(difference, abs=0.0011)
    quick = (["MODEL.RELEASED", "", *OPTS], table2_quick.quick_opts())
    data = [str(tmp_path / "work" / "scenes" / "cosal" / f"{splits[0][0]}.json")]
    again = train_networks(load_networks({}, {}, *quick), 2, data, tmp_path / "work")
    assert len(steps) == 2 * len(TRAINED) and not any(n.missing for n in again.values())
    with pytest.raises(ValueError, match="trainings/U-Net was trained with other settings"):
        train_networks(load_networks({}, {}, *quick), 3, data, tmp_path / "work")


def test_printed_numbers_keep_the_papers_two_f_measures():
    for row in ROWS.values():
        for part, beta2 in ((row.own, 1.0), (row.sdcs, 0.3)):
            if part is not None:
                f, recall, precision, _ = part
                assert f == pytest.approx(f_beta(precision, recall, beta2), abs=0.01)
