"""Training and evaluation of a config from the command line, in one process or several."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os

import detectron2.engine
import torch
import torch.distributed as dist
from detectron2.config import CfgNode
from detectron2.engine import DefaultTrainer
from detectron2.engine.launch import DEFAULT_TIMEOUT
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger
from torch.multiprocessing import ProcessExitedException, ProcessRaisedException

from cosal_d2.config import find_config, get_cosal_config
from cosal_d2.engine.checkpoint import load_network, released_weights
from cosal_d2.engine.resume import find_start, newest_checkpoint
from cosal_d2.engine.run_record import record_run
from cosal_d2.engine.signals import SIGNALS, ForwardedSignals, TrainingStopped
from cosal_d2.engine.trainer import Trainer

logger = logging.getLogger(__name__)

# What a process raises for the user to read.
USER_ERRORS = (
    *("ValueError", "EncoderWeightsError", "FloatingPointError"),
    *("OSError", "FileNotFoundError", "PermissionError"),
)


def launch(args: argparse.Namespace) -> None:
    """Run :func:`main` in ``num_gpus`` processes on each of ``num_machines`` machines, on CPUs
    where there is no GPU; or, where `torchrun` has started this process, as one of its processes.

    Args:
        args: the options of `cosal train`, which are those of Detectron2's
            ``default_argument_parser``.

    Raises:
        ValueError: numbers of processes or machines that do not fit; several machines without an
            address where they meet; a loss that is not finite; or one of several processes ended
            with an error for the user, in its words.
        TrainingStopped: by SIGTERM or SIGINT.
    """
    several = args.num_gpus * args.num_machines > 1
    check_processes(args)
    try:
        if dist.is_torchelastic_launched():
            torchrun_process(args)
            return
        if several and torch.cuda.is_available() and not uses_gpus(args):
            # Detectron2 takes NCCL, which sends from GPUs alone, wherever a process sees one.
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        with ForwardedSignals() if several else contextlib.nullcontext():
            detectron2.engine.launch(
                main,
                args.num_gpus,
                num_machines=args.num_machines,
                machine_rank=args.machine_rank,
                dist_url=args.dist_url,
                args=(args,),
            )
    except FloatingPointError as error:
        raise ValueError(error) from error
    except ProcessExitedException as error:
        for number in SIGNALS:
            if error.exit_code in (128 + number, -number):
                raise TrainingStopped(number) from error
        if error.signal_name:
            raise ChildProcessError(
                f"process {error.error_index} of the training was killed by {error.signal_name}, "
                "such as where memory is short, and the others were ended: go on with --resume"
            ) from error
        raise
    except ProcessRaisedException as error:  # its text is the process's traceback
        kind, _, words = str(error).strip().splitlines()[-1].partition(": ")
        if kind.rpartition(".")[2] in USER_ERRORS:
            raise ValueError(words) from error
        raise


def check_processes(args: argparse.Namespace) -> None:
    """Refuse numbers of processes and machines with which they would never meet.

    Raises:
        ValueError: naming the option.
    """
    if dist.is_torchelastic_launched() and args.num_gpus * args.num_machines != 1:
        raise ValueError(
            "torchrun starts the processes: leave out --num-gpus, --num-machines and their like "
            "here, and give it --nproc-per-node and --nnodes"
        )
    if args.num_gpus < 1 or args.num_machines < 1:
        raise ValueError("--num-gpus and --num-machines are numbers from 1 on")
    if not 0 <= args.machine_rank < args.num_machines:
        raise ValueError(
            f"--machine-rank is {args.machine_rank}: number the {args.num_machines} machines from "
            f"0 to {args.num_machines - 1}"
        )
    if args.num_machines > 1 and args.dist_url == "auto":
        raise ValueError(
            "--dist-url is auto, which serves one machine: give the first machine's address, such "
            "as tcp://192.168.0.1:29500, on all of them"
        )
    if args.num_gpus > 1 and uses_gpus(args) and args.num_gpus > torch.cuda.device_count():
        raise ValueError(
            f"--num-gpus is {args.num_gpus}, and this machine has {torch.cuda.device_count()}: "
            "give fewer, or MODEL.DEVICE cpu"
        )


def uses_gpus(args: argparse.Namespace) -> bool:
    """Whether the config's network runs on a GPU of this machine."""
    return get_cosal_config(args.config_file, args.opts).MODEL.DEVICE.startswith("cuda")


def torchrun_process(args: argparse.Namespace) -> None:
    """Join the processes that `torchrun` has started, over NCCL on GPUs and gloo on CPUs, and run
    :func:`main`."""
    gpus = uses_gpus(args)
    if gpus:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if gpus else "gloo", timeout=DEFAULT_TIMEOUT)
    try:
        comm.create_local_process_group(int(os.environ["LOCAL_WORLD_SIZE"]))
        main(args)
    finally:
        dist.destroy_process_group()


def main(args: argparse.Namespace) -> dict | None:
    """Train, or with ``eval_only`` score the weights of :func:`weights_to_score`.

    Returns:
        the scores of the test datasets, if there are any.
    """
    args.config_file = find_config(args.config_file)
    cfg = get_cosal_config(args.config_file, args.opts)
    scored = cfg.clone()
    if args.eval_only:
        scored.MODEL.WEIGHTS = weights_to_score(cfg, args.resume)
    else:
        find_start(DefaultTrainer.auto_scale_workers(cfg, comm.get_world_size()), args.resume)
    cfg.freeze()
    detectron2.engine.default_setup(cfg, args)
    setup_logger(cfg.OUTPUT_DIR, distributed_rank=comm.get_rank(), name="cosal_d2")
    if args.eval_only:
        logger.info("the scores are those of the weights %s", scored.MODEL.WEIGHTS)
        return Trainer.test(cfg, load_network(scored))
    check_encoder(cfg)
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=args.resume)
    record_run(trainer.cfg, trainer.resumed_from, trainer.picture_sizes)
    return trainer.train()


def check_encoder(cfg: CfgNode) -> None:
    """Refuse to train on an encoder that is frozen as it was initialised.

    Raises:
        ValueError: neither key names weights for it.
    """
    keys = cfg.MODEL.BACKBONE
    if keys.FREEZE_AT > 0 and not (keys.WEIGHTS or cfg.MODEL.WEIGHTS):
        raise ValueError(
            f"MODEL.BACKBONE.FREEZE_AT is {keys.FREEZE_AT} and MODEL.BACKBONE.WEIGHTS is empty: a "
            "frozen encoder with random weights teaches nothing; name its weights, such as "
            "vgg16://imagenet, or set FREEZE_AT 0"
        )


def weights_to_score(cfg: CfgNode, resume: bool) -> str:
    """The newest checkpoint in ``OUTPUT_DIR`` to resume, else ``MODEL.WEIGHTS``, else the config's
    released file.

    Raises:
        ValueError: there are none, or nothing chooses between checkpoint and released file.
    """
    if cfg.MODEL.WEIGHTS and not resume:
        return cfg.MODEL.WEIGHTS
    trained = newest_checkpoint(cfg.OUTPUT_DIR)
    if resume and trained:
        return trained
    if trained and not cfg.MODEL.RELEASED:
        raise ValueError(
            f"MODEL.WEIGHTS is empty; {trained} was trained here: give --resume to score it"
        )
    weights = released_weights(cfg)
    if trained:
        raise ValueError(
            f"{trained} was trained here, and {weights} is released for this config: give --resume "
            f"to score the first, or MODEL.WEIGHTS {weights} to score the second"
        )
    return weights
