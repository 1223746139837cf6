"""`cosal train` from a clone: ``train_net.py --config-file FILE [KEY VALUE ...]``."""

import sys

from cosal_d2.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
