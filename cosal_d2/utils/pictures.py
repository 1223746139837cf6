"""Picture files of any kind: opening and reading them upright as 8-bit BGR, and writing them."""

from __future__ import annotations

import base64
import importlib.util
import io
import os
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageOps, PngImagePlugin, UnidentifiedImageError

from cosal_d2.utils.files import need_file, write_bytes
from cosal_d2.utils.pixel_values import (
    ROWS,
    TIFF_STARTS,
    colour_values,
    decode_deep,
    grey_values,
    is_deep_colour,
    picture_levels,
    say_once,
)
from cosal_d2.utils.size_limit import (
    NAME,
    check_size,
    decoded_smaller,
    fitted,
    picture_name,
    reduced,
)

HEIC_SUFFIXES = (".heic", ".heif", ".hif")
# Names of picture files, in lower case; those of HEIC where pillow-heif, which reads it, is there.
PICTURE_SUFFIXES = (
    *(".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".jpe", ".jfif"),
    *(".apng", ".avif", ".jp2", ".j2k", ".ppm", ".pgm", ".pbm", ".pnm"),
    *(HEIC_SUFFIXES if importlib.util.find_spec("pillow_heif") else ()),
)
HEIC_FIX = "pip install pillow-heif, which reads HEIC"
# What Pillow and its readers raise on files that are no pictures, or damaged ones.
READING_ERRORS = (
    *(OSError, SyntaxError, EOFError, ValueError, RuntimeError, struct.error, zlib.error),
    Image.DecompressionBombError,
)
ANIMATED = ("AVIF", "GIF", "PNG", "TIFF", "WEBP")
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
DARK = 16  # levels of 255 that make nothing visible
END_OF_JPEG = b"\xff\xd9"

# The limit of `size_limit` takes the place of Pillow's, which holds for all of a process.
Image.MAX_IMAGE_PIXELS = None
# Drawing programs keep megabytes of text in a PNG (prompts, edits), which is not looked at here.
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = 2**28


def read_image(path: str | os.PathLike) -> np.ndarray:
    """Read a picture upright, as uint8 BGR (H, W, 3).

    Detectron2's reader saturates 16-bit pictures and keeps the hidden colours under transparency;
    here deeper values are scaled to 8 bits (:func:`.pixel_values.picture_levels`), and transparent
    pictures are laid on white. EXIF rotation is applied. Of several frames or pages the first is
    read, a picture over the limit of :func:`max_pixels` is read smaller, and a JPEG may lack its
    end marker; the log says each once.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is not a picture, is truncated or far over the limit, or has no number.
    """
    need_file(path, "picture")
    return decode_image(path)


def decode_image(
    path: str | os.PathLike, content: bytes | None = None, max_side: int | None = None
) -> np.ndarray:
    """What :func:`read_image` gives of a file, or of its content where that has been read.

    Args:
        path: of the file.
        content: of the file.
        max_side: a JPEG may be decoded at reduced scale, with twice as many pixels or more.

    Raises:
        ValueError: as of :func:`read_image`.
    """
    source = path if content is None else content
    try:
        try:
            with open_picture(source, os.fspath(path)) as image:
                if max_side is not None:
                    image.draft(None, (2 * max_side, 2 * max_side))
                pixels = upright_bgr(image)
        except UnidentifiedImageError:
            values = other_tiff(source)
            if values is None:
                raise
            pixels = fitted(picture_levels(values, None, os.fspath(path)), path)
    except READING_ERRORS as error:
        raise unreadable(path, error, content) from error
    if pixels.max(initial=0) < DARK:
        say_once(
            f"{os.fspath(path)}: it is black, or nearly so: its highest level is {pixels.max()} of "
            "255; if it has values of another range, save them as 8 bits"
        )
    return pixels


def unreadable(
    path: str | os.PathLike, error: Exception, content: bytes | None = None
) -> ValueError:
    """The error that names a file which Pillow cannot read, and why.

    Args:
        path: of the file.
        error: Pillow's.
        content: of the file, where it has been read.
    """
    reason = str(error)
    if isinstance(error, UnidentifiedImageError):
        start = _content(path if content is None else content, 12)
        reason = "it is none of a kind that is known"
        if not start:
            reason = "the file is empty"
        elif start.startswith(TIFF_STARTS):
            reason = "a TIFF of an unusual kind, or a damaged one; save it as 8 or 16 bits"
        elif start[4:8] == b"ftyp" and start[8:12] in HEIC_BRANDS:
            reason = f"it is HEIC; {HEIC_FIX}"
    fix = "" if "; " in reason else "; replace the file"
    return ValueError(f"cannot read {path} as a picture: {reason}{fix}")


def open_picture(source: str | os.PathLike | bytes, name: str = "") -> Image.Image:
    """Open a picture as ``Image.open`` does, with this package's limits.

    Pillow's own limit of pixels is switched off, see :func:`.size_limit.check_size`; HEIC is opened
    where pillow-heif is installed; a JPEG that lacks its end marker, and nothing else, is whole.
    The log says once a file what is unusual.

    Args:
        source: a path, or a file's content.
        name: of the picture, in messages about a content.

    Raises:
        FileNotFoundError: no such file, or a pipe or device, of which Pillow might read for ever.
        OSError, ValueError, SyntaxError: as of ``Image.open``.
    """
    if not isinstance(source, bytes):
        need_file(source, "picture")
    try:
        image = _open(source)
    except UnidentifiedImageError:
        start = _content(source, 12)
        if start[4:8] != b"ftyp" or not importlib.util.find_spec("pillow_heif"):
            raise
        import pillow_heif

        pillow_heif.register_heif_opener()
        image = _open(source)
    if image.format in ("JPEG", "MPO"):
        image = _with_end_marker(image, source, name)
    image.info[NAME] = name or picture_name(image)
    image.filename = (
        ""  # else Pillow maps the file into memory, and mixes up a turned TIFF's pixels
    )
    if image.format in ANIMATED and _has_frames(image, source):
        say_once(f"{picture_name(image)}: it has several frames or pages; the first is read")
    return image


def _open(source: str | os.PathLike | bytes) -> Image.Image:
    return Image.open(io.BytesIO(source) if isinstance(source, bytes) else source)


def _has_frames(image: Image.Image, source: str | os.PathLike | bytes) -> bool:
    if image.format != "TIFF":
        return getattr(image, "is_animated", False)
    # Pillow turns a TIFF twice whose pages were counted before it was loaded.
    with _open(source) as other:
        return other.is_animated


def _content(source: str | os.PathLike | bytes, size: int = -1) -> bytes:
    if isinstance(source, bytes):
        return source[:size] if size >= 0 else source
    with open(source, "rb") as file:
        return file.read(size)


def _with_end_marker(
    image: Image.Image, source: str | os.PathLike | bytes, name: str
) -> Image.Image:
    """The same picture, or one that can be decoded where its end marker alone is missing.

    What follows a whole picture is no part of it, so two different continuations give the same
    pixels; of a truncated one they give others.
    """
    image.fp.seek(-len(END_OF_JPEG), os.SEEK_END)
    if image.fp.read() == END_OF_JPEG:
        return image
    data = _content(source).rstrip(END_OF_JPEG[:1])  # half a marker, or fill bytes before it
    if END_OF_JPEG in data[data.rfind(b"\xff\xda") :]:  # followed by something else
        return image
    filled = data + b"\x55" * 4096 + END_OF_JPEG, data + b"\xaa" * 4096 + END_OF_JPEG
    try:
        first, second = (_open(one).convert("L").tobytes() for one in filled)
    except READING_ERRORS:
        return image
    if first != second:
        return image
    image.close()
    name = name or (os.fspath(source) if not isinstance(source, bytes) else "a picture")
    say_once(f"{name}: the JPEG lacks its end marker; its pixels are all there")
    whole = _open(data + END_OF_JPEG)
    whole.info[NAME] = name
    return whole


def other_tiff(source: str | os.PathLike | bytes) -> np.ndarray | None:
    """Values of a TIFF, given by its path or content, of a kind that Pillow does not know, such as
    float64, grey (H, W) or BGR; None where OpenCV does not either."""
    data = _content(source)
    return decode_deep(data) if data.startswith(TIFF_STARTS) else None


def upright_bgr(image: Image.Image) -> np.ndarray:
    """A picture turned as its EXIF orientation says, uint8 BGR (H, W, 3).

    Deeper values are scaled to 8 bits, transparent pictures are laid on white, and those over the
    limit of :func:`max_pixels` are made smaller.

    Raises:
        OSError: the file is truncated.
        SyntaxError: the file is damaged.
        ValueError: it is far over the limit, or has no number.
    """
    decoded_smaller(image)
    name = picture_name(image)
    if is_deep_colour(image):
        values, bits = colour_values(image)
        return fitted(picture_levels(values, bits, name), name)
    if image.mode[0] in "IF":
        values, bits, no_data = grey_values(image)
        return fitted(picture_levels(values, bits, name, no_data), name)
    image = reduced(image)
    if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:  # otherwise it would be copied
        image = ImageOps.exif_transpose(image)
    image.load()
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for top in range(0, image.height, ROWS):  # Pillow copies what it converts
        bottom = min(top + ROWS, image.height)
        rows = image.crop((0, top, image.width, bottom))
        pixels[top:bottom] = _to_rgb(rows)[:, :, ::-1]
    return pixels


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Height and width in pixels of an opened picture held upright.

    Raises:
        ValueError: it is a PNG over four times the limit of pixels.
    """
    if image.format == "TIFF":  # Pillow gives the upright size of these
        return image.height, image.width
    if image.format == "PNG":  # Pillow decodes it to find its orientation
        check_size(image)
    turned = image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
    return (image.width, image.height) if turned else (image.height, image.width)


def picture_size(file: str | os.PathLike) -> tuple[int, int]:
    """(height, width) of a picture held upright, from its header.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no picture.
    """
    need_file(file, "picture")
    try:
        with open_picture(file) as image:
            return upright_size(image)
    except UnidentifiedImageError as error:
        values = other_tiff(file)
        if values is None:
            raise unreadable(file, error) from error
        return values.shape[:2]
    except READING_ERRORS as error:
        raise unreadable(file, error) from error


def _to_rgb(image: Image.Image) -> np.ndarray:
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, rgba)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def unread_hint(suffixes: Iterable[str]) -> str:
    """What would make files of these suffixes pictures, such as ``; pip install ...``; or ""."""
    return f"; {HEIC_FIX}" if any(suffix in HEIC_SUFFIXES for suffix in suffixes) else ""


def encoded(pixels: np.ndarray, suffix: str = ".png", quality: int | None = None) -> bytes:
    """A picture's file. ``cv2.imwrite`` ends the process on a name that is not UTF-8, so all
    pictures are encoded here and written by :func:`cosal_d2.utils.files.write_bytes`.

    Args:
        pixels: uint8 grey (H, W), BGR (H, W, 3) or BGRA (H, W, 4).
        suffix: of its format.
        quality: of a JPEG, 0 to 100.

    Raises:
        ValueError: the format cannot hold it.
    """
    options = [] if quality is None else [cv2.IMWRITE_JPEG_QUALITY, quality]
    done, content = cv2.imencode(suffix, pixels, options)
    if not done:
        raise ValueError(f"pixels {pixels.shape} cannot be written as {suffix}")
    return content.tobytes()


def data_url(kind: str, content: bytes) -> str:
    """A picture's file as a URL that holds it, for pages without further files.

    Args:
        kind: of its format, such as ``jpeg``.
        content: of the file.
    """
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Write a PNG that replaces a former file as a whole.

    Args:
        path: of the file; its name may be any.
        pixels: uint8 BGR (H, W, 3), BGRA (H, W, 4) or grey (H, W).
    """
    write_bytes(path, encoded(pixels))
