"""The exported network against the network, and the engine without torch."""

import csv
import functools
import json
import shutil

import cv2
import numpy as np
import onnx
import pytest
import torch
from detectron2.data.transforms import AugInput
from detectron2.modeling import build_model
from network_data import GROUPED, RESNET, TINY, tiny_config, tiny_model
from test_export_without_torch import run_without_torch

from cosal_d2.cli import main
from cosal_d2.config import get_cosal_config
from cosal_d2.data.augmentations import ResizeShortestEdge
from cosal_d2.inference import CoSaliencyPredictor, benchmark
from cosal_d2.inference.export import exporter
from cosal_d2.inference.export.exporter import INPUTS, OPSET, export_network, export_program
from cosal_d2.inference.export.network import ExportedNetwork
from cosal_d2.inference.export.onnx_predictor import OnnxPredictor, resized_shape
from cosal_d2.inference.export.onnx_timing import load_exported

CONFIG = "cosal_vgg16.yaml"
SIZES = ((48, 64), (100, 70), (33, 200))
# As few layers as there are: tracing them with symbols for sizes takes most of the time.
SMALL = [
    *(*RESNET, "MODEL.RESNETS.DEPTH", "18", "MODEL.RESNETS.RES2_OUT_CHANNELS", "64"),
    *("MODEL.DECODER.SKIPS", "('res3', '')", "MODEL.DECODER.SKIP_CHANNELS", "(8, 0)"),
]


def noise(height, width, seed=0):
    """Blocks of colours, so that neighbours differ."""
    blocks = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return cv2.resize(blocks, (width, height), interpolation=cv2.INTER_NEAREST)


@pytest.fixture(scope="module")
def opts(tmp_path_factory):
    """Of a tiny network with weights that takes all it sees for objects of one group."""
    small = [*SMALL, *GROUPED, "MODEL.GROUPING.COMPARED_LEVELS", "('res4',)"]
    model = tiny_model(*small)
    torch.nn.init.constant_(model.decoder.predictor.bias, 3)
    torch.nn.init.constant_(model.grouping.masks.head.predictor.bias, 3)
    path = str(tmp_path_factory.mktemp("weights") / "tiny.pth")
    torch.save({"model": model.state_dict()}, path)
    loose = {"THRESHOLD": -1.0, "INSTANCE_THRESHOLD": 0.0, "PAIR_THRESHOLD": 0.0}
    loose["SAME_OBJECT_SHARE"] = 0.9
    options = [str(x) for k, v in loose.items() for x in (f"MODEL.GROUPING.{k}", v)]
    options += ["MODEL.RPN.PRE_NMS_TOPK_TEST", "100", "MODEL.RPN.POST_NMS_TOPK_TEST", "30"]
    return [*small, *options, "MODEL.WEIGHTS", path]


@pytest.fixture(scope="module")
def predictor(opts):
    return CoSaliencyPredictor(tiny_config(*opts))


@pytest.fixture(scope="module")
def program(predictor):
    """That network as torch.export traces it, the longest part of an export."""
    with torch.no_grad(), exporter.without_cache():
        return export_program(ExportedNetwork(predictor.model))


@pytest.fixture(scope="module")
def export(opts, program):
    """`cosal export` of that network, but for the tracing."""

    def run(path, *options):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(exporter, "export_program", lambda network: program)
            options = ["--output", str(path), "--config-file", CONFIG, *options]
            assert main(["export", *options, "--opts", *TINY, *opts]) == 0
        return path

    return run


@pytest.fixture(scope="module")
def exported(export, tmp_path_factory):
    """ONNX of that network."""
    return export(tmp_path_factory.mktemp("onnx") / "tiny.onnx")


@pytest.fixture(scope="module")
def engine(exported):
    return OnnxPredictor(exported)


def check_same(found, expected):
    assert np.abs(found.map - expected.map).max() < 1e-4
    assert found.repeats == pytest.approx(expected.repeats, abs=1e-5)
    a, b = found.found, expected.found
    assert a.group_ids.tolist() == b.group_ids.tolist()
    np.testing.assert_allclose(a.scores, b.scores, atol=1e-4)
    np.testing.assert_allclose(a.embeddings, b.embeddings, atol=1e-4)
    for mask, other in zip(a.pred_masks, b.pred_masks, strict=True):
        assert (mask != other).sum() <= 0.01 * other.sum()


@pytest.mark.parametrize("size", SIZES)
def test_maps_and_instances_are_the_networks_at_any_size(predictor, engine, size):
    expected = predictor(noise(*size))
    assert expected.count > 1
    check_same(engine(noise(*size)), expected)


def test_a_batch_of_several_sizes_is_the_networks_batch(predictor, engine):
    pictures = [noise(*size, seed=i) for i, size in enumerate(SIZES)]
    pairs = zip(engine.batch(pictures), predictor.batch(pictures), strict=True)
    for found, expected in pairs:
        check_same(found, expected)


def test_the_file_says_what_it_is(exported, engine):
    model = onnx.load(exported)
    assert [x.version for x in model.opset_import if not x.domain] == [OPSET]
    shapes = {
        x.name: [d.dim_param or d.dim_value for d in x.type.tensor_type.shape.dim]
        for x in (*model.graph.input, *model.graph.output)
    }
    assert shapes["image"] == ["batch", 3, "height", "width"]
    assert shapes["map"] == ["batch", "height", "width"]
    assert {"boxes", "masks", "scores", "pairs", "embeddings"} <= set(shapes)
    assert model.doc_string.startswith("Outputs: map, logits, repeats, boxes, windows, masks")
    info = engine.info
    assert (info.config, info.precision, info.min_size, info.max_size) == (
        *(CONFIG, "float32", 64, 96),
    )
    assert info.grouping and engine.finds_objects and info.pair_threshold == 0


def test_a_network_without_grouping_gives_a_map_alone_in_either_format(tmp_path, monkeypatch):
    config, opts = "cosal_vgg16_unet.yaml", [*TINY, *SMALL]
    weights = str(tmp_path / "tiny.pth")
    torch.save({"model": build_model(get_cosal_config(config, opts)).state_dict()}, weights)
    opts += ["MODEL.WEIGHTS", weights]
    traced = functools.cache(export_program)  # of either format
    network = ExportedNetwork(CoSaliencyPredictor(get_cosal_config(config, opts)).model)
    monkeypatch.setattr(exporter, "export_program", lambda _: traced(network))
    engine = OnnxPredictor(export_network(config, tmp_path / "tiny.onnx", opts))
    result = engine(noise(48, 64))
    inputs = engine.inputs([noise(48, 64), noise(100, 70)])
    expected = CoSaliencyPredictor(get_cosal_config(config, opts))(noise(48, 64))
    assert np.abs(result.map - expected.map).max() < 1e-4 and expected.map.std() > 0
    assert not engine.finds_objects and result.repeats is None
    with pytest.raises(ValueError, match="this network finds no objects"):
        _ = result.count

    details = {"cosal_d2.json": ""}
    path = export_network(config, tmp_path / "tiny.pt2", opts)
    program = torch.export.load(path, extra_files=details).module()
    assert json.loads(details["cosal_d2.json"])["config"] == config
    cosal_map, logits = program(*(torch.from_numpy(inputs[name]) for name in INPUTS))
    np.testing.assert_allclose(logits.detach().numpy(), *engine.run(inputs), atol=1e-3)
    np.testing.assert_allclose(cosal_map.detach(), logits.detach().sigmoid(), atol=1e-5)


RUN = """
from cosal_d2.cli import main
status = main(["predict", *sys.argv[1:], "--engine", "onnxruntime"])
assert not {"torch", "detectron2"} & set(sys.modules)
sys.exit(status)
"""


def test_predict_runs_without_torch_and_gives_the_same(predictor, exported, tmp_path):
    folder, output = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for i, size in enumerate(SIZES):
        cv2.imwrite(str(folder / f"{i}.png"), noise(*size, seed=i))
    save = ["--save", "map,mask,overlay,cutout,objects,json,csv"]
    options = ["--input", folder, "--output", output, "--weights", exported, *save]
    run_without_torch(RUN, *options)
    with open(output / "counts.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for i, (row, size) in enumerate(zip(rows, SIZES, strict=True)):
        expected = predictor(noise(*size, seed=i))
        assert row["counts"] == " ".join(map(str, expected.counts)) and row["counts"]
        grey = cv2.imread(str(output / f"{i}_map.png"), cv2.IMREAD_UNCHANGED)
        assert np.abs(grey - 255 * expected.map).max() < 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "give --weights, a file that cosal export wrote"),
        (["--weights", "gone.onnx"], "no exported network at gone.onnx"),
        (["--weights", __file__], "onnxruntime cannot load"),
        (["--weights", "x.onnx", "--like", "1,2,3,4"], "takes no --like"),
        (["--weights", "x.onnx", "--tiles", "2"], "has no --tiles"),
        (["--weights", "x.onnx", "--device", "cuda"], "has no --device cuda"),
        (["--weights", "x.onnx", "--dtype", "float16"], "takes no --dtype"),
        (["--weights", "x.onnx", "--config-file", CONFIG], "takes no --config-file"),
        (["--weights", "x.onnx", "--opts", "SEED", "1"], "takes no --opts"),
    ],
)
def test_what_the_engine_does_not_do_is_one_sentence(options, message, tmp_path, capsys):
    cv2.imwrite(str(tmp_path / "a.png"), noise(20, 20))
    paths = ["--input", str(tmp_path / "a.png"), "--output", str(tmp_path / "out")]
    assert main(["predict", "--engine", "onnxruntime", *paths, *options]) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_a_foreign_onnx_file_is_refused(tmp_path):
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    other = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    graph = onnx.helper.make_graph([node], "relu", [value], [other])
    opset = [onnx.helper.make_opsetid("", OPSET)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=10)
    onnx.save(model, tmp_path / "relu.onnx")
    with pytest.raises(ValueError, match="no metadata of cosal_d2; write it by `cosal export`"):
        OnnxPredictor(tmp_path / "relu.onnx")
    onnx.helper.set_model_props(model, {"cosal_d2": "{}"})
    onnx.save(model, tmp_path / "relu.onnx")
    with pytest.raises(ValueError, match="metadata 'cosal_d2' cannot be read"):
        OnnxPredictor(tmp_path / "relu.onnx")


def test_what_cannot_be_exported_is_refused_before_the_work(tmp_path):
    with pytest.raises(ValueError, match=r"ends with \.onnx or \.pt2"):
        export_network(CONFIG, tmp_path / "model.pth")
    with pytest.raises(FileNotFoundError, match="no such folder"):
        export_network(CONFIG, tmp_path / "gone" / "model.onnx")
    with pytest.raises(ValueError, match="int8 is of ONNX"):
        export_network(CONFIG, tmp_path / "model.pt2", calibration=[tmp_path / "a.png"])
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("shortest", [64, 0, 333])
def test_pictures_are_resized_as_detectron2_does_it(engine, monkeypatch, shortest):
    monkeypatch.setattr(engine, "min_size", shortest)
    monkeypatch.setattr(engine, "max_size", 401)
    resize = ResizeShortestEdge(shortest, 401)
    for height, width in ((37, 91), (480, 641), (333, 401), (1000, 16), (1, 1200), (17, 17)):
        picture = noise(height, width)
        seen = AugInput(picture)
        resize(seen)
        assert np.array_equal(engine._resized(picture), seen.image)
        assert resized_shape(height, width, shortest, 401) == seen.image.shape[:2]


def test_a_size_changes_what_the_network_sees(predictor, exported):
    larger = OnnxPredictor(exported, size=96)
    assert (larger.min_size, larger.max_size) == (96, 144)
    expected = CoSaliencyPredictor(predictor.cfg, size=96)(noise(100, 120))
    check_same(larger(noise(100, 120)), expected)
    with pytest.raises(ValueError, match="size=8: give 16 or more"):
        OnnxPredictor(exported, size=8)


def test_a_row_of_the_benchmark_says_what_the_engine_costs(
    predictor, exported, tmp_path, monkeypatch, untouched_loggers
):
    monkeypatch.setattr(benchmark, "PICTURES", 1)
    monkeypatch.setattr(benchmark, "is_native", lambda name, device: name == "float32")
    peak_mb = benchmark._peak_mb

    def of_engine(cfg, setting, *rest):  # the other takes a process that imports torch
        return peak_mb(cfg, setting, *rest) if setting.engine == "onnxruntime" else 1.0

    monkeypatch.setattr(benchmark, "_peak_mb", of_engine)
    config = str(tmp_path / CONFIG)
    with open(config, "w") as file:
        file.write(predictor.cfg.dump())
    rows = list(benchmark.prediction_rows(config, [(64, 96)], [2], 1, onnx=str(exported)))
    assert [(row["engine"], row["dtype"], row["device"]) for row in rows] == [
        ("eager", "float32", "cpu"),
        ("onnxruntime", "float32", "cpu"),
    ]
    assert rows[0].keys() == rows[1].keys() and min(map(min_number, rows)) > 0
    assert 20 < rows[1]["peak_mb"] < 1000
    with pytest.raises(ValueError, match=f"it is of {CONFIG}, not of configs/other.yaml"):
        load_exported(str(exported), "configs/other.yaml")


def min_number(row):
    return min(value for value in row.values() if isinstance(value, float))


def test_int8_is_smaller_and_close(export, exported, engine, tmp_path, monkeypatch):
    monkeypatch.setattr(exporter, "write_onnx", lambda *x: shutil.copy(exported, x[2]))
    for i in range(4):
        cv2.imwrite(str(tmp_path / f"{i}.png"), noise(60, 80, seed=i))
    path = export(tmp_path / "int8.onnx", "--int8", str(tmp_path))
    assert path.stat().st_size < 0.5 * exported.stat().st_size
    found = OnnxPredictor(path)
    assert found.info.precision == "int8" and found.info.config == CONFIG
    assert np.abs(found(noise(60, 80)).map - engine(noise(60, 80)).map).mean() < 0.1
