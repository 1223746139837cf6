"""Precision-recall and F-threshold curves of methods in one picture."""

from __future__ import annotations

import io
from collections.abc import Mapping

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from cosal_d2.evaluation.field import THRESHOLDS

STYLES = ("-", "--", "-.", ":")
COLOURS = 10  # of matplotlib, C0 to C9


def draw_curves(curves: Mapping[str, Mapping[str, np.ndarray]]) -> Figure:
    """Draw the mean curves of each method.

    Args:
        curves: by method, with ``precision``, ``recall`` and ``F``, each ``(256,)`` at the levels
            255 to 0, see :func:`.field.field_curves`.
    """
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for i, (method, curve) in enumerate(curves.items()):
        style = {
            "color": f"C{i % COLOURS}",
            "linestyle": STYLES[i // COLOURS % len(STYLES)],
            "label": method.replace("$", r"\$"),
        }
        left.plot(curve["recall"], curve["precision"], **style)
        right.plot(THRESHOLDS, curve["F"], **style)
    left.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    right.set(xlabel="threshold", ylabel="F (beta² = 0.3)", xlim=(0, 255), ylim=(0, 1.02))
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def render(figure: Figure, kind: str) -> bytes:
    """A figure as "png", "svg" or "pdf"; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    dates = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
    with matplotlib.rc_context({"svg.hashsalt": "curves", "svg.fonttype": "path"}):
        figure.savefig(buffer, format=kind, dpi=150, metadata=dates.get(kind))
    return buffer.getvalue()
