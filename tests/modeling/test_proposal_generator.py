import math

import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling.proposal_generator import RPN
from detectron2.structures import Boxes, ImageList, pairwise_iou
from network_data import instances, tiny_config

from cosal_d2.config import get_cosal_config
from cosal_d2.modeling import CoSaliencyRPN
from cosal_d2.modeling.proposal_generator import anchor_losses

SHAPE = {"r": ShapeSpec(channels=8, stride=16)}
SIZES = [(64, 80), (60, 70)]


def rpns(*opts):
    """Ours and Detectron2's with the same weights, larger than at the start of a training."""
    cfg = tiny_config(*(opts or ("MODEL.RPN.BATCH_SIZE_PER_IMAGE", "20")))
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


def test_losses_and_proposals_are_detectron2s_own(storage):
    ours, plain = rpns()
    _, a = run(ours)
    _, b = run(plain)
    assert a.keys() == b.keys() == {"loss_rpn_cls", "loss_rpn_loc"}
    assert all(torch.equal(a[k], b[k]) for k in a) and a["loss_rpn_loc"] > 0
    sum(a.values()).backward()
    sum(b.values()).backward()
    for x, y in zip(ours.parameters(), plain.parameters(), strict=True):
        assert torch.equal(x.grad, y.grad)
    (a, _), (b, _) = run(ours.eval()), run(plain.eval())
    for x, y in zip(a, b, strict=True):
        assert torch.equal(x.proposal_boxes.tensor, y.proposal_boxes.tensor)
        assert torch.equal(x.objectness_logits, y.objectness_logits)


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


def by_hand(ours, head):
    """Anchors, and each image's labels, logits, deltas and losses of them."""
    images, features, targets = inputs()
    (anchors,) = ours.anchor_generator([features["r"]])
    (logits,), (deltas,) = head
    logits = logits.permute(0, 2, 3, 1).flatten(1)
    deltas = deltas.unflatten(1, (-1, 4)).permute(0, 3, 4, 1, 2).flatten(1, 3)
    labels, wanted = [], []
    for target in targets:
        index, label = ours.anchor_matcher(pairwise_iou(target.gt_boxes, anchors))
        boxes = target.gt_boxes.tensor[index] if len(target) else anchors.tensor
        labels.append(label)
        wanted.append(ours.box2box_transform.get_deltas(anchors.tensor, boxes))
    weights = (ours.loss_weight["loss_rpn_cls"], ours.loss_weight["loss_rpn_loc"])
    labels, wanted = torch.stack(labels), torch.stack(wanted)
    losses = anchor_losses(logits, deltas, labels, wanted, ours.smooth_l1_beta, *weights)
    return anchors.tensor, labels, logits, deltas, losses


def test_each_region_has_the_box_and_loss_of_the_anchor_it_comes_from(storage):
    everything = ["MODEL.RPN.BATCH_SIZE_PER_IMAGE", "1000"]
    ours, _ = rpns(*everything, "MODEL.RPN.LOSS_WEIGHT", "2.0")
    head = []
    ours.rpn_head.register_forward_hook(lambda _, inputs, outputs: head.extend(outputs))
    regions, total = run(ours)
    anchors, labels, logits, deltas, losses = (x.detach() for x in by_hand(ours, head))
    # All anchors that have a label are sampled here, and RPN's loss is the sum over them.
    torch.testing.assert_close(losses.sum() / (2 * 1000), sum(total.values()).detach())
    for n, size in enumerate(SIZES):
        boxes = Boxes(ours.box2box_transform.apply_deltas(deltas[n], anchors))
        boxes.clip(size)
        kept = boxes.nonempty(ours.min_box_size)
        assert 20 < kept.sum() == len(regions[n])
        found = regions[n].proposal_boxes.tensor
        torch.testing.assert_close(found, boxes.tensor[kept])
        torch.testing.assert_close(regions[n].region_loss, losses[n][kept])
        torch.testing.assert_close(regions[n].objectness_logits, logits[n][kept])
        assert torch.equal(regions[n].labelled, labels[n][kept] >= 0)
        for value in (found, regions[n].region_loss, regions[n].objectness_logits):
            assert not value.requires_grad
    # Some anchors are neither object nor background beside an object; none are without one.
    assert not regions[0].labelled.all() and regions[1].labelled.all()


def test_the_papers_config_has_nine_anchors_a_cell():
    rpn = CoSaliencyRPN(get_cosal_config("cosal_vgg16_online.yaml"), SHAPE)
    assert rpn.anchor_generator.num_anchors == [9]
    (cell,) = rpn.anchor_generator.cell_anchors
    w, h = (cell[:, 2:] - cell[:, :2]).T
    torch.testing.assert_close(
        (w * h).sqrt(), torch.tensor([128.0, 256.0, 512.0]).repeat_interleave(3)
    )
    torch.testing.assert_close(w / h, torch.tensor([2.0, 1.0, 0.5] * 3))
