import logging
import shutil

import cv2
import pytest
from composites_data import write_source
from detectron2.utils.events import EventStorage
from network_data import registered, write_dataset
from playwright.sync_api import sync_playwright

from cosal_d2.prepare.composites.sources import read_pictures

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync")


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


@pytest.fixture
def one_thread():
    """OpenCV on one thread: several are slower on the small pictures of the tests."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    yield
    cv2.setNumThreads(threads)


@pytest.fixture(scope="session")
def source(tmp_path_factory):
    """Json file and image folder that composites are made from."""
    return write_source(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="session")
def pictures(source):
    """The pictures of ``source``, read."""
    return read_pictures(*source)[0]


@pytest.fixture(scope="module")
def chromium():
    """A browser without a window."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    assert path, "no Chromium found; `make browser` installs it"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=QUIET)
        yield browser
        browser.close()
