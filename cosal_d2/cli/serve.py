"""`cosal serve`."""

from __future__ import annotations

import argparse

from cosal_d2.cli.verbs import add_network, add_verb
from cosal_d2.utils.given_files import check_weights


def add_verbs(verbs: argparse._SubParsersAction) -> None:
    """Add `serve` to the verbs of `cosal`."""
    parser = add_verb(
        verbs,
        "serve",
        run,
        help="serve a web page, and the same by HTTP for programs",
        example="cosal serve --port 8000\ncosal serve --host 0.0.0.0 --port 8000 --max-megabytes 8",
    )
    add = parser.add_argument
    add(
        "--host",
        default="127.0.0.1",
        help="address to listen on; 0.0.0.0 is every network (default: %(default)s, this machine)",
    )
    add("--port", type=int, default=7860, help="0 takes any free one (default: %(default)s)")
    add(
        "--max-megabytes",
        type=float,
        metavar="MB",
        help="of a picture's file (default: 16)",
    )
    add("--max-megapixels", type=float, metavar="MP", help="of a picture (default: 32)")
    add(
        "--queue",
        type=int,
        metavar="N",
        help="requests at work or waiting; more are told to try again (default: 16)",
    )
    add(
        "--seconds",
        type=float,
        metavar="S",
        help="for a request to arrive, and again for its answer (default: 60)",
    )
    add(
        "--size",
        type=int,
        metavar="PIXELS",
        help="shortest side that a picture is scaled to (default: the config's)",
    )
    add_network(parser)


def run(args: argparse.Namespace) -> None:
    """Serve."""
    import logging

    from cosal_d2.inference.web.limits import Limits

    asked = {
        "megabytes": args.max_megabytes,
        "megapixels": args.max_megapixels,
        "queue": args.queue,
        "seconds": args.seconds,
    }
    limits = Limits(**{name: value for name, value in asked.items() if value is not None})
    if not 0 <= args.port <= 65535:
        raise ValueError(f"--port {args.port}: give 0 to 65535")
    check_weights(args.opts)
    # What takes long to import comes after what may be wrong.
    from cosal_d2.config import get_cosal_config
    from cosal_d2.inference import CoSaliencyPredictor

    try:
        from cosal_d2.inference.web.app import serve
    except ModuleNotFoundError as error:
        raise ImportError(
            f"`cosal serve` needs {error.name}; run: pip install 'cosal_d2[web]'"
        ) from error
    logging.basicConfig(format="%(message)s")
    logging.getLogger("cosal_d2.inference").setLevel(logging.INFO)
    cfg = get_cosal_config(args.config_file, args.opts)
    predictor = CoSaliencyPredictor(cfg, device=args.device, dtype=args.dtype, size=args.size)
    serve(predictor, args.host, args.port, limits)
