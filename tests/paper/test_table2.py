import json
import re
import shlex

import cv2
import numpy as np
import pytest
from detectron2.data import DatasetCatalog
from network_data import TINY, registered, tiny_model, write_dataset

from cosal_d2.cli import main
from cosal_d2.config import get_cosal_config
from cosal_d2.engine import CoSaliencyCheckpointer
from cosal_d2.evaluation import decode_truth, f_beta
from cosal_d2.evaluation.maps import evaluate_methods
from cosal_d2.paper.classical import METHODS
from cosal_d2.paper.table2 import NETWORKS
from cosal_d2.paper.table2_report import ROWS

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    CoSaliencyCheckpointer(tiny_model(), str(folder)).save("model")
    return folder / "model.pth"


@pytest.fixture(scope="module")
def page(tmp_path_factory, weights):
    """A run on three pictures: FT and CWS, U-Net with weights, DCL and another from folders."""
    root = tmp_path_factory.mktemp("table2")
    json_file = write_dataset(root)
    for name, level in (("perfect", 1.0), ("DCL", 0.6)):
        (root / name).mkdir()
        with registered(json_file) as dataset:
            write_truths(dataset, root / name, level)
    status = run(
        *("--dataset", json_file, "--out", root / "docs", "--work", root / "work"),
        *("--maps", f"DCL={root / 'DCL'}", f"perfect={root / 'perfect'}"),
        *("--weights", f"U-Net={weights}", "--pictures", 2, "--workers", 1),
        *("--gallery", json_file, "--opts", *TINY, "MODEL.RELEASED", ""),
    )
    assert status == 0
    return root


def write_truths(dataset, folder, level):
    for i, record in enumerate(DatasetCatalog.get(dataset)):
        mask = decode_truth(record).mask
        cv2.imwrite(str(folder / f"{i}.png"), np.rint(mask * 255 * level).astype(np.uint8))


def run(*argv):
    return main(["paper", "table2", *map(str, argv)])


def table(text):
    """Rows of the first table by their first cell."""
    lines = [line for line in text.split("##")[0].splitlines() if line.startswith("|")]
    cells = [[c.strip(" *") for c in line.strip("|").split("|")] for line in lines]
    return {row[0]: dict(zip(cells[0][1:], row[1:], strict=True)) for row in cells[2:]}


def test_the_table_has_the_papers_rows_in_order_and_says_which_are_missing(page):
    rows = table((page / "docs" / "results.md").read_text(encoding="utf-8"))
    assert list(rows) == [*(row.title for row in ROWS.values()), "perfect"]
    missing = [t for t, row in rows.items() if "not available" in row.values()]
    assert missing == [ROWS[m].title for m in ("RFCN", "PiCANet", "LFM", "ours-offline")] + [
        ROWS["ours-online"].title
    ]
    assert rows["perfect"] == rows["perfect"] | {
        **{"F (β² = 0.3)": "1.000", "F (β² = 1)": "1.000", "recall": "1.000"},
        **{"precision": "1.000", "MAE": "0.000", "objects found": "1.000"},
    }


def test_the_numbers_are_those_of_the_evaluation(page):
    rows = table((page / "docs" / "results.md").read_text(encoding="utf-8"))
    metrics = json.loads((page / "work" / "metrics.json").read_text())
    assert list(metrics) == ["FT", "CWS", "U-Net", "DCL", "perfect"]
    for method, numbers in metrics.items():
        row = rows[ROWS[method].title if method in ROWS else method]
        assert row["MAE"] == f"{numbers['raw_MAE']:.3f}"
        assert row["F (β² = 0.3)"] == f"{f_beta(numbers['P'], numbers['R'], 0.3):.3f}"
        assert row["F (β² = 1)"] == f"{f_beta(numbers['P'], numbers['R'], 1.0):.3f}"
    with registered(page / "cosal" / "tiny.json") as name:
        own = evaluate_methods(name, {"FT": page / "work/tiny/FT"}, measures="paper", workers=0)
    assert own.metrics["FT"]["raw_MAE"] == pytest.approx(metrics["FT"]["raw_MAE"], abs=1e-12)


def test_the_page_names_sources_and_no_path_of_the_machine(page):
    text = (page / "docs" / "results.md").read_text(encoding="utf-8")
    assert str(page) not in text and "--maps DCL=DCL perfect=perfect" in text
    assert re.search(r"U-Net.*`cosal_vgg16_unet.yaml`, weights of sha256 [0-9a-f]{12}", text)
    assert "not available: `--weights ours-offline=FILE`" in text
    assert "not available: `--maps RFCN=FOLDER`" in text
    offline = next(line for line in text.splitlines() if line.startswith("- Ours (offline)"))
    command = re.search(r"`cosal train --config-file (\S+) ([^`]+)` trains", offline)
    cfg = get_cosal_config(command[1], shlex.split(command[2]))
    assert (cfg.MODEL.RFM.SAMPLER, cfg.MODEL.GROUPING.ENABLED) == ("OfflineSampler", False)
    for name in re.findall(r"\]\((table2[^)]+)\)", text):
        assert (page / "docs" / name).stat().st_size > 1000


def test_the_gallery_shows_picture_truth_and_every_method(page):
    gallery = cv2.imread(str(page / "docs" / "table2_gallery.png"))
    assert gallery.shape[1] == pytest.approx(7 * 170, abs=2)
    assert (page / "docs" / "table2_pr.svg").read_text().count("<path") > 5


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
    refused("--weights", f"DCL={weights}", words=["--weights DCL", *NETWORKS])
    refused("--config", "FT=a.yaml", words=["--config FT", *NETWORKS])
    refused("--maps", "LFM=a", "LFM=b", words=["--maps LFM=b", "twice"])
    refused("--pictures", 0, words=["--pictures", "1 or more"])
    gone = ("--weights", f"U-Net={tmp_path / 'gone.pth'}", "--opts", *TINY)
    refused(*gone, words=["gone.pth", "no weights"])
    (tmp_path / "half").mkdir()
    cv2.imwrite(str(tmp_path / "half" / "0.png"), np.zeros((48, 64), np.uint8))
    half = ("--maps", f"LFM={tmp_path / 'half'}", "--opts", "MODEL.RELEASED", "")
    refused(*half, words=["LFM", "missing", "1.png", "2.png"])
    refused("--maps", "LFM", words=["--maps LFM", "METHOD=VALUE"])


def test_printed_numbers_keep_the_papers_two_f_measures():
    for row in ROWS.values():
        for (f, recall, precision, _), beta2 in ((row.own, 1.0), (row.sdcs, 0.3)):
            assert f == pytest.approx(f_beta(precision, recall, beta2), abs=0.01)
