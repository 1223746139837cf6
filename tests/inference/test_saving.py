"""The files of a prediction."""

import errno
import io
import os
import resource

import cv2
import numpy as np
import pytest
from PIL import Image
from prediction_data import annotated, result, rows
from pycocotools import mask as mask_util
from pycocotools.coco import COCO

from cosal_d2.config import RESULTS
from cosal_d2.inference import saving
from cosal_d2.inference.saving import ResultWriter, check_output, is_result, write_result
from cosal_d2.inference.sources import Source

IMAGE = np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)


def write(writer, *names, groups=(0, 0, 0, 1, 1)):
    """Write pictures of these names, and give their errors."""
    errors = []
    for name in names:
        source = Source(name, name)
        errors += writer.append(source, writer.write(source, result(IMAGE, groups)))
    return errors


def read(path):
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def test_each_result_has_its_file(tmp_path):
    found = result(IMAGE)
    with ResultWriter(tmp_path, RESULTS, threshold=0.25) as writer:
        assert write(writer, "x/a.b.jpg") == []
    files = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    kinds = ["map", "mask", "overlay", "cutout", *(f"object_0{i}" for i in range(1, 6))]
    pictures = {f"x/a.b_{kind}.png" for kind in kinds}
    assert files == pictures | {"objects.json", "objects.jsonl", "counts.csv"}
    assert all(is_result(tmp_path / name) for name in pictures)
    written = {kind: read(tmp_path / f"x/a.b_{kind}.png") for kind in kinds}
    assert np.abs(written["map"] - 255.0 * found.map).max() <= 0.5001
    assert np.array_equal(written["mask"], np.where(found.map >= 0.25, 255, 0))
    assert np.array_equal(written["overlay"], found.overlay())
    assert np.array_equal(written["cutout"], found.cutout())
    for i, own in enumerate(found.objects(), 1):
        assert np.array_equal(written[f"object_0{i}"], own) and own.shape == (12, 4, 4)


def test_without_a_threshold_the_mask_has_the_adaptive_one(tmp_path):
    with ResultWriter(tmp_path, ["mask"]) as writer:
        write(writer, "a.jpg")
    assert np.array_equal(read(tmp_path / "a_mask.png"), 255 * result(IMAGE).mask())


def test_objects_json_is_coco_of_the_run_and_counts_csv_a_row_a_picture(tmp_path):
    with ResultWriter(tmp_path, ["json", "csv"]) as writer:
        assert write(writer, "x/a.jpg") == []
        assert write(writer, "b.jpg", groups=()) == []
        assert write(writer, "c,d.jpg", groups=(0, 0)) == []
    assert rows(tmp_path) == [
        {"name": "x/a.jpg", "repeats": "0.75", "count": "3", "counts": "3 2"},
        {"name": "b.jpg", "repeats": "0.75", "count": "0", "counts": ""},
        {"name": "c,d.jpg", "repeats": "0.75", "count": "2", "counts": "2"},
    ]
    assert annotated(tmp_path) == {"x/a.jpg": 5, "b.jpg": 0, "c,d.jpg": 2}
    coco = COCO(str(tmp_path / "objects.json"))
    assert coco.dataset["images"][0] == {
        **{"id": 1, "file_name": "x/a.jpg", "height": 12, "width": 20, "repeats": 0.75}
    }
    assert coco.dataset["categories"] == [{"id": 1, "name": "co-salient object"}]
    second = coco.loadAnns(coco.getAnnIds(imgIds=[1]))[1]
    assert second["bbox"] == [4, 0, 4, 12] and second["group_id"] == 0
    mask = mask_util.decode(second["segmentation"])
    assert np.array_equal(mask, result(IMAGE).instances.pred_masks[1])


def test_lines_are_on_disk_as_soon_as_a_picture_is_done(tmp_path):
    with ResultWriter(tmp_path, ["json", "csv"]) as writer:
        write(writer, "a.jpg")
        assert len(rows(tmp_path)) == 1
        assert len((tmp_path / "objects.jsonl").read_text().splitlines()) == 2


def test_done_is_what_has_all_its_results(tmp_path):
    source = Source("a.jpg", "a.jpg")
    with ResultWriter(tmp_path, RESULTS) as writer:
        assert not writer.done(source)
        write(writer, "a.jpg")
        assert writer.done(source)
    with ResultWriter(tmp_path, RESULTS, keep=True) as writer:
        assert writer.done(source) and not writer.done(Source("b.jpg", "b.jpg"))
    for name in ("a_map.png", "a_overlay.png", "a_object_03.png", "a_object_05.png"):
        kept = (tmp_path / name).read_bytes()
        (tmp_path / name).unlink()
        with ResultWriter(tmp_path, RESULTS, keep=True) as writer:
            assert not writer.done(source), name
        (tmp_path / name).write_bytes(kept)
    for name in ("counts.csv", "objects.jsonl"):
        kept = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(kept.splitlines(keepends=True)[0])
        with ResultWriter(tmp_path, RESULTS, keep=True) as writer:
            assert not writer.done(source), name
        (tmp_path / name).write_bytes(kept)
    with ResultWriter(tmp_path, RESULTS, keep=True) as writer:
        assert writer.done(source)


def test_a_picture_without_objects_is_done_too(tmp_path):
    with ResultWriter(tmp_path, ["objects"]) as writer:
        write(writer, "a.jpg", groups=())
    with ResultWriter(tmp_path, ["objects"], keep=True) as writer:
        assert writer.done(Source("a.jpg", "a.jpg"))
    assert not (tmp_path / "objects.json").exists()


def test_objects_of_an_earlier_run_that_are_no_more_are_removed(tmp_path):
    own = tmp_path / "a_object_06.png"
    Image.fromarray(IMAGE).save(own)  # not of a run
    with ResultWriter(tmp_path, ["objects"]) as writer:
        write(writer, "a.jpg")
        write(writer, "a.jpg", groups=(0, 0))
    assert sorted(p.name for p in tmp_path.glob("*.png")) == [
        *("a_object_01.png", "a_object_02.png", "a_object_06.png")
    ]


@pytest.mark.parametrize("save", [["json"], ["csv"], ["json", "csv"]])
def test_lines_of_earlier_runs_stay_when_told_and_none_is_there_twice(tmp_path, save):
    for keep, names in ((False, "ab"), (True, "bca"), (True, "")):
        with ResultWriter(tmp_path, save, keep=keep) as writer:
            write(writer, *(f"{name}.jpg" for name in names), groups=(0, 0))
    if "csv" in save:
        assert [row["name"] for row in rows(tmp_path)] == ["b.jpg", "c.jpg", "a.jpg"]
    if "json" in save:
        assert annotated(tmp_path) == dict.fromkeys(["b.jpg", "c.jpg", "a.jpg"], 2)
    with ResultWriter(tmp_path, save) as writer:
        write(writer, "d.jpg")
    assert [row["name"] for row in rows(tmp_path)] == ["d.jpg"] if "csv" in save else True
    assert list(annotated(tmp_path)) == ["d.jpg"] if "json" in save else True


def test_what_a_kill_left_is_mended_by_the_next_run(tmp_path):
    with ResultWriter(tmp_path, ["json", "csv"]) as writer:
        write(writer, "a.jpg", "b.jpg")
    (tmp_path / "objects.json").unlink()
    for name in ("objects.jsonl", "counts.csv"):
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[:-3])
    with ResultWriter(tmp_path, ["json", "csv"], keep=True) as writer:
        assert writer.done(Source("a.jpg", "a.jpg")) and not writer.done(Source("b", "b.jpg"))
        write(writer, "b.jpg", "c.jpg")
    assert [row["name"] for row in rows(tmp_path)] == ["a.jpg", "b.jpg", "c.jpg"]
    assert annotated(tmp_path) == dict.fromkeys(["a.jpg", "b.jpg", "c.jpg"], 5)


def test_an_error_in_the_run_completes_objects_json_all_the_same(tmp_path):
    with pytest.raises(KeyboardInterrupt), ResultWriter(tmp_path, ["json"]) as writer:
        write(writer, "a.jpg")
        raise KeyboardInterrupt
    assert annotated(tmp_path) == {"a.jpg": 5}


@pytest.mark.parametrize("name", ["counts.csv", "objects.json", "objects.jsonl"])
@pytest.mark.parametrize("keep", [True, False])
def test_a_file_of_others_is_not_replaced(tmp_path, name, keep):
    (tmp_path / name).write_text('{"images": []}\n')
    with pytest.raises(ValueError, match=f"{name} .* another folder"):
        ResultWriter(tmp_path, ["json", "csv"], keep=keep)
    assert (tmp_path / name).read_text() == '{"images": []}\n'


def test_a_picture_of_others_is_not_replaced_nor_taken_for_a_result(tmp_path):
    Image.fromarray(IMAGE).save(tmp_path / "a_mask.png")
    content = (tmp_path / "a_mask.png").read_bytes()
    with ResultWriter(tmp_path, ["map", "mask"]) as writer:
        for _ in range(2):
            assert not writer.done(Source("a.jpg", "a.jpg"))
            (error,) = write(writer, "a.jpg")
            assert "a_mask.png was not written by this command; move it away" in error
    assert (tmp_path / "a_mask.png").read_bytes() == content and is_result(tmp_path / "a_map.png")


def test_a_folder_that_cannot_be_written_to_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: not (mode & os.W_OK))
    with pytest.raises(PermissionError, match=f"{tmp_path} cannot be written to; give another"):
        ResultWriter(tmp_path, ["map"])


def test_an_output_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "a").touch()
    with pytest.raises(NotADirectoryError, match="/a is no folder; give one"):
        ResultWriter(tmp_path / "a", ["map"])


@pytest.mark.parametrize("below", ["a", "a/b/c", "link"])
def test_an_output_that_cannot_be_made_is_refused_without_making_anything(tmp_path, below):
    (tmp_path / "a").touch()
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(NotADirectoryError, match="no folder; give one"):
        check_output(tmp_path / below)
    check_output(tmp_path / "new" / "folder")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "link"]


@pytest.mark.parametrize("name", ["counts.csv", "objects.json", "objects.jsonl"])
@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_a_folder_or_a_pipe_in_the_place_of_a_file_of_the_run_is_refused(tmp_path, name, make):
    make(tmp_path / name)
    with pytest.raises(ValueError, match=f"{name} is no file; move it away"):
        ResultWriter(tmp_path, RESULTS, keep=True)


def test_results_of_names_that_differ_by_their_suffix_are_apart(tmp_path):
    sources = [Source("a.jpg", "a.jpg", True), Source("a.png", "a.png", True)]
    with ResultWriter(tmp_path, RESULTS) as writer:
        for source, groups in zip(sources, ((0, 0), (0, 0, 0)), strict=True):
            assert writer.append(source, writer.write(source, result(IMAGE, groups))) == []
        assert all(map(writer.done, sources))
    assert annotated(tmp_path) == {"a.jpg": 2, "a.png": 3}
    assert [row["count"] for row in rows(tmp_path)] == ["2", "3"]
    assert len(list(tmp_path.glob("a.jpg_*.png"))) == 6
    assert len(list(tmp_path.glob("a.png_*.png"))) == 7


@pytest.mark.parametrize("stem", ["a" * 245, "\u00e9" * 122 + "a", "\u732b" * 81 + "aa"])
def test_results_whose_names_are_too_long_are_named_and_the_others_are_written(tmp_path, stem):
    with ResultWriter(tmp_path, RESULTS) as writer:
        errors = write(writer, f"{stem}.jpg")
        assert write(writer, "b.jpg") == []
    assert errors == [
        "the name of a result would be longer than its folder takes; rename the picture"
    ]
    assert is_result(tmp_path / f"{stem}_map.png")
    assert annotated(tmp_path) == {f"{stem}.jpg": 5, "b.jpg": 5}


def test_a_name_may_have_all_its_bytes(tmp_path):
    stem = "a" * (255 - len("_overlay.png"))
    with ResultWriter(tmp_path, ["overlay"]) as writer:
        assert write(writer, f"{stem}.jpg") == []


def test_a_full_disk_is_told_of_the_file_that_did_not_fit(tmp_path):
    """Files of more than 20 kB do not fit; small ones do."""
    large = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with ResultWriter(tmp_path, ["map", "cutout", "csv"]) as writer:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
        try:
            source = Source("a.jpg", "a.jpg")
            saved = writer.write(source, result(large))
            (error,) = writer.append(source, saved)
            writer.require_room()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "too large" in error and f"'{tmp_path}/a_cutout.png'" in error
    assert {p.name for p in tmp_path.iterdir()} == {"a_map.png", "counts.csv"}


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_folder_that_takes_nothing_is_told_at_once(tmp_path, monkeypatch, code):
    class Refusing(io.BytesIO):
        def flush(self):
            raise OSError(code, os.strerror(code))

        def close(self):
            pass

    monkeypatch.setattr("tempfile.TemporaryFile", lambda dir: Refusing())
    reason = f"{tmp_path}/new cannot be written to .{os.strerror(code)}.; make room .*skip-existing"
    with pytest.raises(OSError, match=reason):
        ResultWriter(tmp_path / "new", ["map"])


def test_an_unknown_result_is_refused(tmp_path):
    with pytest.raises(ValueError, match="save maps: give any of map, mask"):
        ResultWriter(tmp_path, ["maps"])


def test_one_result_that_cannot_be_written_leaves_the_others(tmp_path):
    (tmp_path / "a_map.png").mkdir()
    (tmp_path / "a_object_02.png").mkdir()
    with ResultWriter(tmp_path, RESULTS) as writer:
        errors = write(writer, "a.jpg")
        assert len(errors) == 2 and "a_map.png" in errors[0] and "a_object_02.png" in errors[1]
        assert not writer.done(Source("a.jpg", "a.jpg"))
    assert (tmp_path / "a_overlay.png").exists() and annotated(tmp_path) == {"a.jpg": 5}
    assert [p for p in tmp_path.iterdir() if p.name[0] == "."] == []


def test_a_line_is_written_wholly_or_not_at_all(tmp_path, monkeypatch):
    with ResultWriter(tmp_path, ["csv"]) as writer:
        write(writer, "a.jpg")
        file = writer.counts._file

        class Full:
            """A file on a disk that has room for three bytes."""

            def __getattr__(self, name):
                return getattr(file, name)

            def write(self, content):
                return file.write(content[:3])

        monkeypatch.setattr(writer.counts, "_file", Full())
        (error,) = write(writer, "b.jpg")
        assert "No space left" in error and "counts.csv" in error
        monkeypatch.setattr(writer.counts, "_file", file)
        assert not writer.done(Source("b.jpg", "b.jpg"))
        write(writer, "c.jpg")
    assert [row["name"] for row in rows(tmp_path)] == ["a.jpg", "c.jpg"]


def test_objects_that_cannot_be_worked_out_are_one_error(tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("out of\nmemory")

    monkeypatch.setattr("prediction_data.Stripes.find", fail)
    with ResultWriter(tmp_path, RESULTS) as writer:
        assert write(writer, "a.jpg") == ["RuntimeError: out of memory"]
    assert {p.name for p in tmp_path.glob("*.png")} == {
        f"a_{kind}.png" for kind in ("map", "mask", "cutout")
    }


def test_a_name_of_two_lines_has_none_in_counts_csv(tmp_path):
    with ResultWriter(tmp_path, ["map", "json", "csv"]) as writer:
        (error,) = write(writer, "a\nb.jpg")
        assert r"'a\nb.jpg' has a line break" in error
    assert rows(tmp_path) == [] and annotated(tmp_path) == {"a\nb.jpg": 5}


def test_names_that_are_not_utf8_are_written_everywhere(tmp_path):
    name = os.fsdecode(b"caf\xe9.jpg")
    for _ in range(2):
        with ResultWriter(tmp_path, RESULTS, keep=True) as writer:
            write(writer, name)
    with ResultWriter(tmp_path, RESULTS, keep=True) as writer:
        assert writer.done(Source(name, name))
    assert b"caf\xe9_map.png" in os.listdir(os.fsencode(tmp_path))
    assert [row["name"] for row in rows(tmp_path)] == [name]
    assert annotated(tmp_path) == {name: 5}


def test_a_result_is_known_by_its_name_and_its_mark(tmp_path):
    write_result(tmp_path / "a_mask.png", IMAGE)
    with Image.open(tmp_path / "a_mask.png") as image:
        assert image.info["Software"] == "cosal predict"
        assert np.array_equal(np.asarray(image)[:, :, ::-1], IMAGE)
    assert is_result(tmp_path / "a_mask.png")
    (tmp_path / "copy.png").write_bytes((tmp_path / "a_mask.png").read_bytes())
    Image.fromarray(IMAGE).save(tmp_path / "b_mask.png")
    (tmp_path / "c_map.png").touch()
    for name in ("copy", "b_mask", "c_map", "d_map"):
        assert not is_result(tmp_path / f"{name}.png")


def test_every_result_is_one_of_the_config(tmp_path):
    assert {*saving._PICTURES, "objects", "json", "csv"} == set(RESULTS)
