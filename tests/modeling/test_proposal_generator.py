import math

import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling.proposal_generator import RPN
from detectron2.structures import Boxes, ImageList
from network_data import instances, tiny_config

from cosal_d2.config import get_cosal_config
from cosal_d2.modeling import CoSaliencyRPN
from cosal_d2.modeling.proposal_generator import anchor_losses

SHAPE = {"r": ShapeSpec(channels=8, stride=16)}
SIZES = [(64, 80), (60, 70)]


def rpns(*opts):
    """Ours and Detectron2's with the same weights, larger than at the start of a training."""
    cfg = tiny_config("MODEL.RPN.BATCH_SIZE_PER_IMAGE", "20", *opts)
    ours, plain = CoSaliencyRPN(cfg, SHAPE), RPN(cfg, SHAPE)
    generator = torch.Generator().manual_seed(2)
    for parameter in ours.parameters():
        parameter.data.normal_(0, 0.15, generator=generator)
    plain.load_state_dict(ours.state_dict())
    return ours, plain


def inputs():
    generator = torch.Generator().manual_seed(5)
    images = ImageList(torch.zeros(2, 3, 64, 80), SIZES)
    features = {"r": torch.randn((2, 8, 4, 5), generator=generator)}
    first = instances(SIZES[0], [(4, 4, 30, 30), (40, 20, 75, 52)])
    return images, features, [first, instances(SIZES[1], [])]


def run(rpn, seed=0):
    images, features, targets = inputs()
    torch.manual_seed(seed)
    return rpn(images, features, targets)


def test_losses_are_detectron2s_own(storage):
    ours, plain = rpns()
    _, a = run(ours)
    _, b = run(plain)
    assert a.keys() == b.keys() == {"loss_rpn_cls", "loss_rpn_loc"}
    assert all(torch.equal(a[k], b[k]) for k in a) and a["loss_rpn_loc"] > 0
    sum(a.values()).backward()
    sum(b.values()).backward()
    for x, y in zip(ours.parameters(), plain.parameters(), strict=True):
        assert torch.equal(x.grad, y.grad)


def test_eval_mode_is_detectron2s_own():
    ours, plain = (rpn.eval() for rpn in rpns())
    (a, _), (b, _) = run(ours), run(plain)
    for x, y in zip(a, b, strict=True):
        assert torch.equal(x.proposal_boxes.tensor, y.proposal_boxes.tensor)
        assert torch.equal(x.objectness_logits, y.objectness_logits)


def test_sum_over_the_sampled_anchors_is_rpns_loss(storage):
    ours, _ = rpns("MODEL.RPN.LOSS_WEIGHT", "2.0", "MODEL.RPN.BBOX_REG_LOSS_WEIGHT", "0.5")
    kept = {}

    def spy(anchors, logits, labels, deltas, boxes):
        out = CoSaliencyRPN.losses(ours, anchors, logits, labels, deltas, boxes)
        kept.update(sampled=torch.stack(labels) >= 0, losses=ours._anchor_losses)
        return out

    ours.losses = spy
    _, losses = run(ours)
    assert kept["sampled"].sum() == 2 * 20 < kept["sampled"].numel()
    total = kept["losses"][kept["sampled"]].sum() / (2 * 20)
    torch.testing.assert_close(total, sum(losses.values()))


def test_anchor_losses_equal_a_slow_loop():
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn((2, 9), generator=generator) * 3
    deltas = torch.randn((2, 9, 4), generator=generator)
    targets = torch.randn((2, 9, 4), generator=generator)
    labels = torch.tensor([[1, 0, -1] * 3, [1, 1, 1, 0, 0, 0, -1, -1, -1]])
    targets[labels < 1] = float("-inf")
    beta, wc, wl = 0.8, 1.5, 0.25
    got = anchor_losses(logits, deltas, labels, targets, beta, wc, wl)
    for n in range(2):
        for a in range(9):
            expected = 0.0
            if labels[n, a] >= 0:
                p = 1 / (1 + math.exp(-float(logits[n, a])))
                expected = -wc * math.log(p if labels[n, a] == 1 else 1 - p)
            if labels[n, a] == 1:
                for x, y in zip(deltas[n, a].tolist(), targets[n, a].tolist(), strict=True):
                    d = abs(x - y)
                    expected += wl * (d * d / (2 * beta) if d < beta else d - beta / 2)
            assert got[n, a].item() == pytest.approx(expected, rel=1e-4, abs=1e-5)


def decode(anchor, delta, size):
    """Faster R-CNN's parametrisation, clipped to the image."""
    (x0, y0, x1, y1), (dx, dy, dw, dh) = anchor, delta
    w, h = x1 - x0, y1 - y0
    cx, cy = x0 + w / 2 + dx * w, y0 + h / 2 + dy * h
    w, h = w * math.exp(dw), h * math.exp(dh)
    box = (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)
    return [min(max(v, 0), size[1 - i % 2]) for i, v in enumerate(box)]


def test_each_region_has_the_box_and_loss_of_the_anchor_it_comes_from(storage):
    ours, _ = rpns()
    kept = {}

    def spy(anchors, logits, deltas, sizes):
        kept.update(anchors=Boxes.cat(anchors).tensor, deltas=torch.cat(deltas, 1).detach())
        kept.update(logits=torch.cat(logits, 1).detach(), losses=ours._anchor_losses)
        kept.update(labels=torch.stack(ours._all_labels))
        return CoSaliencyRPN.predict_proposals(ours, anchors, logits, deltas, sizes)

    ours.predict_proposals = spy
    regions, _ = run(ours)
    assert (kept["labels"][0] == 1).sum() >= 2 and not (kept["labels"][1] == 1).any()
    for n, size in enumerate(SIZES):
        boxes, losses, logits, labelled = [], [], [], []
        for a, anchor in enumerate(kept["anchors"].tolist()):
            box = decode(anchor, kept["deltas"][n, a].tolist(), size)
            wide = min(box[2] - box[0], box[3] - box[1]) > ours.min_box_size
            if wide:
                boxes.append(box)
                losses.append(kept["losses"][n, a])
                logits.append(kept["logits"][n, a])
                labelled.append(bool(kept["labels"][n, a] >= 0))
        assert 20 < len(boxes) == len(regions[n])
        torch.testing.assert_close(
            regions[n].proposal_boxes.tensor, torch.tensor(boxes), rtol=1e-4, atol=1e-3
        )
        assert torch.equal(regions[n].region_loss, torch.stack(losses))
        assert torch.equal(regions[n].objectness_logits, torch.stack(logits))
        assert regions[n].labelled.tolist() == labelled
        assert torch.equal(regions[n].region_loss > 0, regions[n].labelled)
        assert not regions[n].objectness_logits.requires_grad
        assert not regions[n].proposal_boxes.tensor.requires_grad
        assert not regions[n].region_loss.requires_grad
    # Some anchors are neither object nor background beside an object; none are without one.
    assert not regions[0].labelled.all() and regions[1].labelled.all()


def test_an_image_without_objects_gives_background_and_finite_losses(storage):
    ours, _ = rpns()
    images, features, _ = inputs()
    regions, losses = ours(images, features, [instances(s, []) for s in SIZES])
    sum(losses.values()).backward()
    assert losses["loss_rpn_loc"].item() == 0 and math.isfinite(losses["loss_rpn_cls"].item())
    assert all(p.grad is not None for p in ours.parameters())
    assert all(torch.isfinite(r.region_loss).all() for r in regions)


def test_the_papers_config_has_nine_anchors_a_cell():
    rpn = CoSaliencyRPN(get_cosal_config("cosal_vgg16_online.yaml"), SHAPE)
    assert rpn.anchor_generator.num_anchors == [9]
    (cell,) = rpn.anchor_generator.cell_anchors
    w, h = (cell[:, 2:] - cell[:, :2]).T
    torch.testing.assert_close(
        (w * h).sqrt(), torch.tensor([128.0, 256.0, 512.0]).repeat_interleave(3)
    )
    torch.testing.assert_close(w / h, torch.tensor([2.0, 1.0, 0.5] * 3))
