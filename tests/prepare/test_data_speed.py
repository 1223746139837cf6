"""`benchmark.py data` and what keeps conversions small."""

import json
import re
import subprocess
import sys

import pytest
from tool_loading import ROOT, load_tool

from cosal_d2.prepare.convert import json_stream
from cosal_d2.utils.parallel import ordered_map


def test_the_benchmark_prints_the_ratio(capsys, tmp_path):
    line = ["data", "--images", "3", "--rounds", "1", "--workers", "1", "--folder", str(tmp_path)]
    load_tool("tools/benchmark.py").main(line)
    found = re.fullmatch(
        r"3 images: conversion / decoding and copying = ([\d.]+) \(([\d.]+) s / ([\d.]+) s\), "
        r"memory \d+ MiB at most\n",
        capsys.readouterr().out,
    )
    assert float(found.group(1)) > 0
    assert list(tmp_path.iterdir()) == []


def test_preparing_data_loads_neither_torch_nor_detectron2s_data():
    code = (
        "import runpy, sys\n"
        "runpy.run_path('tools/prepare_dataset.py')\n"
        "print(sorted({'torch', 'detectron2.data', 'matplotlib'} & set(sys.modules)))\n"
        "from cosal_d2.data import register_all_cosal\n"
        "print('torch' in sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout.splitlines() == ["[]", "True"]


@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
def test_a_streamed_json_has_the_same_values(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(json_stream, "CHUNK", chunk)
    content = {
        "info": {"year": 2017, "text": 'a "quoted" \u00e9 \\ '},
        "images": [{"id": i, "x": [1.5, -2e-3, None, True]} for i in range(5)],
        "annotations": [],
        "number": 1234567,
        "categories": [{"id": 1}],
    }
    for indent in (None, 2):
        path = tmp_path / "a.json"
        path.write_text(json.dumps(content, indent=indent, ensure_ascii=False), encoding="utf-8")
        found = {"images": [], "annotations": []}
        for key, value, text in json_stream.stream_json(path, ("images", "annotations")):
            assert json.loads(text) == value
            if key in ("images", "annotations"):
                found[key].append(value)
            else:
                found[key] = value
        assert found == content


@pytest.mark.parametrize("text", ["", "[]", '{"images": [1, 2', '{"a" 1}', '{"images": [1 2]}'])
def test_a_broken_json_is_named(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=r"a\.json is not valid json"):
        list(json_stream.stream_json(tmp_path / "a.json", ("images",)))


def test_tasks_are_taken_as_they_are_needed():
    taken = []

    def tasks():
        for i in range(200):
            taken.append(i)
            yield i

    results = ordered_map(abs, tasks(), workers=2, chunk=2)
    assert next(results) == 0
    assert len(taken) < 40
    assert list(results) == list(range(1, 200))
