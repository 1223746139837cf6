"""Draw the co-saliency maps of pictures: ``demo.py --input FILE|FOLDER|GLOB --output FOLDER``."""

from __future__ import annotations

import sys

from cosal_d2.cli import main

if __name__ == "__main__":
    sys.exit(main(["predict", *sys.argv[1:]]))
