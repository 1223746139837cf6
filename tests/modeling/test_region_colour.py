"""The colour of regions, and which one is odd."""

import cv2
import numpy as np
import pytest
import torch

from cosal_d2.modeling.grouping.region_colour import (
    RegionColour,
    chroma,
    odd_colours,
    parted_colours,
)

MEAN, STD = (10.0, 20.0, 30.0), (2.0, 3.0, 4.0)
SURE = 0.0  # logarithm of the probability of being a member
OTHER = ~torch.eye(4, dtype=torch.bool)


def test_chroma_is_opencvs():
    rgb = np.random.default_rng(0).random((1, 200, 3), np.float32)
    rgb[0, :20] *= 0.02  # where the curve is straight
    wanted = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB)[..., 1:]
    assert chroma(torch.from_numpy(rgb)).numpy() == pytest.approx(wanted, abs=0.5)


@pytest.mark.parametrize("rgb", [True, False])
def test_the_mean_over_the_mask_whatever_surrounds_it(rgb):
    image = torch.zeros(2, 3, 40, 40)
    image[1, :, 12:28, 12:28] = torch.tensor([200.0, 30.0, 90.0])[:, None, None]
    image = (image - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    masks = torch.zeros(1, 28, 28)
    masks[:, 10:18, 10:18] = 1.0
    masks[:, :4] = 0.4  # less than a half counts nothing
    colour = RegionColour(pixel_mean=MEAN, pixel_std=STD, rgb=rgb)
    found = colour(image, torch.tensor([[1.0, 6, 6, 34, 34]]), masks)
    wanted = torch.tensor([200.0, 30, 90] if rgb else [90.0, 30, 200]) / 255
    assert torch.allclose(found, chroma(wanted)[None], atol=1e-3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(colour(image, torch.tensor([[1.0, 6, 6, 34, 34]]), masks), found)
    assert colour(image, torch.zeros(0, 5), torch.zeros(0, 28, 28)).shape == (0, 2)


def found(function, colours, pairs=None, member=None, different=OTHER):
    pairs = torch.full((4, 4), 5.0) if pairs is None else torch.tensor(pairs)
    member = torch.full((4,), SURE) if member is None else torch.tensor(member)
    colours = torch.tensor(colours)[:, None] * torch.tensor([0.6, 0.8])
    return function(colours, pairs, member, different)


def odd(colours, **change):
    return found(odd_colours, colours, **change).tolist()


def parted(colours, **change):
    return found(parted_colours, colours, **change).tolist()


def test_a_far_colour_is_odd_where_the_others_are_near_to_one_another():
    # 50 from the nearest; the others are 0 or 4 from theirs: 12 are free.
    assert odd([0.0, 4.0, 4.0, 54.0]) == pytest.approx([0, 0, 0, 38.0])


def test_no_colour_is_odd_among_objects_of_all_colours():
    assert odd([0.0, 30.0, 60.0, 110.0]) == [0, 0, 0, 0]


def test_two_of_a_colour_are_not_odd():
    assert odd([0.0, 1.0, 54.0, 55.0]) == [0, 0, 0, 0]


@pytest.mark.parametrize(
    "change",
    [
        {"pairs": [[5.0, 5, 5, -5], [5, 5, 5, -5], [5, 5, 5, -5], [-5, -5, -5, 5]]},
        {"member": [-9.0, -9.0, -9.0, 0.0]},
        {"different": torch.zeros(4, 4, dtype=torch.bool)},
    ],
)
def test_only_different_members_of_its_kind_make_a_colour_odd(change):
    assert odd([0.0, 4.0, 4.0, 54.0], **change) == [0, 0, 0, 0]


def test_two_kinds_that_are_near_in_colour_each_are_parted():
    # The own colour is 0 or 4 away: 12 are free.
    two = parted([0.0, 0.0, 50.0, 54.0])
    assert two[0] == pytest.approx([0, 0, 38, 42])
    assert two[2] == pytest.approx([38, 38, 0, 0])


def test_colour_parts_no_objects_of_all_colours_and_none_that_is_alone():
    assert parted([0.0, 30.0, 60.0, 110.0]) == [[0.0] * 4] * 4
    assert parted([0.0, 0.0, 0.0, 110.0])[0] == pytest.approx([0, 0, 0, 0])  # the odd one's is far
    assert parted([0.0, 0.0, 50.0, 54.0], member=[-9.0] * 4) == [[0.0] * 4] * 4
