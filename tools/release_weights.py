"""Make a checkpoint the released file of a config: ``release_weights.py CHECKPOINT NAME``."""

from __future__ import annotations

import argparse

from cosal_d2.engine.release import release


def main() -> None:
    """Write the file and print its sha256."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", help="such as output/cosal_vgg16_cpu/model_final.pth")
    parser.add_argument("name", help="such as cosal_vgg16_cpu.pth (the config's MODEL.RELEASED)")
    args = parser.parse_args()
    path, digest = release(args.checkpoint, args.name)
    print(f"{path}\nsha256 {digest}")


if __name__ == "__main__":
    main()
