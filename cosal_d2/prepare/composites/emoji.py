"""Sprites for composites: colour emoji of a font, or of pictures named by code points."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cosal_d2.prepare.composites.sources import SPRITE_SUFFIXES, read_rgba
from cosal_d2.prepare.target import install
from cosal_d2.utils.files import check_apart

MIN_SIDE = 60  # pixels
FAINT = 30  # of 255: alpha up to here is no part of a sprite's box
# Pixels an em; a bitmap font has one of them only: Noto Color Emoji 109, Apple Color Emoji 160.
FONT_SIZES = (109, 160, 136, 128, 96)
INK = (255, 0, 255)  # a glyph that takes it on has no colour of its own
PICTOGRAPHS = ((0x2600, 0x2BFF), (0x1F000, 0x1F0FF), (0x1F300, 0x1FAFF))
LEFT_OUT = (
    (0x1F3FB, 0x1F3FF),  # skin tones
    (0x1F51F, 0x1F524),  # a keycap and letters
    (0x1F550, 0x1F567),  # clock faces
)
VARIATION = 0xFE0F


def is_pictograph(code: int) -> bool:
    """Whether a code point shows a thing: no letter, flag part, keycap, skin tone or clock face."""
    kept = any(low <= code <= high for low, high in PICTOGRAPHS)
    return kept and not any(low <= code <= high for low, high in LEFT_OUT)


def code_point(stem: str) -> int | None:
    """The pictograph that a file is named after, None for a sequence or anything else.

    Names are hexadecimal code points joined by ``-`` or ``_``, in the ways in use: ``1f34e``,
    ``U+1F34E``, ``emoji_u1f34e``, ``2600-fe0f``.
    """
    name = re.sub(r"^(emoji_)?(u\+?)?", "", stem.lower())
    if not re.fullmatch(r"[0-9a-f]{2,6}([-_][0-9a-f]{2,6})*", name):
        return None
    codes = [int(part, 16) for part in re.split("[-_]", name)]
    codes = [code for code in codes if code != VARIATION]
    return codes[0] if len(codes) == 1 and is_pictograph(codes[0]) else None


def _cropped(rgba: np.ndarray) -> np.ndarray | None:
    """RGBA pixels cut to what is visible of them, None where that is less than `MIN_SIDE`."""
    x, y, w, h = cv2.boundingRect((rgba[:, :, 3] > FAINT).astype(np.uint8))
    return None if min(w, h) < MIN_SIDE else rgba[y : y + h, x : x + w]


def font_sprites(file: Path) -> Iterator[tuple[int, np.ndarray]]:
    """The coloured pictographs of a font, ascending.

    Yields:
        code point and uint8 RGBA (H, W, 4), cut to what is visible.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a font, or none of its usual bitmap sizes is known here.
    """
    font = _open_font(file)
    missing = _render(font, chr(0x10FFFF))
    for low, high in PICTOGRAPHS:
        for code in filter(is_pictograph, range(low, high + 1)):
            pixels = _render(font, chr(code))
            if np.array_equal(pixels, missing) or not _is_coloured(pixels):
                continue
            sprite = _cropped(pixels)
            if sprite is not None:
                yield code, sprite


def folder_sprites(folder: Path) -> Iterator[tuple[int, np.ndarray]]:
    """The pictographs among the PNG and WebP files of a folder, as `font_sprites` gives them.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: a file is no picture or has no alpha.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; give a folder of pictures to --images")
    done = set()
    for file in sorted(p for p in folder.iterdir() if p.suffix.lower() in SPRITE_SUFFIXES):
        code = code_point(file.stem)
        if code is None or code in done:
            continue
        sprite = _cropped(read_rgba(file))
        if sprite is not None:
            done.add(code)
            yield code, sprite


def write_sprites(
    out: Path, fonts: Sequence[Path] = (), folders: Sequence[Path] = (), overwrite: bool = False
) -> dict[str, list[str]]:
    """Write `OUT/SOURCE/CODE.png`, a folder for each font and folder of pictures, by its name.

    Files are written to a hidden folder; the new folders take their places when all are complete.

    Args:
        out: made when missing; folders of other names in it stay.
        fonts: colour fonts.
        folders: folders of pictures named by code points.
        overwrite: replace folders of the same names.

    Returns:
        the code points written (hexadecimal), by source.

    Raises:
        FileExistsError: a folder exists and `overwrite` is False.
        FileNotFoundError: a source is missing.
        ValueError: no source, two of one name, or one that is unusable, has no sprite, or would be
            replaced.
    """
    sources = [(Path(f).stem, font_sprites(Path(f)), f) for f in fonts]
    # A relative path such as `.` has a name only once it is resolved.
    sources += [(Path(f).resolve().name, folder_sprites(Path(f)), f) for f in folders]
    names = [name for name, _, _ in sources]
    if not names:
        raise ValueError("nothing to take sprites from; give --font or --images")
    if len(set(names)) < len(names):
        raise ValueError(f"two sources are named {max(names, key=names.count)!r}; rename one")
    for name in names:
        if (out / name).exists() and not overwrite:
            raise FileExistsError(f"{out / name}: exists already; --overwrite replaces it")
    check_apart((out / name for name in names), (*fonts, *folders))
    out.mkdir(parents=True, exist_ok=True)
    written: dict[str, list[str]] = {name: [] for name in names}
    with TemporaryDirectory(prefix=".sprites.", dir=out) as work:
        for name, sprites, source in sources:
            Path(work, name).mkdir()
            for code, sprite in sprites:
                Image.fromarray(sprite).save(Path(work, name, f"{code:x}.png"))
                written[name].append(f"{code:x}")
            if not written[name]:
                raise ValueError(
                    f"{source} has no colour emoji of {MIN_SIDE} pixels or more; give a colour "
                    "font, or PNG or WebP files named by code points such as 1f34e.png"
                )
        install(*((Path(work, name), out / name) for name in names))
    return written


def _open_font(file: Path) -> ImageFont.FreeTypeFont:
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such font; give a .ttf file to --font")
    for size in FONT_SIZES:
        try:
            return ImageFont.truetype(str(file), size, layout_engine=ImageFont.Layout.BASIC)
        except OSError as error:
            reason = error
    raise ValueError(f"{file} cannot be opened at {FONT_SIZES} pixels an em: {reason}")


def _render(font: ImageFont.FreeTypeFont, text: str) -> np.ndarray:
    """A glyph on a transparent ground, uint8 RGBA (H, W, 4)."""
    left, top, right, bottom = font.getbbox(text)
    size = (int(right - left) + 4, int(bottom - top) + 4)
    canvas = Image.new("RGBA", size)
    position = (2 - left, 2 - top)
    ImageDraw.Draw(canvas).text(position, text, INK, font, embedded_color=True)
    pixels = np.asarray(canvas, dtype=np.float32)
    # Drawn on transparent black, soft edges come out dark: colours are multiplied with alpha.
    alpha = pixels[:, :, 3:]
    colour = np.minimum(pixels[:, :, :3] * 255 / np.maximum(alpha, 1) + 0.5, 255)
    return np.dstack([colour, alpha]).astype(np.uint8)


def _is_coloured(pixels: np.ndarray) -> bool:
    solid = pixels[pixels[:, :, 3] > 250]
    return len(solid) > 0 and bool((solid[:, :3] != INK).any())
