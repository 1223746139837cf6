"""The statistics of a dataset as one self-contained HTML page."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import cv2
import jinja2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pycocotools import mask as coco_mask

from cosal_d2.prepare.check.check import each_picture
from cosal_d2.prepare.check.split import class_of
from cosal_d2.prepare.convert.dataset_writer import Entry
from cosal_d2.utils.coco import DISTRACTOR
from cosal_d2.utils.files import write_text
from cosal_d2.utils.masks import to_rle
from cosal_d2.utils.pictures import data_url, encoded, read_image

HEAT = 64  # cells a side of the heat map
SHOWN_CLASSES = 60
SHEET = 12  # pictures a contact sheet
SIDE = 220  # pixels of their longest side
COSALIENT, OTHER, CROWD = (50, 215, 30), (0, 128, 255), (220, 60, 220)  # BGR
GREEN, BLUE = "#2a9d5c", "#264653"
PAGE = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{{ name }}</title>
<style>
body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:72em;padding:0 1em;color:#222}
table{border-collapse:collapse} td,th{padding:.2em 1em .2em 0;text-align:left}
.charts{display:flex;flex-wrap:wrap;gap:1em} .charts img{max-width:100%} figure{margin:0}
.sheet{display:flex;flex-wrap:wrap;gap:.6em;align-items:flex-end}
figcaption{font-size:12px;color:#555;max-width:220px;overflow-wrap:anywhere}
</style></head><body><h1>{{ name }}</h1>
<table>{% for what, value in table.items() %}<tr><th>{{ what }}</th><td>{{ value }}</td></tr>
{% endfor %}</table>
<div class="charts">{% for text, source in charts.items() %}
<img alt="{{ text }}" src="{{ source }}">{% endfor %}</div>
{% if more > 0 %}<p>The {{ shown }} largest classes; {{ more }} more are not shown.</p>{% endif %}
<p>Green: co-salient. Orange: distractor. Violet: crowd region.</p>
{% for title, pictures in sheets.items() %}<h2>{{ title }}</h2><div class="sheet">
{% for file, text, source in pictures %}<figure><img alt="{{ file }}" src="{{ source }}">
<figcaption>{{ file }}: {{ text }}</figcaption></figure>{% endfor %}</div>{% endfor %}
</body></html>
"""


@dataclass(frozen=True)
class _Numbers:
    """Numbers on one picture.

    Attributes:
        group: its co-salient class; empty for none.
        instances, distractors, crowds: counts.
        areas: of the co-salient instances, as shares of the picture.
        aspects: width over height of their boxes.
        aspect: width over height of the picture.
        union: share of the picture that the truth covers.
    """

    group: str
    instances: int
    distractors: int
    crowds: int
    areas: list[float]
    aspects: list[float]
    aspect: float
    union: float


def write_stats_page(
    page: Path,
    name: str,
    entries: list[Entry],
    seed: int = 0,
    workers: int | None = None,
    progress: bool = False,
) -> None:
    """Write counts, charts, a heat map and contact sheets as one file that needs no other.

    Args:
        page: the HTML file; its folder is made.
        name: of the dataset.
        entries: its pictures.
        seed: of the random contact sheet.
        workers: processes; None takes one a core.
        progress: show a progress bar.

    Raises:
        ValueError, OSError: there are no pictures, or a mask or a picture that is shown is
            unusable.
    """
    if not entries:
        raise ValueError(f"{name}: the dataset has no pictures; there is nothing to describe")
    numbers, heat = [], np.zeros((HEAT, HEAT), np.float32)
    for own, covered in each_picture(_count, entries, workers, progress):
        numbers.append(own)
        heat += covered / len(entries)
    classes: Counter = Counter()
    for picture in numbers:
        if picture.group:
            classes[picture.group] += picture.instances
    sheets = {
        title: [_small(entries[i], numbers[i]) for i in positions]
        for title, positions in _chosen(numbers, seed).items()
    }
    html = jinja2.Environment(autoescape=True, trim_blocks=True).from_string(PAGE)
    page.parent.mkdir(parents=True, exist_ok=True)
    text = html.render(
        name=name,
        table=_table(numbers, classes),
        charts=_charts(numbers, heat, classes),
        shown=SHOWN_CLASSES,
        more=len(classes) - SHOWN_CLASSES,
        sheets=sheets,
    )
    write_text(page, text)


def _by_role(entry: Entry) -> tuple[list[dict], list[dict]]:
    """Annotations of the truth, and of distractors, as the loader tells them apart."""
    group = entry.image.get("cosalient_category")
    truth, others = [], []
    for annotation in entry.annotations:
        name = annotation["category"]
        inside = name != DISTRACTOR and group in (None, name)
        (truth if inside else others).append(annotation)
    return truth, others


def _count(entry: Entry) -> tuple[_Numbers, np.ndarray]:
    """The numbers on a picture, and its truth stretched to a square, float32 (HEAT, HEAT).

    Raises:
        ValueError: a size or a mask is missing or unusable; the message names the file.
    """
    truth, others = _by_role(entry)
    try:
        height, width = entry.image["height"], entry.image["width"]
        rles = [to_rle(a["segmentation"], height, width) for a in truth]
    except (KeyError, ValueError) as error:
        raise ValueError(f"{entry.file}: {error}; `cosal data check` tells more") from error
    singles = [r for a, r in zip(truth, rles, strict=True) if not a.get("iscrowd", 0)]
    boxes = [coco_mask.toBbox(r) for r in singles]
    mask = coco_mask.decode(coco_mask.merge(rles)) if rles else np.zeros((height, width), np.uint8)
    numbers = _Numbers(
        group=class_of(entry) if truth else "",
        instances=len(singles),
        distractors=sum(not a.get("iscrowd", 0) for a in others),
        crowds=len(rles) - len(singles),
        areas=[int(coco_mask.area(r)) / (height * width) for r in singles],
        aspects=[float(b[2] / b[3]) for b in boxes if b[3] > 0],
        aspect=width / height,
        union=float(mask.mean()),
    )
    size = (HEAT, HEAT)
    return numbers, cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)


def _table(numbers: list[_Numbers], classes: Counter) -> dict[str, object]:
    instances = sum(p.instances for p in numbers)
    areas = [a for p in numbers for a in p.areas]
    return {
        "images": len(numbers),
        "co-salient instances": instances,
        "distractors": sum(p.distractors for p in numbers),
        "crowd regions": sum(p.crowds for p in numbers),
        "co-salient classes": len(classes),
        "images with an empty truth": sum(p.union == 0 for p in numbers),
        "images with distractors": sum(p.distractors > 0 for p in numbers),
        "mean instances per image": f"{instances / len(numbers):.2f}",
        "median area of an instance": f"{np.median(areas):.2%}" if areas else "none",
        "median share of the truth": f"{np.median([p.union for p in numbers]):.2%}",
    }


def _charts(numbers: list[_Numbers], heat: np.ndarray, classes: Counter) -> dict[str, str]:
    """PNGs as data URLs, by their alternative texts."""
    charts = {}

    figure, ax = _figure("Instances per image", "co-salient instances", "images")
    counts = Counter(p.instances for p in numbers)
    ax.bar(list(counts), list(counts.values()), color=GREEN)
    charts["Histogram of instances per image"] = _png(figure)

    figure, ax = _figure("Areas", "share of the image", "count")
    areas = [a for p in numbers for a in p.areas if a > 0]
    bins = np.geomspace(min([*areas, 1e-3]), 1, 40)
    unions = [p.union for p in numbers if p.union > 0]
    _two_histograms(ax, bins, {"instances": areas, "truths (unions)": unions})
    charts["Histogram of areas"] = _png(figure)

    figure, ax = _figure("Aspect ratios", "width / height", "count")
    aspects = np.clip([a for p in numbers for a in p.aspects], 0.1, 10)
    shapes = np.clip([p.aspect for p in numbers], 0.1, 10)
    bins = np.geomspace(0.1, 10, 41)
    _two_histograms(ax, bins, {"boxes of instances": aspects, "images": shapes})
    charts["Histogram of aspect ratios"] = _png(figure)

    figure, ax = _figure("Where masks lie", "", width=4.2)
    shown = ax.imshow(heat, cmap="magma", vmin=0, extent=(0, 1, 1, 0))
    ax.set_xticks([])
    ax.set_yticks([])
    figure.colorbar(shown, label="share of images")
    charts["Heat map of the truth"] = _png(figure)

    largest = classes.most_common(SHOWN_CLASSES)
    names = [n if len(n) < 28 else n[:25] + "..." for n, _ in largest]
    height = 1 + 0.19 * max(len(names), 1)
    figure, ax = _figure("Co-salient classes", "instances", width=7, height=height)
    ax.barh(range(len(names)), [n for _, n in largest], color=GREEN)
    ax.set_yticks(range(len(names)), [n.replace("$", r"\$") for n in names], fontsize=8)
    ax.invert_yaxis()
    ax.margins(y=0.01)
    charts["Histogram of classes"] = _png(figure)
    return charts


def _figure(
    title: str, xlabel: str, ylabel: str = "", width: float = 5.2, height: float = 3.2
) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    ax = figure.subplots()
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel)
    return figure, ax


def _two_histograms(ax: Axes, bins: np.ndarray, values: dict[str, list[float]]) -> None:
    for colour, (label, own) in zip((GREEN, BLUE), values.items(), strict=True):
        ax.hist(own, bins=bins, color=colour, alpha=0.7, label=label)
    ax.set_xscale("log")
    ax.legend()


def _png(figure: Figure) -> str:
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=90)
    return data_url("png", out.getvalue())


def _chosen(numbers: list[_Numbers], seed: int) -> dict[str, list[int]]:
    """Positions of the pictures of each contact sheet."""
    everything = range(len(numbers))
    with_objects = [i for i in everything if numbers[i].areas]
    drawn = np.random.default_rng(seed).permutation(len(numbers))[:SHEET]
    crowded = sorted(everything, key=lambda i: -(numbers[i].instances + numbers[i].distractors))
    return {
        "Random scenes": sorted(drawn.tolist()),
        "Smallest objects": sorted(with_objects, key=lambda i: min(numbers[i].areas))[:SHEET],
        "Largest objects": sorted(with_objects, key=lambda i: -max(numbers[i].areas))[:SHEET],
        "Most crowded scenes": crowded[:SHEET],
    }


def _small(entry: Entry, numbers: _Numbers) -> tuple[str, str, str]:
    """File name, caption and data URL of a small copy with its masks: co-salient ones in green,
    crowds in violet, distractors in orange."""
    image = read_image(entry.file)
    height, width = image.shape[:2]
    factor = SIDE / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    truth, others = _by_role(entry)
    for entries, colour in ((others, OTHER), (truth, COSALIENT)):
        for annotation in entries:
            rle = to_rle(annotation["segmentation"], entry.image["height"], entry.image["width"])
            mask = cv2.resize(coco_mask.decode(rle), size, interpolation=cv2.INTER_NEAREST)
            tint = CROWD if annotation.get("iscrowd", 0) else colour
            inside = mask > 0
            small[inside] = (0.65 * small[inside] + 0.35 * np.array(tint)).astype(np.uint8)
            outlines, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(small, outlines, -1, tint, 1)
    caption = f"{numbers.instances} {numbers.group}"
    return str(entry.image["file_name"]), caption, data_url("jpeg", encoded(small, ".jpg", 85))
