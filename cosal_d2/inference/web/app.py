"""The server: the page, the routes for programs, and what stands before them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

# Before Gradio is imported: nothing of it may call out.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = os.environ["HF_HUB_OFFLINE"] = "1"
# Nor sum up the times of its last ten thousand calls at every call.
os.environ["GRADIO_ANALYTICS_MAX_EVENTS"] = "100"

import gradio as gr
import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp

from cosal_d2 import __version__
from cosal_d2.inference.predictor import CoSaliencyPredictor
from cosal_d2.inference.web.examples import draw_examples
from cosal_d2.inference.web.guard import Guard
from cosal_d2.inference.web.kept_pictures import KeptPictures
from cosal_d2.inference.web.limits import Limits, Refused
from cosal_d2.inference.web.page import CSS, build_page
from cosal_d2.inference.web.routes import build_routes
from cosal_d2.inference.web.worker import Worker

SWEEP_SECONDS = 20.0
# Visitors of whom Gradio remembers what it showed them; each takes some 20 kB.
SESSIONS = 500
SYSTEM_FONTS = ("system-ui", "sans-serif")


def build_app(predictor: CoSaliencyPredictor, folder: Path, limits: Limits) -> ASGIApp:
    """The whole server as an ASGI application.

    Args:
        predictor: its network must have the grouping.
        folder: an empty one, which takes uploads and shown pictures; nothing else is served.
        limits: of everything.

    Raises:
        ValueError: the network finds no objects.
    """
    if predictor.model.grouping is None:
        raise ValueError(
            "this network finds no objects: serve a config with MODEL.GROUPING.ENABLED, such as "
            "the default"
        )
    folder = folder.resolve()
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    os.environ["GRADIO_EXAMPLES_CACHE"] = str(folder / "examples")
    kept, worker = KeptPictures(limits), Worker(limits)
    page = build_page(predictor, kept, worker, limits, draw_examples())
    page.state_session_capacity = SESSIONS
    lasting = set(folder.rglob("*"))

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        sweeping = asyncio.create_task(_sweep(kept, page, folder, lasting))
        yield
        sweeping.cancel()
        worker.close()

    app = FastAPI(
        title="cosal_d2",
        version=__version__,
        description="What repeats in a picture: objects, groups, counts and the map.",
        docs_url=None,  # these pages load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.kept = kept
    app.include_router(build_routes(predictor, kept, worker, limits))
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app = gr.mount_gradio_app(
        app,
        page,
        path="/",
        show_error=False,
        max_file_size=limits.bytes,
        allowed_paths=[],
        ssr_mode=False,
        run_history=False,
        footer_links=[],
        mcp_server=False,
        css=CSS,
        theme=gr.themes.Default(font=SYSTEM_FONTS, font_mono=("monospace",)),
    )
    return Guard(app, limits, folder, len(page.fns))


async def _refused(_: Request, error: Refused) -> JSONResponse:
    headers = {"retry-after": "5"} if error.status == 503 else None
    return JSONResponse({"detail": str(error)}, error.status, headers)


async def _invalid(_: Request, error: RequestValidationError) -> JSONResponse:
    """The fields that do not fit, in a sentence; what was sent is not repeated."""
    fields = {".".join(map(str, e["loc"][1:])) or "the body": e["msg"] for e in error.errors()}
    return JSONResponse({"detail": "; ".join(f"{k}: {v}" for k, v in fields.items())}, 422)


async def _sweep(kept: KeptPictures, page: gr.Blocks, folder: Path, lasting: set[Path]) -> None:
    """From time to time forget pictures, and delete files, that were not used for long."""
    seconds, queue = kept.limits.kept_seconds, page._queue
    while True:
        await asyncio.sleep(min(SWEEP_SECONDS, seconds))
        kept.forget_old()
        await asyncio.to_thread(delete_old_files, folder, lasting, seconds)
        # Gradio forgets the messages of all but its last visitors, but not what they called.
        for visitor in set(queue.pending_event_ids_session) - set(
            queue.pending_messages_per_session
        ):
            queue.pending_event_ids_session.pop(visitor, None)


def delete_old_files(folder: Path, lasting: set[Path], seconds: float) -> None:
    """Delete what is in a folder and older, but for the lasting paths; empty folders too."""
    oldest = time.time() - seconds
    for path in sorted(set(folder.rglob("*")) - lasting, reverse=True):
        with contextlib.suppress(OSError):  # a folder that is not empty, or gone meanwhile
            if path.stat().st_ctime < oldest:
                path.rmdir() if path.is_dir() else path.unlink()


def serve(predictor: CoSaliencyPredictor, host: str, port: int, limits: Limits) -> None:
    """Serve until SIGINT or SIGTERM; the temporary folder is gone afterwards.

    Args:
        predictor: its network must have the grouping.
        host, port: to listen on; port 0 takes any free one.
        limits: of everything.

    Raises:
        ValueError: the network finds no objects.
        OSError: the address is taken, or not one of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        raise OSError(f"--host {host} --port {port}: {error}; give others") from error
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with listening, tempfile.TemporaryDirectory(prefix="cosal_serve_") as folder:
        config = uvicorn.Config(
            build_app(predictor, Path(folder), limits),
            log_level="warning",
            ws="none",
            server_header=False,
            limit_concurrency=limits.connections,
            timeout_graceful_shutdown=3,
        )
        shown = f"[{host}]" if family == socket.AF_INET6 else host
        print(f"serving on http://{shown}:{listening.getsockname()[1]}", flush=True)
        uvicorn.Server(config).run(sockets=[listening])
