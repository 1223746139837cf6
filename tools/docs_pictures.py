"""Run the code of docs/cookbook.md, and renew the outputs and pictures in it (``make
docs-pictures``)."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from cosal_d2.cli import main as run_cosal

DOCS = Path(__file__).resolve().parents[1] / "docs"
# Code, and below it what it printed, where that is shown.
BLOCK = re.compile(r"(```(bash|python)\n(.*?)```\n)(\n```text\n.*?```\n)?", re.DOTALL)
PICTURE = re.compile(r"\]\(pictures/([^)]+)\)")
HEIGHT = 360  # most pixels of a picture in a document; twice as many of its width
FRAMES = 3  # of a video, side by side


def main() -> None:
    """Everything runs in a folder of its own, where ``results`` appears beside ``docs``."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    document = DOCS / "cookbook.md"
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.symlink(DOCS, "docs")
        text = run_blocks(document.read_text(encoding="utf-8"))
        for name in PICTURE.findall(text):
            write_picture(Path("results", name), Path("pictures", name))
        shutil.rmtree(DOCS / "pictures", ignore_errors=True)
        shutil.copytree("pictures", DOCS / "pictures")
        os.chdir(DOCS)
    document.write_text(text, encoding="utf-8")


def run_blocks(text: str) -> str:
    """Run the code blocks of a text in order: commands of `cosal`, and Python in one namespace.

    Returns:
        the text with what they printed.
    """
    names: dict[str, object] = {}

    def run(block: re.Match) -> str:
        code, language, lines, shown = block.groups()
        print(lines, flush=True)
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            if language == "python":
                exec(lines, names)
            else:
                for line in lines.splitlines():
                    if status := run_cosal(shlex.split(line)[1:]):
                        sys.exit(status)
        return code + (f"\n```text\n{printed.getvalue()}```\n" if shown else "")

    return BLOCK.sub(run, text)


def write_picture(result: Path, path: Path) -> None:
    """A small copy of a result: PNG where it has transparent pixels, else JPEG; of a video some of
    its frames.

    Args:
        result: its name without the suffix is that of a PNG or a video.
        path: of the copy.
    """
    video = result.with_suffix(".mp4")
    picture = frames(video) if video.exists() else Image.open(result.with_suffix(".png"))
    picture.thumbnail((2 * HEIGHT, HEIGHT))
    if picture.mode == "RGBA":
        picture = picture.quantize(256)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, quality=85, optimize=True)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def frames(video: Path) -> Image.Image:
    """Frames of a video from its first to its last, side by side."""
    capture = cv2.VideoCapture(os.fsencode(video))
    read = [capture.read()[1] for _ in range(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))]
    chosen = [read[i] for i in np.linspace(0, len(read) - 1, FRAMES).round().astype(int)]
    return Image.fromarray(np.hstack(chosen)[:, :, ::-1])


if __name__ == "__main__":
    main()
