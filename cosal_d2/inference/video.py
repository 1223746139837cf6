"""What repeats, frame by frame: a video file to a video of overlays, a camera to a window."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from cosal_d2.inference.results import CoSaliencyResult
from cosal_d2.utils.files import replacing
from cosal_d2.utils.parallel import read_ahead

Predictor = Callable[[np.ndarray], CoSaliencyResult]

CODEC = "mp4v"  # MPEG-4 part 2: every build of OpenCV with FFmpeg writes it
USUAL_RATE = 25.0  # frames a second, where a file names none
HIGHEST_RATE = 1000.0  # above it a file gives its clock, not its frames
LONGEST_SIDE = 8191  # pixels that the codec can hold
ESCAPE = 27

logger = logging.getLogger(__name__)


def predict_video(
    predictor: Predictor, source: str | int, output: str, *, smoothing: float = 0.0
) -> int:
    """Draw what repeats in each frame of a video file or a camera.

    A file gives ``OUTPUT/STEM_overlay.mp4`` with the size and the frame rate of the source, without
    its sound. The rate that the file names holds for all frames, also where it varies; where it
    names none, 25 a second are taken, and the log says so. The codec halves colours, so an odd side
    loses its last pixel. A camera's frames are shown in a window until Esc is pressed.

    Args:
        predictor: as :class:`cosal_d2.inference.CoSaliencyPredictor`, for uint8 BGR (H, W, 3).
        source: a path, or the number of a camera.
        output: folder of a file's result, made when missing; a camera leaves none.
        smoothing: s in [0, 1). A frame's map becomes s times the map before it plus 1 - s times its
            own (an exponential mean over time); 0 leaves it as it is.

    Returns:
        the number of frames.

    Raises:
        FileNotFoundError: no such video.
        ValueError: the file is no video that can be decoded, or ``smoothing`` is out of its range.
        OSError: no such camera, no display, or the result cannot be written.
    """
    if not 0 <= smoothing < 1:
        raise ValueError(f"smoothing {smoothing}: give at least 0 and less than 1")
    if isinstance(source, int):
        return _show_camera(predictor, source, smoothing)
    return _write_overlays(predictor, source, output, smoothing)


def _write_overlays(predictor: Predictor, source: str, output: str, smoothing: float) -> int:
    capture = _open_file(source)
    rate = capture.get(cv2.CAP_PROP_FPS)
    promised = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    if not 0 < rate <= HIGHEST_RATE:
        logger.warning("%s names no frame rate: taking %g a second", source, USUAL_RATE)
        rate = USUAL_RATE
    with contextlib.closing(_frames(capture, ahead=4)) as frames:
        first = next(frames, None)
        if first is None:
            raise ValueError(f"{source}: no frame can be decoded; {_conversion(source)}")
        os.makedirs(output, exist_ok=True)
        path = Path(output, f"{Path(source).stem}_overlay.mp4")
        with replacing(path) as temporary:
            writer = _open_writer(temporary, path, first.shape, rate)
            results = _smoothed(map(predictor, itertools.chain([first], frames)), smoothing)
            drawn = read_ahead(lambda result: writer.write(result.overlay(None)), results, ahead=1)
            try:
                total = promised if promised > 0 else None
                count = sum(1 for _ in tqdm(drawn, total=total, unit="frame", disable=None))
            finally:
                drawn.close()  # before the writer, which its thread uses
                writer.release()
            _check_written(temporary, path, count)
    if count < promised:
        logger.warning("%s names %d frames, %d could be decoded", source, promised, count)
    return count


def _open_file(source: str) -> cv2.VideoCapture:
    if not os.path.isfile(source):
        raise FileNotFoundError(f"no such video: {source}")
    capture = cv2.VideoCapture(os.fsencode(source))
    if not capture.isOpened():
        raise ValueError(
            f"cannot read {source} as a video: it is none, is damaged, or has a codec that OpenCV "
            f"does not know; {_conversion(source)}"
        )
    return capture


def _conversion(source: str) -> str:
    return f"if it plays elsewhere, convert it: ffmpeg -i {source} -c:v libx264 converted.mp4"


def _open_writer(
    temporary: Path, path: Path, shape: tuple[int, ...], rate: float
) -> cv2.VideoWriter:
    height, width = shape[:2]
    if not 2 <= min(height, width) <= max(height, width) <= LONGEST_SIDE:
        raise ValueError(
            f"{path}: an MPEG-4 video has sides of 2 to {LONGEST_SIDE} pixels, and the source has "
            f"{width} x {height}; scale it: ffmpeg -i SOURCE -vf scale=1920:-2 scaled.mp4"
        )
    code = cv2.VideoWriter_fourcc(*CODEC)
    writer = cv2.VideoWriter(os.fsencode(temporary), cv2.CAP_ANY, code, rate, (width, height))
    if not writer.isOpened():
        raise OSError(
            f"cannot write {path}: is its folder writable, and can this OpenCV write MPEG-4? If "
            "not: pip install --force-reinstall opencv-python-headless"
        )
    return writer


def _check_written(temporary: Path, path: Path, count: int) -> None:
    """OpenCV's writer tells of no error."""
    capture = cv2.VideoCapture(os.fsencode(temporary))
    written = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    capture.release()
    if written != count:
        raise OSError(f"cannot write {path}: {written} of {count} frames fit; is the disk full?")


def _frames(capture: cv2.VideoCapture, ahead: int) -> Iterator[np.ndarray]:
    """The frames of a capture, which it closes, uint8 BGR (H, W, 3)."""
    reads = read_ahead(lambda _: capture.read(), itertools.count(), ahead)
    try:
        for found, frame in reads:
            if not found:
                return
            yield frame
    finally:
        reads.close()  # before the capture, which its thread uses
        capture.release()


def _smoothed(results: Iterable[CoSaliencyResult], smoothing: float) -> Iterator[CoSaliencyResult]:
    """Results whose maps are the exponential mean over time, and whose objects are those of it."""
    mean = None
    for result in results:
        if mean is not None:
            result.map = smoothing * mean + (1 - smoothing) * result.map
        mean = result.map
        yield result


def _show_camera(predictor: Predictor, number: int, smoothing: float) -> int:
    _require_window()
    capture = cv2.VideoCapture(number)
    if not capture.isOpened():
        raise OSError(
            f"camera {number} cannot be opened: connect it, close other programs that use it, or "
            "give another number, from 0 on"
        )
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # the newest frame, where the network is slower
    title = f"camera {number} (Esc ends)"
    count = 0
    with contextlib.closing(_frames(capture, ahead=0)) as frames:
        for result in _smoothed(map(predictor, frames), smoothing):
            count += 1
            cv2.imshow(title, result.overlay())
            if cv2.waitKey(1) & 0xFF == ESCAPE:
                break
            if cv2.getWindowProperty(title, cv2.WND_PROP_VISIBLE) < 1:  # closed by its button
                break
    cv2.destroyAllWindows()
    if not count:
        raise OSError(f"camera {number} gives no frame; unplug it and try again")
    return count


def _require_window() -> None:
    """Refuse where OpenCV has no windows (it would raise), or there is no display (it may abort).

    Raises:
        OSError: with the fix.
    """
    if not cv2.currentUIFramework():
        raise OSError(
            "a camera's frames are shown in a window, and this OpenCV is built without windows; "
            "run: pip uninstall -y opencv-python-headless && pip install opencv-python"
        )
    elsewhere = sys.platform in ("win32", "darwin")
    if not (elsewhere or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise OSError(
            "a camera's frames are shown in a window, and there is no display here (DISPLAY is "
            "not set); run it on the machine's own desktop, or give a video file"
        )
