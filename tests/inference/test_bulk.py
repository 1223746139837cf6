"""`cosal bulk`: rows and shards, and workers of Ray that are killed."""

import io
import os
import shutil
import sys
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import ray
import torch
from network_data import GROUPED, tiny_config, tiny_model
from PIL import Image
from prediction_data import StandIn, write_pictures
from pyarrow import parquet
from pycocotools import mask as coco_mask
from tool_loading import load_tool

from cosal_d2.cli import main
from cosal_d2.inference import CoSaliencyPredictor
from cosal_d2.inference.bulk import run, worker
from cosal_d2.inference.bulk.shards import SCHEMA, ShardFolder
from cosal_d2.inference.sources import Source

COLUMNS = pa.schema(list(SCHEMA))  # a copy, which the workers of Ray need no import for


def rows(*names, status="ok"):
    return pa.Table.from_pylist([{"name": name, "status": status} for name in names], SCHEMA)


def names_in(folder):
    return Counter(parquet.read_table(folder, columns=["name"])["name"].to_pylist())


def test_rows_come_in_whole_shards_and_no_name_comes_twice(tmp_path):
    with ShardFolder(tmp_path / "out", {}, rows=2) as shards:
        shards.add(rows("a"))
        assert shards.add(rows("a", "b", status="failed"))["name"].to_pylist() == ["b"]
        shards.add(rows("c"))
    paths = sorted(path.name for path in (tmp_path / "out").glob("*.parquet"))
    assert paths == ["part-000000.parquet", "part-000001.parquet"]
    with ShardFolder(tmp_path / "out", {}, rows=2) as shards:
        assert (shards.names, shards.failed) == ({"a", "b", "c"}, 1)
        shards.add(rows("c", "d"))
    assert names_in(tmp_path / "out") == Counter("abcd")
    assert (tmp_path / "out" / "part-000002.parquet").exists()


def test_what_a_kill_leaves_of_a_shard_is_removed_and_an_error_keeps_the_rows_that_wait(tmp_path):
    (tmp_path / ".1.ab.part.parquet").write_bytes(b"PAR1 half a shard")
    with pytest.raises(KeyboardInterrupt), ShardFolder(tmp_path, {}) as shards:
        shards.add(rows("a"))
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.glob("*.parquet")] == ["part-000000.parquet"]
    assert ShardFolder(tmp_path, {}).names == {"a"}


def test_a_folder_of_other_settings_or_files_or_of_another_run_is_refused(tmp_path):
    with ShardFolder(tmp_path, {"--size": None}) as shards:
        with pytest.raises(BlockingIOError, match=f"another run is writing to {tmp_path}; wait"):
            ShardFolder(tmp_path, {"--size": None})
        shards.add(rows("a"))
    with pytest.raises(ValueError, match="made with --size None, and this run has 480; give"):
        ShardFolder(tmp_path, {"--size": 480})
    (tmp_path / "part-000007.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match="part-000007.parquet is no shard of this command"):
        ShardFolder(tmp_path, {"--size": None})
    with pytest.raises(NotADirectoryError):
        ShardFolder(tmp_path / "part-000007.parquet", {})


def test_a_shard_that_cannot_be_written_ends_the_run_with_the_fix(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(parquet, "write_table", full)
    with (
        pytest.raises(OSError, match="cannot be written to .*No space.*the same command again"),
        ShardFolder(tmp_path, {}, rows=1) as shards,
    ):
        shards.add(rows("a"))
    assert list(tmp_path.glob("*.parquet")) == []


def test_a_row_says_what_the_predictor_says(tmp_path, monkeypatch):
    monkeypatch.setattr(worker, "CoSaliencyPredictor", StandIn)
    monkeypatch.setattr(StandIn, "model", tiny_model(*GROUPED), raising=False)
    folder = write_pictures(tmp_path / "in", 3, broken=(1,))
    paths = sorted(map(os.fsencode, folder.iterdir()))
    strange = os.fsencode(folder) + b"/\xff.png"
    os.rename(paths[2], strange)
    table = pa.table([[*paths[:2], strange], ["0.png", "1.png", "2.png"]], schema=worker.PICTURES)
    found = worker.Worker(None, dtype="", size=None, tiles=1, batch=2)(table)
    first, second, third = sorted(found.to_pylist(), key=lambda row: row["name"])
    assert found.schema.names == [*SCHEMA.names, worker.SECONDS]
    expected = StandIn()(np.zeros((12, 20, 3), np.uint8))
    assert (first["status"], first["height"], first["width"]) == ("ok", 12, 20)
    png = np.asarray(Image.open(io.BytesIO(first["map"])))
    assert np.array_equal(png, np.round(255 * expected.map).astype(np.uint8))
    masks = [coco_mask.decode(rle) for rle in first["masks"]]
    assert np.array_equal(masks, [expected.found.pred_masks[i] for i in range(5)])
    assert first["boxes"] == expected.found.pred_boxes.tolist()
    assert first["groups"] == [0, 0, 0, 1, 1] and len(first["scores"]) == 5
    assert (first["count"], first["counts"], first["repeats"]) == (3, [3, 2], 0.75)
    assert second["status"] == "failed" and "01.png" in second["reason"] and not second["map"]
    assert third["status"] == "ok"


@pytest.fixture(scope="module")
def local_ray():
    with run.cluster(None):
        yield


class Config(SimpleNamespace):
    """In place of Detectron2's, with which the workers would import torch."""

    def clone(self):
        return self

    def defrost(self):
        pass


class Slight:
    """A worker without a network, which ends its process at a picture named ``deadly``."""

    def __init__(self, cfg, **_):
        pass

    def __call__(self, pictures):
        names = pictures["name"].to_pylist()
        if "deadly" in names:
            os._exit(1)
        table = pa.Table.from_pylist([{"name": name, "status": "ok"} for name in names], COLUMNS)
        return table.append_column("seconds", pa.array([0.0] * len(names)))


def predict(pictures, shards):
    cfg = Config(MODEL=SimpleNamespace(WEIGHTS=""))
    return run.predict_in_bulk(pictures, shards, cfg, workers=1)


@pytest.fixture
def slight(local_ray, monkeypatch):
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    monkeypatch.setattr(run, "Worker", Slight)


def sources(count):
    return [Source(f"{i}.png", f"{i}.png") for i in range(count)]


def test_killed_workers_and_a_killed_command_lose_and_double_nothing(
    slight, tmp_path, monkeypatch, capsys
):
    """One worker is killed from outside, others by a picture; the command is killed once there are
    some shards."""
    add, calls = ShardFolder.add, []
    pictures = [*sources(60), Source("deadly", "deadly")]

    def add_and_kill(self, table):
        new = add(self, table)
        calls.append(len(new))
        if len(calls) == 2:
            load_tool("tools/bulk_chaos.py").kill_worker(os.getpid())
        if len(calls) == 3:  # what a kill of the command would leave
            shutil.copytree(self.folder, tmp_path / "killed")
            (tmp_path / "killed" / ".1.ab.part.parquet").write_bytes(b"half a shard")
        return new

    monkeypatch.setattr(ShardFolder, "add", add_and_kill)
    with ShardFolder(tmp_path / "out", {}, rows=15) as shards:
        assert predict(pictures, shards).pictures == 61
    assert names_in(tmp_path / "out") == Counter(source.name for source in pictures)
    failed = parquet.read_table(tmp_path / "out", filters=[("status", "=", "failed")]).to_pylist()
    assert [(row["name"], row["reason"]) for row in failed] == [("deadly", run.LOST)]
    assert "failed: deadly: its worker process ended" in capsys.readouterr().err

    with ShardFolder(tmp_path / "killed", {}, rows=15) as shards:
        kept = len(shards.names)
        again = predict(sources(60), shards)
    assert 0 < kept < 60 and again.pictures == 60 - kept
    assert names_in(tmp_path / "killed") == Counter(source.name for source in sources(60))


def test_an_error_of_ray_ends_the_run_with_its_last_line(slight, tmp_path, monkeypatch):
    def die(*_, **__):
        raise ray.exceptions.RayError("a trace\nFileNotFoundError: no weights at elsewhere")
        yield

    monkeypatch.setattr(ray.data.Dataset, "iter_batches", die)
    with (
        pytest.raises(OSError, match="^Ray ended the run: FileNotFoundError: no weights at elsew"),
        ShardFolder(tmp_path, {}) as shards,
    ):
        predict(sources(3), shards)
    assert list(tmp_path.glob("*.parquet")) == []


def test_the_command_predicts_goes_on_and_tells_of_failures(local_ray, tmp_path, capsys):
    torch.save({"model": tiny_model(*GROUPED).state_dict()}, tmp_path / "tiny.pth")
    cfg = tiny_config(*GROUPED, "MODEL.WEIGHTS", str(tmp_path / "tiny.pth"))
    (tmp_path / "tiny.yaml").write_text(cfg.dump())
    folder = write_pictures(tmp_path / "in", 5, broken=(1,))
    command = ["bulk", str(folder), str(tmp_path / "out"), "--config-file"]
    command += [str(tmp_path / "tiny.yaml"), "--workers", "1"]
    assert main(command) == 1
    said = capsys.readouterr()
    assert "5 pictures (0 by an earlier run)" in said.out and "1 of them failed" in said.out
    assert "failed: 01.png: cannot read" in said.err
    found = {row["name"]: row for row in parquet.read_table(tmp_path / "out").to_pylist()}
    assert sorted(found) == [f"0{i}.png" for i in range(5)]
    expected = CoSaliencyPredictor(cfg)(folder / "03.png")
    png = np.asarray(Image.open(io.BytesIO(found["03.png"]["map"])), np.float32)
    assert np.abs(png - 255 * expected.map).max() < 1
    assert found["03.png"]["count"] == expected.count
    assert main(command) == 1
    assert "5 pictures (5 by an earlier run)" in capsys.readouterr().out
    assert names_in(tmp_path / "out") == Counter(list(found))


def test_what_is_wrong_is_told_before_ray_starts(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ray, "init", None)
    folder = write_pictures(tmp_path / "in", 1)
    command = ["bulk", str(folder), str(tmp_path / "out")]
    assert main([*command, "--opts", "MODEL.WEIGHTS", "elsewhere.pth"]) == 1
    assert "no weights at elsewhere.pth" in capsys.readouterr().err
    assert main([*command[:1], str(tmp_path / "none"), *command[2:]]) == 1
    assert f"error: SOURCE {tmp_path / 'none'}: no such picture" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_ray_reports_nothing_to_its_makers():
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
