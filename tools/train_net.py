"""Train or evaluate a co-saliency network: ``train_net.py --config-file FILE [KEY VALUE ...]``."""

from __future__ import annotations

import argparse

from cosal_d2.utils.requirements import require_detectron2

require_detectron2()

from detectron2.engine import default_argument_parser, default_setup, launch  # noqa: E402
from detectron2.modeling import build_model  # noqa: E402
from detectron2.utils import comm  # noqa: E402
from detectron2.utils.logger import setup_logger  # noqa: E402

from cosal_d2.config import find_config, get_cosal_config  # noqa: E402
from cosal_d2.engine import CoSaliencyCheckpointer, Trainer, released_weights  # noqa: E402


def setup(args: argparse.Namespace):
    """Config, output folder, seed and logs."""
    if args.config_file:
        args.config_file = find_config(args.config_file)
    cfg = get_cosal_config(args.config_file, args.opts)
    cfg.freeze()
    default_setup(cfg, args)
    setup_logger(cfg.OUTPUT_DIR, distributed_rank=comm.get_rank(), name="cosal_d2")
    return cfg


def main(args: argparse.Namespace) -> dict | None:
    """Train; with ``--eval-only`` evaluate ``MODEL.WEIGHTS``, or the config's released file."""
    cfg = setup(args)
    if args.eval_only:
        model = build_model(cfg)
        checkpointer = CoSaliencyCheckpointer(model, save_dir=cfg.OUTPUT_DIR)
        if args.resume and checkpointer.has_checkpoint():
            checkpointer.resume_or_load("", resume=True)
        else:
            checkpointer.load(released_weights(cfg))
        return Trainer.test(cfg, model)
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=args.resume)
    return trainer.train()


if __name__ == "__main__":
    parser = default_argument_parser()
    arguments = parser.parse_args()
    if not arguments.config_file:
        parser.error("--config-file is missing, such as configs/cosal_vgg16_cpu.yaml")
    launch(
        main,
        arguments.num_gpus,
        num_machines=arguments.num_machines,
        machine_rank=arguments.machine_rank,
        dist_url=arguments.dist_url,
        args=(arguments,),
    )
