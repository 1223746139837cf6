import numpy as np
import pytest
import torch
from detectron2.layers import ShapeSpec

from cosal_d2.config import get_cosal_config
from cosal_d2.modeling import UNetDecoder, build_decoder
from cosal_d2.modeling.decoder import DecoderLevel, MapDecoder, cosal_loss

SHAPES = {
    "conv1_2": ShapeSpec(channels=64, stride=1),
    "conv2_2": ShapeSpec(channels=128, stride=2),
    "conv3_3": ShapeSpec(channels=256, stride=4),
    "conv4_3": ShapeSpec(channels=512, stride=8),
    "conv5_3": ShapeSpec(channels=512, stride=16),
}
R = ShapeSpec(channels=512, stride=16)
SMALL = {
    "top": ShapeSpec(channels=8, stride=4),
    "a": ShapeSpec(channels=6, stride=2),
    "b": ShapeSpec(channels=4, stride=1),
}


def features(height, width, shapes=SHAPES):
    generator = torch.Generator().manual_seed(0)
    return {
        k: torch.rand((2, s.channels, height // s.stride, width // s.stride), generator=generator)
        for k, s in shapes.items()
    }


def small(**changes):
    arguments = {
        "skips": ("a", "b"),
        "channels": (8, 4),
        "num_convs": (1, 2),
        "skip_channels": (0, 3),
    }
    return UNetDecoder(r_shape=SMALL["top"], skip_shapes=SMALL, **(arguments | changes))


def test_the_papers_decoder_mirrors_the_encoder():
    decoder = build_decoder(get_cosal_config("cosal_vgg16_online.yaml"), R, SHAPES)
    assert decoder.skips == ("conv4_3", "conv3_3", "conv2_2", "conv1_2")
    widths = [[c.out_channels for c in level.convs] for level in decoder.levels]
    assert widths == [[512] * 3, [256] * 3, [128] * 2, [64] * 2]
    fused = [level.convs[0].in_channels for level in decoder.levels]
    assert fused == [512 + 512, 512 + 256, 256 + 128, 128 + 64]
    out = decoder(torch.rand(2, 512, 1, 2), features(16, 32))
    assert out.shape == (2, 1, 16, 32) and out.dtype == torch.float32


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"skips": ("a", "c")}, r"names 'c'; the encoder has \['a', 'b', 'top'\]"),
        ({"skips": ("b", "a")}, "b has stride 1, but the level before it has 4"),
        ({"skips": ("a", "a")}, "a has stride 2, but the level before it has 2"),
        ({"skips": ("a",)}, "CHANNELS has 2 entries for the 1 features a;"),
        ({"num_convs": (1, 0)}, "NUM_CONVS is"),
        (
            {k: v * 3 for k, v in {"skips": ("",), "channels": (4,), "num_convs": (1,)}.items()}
            | {"skip_channels": (0, 0, 0)},
            'SKIPS has a "" after the level at stride 1',
        ),
    ],
)
def test_levels_that_cannot_be_built_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        small(**changes)


@pytest.mark.parametrize(
    ("skips", "stride"), [(("a", "b"), 1), (("a",), 2), ((), 1), (("",), 2), (("", "b"), 1)]
)
def test_each_level_halves_the_stride(skips, stride):
    lists = {"channels": (8, 4), "num_convs": (1, 1), "skip_channels": (0, 3)}
    decoder = small(skips=skips, **{k: v[: len(skips) or 2] for k, v in lists.items()})
    assert decoder.stride == stride and decoder.skips == (skips or ("a", "b"))
    out = decoder(torch.rand(2, 8, 2, 3), features(8, 12, SMALL))
    assert out.shape == (2, 1, 8 // stride, 12 // stride) and out.dtype == torch.float32


def test_dropout_drops_whole_channels_of_r_in_training_only():
    decoder = small(dropout=0.5)
    r, skips = torch.rand(2, 8, 2, 2) + 1, features(8, 8, SMALL)
    dropped = decoder.dropout(r).flatten(2)
    assert set((dropped != 0).sum(2).unique().tolist()) == {0, 4}
    assert not torch.equal(decoder(r, skips), decoder(r, skips))
    decoder.eval()
    assert torch.equal(decoder(r, skips), decoder(r, skips))


def slow_loss(logits, targets, iou_weight):
    """Pixel by pixel, in float64."""
    bce, pixels, iou_losses = 0.0, 0, []
    for image, truth in zip(logits.astype(np.float64), targets, strict=True):
        inter = union = 0.0
        for z, t in zip(image.ravel(), truth.ravel(), strict=True):
            if t == 255:
                continue
            p = 1 / (1 + np.exp(-z))
            bce -= np.log(p) if t == 1 else np.log(1 - p)
            pixels += 1
            inter += p * t
            union += p + t - p * t
        if (truth == 1).any():
            iou_losses.append(1 - inter / union)
    return bce / pixels + iou_weight * (np.mean(iou_losses) if iou_losses else 0)


@pytest.mark.parametrize("iou_weight", [0.0, 0.5])
def test_a_weak_picture_weighs_less(iou_weight):
    decoder = small(weak_mask_weight=0.25, iou_loss_weight=iou_weight)
    logits = torch.randn((2, 1, 6, 5), generator=torch.Generator().manual_seed(1))
    targets = (torch.arange(60).reshape(2, 6, 5) % 3 == 0).to(torch.uint8)

    def loss(logits, targets, *weak):
        return decoder.losses(logits, targets, torch.tensor(weak))["loss_cosal"].item()

    exact = [loss(logits[i, None], targets[i, None], False) for i in (0, 1)]
    assert loss(logits[:1], targets[:1], True) == pytest.approx(0.25 * exact[0])
    assert loss(logits, targets, True, False) == pytest.approx(0.125 * exact[0] + 0.5 * exact[1])
    assert decoder.losses(logits, targets)["loss_cosal"].item() == pytest.approx(sum(exact) / 2)


def test_a_loss_of_several_outputs_is_their_weighted_sum():
    decoder = MapDecoder(loss_weight=3.0, output_weights=(0.5, 0.25, 1.0))
    logits = torch.randn((2, 3, 6, 5), generator=torch.Generator().manual_seed(1))
    targets = (torch.arange(60).reshape(2, 6, 5) % 3 == 0).to(torch.uint8)
    each = [cosal_loss(z, targets).item() for z in logits.unbind(1)]
    loss = decoder.losses(logits, targets)["loss_cosal"].item()
    assert loss == pytest.approx(3 * (0.5 * each[0] + 0.25 * each[1] + each[2]))
    last = decoder.losses(logits[:, 1:], targets)["loss_cosal"].item()
    assert last == pytest.approx(3 * (0.25 * each[1] + each[2]))
    with pytest.raises(ValueError, match="zip"):
        decoder.losses(logits.repeat(1, 2, 1, 1), targets)


@pytest.mark.parametrize("iou_weight", [0.0, 0.5])
def test_loss_equals_a_slow_one_and_leaves_padded_pixels_out(iou_weight):
    rng = np.random.default_rng(3)
    logits = rng.normal(0, 2, (3, 7, 9)).astype(np.float32)
    targets = rng.integers(0, 2, (3, 7, 9)).astype(np.uint8)
    targets[0, 5:] = 255
    targets[1, :, 6:] = 255
    targets[2][targets[2] == 1] = 0
    z = torch.tensor(logits, requires_grad=True)
    loss = cosal_loss(z, torch.tensor(targets), iou_weight)
    assert loss.item() == pytest.approx(slow_loss(logits, targets, iou_weight), rel=1e-5)
    loss.backward()
    padded = torch.tensor(targets == 255)
    assert bool((z.grad[padded] == 0).all()) and bool((z.grad[~padded] != 0).all())
    other = torch.where(padded, torch.full_like(z, 50.0), z)
    assert cosal_loss(other, torch.tensor(targets), iou_weight).item() == loss.item()


def test_a_co_salient_pixel_can_weigh_more():
    logits = torch.randn((2, 6, 5), generator=torch.Generator().manual_seed(1))
    targets = (torch.arange(60).reshape(2, 6, 5) % 3).to(torch.uint8)
    targets[targets == 2] = 255
    one = cosal_loss(logits, targets).item()
    other = targets.clone()
    other[targets == 1] = 255
    background = cosal_loss(logits, other).item() / 2  # half of the pixels that count
    found = cosal_loss(logits, targets, positive_weight=1.5).item()
    assert found == pytest.approx(background + 1.5 * (one - background), rel=1e-5)


def test_a_batch_without_a_pixel_that_counts_gives_a_connected_zero():
    logits = torch.randn(1, 4, 4, requires_grad=True)
    loss = cosal_loss(logits, torch.full((1, 4, 4), 255, dtype=torch.uint8), 1.0)
    loss.backward()
    assert loss.item() == 0 and bool((logits.grad == 0).all())


def test_a_levels_gradient_is_right():
    layout = {"memory_format": torch.channels_last}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        level = DecoderLevel(2, ShapeSpec(channels=3), 4, 1, 2, "GN").double().to(**layout)
        x = torch.randn((1, 2, 2, 3), dtype=torch.float64).contiguous(**layout).requires_grad_()
        skip = torch.randn((1, 3, 4, 6), dtype=torch.float64).contiguous(**layout)
    assert torch.autograd.gradcheck(lambda v: level(v, skip), (x,))
