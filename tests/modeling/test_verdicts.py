"""The judge's verdicts, settled against the members of the group."""

import pytest
import torch

from cosal_d2.modeling.grouping.verdicts import Verdicts, kinship, settle

SURE = torch.tensor(-1e-3)  # logarithm of the probability of being an object


def verdicts(group, pairs, repeats=10.0):
    pairs = torch.tensor(pairs, dtype=torch.float32).reshape(len(group), len(group))
    return Verdicts(
        torch.tensor(group, dtype=torch.float32),
        torch.zeros(len(group)),
        torch.tensor(repeats),
        pairs,
    )


def settled(found, different=None, colours=None, weight=0.2):
    count = len(found.group)
    if colours is None:
        colours = torch.zeros(count, 2)
    if different is None:
        different = ~torch.eye(count, dtype=torch.bool)
    return settle(found, SURE.expand(count), different, colours, weight)


def test_a_region_is_moved_towards_its_resemblance_to_the_members():
    # Two alike that the judge is sure of; it lets a third in that resembles neither, and leaves
    # out a fourth that resembles both.
    pairs = [[9, 5, -6, 4], [5, 9, -6, 4], [-6, -6, 9, -6], [4, 4, -6, 9]]
    result = settled(verdicts([6, 6, 1, -6], pairs))
    assert result.group.tolist() == pytest.approx([1.44, 1.44, -4.6, -0.45], abs=0.05)


def test_two_groups_stay_two():
    pairs = [[9, 5, -6, -6], [5, 9, -6, -6], [-6, -6, 9, 5], [-6, -6, 5, 9]]
    result = settled(verdicts([6, 6, 6, 6], pairs))
    assert (result.group > 0.5).all()  # each resembles a third of the other members


def test_a_small_second_group_is_compared_with_itself():
    # The judge is sure of four of a kind, undecided of three of another and two of a third.
    kinds = torch.tensor([0, 0, 0, 0, 1, 1, 1, 2, 2])
    pairs = torch.where(kinds[:, None] == kinds, 4.0, -6.0)
    result = settled(verdicts([6] * 4 + [0] * 5, pairs.tolist()))
    assert (result.group[:4] > 1.5).all()
    assert (result.group[4:7] > -0.7).all() and (result.group[7:] < -1.2).all()


def test_kinship_is_the_share_of_those_alike_through_another():
    alike = torch.tensor([[0, 1, 1, 1], [1, 0, 1, 1], [1, 1, 0, 0], [1, 1, 0, 0]]).float()
    member = torch.tensor([1.0, 1.0, 1.0, 0.5]).log()
    different = ~torch.eye(4, dtype=torch.bool)
    # Through the second the first resembles the third and half a fourth; these do not each other.
    found = kinship(alike, member, different)
    assert found.tolist() == pytest.approx([1.5 / 2.5, 1.5 / 2.5, 1 / 2.5, 1 / 3])
    # What is at the place of the third is no third.
    different[0, 2:] = different[2:, 0] = False
    assert kinship(alike, member, different)[0] == 0


def test_a_region_is_not_compared_with_itself_or_with_what_is_the_same_object():
    different = torch.tensor([[False, False, True], [False, False, True], [True, True, False]])
    pairs = [[9, 8, -6], [8, 9, -6], [-6, -6, 9]]
    result = settled(verdicts([2, 2, 2], pairs), different)
    assert result.group.tolist() == pytest.approx([-4.4, -4.4, -4.4], abs=0.01)
    # What shares its place with all others is compared with those.
    result = settled(verdicts([2, 2], [[9, 4], [4, 9]]), torch.zeros((2, 2), dtype=torch.bool))
    assert result.group.tolist() == pytest.approx([3.6, 3.6], abs=0.01)
    assert result.repeats.sigmoid() < 1e-5


def test_one_region_alone_resembles_nothing():
    result = settled(verdicts([6], [[9]]))
    assert result.group.item() == pytest.approx(0.2 * 6 - 0.8 * 13.8, abs=0.1)
    assert result.repeats.sigmoid() < 1e-5
    nothing = verdicts([], [])
    assert settled(nothing) is nothing


@pytest.mark.parametrize(
    ("group", "alike", "repeats"), [([5, -60], 5, 10.0), ([5, 5], -5, 10.0), ([5, 5], 5, -5.0)]
)
def test_something_repeats_as_a_pair_does_that_is_alike_and_of_the_group(group, alike, repeats):
    score = settled(verdicts(group, [[9, alike], [alike, 9]], repeats)).repeats.sigmoid()
    assert score < 0.01 < 0.95 < settled(verdicts([5, 5], [[9, 5], [5, 9]])).repeats.sigmoid()


def test_the_one_of_another_colour_is_left_out():
    alike = verdicts([6] * 5, [[5] * 5] * 5)
    green, red = [-45.0, 40.0], [60.0, 40.0]
    colours = torch.tensor([[-43.0, 42.0], green, red, [-46.0, 38.0], [-41.0, 41.0]])
    result = settled(alike, colours=colours)
    assert (result.group > 3).tolist() == [True, True, False, True, True]
    assert result.group[2] < -5
    assert (settled(alike, colours=colours, weight=0.0).group > 3).all()


def test_two_colours_of_what_looks_alike_are_no_pairs():
    alike = verdicts([6] * 4, [[3] * 4] * 4)
    green, red = [-45.0, 40.0], [60.0, 40.0]
    colours = torch.tensor([green, red, green, red])
    pairs = settled(alike, colours=colours).pairs > 0
    assert torch.equal(pairs, (colours[:, None] == colours).all(dim=-1))
    assert (settled(alike, colours=colours, weight=0.0).pairs > 0).all()


def test_pairs_of_one_colour_and_weights_stay():
    found = verdicts([1, 2], [[9, 3], [3, 9]])
    result = settled(found)
    assert result.pairs.equal(found.pairs) and result.weight is found.weight
