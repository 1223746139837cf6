"""What stands before every route: only what the page and programs need is let in, within limits."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
from pathlib import Path
from urllib.parse import unquote

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cosal_d2.inference.web.limits import Limits, Refused, busy, too_large

logger = logging.getLogger(__name__)

JOIN, UPLOAD, PREDICT = "/gradio_api/queue/join", "/gradio_api/upload", "/predict"
# Of Gradio's many routes, which run functions, fetch addresses and record, the page uses these.
READ = re.compile(
    r"/|/(?:config|theme\.css|favicon\.ico|robots\.txt|manifest\.json|openapi\.json|health)"
    r"|/(?:assets|static|svelte|results)/[^\0]+"
    r"|/gradio_api/(?:file=[^\0]+|queue/data|heartbeat/\w+|startup-events|upload_progress"
    r"|theme\.css|info)"
)
WRITE = (JOIN, UPLOAD, PREDICT)
WORK = re.compile(r"/predict|/results/.*|/gradio_api/upload")
VISITOR = re.compile(r"\w{6,64}", re.ASCII)
# Bytes of a call of the page, and of a form around a file.
CALL_BYTES, FORM_BYTES = 2**16, 2**16
# The browser loads nothing from elsewhere, and the page is in no other page's frame.
HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'self'",
    ),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)


class Guard:
    """ASGI middleware: addresses, methods, sizes, times, shapes of calls, and errors."""

    def __init__(self, app: ASGIApp, limits: Limits, folder: Path, functions: int) -> None:
        """
        Args:
            app: behind it.
            limits: of bodies, times and requests at work.
            folder: the temporary one, which takes uploads.
            functions: how many functions the page may call.
        """
        self.app, self.limits, self.folder, self.functions = app, limits, folder, functions
        self.working = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # the page needs no web socket
            await send({"type": "websocket.close"})
            return
        answer = _Answer(send)
        try:
            await self._serve(scope, receive, answer)
        except Refused as error:
            await answer.refuse(scope, receive, error)
        except Exception as fault:
            logger.warning("%s: %s: %s", scope["path"], type(fault).__name__, fault)
        if not answer.started:
            await answer.refuse(scope, receive, answer.reason or _fault(scope["path"]))

    async def _serve(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        path, method = scope["path"], scope["method"]
        if method in ("GET", "HEAD"):
            if not READ.fullmatch(path) or ".." in re.split(r"[/\\=]", unquote(path)):
                raise Refused("there is nothing here; see /openapi.json", 404)
            _, is_file, name = path.partition("/gradio_api/file=")
            if is_file and not self._holds(name):
                raise Refused("this file is not served", 403)
        elif method != "POST" or path not in WRITE:
            raise Refused("there is nothing here to send to; see /openapi.json", 404)
        else:
            receive = self._limited(scope, receive, answer)
            if path == JOIN:
                receive = await self._checked_call(receive)
        if not WORK.fullmatch(path):
            await self.app(scope, receive, answer)
            return
        if self.working >= self.limits.queue:
            raise busy()
        if path == UPLOAD and _size(self.folder) > self.limits.kept_megabytes * 1e6:
            raise busy()
        self.working += 1
        try:
            await self.app(scope, receive, answer)
        finally:
            self.working -= 1

    def _limited(self, scope: Scope, receive: Receive, answer: _Answer) -> Receive:
        """A body that ends at its limit of bytes and of time."""
        most = CALL_BYTES if scope["path"] == JOIN else self.limits.bytes + FORM_BYTES
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if not length.isdigit() or int(length) > most:
            raise too_large(self.limits)
        loop = asyncio.get_running_loop()
        end, seen, whole = loop.time() + self.limits.seconds, 0, False

        async def limited() -> Message:
            nonlocal seen, whole
            if whole:  # only the end of the connection is to come
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), end - loop.time())
            except TimeoutError:
                text = "the request did not arrive in time; send it again"
                answer.reason = Refused(text, 408)
                raise answer.reason from None
            seen += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if seen > most:
                answer.reason = too_large(self.limits)
                raise answer.reason
            return message

        return limited

    async def _checked_call(self, receive: Receive) -> Receive:
        """The body of a call to one of the page's functions, as a whole, if it has its shape."""
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                raise Refused("the request is not whole", 400)
            body += message.get("body", b"")
            more = message.get("more_body", False)
        try:
            if not self._is_call(json.loads(body, parse_constant=_no_number)):
                raise ValueError
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise Refused("this is no call of the page; programs use POST /predict") from None
        waiting = [{"type": "http.request", "body": body, "more_body": False}]

        async def again() -> Message:
            return waiting.pop() if waiting else await receive()

        return again

    def _is_call(self, call: dict) -> bool:
        """Whether a call has the shape of the page's: perhaps an upload, then the threshold; and
        perhaps what was clicked."""
        index, (*files, threshold), event = call["fn_index"], call["data"], call.get("event_data")
        return (
            type(index) is int
            and 0 <= index < self.functions
            and bool(VISITOR.fullmatch(call["session_hash"]))
            and type(threshold) in (int, float)
            and 0 <= threshold <= 1
            and all(file is None or self._holds(file["path"]) for file in files)
            and (event is None or {"index", "value"} <= event.keys())
        )

    def _holds(self, path: str) -> bool:
        """Whether a path, which may be any text, is in the temporary folder."""
        return Path(os.path.normpath(path)).is_relative_to(self.folder)


class _Answer:
    """Sends an answer with the server's headers, but none of status 500, whose text may be any.

    Attributes:
        started: whether something was sent.
        reason: why the body was refused, which takes the place of the app's answer.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self.reason: Refused | None = None
        self.started = self._withheld = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._withheld = message["status"] == 500 or self.reason is not None
            self.started = not self._withheld
        if not self._withheld:
            await self._pass_on(message)

    async def _pass_on(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            message["headers"] = [*message.get("headers", ()), *HEADERS]
        await self._send(message)

    async def refuse(self, scope: Scope, receive: Receive, error: Refused) -> None:
        """Send what an error says, unless an answer has begun."""
        if self.started:
            return
        headers = {"retry-after": "5"} if error.status == 503 else None
        answer = JSONResponse({"detail": str(error)}, error.status, headers)
        await answer(scope, receive, self._pass_on)


def _fault(path: str) -> Refused:
    """The answer where the app has none: Gradio's routes fail at calls that make no sense."""
    if path.startswith("/gradio_api/"):
        return Refused("the request is not understood", 400)
    return Refused("the server failed; its log says why", 500)


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _size(folder: Path) -> int:
    """Bytes of a folder's files."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:  # deleted meanwhile
            continue
    return total
