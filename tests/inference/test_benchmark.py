import json
import re

import pytest
import torch
from network_data import GROUPED, tiny_config, tiny_model
from tool_loading import load_tool

from cosal_d2.config import DEFAULT_CONFIG
from cosal_d2.inference import benchmark
from cosal_d2.inference.benchmark import Setting, prediction_rows
from cosal_d2.inference.timing import alternating, median_ratio


@pytest.mark.parametrize(
    ("what", "lines"),
    [
        ("ratio", ["whole network / VGG-16's encoder = NUMBER at 64x96"]),
        (
            "eval",
            [
                f"evaluation, {measures} measures / whole network = NUMBER at 64x96 "
                "(NUMBER ms an image)"
                for measures in ("fast", "all")
            ],
        ),
    ],
)
def test_a_line_is_printed_for_each_ratio(capsys, what, lines):
    load_tool("tools/benchmark.py").main([what, "--size", "64", "96", "--rounds", "1"])
    printed = capsys.readouterr().out.splitlines()
    numbers = [float(number) for line in printed for number in re.findall(r"\d+\.\d+", line)]
    assert all(number > 0 for number in numbers)
    expected = [f"{DEFAULT_CONFIG}: {line}" for line in lines]
    assert [re.sub(r"\d+\.\d+", "NUMBER", line) for line in printed] == expected


def test_parts_take_turns_after_a_round_that_warms_up():
    seen = []
    times = alternating({"a": lambda: seen.append("a"), "b": lambda: seen.append("b")}, 3)
    assert seen == ["a", "b"] * 4
    assert {name: len(seconds) for name, seconds in times.items()} == {"a": 3, "b": 3}
    assert median_ratio([2.0, 9.0, 4.0], [1.0, 1.0, 4.0]) == 2.0


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """The config file of a tiny network with weights."""
    folder = tmp_path_factory.mktemp("tiny")
    torch.save({"model": tiny_model(*GROUPED).state_dict()}, folder / "tiny.pth")
    cfg = tiny_config(*GROUPED, "MODEL.WEIGHTS", str(folder / "tiny.pth"))
    (folder / "tiny.yaml").write_text(cfg.dump())
    return str(folder / "tiny.yaml")


def test_a_row_says_what_a_prediction_costs(tiny, tmp_path, capsys, monkeypatch, untouched_loggers):
    monkeypatch.setattr(benchmark, "is_native", lambda name, device: name == "float32")
    file = tmp_path / "rows.json"
    options = ["--sizes", "64x96", "--batches", "1", "--rounds", "1", "--json", str(file)]
    load_tool("tools/benchmark.py").main(["infer", "--config-file", tiny, *options])
    (row,) = json.loads(file.read_text())
    settings = ("height", "width", "batch", "dtype", "engine", "device")
    assert [row.pop(name) for name in settings] == [64, 96, 1, "float32", "eager", "cpu"]
    assert set(row) == {
        *("gflops", "encoder_ms", "network_ms", "ratio", "end_to_end_ms", "peak_mb")
    }
    assert all(value > 0 for value in row.values())
    assert row["ratio"] == pytest.approx(row["network_ms"] / row["encoder_ms"])  # of one round
    vgg16 = 15.35 * (64 * 96) / 224**2  # GFLOPs of its convolutions
    assert vgg16 < row["gflops"] < 2 * vgg16
    assert row["peak_mb"] > 100  # the weights of VGG-16 alone have 59
    head, *notes, names, numbers, last = capsys.readouterr().out.splitlines()
    assert head.startswith(f"{tiny} on ") and ", by default in float32; " in head
    assert notes == [
        "float16 and torch.compile: left out, they are measured on CUDA alone",
        "bfloat16: left out, this CPU has no instructions for it and would emulate it",
    ]
    assert len(names.split()) == len(numbers.split()) == 11
    assert last == "least time of the network over all eager rows: float32"


@pytest.mark.parametrize("fails", [False, True])
def test_compiled_rows_stand_beside_eager_ones_unless_compiling_fails(tiny, monkeypatch, fails):
    def compile(module, dynamic):
        def forward(*args):
            if fails:
                raise RuntimeError("no compiler\nlong trace")
            return module.forward(*args)

        module._compiled_call_impl = forward

    settings = [Setting("float32"), Setting("float32", "compile")]
    monkeypatch.setattr(torch.nn.Module, "compile", compile)
    monkeypatch.setattr(benchmark, "_settings", lambda device, note: settings)
    monkeypatch.setattr(benchmark, "_peak_mb", lambda *_: None)
    monkeypatch.setattr(benchmark, "PICTURES", 1)
    notes = []
    rows = list(prediction_rows(tiny, [(64, 64)], [1, 2], 1, notes.append))
    found = [(row["batch"], row["engine"]) for row in rows]
    if fails:
        assert found == [(1, "eager"), (2, "eager")]
        assert notes == [f"float32, compile, batch {n}: left out, no compiler" for n in (1, 2)]
    else:
        assert found == [(1, "eager"), (1, "compile"), (2, "eager"), (2, "compile")]
        assert notes == []
    assert len({row["gflops"] for row in rows}) == 1


@pytest.mark.parametrize(
    ("capability", "expected"),
    [
        ((7, 5), ["float32", "float16"]),
        ((9, 0), ["float32", "bfloat16", "float16"]),
    ],
)
def test_a_gpu_is_measured_in_what_it_has_and_compiled(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    notes = []
    found = benchmark._settings("cuda", notes.append)
    assert found == [Setting(dtype, e) for dtype in expected for e in ("eager", "compile")]
    assert len(notes) == 3 - len(expected)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--sizes", "64"], "argument --sizes: 64: give HEIGHTxWIDTH, such as 480x640"),
        (["--batches", "0"], "argument --batches: 0: give 1 or more"),
        (["--rounds", "-1"], "--rounds"),
        (["--sizes", "8x9"], "size: 8 x 9 pixels asked for; give H and W between 64 and 4096"),
        (["--config-file", "none.yaml"], "no config file 'none.yaml'"),
    ],
)
def test_wrong_options_are_named(capsys, untouched_loggers, options, reason):
    with pytest.raises(SystemExit) as stop:
        load_tool("tools/benchmark.py").main(["infer", *options])
    assert stop.value.code != 0 and reason in capsys.readouterr().err
