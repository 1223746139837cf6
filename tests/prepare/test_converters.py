"""Every format becomes a dataset whose masks are those of the source."""

import json
import os
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from converter_data import (
    convert,
    read_back,
    scenes,
    truth,
    write_coco,
    write_index_masks,
    write_labelme,
    write_voc,
    write_yolo,
)
from picture_files import ODD, make_odd
from PIL import Image

from cosal_d2.cli import main
from cosal_d2.data.datasets import load_cosal_json
from cosal_d2.utils.pictures import read_image

pytestmark = pytest.mark.usefixtures("one_thread")


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


@pytest.mark.parametrize(
    ("write", "least_iou"),
    [
        (write_coco, 1.0),
        (write_voc, 1.0),
        (write_index_masks, 1.0),
        (partial(write_index_masks, kind=np.uint16), 1.0),
        (write_labelme, 0.98),
        (write_yolo, 0.98),
    ],
    ids=["coco", "voc", "index", "index16", "labelme", "yolo"],
)
def test_masks_are_those_of_the_source_and_the_repeated_class_is_found(tmp_path, write, least_iou):
    line, expected = write(tmp_path / "in")
    content, found = read_back(convert(tmp_path, line))
    groups = {i["file_name"]: i["cosalient_category"] for i in content["images"]}
    assert found.keys() == expected.keys()
    for file, objects in expected.items():
        assert len(found[file]) == len(objects)
        for name, mask in objects:
            assert max(iou(m, mask) for _, own, m in found[file] if own == name) >= least_iou
        roles = [role for role, _, _ in found[file]]
        assert set(roles) <= {groups[file], "distractor"} and roles.count(groups[file]) >= 2


def test_a_converted_set_keeps_pictures_and_ids_and_is_training_data(tmp_path):
    line, _ = write_coco(tmp_path / "in")
    made = convert(tmp_path, line)
    assert [i["id"] for i in json.loads(made.read_text())["images"]] == [10, 11, 12, 13]
    for i, (picture, _) in enumerate(scenes()):
        with Image.open(made.with_suffix("") / f"{i}.png") as image:
            np.testing.assert_array_equal(np.asarray(image), picture)
    records = load_cosal_json(str(made), str(made.with_suffix("")), "made_by_test")
    assert [sum(a["cosalient"] for a in r["annotations"]) for r in records] == [
        sum(cosalient for _, cosalient, _ in objects) for _, objects in scenes()
    ]


def test_a_selected_set_gives_itself_for_any_number_of_workers(tmp_path):
    line, _ = write_coco(tmp_path / "in")
    first = convert(tmp_path, line)
    again = ["coco", "--json", first, "--images", first.with_suffix(""), "--min-area", "0.001"]
    one = convert(tmp_path / "one", again, "--link")
    two = convert(tmp_path / "two", again, "--link", "--workers", "2")
    assert one.read_bytes() == two.read_bytes()
    source, made = (json.loads(file.read_text()) for file in (first, one))
    assert {**made, "info": None} == {**source, "info": None}
    picture = two.with_suffix("") / "0.png"
    assert picture.is_symlink() and picture.samefile(first.with_suffix("") / "0.png")


def test_max_side_scales_pictures_and_masks(tmp_path):
    line, _ = write_coco(tmp_path / "in")
    made = convert(tmp_path, line, "--max-side", "64")
    content, found = read_back(made)
    assert {(i["height"], i["width"]) for i in content["images"]} == {(48, 64)}
    for i, (picture, objects) in enumerate(scenes()):
        with Image.open(made.with_suffix("") / f"{i}.png") as image:
            halved = picture.reshape(48, 2, 64, 2, 3).mean(axis=(1, 3))
            np.testing.assert_allclose(np.asarray(image), halved, atol=1)
        masks = np.any([m[::2, ::2] for _, cosalient, m in objects if cosalient], axis=0)
        assert iou(truth(found[f"{i}.png"]), masks) > 0.85


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [
        (2, Image.Transpose.FLIP_LEFT_RIGHT),
        (3, Image.Transpose.ROTATE_180),
        (5, Image.Transpose.TRANSPOSE),
        (6, Image.Transpose.ROTATE_270),
        (8, Image.Transpose.ROTATE_90),
    ],
)
def test_masks_of_the_unrotated_picture_are_turned_with_it(tmp_path, orientation, turn):
    line, _ = write_coco(tmp_path / "in")
    picture = tmp_path / "in" / "pictures" / "0.png"
    with Image.open(picture) as image:
        exif = Image.Exif()
        exif[0x0112] = orientation
        image.save(picture, exif=exif)
    content, found = read_back(convert(tmp_path, line))
    marked = np.any([m for _, cosalient, m in scenes()[0][1] if cosalient], axis=0)
    upright = np.asarray(Image.fromarray(marked.astype(np.uint8)).transpose(turn)) > 0
    # A mirrored picture has one size either way: its masks are taken as drawn on the upright one.
    expected = upright if upright.shape != marked.shape else marked
    np.testing.assert_array_equal(truth(found["0.png"]), expected)
    image = content["images"][0]
    assert (image["height"], image["width"]) == expected.shape


def test_a_damaged_picture_stops_or_is_left_out(tmp_path, capsys):
    line, _ = write_coco(tmp_path / "in")
    picture = tmp_path / "in" / "pictures" / "2.png"
    picture.write_bytes(picture.read_bytes()[:-3000])
    assert not convert(tmp_path, line, status=1).exists()
    error = capsys.readouterr().err
    assert str(picture) in error and "--skip-bad" in error
    made = convert(tmp_path, line, "--skip-bad")
    assert [i["file_name"] for i in json.loads(made.read_text())["images"]] == [
        *("0.png", "1.png", "3.png")
    ]
    shown = capsys.readouterr().out
    assert "3 pictures" in shown and "left out: 1 faulty" in shown and str(picture) in shown


@pytest.mark.parametrize(
    ("write", "files"),
    [
        (write_coco, "pictures/{}.png"),
        *[(write_voc, f"{part}/{{}}") for part in ("JPEGImages", "SegmentationClass")],
        (write_index_masks, "images/{}.png"),
        (write_index_masks, "masks/{}.png"),
        (write_labelme, "{}.PNG"),
        (write_labelme, "{}.json"),
        (write_yolo, "images/{}.jpg"),
        (write_yolo, "labels/{}.txt"),
    ],
)
def test_what_is_named_like_a_file_but_is_none_is_left_out_by_name(tmp_path, capsys, write, files):
    line, _ = write(tmp_path / "in")
    suffix = {"JPEGImages/{}": ".jpg", "SegmentationClass/{}": ".png"}.get(files, "")
    odd = dict(zip(("gone", "pipe", "folder"), (1, 2, 3), strict=True))
    for kind, number in odd.items():
        make_odd(tmp_path / "in" / (files.format(number) + suffix), kind)
    made = convert(tmp_path, line, status=1)
    assert len(json.loads(made.read_text())["images"]) == 1
    assert capsys.readouterr().err.split("3 failed:")[1].count("; replace it") == 3
    made = convert(tmp_path, line, "--skip-bad", "--overwrite")
    assert len(json.loads(made.read_text())["images"]) == 1
    shown = capsys.readouterr().out
    assert "left out: 3 faulty" in shown
    for kind, number in odd.items():
        assert f"/{files.format(number)}{suffix}: no " in shown and f", but {ODD[kind]}" in shown


@pytest.mark.parametrize(
    "write", [write_coco, write_voc, write_index_masks, write_labelme, write_yolo]
)
def test_names_that_are_not_utf8_go_all_the_way(tmp_path, write):
    line, _ = write(tmp_path / "in")
    odd = os.fsdecode(b"\xb0\xa1")
    for file in list(tmp_path.rglob("0.*")):
        file.rename(file.with_stem(odd))
    for file in tmp_path.rglob("*.json"):
        file.write_text(file.read_text().replace('"0.', r'"\udcb0\udca1.'))
    for options in ([], ["--link"], ["--max-side", "64"]):
        made = convert(tmp_path, line, "--overwrite", *options)
        records = load_cosal_json(str(made), str(made.with_suffix("")), None)
        (found,) = [r["file_name"] for r in records if odd in r["file_name"]]
        assert read_image(found).ndim == 3 and len(records) == 4
    if write is not write_coco:
        return
    places = ["--report", tmp_path / "report", "--workers", "1"]
    assert main([*map(str, ["data", "check", made, *places])]) == 0
    names = ["--names", "one", "two", "--workers", "1"]
    assert main([*map(str, ["data", "split", made, "--out", tmp_path, *names])]) == 0
    parts = [tmp_path / "cosal" / f"{name}.json" for name in ("one", "two")]
    merged = ["data", "merge", *parts, "--out", tmp_path, "--name", "whole", "--workers", "1"]
    assert main([*map(str, merged)]) == 0
    assert any(odd in file.name for file in (tmp_path / "cosal" / "whole").iterdir())
    assert main(["data", "stats", str(made), "--out", str(tmp_path / "stats.html")]) == 0


@pytest.mark.parametrize("line", ["{}", "{}.jpg", "D:\\voc\\JPEGImages\\{}.jpg", "{} -1"])
def test_a_list_of_voc_has_names_or_paths(tmp_path, line):
    words, _ = write_voc(tmp_path / "in")
    (tmp_path / "list.txt").write_text("".join(line.format(i) + "\r\n" for i in (2, 0, 2)))
    made = convert(tmp_path, [*words, "--list", tmp_path / "list.txt"])
    assert [i["file_name"] for i in json.loads(made.read_text())["images"]] == ["2.jpg", "0.jpg"]


def test_links_to_folders_are_named(tmp_path, caplog):
    line, _ = write_yolo(tmp_path / "in")
    (tmp_path / "in" / "images").rename(tmp_path / "elsewhere")
    (tmp_path / "in" / "images").mkdir()
    for name in ("0.jpg", "1.jpg"):
        (tmp_path / "elsewhere" / name).rename(tmp_path / "in" / "images" / name)
    (tmp_path / "in" / "images" / "more").symlink_to(tmp_path / "elsewhere")
    convert(tmp_path, line)
    assert "images/more: a link to a folder, which is not followed" in caplog.text


def test_a_picture_of_voc_that_is_missing_is_left_out_by_name(tmp_path, capsys):
    line, _ = write_voc(tmp_path / "in")
    (tmp_path / "in" / "JPEGImages" / "1.jpg").unlink()
    convert(tmp_path, line, status=1)
    assert "JPEGImages/1: no such picture, but " in capsys.readouterr().err
    convert(tmp_path, line, "--skip-bad")
    assert "pictures kept: 3; left out: 1 faulty" in capsys.readouterr().out


@pytest.mark.parametrize("stem", ["a" * 251, "\u732b" * 83 + "aa"])
def test_a_name_that_no_folder_takes_is_named(tmp_path, capsys, stem):
    def rename(content):
        content["images"][1]["file_name"] = f"{stem}.bmp"

    line, _ = write_coco(tmp_path / "in", rename)
    with Image.open(tmp_path / "in" / "pictures" / "1.png") as image:
        image.save(tmp_path / "in" / "pictures" / f"{stem}.bmp")
    convert(tmp_path, line)
    convert(tmp_path, line, "--max-side", "64", "--overwrite", status=1)
    assert "left out: 1 faulty" in (shown := capsys.readouterr().out)
    assert f"{stem}.bmp: in the dataset its name would have over 255 bytes" in shown
    content = json.loads((tmp_path / "in" / "pictures.json").read_text())
    content["images"][1]["file_name"] = "https://host/a.png?signature=" + 300 * "x"
    (tmp_path / "in" / "pictures.json").write_text(json.dumps(content))
    convert(tmp_path, line, "--overwrite", status=1)
    assert ": no such picture; " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c["images"][1].pop("file_name"), "images[1] has no `file_name`"),
        (lambda c: c["images"][1].update(height="tall"), "images[1] has the height 'tall'"),
        (lambda c: c["images"][1].update(id=10), "images[1] repeats the id 10"),
        (lambda c: c["images"][1].update(file_name="0.png"), "0.png: two pictures"),
        (lambda c: [a.update(image_id=99) for a in c["annotations"]], "of id 5, of image 99"),
        (lambda c: c["annotations"][0].update(category_id=99), "category_id 99"),
        (lambda c: c["images"][0].update(height=90), "is of size [96, 128]"),
        (lambda c: c.pop("categories"), "`categories` is missing"),
        (lambda c: c.update(annotations=[]), "no picture is left (4 without a group)"),
    ],
)
def test_a_faulty_coco_json_is_named(tmp_path, capsys, change, words):
    line, _ = write_coco(tmp_path / "in", change)
    convert(tmp_path, line, status=1)
    error = capsys.readouterr().err
    assert words in error and ("pictures.json" in error or ".png" in error)
    assert not list(tmp_path.glob("cosal/*"))


@pytest.mark.parametrize("masks", ["rle", "polygons", "flat polygons"])
@pytest.mark.parametrize("size", [(), (0, 0), (None, None), ("0", 0.0), (96, 0)])
def test_a_size_that_coco_lacks_is_the_pictures(tmp_path, masks, size):
    def change(content):
        for image in content["images"]:
            del image["height"], image["width"]
            image.update(zip(("height", "width"), size, strict=False))
        for entry in content["annotations"] if masks != "rle" else ():
            x, y, w, h = entry["bbox"]
            box = [x, y, x + w, y, x + w, y + h, x, y + h]
            entry["segmentation"] = box if masks == "flat polygons" else [box]

    line, expected = write_coco(tmp_path / "in", change)
    content, found = read_back(convert(tmp_path, line))
    assert {(i["height"], i["width"]) for i in content["images"]} == {(96, 128)}
    assert {file: len(objects) for file, objects in found.items()} == {
        file: len(objects) for file, objects in expected.items()
    }


def test_annotations_of_a_picture_that_the_json_lacks_are_left_out(tmp_path, capsys, caplog):
    line, expected = write_coco(tmp_path / "in", lambda c: c["images"].pop(1))
    _, found = read_back(convert(tmp_path, line))
    assert {name: len(objects) for name, objects in found.items()} == {
        name: len(objects) for name, objects in expected.items() if name != "1.png"
    }
    count, first = len(expected["1.png"]), 5 + len(expected["0.png"])
    assert f"shapes left out: {count} of no picture in the json" in capsys.readouterr().out
    said = f"{count} annotations are of no picture in `images` and left out, such as that of id"
    assert f"pictures.json: {said} {first}, of image 11" in caplog.text


def test_ids_of_annotations_may_repeat_in_a_source(tmp_path):
    line, _ = write_coco(tmp_path / "in", lambda c: [a.update(id=1) for a in c["annotations"]])
    ids = [a["id"] for a in json.loads(convert(tmp_path, line).read_text())["annotations"]]
    assert ids == list(range(1, len(ids) + 1))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("-1 0.5 0.5 0.6 0.5 0.6 0.6", "the class -1 is none of --names"),
        ("0 0.5 0.5 0.6 0.5 0.6", "5 coordinates"),
        ("0 0.1 0.1 0.6 0.1 0.6 0.6 0.93", "7 coordinates"),
        ("0 0.1 0.1 0.6 0.1 0.6 0.6 0.93", "may be a confidence (save_conf) or a track id"),
        ("0 0.1 0.1 0.6 0.1 0.6 0.6 0.93 12", "may be a confidence and a track id"),
        ("0 0.5 0.5 0.2 0.2 0.93 12", "may be a confidence and a track id"),
        ("0 50 50 60 50 60 60", "shares of width and height"),
        ("0 0.1 0.1 1.06 0.1 0.6 0.6", "shares of width and height"),
        ("0 0.1 0.1 nan 0.1 0.6 0.6", "shares of width and height"),
        ("0 a", "is not only numbers"),
        ("0 0,1 0,1 0,6 0,1 0,6 0,6", "is not only numbers"),
        ("# by hand", "'# by hand' is not only numbers with blanks between them"),
        ("0 0.1 -0.06 0.6 0.1 0.6 0.6", "from 0 to 1, not -0.06; divide pixels"),
        ("0 \udcff", "no text in UTF-8"),
    ],
)
def test_a_faulty_yolo_line_is_named(tmp_path, capsys, line, words):
    command, _ = write_yolo(tmp_path / "in")
    label = tmp_path / "in" / "labels" / "0.txt"
    label.write_text(f"\n{line}\n", errors="surrogateescape")
    convert(tmp_path, command, status=1)
    error = capsys.readouterr().err
    assert str(label) in error and words in error


def test_preparing_data_loads_neither_torch_nor_detectron2(tmp_path):
    line, _ = write_coco(tmp_path / "in")
    code = (
        "import sys; from cosal_d2.cli import main\n"
        "assert main(['data', *sys.argv[1:]]) == 0\n"
        "assert not {'torch', 'detectron2'} & set(sys.modules)"
    )
    line = [*map(str, line), "--out", str(tmp_path), "--name", "made", "--workers", "1"]
    subprocess.run([sys.executable, "-c", code, *line], check=True)
