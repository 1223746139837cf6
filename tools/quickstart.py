"""Make scenes, train on them, score and draw: the whole project in one command (``make demo``)."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import time
from pathlib import Path

from tabulate import tabulate

from cosal_d2.cli import main as run_cosal

# name, number of scenes, seed, range of distractors
SPLITS = (
    ("quick_train", 300, 1, (0, 4)),
    ("quick_plain", 40, 2, (0, 0)),
    ("quick_distractors", 40, 3, (1, 4)),
)
SIZE = (240, 320)
COLUMNS = ("F0.3", "MAE", "P", "R", "object_recall", "distractor_rejection")


def cosal(*words: object) -> None:
    """Show a command of `cosal` and run it; where it fails, end."""
    command = [str(word) for word in words]
    print(f"\n$ cosal {shlex.join(command)}", flush=True)
    status = run_cosal(command)
    if status:
        sys.exit(status)


def score_tables(folder: Path) -> str:
    """One table a test dataset: the model beside the two reference rows."""
    from cosal_d2.evaluation import reference_rows

    tables = []
    for name, *_ in SPLITS[1:]:
        dataset = f"cosal_{name}"
        scores = json.loads((folder / dataset / "cosal_metrics.json").read_text())
        rows = {"quickstart model": scores, **reference_rows(dataset)}
        table = [[name, *(row.get(c) for c in COLUMNS)] for name, row in rows.items()]
        tables.append(tabulate(table, [dataset, *COLUMNS], floatfmt=".3f", missingval="-"))
    return "\n\n".join(tables)


def draw_gallery(output: Path) -> Path:
    """Twelve test scenes through the quickstart model and through the released one."""
    from detectron2.data import DatasetCatalog

    from cosal_d2 import CoSaliencyPredictor
    from cosal_d2.evaluation import decode_truth
    from cosal_d2.utils.drawing import map_to_uint8, save_gallery

    trained = str(output / "model_final.pth")
    models = {
        "quickstart": CoSaliencyPredictor("quickstart", weights=trained),
        "released": CoSaliencyPredictor(),
    }
    titles = ["image", "truth"] + [f"{m} {kind}" for m in models for kind in ("map", "overlay")]
    scenes = DatasetCatalog.get("cosal_quick_plain")[:4]
    scenes += DatasetCatalog.get("cosal_quick_distractors")[:8]
    rows = []
    for record in scenes:
        results = [model(record["file_name"]) for model in models.values()]
        row = [results[0].image, map_to_uint8(decode_truth(record).mask)]
        for result in results:
            row += [map_to_uint8(result.map), result.overlay()]
        rows.append(row)
    path = output / "gallery.png"
    save_gallery(path, titles, rows)
    return path


def main() -> None:
    """Run the four steps and say what was made."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("output/quickstart"))
    output = parser.parse_args().output
    start = time.perf_counter()
    root = output / "data"
    for name, count, seed, distractors in SPLITS:
        series = ("--out", root, "--name", name, "--count", count, "--seed", seed, "--overwrite")
        cosal("data", "synthetic", *series, "--distractors", *distractors, "--size", *SIZE)
    print(f"\n$ export DETECTRON2_DATASETS={root}")
    os.environ["DETECTRON2_DATASETS"] = str(root)
    cosal("train", "--config-file", "quickstart.yaml", "--resume", "OUTPUT_DIR", output)
    gallery = draw_gallery(output)
    tables = score_tables(output / "inference")
    print(
        f"\n{tables}\n\nDone in {(time.perf_counter() - start) / 60:.1f} minutes.\n"
        f"  scenes   {root / 'cosal'}\n"
        f"  weights  {output / 'model_final.pth'}\n"
        f"  scores   {output / 'inference'}\n"
        f"  gallery  {gallery}\n"
        "Next, your own pictures:\n"
        "  .venv/bin/cosal predict --input YOUR_PICTURES --output maps"
    )


if __name__ == "__main__":
    main()
