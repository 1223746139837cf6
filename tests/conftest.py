import logging

import pytest
from detectron2.utils.events import EventStorage
from network_data import registered, write_dataset


@pytest.fixture
def storage():
    """Detectron2's event storage, which its RPN and ours log into."""
    with EventStorage() as events:
        yield events


@pytest.fixture
def dataset(tmp_path):
    """Name of a registered dataset of three pictures."""
    with registered(write_dataset(tmp_path / "data")) as name:
        yield name


@pytest.fixture
def untouched_loggers():
    """Put the loggers back that a command line tool sets up."""
    names = ("detectron2", "fvcore", "cosal_d2")
    loggers = [logging.getLogger(n) for n in names]
    before = [(x.handlers[:], x.level, x.propagate) for x in loggers]
    yield
    for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
        logger.handlers[:] = handlers
        logger.setLevel(level)
        logger.propagate = propagate
