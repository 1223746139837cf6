"""Two hundred requests that nobody means well with, for the tests; run as a script it starts
`cosal serve`, makes them all and prints what came of them."""

import collections
import concurrent.futures
import contextlib
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import time

from hostile_files import bad_files, heavy_files, picture

BOUNDARY = "----hostile"
MULTIPART = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
JOIN, UPLOAD = "/gradio_api/queue/join", "/gradio_api/upload"


def form(content=None, name="a.png", field="picture", kind="image/png", **fields):
    """A multipart body."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n'.encode()
        for k, v in fields.items()
    ]
    if content is not None:
        head = f'Content-Disposition: form-data; name="{field}"; filename="{name}"'
        head = f"--{BOUNDARY}\r\n{head}\r\nContent-Type: {kind}\r\n\r\n"
        parts.append(head.encode("utf-8", "surrogateescape") + content + b"\r\n")
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


NAMES = (
    *("../../etc/passwd", "..\\..\\boot.ini", "/etc/passwd", "a/../../b.png", "", ".", "..", "~"),
    *("x" * 5000, "a\0b.png", "a;b|c`d`.png", "<script>.png", "\u202egnp.exe", "con", "%2e%2e%2f"),
    "a.png\r\nX-Evil: 1",
)
THRESHOLDS = ("nan", "inf", "-inf", "-1", "2", "abc", "1e999", "[]", "0x1", "0.5;1", " " * 999)
BOXES = (
    *(
        "nan,nan,nan,nan",
        "0,0,inf,inf",
        "1,2,3",
        "1,2,3,4,5",
        "a,b,c,d",
        "5,5,1,1",
        "9e99,0,9e99,1",
    ),
    *("-9,-9,-1,-1", "1000,1000,2000,2000", "," * 150, "," * 9999, "1e308,1e308,1.7e308,1.7e308"),
    *("[0,0,9,9]", "0,0,0.1,0.1", "{}", "\u0661,\u0662,\u0663"),
)
PATHS = (
    *(
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file=../../../../etc/passwd",
        "/file=/etc/passwd",
    ),
    *("/gradio_api/file=%2e%2e/%2e%2e/etc/passwd", "/gradio_api/file=..%2f..%2fetc%2fpasswd"),
    *("/gradio_api/file=%2fproc%2fself%2fenviron", "/gradio_api/file=/proc/self/maps"),
    *("/gradio_api/file=file:///etc/passwd", "/gradio_api/file=http://127.0.0.1:1/"),
    *(
        "/gradio_api/file=//127.0.0.1/x",
        "/gradio_api/file=%00",
        "/gradio_api/file=/etc/passwd%00.png",
    ),
    *("/gradio_api/file=" + "a" * 3000, "/gradio_api/file/etc/passwd", "/gradio_api/file="),
    *("/gradio_api/proxy=http://127.0.0.1:1/", "/gradio_api/proxy=http://169.254.169.254/latest"),
    *("/static/../../../etc/passwd", "/static/%2e%2e/%2e%2e/%2e%2e/etc/passwd", "/static/nothing"),
    *("/assets/..%2f..%2f..%2fetc%2fpasswd", "/assets/%00", "/svelte/../../../../etc/passwd"),
    *("/results/../../etc/passwd", "/results/abcdefgh/mask.png", "/results/abcdefgh/..%2fx"),
    *(
        "/results/abcdefgh/mask.png?threshold=nan",
        "/results/abcdefgh/x?like=-1",
        "/results/a/b/c/d",
    ),
    *(
        "/results/abcdefgh/mask.png?like=99999999999999999999",
        "/results/%00%00%00%00%00%00/mask.png",
    ),
    *(
        "/gradio_api/call/predict/1",
        "/gradio_api/vibe-code",
        "/gradio_api/deep_link",
        "/monitoring",
    ),
    *("/monitoring/summary", "/gradio_api/runs", "/docs", "/redoc", "/login", "/gradio_api/token"),
    *(
        "/gradio_api/custom_component/1/client/component/x",
        "/gradio_api/stream/1/2/3/playlist.m3u8",
    ),
    *(
        "/gradio_api/queue/data",
        "/gradio_api/upload_progress",
        "/gradio_api/upload_progress?upload_id=x",
    ),
    *(
        "//etc/passwd",
        "/%2e%2e/etc/passwd",
        "/.git/config",
        "/.env",
        "/wp-login.php",
        "/" + "a" * 9000,
    ),
)
WRITTEN = (
    *("/gradio_api/run/predict", "/gradio_api/api/predict", "/gradio_api/call/predict", "/login"),
    *(
        "/gradio_api/process_recording",
        "/gradio_api/vibe-edit",
        "/gradio_api/reset",
        "/gradio_api/cancel",
    ),
    *(
        "/gradio_api/component_server",
        "/gradio_api/stream/1",
        "/",
        "/health",
        "/results/abcdefgh/x",
    ),
)


def file_data(path, **more):
    return {"path": path, "meta": {"_type": "gradio.FileData"}, **more}


def calls():
    """Bodies of calls to the page's functions."""
    yield from (b"", b"[]", b"null", b"1", b'"x"', b"{", b"\xff\xfe", b"[" * 50000, b"{}")
    right = {"fn_index": 0, "session_hash": "hostile0", "data": [None, 0.3], "event_data": None}
    wrong = [
        *({"fn_index": value} for value in (-1, 99, "0", 1.5, True, None, [0], 10**30)),
        *({"session_hash": value} for value in (None, 1, "", "../../x", "x" * 9999, ["a"], {})),
        *({"data": value} for value in (None, 1, "x", {}, "x" * 70000)),
    ]
    yield from (json.dumps(right | change).encode() for change in wrong)
    yield json.dumps(right | {"data": [None, float("nan")]}).encode()
    paths = ("/etc/passwd", "../../etc/passwd", "http://127.0.0.1:1/a.png", "", "\0", "a" * 9999)
    for data in (
        *([file_data(path), 0.3] for path in paths),
        *([value, 0.3] for value in (1, "x", [], {}, [file_data("/etc/passwd")], {"path": None})),
        *([file_data("x", url="http://127.0.0.1:1/"), 0.3], [], [None], [None] * 50, [None, "x"]),
    ):
        yield json.dumps(right | {"data": data}).encode()
    for index in (1, 3):  # an example, a click
        for event in (None, 1, {}, {"index": None}, {"index": [1]}, {"index": ["a", {}]}):
            changed = {"fn_index": index, "data": [0.3], "event_data": event}
            yield json.dumps(right | changed).encode()
    for value in (-1, 2, "x", None, [], {}, 10**400):
        yield json.dumps(right | {"fn_index": 2, "data": [value]}).encode()


def requests(most_bytes):
    """All of them: (method, path, headers, body)."""
    good = picture()
    for content in (*bad_files(), *heavy_files()):
        yield "POST", "/predict", MULTIPART, form(content, "photo.jpg", kind="image/jpeg")
    for name in NAMES:
        yield "POST", "/predict", MULTIPART, form(good[:50], name)
        yield "POST", UPLOAD, MULTIPART, form(b"x", name, "files")
    for value in THRESHOLDS:
        yield "POST", "/predict", MULTIPART, form(good, threshold=value)
    for value in BOXES:
        yield "POST", "/predict", MULTIPART, form(good, like=value)
    yield "POST", "/predict", MULTIPART, form(good, map="maybe")
    yield "POST", "/predict", MULTIPART, form(picture=good[:9])
    yield "POST", "/predict", MULTIPART, form(**{f"f{i}": i for i in range(1100)})
    yield "POST", "/predict", MULTIPART, form(None)
    yield "POST", "/predict", MULTIPART, b"\r\n" * 999
    yield "POST", "/predict", MULTIPART, form(bytes(most_bytes + 1))
    yield "POST", UPLOAD, MULTIPART, form(bytes(most_bytes + 1), field="files")
    for kind in ("application/json", "text/plain", "image/png", "multipart/form-data", "x", ""):
        yield "POST", "/predict", {"Content-Type": kind}, good
        yield "POST", UPLOAD, {"Content-Type": kind}, good
    yield "POST", "/predict", {"Content-Type": "application/x-www-form-urlencoded"}, b"picture=1"
    for path in PATHS:
        yield "GET", path, {}, None
    for path in WRITTEN:
        yield "POST", path, {"Content-Type": "application/json"}, b'{"data": []}'
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "NONSENSE"):
        yield method, "/predict", {}, None
        yield method, "/", {}, None
    for body in calls():
        yield "POST", JOIN, {"Content-Type": "application/json"}, body


def raw_requests():
    """Bytes that are hardly HTTP."""
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\n"
    yield os.urandom(500)
    yield b"GET /\r\n\r\n"
    yield b"GET / HTTP/9.9\r\n\r\n"
    yield b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n"
    yield head + b"Content-Length: -5\r\n\r\n"
    yield head + b"Content-Length: 1e9\r\n\r\n"
    yield head + b"Content-Length: 99999999999\r\n\r\n"
    yield head + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"
    yield head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"
    yield (
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: eA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )


def ask(port, method, path, headers=None, body=None, timeout=60):
    """Status and text of an answer; status 0 where the connection was closed without one."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.putrequest(method, path, skip_accept_encoding=True)
        for key, value in (headers or {}).items():
            connection.putheader(key, value)
        connection.putheader("Content-Length", str(len(body or b"")))
        connection.endheaders()
        with contextlib.suppress(OSError):  # refused before all was sent
            connection.send(body or b"")
        response = connection.getresponse()
        if response.getheader("content-type", "").startswith("text/event-stream"):
            return response.status, _events(response)
        return response.status, response.read().decode("latin-1")
    except (OSError, http.client.HTTPException):
        return 0, ""
    finally:
        connection.close()


def _events(response, longest=20):
    """Server-sent events until the end of the stream, as long as they come."""
    text, end = "", time.monotonic() + longest
    while (line := response.readline()) and time.monotonic() < end:
        text += line.decode("latin-1")
        if "close_stream" in text:
            break
    return text


def say(port, content):
    """Answer to raw bytes."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        try:
            connection.sendall(content)
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(65536).decode("latin-1")
        except OSError:
            return 0, ""
    status = re.match(r"HTTP/1.1 (\d+)", answer)
    return int(status[1]) if status else 0, answer


def attack(port, most_bytes, flood=40):
    """Make all requests, one after the other, then a flood; (what, status, text) of each."""
    answers = []
    for method, path, headers, body in requests(most_bytes):
        answers.append((f"{method} {path[:60]}", *ask(port, method, path, headers, body)))
    answers.append(("events", *ask(port, "GET", "/gradio_api/queue/data?session_hash=hostile0")))
    answers += [(repr(content[:40]), *say(port, content)) for content in raw_requests()]
    body = form(picture())
    with concurrent.futures.ThreadPoolExecutor(flood) as pool:
        many = [pool.submit(ask, port, "POST", "/predict", MULTIPART, body) for _ in range(flood)]
        answers += [("flood", *answer.result()) for answer in many]
    return answers


def faults(answers):
    """Answers that no request should get: errors of the server, tracebacks, others' files."""
    return [
        (what, status, text[:200])
        for what, status, text in answers
        if status >= 500 and status != 503 or re.search("Traceback|root:|PATH=", text)
    ]


def main():
    """Start a server, attack it three times, and print figures."""
    from cosal_d2.inference.web.limits import Limits

    program = "import sys; from cosal_d2.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "serve", "--port", "0", "--size", "128"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        try:
            port = int(server.stdout.readline().rsplit(":", 1)[1])
            good = "POST", "/predict", MULTIPART, form(picture())
            ask(port, *good)
            print(f"at first: {memory(server.pid):.0f} MB")
            for turn in range(1, 4):
                start = time.monotonic()
                answers = attack(port, Limits().bytes)
                seconds = time.monotonic() - start
                counts = collections.Counter(status for _, status, _ in answers)
                told = ", ".join(f"{n} x {k or 'closed'}" for k, n in sorted(counts.items()))
                print(f"turn {turn}: {len(answers)} requests in {seconds:.0f} s: {told}")
                print(f"  faults: {faults(answers)}; {memory(server.pid):.0f} MB")
            print(f"a good request afterwards: {ask(port, *good)[0]}")
        finally:
            server.terminate()


def memory(process):
    """Resident memory of a process in MB."""
    with open(f"/proc/{process}/status") as file:
        return int(re.search(r"VmRSS:\s+(\d+)", file.read())[1]) / 1024


if __name__ == "__main__":
    main()
