"""The one rule that finds a picture by the name that an annotation gives it."""

import pickle
import unicodedata

import pytest
from converter_data import convert, read_back, save_picture, write_squares

from cosal_d2.prepare.convert.picture_folder import PictureFolder
from cosal_d2.prepare.convert.source_files import by_stem


@pytest.fixture
def folder(tmp_path):
    for name in ("a.jpg", "1/b.jpg", "1/c.JPG", "x/d.jpg", "y/d.jpg", "my photo.png", "é.jpg"):
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / name).touch()
    (tmp_path / "outside.jpg").touch()
    (tmp_path / "images" / "folder.jpg").mkdir()
    (tmp_path / "images" / "broken.jpg").symlink_to("nothing")
    return PictureFolder(tmp_path / "images")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("a.jpg", "a.jpg"),
        ("./a.jpg", "a.jpg"),
        ("1/../a.jpg", "a.jpg"),
        ("images/a.jpg", "a.jpg"),
        ("A.JPG", "a.jpg"),
        ("images\\1/b.jpg", "1/b.jpg"),
        ("images\\1\\c.jpg", "1/c.JPG"),
        ("b.jpg", "1/b.jpg"),
        ("C:\\Users\\me\\photos\\a.jpg", "a.jpg"),
        ("/data/upload/1/b.jpg", "1/b.jpg"),
        ("../a.jpg", "a.jpg"),
        ("file:///home/me/X/D.jpg", "x/d.jpg"),
        ("https://host/v1.0/a.jpg?signature=x/y.z&w=5", "a.jpg"),
        ("https://host/data/local-files/?d=x/a.jpg", "a.jpg"),
        ("my%20photo.png", "my photo.png"),
        ("images%2Fmy%20photo.PNG", "my photo.png"),
        (unicodedata.normalize("NFD", "é.jpg"), "é.jpg"),
    ],
)
def test_a_name_that_one_picture_fits_finds_it(folder, name, found):
    assert folder.find(name) == folder.root / found
    assert pickle.loads(pickle.dumps(folder)).find(name) == folder.root / found


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("../outside.jpg", "no such picture"),
        ("../images/../outside.jpg", "no such picture"),
        ("z/b.jpg", "near it: 1/b.jpg"),
        ("aa.jpg", "near it: a.jpg"),
        ("my_photo.png", "near it: my photo.png"),
        ("my photo.jpg", "near it: my photo.png"),
        ("C:a.jpg", "near it: .*, a.jpg"),
        (300 * "x" + "/a.png", "near it: a.jpg"),
        ("folder.jpg", "no such picture, but a folder"),
        ("broken.jpg", "no such picture, but a link to nothing"),
        ("", "no such picture"),
        ("..", "no such picture"),
    ],
)
def test_a_name_that_none_fits_is_an_error_with_near_matches(folder, name, words):
    with pytest.raises(FileNotFoundError, match=words):
        folder.find(name)


def test_what_is_no_picture_does_not_stand_in_the_way_of_one(folder, tmp_path, caplog):
    (folder.root / "2").mkdir()
    (folder.root / "2" / "b.jpg").symlink_to("nothing")
    (folder.root / "a.png").mkdir()
    assert folder.find("b.jpg") == folder.root / "1" / "b.jpg"
    assert by_stem(folder.root)["a"] == folder.root / "a.jpg"
    assert "a.png: passed over, as it is no file, but a folder" in caplog.text
    (folder.root / "a.bmp").mkdir()  # before it in the alphabet
    assert by_stem(folder.root)["a"] == folder.root / "a.jpg"


def test_a_name_that_several_fit_is_an_error_that_names_them(folder):
    with pytest.raises(ValueError, match="2 pictures fit the name 'd.jpg': x/d.jpg, y/d.jpg"):
        folder.find("d.jpg")
    assert folder.find("x/d.jpg") == folder.root / "x" / "d.jpg"


@pytest.mark.parametrize("name", ["images\\A.PNG", "images/a.png", "%61.png", "/mnt/images/a.png"])
@pytest.mark.parametrize("kind", ["coco", "labelme"])
def test_converters_find_pictures_by_it(tmp_path, kind, name):
    def rename(content):
        part = content["images"][0] if kind == "coco" else content
        part["file_name" if kind == "coco" else "imagePath"] = name

    line = write_squares(tmp_path / "in", kind, rename)
    if kind == "labelme":
        (tmp_path / "in" / "a.json").rename(tmp_path / "in" / "other.json")
    _, found = read_back(convert(tmp_path, line))
    assert list(found) == ["a.png"]


def test_labels_of_yolo_are_found_whatever_their_case(tmp_path):
    line = write_squares(tmp_path / "in", "yolo")
    (tmp_path / "in" / "labels" / "a.txt").rename(tmp_path / "in" / "labels" / "A.TXT")
    _, found = read_back(convert(tmp_path, line))
    assert len(found["a.png"]) == 2


def test_near_names_are_shown_by_converters(tmp_path, capsys):
    line = write_squares(
        tmp_path / "in", "coco", lambda c: c["images"][0].update(file_name="b.png")
    )
    convert(tmp_path, line, status=1)
    assert "b.png: no such picture; near it: a.png" in capsys.readouterr().err


def test_labelme_with_a_folder_of_pictures_takes_none_from_elsewhere(tmp_path, capsys):
    line = write_squares(
        tmp_path / "in", "labelme", lambda c: c.update(imagePath="../secret/a.png")
    )
    (tmp_path / "in" / "a.png").unlink()
    save_picture(tmp_path / "secret" / "a.png")
    save_picture(tmp_path / "photos" / "b.png")
    convert(tmp_path, [*line, "--images", tmp_path / "photos"], status=1)
    assert "`imagePath` is '../secret/a.png'" in capsys.readouterr().err
