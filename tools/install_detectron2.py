#!/usr/bin/env python3
"""Install Detectron2 for the Python that runs this; `--help` lists the ways."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cosal_d2.install_detectron2 import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
