"""`cosal predict` under the name, and with the options, of Detectron2's demo: ``demo.py --input
FILE|FOLDER|GLOB ... --output FOLDER``, or ``--video-input FILE`` or ``--webcam``."""

from __future__ import annotations

import sys

from cosal_d2.cli import main

if __name__ == "__main__":
    sys.exit(main(["predict", *sys.argv[1:]]))
