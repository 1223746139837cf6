"""A training that takes a moment: an encoder of three convolutions, and moments to kill it at."""

import os
import signal
from pathlib import Path

import cv2
import pytest
import torch
from detectron2.modeling import BACKBONE_REGISTRY, Backbone
from network_data import tiny_config
from torch import nn

from cosal_d2.data import register_cosal_instances
from cosal_d2.engine import Trainer
from cosal_d2.engine.loop import TrainingLoop


@BACKBONE_REGISTRY.register()
class ThreeConvolutions(Backbone):
    """Features at strides 4, 8 and 16, of 8 channels."""

    def __init__(self, cfg, input_shape):
        super().__init__()
        self._out_features = ["s4", "s8", "s16"]
        self._out_feature_strides = {"s4": 4, "s8": 8, "s16": 16}
        self._out_feature_channels = dict.fromkeys(self._out_features, 8)
        self.first = nn.Conv2d(3, 8, 4, 4)
        self.second, self.third = (nn.Conv2d(8, 8, 2, 2) for _ in range(2))

    def forward(self, x):
        s4 = self.first(x / 100).relu()
        s8 = self.second(s4).relu()
        return {"s4": s4, "s8": s8, "s16": self.third(s8).relu()}


SMALL = [
    *("MODEL.BACKBONE.NAME", "ThreeConvolutions", "MODEL.BACKBONE.FREEZE_AT", "0"),
    *("MODEL.DECODER.CHANNELS", "(8, 8)", "MODEL.DECODER.NUM_CONVS", "(1, 1)"),
    *("MODEL.DECODER.SKIP_CHANNELS", "(0, 0)", "MODEL.RELEASED", ""),
]


def small_config(dataset, output, *opts):
    """A training of a small network on a dataset into a folder."""
    own = ["DATASETS.TRAIN", f"('{dataset}',)", "OUTPUT_DIR", str(output)]
    return tiny_config(*SMALL, *own, *opts)


def train(cfg, resume=True):
    """Run a training of its config, from the same weights each time."""
    torch.manual_seed(0)
    trainer = Trainer(cfg)
    trainer.resume_or_load(resume=resume)
    trainer.train()
    return trainer


def at_iteration(monkeypatch, number, act):
    """Have a function called within an iteration, before its forward pass."""
    step = TrainingLoop.run_step

    def run_step(loop):
        if loop.iter == number:
            act()
        step(loop)

    monkeypatch.setattr(TrainingLoop, "run_step", run_step)


def kill(*_):
    """End this process as ``kill -9`` does."""
    os.kill(os.getpid(), signal.SIGKILL)


def kill_at(monkeypatch, owner, name, wanted, after=False):
    """Kill the process at a call of a function whose last argument ends with a text."""
    function = getattr(owner, name)

    def killing(*args, **kwargs):
        hit = str(args[-1]).endswith(wanted)
        if hit and not after:
            kill()
        result = function(*args, **kwargs)
        if hit:
            kill()
        return result

    monkeypatch.setattr(owner, name, killing)


def kill_at_second_test(monkeypatch):
    """Kill the process when the test datasets are scored for the second time."""
    test = Trainer.test
    calls = []

    def killing(*args):
        calls.append(args)
        return test(*args) if len(calls) == 1 else kill()

    monkeypatch.setattr(Trainer, "test", staticmethod(killing))


MOMENTS = {
    "before the first checkpoint": lambda m: at_iteration(m, 1, kill),
    "between checkpoints": lambda m: at_iteration(m, 5, kill),
    "in a checkpoint": lambda m: kill_at(m, os, "replace", "model_0000003.pth"),
    "before it is tagged": lambda m: kill_at(m, os, "replace", "model_0000003.pth", True),
    "before an old one goes": lambda m: kill_at(m, Path, "unlink", "model_0000001.pth"),
    "in an evaluation": lambda m: m.setattr(Trainer, "test", kill),
    "in the final checkpoint": lambda m: kill_at(m, os, "replace", "model_final.pth"),
    "before that is tagged": lambda m: kill_at(m, os, "replace", "model_final.pth", True),
    "in the final evaluation": kill_at_second_test,
}


def killed_training(name, json_file, folder, opts, moment):
    """In a process of its own: a training on a dataset that is killed at one of ``MOMENTS``."""
    cv2.setNumThreads(1)
    register_cosal_instances(name, str(json_file), str(json_file.with_suffix("")))
    MOMENTS[moment](pytest.MonkeyPatch())
    train(small_config(name, folder, *opts))


def stopped_training(name, json_file, folder, opts):
    """In a process of its own: a training whose processes all get SIGTERM in iteration 2."""
    cv2.setNumThreads(1)
    os.setpgrp()
    register_cosal_instances(name, str(json_file), str(json_file.with_suffix("")))
    at_iteration(pytest.MonkeyPatch(), 2, lambda: os.killpg(0, signal.SIGTERM))
    train(small_config(name, folder, *opts))
