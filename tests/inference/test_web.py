"""The server behind `cosal serve`: what it answers, to whom, and what it keeps."""

import base64
import json
import math
import os
import re
import signal
import socket
import sys
import tempfile
import threading
import time
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hostile_files import bad_files, picture
from hostile_requests import JOIN, MULTIPART, ask, attack, faults, form
from web_data import EXAMPLE, LIMITS, Served

from cosal_d2.cli import main
from cosal_d2.inference import CoSaliencyPredictor
from cosal_d2.inference.web.app import build_app, delete_old_files, serve
from cosal_d2.inference.web.kept_pictures import KeptPictures
from cosal_d2.inference.web.limits import Limits, Refused
from cosal_d2.inference.web.seen_picture import SeenPicture
from cosal_d2.inference.web.uploads import plain_name, read_upload
from cosal_d2.inference.web.views import draw_objects

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def predictor():
    return CoSaliencyPredictor(size=240)


@pytest.fixture(scope="module")
def image():
    return cv2.imread(EXAMPLE)


@pytest.fixture(scope="module")
def seen(predictor, image):
    return SeenPicture.look(predictor, image)


@pytest.fixture(scope="module")
def served(predictor, tmp_path_factory):
    with Served(predictor, tmp_path_factory.mktemp("served"), LIMITS) as server:
        yield server


@pytest.fixture
def no_encoder(predictor, monkeypatch):
    """From here on a forward pass of the encoder fails."""
    monkeypatch.setattr(predictor.model.backbone, "forward", None)


def same(one, other):
    assert np.array_equal(one.map, other.map)
    assert one.to_coco() == other.to_coco()


def holds(result, x, y):
    """Whether an object of a result is at a point."""
    return any(mask[y, x] for mask in result.found.pred_masks)


def test_what_was_seen_gives_what_the_predictor_gives(predictor, image, seen):
    same(seen.result(), predictor(image))
    box = (380, 27, 522, 167)
    alike = SeenPicture.look(predictor, image, box)
    same(alike.result(), predictor(image, like=box))
    same(alike.result(), predictor(image, like=box))  # judging changed nothing


def test_a_threshold_and_a_click_need_no_encoder(seen, no_encoder):
    before = seen.result()
    assert before.count == 6
    counts = [sum(seen.result(threshold).counts) for threshold in (0.05, 0.6, 0.999)]
    assert counts == sorted(counts, reverse=True) and counts[0] >= 6 and counts[2] < 6
    orange, carrot = seen.region_at(450, 95), seen.region_at(260, 190)
    assert orange is not None and carrot is not None
    oranges, carrots = seen.result(like=orange), seen.result(like=carrot)
    assert oranges.count >= 5 and holds(oranges, 450, 95)
    assert holds(carrots, 260, 190) and not holds(before, 260, 190)
    assert seen.region_at(5, 470) is None
    same(seen.result(), before)


def test_objects_are_filled_with_the_colour_of_their_group(seen):
    result = seen.result()
    drawn = draw_objects(result).astype(int)
    assert drawn.shape == result.image.shape
    assert drawn[95, 450, 1] > 150 > drawn[5, 5, 1]  # the largest group's colour is yellow


def test_one_picture_a_visitor_is_kept_for_a_while(seen):
    now = [0.0]
    room = 3.5 * seen.nbytes / 1e6
    kept = KeptPictures(Limits(kept_seconds=10, kept_megabytes=room), lambda: now[0])
    for visitor in "abc":
        kept.put(visitor, seen)
        kept.put(visitor, seen)
    assert len(kept) == 3
    kept.get("a")
    kept.put("d", seen)
    assert [v in kept for v in "abcd"] == [True, False, True, True]
    now[0] = 9
    assert kept.get("a") is seen
    now[0] = 12
    kept.forget_old()
    assert [v in kept for v in "abcd"] == [True, False, False, False]
    now[0] = 20
    with pytest.raises(Refused, match="send it again"):
        kept.get("a")


@pytest.mark.parametrize("content", list(bad_files()))
def test_what_is_no_good_picture_is_refused_in_a_sentence(content):
    with pytest.raises(Refused) as caught:
        read_upload(content, Limits(megapixels=29))
    assert caught.value.status in (413, 415, 422)
    assert "Traceback" not in str(caught.value) and len(str(caught.value)) < 120


def test_limits_of_a_picture():
    content = picture(size=(40, 30))
    assert read_upload(content, Limits()).shape == (30, 40, 3)
    for limits in (Limits(megapixels=1199e-6), Limits(megabytes=(len(content) - 1) / 1e6)):
        with pytest.raises(Refused, match="the limit here"):
            read_upload(content, limits)
    with pytest.raises(ValueError, match="queue=0"):
        Limits(queue=0)


def test_names_are_plain():
    given = ("../../etc/a.png", "C:\\x\\b.png", "..", "", None, "a\nb\0.png", "x" * 999)
    found = [plain_name(name) for name in given]
    assert found == ["a.png", "b.png", "picture", "picture", "picture", "ab.png", "x" * 200]


def test_programs_get_objects_counts_and_the_map(served, predictor, image):
    with open(EXAMPLE, "rb") as file:
        body = form(file.read(), "../oranges.jpg", map="true", threshold="0.3")
    status, text = ask(served.port, "POST", "/predict", MULTIPART, body)
    answer = json.loads(text)
    expected = predictor(image)
    assert status == 200 and answer["count"] == expected.count == 6
    assert answer["counts"] == expected.counts
    assert answer["images"][0]["file_name"] == "oranges.jpg"
    assert answer["annotations"] == expected.to_coco()["annotations"]
    shown = cv2.imdecode(np.frombuffer(base64.b64decode(answer["map"]), np.uint8), 0)
    assert np.abs(shown / 255 - expected.map).max() < 0.51 / 255
    small = form(picture(), like="4,4,20,20")
    assert json.loads(ask(served.port, "POST", "/predict", MULTIPART, small)[1])["images"]


def test_the_routes_are_described(served):
    described = json.loads(ask(served.port, "GET", "/openapi.json")[1])
    assert set(described["paths"]) == {"/predict", "/health"}
    fields = described["components"]["schemas"]["Objects"]["properties"]
    assert {"count", "counts", "images", "annotations", "categories", "map"} == set(fields)
    assert ask(served.port, "GET", "/health") == (200, '{"status":"ok"}')


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"like": "1,2,3"}, 422, "like: give x0,y0,x1,y1"),
        ({"like": "900,0,990,9"}, 422, "no pixel of the picture"),
        ({"threshold": "2"}, 422, "threshold: Input should be less than or equal to 1"),
        ({"map": "maybe"}, 422, "map: "),
    ],
)
def test_a_wrong_field_is_named(served, fields, status, message):
    answer = ask(served.port, "POST", "/predict", MULTIPART, form(picture(), **fields))
    assert answer[0] == status and message in json.loads(answer[1])["detail"]


def test_hostile_requests_are_refused_and_the_server_goes_on(served):
    answers = attack(served.port, LIMITS.bytes, flood=24)
    assert len(answers) > 300
    assert faults(answers) == []
    of_flood = [status for what, status, _ in answers if what == "flood"]
    assert set(of_flood) == {200, 503} and of_flood.count(200) >= LIMITS.queue
    assert sum(status == 0 for _, status, _ in answers) < 5
    assert any("process_completed" in text for what, _, text in answers if what == "events")
    status, text = ask(served.port, "POST", "/predict", MULTIPART, form(picture()))
    assert status == 200 and json.loads(text)["images"][0]["width"] == 48


def test_a_slow_body_is_not_waited_for(predictor, tmp_path):
    with Served(predictor, tmp_path, Limits(seconds=0.5)) as server:
        head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n"
        head += b"Content-Type: multipart/form-data; boundary=b\r\n\r\n--b"
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            connection.sendall(head)
            assert b" 408 " in connection.recv(99)


def test_only_what_the_page_needs_is_served(served, tmp_path):
    outside = tmp_path / "a.png"
    outside.write_bytes(picture())
    for path in (f"/gradio_api/file={outside}", "/gradio_api/file=setup.py", "/gradio_api/file=/"):
        assert ask(served.port, "GET", path)[0] == 403
    for path in ("/docs", "/monitoring", "/gradio_api/proxy=http://x/", "/gradio_api/vibe-code"):
        assert ask(served.port, "GET", path)[0] == 404
    for path in ("/gradio_api/run/upload", "/gradio_api/process_recording", "/health"):
        assert ask(served.port, "POST", path, {}, b"{}")[0] == 404


@pytest.mark.parametrize(
    "change",
    [
        *({"data": data} for data in ([], [None, math.nan], [None, 2], ["x", 0.3], [None, "0.3"])),
        *({"data": [{"path": path}, 0.3]} for path in ("/etc/passwd", "http://x/", "../x", 1)),
        *({"fn_index": index} for index in (-1, 99, "0", True)),
        *({"session_hash": visitor} for visitor in ("", "../../x", "é" * 8, None)),
        *({"event_data": event} for event in ([], {}, {"index": 1})),
    ],
)
def test_a_call_that_the_page_does_not_make_is_refused(served, change):
    call = {"fn_index": 2, "session_hash": "abcdef", "data": [0.3], "event_data": None}
    assert ask(served.port, "POST", JOIN, JSON, json.dumps(call).encode())[0] == 200
    body = json.dumps(call | change).encode()
    assert ask(served.port, "POST", JOIN, JSON, body)[0] == 422


def test_nobody_else_is_called(served, monkeypatch):
    """Neither addresses in requests nor the server's own start make it connect to anyone."""
    asked = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *_, **__: asked.append(host) or [])
    connection = ("127.0.0.1", served.port)
    paths = ("file=http://example.com/a.png", "proxy=http://example.com/", "file=//example.com/a")
    for path in paths:
        with socket.socket() as client:
            client.settimeout(20)
            client.connect(connection)
            client.sendall(f"GET /gradio_api/{path} HTTP/1.0\r\n\r\n".encode())
            assert re.match(rb"HTTP/1.1 40[34]", client.recv(99))
    assert asked == []


def test_old_files_are_deleted_and_lasting_ones_stay(tmp_path):
    for name in ("lasting/example.jpg", "upload/a.png"):
        path = tmp_path / name
        path.parent.mkdir()
        path.touch()
    lasting = {tmp_path / "lasting", tmp_path / "lasting" / "example.jpg"}
    delete_old_files(tmp_path, lasting, seconds=60)
    assert (tmp_path / "upload" / "a.png").exists()
    for _ in range(2):  # a folder that became empty goes the next time
        delete_old_files(tmp_path, lasting, seconds=-1)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["example.jpg", "lasting"]


def test_a_network_without_objects_is_not_served(tmp_path):
    plain = SimpleNamespace(model=SimpleNamespace(grouping=None))
    with pytest.raises(ValueError, match="MODEL.GROUPING.ENABLED"):
        build_app(plain, tmp_path, LIMITS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port", "99999"], "--port 99999: give 0 to 65535"),
        (["--queue", "0"], "queue=0: give a number over 0"),
        (["--max-megapixels", "nan"], "megapixels=nan"),
        (["--config-file", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_a_wrong_option_is_named(capsys, arguments, message):
    assert main(["serve", *arguments]) == 1
    assert message in capsys.readouterr().err


def test_the_extra_is_named_where_gradio_is_missing(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "cosal_d2.inference.web.app", None)
    assert main(["serve"]) == 1
    assert "cosal_d2[web]" in capsys.readouterr().err


def test_an_address_that_is_taken_is_named(predictor, served):
    with pytest.raises(OSError, match=f"--port {served.port}: .* in use"):
        serve(predictor, "127.0.0.1", served.port, LIMITS)


def test_a_signal_ends_it_and_nothing_is_left(predictor, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    seen = []

    def stop():
        while not (seen and seen[-1][0] == 200):
            time.sleep(0.1)
            seen.append(ask(port, "GET", "/health"))
        seen.append([path.name for path in tmp_path.iterdir()])
        os.kill(os.getpid(), signal.SIGTERM)

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    thread = threading.Thread(target=stop)
    thread.start()
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as ended:
            serve(predictor, "127.0.0.1", port, LIMITS)
    finally:
        signal.signal(signal.SIGTERM, before)
        thread.join()
    assert ended.value.code == 0
    assert f"serving on http://127.0.0.1:{port}" in capsys.readouterr().out
    assert seen[-1][0].startswith("cosal_serve_") and list(tmp_path.iterdir()) == []
