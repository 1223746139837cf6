"""Make scenes, train on them, score and draw: the whole project in one command (``make demo``)."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

from detectron2.data import DatasetCatalog
from detectron2.utils.env import seed_all_rng
from detectron2.utils.logger import setup_logger
from tabulate import tabulate

from cosal_d2.config import get_cosal_config
from cosal_d2.data import read_image, register_all_cosal
from cosal_d2.engine import Trainer
from cosal_d2.evaluation import reference_rows
from cosal_d2.evaluation.truth import decode_truth
from cosal_d2.inference import CoSaliencyPredictor
from cosal_d2.prepare.synthetic import DatasetSpec, SceneOptions, write_dataset
from cosal_d2.utils.drawing import draw_overlay, map_to_uint8, save_gallery

SIZE = (240, 320)
# name, number of scenes, seed, range of distractors
SPLITS = (
    ("quick_train", 300, 1, (0, 4)),
    ("quick_plain", 40, 2, (0, 0)),
    ("quick_distractors", 40, 3, (1, 4)),
)
COLUMNS = ("F0.3", "MAE", "P", "R", "object_recall", "distractor_rejection")


def make_scenes(root: Path) -> None:
    """Draw the three splits under ``root`` and register them."""
    for name, count, seed, distractors in SPLITS:
        options = SceneOptions(distractors=distractors, repeat=True, size=SIZE)
        write_dataset(DatasetSpec(root, name, count, seed, options), None, True, progress=True)
    register_all_cosal(str(root))


def train(output: Path) -> dict[str, dict]:
    """Train ``quickstart.yaml`` and return the scores of its test datasets."""
    cfg = get_cosal_config("quickstart.yaml", ["OUTPUT_DIR", str(output)])
    for name in ("cosal_d2", "detectron2", "fvcore"):
        setup_logger(str(output), name=name)
    seed_all_rng(cfg.SEED)
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=False)
    trainer.train()
    return trainer._last_eval_results


def print_scores(results: dict[str, dict]) -> None:
    """One table a test dataset: the model beside the two reference rows."""
    for dataset, scores in results.items():
        rows = {"quickstart model": scores["cosal"], **reference_rows(dataset)}
        table = [[name, *(row.get(c) for c in COLUMNS)] for name, row in rows.items()]
        print(f"\n{dataset}")
        print(tabulate(table, ["", *COLUMNS], floatfmt=".3f", missingval="-"))


def draw_gallery(output: Path) -> Path:
    """Twelve test scenes through the quickstart model and through the released one."""
    weights = str(output / "model_final.pth")
    models = {
        "quickstart": CoSaliencyPredictor(
            get_cosal_config("quickstart.yaml", ["MODEL.WEIGHTS", weights])
        ),
        "released": CoSaliencyPredictor(get_cosal_config("cosal_vgg16_cpu.yaml")),
    }
    titles = ["image", "truth"] + [f"{m} {kind}" for m in models for kind in ("map", "overlay")]
    scenes = DatasetCatalog.get("cosal_quick_plain")[:4]
    scenes += DatasetCatalog.get("cosal_quick_distractors")[:8]
    rows = []
    for record in scenes:
        image = read_image(record["file_name"])
        row = [image, decode_truth(record).mask.astype("uint8") * 255]
        for model in models.values():
            cosal_map = model(image)
            row += [map_to_uint8(cosal_map), draw_overlay(image, cosal_map)]
        rows.append(row)
    path = output / "gallery.png"
    save_gallery(str(path), titles, rows)
    return path


def main() -> None:
    """Run the four steps and say what was made."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("output/quickstart"))
    output = parser.parse_args().output
    os.makedirs(output, exist_ok=True)
    start = time.perf_counter()
    make_scenes(output / "data")
    made = time.perf_counter()
    results = train(output)
    trained = time.perf_counter()
    gallery = draw_gallery(output)
    print_scores(results)
    print(
        f"\nDone in {(time.perf_counter() - start) / 60:.1f} minutes "
        f"(scenes {made - start:.0f} s, training and scoring {(trained - made) / 60:.1f} min).\n"
        f"  scenes   {output / 'data' / 'cosal'}\n"
        f"  weights  {output / 'model_final.pth'}\n"
        f"  scores   {output / 'inference'}\n"
        f"  gallery  {gallery}\n"
        "Next, your own pictures:\n"
        "  .venv/bin/cosal predict --input YOUR_PICTURES --output maps"
    )


if __name__ == "__main__":
    main()
