import math
import subprocess
import sys

import cv2
import numpy as np
import pytest

from cosal_d2.paper.classical import cluster_based, frequency_tuned
from cosal_d2.paper.classical.cws import (
    cluster_pixels,
    cluster_saliency,
    pixel_features,
    pixel_likelihood,
)

pytestmark = pytest.mark.usefixtures("one_thread")


def disc_picture(height=60, width=80, centre=(30, 40), radius=10):
    """A red disc on grey, and the disc's mask."""
    y, x = np.mgrid[:height, :width]
    mask = (y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2
    image = np.full((height, width, 3), 128, np.uint8)
    image[mask] = (30, 30, 220)
    return image, mask


def noise(height=17, width=23, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def slow_lab(bgr):
    """sRGB to CIE L*a*b* under D65, one pixel at a time, from the standards' formulas."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in bgr[::-1] / 255]
    matrix = [
        (0.412453, 0.357580, 0.180423),
        (0.212671, 0.715160, 0.072169),
        (0.019334, 0.119193, 0.950227),
    ]
    xyz = [sum(m * c for m, c in zip(row, linear, strict=True)) for row in matrix]
    white = (0.950456, 1.0, 1.088754)
    f = [
        t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116
        for t in (v / w for v, w in zip(xyz, white, strict=True))
    ]
    return 116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])


def slow_frequency_tuned(image):
    height, width = image.shape[:2]
    lab = [[slow_lab(image[y, x]) for x in range(width)] for y in range(height)]
    pixels = [p for row in lab for p in row]
    mean = [sum(p[c] for p in pixels) / len(pixels) for c in range(3)]
    weights = (1, 4, 6, 4, 1)
    saliency = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            smooth = [0.0, 0.0, 0.0]
            for i, wy in enumerate(weights):
                for j, wx in enumerate(weights):
                    near = lab[min(max(y + i - 2, 0), height - 1)][
                        min(max(x + j - 2, 0), width - 1)
                    ]
                    for c in range(3):
                        smooth[c] += wy * wx / 256 * near[c]
            saliency[y, x] = math.dist(mean, smooth) ** 2
    return (saliency - saliency.min()) / (saliency.max() - saliency.min())


@pytest.mark.parametrize("image", [noise(), disc_picture(24, 30, (10, 12), 5)[0]])
def test_ft_equals_a_slow_implementation_from_the_formulas(image):
    assert np.abs(frequency_tuned(image) - slow_frequency_tuned(image)).max() < 5e-3


@pytest.mark.parametrize("saliency", [frequency_tuned, cluster_based])
def test_a_red_disc_on_grey_stands_out(saliency):
    image, mask = disc_picture()
    found = saliency(image)
    assert found.dtype == np.float32 and found.shape == mask.shape
    assert found.min() == 0 and found.max() == 1
    inside = cv2.erode(mask.astype(np.uint8), np.ones((5, 5))) > 0
    outside = cv2.dilate(mask.astype(np.uint8), np.ones((21, 21))) == 0
    assert found[inside].min() > 0.9 > 0.2 > found[outside].max()


@pytest.mark.parametrize("saliency", [frequency_tuned, cluster_based])
def test_odd_pictures_give_a_map_of_their_size(saliency):
    for shape in ((1, 1, 3), (1, 9, 3), (2, 2, 3), (7, 1, 3)):
        found = saliency(noise(*shape[:2]))
        assert found.shape == shape[:2] and 0 <= found.min() <= found.max() <= 1
    assert not saliency(np.full((20, 30, 3), 77, np.uint8)).any()
    two = np.zeros((20, 30, 3), np.uint8)
    two[5:9, 5:9] = 255
    assert saliency(two)[6, 6] > saliency(two)[15, 25]


@pytest.mark.parametrize("saliency", [frequency_tuned, cluster_based])
@pytest.mark.parametrize(
    "image",
    [np.zeros((5, 5), np.uint8), np.zeros((5, 5, 3)), np.zeros((0, 5, 3), np.uint8)],
)
def test_what_is_no_picture_is_refused(saliency, image):
    with pytest.raises(ValueError, match="uint8 BGR"):
        saliency(image)


def slow_cluster_saliency(labels, centres, size, sigma, grid):
    """The cues and their product, pixel by pixel."""
    height, width = size
    count, total = len(centres), len(labels)
    own = [[i for i in range(total) if labels[i] == k] for k in range(count)]
    middle = ((height - 1) / 2, (width - 1) / 2)
    contrast, spatial, corresponding = [], [], []
    for k in range(count):
        contrast.append(
            sum(len(own[i]) / total * math.dist(centres[k], centres[i]) for i in range(count))
        )
        near = 0.0
        cells = [0] * (grid * grid)
        for i in own[k]:
            y, x = divmod(i, width)
            distance = math.dist((y, x), middle) / math.hypot(*middle)
            near += math.exp(-(distance**2) / (2 * sigma**2))
            cells[int(y / height * grid) * grid + int(x / width * grid)] += 1
        spatial.append(near / len(own[k]))
        shares = [c / len(own[k]) for c in cells]
        mean = sum(shares) / len(shares)
        variance = sum((s - mean) ** 2 for s in shares) / len(shares)
        corresponding.append(1 / (variance + 1))
    product = [1.0] * count
    for cue in (contrast, spatial):
        half = (max(cue) - min(cue)) / 2
        for k in range(count):
            product[k] *= math.exp(-((cue[k] - max(cue)) ** 2) / (2 * half**2))
    return [p * c for p, c in zip(product, corresponding, strict=True)]


def test_cws_cues_equal_a_slow_computation():
    size = (14, 19)
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 5, size[0] * size[1])
    labels[:60] = 4  # gathered at the top
    centres = rng.normal(0, 30, (5, 4)).astype(np.float32)
    expected = slow_cluster_saliency(labels.tolist(), centres.tolist(), size, 0.5, 2)
    assert cluster_saliency(labels, centres, size) == pytest.approx(expected, rel=1e-6)


def test_cws_likelihood_equals_a_slow_computation():
    rng = np.random.default_rng(2)
    features = rng.normal(0, 9, (40, 4)).astype(np.float32)
    labels, centres = cluster_pixels(features, 3, seed=0)
    weights = np.array([0.2, 1.0, 0.5])
    variances = [
        np.mean([math.dist(f, centres[k]) ** 2 for f in features[labels == k].tolist()])
        for k in range(3)
    ]
    expected = []
    for f in features.tolist():
        densities = [
            math.exp(-(math.dist(f, c) ** 2) / (2 * v)) / math.sqrt(2 * math.pi * v)
            for c, v in zip(centres.tolist(), variances, strict=True)
        ]
        expected.append(
            sum(w * d for w, d in zip(weights, densities, strict=True)) / sum(densities)
        )
    found = pixel_likelihood(features, labels, centres, weights)
    assert found == pytest.approx(expected, rel=1e-5)


def test_the_seed_decides():
    image = noise(60, 80)
    assert np.array_equal(cluster_based(image, 3), cluster_based(image, 3))
    assert not np.array_equal(cluster_based(image, 3), cluster_based(image, 4))


def test_texture_alone_separates_clusters():
    image = np.full((48, 96, 3), 128, np.uint8)
    image[:, 48:] += (
        (np.sin(np.arange(48) * 2 * np.pi / 8) * 60).astype(np.int8).astype(np.uint8)[None, :, None]
    )
    texture = pixel_features(image)[:, 3].reshape(48, 96)
    assert texture[20:28, 60:84].min() > 5 * texture[20:28, 8:30].max()


def test_a_large_picture_has_the_map_of_a_small_one():
    large, _ = disc_picture(360, 480, (180, 240), 72)
    small, _ = disc_picture(225, 300, (112, 150), 45)
    found = cv2.resize(cluster_based(large), (300, 225), interpolation=cv2.INTER_AREA)
    assert np.abs(found - cluster_based(small)).mean() < 0.05


def test_worker_processes_load_no_torch():
    code = "import sys, cosal_d2.paper.classical; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
