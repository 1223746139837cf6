"""One HTML page of evaluations: ``report.py --evaluation OUT ... --out PAGE.html``.

OUT is the output of ``evaluate_maps.py``; several must be of one dataset. The page holds its
pictures and needs no other file.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from cosal_d2.utils.requirements import require_detectron2


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--evaluation", nargs="+", required=True, metavar="OUT", help="outputs of evaluate_maps.py")
    add("--out", type=Path, required=True, metavar="PAGE", help="the page, or a folder for it")
    add("--dataset", metavar="NAME|JSON|FOLDER", help="the truth, if it was moved")
    add("--images", metavar="FOLDER", help="the images (default: the dataset's)")
    add("--title", help="of the page")
    add("--limit", type=int, default=500, metavar="N", help="images in the gallery (default: 500)")
    add("--longest", type=int, default=480, metavar="PIXELS", help="of its pictures (default: 480)")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Write the page; 1 where something is missing."""
    args = build_parser().parse_args(argv)
    try:
        require_detectron2()
        from cosal_d2.evaluation.report import build_page
        from cosal_d2.utils.files import write_text

        page = build_page(
            args.evaluation,
            dataset=args.dataset,
            images=args.images,
            title=args.title,
            limit=args.limit,
            longest=args.longest,
            progress=True,
        )
        is_folder = args.out.is_dir() or not args.out.suffix
        path = args.out / "report.html" if is_folder else args.out
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, page)
    except (OSError, ValueError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{path}: {len(page) / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
