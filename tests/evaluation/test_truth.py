import numpy as np
import pytest
from evaluation_data import box_mask, record
from PIL import Image

from cosal_d2.evaluation import decode_truth, load_truth
from cosal_d2.utils.masks import mask_rle


def test_truth_of_polygons_rles_crowds_and_defaults():
    rec = record(1, 6, 8, [(0, 0, 2, 2)], [(6, 0, 8, 2)])
    text_rle = mask_rle(box_mask(6, 8, (2, 0, 4, 2)))
    text_rle["counts"] = text_rle["counts"].decode("ascii")
    rec["annotations"] += [
        {"segmentation": [[4.0, 2.0, 8.0, 2.0, 8.0, 6.0, 4.0, 6.0]]},
        {"segmentation": {"size": [6, 8], "counts": [4, 2, 42]}, "iscrowd": 1},
        {"segmentation": text_rle, "cosalient": True},
        {"segmentation": mask_rle(np.zeros((6, 8), dtype=bool))},
    ]
    truth = decode_truth(rec)
    expected = box_mask(6, 8, (0, 0, 4, 2)) | box_mask(6, 8, (4, 2, 8, 6))
    expected |= box_mask(6, 8, (0, 4, 1, 6))
    np.testing.assert_array_equal(truth.mask, expected)
    np.testing.assert_array_equal(truth.salient, expected | box_mask(6, 8, (6, 0, 8, 2)))
    assert (len(truth.objects), len(truth.distractors)) == (3, 1)


@pytest.mark.parametrize(
    "segmentation",
    [None, [], [[0.0, 0.0, 1.0, 1.0]], {"size": [5, 5], "counts": [25]}, {"size": [4, 4]}],
)
def test_a_bad_segmentation_names_file_and_field(segmentation):
    rec = record(1, 4, 4, [(0, 0, 2, 2)])
    rec["annotations"].append({"segmentation": segmentation})
    with pytest.raises(ValueError, match="images/1.jpg: annotation 1: `segmentation`"):
        decode_truth(rec)


def test_a_folder_of_masks_of_any_kind(tmp_path):
    truth = box_mask(6, 8, (2, 1, 5, 3))
    labels = truth.astype(np.uint8)
    palette = Image.fromarray(labels)
    palette.putpalette([0, 0, 0, 128, 0, 0] + [0] * 762)
    pictures = {
        "white": Image.fromarray(labels * 255),
        "labels": Image.fromarray(labels),
        "palette": palette,
        "bits": Image.fromarray(truth),
    }
    for name, picture in pictures.items():
        picture.save(tmp_path / f"{name}.png")
    (tmp_path / ".hidden").write_text("x")
    (tmp_path / "notes.txt").write_text("x")
    loaded = load_truth(tmp_path)
    assert [r["file_name"] for r in loaded.records] == [f"{name}.png" for name in sorted(pictures)]
    for r in loaded.records:
        np.testing.assert_array_equal(decode_truth(r).mask, truth, r["file_name"])
    reasons = [note.split(": ")[1] for note in loaded.notes]
    assert [reason[:12] for reason in reasons] == ["no pixel abo", "not a pictur", "it has a pal"]
    pictures["white"].save(tmp_path / "white.bmp")
    with pytest.raises(ValueError, match="are two masks of one stem"):
        load_truth(tmp_path)


def test_masks_named_by_other_tools_are_of_their_pictures(tmp_path):
    names = (
        "a_mask.png",
        "b.jpg.png",
        "c-gt.png",
        "d.png",
        "d_mask.png",
        "mask.png",
        "e_masked.png",
    )
    for name in names:
        Image.fromarray(box_mask(6, 8, (2, 1, 5, 3))).save(tmp_path / name)
    found = [r["file_name"] for r in load_truth(tmp_path).records]
    assert found == ["a.png", "b.jpg", "c.png", "d.png", "d_mask.png", "e_masked.png", "mask.png"]


def test_files_beside_the_masks_change_no_name(tmp_path):
    for name in ("a_mask.png", ".ipynb_checkpoints/a_mask-checkpoint.png", "._a_mask.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(box_mask(6, 8, (2, 1, 5, 3))).save(tmp_path / name)
    (tmp_path / "a.json").write_text("{}")
    truth = load_truth(tmp_path)
    assert [r["file_name"] for r in truth.records] == ["a.png"]
    assert [note.split(": ")[0] for note in truth.notes] == [str(tmp_path / "a.json")]
