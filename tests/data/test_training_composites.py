"""Composites on the fly: what a training loader makes of the training set's own cut-outs."""

import copy
import itertools
import json

import numpy as np
import pytest
import torch
from composites_data import COLOURS, write_source
from detectron2.data import DatasetCatalog
from network_data import rectangle_rle, registered, tiny_config

from cosal_d2.data import CoSaliencyMapper, build_cosal_train_loader
from cosal_d2.data.aug_input import CoSaliencyAugInput
from cosal_d2.data.composites import TrainingComposites
from cosal_d2.prepare.composites.composer import class_words
from cosal_d2.utils.pictures import read_image

pytestmark = pytest.mark.usefixtures("one_thread")

# Two pairs of classes share a word.
NAMES = {"disc": "egg", "square": "fried-egg", "wedge": "hot_dog", "star": "dog"}
COLOUR_OF = {NAMES.get(shape, shape): colour for shape, colour in COLOURS.items()}


def write_shapes(root, single=False):
    """A dataset of shapes on grey photographs: the first object of each is its group."""
    json_file, _ = write_source(root)
    content = json.loads(json_file.read_text())
    for category in content["categories"]:
        category["name"] = NAMES.get(category["name"], category["name"])
    names = {c["id"]: c["name"] for c in content["categories"]}
    first = {}
    for entry in content["annotations"]:
        x, y = np.array(entry["segmentation"]).reshape(-1, 2).T
        entry["bbox"] = [x.min(), y.min(), np.ptp(x), np.ptp(y)]
        entry["iscrowd"] = 0
        first.setdefault(entry["image_id"], entry)
    for image in content["images"]:
        name = names[first[image["id"]]["category_id"]]
        image["cosalient_category"] = None if name == "distractor" else name
        image["weak_masks"] = True
    if single:
        content["annotations"] = list(first.values())
    json_file.write_text(json.dumps(content))
    return json_file


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    with registered(write_shapes(tmp_path_factory.mktemp("shapes"))) as name:
        yield name


@pytest.fixture(scope="module")
def singles(tmp_path_factory):
    with registered(write_shapes(tmp_path_factory.mktemp("singles"), single=True)) as name:
        yield name


@pytest.fixture(scope="module")
def records(shapes):
    return DatasetCatalog.get(shapes)


def composites(records, singles=(), **changes):
    options = {"prob": 1.0, "objects": (2, 4), "distractors": (0, 4), "no_group": 0.0}
    return TrainingComposites(records, singles, **(options | {"paste_prob": 0.0} | changes))


def draw(maker, seed, upright=False):
    height, width = (320, 240) if upright else (240, 320)
    return maker.draw({"seed": seed, "height": height, "width": width})


def photograph(record):
    return CoSaliencyAugInput.from_annotations(
        read_image(record["file_name"]), record["annotations"]
    )


def names_of(maker, augmented):
    names = {number: name for name, number in maker.classes.items()}
    return [names[k] for k in augmented.classes.tolist()]


def same(a, b):
    fields = ("image", "instance_masks", "cosalient", "classes", "sem_seg")
    return all(np.array_equal(getattr(a, f), getattr(b, f)) for f in fields)


def test_a_picture_is_a_function_of_its_seed_alone(records):
    one, other = composites(records, no_group=0.5), composites(records, no_group=0.5)
    wanted = [draw(one, seed) for seed in range(6)]
    np.random.seed(3)
    assert all(same(draw(other, seed), wanted[seed]) for seed in (5, 2, 0, 2))
    assert all(same(draw(one, seed), wanted[seed]) for seed in (4, 1))
    assert not any(same(a, b) for a, b in itertools.combinations(wanted, 2))


def test_each_kind_of_sample_has_its_share(records):
    maker = composites(records, records[:2], prob=0.6, no_group=0.4)
    counts = dict.fromkeys(("photograph", "group", "no group", "single"), 0)
    photographs = [read_image(r["file_name"]) for r in records[:2]]
    for seed in range(300):
        found = draw(maker, seed)
        if found is None:
            kind = "photograph"
        elif found.cosalient.any():
            kind = "group"
            assert 2 <= found.cosalient.sum() <= 4 and (~found.cosalient).sum() <= 4
        else:
            kind = "no group"
            assert not found.sem_seg.any()
            if any(np.array_equal(found.image, p) for p in photographs):
                kind = "single"
        counts[kind] += 1
    shares = {kind: count / 300 for kind, count in counts.items()}
    expected = {"photograph": 0.4, "group": 0.36, "no group": 0.12, "single": 0.12}
    assert shares == pytest.approx(expected, abs=0.07)


def test_two_classes_repeat_in_their_share_of_composites(records):
    maker = composites(records, two_groups=0.4)
    counts = [0, 0]
    for seed in range(100):
        found = draw(maker, seed)
        repeated = found.classes[found.cosalient].tolist()
        sizes = {repeated.count(name) for name in repeated}
        assert sizes <= {2, 3, 4}
        counts[len(set(repeated)) - 1] += 1
        assert not set(repeated) & set(found.classes[~found.cosalient].tolist())
    assert 28 <= counts[1] <= 52 and sum(counts) == 100


def test_one_class_makes_one_group_whatever_the_share_of_two(records, caplog):
    name = next(r["cosalient_category"] for r in records if r["cosalient_category"])
    of_one = [r for r in records if r["cosalient_category"] == name]
    of_one = [r | {"annotations": [a for a in r["annotations"] if a["cosalient"]]} for r in of_one]
    maker = composites(of_one, two_groups=1.0, distractors=(0, 0))
    assert "no composites of two groups: 1 usable classes" in caplog.text
    found = draw(maker, 3)
    assert found.cosalient.all() and len(set(found.classes.tolist())) == 1


def test_masks_fit_the_pasted_objects(records):
    maker, checked = composites(records), 0
    for seed in range(12):
        found = draw(maker, seed)
        image, masks = found.image.astype(int), found.instance_masks.astype(bool)
        coloured = np.ptp(image, axis=2) > 60  # the photographs are grey
        both = masks.any(0)
        assert (coloured & both).sum() / (coloured | both).sum() > 0.93
        assert np.array_equal(found.sem_seg, masks[found.cosalient].any(0))
        for mask, name in zip(masks, names_of(maker, found), strict=True):
            shown = np.median(image[mask], axis=0)
            distances = {n: np.abs(shown - c).sum() for n, c in COLOUR_OF.items()}
            assert min(distances, key=distances.get) == name
            checked += 1
    assert checked > 30


@pytest.mark.parametrize("no_group", [0.0, 1.0])
def test_no_object_shares_a_word_with_another_class(records, no_group):
    maker = composites(records, no_group=no_group)
    for seed in range(30):
        found = draw(maker, seed)
        names = names_of(maker, found)
        assert len({n for n, c in zip(names, found.cosalient, strict=True) if c}) == 1 - no_group
        others = [n for n, c in zip(names, found.cosalient, strict=True) if not c]
        kinds = [class_words(n) for n in {*names} - {*others}] + [class_words(n) for n in others]
        assert not any(a & b for a, b in itertools.combinations(kinds, 2))


def test_a_composite_is_upright_or_lying_as_its_record(records):
    maker = composites(records, no_group=0.5)
    for upright in (True, False):
        shapes = [draw(maker, seed, upright).image.shape[:2] for seed in range(12)]
        assert all(h == w or (h > w) == upright for h, w in shapes)
        assert any(h != w for h, w in shapes)


def test_many_distractors_can_be_asked_for(records):
    assert draw(composites(records, distractors=(0, 12), no_group=1.0), 0) is not None


def test_a_photograph_gets_a_single_object_of_another_class(records):
    maker, pasted, hidden = composites(records, paste_prob=1.0), 0, 0
    first = next(r for r in records if r["cosalient_category"])
    everywhere = {"segmentation": rectangle_rle((240, 320), (0, 0, 320, 240))}
    full = first | {"annotations": [first["annotations"][0] | everywhere]}
    for seed, record in itertools.product(range(6), [*records, full]):
        before = photograph(record)
        after = maker.paste(before, record | {"seed": seed})
        if len(after.classes) == len(before.classes):
            assert same(before, after)
            continue
        pasted += 1
        new = after.instance_masks[-1].astype(bool)
        assert after.cosalient.tolist() == [*before.cosalient.tolist(), False]
        assert after.classes[-1] not in before.classes
        for old, left in zip(before.instance_masks, after.instance_masks, strict=False):
            assert np.array_equal(left, old & ~new) and left.sum() >= 0.85 * old.sum()
            hidden += left.sum() < old.sum()
        assert np.array_equal(after.sem_seg, before.sem_seg & ~new)
    assert pasted > 10 and hidden > 2


def test_what_has_no_room_for_another_class_stays_as_it_is(records):
    maker = composites(records, paste_prob=1.0)
    record = next(r for r in records if r["cosalient_category"]) | {"seed": 1}
    every = [record["annotations"][0] | {"own_class": n} for n in NAMES.values()]
    before = photograph(record)
    assert maker.paste(before, record | {"annotations": every}) is before
    assert maker.paste(before, record | {"cosalient_category": None}) is before
    crowd = [
        a | {"iscrowd": 1, "segmentation": rectangle_rle((240, 320), (9, 9, 60, 60))}
        for a in record["annotations"][:1]
    ]
    before = photograph(record | {"annotations": crowd})
    assert maker.paste(before, record | {"annotations": crowd}) is before


def test_a_crowd_stays_truth_beside_what_is_pasted(records):
    maker = composites(records, paste_prob=1.0)
    for seed, record in itertools.product(range(8), records):
        if not record["cosalient_category"]:
            continue
        crowd = record["annotations"][0] | {
            "iscrowd": 1,
            "segmentation": rectangle_rle((240, 320), (9, 160, 300, 230)),
        }
        record = record | {"annotations": [*record["annotations"], crowd], "seed": seed}
        before = photograph(record)
        after = maker.paste(before, record)
        if len(after.classes) > len(before.classes):
            assert np.array_equal(after.sem_seg, before.sem_seg & ~after.instance_masks[-1] & 1)
            return
    pytest.fail("nothing was pasted")


def test_the_masks_of_a_composite_are_exact(records):
    options = {"is_train": True, "resize": [], "augmentations": []}
    mapper = CoSaliencyMapper(**options, composites=composites(records, prob=0.5))
    before = copy.deepcopy(records)
    kinds = set()
    for seed in range(12):
        record = records[0] | {"seed": seed, "batch_seed": 0}
        out = mapper(record)
        shown = torch.equal(out["image"], CoSaliencyMapper(**options)(record)["image"])
        kinds.add((shown, out["weak_masks"]))
        assert "annotations" not in out
    assert kinds == {(True, True), (False, False)}
    assert records == before


def loader(dataset, *opts):
    return build_cosal_train_loader(tiny_config("DATASETS.TRAIN", f"('{dataset}',)", *opts))[0]


def samples(loader, batches):
    return sum(itertools.islice(loader, batches), [])


def equal(a, b):
    return (
        a["seed"] == b["seed"]
        and torch.equal(a["image"], b["image"])
        and torch.equal(a["sem_seg"], b["sem_seg"])
        and torch.equal(a["instances"].gt_masks.tensor, b["instances"].gt_masks.tensor)
    )


def test_the_keys_reach_the_loader_and_workers_change_nothing(shapes, singles):
    keys = ("INPUT.COMPOSITES.PROB", "0.7", "INPUT.COMPOSITES.PASTE_PROB", "0.5")
    keys += ("INPUT.COMPOSITES.SINGLES", f"('{singles}',)", "INPUT.COMPOSITES.NO_GROUP", "0.5")
    here = samples(loader(shapes, *keys), 6)
    workers = samples(loader(shapes, *keys, "DATALOADER.NUM_WORKERS", "2"), 6)
    plain = samples(loader(shapes), 6)
    assert all(equal(a, b) for a, b in zip(here, workers, strict=True))
    assert not all(equal(a, b) for a, b in zip(here, plain, strict=True))
    nothing = ("INPUT.COMPOSITES.PROB", "1.0", "INPUT.COMPOSITES.NO_GROUP", "1.0")
    found = samples(loader(shapes, *nothing), 4)
    assert not any(x["instances"].gt_cosalient.any() or x["sem_seg"].any() for x in found)
    with pytest.raises(ValueError, match="no dataset 'cosal_gone': put gone.json"):
        loader(shapes, *nothing, "INPUT.COMPOSITES.SINGLES", "('cosal_gone',)")


def test_by_default_there_are_none(shapes, records):
    mapper = CoSaliencyMapper(tiny_config(), True)
    by_file = {r["file_name"]: r for r in records}
    for sample in samples(loader(shapes), 4):
        seeds = {k: sample[k] for k in ("seed", "batch_seed")}
        assert equal(sample, mapper(by_file[sample["file_name"]] | seeds))
        assert sample["weak_masks"]
