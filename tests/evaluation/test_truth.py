import numpy as np
import pytest
from evaluation_data import box_mask, record, rle

from cosal_d2.evaluation import decode_truth


def test_truth_of_polygons_rles_crowds_and_defaults():
    rec = record(1, 6, 8, [(0, 0, 2, 2)], [(6, 0, 8, 2)])
    square = [4.0, 2.0, 8.0, 2.0, 8.0, 6.0, 4.0, 6.0]
    plain_rle = {"size": [6, 8], "counts": [4, 2, 42]}
    text_rle = rle(box_mask(6, 8, (2, 0, 4, 2)))
    text_rle["counts"] = text_rle["counts"].decode("ascii")
    rec["annotations"] += [
        {"segmentation": [square]},
        {"segmentation": plain_rle, "iscrowd": 1},
        {"segmentation": text_rle, "cosalient": True},
        {"segmentation": rle(np.zeros((6, 8), dtype=np.uint8))},
    ]
    truth = decode_truth(rec)
    expected = box_mask(6, 8, (0, 0, 4, 2)) | box_mask(6, 8, (4, 2, 8, 6))
    expected |= box_mask(6, 8, (0, 4, 1, 6))
    np.testing.assert_array_equal(truth.mask, expected.astype(bool))
    np.testing.assert_array_equal(
        truth.salient, (expected | box_mask(6, 8, (6, 0, 8, 2))).astype(bool)
    )
    assert (truth.objects.shape, truth.distractors.shape) == ((3, 6, 8), (1, 6, 8))


@pytest.mark.parametrize(
    "segmentation",
    [None, [], [[0.0, 0.0, 1.0, 1.0]], {"size": [5, 5], "counts": [25]}, {"size": [4, 4]}],
)
def test_a_bad_segmentation_names_file_and_field(segmentation):
    rec = record(1, 4, 4, [(0, 0, 2, 2)])
    rec["annotations"].append({"segmentation": segmentation})
    with pytest.raises(ValueError, match="images/1.jpg: annotation 1, field 'segmentation'"):
        decode_truth(rec)
