"""`cosal train`."""

from __future__ import annotations

import argparse

from cosal_d2.cli.verbs import add_verb
from cosal_d2.utils.given_files import check_weights


def add_verbs(verbs: argparse._SubParsersAction) -> None:
    """Add `train` to the verbs of `cosal`; its options are those of Detectron2's trainings."""
    parser = add_verb(
        verbs,
        "train",
        run,
        help="train a network, or score a trained one on its config's test datasets",
        example="cosal train --config-file cosal_vgg16.yaml OUTPUT_DIR output/mine\n"
        "cosal train --config-file cosal_vgg16.yaml --resume OUTPUT_DIR output/mine\n"
        "cosal train --config-file cosal_vgg16.yaml --eval-only "
        "MODEL.WEIGHTS output/mine/model_final.pth",
    )
    parser.add_argument(
        "--config-file",
        required=True,
        metavar="FILE",
        help="a path, or the name of a shipped config",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on from the newest intact checkpoint in OUTPUT_DIR, or start where there is none; "
        "with --eval-only score it",
    )
    parser.add_argument(
        "--eval-only",
        action="store_true",
        help="train nothing; score MODEL.WEIGHTS, or the config's released weights",
    )
    parser.add_argument(
        "--num-gpus",
        type=int,
        default=1,
        metavar="N",
        help="processes on each machine, a GPU each, on CPUs where there is none "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--num-machines", type=int, default=1, metavar="N", help="machines (default: %(default)s)"
    )
    parser.add_argument(
        "--machine-rank",
        type=int,
        default=0,
        metavar="I",
        help="number of this machine among them, from 0 (default: %(default)s)",
    )
    parser.add_argument(
        "--dist-url",
        default="auto",
        metavar="URL",
        help="where the processes meet, such as tcp://192.168.0.1:29500; auto serves one machine "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "opts",
        nargs=argparse.REMAINDER,
        metavar="KEY VALUE",
        help="config changes at the end, such as SOLVER.BASE_LR 0.001",
    )


def run(args: argparse.Namespace) -> None:
    """Train or score; a resumed training needs no first weights."""
    if not args.resume:
        check_weights(args.opts)
    from cosal_d2.engine.launch import launch

    launch(args)
