"""Folders of maps: finding, scoring, and `cosal evaluate`."""

import csv
import json
import os

import cv2
import numpy as np
import pytest
from evaluation_data import levels_of, scenes, write_json, write_maps, write_masks
from picture_files import ODD, make_odd
from PIL import Image

from cosal_d2.cli import main
from cosal_d2.evaluation import evaluate_methods, load_truth
from cosal_d2.evaluation.maps import find_maps, read_map
from cosal_d2.evaluation.output import load_evaluation
from cosal_d2.evaluation.tables import latex_table, markdown_table

FILES = [
    *("curves.csv", "curves.pdf", "curves.png", "curves.svg", "differences.csv"),
    *("differences.json", "evaluation.json", "files.csv", "groups.csv", "metrics.json"),
    *("objects.csv", "per_image.csv", "table.csv", "table.md", "table.tex"),
]
WANTED = ("MAE", "adpF", "meanF", "maxF", "S", "adpE", "meanE", "maxE", "wF")


def rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("maps")
    records = scenes()
    return {
        "records": records,
        "json": write_json(folder / "five.json", records),
        "masks": write_masks(folder / "masks", records),
        "good": write_maps(folder / "good", records, 0.8),
        "poor": write_maps(folder / "poor", records, 0.2, "_map"),
    }


def evaluate(dataset, maps, out, *options):
    arguments = ["--dataset", dataset, "--maps", *maps, "--out", out, "--workers", "0", *options]
    return main(["evaluate", *map(str, arguments)])


def test_two_methods_on_a_json_without_images(data, tmp_path, capsys):
    out = tmp_path / "out"
    methods = [f"ours={data['good']}", f"a_b & c={data['poor']}"]
    assert evaluate(data["json"], methods, out, "--resamples", "50") == 0
    text = capsys.readouterr().out
    assert sorted(path.name for path in out.iterdir()) == FILES
    metrics = json.loads((out / "metrics.json").read_text())
    assert list(metrics) == ["ours", "a_b & c"]
    assert set(WANTED) <= set(metrics["ours"])
    assert metrics["ours"]["images"] == 5
    assert metrics["ours"]["MAE"] < metrics["a_b & c"]["MAE"]
    assert f"{metrics['ours']['wF']:.4f}" in text
    assert f"**{metrics['ours']['S']:.4f}**" in (out / "table.md").read_text()
    assert r"a\_b \& c" in (out / "table.tex").read_text()
    assert float(rows(out / "table.csv")[1]["maxF"]) == metrics["a_b & c"]["maxF"]
    images = rows(out / "per_image.csv")
    assert [row["file_name"] for row in images] == [f"{i}.jpg" for i in range(1, 6)] * 2
    assert np.mean([float(row["MAE"]) for row in images[:5]]) == pytest.approx(
        metrics["ours"]["MAE"]
    )
    assert len(rows(out / "curves.csv")) == 2 * 256
    assert cv2.imread(str(out / "curves.png")) is not None
    mae = next(row for row in rows(out / "differences.csv") if row["measure"] == "MAE")
    assert (mae["a"], mae["b"], mae["images"]) == ("ours", "a_b & c", "5")
    assert float(mae["low"]) <= float(mae["difference"]) <= float(mae["high"]) < 0
    groups = {(r["method"], r["by"], r["group"]): r for r in rows(out / "groups.csv")}
    assert groups["ours", "instances", "2"]["images"] == "1"
    assert groups["ours", "class", "pear"]["images"] == "3"
    assert load_evaluation(out)["images"] == [f"{i}.jpg" for i in range(1, 6)]


def test_json_and_masks_of_one_truth_give_one_score(data):
    methods = {"m": data["good"]}
    a = evaluate_methods(data["json"], methods, measures="fast").metrics["m"]
    b = evaluate_methods(data["masks"], methods, measures="fast").metrics["m"]
    assert b == {name: a[name] for name in b}
    assert set(a) - set(b) == {
        *("object_recall", "box_recall", "count_error", "distractor_rejection")
    }


def test_faulty_maps_are_named_and_stop_the_scoring(data, tmp_path, capsys):
    """One map is missing, one extra, one of another size and one corrupt."""
    faulty = write_maps(tmp_path / "faulty", data["records"])
    (faulty / "1.png").unlink()
    cv2.imwrite(str(faulty / "stranger.png"), np.zeros((4, 4), np.uint8))
    cv2.imwrite(str(faulty / "2.png"), np.full((20, 20), 77, np.uint8))
    whole = (faulty / "3.png").read_bytes()
    (faulty / "3.png").write_bytes(whole[: len(whole) // 2])
    out = tmp_path / "out"
    assert evaluate(data["json"], [f"m={faulty}"], out) == 1
    error = capsys.readouterr().err
    expected = ["missing: 1.png", "extra: stranger.png", "resized: 2.png (20x20", "corrupt: 3.png"]
    for part in [*expected, "--allow-missing"]:
        assert part in error
    assert not out.exists()

    assert evaluate(data["json"], [f"m={faulty}"], out, "--allow-missing") == 0
    captured = capsys.readouterr()
    for part in expected:
        assert part in captured.err
    assert "only 3 of 5 images" in captured.out
    assert [r["file_name"] for r in rows(out / "per_image.csv")] == ["2.jpg", "4.jpg", "5.jpg"]
    assert {row["file"]: row["status"] for row in rows(out / "files.csv")} == {
        **{"1.png": "missing", "2.png": "resized", "3.png": "corrupt"},
        **{"4.png": "ok", "5.png": "ok", "stranger.png": "extra"},
    }


def test_a_registered_name_may_have_dots(data, tmp_path, monkeypatch):
    (tmp_path / "cosal" / "set_v1.5").mkdir(parents=True)
    write_json(tmp_path / "cosal" / "set_v1.5.json", data["records"])
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    assert evaluate("cosal_set_v1.5", [f"m={data['good']}"], tmp_path / "out") == 0


def test_names_that_are_not_utf8_are_scored_and_reported(data, tmp_path):
    odd = os.fsdecode(b"\xb0\xa1.png")
    folders = [write_masks(tmp_path / "truth", data["records"])]
    folders.append(write_maps(tmp_path / "maps", data["records"]))
    for folder in folders:
        (folder / "1.png").rename(folder / odd)
    out = tmp_path / "out"
    assert evaluate(folders[0], [f"m={folders[1]}"], out) == 0
    assert odd.encode("utf-8", "surrogateescape") in (out / "per_image.csv").read_bytes()
    assert main(["report", "--evaluation", str(out), "--out", str(out / "page.html")]) == 0


def test_what_is_named_like_a_map_but_is_none_is_corrupt(data, tmp_path, capsys):
    folder = write_maps(tmp_path / "maps", data["records"])
    for number, kind in enumerate(("gone", "pipe", "folder"), 1):
        make_odd(folder / f"{number}.png", kind)
    assert evaluate(data["json"], [f"m={folder}"], tmp_path / "out", "--allow-missing") == 0
    said = capsys.readouterr().err
    for number, kind in enumerate(("gone", "pipe", "folder"), 1):
        assert f"corrupt: {number}.png" in said and f"no such map or mask, but {ODD[kind]}" in said
    assert evaluate(folder, [f"m={folder}"], tmp_path / "other") == 1
    assert f"{folder}/1.png: no such map or mask, but a link to nowhere" in capsys.readouterr().err


def test_an_extra_or_resized_map_alone_is_named_but_stops_nothing(data, tmp_path):
    folder = write_maps(tmp_path / "maps", data["records"])
    (folder / "notes.txt").write_text("x")
    cv2.imwrite(str(folder / "2.png"), cv2.resize(levels_of(data["records"][1], 0.5), (30, 20)))
    evaluation = evaluate_methods(data["json"], {"m": folder}, measures="fast")
    assert [(f.status, f.file) for f in evaluation.problems] == [
        ("resized", "2.png"),
        ("extra", "notes.txt"),
    ]
    assert evaluation.metrics["m"]["images"] == 5


@pytest.mark.parametrize(
    ("dataset", "maps", "message"),
    [
        ("no/such/thing.json", ["m=maps"], "no such file or folder"),
        ("nothing", ["m=EMPTY"], "no dataset 'nothing'"),
        ("nothing_v1.0", ["m=EMPTY"], "no dataset 'nothing_v1.0'"),
        ("JSON", ["m=nowhere"], "--maps m=nowhere: no such folder"),
        ("JSON", ["maps"], "write METHOD=VALUE"),
        ("JSON", ["m=a", "m=b"], "m is given twice"),
        ("JSON", ["m=EMPTY"], "none of its files is a map"),
        ("JSON", ["x y=a=b"], "--maps x y=a=b: no such folder"),
        ("EMPTY", ["m=EMPTY"], "it has no image"),
        ("BROKEN", ["m=EMPTY"], "not valid json"),
    ],
)
def test_bad_arguments_are_explained(data, tmp_path, capsys, dataset, maps, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.json").write_text("{")
    paths = {"JSON": data["json"], "EMPTY": tmp_path / "empty", "BROKEN": tmp_path / "broken.json"}
    maps = [entry.replace("EMPTY", str(paths["EMPTY"])) for entry in maps]
    assert evaluate(paths.get(dataset, dataset), maps, tmp_path / "out", "--allow-missing") == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_maps_of_any_kind_are_read_as_grey(tmp_path):
    levels = np.arange(240, dtype=np.uint8).reshape(12, 20)
    opaque = np.full_like(levels, 255)
    pictures = {
        "grey": Image.fromarray(levels),
        "rgb": Image.fromarray(np.dstack([levels] * 3)),
        "rgba": Image.fromarray(np.dstack([levels, levels, levels, opaque])),
        "deep": Image.fromarray(levels.astype(np.uint16) * 257),
        "palette": Image.fromarray(levels).convert("P"),
    }
    for name, picture in pictures.items():
        path = tmp_path / f"{name}.PNG"
        picture.save(path)
        np.testing.assert_array_equal(read_map(path, 12, 20), levels, err_msg=name)
    small = cv2.resize(levels, (10, 6), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(read_map(tmp_path / "grey.PNG", 6, 10), small)


@pytest.mark.parametrize("suffix", [".jpg", ".TIF", ".bmp", ".jpg.png"])
def test_maps_of_other_formats_and_names_score_as_png(data, tmp_path, suffix):
    other = tmp_path / "maps"
    other.mkdir()
    for path in data["good"].iterdir():
        with Image.open(path) as image:
            options = {"quality": 100} if suffix == ".jpg" else {}
            image.save(other / f"{path.stem}{suffix}", **options)
    methods = {"png": data["good"], "other": other}
    evaluation = evaluate_methods(data["json"], methods, measures="fast", workers=0)
    assert not evaluation.problems
    png, found = evaluation.metrics["png"], evaluation.metrics["other"]
    assert found == pytest.approx(png, abs=0.01 if suffix == ".jpg" else 0)


def test_masks_of_other_names_find_their_maps(data, tmp_path):
    masks = tmp_path / "masks"
    masks.mkdir()
    for path in data["masks"].iterdir():
        (masks / f"{path.stem}_mask.png").write_bytes(path.read_bytes())
    maps = {"m": data["good"]}
    expected = evaluate_methods(data["masks"], maps, measures="fast", workers=0).metrics
    assert evaluate_methods(masks, maps, measures="fast", workers=0).metrics == expected


def test_of_two_formats_png_is_taken_and_the_other_named(data, tmp_path):
    folder = write_maps(tmp_path / "maps", data["records"])
    Image.new("L", (9, 9)).save(folder / "2.jpg")
    problems = evaluate_methods(data["json"], {"m": folder}, measures="fast", workers=0).problems
    assert [(p.status, p.file) for p in problems] == [("extra", "2.jpg")]
    assert "another format" in problems[0].detail


def test_maps_of_12_in_16_bits_score_as_8_bits(data, tmp_path, caplog):
    folder = tmp_path / "deep"
    folder.mkdir()
    for path in data["good"].iterdir():
        values = cv2.imread(str(path), cv2.IMREAD_UNCHANGED).astype(np.uint16)
        cv2.imwrite(str(folder / path.name), np.rint(values / 255 * 4095).astype(np.uint16))
    methods = {"eight": data["good"], "deep": folder}
    evaluation = evaluate_methods(data["json"], methods, measures="fast", workers=0)
    metrics = evaluation.metrics
    assert metrics["deep"] == pytest.approx(metrics["eight"], abs=2e-3)
    assert "deep: its files of 16 bits hold 12" in caplog.text


def test_coloured_and_twofold_maps_are_named_and_stop_the_scoring(data, tmp_path, capsys):
    folder = write_maps(tmp_path / "maps", data["records"])
    with Image.open(folder / "1.png") as image:
        grey = np.asarray(image)
    jet = cv2.applyColorMap(np.linspace(0, 255, grey.size).astype(np.uint8), cv2.COLORMAP_JET)
    cv2.imwrite(str(folder / "1.png"), jet.reshape(*grey.shape, 3))
    ramp = np.linspace(0, 255, grey.size).reshape(grey.shape).astype(np.uint8)
    Image.fromarray(np.dstack([ramp, 255 - ramp])).save(folder / "2.png")
    (folder / "3.png").unlink()
    Image.fromarray(np.full(grey.shape, np.nan, np.float32)).save(folder / "3.tif")
    assert evaluate(data["json"], [f"m={folder}"], tmp_path / "out") == 1
    error = capsys.readouterr().err
    for name, words in (
        ("1.png", "it is coloured"),
        ("2.png", "both its grey levels and its alpha"),
        ("3.tif", "no numbers"),
    ):
        assert f"m: corrupt: {name}" in error and words in error


def test_cut_outs_score_by_their_alpha(data, tmp_path):
    folder = tmp_path / "cutouts"
    folder.mkdir()
    noise = np.random.default_rng(0)
    for path in data["good"].iterdir():
        with Image.open(path) as image:
            alpha = np.asarray(image)
        photo = noise.integers(0, 256, (*alpha.shape, 3), dtype=np.uint8)
        Image.fromarray(np.dstack([photo, alpha])).save(folder / path.name)
    methods = {"maps": data["good"], "cutouts": folder}
    metrics = evaluate_methods(data["json"], methods, measures="fast", workers=0).metrics
    assert metrics["cutouts"] == metrics["maps"]


def test_masks_by_palette_and_by_alpha_score_as_black_and_white(data, tmp_path, capsys):
    palette, alpha = tmp_path / "palette", tmp_path / "alpha"
    for folder in (palette, alpha):
        folder.mkdir()
    for path in data["masks"].iterdir():
        with Image.open(path) as image:
            inside = np.asarray(image) > 128
        labels = Image.fromarray(inside.astype(np.uint8), "P")
        labels.putpalette([0, 0, 0, 40, 0, 0])
        labels.save(palette / path.name)
        silhouette = np.dstack([0 * inside, 255 * inside]).astype(np.uint8)
        Image.fromarray(silhouette).save(alpha / path.name)
    maps = {"m": data["good"]}
    expected = evaluate_methods(data["masks"], maps, measures="fast", workers=0).metrics
    for folder, word in ((palette, "palette"), (alpha, "alpha")):
        found = evaluate_methods(folder, maps, measures="fast", workers=0)
        assert found.metrics == expected
        assert all(word in note for note in found.truth.notes) and found.truth.notes


def truth_of(folder, names):
    """The truth of a json whose images have these names."""
    path = write_json(folder / "named.json", scenes(len(names)))
    content = json.loads(path.read_text())
    for image, name in zip(content["images"], names, strict=True):
        image["file_name"] = name
    path.write_text(json.dumps(content))
    return load_truth(path)


def test_names_of_maps(tmp_path):
    """Subfolders, unicode, upper case, and a stem that ends like a map's."""
    truth = truth_of(tmp_path, ["x/a.jpg", "x/a_map.jpg", "y/é.jpg", "z.jpeg"])
    folder = tmp_path / "maps"
    names = ("a_map_", "a_map", "y/e\u0301_map", "z")
    for r, name in zip(truth.records, names, strict=True):
        path = folder / f"{name}.PNG"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(levels_of(r, 0.5)).save(path)
    maps, files = find_maps(truth, "m", folder)
    assert {truth.records[i]["file_name"]: p.name for i, p in maps.items()} == {
        "x/a_map.jpg": "a_map.PNG",
        "y/é.jpg": "e\u0301_map.PNG",
        "z.jpeg": "z.PNG",
    }
    assert [(f.status, f.file) for f in files if f.status != "ok"] == [
        ("missing", "x/a.png"),
        ("extra", "a_map_.PNG"),
    ]


def test_two_images_of_one_stem_are_refused(tmp_path):
    with pytest.raises(ValueError, match="a.jpg and a.png would have the same map"):
        find_maps(truth_of(tmp_path, ["a.jpg", "a.png"]), "m", tmp_path)


def test_tables_say_what_is_best():
    metrics = {"a|b": {"MAE": 0.1, "maxF": 0.5, "images": 3}, "c": {"MAE": 0.2, "maxF": 0.6}}
    table = markdown_table(metrics).splitlines()
    assert r"a\|b" in table[2] and "**0.1000**" in table[2] and "**0.6000**" in table[3]
    assert table[3].split("|")[4].strip() == "-"
    assert r"\textbf{0.6000}" in latex_table(metrics)
