"""Small sound files of all kinds, for damage."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
from picture_files import png16, tiff
from PIL import Image

SIZE = (24, 32)
BOXES = ((1, 2, 12, 12), (16, 8, 14, 14), (2, 15, 6, 8))  # x, y, width, height


def picture(number: int = 0) -> np.ndarray:
    """Noise, uint8 RGB."""
    return np.random.default_rng(number).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


def index_mask() -> np.ndarray:
    """Values 1, 2 and 3 of the boxes, uint8."""
    values = np.zeros(SIZE, np.uint8)
    for number, (x, y, width, height) in enumerate(BOXES, 1):
        values[y : y + height, x : x + width] = number
    return values


def corners(box: tuple[int, ...]) -> list[list[int]]:
    """Of a box, as (x, y)."""
    x, y, width, height = box
    return [[x, y], [x + width, y], [x + width, y + height], [x, y + height]]


def save_pictures(folder: Path, suffix: str = ".png", names: str = "ab") -> Path:
    """Two pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        Image.fromarray(picture(number)).save(folder / f"{name}{suffix}")
    return folder


def write_coco(root: Path, names: str = "ab") -> Path:
    """`made.json` and `made/`, with polygons, RLE of both kinds and a distractor."""
    save_pictures(root / "made", names=names)
    images, annotations = [], []
    for number, name in enumerate(names, 1):
        image = {"id": number, "file_name": f"{name}.png", "height": SIZE[0], "width": SIZE[1]}
        images.append({**image, "cosalient_category": "cup", "clean": True})
        for place, box in enumerate(BOXES):
            segmentation: object = [sum(map(list, corners(box)), [])]
            if place == 1:
                mask = (index_mask() == 2).ravel(order="F")
                edges = np.flatnonzero(np.diff(mask)) + 1
                counts = np.diff([0, *edges, mask.size]).tolist()
                segmentation = {"size": list(SIZE), "counts": counts}
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": 1 + (place == 2),
                    "bbox": list(box),
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                    "segmentation": segmentation,
                }
            )
    categories = [{"id": 1, "name": "cup"}, {"id": 2, "name": "distractor"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "made.json").write_text(json.dumps(content))
    return root / "made.json"


def write_labelme(root: Path) -> None:
    """LabelMe files beside their pictures, with shapes of several types."""
    save_pictures(root)
    types = ("polygon", "rectangle", "circle")
    for name in "ab":
        shapes = [
            {
                "label": "cup",
                "points": corners(box) if kind == "polygon" else corners(box)[::2],
                "shape_type": kind,
                "group_id": None,
                "flags": {},
            }
            for kind, box in zip(types, BOXES, strict=True)
        ]
        content = {"version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": f"{name}.png"}
        content |= {"imageData": None, "imageHeight": SIZE[0], "imageWidth": SIZE[1]}
        (root / f"{name}.json").write_text(json.dumps(content))


def write_yolo(root: Path) -> None:
    """YOLO's tree, with polygons and a box."""
    save_pictures(root / "images", ".jpg")
    (root / "labels").mkdir()
    for name in "ab":
        lines = []
        for place, (x, y, width, height) in enumerate(BOXES):
            shares = np.array(corners((x, y, width, height))) / SIZE[::-1]
            if place == 2:
                centre = (x + width / 2, y + height / 2)
                shares = np.array([centre, (width, height)]) / SIZE[::-1]
            lines.append(" ".join(["0", *(f"{v:.6f}" for v in shares.ravel())]))
        (root / "labels" / f"{name}.txt").write_text("\n".join(lines) + "\n")
    (root / "data.yaml").write_text("path: .\ntrain: images\nnames:\n  0: cup\n  1: plate\n")


def write_voc(root: Path) -> None:
    """VOC's tree with palette PNGs."""
    save_pictures(root / "JPEGImages", ".jpg")
    for part, values in (
        ("SegmentationObject", index_mask()),
        ("SegmentationClass", (index_mask() > 0) * np.uint8(5)),
    ):
        (root / part).mkdir()
        for name in "ab":
            image = Image.fromarray(values)
            image.putpalette(bytes(range(256)) * 3)
            image.save(root / part / f"{name}.png")
    (root / "list.txt").write_text("a\nb\n")


def write_voc_boxes(root: Path) -> None:
    """VOC's tree with an XML file a picture; words have blanks around them, as the damage takes."""
    save_pictures(root / "JPEGImages", ".jpg")
    (root / "Annotations").mkdir()
    for name in "ab":
        lines = [f"<filename> {name}.jpg </filename>"]
        lines += ["<size> <width> 32 </width> <height> 24 </height> </size>"]
        for box in BOXES:
            ends = *corners(box)[0], *corners(box)[2]
            sides = zip(("xmin", "ymin", "xmax", "ymax"), ends, strict=True)
            inside = " ".join(f"<{side}> {value} </{side}>" for side, value in sides)
            lines += ["<object> <name> cup </name>", f"<bndbox> {inside} </bndbox> </object>"]
        text = "\n".join(["<annotation>", *lines, "</annotation>"])
        (root / "Annotations" / f"{name}.xml").write_text(text)


def write_masks(root: Path) -> None:
    """Pictures, and a mask picture of each."""
    save_pictures(root / "images", ".jpg")
    (root / "masks").mkdir()
    for name, values in zip("ab", ((index_mask() > 0) * np.uint8(255), index_mask()), strict=True):
        Image.fromarray(values).save(root / "masks" / f"{name}.png")


def picture_kinds() -> dict[str, bytes]:
    """Contents of picture files by a name that says their kind."""
    image = Image.fromarray(picture())
    grey = image.convert("L")
    exif = Image.Exif()
    exif[0x0112] = 6
    clear = image.convert("RGBA")
    clear.putalpha(Image.fromarray((index_mask() > 0) * np.uint8(255)))
    labels = Image.fromarray(index_mask())
    labels.putpalette(bytes(range(256)) * 3)
    deep = picture()[:, :, 0].astype(np.uint16) * 256
    kinds: dict[str, bytes] = {}
    for name, source, options in (
        ("rgb.png", image, {}),
        ("grey.png", grey, {}),
        ("alpha.png", clear, {}),
        ("bits.png", grey.convert("1"), {}),
        ("palette.png", labels, {"transparency": 0}),
        ("grey_alpha.png", grey.convert("LA"), {}),
        ("turned.jpg", image, {"exif": exif}),
        ("progressive.jpg", image, {"progressive": True}),
        ("cmyk.jpg", image.convert("CMYK"), {}),
        ("grey.jpg", grey, {}),
        ("animated.gif", labels, {"save_all": True, "append_images": [labels]}),
        ("photo.webp", image, {"exif": exif}),
        ("lossless.webp", clear, {"lossless": True}),
        ("rgb.tif", image, {"compression": "tiff_lzw"}),
        ("turned.tif", image, {"exif": exif}),
        ("packed.tif", grey.convert("1"), {"compression": "packbits"}),
        ("rgb.bmp", image, {}),
        ("labels.bmp", labels, {}),
        ("rgb.ppm", image, {}),
        ("grey.pgm", grey, {}),
        ("rgb.jp2", image, {}),
        ("rgb.avif", image, {}),
    ):
        stream = io.BytesIO()
        source.save(stream, **{"format": _format(name), **options})
        kinds[name] = stream.getvalue()
    kinds["deep.png"] = png16(deep, (b"tEXt", b"a\0b"))
    kinds["deep_rgb.png"] = png16(np.stack([deep] * 3, axis=2))
    kinds["deep.tif"] = tiff(deep)
    kinds["float.tif"] = tiff((picture()[:, :, 0] / 255).astype(np.float32), order=">")
    kinds["double.tif"] = tiff((picture()[:, :, 0] / 255).astype(np.float64))
    return kinds


def _format(name: str) -> str:
    suffix = name.rpartition(".")[2]
    return {"jpg": "JPEG", "tif": "TIFF", "jp2": "JPEG2000", "pgm": "PPM"}.get(
        suffix, suffix.upper()
    )
