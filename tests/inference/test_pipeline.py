"""`cosal predict`, and the functions under it."""

import os

import cv2
import numpy as np
import pytest
import torch
from network_data import TINY, tiny_config, tiny_model
from PIL import Image

from cosal_d2.cli import main
from cosal_d2.engine import CoSaliencyCheckpointer
from cosal_d2.inference import CoSaliencyPredictor
from cosal_d2.inference.pipeline import find_pictures, predict_pictures
from cosal_d2.utils.pictures import read_image


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    CoSaliencyCheckpointer(tiny_model(), str(folder)).save("model")
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


SIZES = dict.fromkeys(("colour", "grey", "rgba", "cmyk", "deep"), (30, 44))
SIZES |= {"odd": (37, 23), "rotated": (44, 30)}


def gradient(image):
    """A predictor that needs no network: brighter from left to right, then from top to bottom."""
    h, w = image.shape[:2]
    return np.linspace(0, 1, h * w, dtype=np.float32).reshape(h, w)


def predict(*argv, weights="none.pth"):
    return main(["predict", *map(str, argv), "--opts", *TINY, "MODEL.WEIGHTS", weights])


def read_map(folder, stem):
    return cv2.imread(str(folder / f"{stem}_map.png"), cv2.IMREAD_UNCHANGED)


def test_pictures_of_every_kind_get_a_map_of_their_upright_size(folder, tmp_path, weights, capsys):
    out = tmp_path / "out"
    torch.manual_seed(0)  # The encoder is random here, and in no checkpoint.
    assert predict("--input", folder, "--output", out, "--device", "cpu", weights=weights) == 0
    assert "7 of 7 pictures done" in capsys.readouterr().out
    names = {f"{stem}_{kind}.png" for stem in SIZES for kind in ("map", "overlay")}
    assert {p.name for p in out.iterdir()} == names
    torch.manual_seed(0)
    predictor = CoSaliencyPredictor(tiny_config("MODEL.WEIGHTS", weights))
    for path in find_pictures([str(folder)], str(out / "other")):
        stem = path.rsplit("/", 1)[1].split(".")[0]
        written = read_map(out, stem)
        assert written.dtype == np.uint8 and written.shape == SIZES[stem]
        assert cv2.imread(str(out / f"{stem}_overlay.png")).shape == (*SIZES[stem], 3)
        expected = predictor(read_image(path)).map
        assert expected.dtype == np.float32 and 0 <= expected.min() <= expected.max() <= 1
        assert np.abs(written - 255.0 * expected).max() <= 0.5001


def test_a_threshold_makes_the_map_binary(folder, tmp_path):
    paths = find_pictures([str(folder / "rotated.JPG")], str(tmp_path))
    predict_pictures(gradient, paths, str(tmp_path), threshold=0.25)
    p = np.linspace(0, 1, 44 * 30, dtype=np.float32).reshape(44, 30)
    assert np.array_equal(read_map(tmp_path, "rotated"), np.where(p >= 0.25, 255, 0))


def test_files_folders_and_patterns_are_found_once(folder, tmp_path):
    everything = find_pictures([str(folder)], "out")
    assert [p.rsplit("/", 1)[1] for p in everything] == [
        *("cmyk.tif", "colour.jpg", "deep.png", "grey.png", "odd.bmp", "rgba.png", "rotated.JPG")
    ]
    one = str(folder / "grey.png")
    for pattern in (tmp_path / "in*" / "*e*.png", tmp_path / "**" / "*e*.png"):
        assert find_pictures([one, str(pattern), one], "out") == [one, str(folder / "deep.png")]
    with pytest.raises(FileNotFoundError, match="nowhere.*no such picture"):
        find_pictures([str(tmp_path / "nowhere")], "out")


def test_pictures_of_one_stem_are_refused(folder):
    Image.new("RGB", (9, 9)).save(folder / "grey.jpg")
    with pytest.raises(ValueError, match="grey.jpg and .*grey.png would both be written as grey_m"):
        find_pictures([str(folder)], "out")


def test_no_picture_is_overwritten_by_a_result(folder, tmp_path):
    Image.new("RGB", (9, 9)).save(folder / "grey_overlay.png")
    link = tmp_path / "link"
    link.symlink_to(folder)
    for output in (folder, link):
        with pytest.raises(ValueError, match="grey.png would overwrite .*grey_overlay.png"):
            find_pictures([str(folder)], str(output))
    assert find_pictures([str(folder / "grey.png")], str(folder)) == [str(folder / "grey.png")]


def test_names_that_are_not_utf8_are_written(folder, tmp_path):
    name = os.path.join(os.fsencode(folder), b"caf\xe9.png")
    os.rename(folder / "grey.png", name)
    paths = find_pictures([os.fsdecode(name)], str(tmp_path))
    assert predict_pictures(gradient, paths, str(tmp_path)) == []
    assert {b"caf\xe9_map.png", b"caf\xe9_overlay.png"} < set(os.listdir(os.fsencode(tmp_path)))


def test_an_unreadable_picture_is_named_and_the_others_are_done(folder, tmp_path, capsys, weights):
    content = (folder / "grey.png").read_bytes()
    (folder / "broken.png").write_bytes(content[: len(content) // 2])
    out = tmp_path / "out"
    assert predict("--input", folder, "--output", out, weights=weights) == 1
    output = capsys.readouterr()
    assert "broken.png" in output.err and "7 of 8 pictures done" in output.out
    assert {p.name for p in out.glob("*_map.png")} == {f"{stem}_map.png" for stem in SIZES}


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--input", "nowhere"], "nowhere"),
        (["--input", "PICTURE", "--config-file", "unknown.yaml"], "unknown.yaml"),
        (["--input", "PICTURE"], "no weights at none.pth: set MODEL.WEIGHTS"),
        (["--input", "PICTURE", "--device", "cuda"], "--device cuda: torch finds no GPU"),
    ],
)
def test_what_cannot_be_started_is_said_in_one_line(
    folder, tmp_path, capsys, argv, message, monkeypatch
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    argv = [str(folder / "grey.png") if a == "PICTURE" else a for a in argv]
    assert predict(*argv, "--output", tmp_path / "out") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("cosal: error: ") and message in line
    assert not (tmp_path / "out").exists()


def test_a_threshold_outside_0_to_1_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        predict("--input", "x.png", "--output", tmp_path, "--confidence-threshold", "1.5")
    assert "1.5 is not between 0 and 1" in capsys.readouterr().err
