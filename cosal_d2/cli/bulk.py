"""`cosal bulk`."""

from __future__ import annotations

import argparse
import sys

from cosal_d2.cli.verbs import add_network, add_verb, positive
from cosal_d2.utils.given_files import check_weights


def add_verbs(verbs: argparse._SubParsersAction) -> None:
    """Add `bulk` to the verbs of `cosal`."""
    parser = add_verb(
        verbs,
        "bulk",
        run,
        help="predict very many pictures into Parquet files, on this machine or a Ray cluster; "
        "the same command again goes on where the last one ended",
        example="cosal bulk photos/ results\n"
        "cosal bulk photos/ results --recursive --workers 2 --batch 4\n"
        "cosal bulk @list.txt results --address 10.0.0.1:6379",
    )
    add = parser.add_argument
    add(
        "source",
        nargs="+",
        metavar="SOURCE",
        help="pictures, folders, glob patterns, @FILE or -, as of cosal predict --input",
    )
    add("out", metavar="OUT", help="folder of the Parquet files; made where it is missing")
    add("--recursive", action="store_true", help="look into the folders of folders too")
    add(
        "--address",
        metavar="HOST:PORT",
        help="of a Ray cluster, whose machines read the pictures at the same paths (default: this "
        "machine alone)",
    )
    add(
        "--workers",
        type=positive,
        metavar="N",
        help="processes that hold the network (default: one a GPU or, without one, one for every "
        "four processors)",
    )
    add(
        "--batch",
        type=positive,
        default=1,
        metavar="N",
        help="pictures of a forward pass (default: %(default)s)",
    )
    add(
        "--shard",
        type=positive,
        default=256,
        metavar="N",
        help="pictures that wait for a Parquet file, the most that a kill costs beside those at "
        "work (default: %(default)s)",
    )
    add(
        "--size",
        type=positive,
        metavar="PIXELS",
        help="shortest side that a picture is scaled to (default: the config's)",
    )
    add(
        "--tiles",
        type=positive,
        default=1,
        metavar="N",
        help="overlapping windows along the longer side (default: 1, the whole picture)",
    )
    add_network(parser)


def run(args: argparse.Namespace) -> int:
    """Predict in bulk."""
    from cosal_d2.utils.requirements import require_detectron2, require_modules

    require_detectron2()
    require_modules(("ray", "pandas", "pyarrow"), "cosal bulk")
    from cosal_d2.inference.sources import find_pictures

    found = find_pictures(args.source, args.out, recursive=args.recursive, option="SOURCE")
    check_weights(args.opts)
    # What takes long to import comes after what may be wrong.
    from cosal_d2.config import get_cosal_config
    from cosal_d2.inference import CoSaliencyPredictor
    from cosal_d2.inference.bulk.run import cluster, predict_in_bulk
    from cosal_d2.inference.bulk.shards import ShardFolder

    cfg = get_cosal_config(args.config_file, args.opts)
    # The workers' errors are long, and come late.
    CoSaliencyPredictor(cfg, device="cpu", dtype=args.dtype, size=args.size)
    settings = {"--config-file": args.config_file, "--opts": args.opts, "--dtype": args.dtype}
    settings |= {"--size": args.size, "--tiles": args.tiles}
    with ShardFolder(args.out, settings, args.shard) as shards, cluster(args.address):
        done = predict_in_bulk(
            found.pictures,
            shards,
            cfg,
            workers=args.workers,
            batch=args.batch,
            device=args.device,
            dtype=args.dtype,
            size=args.size,
            tiles=args.tiles,
        )
    if found.passed_over:
        print(f"passed over: {found.passed_over_text()}", file=sys.stderr)
    for sentence in found.unfound:
        print(f"failed: {sentence}", file=sys.stderr)
    total = len(found.pictures)
    print(f"{total} pictures ({total - done.pictures} by an earlier run) in {args.out}", end="")
    print(f", {shards.failed} of them failed" if shards.failed else "")
    if done.pictures:
        print(
            f"{done.pictures / done.elapsed:.2f} pictures a second; {done.workers} workers, whose "
            f"network was at work for {done.busy:.0%} of the time"
        )
    return 1 if shards.failed or found.unfound else 0
