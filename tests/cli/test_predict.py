"""`cosal predict`: its options, and pictures of every kind through a tiny network."""

import io
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from network_data import GROUPED, TINY, tiny_config, tiny_model
from PIL import Image
from prediction_data import StandIn, annotated, rows, write_pictures

from cosal_d2.cli import main
from cosal_d2.config import RESULTS
from cosal_d2.engine import CoSaliencyCheckpointer
from cosal_d2.inference import CoSaliencyPredictor
from cosal_d2.utils.pictures import read_image

SIZES = dict.fromkeys(("colour", "grey", "rgba", "cmyk", "deep"), (30, 44))
SIZES |= {"odd": (37, 23), "rotated": (44, 30)}
TINY_GROUPED = [*TINY, *GROUPED]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    CoSaliencyCheckpointer(tiny_model(*GROUPED), str(folder)).save("model")
    return str(folder / "model.pth")


@pytest.fixture
def folder(tmp_path):
    """The kinds of pictures that users have; ``SIZES`` are their upright sizes."""
    folder = tmp_path / "in[1]"
    folder.mkdir()
    rgb = np.random.default_rng(0).integers(0, 256, (30, 44, 3), dtype=np.uint8)
    image = Image.fromarray(rgb)
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(folder / "colour.jpg")
    image.convert("L").save(folder / "grey.png")
    Image.fromarray(np.dstack([rgb, rgb[:, :, 0]])).save(folder / "rgba.png")
    image.convert("CMYK").save(folder / "cmyk.tif")
    cv2.imwrite(str(folder / "deep.png"), rgb[:, :, 0].astype(np.uint16) * 257)
    image.resize((23, 37)).save(folder / "odd.bmp")
    image.save(folder / "rotated.JPG", exif=exif)
    (folder / "notes.txt").write_text("no picture")
    return folder


@pytest.fixture
def stand_in(monkeypatch):
    """Predictors without a network, in the order in which they are made."""
    made = []

    def make(cfg, **options):
        made.append(StandIn(cfg, **options))
        return made[-1]

    monkeypatch.setattr("cosal_d2.inference.CoSaliencyPredictor", make)
    return made


def predict(*argv, opts=TINY_GROUPED):
    config = ["--config-file", "cosal_vgg16.yaml"]  # which TINY is made for
    return main(["predict", *config, *map(str, argv), "--opts", *map(str, opts)])


def names(folder):
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def read(path):
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def test_pictures_of_every_kind_get_every_result_at_their_upright_size(
    folder, tmp_path, weights, capsys
):
    out, opts = tmp_path / "out", [*TINY_GROUPED, "MODEL.WEIGHTS", weights]
    everything = ["--save", "map,mask,overlay,cutout,objects,json,csv"]
    torch.manual_seed(0)  # The encoder is random here, and in no checkpoint.
    assert predict("--input", folder, "--output", out, *everything, opts=opts) == 0
    written = capsys.readouterr()
    assert written.out == f"7 of 7 pictures done, results in {out}\n"
    assert "passed over: 1 .txt" in written.err
    torch.manual_seed(0)
    predictor = CoSaliencyPredictor(tiny_config(*opts[len(TINY) :]))
    found = {}
    for path in folder.glob("*.*"):
        if path.suffix == ".txt":
            continue
        result = predictor(read_image(path))
        found[path.name] = len(result.instances)
        pixels = {k: read(out / f"{path.stem}_{k}.png") for k in ("map", "overlay", "cutout")}
        size = SIZES[path.stem]
        shapes = {"map": size, "overlay": (*size, 3), "cutout": (*size, 4)}
        assert {k: v.shape for k, v in pixels.items()} == shapes
        assert np.abs(pixels["map"] - 255.0 * result.map).max() <= 0.5001
        mask = read(out / f"{path.stem}_mask.png")
        assert mask.shape == size and set(np.unique(mask)) <= {0, 255}
        assert len(list(out.glob(f"{path.stem}_object_*.png"))) == found[path.name]
    assert annotated(out) == found
    assert {row["name"] for row in rows(out)} == set(found)


def test_maps_and_overlays_are_what_is_saved_by_default(tmp_path, stand_in, capsys):
    folder = write_pictures(tmp_path / "in", 2)
    assert predict("--input", folder, "--output", tmp_path / "out") == 0
    assert names(tmp_path / "out") == {
        f"{stem}_{kind}.png" for stem in ("00", "01") for kind in ("map", "overlay")
    }


def test_the_tree_of_a_folder_is_kept(tmp_path, stand_in):
    folder = write_pictures(tmp_path / "in", 1)
    write_pictures(folder / "x" / "y", 1)
    arguments = ["--input", folder, "--output", folder / "out", "--recursive", "--save"]
    for _ in range(2):
        assert predict(*arguments, "map,json,csv") == 0
        assert names(folder / "out") == {
            *("00_map.png", "x/y/00_map.png", "objects.json", "objects.jsonl", "counts.csv")
        }
    assert set(annotated(folder / "out")) == {"00.png", "x/y/00.png"}


def test_lists_of_pictures(tmp_path, stand_in, monkeypatch, capsys):
    folder = write_pictures(tmp_path / "in", 3)
    (tmp_path / "list.txt").write_text(f"{folder}/00.png\n{folder}/none.png\n")
    list_file = f"@{tmp_path}/list.txt"
    assert predict("--input", list_file, "--output", tmp_path / "a", "--save", "map") == 1
    written = capsys.readouterr()
    assert f"list.txt, line 2: {folder}/none.png: no such picture" in written.err
    assert written.out.startswith("1 of 1 pictures done")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(f"{folder}/02.png".encode())))
    assert predict("--input", "-", "--output", tmp_path / "b", "--save", "map") == 0
    assert names(tmp_path / "a") == {"00_map.png"} and names(tmp_path / "b") == {"02_map.png"}


@pytest.mark.parametrize("option", ["--threshold", "--confidence-threshold"])
def test_a_threshold_is_that_of_the_mask(tmp_path, stand_in, option):
    folder = write_pictures(tmp_path / "in", 1)
    arguments = ["--input", folder, "--output", tmp_path / "out", "--save", "map,mask"]
    assert predict(*arguments, option, "0.25") == 0
    soft, mask = (read(tmp_path / "out" / f"00_{kind}.png") for kind in ("map", "mask"))
    assert np.array_equal(mask, np.where(soft >= 64, 255, 0)) and len(np.unique(soft)) > 200


def test_what_is_done_is_skipped_when_told(tmp_path, stand_in, capsys):
    folder = write_pictures(tmp_path / "in", 4, broken=(2,))
    arguments = ["--input", folder, "--output", tmp_path / "out", "--save", "map,json"]
    assert predict(*arguments) == 1
    (tmp_path / "out" / "01_map.png").unlink()
    capsys.readouterr()
    assert predict(*arguments, "--skip-existing") == 1
    written = capsys.readouterr()
    assert written.out.startswith("3 of 4 pictures done (2 by an earlier run)")
    assert written.err.count("02.png as a picture") == 2  # when it is found, and at the end
    assert stand_in[1].batches == [1]
    assert sorted(annotated(tmp_path / "out")) == ["00.png", "01.png", "03.png"]
    assert predict(*arguments) == 1 and stand_in[2].batches == [1] * 3


def test_a_broken_picture_is_named_at_the_end_and_the_others_are_done(tmp_path, stand_in, capsys):
    folder = write_pictures(tmp_path / "in", 12, broken=(1, 5))
    (folder / "empty.jpg").touch()
    assert predict("--input", folder, "--output", tmp_path / "out", "--save", "map") == 1
    written = capsys.readouterr()
    assert written.out.startswith("10 of 13 pictures done")
    summary = written.err.split("3 failed:\n")[1].splitlines()
    for line, name in zip(summary, ("01.png", "05.png", "empty.jpg"), strict=True):
        assert f"cannot read {folder}/{name} as a picture" in line
    assert len(names(tmp_path / "out")) == 10


def test_odd_files_are_named_and_the_run_goes_on(tmp_path, stand_in, capfd):
    folder = write_pictures(tmp_path / "in", 2)
    content = (folder / "00.png").read_bytes()
    for name in (b"\xb0\xa1.png", b"a" * 245 + b".png", b"00.bmp"):
        Path(os.fsdecode(os.path.join(os.fsencode(folder), name))).write_bytes(content)
    (folder / "folder.jpg").mkdir()
    (folder / "circle.jpg").symlink_to("circle.jpg")
    os.mkfifo(folder / "pipe.jpg")
    assert (
        predict("--input", folder, "--output", tmp_path / "out", "--save", ",".join(RESULTS)) == 1
    )
    written = capfd.readouterr()
    assert written.out.startswith("4 of 5 pictures done")
    summary = written.err.split("4 failed:\n")[1]
    for name in ("folder.jpg", "circle.jpg", "pipe.jpg", f"{'a' * 245}.png"):
        assert summary.count(name) == 1
    found = {"00.bmp", "00.png", "01.png", f"{'a' * 245}.png", os.fsdecode(b"\xb0\xa1.png")}
    assert {row["name"] for row in rows(tmp_path / "out")} == found
    assert set(annotated(tmp_path / "out")) == found
    assert {"00.bmp_map.png", "00.png_map.png", "01_map.png"} < names(tmp_path / "out")
    (folder / "gone\udcff.jpg").symlink_to(os.fsdecode(b"\xff"))
    more = ["--input", folder, "--output", tmp_path / "out", "--save", "map", "--skip-existing"]
    assert predict(*more) == 1
    assert "4 of 5 pictures done (5 by an earlier run)" not in capfd.readouterr().out


def test_options_reach_the_predictor(tmp_path, stand_in):
    folder = write_pictures(tmp_path / "in", 3)
    arguments = ["--input", folder, "--output", tmp_path / "out", "--like", "1,2.5,9,8"]
    arguments += ["--batch", "2", "--size", "128", "--device", "cpu", "--dtype", "bfloat16"]
    arguments += ["--tiles", "3"]
    assert predict(*arguments) == 0
    (made,) = stand_in
    assert made.batches == [2, 1] and made.like[0] == [(1, 2.5, 9, 8)] * 2
    assert made.tiles == [3, 3] and made.asked == ("cpu", "bfloat16", 128)


def test_videos_and_cameras_go_their_own_way(tmp_path, stand_in, monkeypatch, capsys):
    calls = []
    module = "cosal_d2.inference.video.predict_video"
    monkeypatch.setattr(module, lambda *args, **options: calls.append((args, options)) or 7)
    arguments = ["--output", "out", "--smoothing", "0.5", "--tiles", "2"]
    assert predict("--video", "a.mp4", *arguments) == 0
    assert predict("--video-input", "a.mp4", "--output", "out") == 0
    assert predict("--webcam") == 0
    assert predict("--webcam", "2") == 0
    assert [args[0].keywords["tiles"] for args, _ in calls] == [2, 1, 1, 1]
    assert [args[1:] for args, _ in calls] == [("a.mp4", "out")] * 2 + [(0, None), (2, None)]
    assert [options["smoothing"] for _, options in calls] == [0.5, 0.0, 0.0, 0.0]
    assert capsys.readouterr().out == "7 frames done\n" * 4


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--input", "nowhere"], "nowhere"),
        (["--input", "PICTURE", "--config-file", "unknown.yaml"], "unknown.yaml"),
        (["--input", "PICTURE"], "no weights at none.pth: set MODEL.WEIGHTS"),
        (["--input", "PICTURE", "--device", "cuda"], "device cuda: torch finds no GPU"),
        (["--input", "PICTURE", "--opts-device"], "device cuda: torch finds no GPU"),
        (["--video", "gone.mp4"], "no such video: gone.mp4"),
        (["--input", "PICTURE", "--output", "PICTURE/x"], "no folder; give one"),
        (["--input", "PICTURE", "--threshold", "0.5"], "add mask to --save"),
        (["--input", "PICTURE", "--smoothing", "0.5"], "--smoothing is of a video"),
        (["--video", "a.mp4", "--skip-existing"], "--skip-existing is of pictures; leave it out"),
        (["--video", "a.mp4", "--save", "map"], "--save is of pictures; leave it out"),
        (["--webcam"], "--output is of files: a camera's frames are only shown"),
    ],
)
def test_what_cannot_be_started_is_said_in_one_line(
    folder, tmp_path, capsys, argv, message, monkeypatch
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    argv = [a.replace("PICTURE", str(folder / "grey.png")) for a in argv]
    opts = [*TINY_GROUPED]
    if "--opts-device" in argv:
        argv.remove("--opts-device")
        opts += ["MODEL.DEVICE", "cuda"]
    elif "--device" not in argv:
        opts += ["MODEL.WEIGHTS", "none.pth"]
    argv = ["--output", str(tmp_path / "out"), *argv]
    assert predict(*argv, opts=opts) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("cosal: error: ") and message in line
    assert not (tmp_path / "out").exists()


def test_pictures_need_an_output(folder, capsys):
    assert predict("--input", folder) == 1
    assert "--output is missing: give a folder" in capsys.readouterr().err


def test_a_network_that_finds_no_objects_says_so_before_anything_is_computed(
    folder, tmp_path, stand_in, capsys
):
    arguments = ["--input", folder, "--output", tmp_path / "out", "--save", "map,objects,csv"]
    assert predict(*arguments, "--like", "1,1,5,5", "--tiles", "2", opts=TINY) == 1
    assert "--save objects, --save csv, --like, --tiles: " in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert stand_in[0].batches == []


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--threshold", "1.5"], "1.5 is not between 0 and 1"),
        (["--save", "map,boxes"], "'boxes': give any of map,mask,overlay,cutout,objects,json,csv"),
        (["--like", "9,2,1,8"], "9,2,1,8: give x0,y0,x1,y1 with x0 < x1 and y0 < y1"),
        (["--like", "1,2,3"], "give x0,y0,x1,y1"),
        (["--like", "1,2,3,x"], "'x' is no number"),
        (["--batch", "0"], "0 is less than 1"),
        (["--batch", "1.5"], "'1.5' is no whole number"),
        (["--size", "-3"], "-3 is less than 1"),
        (["--video", "a.mp4"], "not allowed with argument --input"),
    ],
)
def test_values_out_of_range_are_refused(tmp_path, capsys, argv, message):
    with pytest.raises(SystemExit):
        predict("--input", "x.png", "--output", tmp_path, *argv)
    assert message in capsys.readouterr().err


def test_device_and_precision_are_said_once(folder, tmp_path, weights, caplog):
    opts = [*TINY_GROUPED, "MODEL.WEIGHTS", weights]
    with caplog.at_level(logging.INFO):
        assert predict("--input", folder, "--output", tmp_path / "out", opts=opts) == 0
    said = [r.getMessage() for r in caplog.records if r.name.startswith("cosal_d2.inference")]
    assert said == [f"cosal_vgg16, weights {weights}: computing on cpu in float32"]


def run(*argv, cwd):
    """`cosal predict` in a process of its own, which then prints which heavy modules it has."""
    code = (
        "import sys; from cosal_d2.cli import main; status = main(sys.argv[1:])\n"
        "print(sorted({'torch', 'detectron2', 'scipy', 'matplotlib'} & set(sys.modules)))\n"
        "sys.exit(status)"
    )
    command = [sys.executable, "-c", code, "predict", *map(str, argv)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize(
    "argv",
    [
        ("--input", "nowhere", "--output", "out"),
        ("--input", "a.png", "--output", "a.png/out"),
        ("--input", "a.png", "--output", "out", "--config-file", "none.yaml"),
        ("--input", "a.png", "--output", "out", "--opts", "MODEL.WEIGHTS", "none.pth"),
        ("--video", "none.mp4", "--output", "out"),
    ],
)
def test_what_is_not_there_is_said_before_anything_heavy_is_imported(tmp_path, argv):
    (tmp_path / "a.png").touch()
    done = run(*argv, cwd=tmp_path)
    assert done.returncode == 1 and done.stderr.startswith("cosal: error: ")
    assert len(done.stderr.splitlines()) == 1
    assert "torch" not in done.stdout and "matplotlib" not in done.stdout
    assert argv[0] == "--video" or done.stdout == "[]\n"


def test_a_run_says_one_line_of_itself_and_nothing_else(folder, tmp_path, weights):
    opts = [*TINY_GROUPED, "MODEL.WEIGHTS", weights]
    argv = ["--input", folder / "grey.png", "--output", "out", "--config-file"]
    done = run(*argv, "cosal_vgg16.yaml", "--opts", *opts, cwd=tmp_path)
    assert done.stdout.startswith("1 of 1 pictures done, results in out\n")
    line = f"cosal_vgg16, weights {weights}: computing on cpu in float32\n"
    assert done.returncode == 0 and done.stderr == line


def test_objects_json_is_json(tmp_path, stand_in):
    folder = write_pictures(tmp_path / "in", 2)
    assert predict("--input", folder, "--output", tmp_path / "out", "--save", "json") == 0
    content = json.loads((tmp_path / "out" / "objects.json").read_text())
    assert set(content) == {"categories", "images", "annotations"}
