"""A source of cut-outs for tests: grey photographs with shapes, whose class is their colour."""

import json
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from cosal_d2.prepare.composites import Composer
from cosal_d2.prepare.composites.backgrounds import Backgrounds
from cosal_d2.prepare.composites.sources import Cutout, Picture, photo_cutouts
from cosal_d2.prepare.scene import SceneOptions

COLOURS = {  # BGR
    "disc": (30, 30, 220),
    "square": (30, 200, 30),
    "wedge": (220, 60, 30),
    "star": (200, 30, 200),
    "distractor": (30, 210, 220),
}
HEIGHT, WIDTH = 240, 320
PER_PICTURE = 3
SIZE = (150, 200)  # of a composite


def outline(name: str, x: float, y: float, radius: float) -> np.ndarray:
    """Corners of a shape, float (N, 2)."""
    corners = {"disc": 40, "square": 4, "wedge": 3, "star": 10, "distractor": 6}[name]
    turn = np.arange(corners) * 2 * np.pi / corners + 0.6
    reach = radius * (np.where(np.arange(corners) % 2, 0.6, 1) if name == "star" else 1)
    return np.stack([x + reach * np.cos(turn), y + reach * np.sin(turn)], axis=1)


def mask_of(corners: np.ndarray) -> np.ndarray:
    """uint8 (HEIGHT, WIDTH), 0 or 1."""
    return coco_mask.decode(
        coco_mask.merge(coco_mask.frPyObjects([corners.ravel().tolist()], HEIGHT, WIDTH))
    )


def write_source(root: Path, pictures: int = 8) -> tuple[Path, Path]:
    """Write `source.json` and its folder: `PER_PICTURE` classes a picture, `distractor` in some.

    Returns:
        The json file and the image folder.
    """
    folder = root / "source"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(5)
    names = list(COLOURS)
    images, annotations = [], []
    for i in range(pictures):
        photo = rng.integers(100, 150, (HEIGHT, WIDTH, 1)).repeat(3, axis=2).astype(np.uint8)
        for k in range(PER_PICTURE):
            name = names[(i + k) % len(names)]
            corners = outline(name, 60 + 100 * k, 80 + 20 * k, rng.uniform(32, 42))
            photo[mask_of(corners) > 0] = COLOURS[name]
            annotations.append(
                {
                    "id": 100 + len(annotations),
                    "image_id": i,
                    "category_id": 1 + names.index(name),
                    "segmentation": [corners.ravel().tolist()],
                }
            )
        cv2.imwrite(str(folder / f"{i}.png"), photo)
        images.append({"id": i, "file_name": f"{i}.png", "height": HEIGHT, "width": WIDTH})
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": k, "name": n} for k, n in enumerate(names, 1)],
    }
    json_file = root / "source.json"
    json_file.write_text(json.dumps(content))
    return json_file, folder


def write_sprites(folder: Path, names: str = "abc") -> Path:
    """Write black sprites with alpha into a subfolder, one a letter."""
    (folder / "letters").mkdir(parents=True)
    for name in names:
        sprite = np.zeros((90, 90, 4), np.uint8)
        cv2.circle(sprite, (45, 45), 38, (0, 0, 0, 255), -1)
        cv2.imwrite(str(folder / "letters" / f"{name}.png"), sprite)
    return folder


def composer(
    pictures: list[Picture],
    sprites: dict[str, list[Cutout]] | None = None,
    sprite_share: float = 0.5,
    seed: int = 1,
    size: tuple[int, int] = SIZE,
    **options: object,
) -> Composer:
    """A composer of all objects of the pictures."""
    options = SceneOptions(size=size, **options)
    photos, backgrounds = photo_cutouts(pictures), Backgrounds(pictures)
    return Composer(photos, sprites or {}, backgrounds, seed, options, sprite_share)
