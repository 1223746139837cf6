"""No verb replaces what it reads."""

import json

import numpy as np
import pytest
from network_data import registered, write_dataset
from picture_files import make_odd
from PIL import Image

from cosal_d2.cli import main
from cosal_d2.paper.method_maps import write_baseline_maps


@pytest.fixture
def data(tmp_path):
    """The json of a dataset as `--out ROOT --name tiny` would write it."""
    return write_dataset(tmp_path / "data", count=3)


def contents(folder):
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


REPLACED = "is read, and .* would replace it"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("merge {json} --out {root} --name tiny --overwrite", REPLACED),
        ("split {json} --out {root} --names tiny other --overwrite", REPLACED),
        ("check {json} --alone --fix --fixed-name tiny --overwrite", REPLACED),
        ("coco --json {json} --images {folder} --out {root} --name tiny --overwrite", REPLACED),
        ("masks --images {inner} --masks {inner} --out {root} --name tiny --overwrite", REPLACED),
        ("labelme --json {folder} --out {root} --name tiny --overwrite --link", REPLACED),
        ("yolo --images {link} --out {root} --name tiny --overwrite", REPLACED),
        (
            "composites --json {json} --images {folder} --out {root} --name tiny --count 1 "
            "--overwrite",
            REPLACED,
        ),
        ("sprites --images {folder} --out {above} --overwrite", REPLACED),
        ("check {json} --alone --report {above}", "tiny.json is there and is of no earlier check"),
        ("stats {json} --out {json}", "name a page, such as tiny.html"),
    ],
)
def test_a_dataset_is_not_replaced_with_what_is_made_of_it(data, tmp_path, capsys, line, message):
    folder = data.with_suffix("")
    (folder / "inner").mkdir()
    Image.new("RGBA", (64, 64), (200, 0, 0, 255)).save(folder / "1f34e.png")
    (tmp_path / "link").symlink_to(folder)
    before = contents(tmp_path / "data")
    places = {"json": data, "folder": folder, "inner": folder / "inner", "above": folder.parent}
    places |= {"root": folder.parents[1], "link": tmp_path / "link"}
    assert main(["data", *line.format(**places).split()]) == 1
    error = capsys.readouterr().err
    assert all(part in error for part in message.split(" .* ")), error
    assert contents(tmp_path / "data") == before


def test_a_former_report_is_replaced(data, tmp_path):
    for _ in range(2):
        assert main(["data", "check", str(data), "--alone", "--report", str(tmp_path / "r")]) == 0
    (tmp_path / "r" / "tiny.json").unlink()
    assert main(["data", "check", str(data), "--alone", "--report", str(tmp_path / "r")]) == 1


def test_maps_do_not_replace_the_pictures(data, tmp_path):
    before = contents(tmp_path / "data")
    with registered(data) as name, pytest.raises(ValueError, match=REPLACED):
        write_baseline_maps("FT", name, data.with_suffix(""), overwrite=True)
    assert contents(tmp_path / "data") == before


def test_scores_do_not_go_between_the_maps_nor_over_another_file(data, tmp_path, capsys):
    maps = tmp_path / "maps"
    maps.mkdir()
    for i, size in enumerate(((48, 64), (64, 48), (48, 64))):
        Image.fromarray(np.zeros(size, np.uint8)).save(maps / f"{i}.png")
    line = ["evaluate", "--dataset", str(data), "--maps", f"ours={maps}", "--resamples", "0"]
    line += ["--measures", "paper"]
    before = contents(maps)
    assert main([*line, "--out", str(maps)]) == 1
    assert "is the folder of ours" in capsys.readouterr().err
    assert contents(maps) == before
    assert main([*line, "--out", str(tmp_path / "scores")]) == 0
    page = tmp_path / "scores" / "evaluation.json"
    assert main(["report", "--evaluation", str(page.parent), "--out", str(page)]) == 1
    assert "name a page, such as evaluation.html" in capsys.readouterr().err
    assert json.loads(page.read_text())["name"] == "tiny"


@pytest.mark.parametrize(
    "line",
    [
        "data check {json} --alone --report {out}",
        "data coco --json {json} --images {folder} --out {out} --name new",
        "data merge {json} {json} --out {out} --name new",
        "data synthetic --out {out} --name new --count 9",
        "data stats {json} --out {out}/page.html",
        "evaluate --dataset {json} --maps m={folder} --out {out}",
        "report --evaluation {folder} --dataset {json} --out {out}/page.html",
        "paper table1 --config-file quickstart.yaml --out {out}",
        "paper table2 --dataset {json} --out {out}",
        "paper retrieval --config-file quickstart.yaml --data {json} --out {out}",
        "paper baselines FT --dataset {json} --out {out}",
    ],
)
@pytest.mark.parametrize("kind", ["file", "below a file", "gone", "circle", "read-only"])
def test_an_output_that_cannot_be_written_is_refused_at_once(
    data, tmp_path, capsys, monkeypatch, line, kind
):
    def never(*_, **__):
        raise AssertionError("a picture was read")

    monkeypatch.setattr("PIL.Image.open", never)
    out = tmp_path / "out"
    if kind in ("gone", "circle"):
        make_odd(out, kind)
    elif kind != "read-only":
        out.touch()
    else:
        monkeypatch.setattr("os.access", lambda *_: False)
    place = out / "y" if kind == "below a file" else out
    before = contents(tmp_path)
    words = line.format(json=data, folder=data.with_suffix(""), out=place).split()
    assert main(words) == 1
    assert str(out if kind != "read-only" else tmp_path) in (said := capsys.readouterr().err)
    assert "no folder" in said or "not a folder" in said or "cannot be written to" in said
    assert contents(tmp_path) == before
