"""Draw the curves of a training from its metrics.json: ``plot_training.py OUTPUT_DIR PICTURE``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

PANELS = (
    ("losses", ("loss_cosal", "loss_rpn_cls", "loss_rpn_loc", "loss_triplet")),
    ("triplets: share satisfied", ("probe/satisfied", "probe/ordered", "rfm/satisfied")),
    ("regions filled by jitter, per image", ("rfm/filled_regions",)),
    ("evaluation", ("cosal/F0.3", "cosal/MAE")),
)


def read_metrics(folder: Path) -> list[dict]:
    """The lines of ``metrics.json``; of a resumed run the later line of an iteration counts.

    Raises:
        FileNotFoundError: the folder has no ``metrics.json``.
    """
    path = folder / "metrics.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: give the OUTPUT_DIR of a training")
    lines = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    return [line for _, line in sorted({x["iteration"]: x for x in lines}.items())]


def plot(lines: Sequence[dict], picture: Path) -> None:
    """One panel a group of curves, over iterations."""
    figure = Figure(figsize=(4.2 * len(PANELS), 3.4), layout="constrained")
    for ax, (title, keys) in zip(figure.subplots(1, len(PANELS)), PANELS, strict=True):
        for key in keys:
            points = [(x["iteration"], x[key]) for x in lines if key in x]
            if points:
                ax.plot(
                    *zip(*points, strict=True), label=key, marker="." if len(points) < 30 else ""
                )
        ax.set_title(title)
        ax.set_xlabel("iteration")
        ax.grid(alpha=0.3)
        if ax.lines:
            ax.legend(fontsize=8)
    figure.savefig(picture, dpi=110)


def main() -> None:
    """Read, draw, and print the first and last value of each curve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, metavar="OUTPUT_DIR")
    parser.add_argument("picture", type=Path)
    args = parser.parse_args()
    lines = read_metrics(args.folder)
    plot(lines, args.picture)
    for key in (k for _, keys in PANELS for k in keys):
        values = [(x["iteration"], x[key]) for x in lines if key in x]
        if values:
            (first, a), (last, b) = values[0], values[-1]
            print(f"{key}: {a:.4f} at iteration {first}, {b:.4f} at iteration {last}")


if __name__ == "__main__":
    main()
