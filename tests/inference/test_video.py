import itertools
import logging
import resource
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from cosal_d2.inference import CoSaliencyResult, video
from cosal_d2.inference.video import predict_video

SIZE = (48, 64)


def write_video(path, count=50, rate=23.976, size=SIZE, noise=False):
    """Frames whose brightness rises."""
    code = cv2.VideoWriter_fourcc(*("MJPG" if noise else "mp4v"))
    writer = cv2.VideoWriter(str(path), code, rate, size[::-1])
    rng = np.random.default_rng(0)
    for i in range(count):
        frame = np.full((*size, 3), 4 * i, np.uint8)
        writer.write(rng.integers(0, 256, frame.shape, np.uint8) if noise else frame)
    writer.release()
    return str(path)


def read_video(path):
    capture = cv2.VideoCapture(str(path))
    reads = iter(capture.read, (False, None))
    return capture.get(cv2.CAP_PROP_FPS), [frame for _, frame in reads]


class Blinking:
    """A predictor without a network: maps of 1 and 0 in turn; it keeps what it was given."""

    def __init__(self):
        self.results = []

    def __call__(self, frame):
        value = 1.0 - len(self.results) % 2
        self.results.append(
            CoSaliencyResult(frame, {"cosal_map": torch.full(frame.shape[:2], value)})
        )
        return self.results[-1]


def test_a_video_keeps_its_rate_size_and_frames(tmp_path):
    source = write_video(tmp_path / "clip.one.avi")
    predictor = Blinking()
    assert predict_video(predictor, source, str(tmp_path / "out")) == 50
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["clip.one_overlay.mp4"]
    rate, frames = read_video(tmp_path / "out" / "clip.one_overlay.mp4")
    assert rate == pytest.approx(23.976)
    assert [frame.shape for frame in frames] == [(*SIZE, 3)] * 50
    for frame, result in zip(frames, predictor.results, strict=True):
        assert np.abs(frame.astype(int) - result.overlay()).mean() < 12
    brightness = [result.image.mean() for result in predictor.results]
    assert brightness == sorted(brightness) and brightness[-1] > 180


@pytest.mark.parametrize("smoothing", [0.0, 0.75])
def test_smoothing_is_an_exponential_mean_of_the_maps(tmp_path, smoothing):
    predictor = Blinking()
    predict_video(predictor, write_video(tmp_path / "a.mp4", 5), str(tmp_path), smoothing=smoothing)
    expected = itertools.accumulate(
        [1, 0, 1, 0, 1], lambda m, x: smoothing * m + (1 - smoothing) * x
    )
    for result, value in zip(predictor.results, expected, strict=True):
        assert result.map.dtype == np.float32 and np.allclose(result.map, value)


@pytest.mark.parametrize("smoothing", [-0.1, 1, float("nan")])
def test_smoothing_has_a_range(tmp_path, smoothing):
    with pytest.raises(ValueError, match=f"smoothing {smoothing}: give at least 0 and less than 1"):
        predict_video(Blinking(), "a.mp4", str(tmp_path), smoothing=smoothing)


@pytest.mark.parametrize("named", [0.0, float("nan"), 90000.0])
def test_a_rate_that_is_none_becomes_the_usual_one(tmp_path, monkeypatch, caplog, named):
    opened = cv2.VideoCapture

    class Capture:
        def __init__(self, path):
            self.capture = opened(path)

        def __getattr__(self, name):
            return getattr(self.capture, name)

        def get(self, key):
            return named if key == cv2.CAP_PROP_FPS else self.capture.get(key)

    source = write_video(tmp_path / "a.mp4", 3)
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING, video.__name__):
        patch.setattr(cv2, "VideoCapture", Capture)
        assert predict_video(Blinking(), source, str(tmp_path)) == 3
    assert f"{source} names no frame rate: taking 25 a second" in caplog.text
    assert read_video(tmp_path / "a_overlay.mp4")[0] == 25


def test_a_video_that_breaks_off_gives_what_it_has(tmp_path, caplog):
    whole = write_video(tmp_path / "whole.avi", 20, noise=True)
    content = Path(whole).read_bytes()
    source = tmp_path / "cut.avi"
    source.write_bytes(content[: len(content) // 2])
    with caplog.at_level(logging.WARNING, video.__name__):
        count = predict_video(Blinking(), str(source), str(tmp_path))
    assert 5 < count < 15 and len(read_video(tmp_path / "cut_overlay.mp4")[1]) == count
    assert f"{source} names 20 frames, {count} could be decoded" in caplog.text


def test_names_that_are_not_utf_8_are_taken(tmp_path):
    write_video(tmp_path / "a.mp4", 2)
    source = tmp_path / "\udcff.mp4"
    (tmp_path / "a.mp4").rename(source)
    assert predict_video(Blinking(), str(source), str(tmp_path)) == 2
    assert (tmp_path / "\udcff_overlay.mp4").stat().st_size > 0


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "no such video: "),
        (b"", "cannot read "),
        (b"no video\n" * 100, "cannot read "),
        ("codec", "cannot read "),
        ("frames", "no frame can be decoded"),
    ],
)
def test_what_is_no_video_is_named_and_nothing_is_written(tmp_path, content, reason):
    path = tmp_path / "some.avi"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content:
        whole = Path(write_video(path, 3, noise=True)).read_bytes()
        if content == "codec":
            path.write_bytes(whole.replace(b"MJPG", b"ZZZZ"))
        else:
            path.write_bytes(whole[: whole.find(b"movi") + 4])
    with pytest.raises((FileNotFoundError, ValueError), match=reason) as raised:
        predict_video(Blinking(), str(path), str(tmp_path / "out"))
    assert str(path) in str(raised.value)
    assert not (tmp_path / "out").exists()


def test_a_result_that_does_not_fit_on_the_disk_leaves_the_former_one(tmp_path):
    source = write_video(tmp_path / "a.avi", 20, noise=True)
    former = tmp_path / "a_overlay.mp4"
    former.write_bytes(b"former")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(OSError, match="a_overlay.mp4: .* of 20 frames fit; is the disk full"):
            predict_video(Blinking(), source, str(tmp_path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert former.read_bytes() == b"former"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.avi", "a_overlay.mp4"]


def test_an_error_in_the_middle_leaves_nothing_behind(tmp_path):
    class Failing(Blinking):
        def __call__(self, frame):
            if len(self.results) == 10:
                raise RuntimeError("no memory")
            return super().__call__(frame)

    source = write_video(tmp_path / "a.mp4")
    with pytest.raises(RuntimeError, match="no memory"):
        predict_video(Failing(), source, str(tmp_path / "out"))
    assert list((tmp_path / "out").iterdir()) == []


def test_a_size_that_the_codec_lacks_is_named(tmp_path):
    source = write_video(tmp_path / "a.avi", 1, size=(16, 8200), noise=True)
    with pytest.raises(ValueError, match=r"a_overlay.mp4: .* sides of 2 to 8191 .* 8200 x 16"):
        predict_video(Blinking(), source, str(tmp_path))


class Camera:
    """A camera that gives `count` frames."""

    def __init__(self, count):
        self.left = count

    def isOpened(self):
        return self.left is not None

    def set(self, key, value):
        return True

    def read(self):
        self.left -= 1
        return (True, np.zeros((*SIZE, 3), np.uint8)) if self.left >= 0 else (False, None)

    def release(self):
        self.left = None


@pytest.fixture
def window(monkeypatch):
    """A display without a screen: the frames that it showed, and its keys."""
    shown, keys = [], []
    monkeypatch.setattr(cv2, "currentUIFramework", lambda: "QT")
    monkeypatch.setattr(cv2, "imshow", lambda title, frame: shown.append((title, frame)))
    monkeypatch.setattr(cv2, "waitKey", lambda _: keys.pop(0) if keys else -1)
    monkeypatch.setattr(cv2, "getWindowProperty", lambda *_: 0.0 if "closed" in keys else 1.0)
    monkeypatch.setattr(cv2, "destroyAllWindows", lambda: None)
    monkeypatch.setenv("DISPLAY", ":0")
    return shown, keys


@pytest.mark.parametrize(
    ("keys", "count"), [([-1, -1, 27], 3), ([ord("a"), -1, "closed"], 1), ([], 5)]
)
def test_a_camera_is_shown_until_escape_is_pressed(tmp_path, monkeypatch, window, keys, count):
    camera = Camera(5)
    monkeypatch.setattr(cv2, "VideoCapture", lambda number: camera)
    shown, pressed = window
    pressed.extend(keys)
    assert predict_video(Blinking(), 1, str(tmp_path / "out")) == count
    assert [title for title, _ in shown] == ["camera 1 (Esc ends)"] * count
    assert all(frame.shape == (*SIZE, 3) for _, frame in shown)
    assert camera.left is None and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("frames", "reason"),
    [(None, "camera 3 cannot be opened: connect it"), (0, "camera 3 gives no frame")],
)
def test_a_camera_that_gives_nothing_is_named(monkeypatch, window, frames, reason):
    monkeypatch.setattr(cv2, "VideoCapture", lambda number: Camera(frames))
    with pytest.raises(OSError, match=reason):
        predict_video(Blinking(), 3, "out")


@pytest.mark.parametrize(
    ("framework", "reason"), [("", "pip install opencv-python$"), ("QT", "no display here")]
)
def test_a_camera_needs_a_window(monkeypatch, framework, reason):
    monkeypatch.setattr(cv2, "currentUIFramework", lambda: framework)
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(OSError, match=reason):
        predict_video(Blinking(), 0, "out")
