"""Which class is co-salient, and which objects stay."""

import numpy as np
import pytest

from cosal_d2.prepare.convert.options import Options
from cosal_d2.prepare.convert.selection import SourceObject, select
from cosal_d2.utils.masks import mask_rle

HEIGHT, WIDTH = 100, 200


def thing(name, x, y, w, h, crowd=False):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y : y + h, x : x + w] = True
    return SourceObject(name, mask_rle(mask), crowd, {"at": (x, y)})


def chosen(*objects, **options):
    return select(list(objects), HEIGHT, WIDTH, Options(**options))


CUPS = (thing("cup", 0, 0, 40, 40), thing("cup", 50, 0, 40, 40))
DOGS = (thing("dog", 0, 50, 50, 45), thing("dog", 60, 50, 50, 45))


def test_the_class_that_covers_most_is_cosalient_and_the_others_are_distractors():
    found = chosen(*CUPS, *DOGS)
    assert found.group == "dog"
    assert found.objects == list(DOGS) and found.distractors == list(CUPS)
    assert chosen(*CUPS, *DOGS, classes=("cup",)).group == "cup"


def test_distractor_is_never_a_candidate():
    others = [thing("distractor", 0, 50, 60, 45), thing("distractor", 70, 50, 60, 45)]
    tiny = thing("distractor", 190, 0, 3, 3)
    found = chosen(*CUPS, *others, tiny)
    assert found.group == "cup" and found.distractors == [*others, tiny]
    assert chosen(*others) is None
    with pytest.raises(ValueError, match="never co-salient"):
        Options(classes=("distractor",))


def test_areas_and_union_are_bounded():
    small = thing("cup", 150, 0, 10, 10)
    assert chosen(CUPS[0], small) is None
    found = chosen(*CUPS, small, thing("pen", 170, 0, 10, 10))
    assert found.objects == [*CUPS, small] and found.distractors == []
    assert chosen(*CUPS, min_union=0.2) is None
    assert chosen(*CUPS, max_union=0.1) is None
    assert chosen(*CUPS, min_union=0.16, max_union=0.16).group == "cup"


def test_duplicates_make_no_group_and_no_distractor():
    again = thing("cup", 1, 1, 38, 38)
    assert chosen(CUPS[0], again) is None
    assert chosen(*CUPS, again).objects == list(CUPS)
    mug = thing("mug", 0, 0, 40, 38)
    assert chosen(*CUPS, mug).distractors == []
    twice = [thing("pen", 100, 0, 30, 30), thing("pencil", 100, 0, 30, 29)]
    assert chosen(*CUPS, *twice).distractors == twice[:1]


def test_crowds_do_not_count_but_stay_in_the_truth():
    crowd = thing("cup", 100, 0, 60, 60, crowd=True)
    assert chosen(CUPS[0], crowd) is None
    assert chosen(*CUPS, crowd).objects == [*CUPS, crowd]
    assert chosen(*CUPS, thing("dog", 100, 0, 60, 60, crowd=True)).distractors == []


def test_pictures_without_a_group_are_kept_on_demand():
    lonely = (CUPS[0], thing("dog", 60, 50, 50, 45))
    assert chosen(*lonely) is None
    found = chosen(*lonely, keep_empty=True)
    assert found.group is None and found.objects == [] and found.distractors == list(lonely)


@pytest.mark.parametrize(
    "values",
    [
        *({"min_area": -1}, {"min_union": 0.8, "max_union": 0.2}, {"min_instances": 0}),
        {"max_side": 0},
    ],
)
def test_unusable_options_are_named(values):
    with pytest.raises(ValueError, match="-".join(next(iter(values)).split("_"))):
        Options(**values)
