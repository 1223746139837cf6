import cv2
import numpy as np
import pytest
import torch
from network_data import TINY, tiny_config, tiny_model
from PIL import Image

from cosal_d2.cli import main
from cosal_d2.data import read_image
from cosal_d2.engine import CoSaliencyCheckpointer
from cosal_d2.inference import CoSaliencyPredictor
from cosal_d2.inference import pipeline as demo_module
from cosal_d2.inference.pipeline import find_pictures, write_result


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    CoSaliencyCheckpointer(tiny_model(), str(folder)).save("model")
    return str(folder / "model.pth")


class Gradient:
    """A predictor that needs no network: brighter from left to right, then from top to bottom."""

    def __init__(self, cfg):
        self.cfg = cfg

    def __call__(self, image):
        h, w = image.shape[:2]
        return np.linspace(0, 1, h * w, dtype=np.float32).reshape(h, w)


@pytest.fixture
def no_network(monkeypatch):
    monkeypatch.setattr(demo_module, "CoSaliencyPredictor", Gradient)


def write_pictures(folder):
    """The kinds that users have; returns the upright size of each by its stem."""
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
    sizes = dict.fromkeys(("colour", "grey", "rgba", "cmyk", "deep"), (30, 44))
    return sizes | {"odd": (37, 23), "rotated": (44, 30)}


def predict(*argv, weights="none.pth"):
    return main(["predict", *map(str, argv), "--opts", *TINY, "MODEL.WEIGHTS", weights])


def test_pictures_of_every_kind_get_a_map_of_their_upright_size(tmp_path, weights):
    sizes = write_pictures(tmp_path / "in")
    out = tmp_path / "out"
    torch.manual_seed(0)  # The encoder is random here, and in no checkpoint.
    assert predict("--input", tmp_path / "in", "--output", out, weights=weights) == 0
    names = {f"{stem}_{kind}.png" for stem in sizes for kind in ("map", "overlay")}
    assert {p.name for p in out.iterdir()} == names
    torch.manual_seed(0)
    predictor = CoSaliencyPredictor(tiny_config("MODEL.WEIGHTS", weights))
    for path in find_pictures([str(tmp_path / "in")]):
        stem = path.rsplit("/", 1)[1].split(".")[0]
        written = cv2.imread(str(out / f"{stem}_map.png"), cv2.IMREAD_UNCHANGED)
        assert written.dtype == np.uint8 and written.shape == sizes[stem]
        assert cv2.imread(str(out / f"{stem}_overlay.png")).shape == (*sizes[stem], 3)
        expected = predictor(read_image(path))
        assert expected.dtype == np.float32 and 0 <= expected.min() <= expected.max() <= 1
        assert np.abs(written - 255.0 * expected).max() <= 0.5001


def test_the_map_of_a_rotated_picture_is_upright(tmp_path, no_network):
    write_pictures(tmp_path / "in")
    assert predict("--input", tmp_path / "in" / "rotated.JPG", "--output", tmp_path / "out") == 0
    written = cv2.imread(str(tmp_path / "out" / "rotated_map.png"), cv2.IMREAD_UNCHANGED)
    p = np.linspace(0, 1, 44 * 30, dtype=np.float32).reshape(44, 30)
    assert np.abs(written - 255.0 * p).max() <= 0.5001


def test_files_folders_and_patterns_are_found_once(tmp_path):
    folder = tmp_path / "a[1]"
    write_pictures(folder)
    (folder / "notes.txt").write_text("no picture")
    everything = find_pictures([str(folder)])
    assert [p.rsplit("/", 1)[1] for p in everything] == [
        *("cmyk.tif", "colour.jpg", "deep.png", "grey.png", "odd.bmp", "rgba.png", "rotated.JPG")
    ]
    one = str(folder / "grey.png")
    pattern = str(tmp_path / "a*" / "*e*.png")
    assert find_pictures([one, pattern, one]) == [one, str(folder / "deep.png")]
    with pytest.raises(FileNotFoundError, match="nowhere.*no such picture"):
        find_pictures([str(tmp_path / "nowhere")])


def test_pictures_of_one_stem_are_refused_before_anything_is_written(tmp_path, capsys, no_network):
    write_pictures(tmp_path / "in")
    Image.new("RGB", (9, 9)).save(tmp_path / "in" / "grey.jpg")
    assert predict("--input", tmp_path / "in", "--output", tmp_path / "out") == 1
    assert "grey.jpg" in (said := "".join(capsys.readouterr())) and "grey.png" in said
    assert "both be written as grey_map.png" in said and not (tmp_path / "out").exists()


def test_an_unreadable_picture_is_named_and_the_others_are_done(tmp_path, capsys, no_network):
    write_pictures(tmp_path / "in")
    content = (tmp_path / "in" / "grey.png").read_bytes()
    (tmp_path / "in" / "broken.png").write_bytes(content[: len(content) // 2])
    assert predict("--input", tmp_path / "in", "--output", tmp_path / "out") == 1
    said = "".join(capsys.readouterr())
    assert "broken.png" in said and "7 of 8 pictures done" in said
    assert len(list((tmp_path / "out").glob("*_map.png"))) == 7
    assert not list((tmp_path / "out").glob("broken*"))


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--input", "nowhere"], "nowhere"),
        (["--input", "PICTURE", "--config-file", "unknown.yaml"], "unknown.yaml"),
        (["--input", "PICTURE"], "no weights at none.pth: set MODEL.WEIGHTS"),
    ],
)
def test_what_cannot_be_started_is_said_in_one_line(tmp_path, capsys, argv, message):
    Image.new("RGB", (9, 9)).save(tmp_path / "picture.png")
    argv = [str(tmp_path / "picture.png") if a == "PICTURE" else a for a in argv]
    assert predict(*argv, "--output", tmp_path / "out") == 1
    said = "".join(capsys.readouterr())
    assert "error: " in said and message in said and "Traceback" not in said


def test_a_result_that_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises((OSError, cv2.error)):
        write_result(
            str(tmp_path / "missing" / "x"), np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4))
        )
