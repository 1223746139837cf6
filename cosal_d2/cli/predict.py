"""`cosal predict`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from cosal_d2.cli.verbs import add_network, add_verb, number, positive
from cosal_d2.config import DEFAULT_CONFIG, RESULTS
from cosal_d2.utils.given_files import check_weights

ENGINES = ("torch", "onnxruntime")
# Options that say nothing of a video.
OF_PICTURES = ("save", "threshold", "recursive", "skip_existing", "like", "batch")


def add_verbs(verbs: argparse._SubParsersAction) -> None:
    """Add `predict` to the verbs of `cosal`."""
    parser = add_verb(
        verbs,
        "predict",
        run,
        help="find what repeats in pictures: maps, masks, objects, groups and counts",
        example="cosal predict --input photos/ --output results\n"
        "cosal predict --input photos/ --output results --recursive --skip-existing "
        "--save objects,json,csv\n"
        "cosal predict --input a.jpg 'more/*.png' --output masks --save mask --threshold 0.5\n"
        "cosal predict --input @list.txt --output results --batch 8\n"
        "cosal predict --input a.jpg --output alike --like 20,30,90,110\n"
        "cosal predict --video a.mp4 --output results --smoothing 0.7",
    )
    add = parser.add_argument
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--input",
        nargs="+",
        metavar="PATH",
        help="pictures, folders of pictures, glob patterns; @FILE: a text file with one of these a "
        "line; -: such lines on standard input. Pictures over 179 megapixels are read at reduced "
        "scale; the environment variable COSAL_MAX_MEGAPIXELS raises the limit",
    )
    source.add_argument(
        "--video", "--video-input", metavar="FILE", help="a video: gives STEM_overlay.mp4"
    )
    source.add_argument(
        "--webcam",
        nargs="?",
        const=0,
        type=int,
        metavar="N",
        help="a camera: shown in a window until Esc (default: 0, the first)",
    )
    add("--output", metavar="FOLDER", help="takes the results; made where it is missing")
    add(
        "--recursive",
        action="store_true",
        help="look into the folders of folders too, and keep their tree below --output",
    )
    add(
        "--save",
        type=_results,
        metavar="WHAT,...",
        help=f"any of {','.join(RESULTS)} (default: map,overlay)",
    )
    add(
        "--threshold",
        "--confidence-threshold",
        type=_probability,
        metavar="P",
        help="of the mask: white where the map reaches P (default: twice the map's mean)",
    )
    add(
        "--like",
        type=_box,
        metavar="X0,Y0,X1,Y1",
        help="a box in pixels around one object: find what resembles it",
    )
    add(
        "--skip-existing",
        action="store_true",
        help="leave out pictures whose results are all there, and keep their lines in "
        "objects.json and counts.csv",
    )
    add("--batch", type=positive, metavar="N", help="pictures of a forward pass (default: 1)")
    add(
        "--size",
        type=positive,
        metavar="PIXELS",
        help="shortest side that a picture is scaled to; more finds smaller objects and takes "
        "longer (default: the config's)",
    )
    add(
        "--tiles",
        type=positive,
        default=1,
        metavar="N",
        help="overlapping windows along the longer side, for many small objects or large pictures; "
        "their objects are compared with each other (default: 1, the whole picture)",
    )
    add(
        "--smoothing",
        type=_probability,
        metavar="S",
        help="of a video over time: a map's share of the one before, 0 to below 1 (default: 0)",
    )
    add(
        "--engine",
        choices=ENGINES,
        default=ENGINES[0],
        help="what computes; onnxruntime needs neither torch nor Detectron2, and --weights "
        "(default: %(default)s)",
    )
    add(
        "--weights",
        default="",
        metavar="FILE",
        help="a checkpoint (default: the config's), or for onnxruntime what cosal export wrote",
    )
    add_network(parser, config=None)


def _results(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    if unknown := [name for name in names if name not in RESULTS]:
        raise argparse.ArgumentTypeError(
            f"{', '.join(map(repr, unknown))}: give any of {','.join(RESULTS)}"
        )
    return names


def _probability(text: str) -> float:
    value = number(text, float)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def _box(text: str) -> tuple[float, ...]:
    box = tuple(number(part, float) for part in text.split(","))
    if len(box) != 4 or not (box[0] < box[2] and box[1] < box[3]):
        raise argparse.ArgumentTypeError(f"{text}: give x0,y0,x1,y1 with x0 < x1 and y0 < y1")
    return box


def run(args: argparse.Namespace) -> int:
    """Predict."""
    from cosal_d2.utils.requirements import require_detectron2, require_modules

    if args.output is None and args.webcam is None:
        raise ValueError("--output is missing: give a folder for the results")
    if args.engine == "onnxruntime":
        _check_onnx(args)
        require_modules(("onnxruntime", "cv2", "pycocotools", "scipy"), "--engine onnxruntime")
    else:
        require_detectron2()
    return _pictures(args) if args.input else _video(args)


def _pictures(args: argparse.Namespace) -> int:
    save = args.save or ("map", "overlay")
    if args.smoothing is not None:
        raise ValueError("--smoothing is of a video; leave it out, or give --video")
    if args.threshold is not None and "mask" not in save:
        raise ValueError("--threshold is the level of the mask; add mask to --save")
    # What takes long to import comes after what may be wrong.
    from cosal_d2.inference.sources import find_pictures

    found = find_pictures(args.input, args.output, recursive=args.recursive)

    from cosal_d2.inference.saving import ResultWriter
    from cosal_d2.utils.files import check_output

    check_output(args.output)
    predictor = _predictor(args)

    from cosal_d2.inference.pipeline import predict_pictures

    if not predictor.finds_objects:
        _refuse_objects(args, save)
    total = len(found.pictures)
    with ResultWriter(
        args.output, save, threshold=args.threshold, keep=args.skip_existing
    ) as writer:
        todo = found.pictures
        if args.skip_existing:
            todo = [source for source in todo if not writer.done(source)]
        failed = predict_pictures(
            predictor, todo, writer, batch=args.batch or 1, like=args.like, tiles=args.tiles
        )
        failed = [*found.unfound, *failed]
        if found.passed_over:
            print(f"passed over: {found.passed_over_text()}", file=sys.stderr)
        if failed:
            print(f"{len(failed)} failed:", *failed, sep="\n  ", file=sys.stderr)
    done = total - len(failed) + len(found.unfound)
    before = f" ({total - len(todo)} by an earlier run)" if args.skip_existing else ""
    print(f"{done} of {total} pictures done{before}, results in {args.output}")
    return 1 if failed else 0


def _refuse_objects(args: argparse.Namespace, save: Sequence[str]) -> None:
    """Options that a network without the grouping has no answer to."""
    asked = [f"--save {name}" for name in save if name in ("objects", "json", "csv")]
    asked += ["--like"] if args.like else []
    asked += ["--tiles"] if args.tiles > 1 else []
    if asked:
        raise ValueError(
            f"{', '.join(asked)}: this network finds no objects; use a config with "
            "MODEL.GROUPING.ENABLED, such as the default"
        )


def _video(args: argparse.Namespace) -> int:
    for option in OF_PICTURES:
        if getattr(args, option) not in (None, False):
            raise ValueError(f"--{option.replace('_', '-')} is of pictures; leave it out")
    if args.webcam is not None and args.output is not None:
        raise ValueError("--output is of files: a camera's frames are only shown; leave it out")
    from functools import cache, partial

    from cosal_d2.inference.video import predict_video
    from cosal_d2.utils.files import check_output

    if args.output is not None:
        check_output(args.output)
    source = args.video if args.webcam is None else args.webcam
    predictor = cache(partial(_predictor, args))  # made once the video is open

    def predict(frame, tiles):
        return predictor()(frame, tiles=tiles)

    frames = partial(predict, tiles=args.tiles)
    count = predict_video(frames, source, args.output, smoothing=args.smoothing or 0.0)
    print(f"{count} frames done")
    return 0


def _predictor(args: argparse.Namespace):
    """The predictor; its own line, and nothing else below a warning, goes to stderr."""
    import logging

    logging.basicConfig(format="%(message)s")
    logging.getLogger("cosal_d2.inference").setLevel(logging.INFO)
    if args.engine == "onnxruntime":
        from cosal_d2.inference.export.onnx_predictor import OnnxPredictor

        return OnnxPredictor(args.weights, size=args.size)

    from cosal_d2.config import check_device, get_cosal_config

    config_file = args.config_file or DEFAULT_CONFIG
    opts = [*(["MODEL.WEIGHTS", args.weights] if args.weights else []), *args.opts]
    check_weights(opts)
    cfg = get_cosal_config(config_file, opts)
    check_device(args.device or cfg.MODEL.DEVICE)
    # Only now, as it takes seconds.
    from cosal_d2.inference import CoSaliencyPredictor

    return CoSaliencyPredictor(cfg, device=args.device, dtype=args.dtype, size=args.size)


def _check_onnx(args: argparse.Namespace) -> None:
    """Refuse what an exported network has no answer to."""
    if not args.weights:
        raise ValueError("--engine onnxruntime: give --weights, a file that cosal export wrote")
    for option in ("config_file", "dtype", "opts", "like"):
        if getattr(args, option):
            raise ValueError(
                f"--engine onnxruntime takes no --{option.replace('_', '-')}: what was exported "
                "is computed; leave it out, or use torch's engine"
            )
    if args.tiles > 1 or args.device == "cuda":
        what = "--tiles" if args.tiles > 1 else "--device cuda"
        raise ValueError(f"--engine onnxruntime has no {what}; leave it out, or use torch's engine")
