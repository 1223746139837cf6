"""The memory and the time that large pictures take, whose predictions are of the same size."""

import subprocess
import sys

import cv2
import numpy as np
import pytest
from PIL import Image

HEIGHT, WIDTH = 3000, 4000
# Of 12000 x 9000 pixels that leaves 0.75 GB of 3 GB to the libraries and the network.
BYTES_PER_PIXEL = 21
CODE = """
import sys
import time
from cosal_d2 import CoSaliencyPredictor
from cosal_d2.utils.memory import peak_mb

small, large, out = sys.argv[1:]
predictor = CoSaliencyPredictor()
predictor(small).save(out, "map,overlay")
before = peak_mb()
began = time.process_time()
result = predictor(large)
result.map
predicted = time.process_time()
result.save(out, "overlay")
drawn = time.process_time() - predicted
result.save(out, "map")
print(peak_mb() - before, drawn / (time.process_time() - began))
"""


def write(path, kind, height, width):
    """Stripes, as PNG of 16 bits or as JPEG that its EXIF turns."""
    row = np.arange(width, dtype=np.uint16) * 7
    if kind == "deep":
        pixels = np.repeat(np.tile(row, (height, 1))[:, :, None], 3, axis=2)
        content = cv2.imencode(".png", pixels, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1]
        path.write_bytes(content.tobytes())
        return
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.tile(row.astype(np.uint8), (height, 1))
    Image.fromarray(pixels).convert("RGB").save(path, exif=exif)


@pytest.mark.parametrize(("kind", "suffix"), [("turned", "jpg"), ("deep", "png")])
def test_memory_and_drawing_of_a_large_picture(tmp_path, kind, suffix):
    small, large = tmp_path / f"small.{suffix}", tmp_path / f"large.{suffix}"
    write(small, kind, 450, 600)
    write(large, kind, HEIGHT, WIDTH)
    command = [sys.executable, "-c", CODE, small, large, tmp_path / "out"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    taken, drawing = map(float, run.stdout.split())
    assert taken * 1e6 < BYTES_PER_PIXEL * HEIGHT * WIDTH
    assert drawing < 0.5  # of the time
