"""``run.json`` says what a training ran with."""

import json
from pathlib import Path

import pytest
import torch
from detectron2.data import DatasetCatalog
from training_data import small_config

from cosal_d2.data.presence import check_pictures
from cosal_d2.engine.run_record import data_hashes, record_run


def test_each_start_adds_its_entry(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["cosal", "train", "--resume"])
    cfg = small_config(dataset, tmp_path, "SOLVER.MAX_ITER", "7")
    sizes = check_pictures({"all": DatasetCatalog.get(dataset)})
    record_run(cfg, "", sizes)
    record_run(cfg, str(tmp_path / "model_0000001.pth"), sizes)
    first, second = json.loads((tmp_path / "run.json").read_text())
    assert (first["checkpoint"], second["checkpoint"]) == (None, "model_0000001.pth")
    assert first["command"] == ["cosal", "train", "--resume"]
    assert first["config"]["SOLVER"]["MAX_ITER"] == 7
    assert first["packages"]["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert first["code"]["cosal_d2"] == first["packages"]["cosal_d2"]
    assert first["hardware"]["processes"] == 1 and first["hardware"]["cores"] >= 1
    assert first["data"].keys() == {dataset} and len(first["data"][dataset]) == 64
    (tmp_path / "run.json").write_text("[{")
    with pytest.raises(ValueError, match="run.json is no record of a training .*: move it away"):
        record_run(cfg, "", sizes)
    assert (tmp_path / "run.json").read_text() == "[{"


def test_the_hash_is_of_the_json_and_the_pictures_names_and_sizes(dataset):
    records = DatasetCatalog.get(dataset)

    def now():
        return data_hashes([dataset], check_pictures({"all": records}))[dataset]

    before = now()
    assert now() == before
    picture = Path(records[0]["file_name"])
    content = picture.read_bytes()
    picture.write_bytes(content + b"x")
    assert now() != before
    picture.write_bytes(content)
    assert now() == before
    json_file = picture.parent.with_suffix(".json")
    json_file.write_text(json_file.read_text() + " ")
    assert now() != before
