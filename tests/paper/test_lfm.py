"""LFM: low-rank recovery, groups of proposals, cues, and the whole method on drawn pictures."""

import numpy as np
import pytest

from cosal_d2.paper.lfm import common_saliency
from cosal_d2.paper.lfm.cues import colour_labels, low_level_cues
from cosal_d2.paper.lfm.groups import box_histograms, find_groups, mutual_saliency
from cosal_d2.paper.lfm.low_rank import robust_pca, sparse_shares
from cosal_d2.paper.lfm.method import cue_weights, fuse_maps

RED, BLUE, GREY = (30, 30, 220), (220, 60, 30), (120, 120, 120)
BOXES = np.array([(10, 10, 30, 30), (50, 12, 70, 32), (12, 44, 32, 64), (60, 48, 80, 68)])


@pytest.fixture
def picture():
    """Three red squares and a blue one on grey, with a map that finds all four salient."""
    rng = np.random.default_rng(1)
    image = np.full((80, 100, 3), GREY, np.uint8)
    saliency = np.zeros((80, 100), np.float32)
    for (x0, y0, x1, y1), colour in zip(BOXES, (RED, RED, RED, BLUE), strict=True):
        image[y0:y1, x0:x1] = colour
        saliency[y0:y1, x0:x1] = 1
    return np.clip(image + rng.integers(-4, 5, image.shape), 0, 255).astype(np.uint8), saliency


def slow_robust_pca(matrix):
    """Alternating directions with one penalty (Candes et al. 2011, algorithm 1), to the end."""
    weight, penalty = matrix.shape[1] ** -0.25, matrix.size / (4 * np.abs(matrix).sum())
    sparse, multiplier = np.zeros_like(matrix), np.zeros_like(matrix)
    for _ in range(20000):
        left, values, right = np.linalg.svd(matrix - sparse + multiplier / penalty, False)
        low_rank = left @ np.diag(np.where(values > 1 / penalty, values - 1 / penalty, 0)) @ right
        for j, column in enumerate((matrix - low_rank + multiplier / penalty).T):
            length = np.linalg.norm(column)
            sparse[:, j] = column * max(1 - weight / penalty / length, 0)
        residual = matrix - low_rank - sparse
        multiplier += penalty * residual
        if np.linalg.norm(residual) < 1e-9 * np.linalg.norm(matrix):
            break
    return low_rank, sparse


def test_a_low_rank_and_a_sparse_part_are_recovered():
    rng = np.random.default_rng(0)
    low_rank = np.outer(rng.normal(size=60), rng.uniform(0.5, 1.5, 20))
    sparse = np.zeros((60, 20))
    sparse[:, [3, 17]] = rng.normal(size=(60, 2))
    low_rank[:, [3, 17]] = 0
    found = robust_pca(low_rank + sparse)
    assert np.linalg.matrix_rank(found[0], tol=1e-3) == 1
    lengths = np.linalg.norm(found[1], axis=0)
    assert lengths[[3, 17]].min() > 5 and np.delete(lengths, [3, 17]).max() < 1e-3
    np.testing.assert_allclose(np.delete(found[0] - low_rank, [3, 17], 1), 0, atol=1e-4)


@pytest.mark.parametrize("shape", [(30, 6), (12, 12), (5, 20)])
def test_it_is_as_good_as_a_slow_one_and_the_parts_add_up(shape):
    rng = np.random.default_rng(4)
    matrix = rng.normal(size=(shape[0], 1)) @ rng.normal(size=(1, shape[1]))
    matrix += rng.normal(size=shape) * (np.arange(shape[1]) % 5 == 2)

    def cost(low_rank, sparse):
        lengths = np.linalg.norm(sparse, axis=0)
        return np.linalg.norm(low_rank, "nuc") + lengths.sum() * shape[1] ** -0.25

    low_rank, sparse = robust_pca(matrix)
    np.testing.assert_allclose(low_rank + sparse, matrix, atol=1e-4)
    slow = slow_robust_pca(matrix)
    assert cost(low_rank, sparse) == pytest.approx(cost(*slow), rel=2e-4)
    assert np.abs(low_rank - slow[0]).max() < 0.1 < np.abs(matrix - slow[0]).max()


def test_a_matrix_of_zeros_stays_and_one_that_is_not_finite_is_refused():
    assert all(not part.any() for part in robust_pca(np.zeros((4, 3))))
    for bad in (np.array([[1.0, np.nan]]), np.ones(3)):
        with pytest.raises(ValueError, match="finite matri"):
            robust_pca(bad)


def test_several_matrices_are_each_for_itself():
    rng = np.random.default_rng(6)
    matrices = rng.random((3, 20, 5)) * np.array([1.0, 100.0, 0.0])[:, None, None]
    for together, alone in zip(
        zip(*robust_pca(matrices), strict=True), map(robust_pca, matrices), strict=True
    ):
        for a, b in zip(together, alone, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-4 * np.abs(b).max())


def test_a_map_that_is_unlike_the_others_weighs_less():
    rng = np.random.default_rng(5)
    common = rng.random((40, 60)).astype(np.float32)
    common[:, :20] = 0
    odd = np.zeros_like(common)
    odd[8:24, 2:18] = 1
    shares = sparse_shares(np.stack([common.ravel()] * 6 + [odd.ravel()], axis=1))
    assert shares[:6].max() < 0.01 < 0.9 < shares[6]
    fused = fuse_maps(np.stack([common] * 6 + [odd]))
    weight = np.exp(-1) / (6 + np.exp(-1))
    assert fused[odd > 0].mean() == pytest.approx(weight, rel=0.1)
    assert fused[:, 30:].mean() == pytest.approx((1 - weight) * common[:, 30:].mean(), rel=0.01)
    np.testing.assert_allclose(fuse_maps(common[None]), common, atol=1e-6)


def test_groups_are_what_a_search_through_all_of_them_finds():
    rng = np.random.default_rng(2)
    common = rng.random((7, 7))
    common = np.triu(common, 1) + np.triu(common, 1).T
    common[:3, :3] += 5  # one group stands out
    np.fill_diagonal(common, -np.inf)

    def density(group):
        return sum(common[i, j] for i in group for j in group if i < j) / len(group)

    found = find_groups(common, 3)
    subsets = [[i for i in range(7) if n >> i & 1] for n in range(1, 128)]
    best = max((s for s in subsets if len(s) > 1), key=density)
    assert found[0] == tuple(best)
    densities = [density(group) for group in found]
    assert densities == sorted(densities, reverse=True) and len(set(found)) == len(found) <= 3


def test_proposals_of_one_colour_that_are_salient_and_apart_make_a_group(picture):
    image, saliency = picture
    labels = colour_labels(np.float32(image))
    overlapping = [BOXES[0] + [1, 1, 1, 1]]
    boxes = np.concatenate([BOXES, overlapping])
    histograms = box_histograms(labels, saliency, boxes)
    np.testing.assert_allclose(histograms.sum(axis=1), 1)
    common = mutual_saliency(histograms, np.array([1, 1, 0.5, 1, 1]), boxes)
    assert common[0, 4] == common[2, 2] == -np.inf
    assert common[0, 1] > 0.8 > common[0, 2] > 0.4 and common[0, 3] < 0.1
    assert 3 not in find_groups(common, 10)[0]
    assert not find_groups(common[:1, :1], 10)


def test_a_cue_that_marks_the_same_colours_in_all_boxes_weighs_more(picture):
    image, saliency = picture
    labels = colour_labels(np.float32(image))
    odd = np.random.default_rng(3).random(saliency.shape).astype(np.float32)
    odd[:, :50] *= saliency[:, :50] == 0  # here the background, there both
    weights = cue_weights(np.stack([saliency, odd]), labels, BOXES[:3])
    assert weights.sum() == pytest.approx(1) and weights[0] > weights[1]


def test_nine_cues_are_maps_of_their_own(picture):
    cues = low_level_cues(picture[0])
    assert cues.shape == (9, 80, 100) and cues.dtype == np.float32
    assert (cues.min(axis=(1, 2)) == 0).all() and (cues.max(axis=(1, 2)) == 1).all()
    for i, cue in enumerate(cues):
        assert all(np.abs(cue - other).mean() > 1e-3 for other in cues[:i])
    flat = low_level_cues(np.full((24, 30, 3), 90, np.uint8))
    assert np.isfinite(flat).all() and flat.max() <= 1


def test_what_repeats_is_found_and_the_odd_one_is_not(picture):
    image, saliency = picture
    found = common_saliency(image, saliency, BOXES.astype(np.float32))
    assert found.dtype == np.float32 and found.shape == (80, 100)
    inside = [found[y0:y1, x0:x1].mean() for x0, y0, x1, y1 in BOXES]
    assert min(inside[:3]) > 0.6 and inside[3] < 0.05 and found[saliency == 0].max() < 0.05


def test_a_large_picture_has_a_map_of_its_size_and_nothing_in_common_gives_none(picture):
    image, saliency = (x.repeat(5, 0).repeat(5, 1) for x in picture)
    found = common_saliency(image, saliency, BOXES * 5.0)
    assert found.shape == (400, 500) and found[60:140, 60:140].mean() > 0.5
    for boxes in (np.zeros((0, 4)), BOXES[:1] * 5.0):
        assert not common_saliency(image, saliency, boxes).any()
    assert not common_saliency(image, np.zeros_like(saliency), BOXES * 5.0).any()
    with pytest.raises(ValueError, match="the saliency is"):
        common_saliency(image, saliency[:-1], BOXES)
