"""Sprites out of fonts and picture folders, and the command that takes them."""

from pathlib import Path

import matplotlib
import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from PIL import Image

from cosal_d2.cli import main
from cosal_d2.prepare.composites import emoji
from cosal_d2.prepare.composites.emoji import MIN_SIDE, code_point, font_sprites, is_pictograph
from cosal_d2.prepare.composites.sources import sprite_cutouts

APPLE, PEAR, CLOCK, SKIN, LETTER, DOT, PLAIN = (
    *(0x1F34E, 0x1F350, 0x1F551, 0x1F3FD, 0x41, 0x2600, 0x2601),
)
RED, GREEN = (200, 100, 50), (20, 180, 90)


def run(out, *arguments):
    return main(["data", "sprites", "--out", str(out), *map(str, arguments)])


def polygon(*corners):
    pen = TTGlyphPen(None)
    pen.moveTo(corners[0])
    for corner in corners[1:]:
        pen.lineTo(corner)
    pen.closePath()
    return pen.glyph()


@pytest.fixture(scope="module")
def font(tmp_path_factory):
    """A colour font: wedges of 800 units, a dot of 100; one glyph without colour."""
    wedge = polygon((100, 0), (100, 800), (900, 0))
    codes = (APPLE, PEAR, CLOCK, SKIN, LETTER)
    glyphs = {".notdef": polygon((0, 0), (0, 700), (700, 700), (700, 0))}
    glyphs |= {f"g{code:x}": wedge for code in (*codes, PLAIN)}
    glyphs[f"g{DOT:x}"] = polygon((0, 0), (0, 100), (100, 100), (100, 0))
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(list(glyphs))
    builder.setupCharacterMap({int(name[1:], 16): name for name in glyphs if name != ".notdef"})
    builder.setupGlyf(glyphs)
    builder.setupHorizontalMetrics(dict.fromkeys(glyphs, (1000, 0)))
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": "Test", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    colours = dict.fromkeys(codes, 0) | {PEAR: 1, DOT: 0}
    builder.setupCOLR({f"g{code:x}": [(f"g{code:x}", i)] for code, i in colours.items()})
    palette = [tuple(v / 255 for v in (*colour, 255)) for colour in (RED, GREEN)]
    builder.setupCPAL([palette])
    file = tmp_path_factory.mktemp("fonts") / "Wedges.ttf"
    builder.save(file)
    return file


@pytest.fixture
def few_pictographs(monkeypatch):
    """Look into a part of the code points only: a font takes seconds to look through."""
    ranges = ((DOT, PLAIN), (0x1F340, 0x1F360), (0x1F3F8, 0x1F400), (0x1F548, 0x1F568))
    monkeypatch.setattr(emoji, "PICTOGRAPHS", ranges)


def picture(file, colour=RED, size=80, margin=10):
    pixels = np.zeros((size + 2 * margin, size + 2 * margin, 4), np.uint8)
    pixels[margin : margin + size, margin : margin + size] = (*colour, 255)
    Image.fromarray(pixels).save(file)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "assets"
    folder.mkdir()
    return folder


@pytest.mark.parametrize(
    ("stem", "code"),
    [
        ("1f34e", APPLE),
        ("1F34E", APPLE),
        ("u1f34e", APPLE),
        ("U+1F34E", APPLE),
        ("emoji_u1f34e", APPLE),
        ("2600-fe0f", 0x2600),
        ("2600_fe0f", 0x2600),
        ("1f44d-1f3fd", None),
        ("1f468-200d-1f33e", None),
        ("1f1e9-1f1ea", None),
        ("0031-fe0f-20e3", None),
        ("00a9-fe0f", None),
        ("1f3fd", None),
        ("1f170", None),
        ("1f520", None),
        ("1f550", None),
        ("apple", None),
        ("1f34e (copy)", None),
        ("", None),
    ],
)
def test_names_are_one_pictograph_or_nothing(stem, code):
    assert code_point(stem) == code


def test_clock_faces_are_left_out_but_not_their_neighbours():
    clocks = [c for c in range(0x1F54F, 0x1F569) if not is_pictograph(c)]
    assert clocks == list(range(0x1F550, 0x1F568))


def test_a_font_gives_its_coloured_pictographs_cut_to_what_is_visible(font):
    sprites = dict(font_sprites(font))
    assert list(sprites) == [APPLE, PEAR]
    for code, colour in ((APPLE, RED), (PEAR, GREEN)):
        pixels = sprites[code].astype(int)
        # 800 of 1000 units at 109 pixels an em.
        assert abs(np.array(pixels.shape[:2]) - 87).max() <= 1
        alpha = pixels[:, :, 3]
        assert (alpha[:, 1] > 200).mean() > 0.9 and (alpha[:40, 60:] == 0).all()
        soft = (alpha > 60) & (alpha < 200)
        # The slanted edge has the colour of the inside, not a dark rim.
        assert soft.sum() > 40 and abs(pixels[alpha > 60][:, :3] - colour).max() <= 4


@pytest.mark.usefixtures("few_pictographs")
def test_a_font_without_colours_is_refused(tmp_path, capsys):
    plain = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    assert run(tmp_path / "out", "--font", plain) == 1
    assert "DejaVuSans.ttf has no colour emoji" in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.usefixtures("few_pictographs")
def test_font_and_folder_give_instances_of_the_same_classes(font, folder, tmp_path, capsys):
    picture(folder / "1f34e.png")
    picture(folder / "1f347-fe0f.webp")
    picture(folder / "1f347.png", GREEN)
    picture(folder / "1f348.png", size=MIN_SIDE - 1)
    picture(folder / "1f44d-1f3fd.png")
    (folder / "notes.txt").write_text("no picture")
    out = tmp_path / "sprites"
    assert run(out, "--font", font, "--images", folder) == 0
    files = sorted(p.relative_to(out).as_posix() for p in out.rglob("*.*"))
    assert files == [
        *("Wedges/1f34e.png", "Wedges/1f350.png", "assets/1f347.png", "assets/1f34e.png")
    ]
    with Image.open(out / "assets" / "1f34e.png") as sprite:
        assert (sprite.mode, sprite.size) == ("RGBA", (80, 80))
    printed = capsys.readouterr().out
    assert "Wedges: 2 sprites" in printed and "3 classes, 1 with several" in printed
    (out / "._1f34e.png").write_bytes(b"what macOS leaves beside a copied file")
    (out / ".trash").mkdir()
    (out / ".trash" / "1f34e.png").write_bytes(b"")
    classes = sprite_cutouts(out)
    assert {name: len(found) for name, found in classes.items()} == {
        "sprite/1f347": 1,
        "sprite/1f34e": 2,
        "sprite/1f350": 1,
    }


@pytest.mark.usefixtures("few_pictographs")
def test_existing_sprites_stay_unless_overwritten(font, folder, tmp_path, capsys):
    out = tmp_path / "sprites"
    (out / "Wedges").mkdir(parents=True)
    (out / "Wedges" / "mine.png").write_bytes(b"mine")
    (out / "other").mkdir()
    assert run(out, "--font", font) == 1
    assert "Wedges: exists already" in capsys.readouterr().err
    picture(folder / "nothing.png")
    assert run(out, "--font", font, "--images", folder, "--overwrite") == 1
    assert [p.name for p in (out / "Wedges").iterdir()] == ["mine.png"]
    assert run(out, "--font", font, "--overwrite") == 0
    assert sorted(p.name for p in (out / "Wedges").iterdir()) == ["1f34e.png", "1f350.png"]
    assert sorted(p.name for p in out.iterdir()) == ["Wedges", "other"]


def test_unusable_sources_are_named(folder, tmp_path, capsys):
    (folder / "bad.ttf").write_bytes(b"no font")
    for arguments, named in [
        ([], "give --font or --images"),
        (["--font", folder / "bad.ttf"], "bad.ttf cannot be opened"),
        (["--images", folder], "assets has no colour emoji"),
        (["--images", folder, folder], "two sources are named 'assets'"),
        (["--font", tmp_path / "none.ttf"], "none.ttf: no such font"),
        (["--images", tmp_path / "none"], "none: no such folder"),
    ]:
        assert run(tmp_path / "out", *arguments) == 1
        assert named in capsys.readouterr().err


def test_unusable_pictures_are_named(folder, tmp_path, capsys):
    Image.new("RGB", (80, 80)).save(folder / "1f34e.png")
    assert run(tmp_path / "out", "--images", folder) == 1
    assert "1f34e.png has no alpha" in capsys.readouterr().err
    (folder / "1f34e.png").write_bytes(b"no picture")
    assert run(tmp_path / "out", "--images", folder) == 1
    assert "1f34e.png is not readable" in capsys.readouterr().err
