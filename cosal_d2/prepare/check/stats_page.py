"""The statistics of a dataset as one self-contained HTML page."""

from __future__ import annotations

import base64
import html
import io
import os
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
from matplotlib.figure import Figure

from cosal_d2.prepare.check.contact_sheets import choose, draw_small
from cosal_d2.prepare.check.parts import Item
from cosal_d2.prepare.check.statistics import Statistics

SHOWN_CLASSES = 60
STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:72em;padding:0 1em;"
    "color:#222}table{border-collapse:collapse}td,th{padding:.2em 1em .2em 0;text-align:left}"
    ".charts{display:flex;flex-wrap:wrap;gap:1em}.charts img{max-width:100%}"
    ".sheet{display:flex;flex-wrap:wrap;gap:.6em;align-items:flex-end}figure{margin:0}"
    "figcaption{font-size:12px;color:#555;max-width:220px;overflow-wrap:anywhere}"
)


def _embedded(data: bytes, kind: str, text: str) -> str:
    code = base64.b64encode(data).decode("ascii")
    return f'<img alt="{html.escape(text)}" src="data:image/{kind};base64,{code}">'


def _chart(figure: Figure, text: str) -> str:
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=90)
    return _embedded(out.getvalue(), "png", text)


def _figure(title: str, xlabel: str, ylabel: str = "", width: float = 5.2, height: float = 3.2):
    figure = Figure(figsize=(width, height), layout="constrained")
    ax = figure.subplots()
    ax.set_title(title)
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    return figure, ax


def _count_chart(found: Statistics) -> str:
    figure, ax = _figure("Instances per image", "co-salient instances", "images")
    counts = Counter(p.instances for p in found.pictures)
    ax.bar(list(counts), list(counts.values()), color="#2a9d5c")
    return _chart(figure, "Histogram of instances per image")


def _area_chart(found: Statistics) -> str:
    figure, ax = _figure("Areas", "share of the image", "count")
    areas = [a for p in found.pictures for a in p.areas if a > 0]
    unions = [p.union for p in found.pictures if p.union > 0]
    bins = np.geomspace(min([*areas, 1e-3]), 1, 40)
    ax.hist(areas, bins=bins, color="#2a9d5c", alpha=0.7, label="instances")
    ax.hist(unions, bins=bins, color="#264653", alpha=0.7, label="truths (unions)")
    ax.set_xscale("log")
    ax.legend()
    return _chart(figure, "Histogram of areas")


def _aspect_chart(found: Statistics) -> str:
    figure, ax = _figure("Aspect ratios", "width / height", "count")
    bins = np.geomspace(0.1, 10, 41)
    aspects = np.clip([a for p in found.pictures for a in p.aspects], 0.1, 10)
    ax.hist(aspects, bins=bins, color="#2a9d5c", alpha=0.7, label="boxes of instances")
    shapes = np.clip([p.aspect for p in found.pictures], 0.1, 10)
    ax.hist(shapes, bins=bins, color="#264653", alpha=0.7, label="images")
    ax.set_xscale("log")
    ax.legend()
    return _chart(figure, "Histogram of aspect ratios")


def _heat_chart(found: Statistics) -> str:
    figure, ax = _figure("Where masks lie", "", width=4.2)
    shown = ax.imshow(found.heat, cmap="magma", vmin=0, extent=(0, 1, 1, 0))
    ax.set_xticks([])
    ax.set_yticks([])
    figure.colorbar(shown, label="share of images")
    return _chart(figure, "Heat map of the truth")


def _class_chart(found: Statistics) -> str:
    classes = found.classes.most_common(SHOWN_CLASSES)
    names = [n if len(n) < 28 else n[:25] + "..." for n, _ in classes]
    figure, ax = _figure(
        "Co-salient classes", "instances", width=7, height=1 + 0.19 * max(len(names), 1)
    )
    ax.barh(range(len(names)), [n for _, n in classes], color="#2a9d5c")
    ax.set_yticks(range(len(names)), [n.replace("$", r"\$") for n in names], fontsize=8)
    ax.invert_yaxis()
    ax.margins(y=0.01)
    return _chart(figure, "Histogram of classes")


def _table(found: Statistics) -> str:
    instances = sum(p.instances for p in found.pictures)
    areas = [a for p in found.pictures for a in p.areas]
    rows = {
        "images": len(found.pictures),
        "co-salient instances": instances,
        "distractors": sum(p.distractors for p in found.pictures),
        "crowd regions": sum(p.crowds for p in found.pictures),
        "co-salient classes": len(found.classes),
        "images with an empty truth": sum(p.union == 0 for p in found.pictures),
        "images with distractors": sum(p.distractors > 0 for p in found.pictures),
        "mean instances per image": f"{instances / len(found.pictures):.2f}",
        "median area of an instance": f"{np.median(areas):.2%}" if areas else "none",
        "median share of the truth": f"{np.median([p.union for p in found.pictures]):.2%}",
    }
    lines = "".join(f"<tr><th>{k}</th><td>{v}</td></tr>" for k, v in rows.items())
    return f"<table>{lines}</table>"


def _sheets(items: list[Item], found: Statistics, seed: int) -> str:
    parts = []
    for title, positions in choose(found.pictures, seed).items():
        figures = []
        for position in positions:
            item, numbers = items[position], found.pictures[position]
            done, data = cv2.imencode(".jpg", draw_small(item), [cv2.IMWRITE_JPEG_QUALITY, 85])
            if not done:
                raise OSError(f"{item.file}: OpenCV could not encode a small copy")
            name = html.escape(str(item.image["file_name"]))
            text = f"{name}: {numbers.instances} {html.escape(numbers.group)}"
            picture = _embedded(data.tobytes(), "jpeg", str(item.image["file_name"]))
            figures.append(f"<figure>{picture}<figcaption>{text}</figcaption></figure>")
        parts.append(f'<h2>{title}</h2><div class="sheet">{"".join(figures)}</div>')
    return "".join(parts)


def write_stats_page(
    target: Path, name: str, items: list[Item], found: Statistics, seed: int = 0
) -> None:
    """Write the page: counts, charts, the heat map and contact sheets, all inside one file.

    Args:
        target: the HTML file; its folder is made.
        name: of the dataset.
        items: its pictures.
        found: its numbers.
        seed: of the random contact sheet.

    Raises:
        ValueError, OSError: a picture that is shown is unusable.
    """
    charts = "".join(
        chart(found) for chart in (_count_chart, _area_chart, _aspect_chart, _heat_chart)
    )
    more = len(found.classes) - SHOWN_CLASSES
    note = f"<p>The {SHOWN_CLASSES} largest; {more} more are not shown.</p>" if more > 0 else ""
    title = html.escape(name)
    page = (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}</style></head><body><h1>{title}</h1>{_table(found)}"
        f'<div class="charts">{charts}</div>{_class_chart(found)}{note}'
        "<p>Green: co-salient. Orange: distractor. Violet: crowd region.</p>"
        f"{_sheets(items, found, seed)}</body></html>\n"
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    partial.write_text(page, encoding="utf-8")
    os.replace(partial, target)
