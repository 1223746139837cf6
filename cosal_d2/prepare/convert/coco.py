"""COCO instance json: masks as polygons or RLE, compressed or not."""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from pathlib import Path

from cosal_d2.prepare.convert.conversion import Scene, Source
from cosal_d2.prepare.convert.selection import SourceObject
from cosal_d2.prepare.convert.source_files import need_folder, safe_name
from cosal_d2.utils.coco import FIELDS, check_fields, load_coco
from cosal_d2.utils.masks import to_rle

# Fields that the conversion writes itself; others go into the dataset as they are.
IMAGE_FIELDS = (*FIELDS["images"], "cosalient_category")
ANNOTATION_FIELDS = (
    *(*FIELDS["annotations"], "area", "iscrowd"),
    *("keypoints", "num_keypoints", "category"),
)


def coco_source(json_file: Path, images: Path) -> Source:
    """A COCO instance json and its image folder.

    Ids of images, and fields that are not COCO's, are kept.

    Raises:
        FileNotFoundError: json or folder are missing.
        ValueError: the json lacks a field; the message names the entry.
    """
    json_file, images = Path(json_file), need_folder(images, "images")
    content = load_coco(json_file)
    check_fields(content, json_file, unread=("bbox", "segmentation"), may_repeat=("annotations",))
    names = {entry["id"]: str(entry["name"]) for entry in content["categories"]}
    own: dict[object, list[dict]] = defaultdict(list)
    for entry in content["annotations"]:
        own[entry["image_id"]].append(entry)
    tasks = [(image, own.pop(image["id"], [])) for image in content["images"]]
    for image_id, entries in own.items():
        raise ValueError(
            f"{json_file}: the annotation of id {entries[0]['id']} is of image {image_id}, which "
            "is none of `images`; `cosal data check --fix` writes a copy without it"
        )
    keep_ids = all(isinstance(image["id"], int) for image in content["images"])
    return Source(
        tasks,
        partial(_read, json_file.name, images, names, keep_ids),
        f"Selected from {json_file.name}",
        {name: i for i, name in reversed(names.items())},  # of equal names the first id
        {"licenses": content["licenses"]} if "licenses" in content else {},
    )


def _read(
    json_name: str,
    images: Path,
    names: dict[int, str],
    keep_ids: bool,
    task: tuple[dict, list[dict]],
) -> Scene:
    image, annotations = task
    name = str(image["file_name"])
    file = images / name.replace("\\", "/")
    if not file.is_file():
        file = images / safe_name(name)
    try:
        height, width = int(image["height"]), int(image["width"])
    except (TypeError, ValueError):
        size = image["height"], image["width"]
        raise ValueError(f"{file}: `height` and `width` are {size}; give pixels") from None
    objects = []
    for entry in annotations:
        where = f"{file}: {json_name}, annotation of id {entry['id']}"
        if entry["category_id"] not in names:
            raise ValueError(
                f"{where}: the category_id {entry['category_id']} is none of `categories`; "
                "add it or correct it"
            )
        try:
            rle = to_rle(entry.get("segmentation"), height, width)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
        extra = {k: v for k, v in entry.items() if k not in ANNOTATION_FIELDS}
        crowd = bool(entry.get("iscrowd", 0))
        objects.append(SourceObject(names[entry["category_id"]], rle, crowd, extra))
    kept = {k: v for k, v in image.items() if k not in IMAGE_FIELDS or (k == "id" and keep_ids)}
    return Scene(file, safe_name(name), height, width, objects, kept)
