"""`cosal export` from a clone: ``export_model.py --output FILE.onnx [--config-file FILE]``."""

import sys

from cosal_d2.cli import main

if __name__ == "__main__":
    sys.exit(main(["export", *sys.argv[1:]]))
