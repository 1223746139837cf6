import pytest
import torch
from box_data import random_boxes, seeded
from detectron2.modeling.poolers import ROIPooler
from detectron2.structures import Boxes
from network_data import instances
from torchvision.ops import roi_align

from cosal_d2.modeling import RegionalFeatureMapping
from cosal_d2.modeling.rfm import MAX_HEAD_PARAMETERS, EmbeddingHead, triplet_loss
from cosal_d2.modeling.triplets import TripletRegions

BOXES = [[3.0, 5.0, 40.0, 33.0], [20.0, 0.0, 64.0, 48.0], [50.0, 40.0, 63.5, 47.0]]


def pooler():
    return ROIPooler(7, scales=[1 / 16], sampling_ratio=2, pooler_type="ROIAlignV2")


def regions(count=6, positives=4, triplets=9, seed=0):
    g = seeded(seed)
    quality = torch.rand(count, generator=g)
    quality[positives:] = 0
    pick = torch.randint(0, positives, (triplets, 3), generator=g)
    pick[:, 2] = torch.randint(positives, count, (triplets,), generator=g)
    return TripletRegions(random_boxes(count, seed), quality, pick, positives)


def slow_triplet_losses(embeddings, sample, margin):
    losses = []
    for a, p, n in sample.triplets.tolist():
        near = sum((x - y) ** 2 for x, y in zip(embeddings[a], embeddings[p], strict=True))
        far = sum((x - y) ** 2 for x, y in zip(embeddings[a], embeddings[n], strict=True))
        weight = sample.quality[a].item() * sample.quality[p].item()
        losses.append(weight * max(near - far + margin, 0.0))
    return losses


@pytest.mark.parametrize("margin", [0.0, 0.5, 40.0])
def test_triplet_loss_equals_a_slow_loop(margin):
    sample = regions()
    embeddings = torch.randn((6, 5), generator=seeded(4))
    losses, near, far = triplet_loss(embeddings, sample, margin)
    expected = slow_triplet_losses(embeddings.double().tolist(), sample, margin)
    assert losses.tolist() == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert sum(v > 0 for v in expected) >= 2 and near.shape == far.shape == losses.shape


@pytest.mark.parametrize("normalize", [True, False])
def test_head_pools_the_whole_of_r_and_then_reduces_it(normalize):
    torch.manual_seed(0)  # no region whose channels are all below zero
    head = EmbeddingHead(12, 5, pooler(), 6, normalize)
    torch.nn.init.normal_(head.bias)
    r = torch.randn(2, 12, 3, 4)
    got = head(r, [Boxes(torch.tensor(BOXES[:2])), Boxes(torch.tensor(BOXES[2:]))])
    rois = torch.tensor([[float(i), *b] for i, b in zip((0, 0, 1), BOXES, strict=True)])
    pooled = roi_align(r, rois, (7, 7), 1 / 16, sampling_ratio=2, aligned=True)
    x = torch.einsum("mchw,kc->mkhw", pooled, head.reduce.weight[:, :, 0, 0]) + head.bias
    x = x.clamp(min=0).reshape(3, -1) @ head.embed.weight.T + head.embed.bias
    if normalize:
        x = x / x.pow(2).sum(1, keepdim=True).sqrt()
    assert got.shape == (3, 6) and got.dtype == torch.float32
    torch.testing.assert_close(got, x, rtol=1e-4, atol=1e-5)


def test_a_head_of_more_than_two_million_parameters_is_refused():
    width = MAX_HEAD_PARAMETERS // (49 * 128)
    with pytest.raises(ValueError, match="REDUCED_CHANNELS or MODEL.RFM.EMBEDDING_DIM"):
        EmbeddingHead(512, width, pooler(), 128, True)


class Fixed:
    """A sampler that hands out prepared regions."""

    needs_regions = False

    def __init__(self, samples):
        self.samples = list(samples)

    def __call__(self, targets, found, generator):
        return self.samples.pop(0)


def branch(*samples, **changes):
    with torch.random.fork_rng([]):
        torch.manual_seed(1)
        head = EmbeddingHead(12, 5, pooler(), 6, True)
    return RegionalFeatureMapping(sampler=Fixed(samples), head=head, **changes)


def run(rfm, r):
    n = len(r)
    generators = [torch.Generator() for _ in range(n)]
    return rfm(r, [instances((48, 64), [])] * n, [None] * n, generators)["loss_triplet"]


def test_loss_is_the_mean_over_all_triplets_of_the_batch(storage):
    first, second = regions(triplets=9), regions(triplets=3, seed=2)
    r = torch.randn(2, 12, 3, 4, requires_grad=True)
    rfm = branch(first, second, margin=0.7, loss_weight=3.0)
    loss = run(rfm, r)
    with torch.no_grad():
        embeddings = rfm.embed(r, [first.boxes, second.boxes])
    assert [e.shape for e in embeddings] == [(6, 6), (6, 6)]
    expected = []
    for e, s in zip(embeddings, (first, second), strict=True):
        expected += slow_triplet_losses(e.tolist(), s, 0.7)
    assert loss.item() == pytest.approx(3 * sum(expected) / 12, rel=1e-4)
    loss.backward()
    assert r.grad.abs().sum() > 0
    assert all(p.grad.abs().sum() > 0 for p in rfm.head.reduce.parameters())
    logged = storage.latest()
    assert logged["rfm/triplets"][0] == 6 and 0 <= logged["rfm/satisfied"][0] <= 1
