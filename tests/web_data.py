"""A served predictor, for tests of the page and of the routes for programs."""

import socket
import threading
import time

import uvicorn

from cosal_d2.inference.web.app import build_app
from cosal_d2.inference.web.limits import Limits

EXAMPLE = "docs/example.jpg"
LIMITS = Limits(megabytes=2, seconds=20, queue=8)


class Served:
    """A server in a thread of its own, and where its files are."""

    def __init__(self, predictor, folder, limits):
        self.folder, self.limits = folder, limits
        self.app = build_app(predictor, folder, limits)
        config = uvicorn.Config(self.app, port=0, log_level="critical", ws="none", lifespan="on")
        config.limit_concurrency = limits.connections
        config.timeout_graceful_shutdown = 1
        self.server = uvicorn.Server(config)
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        self.thread = threading.Thread(target=self.server.run, args=([self.listening],))

    def __enter__(self):
        self.thread.start()
        while not self.server.started:
            time.sleep(0.05)
        return self

    def __exit__(self, *_):
        self.server.should_exit = True
        self.thread.join()
